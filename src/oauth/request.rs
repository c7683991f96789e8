//! The requests to an authorization server: redeeming a refresh token (RFC 6749 section 6) or a code (section 4.1.3), the two of the device flow (RFC 8628), a
//! token for the client itself (RFC 6749 section 4.4), and giving a token back (RFC 7009); and in all of them how the client proves itself.
//! The `oauth2` crate writes them; we send them and read the answers.
//!
//! The crate is not given the answer: its errors would carry the raw body, tokens included, and it would lose the status of
//! an answer that is not JSON.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use jiff::Timestamp;
use oauth2::basic::BasicClient;
use oauth2::{
    AuthType, AuthorizationCode, ClientId, ClientSecret, DeviceAuthorizationUrl, HttpRequest, HttpResponse,
    PkceCodeVerifier, RedirectUrl, RefreshToken, RevocationUrl, Scope, StandardDeviceAuthorizationResponse,
    StandardRevocableToken, TokenUrl,
};
use secrecy::{ExposeSecret, SecretString};
use url::{Url, form_urlencoded};

use super::answer::SecretsInPlay;
use super::assertion::{self, ClientKey};
use super::device::{DevicePoll, DeviceRequest};
use super::exchange::CodeExchange;
use super::revoke::Revocation;
use crate::outbound::CaBundle;
use crate::provider::Endpoints;

/// How a client proves itself to the token endpoint (RFC 6749 section 2.3, RFC 7523 section 2.2).
#[derive(Debug, Clone)]
pub enum ClientAuthentication {
    /// Client ID and secret, each URL-encoded, in a Basic header.
    ClientSecretBasic,
    /// Client ID and secret in the body.
    ClientSecretPost,
    /// An assertion that the client signs for each request.
    PrivateKeyJwt(ClientKey),
    /// An assertion that somebody else signed for the client, whom the server trusts, as read for this request.
    Federated(SecretString),
    /// A public client: its ID in the body, a secret is not sent even if there is one.
    None,
}

/// Who we are at the token endpoint. Without a secret, a client that `authentication` wants to prove itself by one is public.
#[derive(Debug, Clone)]
pub struct ClientCredentials {
    /// The client ID, as registered.
    pub client_id: String,
    /// The client secret.
    pub client_secret: Option<SecretString>,
    /// How they are sent.
    pub authentication: ClientAuthentication,
}

impl ClientCredentials {
    /// Adds the client secret, if there is one, to what must not be repeated.
    pub(super) fn hide_in(&self, secrets: SecretsInPlay) -> SecretsInPlay {
        let secrets = match &self.client_secret {
            Some(secret) => secrets.with(secret.expose_secret()),
            None => secrets,
        };
        match &self.authentication {
            ClientAuthentication::Federated(assertion) => secrets.with(assertion.expose_secret()),
            _ => secrets,
        }
    }
}

/// All that one redemption needs. The caller has checked that the credentials may go to this host (invariant 11).
#[derive(Debug, Clone)]
pub struct Redemption {
    /// Where to. `https`, without user and password in it.
    pub token_endpoint: Url,
    /// Who we are.
    pub client: ClientCredentials,
    /// What is redeemed.
    pub refresh_token: SecretString,
    /// The `scope` parameter; `None` or empty: not sent, which means "as granted".
    pub scopes: Option<Vec<String>>,
    /// More parameters, such as Yahoo's `redirect_uri`. None may be called like one that is sent anyway.
    pub extra_parameters: Vec<(String, String)>,
    /// Trusted for this exchange, on top of the platform's authorities.
    pub certificate_authority: Option<CaBundle>,
}

impl Redemption {
    /// The redemption of a refresh token at these endpoints, with what their provider wants in it.
    #[must_use]
    pub fn at(
        endpoints: &Endpoints,
        client: ClientCredentials,
        refresh_token: SecretString,
        certificate_authority: Option<CaBundle>,
    ) -> Self {
        Self {
            token_endpoint: endpoints.refresh_url.clone(),
            client,
            refresh_token,
            scopes: (!endpoints.refresh_scopes.is_empty()).then(|| endpoints.refresh_scopes.clone()),
            extra_parameters: endpoints.refresh_parameters.clone(),
            certificate_authority,
        }
    }

    /// The secrets that the request holds, to keep them out of what is said about the answer.
    pub(super) fn secrets(&self) -> SecretsInPlay {
        let secrets = SecretsInPlay::default().with(self.refresh_token.expose_secret());
        self.client.hide_in(secrets)
    }
}

/// Parameters that this module writes by itself.
const OWN_PARAMETERS: [&str; 7] = [
    "grant_type",
    "refresh_token",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "scope",
];

/// The kind of assertion that proves a client (RFC 7523 section 2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Parameters that hold an assertion, which is as good as a secret while it lives.
const ASSERTIONS: [&str; 2] = ["client_assertion", "assertion"];

/// Why a request cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// An extra parameter would override one of ours.
    #[error("the extra parameter {0} would override one that is sent anyway")]
    OwnParameter(String),
    /// The URL is no HTTP URI.
    #[error("the token endpoint is not a URL that HTTP can carry")]
    Endpoint,
    /// The redirect URI is none.
    #[error("the redirect URI is not a URL")]
    RedirectUri,
    /// The device code cannot be carried.
    #[error("the device code cannot be sent")]
    DeviceCode,
    /// The key did not sign the assertion.
    #[error("the private key did not sign the assertion")]
    Signature,
}

/// Writes the request: method, headers and body, ready to be sent. Its `Debug` shows secrets: never print it.
pub(super) fn write(redemption: &Redemption) -> Result<HttpRequest, RequestError> {
    if let Some((name, _)) = redemption
        .extra_parameters
        .iter()
        .find(|(name, _)| OWN_PARAMETERS.contains(&name.as_str()))
    {
        return Err(RequestError::OwnParameter(name.clone()));
    }
    let client = client(&redemption.client).set_token_uri(TokenUrl::from_url(redemption.token_endpoint.clone()));
    let refresh_token = RefreshToken::new(redemption.refresh_token.expose_secret().to_owned());
    let scopes = redemption.scopes.iter().flatten().cloned().map(Scope::new);
    let proof = proof(&redemption.client)?;
    let extra = redemption.extra_parameters.iter().cloned();
    let extra = extra.chain(proof.into_iter().map(|(name, value)| (name.to_owned(), value)));

    kept(|keep| {
        // The answer of the call is always that it was kept, or that no request could be written: then nothing was.
        let _ = extra
            .fold(
                client.exchange_refresh_token(&refresh_token).add_scopes(scopes),
                |request, (name, value)| request.add_extra_param(name, value),
            )
            .request(&keep);
    })
}

/// Writes the exchange of a code.
pub(super) fn write_code(exchange: &CodeExchange) -> Result<HttpRequest, RequestError> {
    let client = client(&exchange.client).set_token_uri(TokenUrl::from_url(exchange.token_endpoint.clone()));
    let redirect = RedirectUrl::new(exchange.redirect_uri.clone()).map_err(|_| RequestError::RedirectUri)?;
    let proof = proof(&exchange.client)?;
    kept(|keep| {
        let request = client
            .exchange_code(AuthorizationCode::new(exchange.code.expose_secret().to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(exchange.verifier.expose_secret().to_owned()))
            .set_redirect_uri(Cow::Owned(redirect));
        let _ = proof
            .into_iter()
            .fold(request, |request, (name, value)| request.add_extra_param(name, value))
            .request(&keep);
    })
}

/// Writes the question for a device code.
pub(super) fn write_device_start(request: &DeviceRequest) -> Result<HttpRequest, RequestError> {
    let endpoint = DeviceAuthorizationUrl::from_url(request.device_authorization_endpoint.clone());
    let client = client(&request.client).set_device_authorization_url(endpoint);
    let proof = proof(&request.client)?;
    kept(|keep| {
        let asked = client
            .exchange_device_code()
            .add_scopes(request.scopes.iter().cloned().map(Scope::new));
        let _: Result<StandardDeviceAuthorizationResponse, _> = proof
            .into_iter()
            .fold(asked, |request, (name, value)| request.add_extra_param(name, value))
            .request(&keep);
    })
}

/// Writes the question whether the person is done.
pub(super) fn write_device_poll(poll: &DevicePoll) -> Result<HttpRequest, RequestError> {
    // The crate wants the whole answer that the code came with, and uses the code alone.
    let given = serde_json::json!({
        "device_code": poll.device_code.expose_secret(),
        "user_code": "-",
        "verification_uri": "https://localhost/",
        "expires_in": 60,
    });
    let given: StandardDeviceAuthorizationResponse =
        serde_json::from_value(given).map_err(|_| RequestError::DeviceCode)?;
    let client = client(&poll.client).set_token_uri(TokenUrl::from_url(poll.token_endpoint.clone()));
    let proof = proof(&poll.client)?;
    kept(|keep| {
        // An error of the transport would make the crate ask again and again: it is told that the code has ended.
        let once = |request: HttpRequest| -> Result<HttpResponse, Kept> {
            let _ = keep(request);
            Ok(code_has_ended())
        };
        let _ = proof
            .into_iter()
            .fold(client.exchange_device_access_token(&given), |request, (name, value)| {
                request.add_extra_param(name, value)
            })
            .request(&once, |_| (), None);
    })
}

/// Writes the request that gives a refresh token back.
pub(super) fn write_revocation(revocation: &Revocation) -> Result<HttpRequest, RequestError> {
    let client = client(&revocation.client).set_revocation_url(RevocationUrl::from_url(revocation.endpoint.clone()));
    let token = RefreshToken::new(revocation.refresh_token.expose_secret().to_owned());
    let proof = proof(&revocation.client)?;
    kept(|keep| {
        if let Ok(request) = client.revoke_token(StandardRevocableToken::RefreshToken(token)) {
            let _ = proof
                .into_iter()
                .fold(request, |request, (name, value)| request.add_extra_param(name, value))
                .request(&keep);
        }
    })
}

/// Writes the question for a token of the client's own.
pub(super) fn write_client_credentials(
    token_endpoint: &Url,
    credentials: &ClientCredentials,
    scopes: &[String],
) -> Result<HttpRequest, RequestError> {
    let client = client(credentials).set_token_uri(TokenUrl::from_url(token_endpoint.clone()));
    let proof = proof(credentials)?;
    kept(|keep| {
        let request = client
            .exchange_client_credentials()
            .add_scopes(scopes.iter().cloned().map(Scope::new));
        let _ = proof
            .into_iter()
            .fold(request, |request, (name, value)| request.add_extra_param(name, value))
            .request(&keep);
    })
}

/// What the client's assertion adds to a request; nothing where it proves itself in another way.
fn proof(credentials: &ClientCredentials) -> Result<Vec<(&'static str, String)>, RequestError> {
    let assertion = match &credentials.authentication {
        ClientAuthentication::PrivateKeyJwt(key) => {
            assertion::of_client(key, &credentials.client_id, &assertion::fresh_id(), Timestamp::now())
                .map_err(|_| RequestError::Signature)?
        }
        ClientAuthentication::Federated(assertion) => assertion.clone(),
        ClientAuthentication::ClientSecretBasic
        | ClientAuthentication::ClientSecretPost
        | ClientAuthentication::None => return Ok(Vec::new()),
    };
    Ok(vec![
        ("client_assertion_type", ASSERTION_TYPE.to_owned()),
        ("client_assertion", assertion.expose_secret().to_owned()),
    ])
}

/// Adds the assertions of a request to what must not be repeated.
pub(super) fn hide_assertions(request: &Result<HttpRequest, RequestError>, secrets: SecretsInPlay) -> SecretsInPlay {
    let body = request
        .as_ref()
        .map(|request| request.body().as_slice())
        .unwrap_or_default();
    form_urlencoded::parse(body)
        .filter(|(name, _)| ASSERTIONS.contains(&name.as_ref()))
        .fold(secrets, |secrets, (_, assertion)| secrets.with(&assertion))
}

fn code_has_ended() -> HttpResponse {
    let mut response = HttpResponse::new(br#"{"error":"expired_token"}"#.to_vec());
    *response.status_mut() = http::StatusCode::BAD_REQUEST;
    response
}

/// The request that `write` hands over instead of sending it.
fn kept(write: impl FnOnce(&dyn Fn(HttpRequest) -> Result<HttpResponse, Kept>)) -> Result<HttpRequest, RequestError> {
    let desk = RefCell::new(None);
    write(&|request| {
        desk.replace(Some(request));
        Err(Kept)
    });
    desk.into_inner().map(hide_credentials).ok_or(RequestError::Endpoint)
}

fn client(credentials: &ClientCredentials) -> BasicClient {
    let client = BasicClient::new(ClientId::new(credentials.client_id.clone()));
    let secret = credentials
        .client_secret
        .as_ref()
        .map(|secret| ClientSecret::new(secret.expose_secret().to_owned()));
    match (&credentials.authentication, secret) {
        (ClientAuthentication::ClientSecretBasic, Some(secret)) => {
            client.set_client_secret(secret).set_auth_type(AuthType::BasicAuth)
        }
        (ClientAuthentication::ClientSecretPost, Some(secret)) => {
            client.set_client_secret(secret).set_auth_type(AuthType::RequestBody)
        }
        _ => client.set_auth_type(AuthType::RequestBody),
    }
}

fn hide_credentials(mut request: HttpRequest) -> HttpRequest {
    if let Some(authorization) = request.headers_mut().get_mut(http::header::AUTHORIZATION) {
        authorization.set_sensitive(true);
    }
    request
}

/// The `oauth2` crate wants an answer to its request. It gets this.
#[derive(Debug)]
struct Kept;

impl fmt::Display for Kept {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the request was kept, not sent")
    }
}

impl std::error::Error for Kept {}

#[cfg(test)]
mod tests;
