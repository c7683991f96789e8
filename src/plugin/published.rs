//! The token Secret of an asset, as a person with the right to read it gets it: what `token` prints, and `verify` logs in with.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use secrecy::SecretString;

use super::arguments::Protocol;
use super::cluster::{Cluster, SECRETS};
use super::exit::{Exit, Problem};
use super::story::in_short;
use super::words::distance;
use crate::api::{EmailAsset, Security, names};
use crate::store::token::keys;

const SECURITIES: [Security; 3] = [Security::Tls, Security::StartTls, Security::None];

/// A token Secret whose token has not ended.
pub(super) struct Published {
    pub(super) asset: EmailAsset,
    /// `namespace/name`.
    pub(super) secret: String,
    pub(super) contents: Contents,
    /// When the token ends; none where nobody says so.
    pub(super) expires: Option<Timestamp>,
}

/// Reads it.
pub(super) async fn published(cluster: &Cluster, asset: &str) -> Result<Published, Problem> {
    let asset = cluster.asset(asset).await?;
    let status = asset.status.as_ref().and_then(|status| status.token.as_ref());
    let name = status
        .and_then(|token| token.secret_name.clone())
        .unwrap_or_else(|| asset.token_secret_name());
    let api = cluster.secrets();
    let found = cluster
        .call(cluster.right("get", SECRETS, Some(&name)), api.get_opt(&name))
        .await?;
    let secret = format!("{}/{name}", cluster.namespace);
    let now = Timestamp::now();
    let refused = |what: String| Problem::new(Exit::Found, format!("{what} {}", in_short(&asset, now)));
    let Some(found) = found else {
        return Err(refused(format!(
            "There is no token yet: Secret {secret} does not exist."
        )));
    };
    if found.type_.as_deref() != Some(names::TOKEN_SECRET_TYPE) {
        let kind = found.type_.as_deref().unwrap_or("not known");
        return Err(refused(format!(
            "Secret {secret} was not made by the operator (its type is {kind}), so nothing of it is used."
        )));
    }
    let contents = Contents(found.data.unwrap_or_default());
    let expires = contents
        .text(keys::EXPIRES_AT)
        .and_then(|text| text.parse::<Timestamp>().ok());
    if let Some(expires) = expires.filter(|expires| *expires <= now) {
        let since = distance(expires, now);
        return Err(refused(format!(
            "The token in Secret {secret} ended {since} ({expires}), so it is not used."
        )));
    }
    Ok(Published {
        asset,
        secret,
        contents,
        expires,
    })
}

/// What a token Secret holds. It cannot be printed.
pub(super) struct Contents(BTreeMap<String, ByteString>);

/// A mail server that the Secret names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownServer {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) security: Security,
}

impl Contents {
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        std::str::from_utf8(&self.0.get(key)?.0).ok().map(str::trim)
    }

    pub(super) fn token(&self) -> Result<SecretString, String> {
        self.text(keys::ACCESS_TOKEN)
            .filter(|token| !token.is_empty())
            .map(SecretString::from)
            .ok_or_else(|| format!("has no key {}.", keys::ACCESS_TOKEN))
    }

    /// The login name at a server, or at all of them.
    pub(super) fn username(&self, protocol: Option<Protocol>) -> Result<&str, String> {
        protocol
            .and_then(|protocol| self.text(&format!("{}_username", protocol.key())))
            .or_else(|| self.text("username"))
            .ok_or_else(|| "has no key username, the login name at the mail servers.".to_owned())
    }

    pub(super) fn server(&self, protocol: Protocol) -> Option<KnownServer> {
        let protocol = protocol.key();
        Some(KnownServer {
            host: self.text(&format!("{protocol}_host"))?.to_owned(),
            port: self.text(&format!("{protocol}_port"))?.parse().ok()?,
            security: self
                .text(&format!("{protocol}_security"))
                .and_then(|text| SECURITIES.into_iter().find(|security| security.as_str() == text))
                .unwrap_or(Security::Tls),
        })
    }
}

impl Protocol {
    pub(super) const ALL: [Self; 3] = [Self::Imap, Self::Smtp, Self::Pop3];

    /// What its keys in a token Secret begin with, and its field in a spec.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
        }
    }
}

#[cfg(test)]
pub(super) fn contents(data: &[(&str, &str)]) -> Contents {
    let entry = |(key, value): &(&str, &str)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec()));
    Contents(data.iter().map(entry).collect())
}
