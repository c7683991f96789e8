//! Private keys that people put into Secrets: a client's own (`tls.key`, `tls.crt`, as in a Secret of type `kubernetes.io/tls`), and the key file of a Google service
//! account, exactly as the console downloads it.
//!
//! What the file says of addresses is checked and never followed: a file from a stranger could otherwise send our assertions anywhere (invariant 11).

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::{Complaint, listed, optional};
use crate::{
    oauth::{ServiceAccount, SigningKey},
    store::{
        index::Key,
        secrets::{Contents, Unusable},
    },
};

/// The private key of a client, in a Secret of type `kubernetes.io/tls` and elsewhere.
pub(super) const KEY: &str = "tls.key";
/// Its certificate.
pub(super) const CERTIFICATE: &str = "tls.crt";
/// The name of the key at the server, where the server has several.
const KEY_ID: &str = "key_id";
/// The hosts that a key file may name in `token_uri`: all are Google's token endpoint, today's and those of old files.
const TOKEN_HOSTS: [&str; 3] = ["oauth2.googleapis.com", "accounts.google.com", "www.googleapis.com"];
/// No address is longer (RFC 5321 section 4.5.3.1.3).
const LONGEST_EMAIL: usize = 254;

/// The key with which the client signs, if the Secret has one.
pub(super) fn signing_key(key: &Key, contents: &Contents) -> Result<Option<SigningKey>, Complaint> {
    let Some(pem) = file(key, contents, KEY)? else {
        return Ok(None);
    };
    let signing = SigningKey::from_pem(&pem).map_err(|problem| format!("Key {KEY} of Secret {key} {problem}."))?;
    let signing = match file(key, contents, CERTIFICATE)? {
        Some(pem) => signing
            .with_certificate(pem.expose_secret())
            .map_err(|problem| format!("Key {CERTIFICATE} of Secret {key} {problem}."))?,
        None => signing,
    };
    Ok(Some(match optional(key, contents, KEY_ID)? {
        Some(id) => signing.with_key_id(id.expose_secret()),
        None => signing,
    }))
}

fn file(key: &Key, contents: &Contents, name: &str) -> Result<Option<SecretString>, Complaint> {
    match contents.text_file(name) {
        Ok(text) => Ok(Some(text)),
        Err(Unusable::Absent) => Ok(None),
        Err(Unusable::Empty) => Err(format!(
            "Key {name} of Secret {key} is empty: expected PEM, or no such key."
        )),
        Err(Unusable::NotText) => Err(format!(
            "Key {name} of Secret {key} is not text: expected PEM. A file in DER or PKCS#12 form is turned into PEM by openssl."
        )),
    }
}

/// The service account whose key file the Secret holds, under whatever name it was downloaded.
pub(super) fn service_account(key: &Key, contents: &Contents) -> Result<Option<ServiceAccount>, Complaint> {
    let files = contents.keys().into_iter().filter_map(|name| {
        let text = contents.text_file(name).ok()?;
        let kind: Kind = serde_json::from_str(text.expose_secret()).ok()?;
        Some((name, kind.kind, text))
    });
    let mut files = files.peekable();
    let Some((name, kind, text)) = files.next() else {
        return Ok(None);
    };
    if files.peek().is_some() {
        return Err(format!(
            "Secret {key} holds several key files of Google: expected one, found {}.",
            listed(contents)
        ));
    }
    let place = format!("Key {name} of Secret {key}");
    if kind != "service_account" {
        let known = ["authorized_user", "external_account", "impersonated_service_account"];
        let found = known.into_iter().find(|known| *known == kind).unwrap_or("another");
        return Err(format!(
            "{place} is Google's file of type {found}: expected type service_account, the key of a service account as the console downloads it."
        ));
    }
    read(&text).map(Some).map_err(|problem| format!("{place} {problem}"))
}

fn read(text: &SecretString) -> Result<ServiceAccount, Complaint> {
    // The parser's error could quote the file: it is dropped.
    let file: File = serde_json::from_str(text.expose_secret()).map_err(|_| {
        "is not the whole key file of a service account: expected client_email, private_key and private_key_id in it, as the console downloads it.".to_owned()
    })?;
    let plain = |text: &str| {
        !text.is_empty() && text.len() <= LONGEST_EMAIL && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if !plain(&file.client_email) || !file.client_email.contains('@') {
        return Err("has a client_email that is no address: expected the file as the console downloads it.".to_owned());
    }
    if !plain(&file.private_key_id) {
        return Err(
            "has a private_key_id that cannot be used: expected the file as the console downloads it.".to_owned(),
        );
    }
    if let Some(uri) = &file.token_uri {
        let url = Url::parse(uri).ok();
        let host = url
            .as_ref()
            .filter(|url| url.scheme() == "https")
            .and_then(Url::host_str);
        if !host.is_some_and(|host| TOKEN_HOSTS.contains(&host)) {
            return Err(format!(
                "names a token_uri that is not Google's: expected https://{}/token, as in every file that the console downloads. A key from elsewhere is not used, and nothing was sent.",
                TOKEN_HOSTS.first().copied().unwrap_or_default()
            ));
        }
    }
    let signing =
        SigningKey::from_pem(&file.private_key).map_err(|problem| format!("has a private_key that {problem}."))?;
    Ok(ServiceAccount {
        email: file.client_email,
        key: signing.with_key_id(&file.private_key_id),
    })
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct File {
    client_email: String,
    private_key: SecretString,
    private_key_id: String,
    token_uri: Option<String>,
}

#[cfg(test)]
mod tests;
