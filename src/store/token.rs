//! The token Secret: what consumers mount. All its keys belong to one token, and neither a refresh token nor a client secret is ever among them.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::{
    annotations::{self, Rendered},
    grant::Belongs,
    index::{Key, Kind, Seen, What},
    secrets::{Changes, Draft, Secrets, StoreError},
};
use crate::{
    api::names,
    formats::{Issued, Outline, TOKEN_KEY},
    lifecycle::{Lifetime, Record, SeedLedger, Upkeep},
};

/// Keys of a token Secret's data that hold the token.
pub mod keys {
    /// The access token.
    pub const ACCESS_TOKEN: &str = super::TOKEN_KEY;
    /// Its type, `Bearer` nearly always.
    pub const TOKEN_TYPE: &str = "token_type";
    /// When it ends, RFC 3339 in UTC.
    pub const EXPIRES_AT: &str = "expires_at";
}

/// What surrounds the token, from the spec and the catalogue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendering {
    /// Keys of the data that do not depend on the token: `email`, `username`, server hosts and ports.
    pub settings: BTreeMap<String, String>,
    /// Labels that the spec asks for.
    pub labels: BTreeMap<String, String>,
    /// Annotations that the spec asks for.
    pub annotations: BTreeMap<String, String>,
    /// Ready-made keys that the spec asks for.
    pub formats: Option<Outline>,
}

impl Rendering {
    /// A digest of all of it: differs when anything in it does. Ready-made keys count as they are written, so that another way of writing them reaches consumers.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for (name, map) in [
            ("settings", &self.settings),
            ("labels", &self.labels),
            ("annotations", &self.annotations),
        ] {
            hash.update(name);
            for (key, value) in map {
                // Lengths keep `a=bc` and `ab=c` apart.
                hash.update(format!("|{}|{key}|{}|{value}", key.len(), value.len()));
            }
        }
        if let Some(formats) = &self.formats {
            hash.update("formats");
            for (key, value) in formats.sample() {
                let value = value.expose_secret();
                hash.update(format!("|{}|{key}|{}|{value}", key.len(), value.len()));
            }
        }
        format!("{:x}", hash.finalize()).chars().take(16).collect()
    }

    fn rendered(&self) -> Rendered {
        Rendered {
            digest: self.digest(),
            labels: self.labels.keys().cloned().collect(),
            annotations: self.annotations.keys().cloned().collect(),
        }
    }
}

/// An access token on its way to consumers. It cannot be printed.
#[derive(Clone)]
pub struct AccessToken {
    /// The token.
    pub token: SecretString,
    /// Its type.
    pub token_type: String,
}

impl AccessToken {
    /// Whether a text can be a token (RFC 6750 section 2.1: visible ASCII). What somebody wrote into a Secret of ours may be anything, and goes into consumers' files.
    #[must_use]
    pub fn is_sayable(token: &SecretString) -> bool {
        let token = token.expose_secret();
        !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
    }
}

/// The labels that all our Secrets carry.
#[must_use]
pub fn own_labels() -> BTreeMap<String, String> {
    BTreeMap::from([(
        "app.kubernetes.io/managed-by".to_owned(),
        names::FIELD_MANAGER.to_owned(),
    )])
}

impl Secrets {
    /// Publishes a token: creates the token Secret, or changes the one that was seen. Somebody else's Secret that was handed over is replaced.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] or [`StoreError::Exists`] when the place is not as it was seen.
    pub async fn publish(
        &self,
        key: &Key,
        place: Option<&Seen>,
        belongs: &Belongs,
        rendering: &Rendering,
        record: &Record,
        token: &AccessToken,
    ) -> Result<Seen, StoreError> {
        let data = data(rendering, record.lifetime.as_ref(), token);
        if let Some(seen) = place {
            if let What::Token(before) = seen.what() {
                return self
                    .change(key, seen, &changes(&before.rendered, rendering, record, data))
                    .await;
            }
            self.delete(key, seen).await?;
        }
        let mut written: BTreeMap<String, String> = annotations::of_record(record)
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .collect();
        written.insert(names::RENDERED.to_owned(), annotations::write(&rendering.rendered()));
        written.extend(rendering.annotations.clone());
        let mut labels = rendering.labels.clone();
        labels.extend(own_labels());
        self.create(
            key,
            Draft {
                kind: Kind::Token,
                annotations: written,
                labels,
                owner: Some(belongs.owner()),
                data,
            },
        )
        .await
    }
}

/// The record that a token Secret carries. The ledger of seeds stands in one place only: here where there is no grant Secret. Who signed in stands in the grant
/// Secret alone.
#[must_use]
pub fn published_record(record: &Record, keeps_ledger: KeepsLedger) -> Record {
    let seeds = match keeps_ledger {
        KeepsLedger::Here => record.seeds.clone(),
        KeepsLedger::InGrant => SeedLedger::default(),
    };
    Record {
        seeds,
        account: None,
        upkeep: Upkeep::default(),
        ..record.clone()
    }
}

/// Which Secret keeps the ledger of seeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepsLedger {
    /// The token Secret: nothing rotates.
    Here,
    /// The grant Secret.
    InGrant,
}

fn changes(before: &Rendered, rendering: &Rendering, record: &Record, data: BTreeMap<String, SecretString>) -> Changes {
    let mut changes = Changes {
        data: Some(data),
        ..Changes::of_annotations(annotations::of_record(record))
    };
    changes.annotations.insert(
        names::RENDERED.to_owned(),
        Some(annotations::write(&rendering.rendered())),
    );
    replace(&mut changes.annotations, &before.annotations, &rendering.annotations);
    let mut labels = rendering.labels.clone();
    labels.extend(own_labels());
    replace(&mut changes.labels, &before.labels, &labels);
    changes
}

/// Removes what the spec no longer asks for and sets what it does.
fn replace(changes: &mut BTreeMap<String, Option<String>>, before: &[String], now: &BTreeMap<String, String>) {
    changes.extend(before.iter().map(|key| (key.clone(), None)));
    changes.extend(now.iter().map(|(key, value)| (key.clone(), Some(value.clone()))));
}

pub(super) fn data(
    rendering: &Rendering,
    lifetime: Option<&Lifetime>,
    token: &AccessToken,
) -> BTreeMap<String, SecretString> {
    // What follows would win: no ready-made key can take a default key's place.
    let mut data = rendering.formats.as_ref().map_or_else(BTreeMap::new, |formats| {
        formats.render(&Issued {
            token: &token.token,
            token_type: &token.token_type,
            expires: lifetime.map(|lifetime| lifetime.expires),
        })
    });
    let settings = rendering.settings.iter();
    data.extend(settings.map(|(key, value)| (key.clone(), SecretString::from(value.as_str()))));
    data.insert(
        keys::ACCESS_TOKEN.to_owned(),
        SecretString::from(token.token.expose_secret()),
    );
    data.insert(
        keys::TOKEN_TYPE.to_owned(),
        SecretString::from(token.token_type.as_str()),
    );
    if let Some(lifetime) = lifetime {
        data.insert(
            keys::EXPIRES_AT.to_owned(),
            SecretString::from(lifetime.expires.to_string()),
        );
    }
    data
}
