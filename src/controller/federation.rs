//! The operator's own identity at token endpoints: a projected `ServiceAccount` token that stands for a client (RFC 7523 section 2.2; Entra calls it a federated credential).
//!
//! The file is the operator's own setting, never an asset's, and it is read for each request: the kubelet replaces it. People who may make assets could use this
//! identity for any client that trusts it, so the settings name the clients that each namespace may use, and the hosts that may be sent the token are the catalogue's
//! or those of the settings alone, whatever a Secret's annotation says (invariant 11).

use std::path::{Path, PathBuf};

use secrecy::SecretString;
use tokio::{fs::File, io::AsyncReadExt};
use url::Url;

use crate::provider::Authority;

/// A token of the API server has about a kilobyte.
const LARGEST: usize = 64 * 1024;

/// What the operator's settings say of its own identity.
#[derive(Debug, Clone, Default)]
pub struct Federation {
    /// The file with the token.
    pub file: Option<PathBuf>,
    /// Which clients it may stand for, as `namespace/client ID`; `*` for any namespace.
    pub clients: Vec<String>,
    /// Hosts that may be sent it besides the catalogue's own.
    pub hosts: Vec<Authority>,
}

/// Why there is no token to send, for people: what is wrong and the next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoToken {
    /// The settings do not give this asset one: an admin of the operator must act.
    NotGiven(String),
    /// The file cannot be read now. The kubelet may be about to replace it.
    Unreadable(String),
}

impl Federation {
    /// The token as it stands in the file now, for an asset of this namespace under this client.
    ///
    /// # Errors
    /// See [`NoToken`].
    pub(super) async fn token(&self, namespace: &str, client_id: &str) -> Result<SecretString, NoToken> {
        let Some(file) = &self.file else {
            return Err(NoToken::NotGiven(
                "spec.oauth2.clientAuthentication is FederatedToken, and the operator has no identity of its own to show: an admin of the operator mounts a projected \
                 ServiceAccount token and starts it with --federated-token-file (docs/providers/microsoft-app.md)."
                    .to_owned(),
            ));
        };
        let allows = |entry: &String| {
            entry
                .split_once('/')
                .is_some_and(|(place, client)| client == client_id && (place == namespace || place == "*"))
        };
        if !self.clients.iter().any(allows) {
            return Err(NoToken::NotGiven(format!(
                "Assets of namespace {namespace} may not use client {client_id} with the operator's own identity (clientAuthentication FederatedToken). If they shall, an admin \
                 of the operator starts it with --federated-client {namespace}/{client_id}"
            )));
        }
        let unreadable = |problem: &str| {
            NoToken::Unreadable(format!(
                "The operator's own identity cannot be shown: the file of --federated-token-file {problem}. It is read again at the next try; if it stays like this, an admin of the \
                 operator looks after it."
            ))
        };
        let text = read(file).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => unreadable("does not exist"),
            std::io::ErrorKind::InvalidData => unreadable("is not text"),
            kind => unreadable(&format!("cannot be read ({kind})")),
        })?;
        if text.len() > LARGEST {
            return Err(unreadable("is larger than a token"));
        }
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(unreadable("holds no token: expected one line of visible characters"));
        }
        Ok(SecretString::from(token))
    }

    /// Checks that the token may be sent to this endpoint.
    ///
    /// # Errors
    /// What is wrong and the next step, for people.
    pub(super) fn check_host(&self, own: &[Authority], endpoint: &Url) -> Result<(), String> {
        let known = own.iter().chain(&self.hosts);
        if endpoint.scheme() == "https" && known.into_iter().any(|known| known.covers(&Authority::of(endpoint))) {
            return Ok(());
        }
        let host = Authority::of(endpoint);
        Err(format!(
            "The operator's own identity (clientAuthentication FederatedToken) may not be sent to {host}: this is no host of the provider in use. Leave the URLs of \
             spec.oauth2 out, or an admin of the operator starts it with --federated-host {host}"
        ))
    }
}

async fn read(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let most = u64::try_from(LARGEST).unwrap_or(u64::MAX).saturating_add(1);
    File::open(file).await?.take(most).read_to_string(&mut text).await?;
    Ok(text)
}

#[cfg(test)]
mod tests;
