//! The catalogue: facts about providers, read once from `catalogue.yaml`.
//!
//! ```text
//! catalogue.yaml ──extends──> entries ──check──> Catalogue ──get, by_domain──> Entry, or WithoutOAuth and what to do instead
//! ```

mod check;
mod entry;
mod evidence;
mod places;
mod templates;
mod words;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Serialize;
use serde_json::Value;

pub use entry::{
    Assertion, Choice, Entry, EntryIdentity, EntryServer, EntryTenancy, ErrorDialect, LivesAs, Mechanism, Offer,
    Parameter, Period, PersonalTenant, RateLimit, Refresh, RefreshTokenLife, ScopeSeparator, SendScope, WayToToken,
};
pub use evidence::{Confidence, Evidence};
pub use words::{Fact, facts, manifest};

pub(super) use places::Place;
pub(super) use templates::placeholders;

const BUILT_IN: &str = include_str!("catalogue.yaml");
/// An entry may extend one that extends another. More than this is a circle.
const MOST_ANCESTORS: usize = 8;

static CATALOGUE: LazyLock<Result<Catalogue, CatalogueError>> = LazyLock::new(|| Catalogue::parse(BUILT_IN));

/// Providers by key, as people write it in `spec.provider`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalogue {
    entries: BTreeMap<String, Entry>,
    without_oauth: BTreeMap<String, WithoutOAuth>,
}

/// Why a catalogue cannot be used. Not seen with the built-in one: a test reads it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// The YAML does not have the expected shape.
    #[error("the catalogue cannot be read: {0}")]
    Shape(String),
    /// An entry contradicts itself, or another one.
    #[error("catalogue entry {key}: {problem}")]
    Entry {
        /// The entry's key.
        key: String,
        /// What is wrong.
        problem: String,
    },
}

/// A provider that lets no mail program in with OAuth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WithoutOAuth {
    /// How people call it.
    pub display_name: String,
    /// Its mailboxes' domains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,
    /// What to do there, as the end of a sentence.
    pub instead: String,
    /// Where this stands.
    pub evidence: Vec<Evidence>,
}

/// Who runs the mailboxes of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host<'a> {
    /// A provider with OAuth.
    Provider {
        /// Its key.
        key: &'a str,
        /// Its facts.
        entry: &'a Entry,
    },
    /// A provider without.
    WithoutOAuth {
        /// Its key.
        key: &'a str,
        /// What is known of it.
        provider: &'a WithoutOAuth,
    },
}

impl Catalogue {
    /// The catalogue that is compiled in, read at the first call.
    pub fn built_in() -> Result<&'static Self, &'static CatalogueError> {
        CATALOGUE.as_ref()
    }

    /// Reads a catalogue and checks that its entries can be used.
    pub fn parse(yaml: &str) -> Result<Self, CatalogueError> {
        let written: BTreeMap<String, Value> =
            serde_saphyr::from_str(yaml).map_err(|error| CatalogueError::Shape(error.to_string()))?;
        let mut catalogue = Self::default();
        for key in written.keys() {
            let problem = |problem: String| CatalogueError::Entry {
                key: key.clone(),
                problem,
            };
            let whole = extended(key, &written, MOST_ANCESTORS).map_err(problem)?;
            let shape = |error: serde_json::Error| problem(error.to_string());
            if whole.get("instead").is_some() {
                let provider = serde_json::from_value(whole).map_err(shape)?;
                catalogue.without_oauth.insert(key.clone(), provider);
            } else {
                let entry: Entry = serde_json::from_value(whole).map_err(shape)?;
                entry.check().map_err(problem)?;
                catalogue.entries.insert(key.clone(), entry);
            }
        }
        check::domains(&catalogue)?;
        check::stand_ins(&catalogue)?;
        Ok(catalogue)
    }

    /// The entry of this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// The provider without OAuth of this key.
    #[must_use]
    pub fn get_without_oauth(&self, key: &str) -> Option<&WithoutOAuth> {
        self.without_oauth.get(key)
    }

    /// All entries with their keys, in alphabetical order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(key, entry)| (key.as_str(), entry))
    }

    /// All providers without OAuth with their keys, in alphabetical order.
    pub fn without_oauth(&self) -> impl Iterator<Item = (&str, &WithoutOAuth)> {
        self.without_oauth
            .iter()
            .map(|(key, provider)| (key.as_str(), provider))
    }

    /// The keys of all entries, in alphabetical order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Who runs the mailboxes of a domain. None where that is not certain: a domain that somebody owns may be hosted anywhere.
    #[must_use]
    pub fn by_domain(&self, domain: &str) -> Option<Host<'_>> {
        let domain = domain.to_ascii_lowercase();
        let with = self
            .entries()
            .find(|(_, entry)| entry.all_domains().any(|own| own == domain))
            .map(|(key, entry)| Host::Provider { key, entry });
        with.or_else(|| {
            self.without_oauth()
                .find(|(_, provider)| provider.domains.contains(&domain))
                .map(|(key, provider)| Host::WithoutOAuth { key, provider })
        })
    }
}

/// An entry laid over the one that it extends. Evidence is kept of both, its own first.
fn extended(key: &str, written: &BTreeMap<String, Value>, ancestors: usize) -> Result<Value, String> {
    let own = written.get(key).ok_or_else(|| format!("there is no entry {key}"))?;
    let Some(base) = own.get("extends").and_then(Value::as_str) else {
        return Ok(own.clone());
    };
    if ancestors == 0 {
        return Err("it extends itself in a circle".to_owned());
    }
    let mut whole =
        extended(base, written, ancestors - 1).map_err(|problem| format!("it extends {base}: {problem}"))?;
    let evidence = |entry: &Value| entry.get("evidence").and_then(Value::as_array).cloned();
    let all: Vec<Value> = [evidence(own), evidence(&whole)]
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    json_patch::merge(&mut whole, own);
    if let (Value::Object(fields), false) = (&mut whole, all.is_empty()) {
        fields.insert("evidence".to_owned(), Value::Array(all));
    }
    Ok(whole)
}
