//! Proofs of who signed in: good ones, and every way to fake or break one that we know.

mod claims;
mod issuer;
mod proof;
mod signature;
mod tenants;

use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::*;
use crate::oauth::tests::server::install_tls_provider;
use crate::oauth::{HttpSettings, PrivateAddresses, ProxySetting};
use crate::provider::{AccountClaim, Counts};

fn settings() -> HttpSettings {
    HttpSettings {
        timeout: Duration::from_secs(20),
        private_addresses: PrivateAddresses::Allow,
        proxy: ProxySetting::Direct,
        ..HttpSettings::default()
    }
}

fn client() -> TokenClient {
    client_with(settings())
}

fn client_with(settings: HttpSettings) -> TokenClient {
    install_tls_provider();
    TokenClient::new(settings).unwrap()
}

fn answer(id_token: Option<&str>) -> Answer {
    Answer {
        access_token: SecretString::from("the-access-token-of-jane"),
        refresh_token: None,
        id_token: id_token.map(SecretString::from),
        expires_in: None,
        refresh_token_life: None,
        token_type: "Bearer".to_owned(),
        scopes: None,
        date: None,
    }
}

fn account(claim: &str, when: Counts) -> AccountClaim {
    AccountClaim {
        claim: claim.to_owned(),
        when,
    }
}

/// As [`crate::provider::resolve`] makes it for a server outside the catalogue.
fn identity_of(issuer: &str) -> Identity {
    Identity {
        issuer: Some(issuer.to_owned()),
        accounts: vec![
            account("email", Counts::EmailVerified),
            account("preferred_username", Counts::Address),
        ],
        ..Identity::default()
    }
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

/// Claims that prove `jane@example.com`, with these put over them; null takes one out.
#[allow(clippy::needless_pass_by_value, reason = "the calls read better")]
fn claims_with(issuer: &str, changes: Value) -> Value {
    let mut claims = json!({
        "iss": issuer, "sub": "248289761001", "aud": "our-client", "exp": now() + 3600, "iat": now(), "nonce": "n-0S6",
        "email": "jane@example.com", "email_verified": true,
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}
