//! The rules against the table of bad manifests, as CEL and in code, and the shape of the definition.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::cel::Validator;
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;

mod providers;

#[derive(Deserialize)]
struct Table {
    good: Value,
    bad: Vec<Bad>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bad {
    name: String,
    change: Value,
    field: String,
    message: String,
    #[serde(default)]
    schema: bool,
    #[serde(default)]
    update: bool,
}

fn table() -> Table {
    serde_saphyr::from_str(include_str!("../../tests/bad_manifests.yaml")).unwrap()
}

/// Puts `change` over `base` (RFC 7396).
fn merged(base: &Value, change: &Value) -> Value {
    let (Value::Object(base), Value::Object(change)) = (base, change) else {
        return change.clone();
    };
    let mut result = base.clone();
    for (key, value) in change {
        match value {
            Value::Null => drop(result.remove(key)),
            value => {
                let below = merged(result.get(key).unwrap_or(&Value::Null), value);
                result.insert(key.clone(), below);
            }
        }
    }
    Value::Object(result)
}

fn schema() -> Value {
    schema_of(crd())
}

fn schema_of(definition: CustomResourceDefinition) -> Value {
    let definition = serde_json::to_value(definition).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

fn cel_messages(manifest: &Value, old: Option<&Value>) -> Vec<String> {
    cel_messages_of(&schema(), manifest, old)
}

fn cel_messages_of(schema: &Value, manifest: &Value, old: Option<&Value>) -> Vec<String> {
    match Validator::new().validate(schema, manifest, old) {
        Ok(()) => Vec::new(),
        Err(errors) => errors
            .iter()
            .map(|error| format!("{}: {}", error.field_path, error.message))
            .collect(),
    }
}

fn asset(manifest: &Value) -> Result<EmailAsset, serde_json::Error> {
    serde_json::from_value(manifest.clone())
}

fn violations(asset: &EmailAsset) -> Vec<String> {
    let violations = validate(asset, &AllowedKeys::default()).err().unwrap_or_default();
    violations.iter().map(ToString::to_string).collect()
}

#[test]
fn the_good_manifest_passes_both_kinds_of_rules() {
    let good = table().good;
    assert_eq!(cel_messages(&good, None), Vec::<String>::new());
    assert_eq!(violations(&asset(&good).unwrap()), Vec::<String>::new());
}

#[test]
fn every_bad_manifest_gets_its_message_from_a_cel_rule() {
    let table = table();
    let mut tried = 0;
    for bad in table.bad.iter().filter(|bad| !bad.schema) {
        let manifest = merged(&table.good, &bad.change);
        let old = bad.update.then_some(&table.good);
        let messages = cel_messages(&manifest, old);
        assert!(
            messages.iter().any(|message| message.contains(&bad.message)),
            "{}: expected {:?}, got {messages:#?}",
            bad.name,
            bad.message
        );
        assert!(
            messages.len() == 1,
            "{}: one message is enough, got {messages:#?}",
            bad.name
        );
        tried += 1;
    }
    assert!(tried >= 25, "only {tried} manifests reach the CEL rules");
}

#[test]
fn every_bad_manifest_is_refused_in_code_with_the_same_message() {
    let table = table();
    for bad in table.bad.iter().filter(|bad| !bad.update) {
        let manifest = merged(&table.good, &bad.change);
        let Ok(asset) = asset(&manifest) else {
            assert!(bad.schema, "{}: cannot even be read", bad.name);
            continue;
        };
        let messages = violations(&asset);
        let expected =
            |message: &String| message.starts_with(&bad.field) && (bad.schema || message.contains(&bad.message));
        assert!(
            messages.iter().any(expected),
            "{}: expected {}: {:?}, got {messages:#?}",
            bad.name,
            bad.field,
            bad.message
        );
    }
}

#[test]
fn what_people_really_write_passes_both_kinds_of_rules() {
    let good = table().good;
    for change in [
        json!({"spec": {"email": "first.last+tag@mail.example.co.uk"}}),
        json!({"spec": {"email": "prvs=0123=user@xn--bcher-kva.example"}}),
        json!({"spec": {"provider": "microsoft", "oauth2": {"parameters": {"tenant": "8a7e2a44-6ef8-4d3f-8b4c-4a6a3a6f0a10"}}}}),
        json!({"spec": {"provider": null, "oauth2": {"tokenURL": "https://127.0.0.1:8443/token", "rotation": "Strict", "scopes": ["openid", "https://mail.example.com/", "ZOHOMAIL.PROTOCOL.IMAP", "mail:imap_full"]}}}),
        json!({"spec": {"oauth2": {"tokenURL": "https://contoso.b2clogin.com/contoso.onmicrosoft.com/oauth2/v2.0/token?p=b2c_1_signin"}}}),
        json!({"spec": {"oauth2": {"clientCredentialsRef": null, "clientID": "1234.apps.googleusercontent.com", "clientAuthentication": "None"}}}),
        json!({"spec": {"oauth2": {"grant": "JWTBearer", "refreshTokenSecretRef": null, "loginEmail": "jane@example.com"}}}),
        json!({"spec": {"oauth2": {"grant": "ClientCredentials", "refreshTokenSecretRef": null, "clientID": "0f0f"}}}),
        json!({"spec": {"oauth2": {"grant": "ClientCredentials", "refreshTokenSecretRef": null, "clientAuthentication": "PrivateKeyJWT"}}}),
        json!({"spec": {"oauth2": {"grant": "ClientCredentials", "refreshTokenSecretRef": null, "clientCredentialsRef": null, "clientID": "0f0f", "clientAuthentication": "FederatedToken"}}}),
        json!({"spec": {"username": "support", "smtp": {"port": 587, "security": "StartTLS"}, "imap": {"username": "a/b+c@example.com"}}}),
        json!({"spec": {"provider": null, "providerRef": {"name": "corp-google"}, "username": "support", "oauth2": {"clientCredentialsRef": null, "loginEmail": "jane@example.com"}}}),
        json!({"spec": {"renewBefore": "1h30m"}}),
        json!({"spec": {"renewBefore": "1.5h"}}),
        json!({"spec": {"renewBefore": "999999h999999h99999h"}}),
        json!({"spec": {"secret": {"name": "support-mail", "labels": {"app.kubernetes.io/part-of": "helpdesk", "app.kubernetes.io/version": ""}}}}),
        json!({"spec": {"suspend": true, "oauth2": {"caBundleRef": {"name": "corp-ca", "key": "ca.crt"}, "grantDeletionPolicy": "Delete"}}}),
    ] {
        let manifest = merged(&good, &change);
        assert_eq!(cel_messages(&manifest, None), Vec::<String>::new(), "{change}");
        assert_eq!(violations(&asset(&manifest).unwrap()), Vec::<String>::new(), "{change}");
    }
}

#[test]
fn only_label_keys_on_the_allow_list_are_accepted() {
    let labelled = |key: &str| {
        let change = json!({"spec": {"secret": {"labels": {key: "x"}, "annotations": {key: "x y"}}}});
        asset(&merged(&table().good, &change)).unwrap()
    };
    let allowed = AllowedKeys::new(["app.kubernetes.io/*", "team"]);
    assert!(validate(&labelled("app.kubernetes.io/name"), &allowed).is_ok());
    assert!(validate(&labelled("team"), &allowed).is_ok());
    for key in [
        "argocd.argoproj.io/instance",
        "teams",
        "app.kubernetes.io.evil.example/name",
        "app.kubernetes.io/",
    ] {
        let found = validate(&labelled(key), &allowed).unwrap_err();
        assert_eq!(found.len(), 2, "{key}: {found:?}");
        assert!(
            found
                .iter()
                .all(|violation| violation.given.as_deref() == Some(&format!("{key:?}")))
        );
    }
    let message = violations(&labelled("team")).join("\n");
    assert!(
        message.contains("allow only these keys: app.kubernetes.io/*"),
        "{message}"
    );
}

#[test]
fn a_message_repeats_what_was_given_bounded_and_without_control_characters() {
    let mut asset = asset(&table().good).unwrap();
    asset.spec.email = format!("\u{1b}[31m{}", "x".repeat(200));
    let message = violations(&asset).join("");
    assert!(
        message.starts_with(r#"spec.email is "\u{1b}[31mxxx"#) && message.contains('…'),
        "{message}"
    );
    assert!(message.len() < 400, "{message}");
    asset.spec.email = "support@example.com".into();
    asset.spec.oauth2.token_url = Some("https://user:hunter2@id.example.com/token".into());
    assert!(!violations(&asset).join("").contains("hunter2"));
}

#[test]
fn unknown_fields_and_an_empty_status_can_be_read() {
    let change = json!({"spec": {"verification": {"mode": "Enforce"}, "oauth2": {"issuer": "https://id.example.com"}}, "status": {}});
    assert!(asset(&merged(&table().good, &change)).is_ok());
}

#[test]
fn a_status_that_says_nothing_has_no_fields() {
    assert_eq!(serde_json::to_value(EmailAssetStatus::default()).unwrap(), json!({}));
    let status = EmailAssetStatus {
        endpoints: Some(EndpointsStatus {
            token_url: Some("https://x/".into()),
            ..Default::default()
        }),
        failure: Some(FailureStatus {
            trace_id: Some("t".into()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let expected = json!({"endpoints": {"tokenURL": "https://x/"}, "failure": {"traceID": "t"}});
    assert_eq!(serde_json::to_value(status).unwrap(), expected);
}

#[test]
fn the_schema_has_one_default_and_a_bound_on_every_text_of_the_spec() {
    for definition in [crd(), provider_crd()] {
        has_one_default_and_bounds(&schema_of(definition));
    }
}

fn has_one_default_and_bounds(schema: &Value) {
    let mut defaults = Vec::new();
    walk(schema, "", &mut |path, node| {
        if node.get("default").is_some() {
            defaults.push(path.to_owned());
        }
        assert!(node.get("nullable").is_none(), "{path} is nullable");
    });
    assert_eq!(defaults, [".status"]);
    assert_eq!(
        schema["properties"]["status"]["default"],
        json!({"observedGeneration": -1})
    );
    walk(
        &schema["properties"]["spec"],
        "spec",
        &mut |path, node| match node["type"].as_str() {
            Some("string") => assert!(node.get("maxLength").is_some() || node.get("enum").is_some(), "{path}"),
            Some("array") => assert!(node.get("maxItems").is_some(), "{path}"),
            Some("object") => {
                assert!(
                    node.get("properties").is_some() || node.get("maxProperties").is_some(),
                    "{path}"
                );
            }
            _ => {}
        },
    );
    let conditions = &schema["properties"]["status"]["properties"]["conditions"];
    assert_eq!(conditions["x-kubernetes-list-type"], "map");
    assert_eq!(conditions["x-kubernetes-list-map-keys"], json!(["type"]));
}

fn walk(node: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, node);
    for (name, below) in node["properties"].as_object().into_iter().flatten() {
        walk(below, &format!("{path}.{name}"), visit);
    }
    for key in ["items", "additionalProperties"] {
        if node[key].is_object() {
            walk(&node[key], &format!("{path}.{key}"), visit);
        }
    }
}

#[test]
fn every_field_is_explained() {
    for schema in [crd(), provider_crd()].map(schema_of) {
        walk(&schema["properties"]["spec"], "spec", &mut |path, node| {
            let generated = matches!(path.rsplit('.').next(), Some("items" | "additionalProperties"));
            assert!(generated || node["description"].is_string(), "{path}");
        });
    }
}

/// To write the file anew: `UPDATE_CRDS=1 cargo test --lib crds_directory`.
#[test]
fn the_crds_directory_holds_the_definitions() {
    holds("emailassets", &crd_yaml(), crd());
    holds("emailproviders", &provider_crd_yaml(), provider_crd());
}

fn holds(name: &str, yaml: &str, definition: CustomResourceDefinition) {
    let path = format!("{}/crds/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_CRDS").is_some() {
        std::fs::write(&path, yaml).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == yaml,
        "crds/{name}.yaml is out of date: run UPDATE_CRDS=1 cargo test --lib crds_directory"
    );
    let read_back: Value = serde_saphyr::from_str(yaml).unwrap();
    assert_eq!(
        read_back,
        serde_json::to_value(definition).unwrap(),
        "the YAML says what the definition says"
    );
    assert!(
        yaml.len() < 200_000,
        "kubectl apply keeps a copy in an annotation, which may have 262,144 bytes"
    );
}
