//! Redeeming an authorization code (RFC 6749 section 4.1.3, RFC 7636 section 4.5). It ends like a redemption of a refresh token: see [`super`].

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::answer::SecretsInPlay;
use super::redeem::{Outcome, TokenClient};
use super::request::{self, ClientCredentials};
use super::situation::Situation;
use crate::outbound::CaBundle;

/// All that one exchange of a code needs. The caller has checked that the credentials may go to this host (invariant 11).
#[derive(Debug, Clone)]
pub struct CodeExchange {
    /// Where to. `https`, without user and password in it.
    pub token_endpoint: Url,
    /// Who we are.
    pub client: ClientCredentials,
    /// The authorization code. It is good once.
    pub code: SecretString,
    /// The PKCE verifier whose challenge was in the authorization request.
    pub verifier: SecretString,
    /// The redirect URI of the authorization request, letter by letter.
    pub redirect_uri: String,
    /// Trusted for this exchange, on top of the platform's authorities.
    pub certificate_authority: Option<CaBundle>,
}

impl CodeExchange {
    /// The secrets that the request holds, to keep them out of what is said about the answer.
    fn secrets(&self) -> SecretsInPlay {
        let secrets = SecretsInPlay::default()
            .with(self.code.expose_secret())
            .with(self.verifier.expose_secret());
        self.client.hide_in(secrets)
    }
}

impl TokenClient {
    /// Redeems an authorization code once. Dropping the future after the request was sent loses the answer: run it where nothing cancels it.
    pub async fn exchange(&self, exchange: &CodeExchange, situation: &Situation) -> Outcome {
        let written = request::write_code(exchange);
        let secrets = request::hide_assertions(&written, exchange.secrets());
        let authority = exchange.certificate_authority.as_ref();
        self.ask_for_token(&exchange.token_endpoint, written, &secrets, authority, situation)
            .await
    }
}

#[cfg(test)]
mod tests;
