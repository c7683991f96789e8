//! Who signed in: the account that the issuer asserts, proven, or why not.

use crate::provider::{HostPolicy, Identity};

use super::answer::Answer;
use super::certificates::CaBundle;
use super::redeem::TokenClient;

/// What is asked about one answer of a token endpoint.
#[derive(Debug, Clone)]
pub struct Question {
    /// What proves an account at this provider.
    pub identity: Identity,
    /// Our client ID: ID tokens must be meant for it.
    pub client_id: String,
    /// The nonce of the authorization request; the ID token must repeat it. None: there was none, as in the device flow.
    pub nonce: Option<String>,
    /// Which hosts may see the access token: [`HostPolicy::for_access_token`].
    pub allowed: HostPolicy,
    /// Trusted at the issuer, on top of the platform's authorities.
    pub certificate_authority: Option<CaBundle>,
}

/// An account that its issuer asserts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Who asserts it: the `iss` of the ID token.
    pub issuer: String,
    /// The issuer's own number for it, never given to another: `sub`.
    pub subject: String,
    /// Its name: an address. At most 320 characters, printable.
    pub name: String,
}

/// Why nobody is proven to have signed in. Each message is a sentence or two on what was expected and found, and the next step; no token is repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// Nobody asserts an account.
    #[error(
        "No issuer is known that would say which account signed in: set spec.oauth2.issuer to the server's OpenID issuer, exactly as its metadata write it."
    )]
    NoIssuer,
}

/// Who signed in, by the answer of the token endpoint.
///
/// # Errors
/// [`Unproven`].
pub async fn prove(_client: &TokenClient, _question: &Question, _answer: &Answer) -> Result<Account, Unproven> {
    Err(Unproven::NoIssuer)
}

/// Whether the account that signed in is the one that was wanted. See [`Identity::same_account`].
#[must_use]
pub fn account_matches(identity: &Identity, wanted: &str, asserted: &str) -> bool {
    identity.same_account(wanted, asserted)
}
