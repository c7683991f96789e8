//! What is known about the errors of token endpoints: the rows of `errors.yaml`, read once.
//!
//! [`Errors::find`] looks for the row that fits what a server said. The server's dialect is asked first, then the RFCs. A [`Row`] says what has to happen next, and
//! what an expert would tell the person who has to do it; the blanks in that text are a closed set of [`Value`]s.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, de};

use super::classify::{Cause, Class};
use super::situation::{Circumstance, Dialect, Situation};
use crate::api::{FailureClass, Reason, duration};

const BUILT_IN: &str = include_str!("errors.yaml");
const RFC: &str = "rfc";

static ERRORS: LazyLock<Result<Errors, String>> = LazyLock::new(|| Errors::parse(BUILT_IN));
static NOTHING: Errors = Errors(BTreeMap::new());

/// All that is known, by dialect.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Errors(BTreeMap<String, Section>);

/// What is known about one dialect. What each field means is said in `errors.yaml`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Section {
    source: String,
    confidence: Confidence,
    #[serde(default)]
    code_prefix: Option<String>,
    #[serde(default)]
    trailer: Option<String>,
    #[serde(default, deserialize_with = "wait")]
    throttle_wait: Option<SignedDuration>,
    rows: Vec<Row>,
}

/// How sure a fact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Read in the vendor's documentation or an RFC.
    Vendor,
    /// Read in the code of a well-kept client.
    Client,
    /// Tried against the server itself.
    Tried,
    /// Somebody's report.
    Report,
    /// From memory.
    Memory,
}

/// One known error.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Row {
    #[serde(default)]
    error: Vec<String>,
    #[serde(default)]
    subtype: Vec<String>,
    #[serde(default)]
    codes: Vec<u32>,
    #[serde(default)]
    words: Vec<String>,
    #[serde(default)]
    without: Vec<String>,
    #[serde(default)]
    status: Vec<u16>,
    #[serde(default)]
    when: Vec<Circumstance>,
    /// What has to happen next.
    #[serde(deserialize_with = "class")]
    pub class: Class,
    #[serde(default, deserialize_with = "reason")]
    reason: Option<Reason>,
    #[serde(default)]
    cause: Option<Cause>,
    /// Try again no sooner.
    #[serde(default, deserialize_with = "wait")]
    pub wait: Option<SignedDuration>,
    /// What it means.
    pub means: Template,
    /// The next step; none: what the class says by itself.
    #[serde(default)]
    pub next: Option<Template>,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    confidence: Option<Confidence>,
}

/// A text with blanks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Blank(Value),
}

/// What a blank can be filled with. None of these is a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// The provider as people call it.
    Provider,
    /// The mailbox.
    Email,
    /// The Secret with the client's credentials, or the field with its ID.
    Client,
    /// The client's ID.
    ClientId,
    /// The second half of a sentence: how to put a new client secret in its place.
    PutSecret,
    /// The scopes that were asked for.
    Scopes,
    /// The tenant: the first part of the token endpoint's path.
    Tenant,
    /// The token endpoint's host.
    LoginHost,
    /// The token endpoint.
    Endpoint,
    /// How to get a new grant: the link or the command to sign in, or how to put a new refresh token in its place.
    NewGrant,
    /// `on` and the date of the grant.
    Granted,
    /// `since` and the time of the last use.
    Unused,
}

impl Value {
    const ALL: [(&'static str, Self); 12] = [
        ("provider", Self::Provider),
        ("email", Self::Email),
        ("client", Self::Client),
        ("clientID", Self::ClientId),
        ("putSecret", Self::PutSecret),
        ("scopes", Self::Scopes),
        ("tenant", Self::Tenant),
        ("loginHost", Self::LoginHost),
        ("endpoint", Self::Endpoint),
        ("newGrant", Self::NewGrant),
        ("granted", Self::Granted),
        ("unused", Self::Unused),
    ];
}

impl Template {
    /// The text with its blanks filled.
    #[must_use]
    pub fn fill(&self, value: impl Fn(Value) -> String) -> String {
        self.0
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Blank(blank) => value(*blank),
            })
            .collect()
    }

    fn has(&self, value: Value) -> bool {
        self.0.contains(&Part::Blank(value))
    }
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut parts = Vec::new();
        for (index, piece) in text.split('{').enumerate() {
            let rest = if index == 0 {
                piece
            } else {
                let (name, rest) = piece
                    .split_once('}')
                    .ok_or_else(|| format!("a brace is not closed in {text:?}"))?;
                let value = Value::ALL.iter().find(|(known, _)| *known == name);
                let (_, value) = value.ok_or_else(|| format!("{{{name}}} cannot be filled"))?;
                parts.push(Part::Blank(*value));
                rest
            };
            if !rest.is_empty() {
                parts.push(Part::Text(rest.to_owned()));
            }
        }
        Ok(Self(parts))
    }
}

/// What a server said, as far as rows ask about it.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The `error`, or the name of what the body is instead.
    pub error: &'a str,
    /// `error_subtype` or `suberror`.
    pub subtype: &'a str,
    /// Numbers of the error.
    pub codes: &'a [u32],
    /// The description in lower case.
    pub words: &'a str,
}

impl Errors {
    /// What is compiled in, read at the first call. A test reads it, so nothing is missing; if it could not be read, no error would be known, and unknown errors ask
    /// nobody to sign in.
    #[must_use]
    pub fn built_in() -> &'static Self {
        ERRORS.as_ref().unwrap_or(&NOTHING)
    }

    /// Reads the rows and checks that they can be used.
    ///
    /// # Errors
    /// What is wrong, and in which row.
    pub fn parse(yaml: &str) -> Result<Self, String> {
        let errors: Self = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
        for (name, section) in &errors.0 {
            for (row, index) in section.rows.iter().zip(1..) {
                row.check()
                    .map_err(|problem| format!("{name}, row {index} ({:?}): {problem}", row.means))?;
            }
        }
        Ok(errors)
    }

    /// The row that fits.
    #[must_use]
    pub fn find(&self, said: &Said<'_>, situation: &Situation) -> Option<&Row> {
        let asks_for_person = self.asks_for_person(said.error);
        let mut rows = self
            .rows(situation.dialect)
            .filter(|row| row.fits(said, situation) && row.may_wake(asks_for_person, situation));
        let first = rows.next()?;
        if first.subtype.is_empty() || !first.codes.is_empty() {
            return Some(first);
        }
        let finer = rows.find(|row| !row.codes.is_empty() && row.subtype.is_empty());
        Some(
            finer
                .filter(|row| row.class == first.class || row.class != Class::Reauthorize)
                .unwrap_or(first),
        )
    }

    /// The rows of a section, with where each is from and how sure that is.
    pub fn rows_of(&self, section: &str) -> impl Iterator<Item = (&Row, &str, Confidence)> {
        self.0.get(section).into_iter().flat_map(|section| {
            section.rows.iter().map(|row| {
                let source = row.source.as_deref().unwrap_or(&section.source);
                (row, source, row.confidence.unwrap_or(section.confidence))
            })
        })
    }

    /// The names of the sections.
    pub fn sections(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What numbers in the words of this dialect begin with.
    pub(super) fn code_prefix(&self, dialect: Dialect) -> Option<&str> {
        self.section(dialect)?.code_prefix.as_deref()
    }

    /// Where the words of this dialect end that people can use.
    pub(super) fn trailer(&self, dialect: Dialect) -> Option<&str> {
        self.section(dialect)?.trailer.as_deref()
    }

    /// How long to wait after a 429 that does not say.
    pub(super) fn throttle_wait(&self, dialect: Dialect) -> Option<SignedDuration> {
        self.section(dialect)?.throttle_wait
    }

    fn section(&self, dialect: Dialect) -> Option<&Section> {
        self.0.get(dialect.section())
    }

    fn rows(&self, dialect: Dialect) -> impl Iterator<Item = &Row> {
        let sections = [self.section(dialect), self.0.get(RFC)];
        sections.into_iter().flatten().flat_map(|section| &section.rows)
    }

    /// Whether the RFCs have an `error` that asks for a person: only then may a number of a provider ask for one.
    fn asks_for_person(&self, error: &str) -> bool {
        let rows = self.0.get(RFC).into_iter().flat_map(|section| &section.rows);
        let named = |row: &&Row| row.error.iter().any(|known| known.eq_ignore_ascii_case(error));
        rows.filter(named).any(|row| row.class == Class::Reauthorize)
    }
}

impl Row {
    /// The reason of the condition.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason.unwrap_or(match self.class {
            Class::Retry => Reason::Retrying,
            Class::Throttled => Reason::Throttled,
            Class::Bug => Reason::RequestRejected,
            Class::Reauthorize => Reason::GrantRevoked,
            Class::AdminConfig => Reason::ClientRejected,
        })
    }

    /// The label in metrics: the row's own, or that of the `error` in the RFCs, or what the reason suggests.
    #[must_use]
    pub fn cause(&self, errors: &Errors) -> Cause {
        let named = || {
            let rows = errors.0.get(RFC)?.rows.iter();
            rows.filter(|row| row.error.iter().any(|error| self.error.contains(error)))
                .find_map(|row| row.cause)
        };
        self.cause.or_else(named).unwrap_or(match self.reason() {
            Reason::Throttled => Cause::RateLimited,
            Reason::Retrying => Cause::ServerError,
            Reason::GrantRevoked | Reason::GrantExpired => Cause::InvalidGrant,
            Reason::PolicyBlocked => Cause::AccessDenied,
            Reason::ScopeNotGranted => Cause::InvalidScope,
            Reason::ClientRejected => Cause::InvalidClient,
            Reason::AccountUnusable => Cause::AccountUnusable,
            Reason::EndpointUnusable => Cause::NotFound,
            _ => Cause::Other,
        })
    }

    /// Whether it names this number.
    pub(super) fn has_code(&self, code: u32) -> bool {
        self.codes.contains(&code)
    }

    fn fits(&self, said: &Said<'_>, situation: &Situation) -> bool {
        let any = |known: &[String], text: &str| known.iter().any(|known| known.eq_ignore_ascii_case(text));
        let occurs = |words: &[String]| words.iter().any(|words| said.words.contains(words.as_str()));
        (self.error.is_empty() || any(&self.error, said.error.trim()))
            && (self.subtype.is_empty() || any(&self.subtype, said.subtype))
            && (self.codes.is_empty() || self.codes.iter().any(|code| said.codes.contains(code)))
            && (self.words.is_empty() || occurs(&self.words))
            && !occurs(&self.without)
            && (self.status.is_empty() || self.status.contains(&said.status))
            && self.when.iter().all(|circumstance| situation.has(*circumstance))
    }

    /// Nobody is asked to sign in because of a number alone, nor where no person signs in at all.
    fn may_wake(&self, asks_for_person: bool, situation: &Situation) -> bool {
        self.class != Class::Reauthorize
            || (!situation.has(Circumstance::NoPerson) && (!self.error.is_empty() || asks_for_person))
    }

    fn check(&self) -> Result<(), String> {
        let asks = [&self.error, &self.subtype, &self.words];
        if asks.iter().all(|texts| texts.is_empty()) && self.codes.is_empty() {
            return Err("it fits everything".into());
        }
        let not_lower = |text: &&String| **text != text.to_lowercase();
        if let Some(words) = self.words.iter().chain(&self.without).find(not_lower) {
            return Err(format!("{words:?} is compared with lower case and can never occur"));
        }
        let reasons: &[Reason] = match self.class {
            Class::Reauthorize => &[Reason::GrantRevoked, Reason::GrantExpired],
            Class::AdminConfig => &[
                Reason::ClientRejected,
                Reason::PolicyBlocked,
                Reason::AdminConsentRequired,
                Reason::ScopeNotGranted,
                Reason::AccountUnusable,
                Reason::EndpointUnusable,
            ],
            _ => &[],
        };
        match self.reason {
            Some(reason) if !reasons.contains(&reason) => {
                return Err(format!("reason {reason} does not go with class {}", self.class));
            }
            None if !reasons.is_empty() => return Err("the reason is missing".into()),
            _ => {}
        }
        self.check_advice()
    }

    fn check_advice(&self) -> Result<(), String> {
        let next = self.next.as_ref();
        let asks_to_sign_in = self.means.has(Value::NewGrant) || next.is_some_and(|next| next.has(Value::NewGrant));
        match self.class {
            Class::Reauthorize if next.is_some_and(|next| !next.has(Value::NewGrant)) => {
                Err("a person must sign in, and the next step does not say how ({newGrant})".into())
            }
            Class::AdminConfig | Class::Bug if next.is_none() => Err("the next step is missing".into()),
            Class::Reauthorize => Ok(()),
            _ if asks_to_sign_in => Err("no sign-in helps here, and {newGrant} asks for one".into()),
            _ => Ok(()),
        }
    }
}

fn class<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Class, D::Error> {
    let name = String::deserialize(deserializer)?;
    let classes = [
        FailureClass::Retry,
        FailureClass::Throttled,
        FailureClass::Reauthorize,
        FailureClass::AdminConfig,
        FailureClass::Bug,
    ];
    let class = classes.into_iter().find(|class| class.as_str() == name);
    class.ok_or_else(|| de::Error::custom(format!("{name} is no class")))
}

fn reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Reason>, D::Error> {
    let name = String::deserialize(deserializer)?;
    let reason = Reason::parse(&name).ok_or_else(|| de::Error::custom(format!("{name} is no reason")))?;
    Ok(Some(reason))
}

fn wait<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SignedDuration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    duration::parse(&text).map(Some).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests;
