//! The endpoints that an issuer names in its metadata (OpenID Connect Discovery 1.0 section 3, RFC 8414 section 2).
//!
//! They are looked for where a spec sets `oauth2.issuer` and neither the spec nor the catalogue knows a token endpoint. Being named by an issuer frees no
//! credential: they are held against [`super::check_hosts`] like any others (invariant 11).

use serde_json::{Map, Value};
use url::Url;

use super::resolve::{UrlProblem, read_url};
use super::sign_in::NamesIssuer;
use crate::api::{ClientAuthentication, EndpointsStatus};

/// What an issuer says about its endpoints. All URLs are https, with a host and without user, password and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovered {
    /// Who says so.
    pub issuer: String,
    /// Token endpoint.
    pub token_url: Url,
    /// Where a person signs in.
    pub authorization_url: Option<Url>,
    /// Where a sign-in with a code begins (RFC 8628 section 4).
    pub device_authorization_url: Option<Url>,
    /// Where a token is given back.
    pub revocation_url: Option<Url>,
    /// Whether each authorization response names the issuer (RFC 9207 section 3).
    pub names_issuer: NamesIssuer,
    /// Which of the ways that we know it takes a client secret in, best first. Empty: it does not say, or knows none of ours.
    pub authentication_with_secret: Vec<ClientAuthentication>,
}

/// Why what an issuer says about its endpoints cannot be used. Prints as the end of a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnusableMetadata {
    /// There is no token endpoint.
    #[error("its metadata name no token_endpoint")]
    NoTokenEndpoint,
    /// An endpoint cannot be called. The URL is not repeated: it is the server's word.
    #[error("the {member} in its metadata cannot be used: {problem}")]
    Endpoint {
        /// The member of the document.
        member: &'static str,
        /// What is wrong with it.
        problem: UrlProblem,
    },
}

/// The names in `status.endpoints.discovered`.
const TOKEN: &str = "tokenURL";
const AUTHORIZATION: &str = "authorizationURL";
const DEVICE: &str = "deviceAuthorizationURL";
const REVOCATION: &str = "revocationURL";
const AUTHENTICATION: &str = "clientAuthentication";
const ISS: &str = "iss";

impl Discovered {
    /// Reads an issuer's metadata. That they are this issuer's has been checked.
    ///
    /// # Errors
    /// [`UnusableMetadata`]: one bad endpoint makes all of it suspect.
    pub fn of_metadata(issuer: &str, metadata: &Map<String, Value>) -> Result<Self, UnusableMetadata> {
        let url = |member: &'static str| match metadata.get(member) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read_url(value.as_str().unwrap_or_default())
                .map(Some)
                .map_err(|problem| UnusableMetadata::Endpoint { member, problem }),
        };
        Ok(Self {
            issuer: issuer.to_owned(),
            token_url: url("token_endpoint")?.ok_or(UnusableMetadata::NoTokenEndpoint)?,
            authorization_url: url("authorization_endpoint")?,
            device_authorization_url: url("device_authorization_endpoint")?,
            revocation_url: url("revocation_endpoint")?,
            names_issuer: NamesIssuer::of_metadata(metadata),
            authentication_with_secret: methods(metadata.get("token_endpoint_auth_methods_supported")),
        })
    }

    /// What was found when the status was written: a restart asks no issuer about what is known (invariant 4). Only what was found by discovery counts, never what
    /// an earlier spec had written out.
    #[must_use]
    pub fn of_status(issuer: &str, shown: &EndpointsStatus) -> Option<Self> {
        if shown.issuer.as_deref() != Some(issuer) {
            return None;
        }
        let found = |name: &str| shown.discovered.iter().any(|known| known == name);
        let url = |name: &str, shown: &Option<String>| {
            let shown = shown.as_deref().filter(|_| found(name))?;
            read_url(shown).ok()
        };
        Some(Self {
            issuer: issuer.to_owned(),
            token_url: url(TOKEN, &shown.token_url)?,
            authorization_url: url(AUTHORIZATION, &shown.authorization_url),
            device_authorization_url: url(DEVICE, &shown.device_authorization_url),
            revocation_url: url(REVOCATION, &shown.revocation_url),
            names_issuer: if found(ISS) {
                NamesIssuer::Always
            } else {
                NamesIssuer::Perhaps
            },
            authentication_with_secret: shown
                .client_authentication
                .filter(|method| found(AUTHENTICATION) && *method != ClientAuthentication::None)
                .into_iter()
                .collect(),
        })
    }

    /// The names of the fields of this status that were found by discovery.
    pub(super) fn names_in(&self, status: &EndpointsStatus) -> Vec<String> {
        let same = |found: Option<&Url>, shown: &Option<String>| {
            found.is_some_and(|found| shown.as_deref() == Some(found.as_str()))
        };
        let names = [
            (TOKEN, same(Some(&self.token_url), &status.token_url)),
            (
                AUTHORIZATION,
                same(self.authorization_url.as_ref(), &status.authorization_url),
            ),
            (
                DEVICE,
                same(self.device_authorization_url.as_ref(), &status.device_authorization_url),
            ),
            (REVOCATION, same(self.revocation_url.as_ref(), &status.revocation_url)),
            (
                AUTHENTICATION,
                status
                    .client_authentication
                    .is_some_and(|shown| self.authentication_with_secret.contains(&shown)),
            ),
            (ISS, self.names_issuer == NamesIssuer::Always),
        ];
        let found = names.into_iter().filter(|(_, found)| *found);
        found.map(|(name, _)| name.to_owned()).collect()
    }
}

impl NamesIssuer {
    /// What an issuer's metadata say about it.
    #[must_use]
    pub fn of_metadata(metadata: &Map<String, Value>) -> Self {
        match metadata.get("authorization_response_iss_parameter_supported") {
            Some(Value::Bool(true)) => Self::Always,
            _ => Self::Perhaps,
        }
    }
}

/// RFC 8414 section 2: where nothing is said, a secret goes into the header. That is our own default too.
fn methods(said: Option<&Value>) -> Vec<ClientAuthentication> {
    let said = said.and_then(Value::as_array);
    let takes = |name: &str| said.is_some_and(|said| said.iter().any(|method| method.as_str() == Some(name)));
    let known = [
        ("client_secret_basic", ClientAuthentication::ClientSecretBasic),
        ("client_secret_post", ClientAuthentication::ClientSecretPost),
    ];
    let accepted = known.into_iter().filter(|(name, _)| takes(name));
    accepted.map(|(_, method)| method).collect()
}
