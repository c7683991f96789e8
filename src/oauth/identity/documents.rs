//! JSON documents of an issuer: its metadata, its keys, and what it says of the bearer of a token.
//!
//! They are fetched by the transport that token requests use, so its limits, address rules and proxies hold here too. Metadata and keys are kept for some minutes;
//! what is kept for one bundle of certificates is never shown to another, since people may bring their own.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use oauth2::HttpRequest;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use tokio::time::Instant;
use url::Url;

use crate::oauth::answer::{self, Completeness, SecretsInPlay};
use crate::oauth::redeem::{TokenClient, TransportFailure};
use crate::oauth::request::RequestError;
use crate::outbound::CaBundle;

/// For how long a document is used again. Providers announce new keys long before they sign with them, and an unknown key is looked up at once.
const KEPT_FOR: Duration = Duration::from_secs(10 * 60);

/// Documents beyond this many are dropped, oldest first.
const MOST_KEPT: usize = 64;

/// A document: a JSON object.
pub(super) type Document = Arc<Map<String, Value>>;

/// Why a document cannot be read. Prints as the end of "The keys of the issuer cannot be read: ".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DocumentError {
    /// The server could not be asked, or did not answer.
    Unreachable(Box<TransportFailure>),
    /// The server answered something else than 2xx.
    Status {
        /// The server.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// The answer is larger than the limit.
    TooLarge {
        /// The server.
        host: String,
    },
    /// The answer broke off, or did not end in time.
    Incomplete {
        /// The server.
        host: String,
    },
    /// The answer is no JSON object.
    NotJson {
        /// The server.
        host: String,
    },
}

impl DocumentError {
    /// Whether it may go away by itself.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable(failure) => matches!(failure.class(), crate::oauth::Class::Retry),
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            Self::Incomplete { .. } => true,
            Self::TooLarge { .. } | Self::NotJson { .. } => false,
        }
    }

    /// Whether the server said that there is no such document.
    pub(super) const fn is_absent(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 400..=499) && !self.is_temporary(),
            Self::NotJson { .. } => true,
            Self::Unreachable(_) | Self::TooLarge { .. } | Self::Incomplete { .. } => false,
        }
    }
}

impl fmt::Display for DocumentError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(failure) => write!(formatter, "{failure}"),
            Self::Status {
                host,
                status: status @ 300..=399,
            } => {
                write!(
                    formatter,
                    "{host} answered with HTTP {status}, a redirect, and none is followed"
                )
            }
            Self::Status { host, status } => write!(formatter, "{host} answered with HTTP {status}"),
            Self::TooLarge { host } => write!(formatter, "what {host} answered is larger than the limit"),
            Self::Incomplete { host } => write!(formatter, "what {host} answered broke off or took too long"),
            Self::NotJson { host } => write!(formatter, "what {host} answered is no JSON object"),
        }
    }
}

impl std::error::Error for DocumentError {}

/// Whose documents they are: address and trusted certificates.
pub(super) type Key = (Url, Option<[u8; 32]>);

fn key(url: &Url, authority: Option<&CaBundle>) -> Key {
    (url.clone(), authority.map(CaBundle::fingerprint))
}

/// The documents that were read in the last minutes.
#[derive(Debug, Default)]
pub(crate) struct Documents(Mutex<Vec<(Key, Instant, Document)>>);

impl Documents {
    pub(super) fn get(&self, key: &Key) -> Option<Document> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(_, read, _)| read.elapsed() < KEPT_FOR);
        let found = kept.iter().find(|(known, ..)| known == key);
        found.map(|(.., document)| Arc::clone(document))
    }

    pub(super) fn put(&self, key: Key, document: Document) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, ..)| *known != key);
        if kept.len() >= MOST_KEPT {
            kept.remove(0);
        }
        kept.push((key, Instant::now(), document));
    }
}

/// Where a document came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It was read before.
    Kept,
    /// It was read now.
    Read,
}

/// Reads a public document, or takes the copy of the last minutes.
pub(super) async fn kept(
    client: &TokenClient,
    url: &Url,
    authority: Option<&CaBundle>,
) -> Result<(Document, Origin), DocumentError> {
    match client.documents().get(&key(url, authority)) {
        Some(document) => Ok((document, Origin::Kept)),
        None => Ok((fresh(client, url, authority).await?, Origin::Read)),
    }
}

/// Reads a public document now, and keeps it.
pub(super) async fn fresh(
    client: &TokenClient,
    url: &Url,
    authority: Option<&CaBundle>,
) -> Result<Document, DocumentError> {
    let document = Arc::new(read(client, url, None, authority).await?);
    client.documents().put(key(url, authority), Arc::clone(&document));
    Ok(document)
}

/// Reads a document with an access token. The caller has checked that the host may see it (invariant 11). It is not kept.
pub(super) async fn as_bearer(
    client: &TokenClient,
    url: &Url,
    access_token: &SecretString,
    authority: Option<&CaBundle>,
) -> Result<Map<String, Value>, DocumentError> {
    read(client, url, Some(access_token), authority).await
}

async fn read(
    client: &TokenClient,
    url: &Url,
    access_token: Option<&SecretString>,
    authority: Option<&CaBundle>,
) -> Result<Map<String, Value>, DocumentError> {
    let secrets = access_token.map_or_else(SecretsInPlay::default, |token| {
        SecretsInPlay::default().with(token.expose_secret())
    });
    let response = client
        .ask(url, write(url, access_token), &secrets, authority)
        .await
        .map_err(|unanswered| DocumentError::Unreachable(Box::new(unanswered.failure)))?;
    let host = url.host_str().unwrap_or_default().to_owned();
    match (response.status, response.completeness) {
        (200..=299, Completeness::Whole) => {
            answer::json_object(&response.body).map_err(|_| DocumentError::NotJson { host })
        }
        (200..=299, Completeness::TooLarge) => Err(DocumentError::TooLarge { host }),
        (200..=299, Completeness::CutOff | Completeness::TimedOut) => Err(DocumentError::Incomplete { host }),
        (status, _) => Err(DocumentError::Status { host, status }),
    }
}

/// The request. The token goes into a header, never into the address (RFC 6750 section 2.3).
fn write(url: &Url, access_token: Option<&SecretString>) -> Result<HttpRequest, RequestError> {
    let mut request = http::Request::get(url.as_str())
        .header(ACCEPT, "application/json")
        .body(Vec::new())
        .map_err(|_| RequestError::Endpoint)?;
    if let Some(token) = access_token {
        let bearer = format!("Bearer {}", token.expose_secret());
        let mut bearer = HeaderValue::try_from(bearer).map_err(|_| RequestError::Endpoint)?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, bearer);
    }
    Ok(request)
}
