//! What our Secrets say about themselves, as annotations.
//!
//! Everything a restart needs stands here, so that it reads no contents (invariant 4). Reading is forgiving: an annotation that somebody broke counts as absent,
//! and what is absent leads to caution (a lower generation, an unknown binding), never to a second redemption of a spent token.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    api::names,
    lifecycle::{Attempt, DeviceAuthorization, Generation, Lifetime, Record, UnansweredTries, Upkeep},
};

/// The value of [`names::STANDING`].
const STANDS: &str = "true";

/// Annotations by key.
pub type Annotations = BTreeMap<String, String>;

/// What in a token Secret comes from the spec and not from the token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rendered {
    /// A digest of all of it.
    pub digest: String,
    /// Label keys that the spec asked for: removed again when it no longer does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Annotation keys that the spec asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<String>,
}

/// The record that annotations hold.
#[must_use]
pub fn record(annotations: &Annotations) -> Record {
    Record {
        generation: text(annotations, names::GENERATION)
            .and_then(|text| text.parse().ok())
            .map_or_else(Generation::default, Generation),
        binding: json(annotations, names::BINDING),
        lifetime: lifetime(annotations),
        scopes: text(annotations, names::SCOPES)
            .map(|text| text.split_whitespace().map(str::to_owned).collect())
            .unwrap_or_default(),
        granted: time(annotations, names::GRANT_TIME),
        seeds: json(annotations, names::SEEDS).unwrap_or_default(),
        inputs: json(annotations, names::INPUTS).unwrap_or_default(),
        account: json(annotations, names::ACCOUNT),
        upkeep: if text(annotations, names::STANDING) == Some(STANDS) {
            Upkeep::Standing
        } else {
            Upkeep::Rotating
        },
        request: text(annotations, names::ANSWERED_REQUEST).map(str::to_owned),
        ends: json(annotations, names::GRANT_END),
    }
}

/// The annotations of a record. An entry without a value is to be removed.
#[must_use]
pub fn of_record(record: &Record) -> BTreeMap<&'static str, Option<String>> {
    let ledger = (!record.seeds.0.is_empty()).then(|| write(&record.seeds));
    let scopes = (!record.scopes.is_empty()).then(|| record.scopes.join(" "));
    let mut written = BTreeMap::from([
        (names::GENERATION, Some(record.generation.to_string())),
        (names::BINDING, record.binding.as_ref().map(write)),
        (names::ISSUE_TIME, record.lifetime.map(|life| life.issued.to_string())),
        (
            names::EXPIRATION_TIME,
            record.lifetime.map(|life| life.expires.to_string()),
        ),
        (names::SCOPES, scopes),
        (names::GRANT_TIME, record.granted.map(|granted| granted.to_string())),
        (names::SEEDS, ledger),
        (names::INPUTS, Some(write(&record.inputs))),
        (names::ANSWERED_REQUEST, record.request.clone()),
        (names::GRANT_END, record.ends.as_ref().map(write)),
    ]);
    // On grant Secrets from a sign-in alone: elsewhere there is nothing to remove.
    if let Some(account) = &record.account {
        written.insert(names::ACCOUNT, Some(write(account)));
    }
    if record.upkeep == Upkeep::Standing {
        written.insert(names::STANDING, Some(STANDS.to_owned()));
    }
    written
}

/// The open attempt.
#[must_use]
pub fn attempt(annotations: &Annotations) -> Option<Attempt> {
    json(annotations, names::ATTEMPT)
}

/// The sign-in with a code that is under way.
#[must_use]
pub fn device(annotations: &Annotations) -> Option<DeviceAuthorization> {
    json(annotations, names::DEVICE)
}

/// The tries without an answer.
#[must_use]
pub fn unanswered(annotations: &Annotations) -> UnansweredTries {
    json(annotations, names::UNANSWERED).unwrap_or_default()
}

/// The annotation of the tries without an answer; no value when there are none.
#[must_use]
pub fn of_unanswered(tries: &UnansweredTries) -> Option<String> {
    (!tries.0.is_empty()).then(|| write(tries))
}

/// How a token Secret was rendered.
#[must_use]
pub fn rendered(annotations: &Annotations) -> Rendered {
    json(annotations, names::RENDERED).unwrap_or_default()
}

/// A value as it stands in an annotation.
#[must_use]
pub fn write<T: Serialize>(value: &T) -> String {
    // The types that come here are plain structs with string keys: writing them cannot fail.
    serde_json::to_string(value).unwrap_or_default()
}

fn lifetime(annotations: &Annotations) -> Option<Lifetime> {
    Some(Lifetime {
        issued: time(annotations, names::ISSUE_TIME)?,
        expires: time(annotations, names::EXPIRATION_TIME)?,
    })
}

fn time(annotations: &Annotations, key: &str) -> Option<Timestamp> {
    text(annotations, key)?.parse().ok()
}

fn json<T: DeserializeOwned>(annotations: &Annotations, key: &str) -> Option<T> {
    serde_json::from_str(text(annotations, key)?).ok()
}

fn text<'a>(annotations: &'a Annotations, key: &str) -> Option<&'a str> {
    annotations.get(key).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::{
        Account, Binding, EndToldBy, Fingerprint, GrantEnd, InputVersion, InputsSeen, SeedLedger, SeedRecord, Verdict,
    };

    fn a_record() -> Record {
        let seed = Fingerprint("f1".to_owned());
        Record {
            generation: Generation(7),
            binding: Some(Binding {
                token_endpoint: "https://id.example.com".to_owned(),
                client_id: "1234".to_owned(),
                question: None,
            }),
            lifetime: Some(Lifetime {
                issued: Timestamp::UNIX_EPOCH,
                expires: Timestamp::from_second(3600).unwrap(),
            }),
            scopes: vec!["mail".to_owned(), "openid".to_owned()],
            granted: Some(Timestamp::UNIX_EPOCH),
            seeds: SeedLedger(vec![SeedRecord {
                fingerprint: seed.clone(),
                verdict: Verdict::Taken,
                client_id: "1234".to_owned(),
            }]),
            inputs: InputsSeen {
                client: None,
                seed: Some((InputVersion("u/1".to_owned()), seed)),
            },
            account: Some(Account {
                issuer: "https://id.example.com".to_owned(),
                subject: "42".to_owned(),
                name: "jane@example.com".to_owned(),
            }),
            upkeep: Upkeep::Standing,
            request: Some("monday".to_owned()),
            ends: Some(GrantEnd {
                at: Timestamp::from_second(7200).unwrap(),
                since: Timestamp::UNIX_EPOCH,
                told_by: EndToldBy::Provider,
            }),
        }
    }

    #[test]
    fn a_record_survives_the_way_through_annotations() {
        let written = of_record(&a_record());
        let annotations = written
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .collect();
        assert_eq!(record(&annotations), a_record());
    }

    #[test]
    fn broken_annotations_count_as_absent() {
        let broken = Annotations::from([
            (names::GENERATION.to_owned(), "many".to_owned()),
            (names::BINDING.to_owned(), "{".to_owned()),
            (names::ISSUE_TIME.to_owned(), "yesterday".to_owned()),
            (names::SEEDS.to_owned(), "[{\"fingerprint\":1}]".to_owned()),
            (names::ATTEMPT.to_owned(), "null and void".to_owned()),
        ]);
        assert_eq!(record(&broken), Record::default());
        assert_eq!(attempt(&broken), None);
    }
}
