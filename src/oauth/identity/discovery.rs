//! What an issuer says about itself (OpenID Connect Discovery 1.0, RFC 8414).
//!
//! The document is believed only if it names exactly the issuer that was asked for (Discovery section 4.3, RFC 8414 section 3.3). Each member is optional: servers leave
//! out even what the RFCs require.

use serde_json::{Map, Value};
use url::Url;

use super::documents::{self, Document, DocumentError};
use crate::oauth::answer;
use crate::oauth::redeem::TokenClient;
use crate::outbound::CaBundle;
use crate::provider::{Discovered, NamesIssuer, UnusableMetadata};

/// What an issuer says about itself. Nothing here has been checked against [`crate::provider::HostPolicy`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The issuer, as it was asked for.
    pub issuer: String,
    /// Where its keys are.
    pub keys_url: Option<Url>,
    /// Where a bearer of an access token learns whose it is.
    pub userinfo_url: Option<Url>,
    /// Whether each authorization response names the issuer (RFC 9207 section 3).
    pub names_issuer: NamesIssuer,
    /// Where the rest of OAuth is.
    pub endpoints: Result<Discovered, UnusableMetadata>,
    /// Scopes it knows; empty where it does not say. At most 256.
    pub scopes_supported: Vec<String>,
}

/// Why nothing is known about an issuer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undiscovered {
    /// The issuer is no address whose metadata could be asked for.
    #[error("the issuer is no https URL without query and fragment")]
    NoUrl,
    /// There is no document, or it cannot be read.
    #[error("{0}")]
    Document(DocumentError),
    /// The document is of another issuer.
    #[error("its metadata name the issuer {found}: the two must be the same to the letter, a final slash included")]
    OtherIssuer {
        /// Who it says it is; bounded.
        found: String,
    },
}

impl Undiscovered {
    /// Whether the server asked for patience.
    #[must_use]
    pub const fn is_throttling(&self) -> bool {
        matches!(self, Self::Document(DocumentError::Status { status: 429, .. }))
    }

    /// Whether it may go away by itself.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        match self {
            Self::Document(error) => error.is_temporary(),
            Self::NoUrl | Self::OtherIssuer { .. } => false,
        }
    }
}

/// Asks an issuer about itself, or takes what it said in the last minutes. First as OpenID Connect has it, then as RFC 8414 has it.
///
/// # Errors
/// [`Undiscovered`].
pub async fn discover(
    client: &TokenClient,
    issuer: &str,
    authority: Option<&CaBundle>,
) -> Result<Metadata, Undiscovered> {
    ask(client, issuer, authority, Age::OfMinutes).await
}

/// As [`discover`], where only what it says now will do.
///
/// # Errors
/// [`Undiscovered`].
pub async fn discover_anew(
    client: &TokenClient,
    issuer: &str,
    authority: Option<&CaBundle>,
) -> Result<Metadata, Undiscovered> {
    ask(client, issuer, authority, Age::OfNow).await
}

/// How old a document may be.
#[derive(Clone, Copy)]
enum Age {
    OfMinutes,
    OfNow,
}

async fn read(
    client: &TokenClient,
    url: &Url,
    authority: Option<&CaBundle>,
    age: Age,
) -> Result<Document, DocumentError> {
    match age {
        Age::OfMinutes => documents::kept(client, url, authority)
            .await
            .map(|(document, _)| document),
        Age::OfNow => documents::fresh(client, url, authority).await,
    }
}

async fn ask(
    client: &TokenClient,
    issuer: &str,
    authority: Option<&CaBundle>,
    age: Age,
) -> Result<Metadata, Undiscovered> {
    let [openid, oauth] = addresses(issuer).ok_or(Undiscovered::NoUrl)?;
    let document = match read(client, &openid, authority, age).await {
        Err(error) if error.is_absent() => match read(client, &oauth, authority, age).await {
            // The first address is the one that people know.
            Err(second) if second.is_absent() => Err(error),
            second => second,
        },
        first => first,
    };
    let document = document.map_err(Undiscovered::Document)?;
    match answer::text(&document, "issuer") {
        Some(found) if found == issuer => Ok(metadata(issuer, &document)),
        found => Err(Undiscovered::OtherIssuer {
            found: super::shown(found.unwrap_or_default()),
        }),
    }
}

/// OpenID Connect appends to the issuer's path, RFC 8414 section 3.1 inserts before it.
fn addresses(issuer: &str) -> Option<[Url; 2]> {
    let url = Url::parse(issuer).ok()?;
    if url.scheme() != "https" || url.query().is_some() || url.fragment().is_some() {
        return None;
    }
    let path = url.path().trim_end_matches('/');
    let at = |path: &str| {
        let mut url = url.clone();
        url.set_path(path);
        url
    };
    Some([
        at(&format!("{path}/.well-known/openid-configuration")),
        at(&format!("/.well-known/oauth-authorization-server{path}")),
    ])
}

fn metadata(issuer: &str, document: &Map<String, Value>) -> Metadata {
    let url = |name: &str| {
        let url = Url::parse(answer::text(document, name)?).ok()?;
        (url.scheme() == "https").then_some(url)
    };
    let scopes = document.get("scopes_supported").and_then(Value::as_array);
    let plain = |scope: &&str| scope.len() <= 256 && scope.bytes().all(|byte| byte.is_ascii_graphic());
    Metadata {
        issuer: issuer.to_owned(),
        keys_url: url("jwks_uri"),
        userinfo_url: url("userinfo_endpoint"),
        names_issuer: NamesIssuer::of_metadata(document),
        endpoints: Discovered::of_metadata(issuer, document),
        scopes_supported: scopes
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .filter(plain)
            .take(256)
            .map(str::to_owned)
            .collect(),
    }
}
