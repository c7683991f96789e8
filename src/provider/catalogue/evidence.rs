//! Where a fact stands, and how sure it is.

use serde::{Deserialize, Serialize};

use super::{Entry, EntryServer, Offer};

/// Where some facts of an entry stand.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Evidence {
    /// The fields, with dots below the top: `refresh.rotation`.
    pub of: Vec<String>,
    /// How sure it is.
    pub sure: Confidence,
    /// Where it stands.
    pub source: String,
}

/// How sure a fact is, the surest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
pub enum Confidence {
    /// Read in the vendor's own documentation, or in an RFC.
    Vendor,
    /// Mail programs in wide use do it.
    Clients,
    /// Somebody says so.
    Reported,
    /// From memory, not read again.
    Memory,
}

/// What a person must be able to rely on to get a token that opens a mailbox.
const ESSENTIAL: &[&str] = &[
    "tokenURL",
    "authorizationURL",
    "clientAuthentication",
    "smtp",
    "imap",
    "pop3",
];

impl Confidence {
    /// In one word, for a table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vendor => "documented",
            Self::Clients => "in use",
            Self::Reported => "reported",
            Self::Memory => "unchecked",
        }
    }
}

fn is_usual(server: Option<&EntryServer>) -> bool {
    server.is_some_and(|server| server.offer == Offer::Always)
}

impl Evidence {
    fn is_of(&self, field: &str) -> bool {
        self.of.iter().any(|of| covers(of, field) || covers(field, of))
    }
}

/// Whether `of` is the field or a part that it stands in.
fn covers(of: &str, field: &str) -> bool {
    field
        .strip_prefix(of)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl Entry {
    /// Where a field stands: the evidence of it, else of parts of it, the entry's own before that of the entry it extends.
    #[must_use]
    pub fn evidence_of(&self, field: &str) -> Option<&Evidence> {
        let exact = |evidence: &&Evidence| evidence.of.iter().any(|of| covers(of, field));
        let found = self.evidence.iter().find(exact);
        found.or_else(|| self.evidence.iter().find(|evidence| evidence.is_of(field)))
    }

    /// How sure the least certain is of what is needed to open a mailbox: endpoints, client authentication, servers that an asset gets unasked, and their scopes.
    #[must_use]
    pub fn confidence(&self) -> Confidence {
        let there = |field: &&&str| match **field {
            "tokenURL" => self.token_url.is_some(),
            "authorizationURL" => self.authorization_url.is_some(),
            "smtp" => is_usual(self.smtp.as_ref()),
            "imap" => is_usual(self.imap.as_ref()),
            "pop3" => is_usual(self.pop3.as_ref()),
            _ => true,
        };
        let known = ESSENTIAL
            .iter()
            .filter(there)
            .filter_map(|field| self.evidence_of(field));
        known.map(|evidence| evidence.sure).max().unwrap_or(Confidence::Memory)
    }
}
