//! Rules for an `EmailProvider`, as CEL and in code.

use serde_json::{Value, json};

use super::{cel_messages_of, merged, schema_of};
use crate::api::{EmailAssetSpec, EmailProvider, Grant, crd, provider_crd, validate_provider};

fn good() -> Value {
    json!({
        "apiVersion": "emailasset.dev/v1alpha1", "kind": "EmailProvider", "metadata": {"name": "corp-google"},
        "spec": {
            "provider": "google",
            "oauth2": {"clientCredentialsRef": {"name": "google-client"}},
            "allow": [{"namespaces": {"names": ["helpdesk"]}, "mailboxes": ["*@example.com"], "grants": ["AuthorizationCode"]}],
        },
    })
}

fn cel(manifest: &Value) -> Vec<String> {
    cel_messages_of(&schema_of(provider_crd()), manifest, None)
}

fn code(manifest: &Value) -> Vec<String> {
    let provider: EmailProvider = serde_json::from_value(manifest.clone()).unwrap();
    let violations = validate_provider(&provider).err().unwrap_or_default();
    violations.iter().map(ToString::to_string).collect()
}

#[test]
fn good_ones_pass_both_kinds_of_rules() {
    for change in [
        json!({}),
        json!({"spec": {"allow": null}}),
        json!({"spec": {"provider": "microsoft", "oauth2": {"parameters": {"tenant": "contoso.onmicrosoft.com"}, "prompt": "select_account"}}}),
        json!({"spec": {"provider": null, "oauth2": {
            "tokenURL": "https://id.example.com/token", "authorizationURL": "https://id.example.com/authorize", "issuer": "https://id.example.com",
            "rotation": "Strict", "scopes": ["mail"], "caBundleRef": {"name": "corp-ca", "key": "ca.crt"}}}}),
        json!({"spec": {"oauth2": {"clientCredentialsRef": null, "clientID": "1234.apps.googleusercontent.com"}}}),
        json!({"spec": {"allow": [{"namespaces": {"selector": {}}, "mailboxes": ["support@example.com", "svc-support", "a+b@example.com"]}]}}),
        json!({"spec": {"allow": [{"namespaces": {"selector": {"matchLabels": {"mail": "yes"}}}, "mailboxes": ["*@mail.example.com"], "grants": ["RefreshToken"]}]}}),
    ] {
        let manifest = merged(&good(), &change);
        assert_eq!(cel(&manifest), Vec::<String>::new(), "{change}");
        assert_eq!(code(&manifest), Vec::<String>::new(), "{change}");
    }
}

#[test]
fn bad_ones_get_one_message_from_a_cel_rule_and_the_same_in_code() {
    let allow = |rule: Value| json!({"spec": {"allow": [rule]}});
    for (change, message) in [
        (json!({"metadata": {"name": "a".repeat(64)}}), "at most 63 characters"),
        (json!({"spec": {"provider": null}}), "needs an entry of the catalogue"),
        (json!({"spec": {"provider": "Google"}}), "lower-case name of an entry"),
        (
            json!({"spec": {"oauth2": {"clientCredentialsRef": null}}}),
            "needs an OAuth client",
        ),
        (
            json!({"spec": {"oauth2": {"tokenURL": "http://id.example.com/token"}}}),
            "must be an https URL",
        ),
        (
            json!({"spec": {"oauth2": {"rotation": "None"}}}),
            "rotation may be set only with",
        ),
        (
            allow(json!({"namespaces": {}, "mailboxes": ["a@example.com"]})),
            "needs names or a selector",
        ),
        (
            allow(json!({"namespaces": {"names": ["Help"]}, "mailboxes": ["a@example.com"]})),
            "must be the name of a Kubernetes object",
        ),
        (
            allow(json!({"namespaces": {"names": ["helpdesk"]}, "mailboxes": ["*"]})),
            "there are no other patterns",
        ),
        (
            allow(json!({"namespaces": {"names": ["helpdesk"]}, "mailboxes": ["sup*@example.com"]})),
            "there are no other patterns",
        ),
        (
            allow(json!({"namespaces": {"names": ["helpdesk"]}, "mailboxes": ["*@*.example.com"]})),
            "there are no other patterns",
        ),
        (
            allow(json!({"namespaces": {"names": ["helpdesk"]}, "mailboxes": ["*@example"]})),
            "there are no other patterns",
        ),
    ] {
        let manifest = merged(&good(), &change);
        let messages = cel(&manifest);
        assert!(
            messages.len() == 1 && messages[0].contains(message),
            "{change}: {messages:?}"
        );
        let messages = code(&manifest);
        assert!(
            messages.len() == 1 && messages[0].contains(message),
            "{change}: {messages:?}"
        );
    }
}

#[test]
fn an_asset_brings_its_mailbox_and_nothing_that_says_where_a_credential_goes() {
    let provider: EmailProvider = serde_json::from_value(good()).unwrap();
    let mut asset = EmailAssetSpec::of("support@example.com", Grant::DeviceCode);
    asset.username = Some("support".to_owned());
    asset.oauth2.login_email = Some("jane@example.com".to_owned());
    // As an object would say that was stored under a definition without the rules.
    asset.oauth2.token_url = Some("https://evil.example/token".to_owned());
    asset.oauth2.refresh_url = Some("https://evil.example/token".to_owned());
    asset.oauth2.revocation_url = Some("https://evil.example/revoke".to_owned());
    asset.oauth2.scopes = vec!["everything".to_owned()];
    let whole = provider.spec.under(&asset);
    assert_eq!(whole.provider.as_deref(), Some("google"));
    assert_eq!(
        (whole.email.as_str(), whole.username.as_deref()),
        ("support@example.com", Some("support"))
    );
    assert_eq!(whole.oauth2.login_email.as_deref(), Some("jane@example.com"));
    assert_eq!(whole.oauth2.client_credentials_ref.unwrap().name, "google-client");
    assert_eq!(
        [
            whole.oauth2.token_url,
            whole.oauth2.refresh_url,
            whole.oauth2.revocation_url
        ],
        [None, None, None]
    );
    assert!(whole.oauth2.scopes.is_empty());
}

/// The two kinds write these fields out twice, so that each can say where its objects are (`src/api/provider.rs`).
#[test]
fn what_both_kinds_have_is_held_to_the_same_rules_in_both() {
    let [of_asset, of_provider] =
        [crd(), provider_crd()].map(|definition| schema_of(definition)["properties"]["spec"]["properties"].clone());
    let mut own = Vec::new();
    for (name, field) in of_asset["oauth2"]["properties"].as_object().unwrap() {
        match of_provider["oauth2"]["properties"].get(name) {
            Some(shared) => assert_eq!(without_words(field), without_words(shared), "{name}"),
            None => own.push(name.as_str()),
        }
    }
    assert_eq!(
        own,
        ["grant", "grantDeletionPolicy", "loginEmail", "refreshTokenSecretRef"]
    );
    for name in of_provider["oauth2"]["properties"].as_object().unwrap().keys() {
        assert!(of_asset["oauth2"]["properties"].get(name).is_some(), "{name}");
    }
    for name in ["provider", "smtp", "imap", "pop3"] {
        assert_eq!(
            without_words(&of_asset[name]),
            without_words(&of_provider[name]),
            "{name}"
        );
    }
}

fn without_words(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| *name != "description")
            .map(|(name, value)| (name.clone(), without_words(value)))
            .collect(),
        other => other.clone(),
    }
}
