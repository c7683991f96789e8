//! Tokens that are issued to the client itself, or to a service account for a mailbox: no person, no refresh token.
//!
//! Grants `client_credentials` (RFC 6749 section 4.4) and `urn:ietf:params:oauth:grant-type:jwt-bearer` (RFC 7523 section 2.1). Nothing can be lost by asking twice.
//! It ends like a redemption: see [`super`].

use http::{Method, header};
use jiff::Timestamp;
use oauth2::HttpRequest;
use secrecy::ExposeSecret;
use url::{Url, form_urlencoded};

use super::answer::SecretsInPlay;
use super::assertion::{self, MailboxAssertion, ServiceAccount};
use super::redeem::{Outcome, TokenClient};
use super::request::{self, ClientCredentials, RequestError};
use super::situation::Situation;
use crate::outbound::CaBundle;

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// All that asking for one token needs. The caller has checked that the credentials may go to this host (invariant 11).
#[derive(Debug, Clone)]
pub struct Issuance {
    /// Where to. `https`, without user and password in it.
    pub token_endpoint: Url,
    /// Who asks.
    pub to: IssuedTo,
    /// What is asked for; empty: what the server gives this client by itself.
    pub scopes: Vec<String>,
    /// Trusted for this exchange, on top of the platform's authorities.
    pub certificate_authority: Option<CaBundle>,
}

/// Who gets a token without a person.
#[derive(Debug, Clone)]
pub enum IssuedTo {
    /// The client itself.
    Client(ClientCredentials),
    /// A service account that acts for a mailbox.
    Delegate {
        /// The service account.
        account: ServiceAccount,
        /// The mailbox's account.
        mailbox: String,
        /// What the server wants to see.
        form: MailboxAssertion,
    },
}

impl Issuance {
    fn secrets(&self) -> SecretsInPlay {
        match &self.to {
            IssuedTo::Client(client) => client.hide_in(SecretsInPlay::default()),
            IssuedTo::Delegate { .. } => SecretsInPlay::default(),
        }
    }
}

impl TokenClient {
    /// Asks for a token once. A refresh token in the answer is of no use: the same question is asked again.
    pub async fn issue(&self, issuance: &Issuance, situation: &Situation) -> Outcome {
        let written = write(issuance, Timestamp::now());
        let secrets = request::hide_assertions(&written, issuance.secrets());
        let authority = issuance.certificate_authority.as_ref();
        self.ask_for_token(&issuance.token_endpoint, written, &secrets, authority, situation)
            .await
    }
}

fn write(issuance: &Issuance, now: Timestamp) -> Result<HttpRequest, RequestError> {
    let endpoint = &issuance.token_endpoint;
    match &issuance.to {
        IssuedTo::Client(client) => request::write_client_credentials(endpoint, client, &issuance.scopes),
        IssuedTo::Delegate { account, mailbox, form } => {
            let assertion = assertion::for_mailbox(account, mailbox, &issuance.scopes, form, now)
                .map_err(|_| RequestError::Signature)?;
            let body = form_urlencoded::Serializer::new(String::new())
                .append_pair("grant_type", JWT_BEARER)
                .append_pair("assertion", assertion.expose_secret())
                .finish();
            http::Request::builder()
                .method(Method::POST)
                .uri(endpoint.as_str())
                .header(header::ACCEPT, "application/json")
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(body.into_bytes())
                .map_err(|_| RequestError::Endpoint)
        }
    }
}

#[cfg(test)]
mod tests;
