//! Giving a refresh token back (RFC 7009), so that it opens nothing any more.

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::answer::{self, SecretsInPlay};
use super::classify::{Class, Evidence, Refusal};
use super::redeem::{self, TokenClient, TransportFailure};
use super::request::{self, ClientCredentials};
use super::situation::Situation;
use crate::outbound::CaBundle;

/// All that giving a token back needs. The caller has checked that the credentials may go to this host (invariant 11).
#[derive(Debug, Clone)]
pub struct Revocation {
    /// The revocation endpoint. `https`, without user and password in it.
    pub endpoint: Url,
    /// Who we are.
    pub client: ClientCredentials,
    /// What is given back.
    pub refresh_token: SecretString,
    /// Error codes with which the server says that it does not know the token any more: then nothing is left to give back.
    pub gone: Vec<String>,
    /// Trusted for this exchange, on top of the platform's authorities.
    pub certificate_authority: Option<CaBundle>,
}

/// How it ended. Safe to print.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRevoked {
    /// The server decided against it.
    #[error("the server refused to take the token back: {}", .0.code)]
    Refused(Refusal),
    /// The server could not be asked, or its answer cannot be read.
    #[error("the token could not be given back: {0}")]
    Unreachable(TransportFailure),
}

impl NotRevoked {
    /// Whether the same request may succeed in a moment.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        let class = match self {
            Self::Refused(refusal) => refusal.class,
            Self::Unreachable(failure) => failure.class(),
        };
        matches!(class, Class::Retry | Class::Throttled)
    }
}

impl TokenClient {
    /// Gives a refresh token back once. A server that does not know the token any more says yes as well (RFC 7009 section 2.2), or one of the codes that
    /// `revocation` has for that, so asking again is safe.
    ///
    /// # Errors
    /// [`NotRevoked`].
    pub async fn revoke(&self, revocation: &Revocation, situation: &Situation) -> Result<(), NotRevoked> {
        let secrets = SecretsInPlay::default().with(revocation.refresh_token.expose_secret());
        let secrets = revocation.client.hide_in(secrets);
        let authority = revocation.certificate_authority.as_ref();
        let written = request::write_revocation(revocation);
        let secrets = request::hide_assertions(&written, secrets);
        let response = self
            .ask(&revocation.endpoint, written, &secrets, authority)
            .await
            .map_err(|unanswered| NotRevoked::Unreachable(unanswered.failure))?;
        // What else stands in the body of a yes does not matter (RFC 7009 section 2.2). Zoho says no with 200.
        if (200..300).contains(&response.status) && !answer::names_error(&response.body) {
            return Ok(());
        }
        match redeem::decided(&response, &revocation.endpoint, &secrets, situation) {
            Ok(refusal) if revocation.says_gone(&refusal) => Ok(()),
            Ok(refusal) => Err(NotRevoked::Refused(refusal)),
            Err(doubt) => Err(NotRevoked::Unreachable(*doubt)),
        }
    }
}

impl Revocation {
    fn says_gone(&self, refusal: &Refusal) -> bool {
        let said = |code: &String| refusal.evidence == Evidence::ErrorCode && refusal.code.as_str() == code;
        self.gone.iter().any(said)
    }
}

#[cfg(test)]
mod tests;
