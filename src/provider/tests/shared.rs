//! What a spec becomes under an `EmailProvider`: its hosts are the provider's own, and its callback is nobody else's.

use url::Url;

use super::*;
use crate::api::{EmailProviderSpec, Grant};

fn under(provider: Value, grant: Grant) -> Endpoints {
    let provider: EmailProviderSpec = serde_json::from_value(provider).unwrap();
    let mut asset = EmailAssetSpec::of("support@example.com", grant);
    asset.provider_ref = Some(crate::api::NameRef {
        name: "corp".to_owned(),
    });
    resolve_under("corp", &provider.under(&asset), catalogue(), None).unwrap()
}

fn own_server() -> Value {
    json!({"oauth2": {
        "clientCredentialsRef": {"name": "client"},
        "tokenURL": "https://id.example.com:8443/token",
        "refreshURL": "https://refresh.example.com/token",
        "revocationURL": "https://revoke.example.com/",
        "authorizationURL": "https://login.example.com/authorize",
        "issuer": "https://id.example.com:8443",
    }})
}

#[test]
fn an_entry_is_taken_as_it_is_but_for_the_callback() {
    let shared = under(
        json!({"provider": "google", "oauth2": {"clientID": "1234"}}),
        Grant::AuthorizationCode,
    );
    let mut plain = EmailAssetSpec::of("support@example.com", Grant::AuthorizationCode);
    plain.provider = Some("google".to_owned());
    plain.oauth2.client_id = Some("1234".to_owned());
    let plain = resolve(&plain, catalogue()).unwrap();
    assert_eq!(plain.sign_in.callback_key, "google");
    assert_eq!(shared.sign_in.callback_key, "p-corp");
    let mut with_its_callback = plain;
    "p-corp".clone_into(&mut with_its_callback.sign_in.callback_key);
    assert_eq!(shared, with_its_callback);
}

#[test]
fn its_client_goes_to_the_hosts_that_it_names_and_to_no_other() {
    let endpoints = under(own_server(), Grant::AuthorizationCode);
    assert_eq!(endpoints.sign_in.callback_key, "p-corp");
    check_hosts(&endpoints, &[CLIENT]).unwrap();
    let elsewhere = Endpoints {
        refresh_url: Url::parse("https://id.example.com:9443/token").unwrap(),
        ..endpoints
    };
    let refusal = check_hosts(&elsewhere, &[CLIENT]).unwrap_err().to_string();
    assert!(refusal.contains("id.example.com:9443"), "{refusal}");
}

#[test]
fn a_grant_without_a_browser_has_no_callback() {
    let endpoints = under(
        json!({"provider": "google", "oauth2": {"clientID": "1234"}}),
        Grant::RefreshToken,
    );
    assert_eq!(endpoints.sign_in.callback_key, "");
}
