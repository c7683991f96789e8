//! Reading what people put into Secrets: the OAuth client and the seed.
//!
//! Values are trimmed of white space and line ends, since people write `echo token | base64`. Messages name the Secret, the key, what was found and what to do,
//! never a value.

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{
    index::Key,
    secrets::{Contents, Unusable},
};
use crate::lifecycle::Fingerprint;

const CLIENT_ID: &str = "client_id";
const CLIENT_SECRET: &str = "client_secret";
/// The file that Google's console offers for download, as a key of the Secret.
const GOOGLE_FILE: &str = "client_secret.json";

/// An OAuth client as its Secret holds it.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its ID, if the Secret has one.
    pub id: Option<String>,
    /// Its secret, unless it is a public client.
    pub secret: Option<SecretString>,
}

/// What is wrong with an input, for people.
pub type Complaint = String;

/// The client in a Secret: keys `client_id` and `client_secret`, or `client_secret.json` as Google's console downloads it.
///
/// # Errors
/// A [`Complaint`] when a value is there and cannot be used, or when there is nothing at all.
pub fn client(key: &Key, contents: &Contents) -> Result<Client, Complaint> {
    if let Ok(file) = contents.text_file(GOOGLE_FILE) {
        return google_client(key, &file);
    }
    let id = optional(key, contents, CLIENT_ID)?;
    let secret = optional(key, contents, CLIENT_SECRET)?;
    if id.is_none() && secret.is_none() {
        return Err(format!(
            "Secret {key} holds no OAuth client: expected the keys {CLIENT_ID} and {CLIENT_SECRET} (or {GOOGLE_FILE}), found {}.",
            listed(contents)
        ));
    }
    Ok(Client {
        id: id.map(|id| id.expose_secret().to_owned()),
        secret,
    })
}

/// The seed in a Secret.
///
/// # Errors
/// A [`Complaint`] when there is none.
pub fn seed(key: &Key, contents: &Contents, data_key: &str) -> Result<SecretString, Complaint> {
    contents.text(data_key).map_err(|problem| match problem {
        Unusable::Absent => format!(
            "Secret {key} has no key {data_key}: expected a refresh token there, found {}.",
            listed(contents)
        ),
        Unusable::Empty => format!("Key {data_key} of Secret {key} is empty: expected a refresh token."),
        Unusable::NotText => {
            format!(
                "Key {data_key} of Secret {key} is not one line of text: expected a refresh token and nothing else."
            )
        }
    })
}

/// The message for an input Secret that is not there.
#[must_use]
pub fn missing(key: &Key, purpose: &str, create: &str) -> Complaint {
    let (namespace, name) = (&key.namespace, &key.name);
    format!(
        "Secret {key} ({purpose}) does not exist. Create it: kubectl create secret generic -n {namespace} {name} {create}"
    )
}

/// A digest that tells two refresh tokens apart and gives neither away: refresh tokens are long and random, so it cannot be guessed back.
#[must_use]
pub fn fingerprint(refresh_token: &SecretString) -> Fingerprint {
    let mut hash = Sha256::new();
    hash.update("emailasset.dev seed\0");
    hash.update(refresh_token.expose_secret());
    Fingerprint(format!("{:x}", hash.finalize()).chars().take(32).collect())
}

fn optional(key: &Key, contents: &Contents, data_key: &str) -> Result<Option<SecretString>, Complaint> {
    match contents.text(data_key) {
        Ok(text) => Ok(Some(text)),
        Err(Unusable::Absent) => Ok(None),
        Err(Unusable::Empty) => Err(format!(
            "Key {data_key} of Secret {key} is empty: expected the OAuth client's value, or no such key."
        )),
        Err(Unusable::NotText) => Err(format!("Key {data_key} of Secret {key} is not one line of text.")),
    }
}

#[derive(Deserialize)]
struct GoogleFile {
    #[serde(alias = "web")]
    installed: Option<GoogleClient>,
}

#[derive(Deserialize)]
struct GoogleClient {
    client_id: String,
    client_secret: Option<String>,
}

fn google_client(key: &Key, file: &SecretString) -> Result<Client, Complaint> {
    // The error of the parser could quote the file: it is dropped.
    let parsed: Option<GoogleFile> = serde_json::from_str(file.expose_secret()).ok();
    let client = parsed.and_then(|file| file.installed).ok_or_else(|| {
        format!(
            "Key {GOOGLE_FILE} of Secret {key} is not the file that Google's console downloads: expected JSON with \"web\" or \"installed\" and client_id in \
             it."
        )
    })?;
    let secret = client
        .client_secret
        .filter(|secret| !secret.is_empty())
        .map(SecretString::from);
    Ok(Client {
        id: Some(client.client_id),
        secret,
    })
}

fn listed(contents: &Contents) -> String {
    let keys = contents.keys();
    if keys.is_empty() {
        "no key".to_owned()
    } else {
        format!("the keys {}", keys.join(", "))
    }
}
