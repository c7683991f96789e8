//! The rules as a table: who may use an `EmailProvider`, and what a refusal says.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

fn provider(allow: &Value) -> EmailProviderSpec {
    let spec = json!({"provider": "google", "oauth2": {"clientID": "1234"}, "allow": allow});
    serde_json::from_value(spec).unwrap()
}

fn asset(spec: &Value) -> EmailAssetSpec {
    let mut whole = json!({
        "email": "support@example.com",
        "providerRef": {"name": "corp"},
        "oauth2": {"grant": "AuthorizationCode"},
    });
    json_patch::merge(&mut whole, spec);
    serde_json::from_value(whole).unwrap()
}

/// Asks in namespace `helpdesk`, which has the label `team=support`.
fn ask(allow: &Value, spec: &Value) -> Result<(), NotCovered> {
    ask_for(allow, spec, None)
}

fn ask_for(allow: &Value, spec: &Value, account: Option<&str>) -> Result<(), NotCovered> {
    let labels = BTreeMap::from([("team".to_owned(), "support".to_owned())]);
    provider(allow).permits(&Applicant {
        namespace: "helpdesk",
        labels: Some(&labels),
        spec: &asset(spec),
        account,
    })
}

/// One rule for `helpdesk`, with this in it.
fn rule(mailboxes: &Value, grants: &Value) -> Value {
    json!([{"namespaces": {"names": ["helpdesk"]}, "mailboxes": mailboxes, "grants": grants}])
}

#[test]
fn without_a_rule_nobody_may_use_it() {
    assert_eq!(ask(&json!([]), &json!({})), Err(NotCovered::Everything));
}

#[test]
fn a_namespace_is_covered_by_its_name_or_its_labels_or_both_where_both_are_set() {
    for (namespaces, covered) in [
        (json!({"names": ["helpdesk"]}), true),
        (json!({"names": ["other", "helpdesk"]}), true),
        (json!({"names": ["other"]}), false),
        (json!({"names": ["help"]}), false),
        (json!({"names": []}), false),
        (json!({}), false),
        (json!({"selector": {}}), true),
        (json!({"selector": {"matchLabels": {"team": "support"}}}), true),
        (json!({"selector": {"matchLabels": {"team": "sales"}}}), false),
        (
            json!({"selector": {"matchLabels": {"team": "support", "stage": "prod"}}}),
            false,
        ),
        (
            json!({"names": ["helpdesk"], "selector": {"matchLabels": {"team": "support"}}}),
            true,
        ),
        (
            json!({"names": ["helpdesk"], "selector": {"matchLabels": {"team": "sales"}}}),
            false,
        ),
        (
            json!({"names": ["other"], "selector": {"matchLabels": {"team": "support"}}}),
            false,
        ),
    ] {
        let allow = json!([{"namespaces": namespaces, "mailboxes": ["*@example.com"]}]);
        let answer = ask(&allow, &json!({}));
        assert_eq!(answer.is_ok(), covered, "{namespaces}: {answer:?}");
        assert!(covered || answer == Err(NotCovered::Namespace("helpdesk".to_owned())));
    }
}

#[test]
fn labels_that_are_not_known_fit_no_selector_but_the_empty_one() {
    let ask = |selector: Value| {
        let allow = json!([{"namespaces": {"selector": selector}, "mailboxes": ["*@example.com"]}]);
        let spec = asset(&json!({}));
        provider(&allow).permits(&Applicant {
            namespace: "helpdesk",
            labels: None,
            spec: &spec,
            account: None,
        })
    };
    assert!(ask(json!({"matchLabels": {"team": "support"}})).is_err());
    assert!(ask(json!({})).is_ok());
}

#[test]
fn a_mailbox_is_covered_whole_or_by_its_domain() {
    for (pattern, email, covered) in [
        ("support@example.com", "support@example.com", true),
        ("Support@Example.com", "support@example.COM", true),
        ("*@example.com", "support@example.com", true),
        ("*@EXAMPLE.com", "a+b@example.com", true),
        ("sales@example.com", "support@example.com", false),
        ("*@example.com", "support@mail.example.com", false),
        ("*@example.com", "support@evilexample.com", false),
        ("*@mail.example.com", "support@example.com", false),
        ("*@com", "support@example.com", false),
        // No other patterns: these are taken to the letter, and no name is spelt so.
        ("*", "support@example.com", false),
        ("sup*@example.com", "support@example.com", false),
        ("*upport@example.com", "support@example.com", false),
        ("*@*", "support@example.com", false),
        ("*@*.com", "support@example.com", false),
    ] {
        let answer = ask(&rule(&json!([pattern]), &json!([])), &json!({"email": email}));
        assert_eq!(answer.is_ok(), covered, "{pattern} {email}: {answer:?}");
    }
}

#[test]
fn every_name_must_be_covered_and_by_the_same_rule() {
    let domain = rule(&json!(["*@example.com"]), &json!([]));
    assert!(
        ask(
            &domain,
            &json!({"username": "jane@example.com", "oauth2": {"loginEmail": "jane@example.com"}})
        )
        .is_ok()
    );
    for (spec, field) in [
        (json!({"email": "boss@other.example"}), "spec.email"),
        (json!({"username": "boss@other.example"}), "spec.username"),
        (json!({"username": "boss"}), "spec.username"),
        (
            json!({"username": "EXAMPLE/boss@example.com@example.com"}),
            "spec.username",
        ),
        (
            json!({"oauth2": {"loginEmail": "boss@other.example"}}),
            "spec.oauth2.loginEmail",
        ),
    ] {
        let answer = ask(&domain, &spec);
        assert!(
            matches!(&answer, Err(NotCovered::Name { field: named, .. }) if *named == field),
            "{spec}: {answer:?}"
        );
    }
    let apart = json!([
        {"namespaces": {"names": ["helpdesk"]}, "mailboxes": ["support@example.com"]},
        {"namespaces": {"names": ["helpdesk"]}, "mailboxes": ["jane@example.com"]},
    ]);
    assert_eq!(
        ask(&apart, &json!({"oauth2": {"loginEmail": "jane@example.com"}})),
        Err(NotCovered::Together)
    );
    let login_name = rule(&json!(["support@example.com", "svc-support"]), &json!([]));
    assert!(ask(&login_name, &json!({"username": "svc-support"})).is_ok());
}

#[test]
fn who_signed_in_for_an_older_grant_must_be_covered_too() {
    let exact = rule(&json!(["support@example.com"]), &json!([]));
    assert!(ask_for(&exact, &json!({}), Some("support@example.com")).is_ok());
    assert_eq!(
        ask_for(&exact, &json!({}), Some("boss@example.com")),
        Err(NotCovered::Name {
            field: "the account that signed in",
            name: "boss@example.com".to_owned(),
            grant: Grant::AuthorizationCode,
        })
    );
}

#[test]
fn grants_without_a_person_must_be_named_and_need_the_very_address() {
    let seeded = json!({"oauth2": {"grant": "RefreshToken"}});
    let wildcard = json!(["*@example.com"]);
    let exact = json!(["support@example.com"]);
    assert!(ask(&rule(&wildcard, &json!([])), &json!({})).is_ok());
    assert!(
        ask(
            &rule(&wildcard, &json!([])),
            &json!({"oauth2": {"grant": "DeviceCode"}})
        )
        .is_ok()
    );
    assert_eq!(
        ask(&rule(&wildcard, &json!(["DeviceCode"])), &json!({})),
        Err(NotCovered::Grant(Grant::AuthorizationCode))
    );
    assert_eq!(
        ask(&rule(&exact, &json!([])), &seeded),
        Err(NotCovered::Grant(Grant::RefreshToken))
    );
    assert!(ask(&rule(&exact, &json!(["RefreshToken"])), &seeded).is_ok());
    let refusal = ask(&rule(&wildcard, &json!(["RefreshToken"])), &seeded).unwrap_err();
    assert!(refusal.to_string().contains("the very address"), "{refusal}");
}

#[test]
fn tokens_that_open_more_than_the_one_mailbox_must_be_acknowledged() {
    let allow = rule(
        &json!(["support@example.com"]),
        &json!(["ClientCredentials", "JWTBearer"]),
    );
    let app_wide = json!({"oauth2": {"grant": "ClientCredentials"}});
    assert_eq!(ask(&allow, &app_wide), Err(NotCovered::AppWide));
    let acknowledged = EmailProviderSpec {
        app_wide_token: Some(crate::api::AppWideToken::Acknowledged),
        ..provider(&allow)
    };
    let ask = |spec: &Value| {
        acknowledged.permits(&Applicant {
            namespace: "helpdesk",
            labels: None,
            spec: &asset(spec),
            account: None,
        })
    };
    assert_eq!(ask(&app_wide), Ok(()));
    let other = json!({"email": "boss@example.com", "oauth2": {"grant": "ClientCredentials"}});
    assert!(matches!(ask(&other), Err(NotCovered::Name { .. })));
    // A service account's token is for one mailbox.
    assert_eq!(ask(&json!({"oauth2": {"grant": "JWTBearer"}})), Ok(()));
    let wildcard = rule(&json!(["*@example.com"]), &json!(["JWTBearer"]));
    let refusal = provider(&wildcard).permits(&Applicant {
        namespace: "helpdesk",
        labels: None,
        spec: &asset(&json!({"oauth2": {"grant": "JWTBearer"}})),
        account: None,
    });
    assert!(matches!(refusal, Err(NotCovered::Name { .. })), "{refusal:?}");
}

#[test]
fn a_refusal_tells_what_is_not_covered_and_nothing_of_other_teams() {
    let allow = json!([
        {"namespaces": {"names": ["treasury"]}, "mailboxes": ["cfo@example.com"]},
        {"namespaces": {"names": ["helpdesk"]}, "mailboxes": ["support@example.com"]},
    ]);
    let refusal = ask(&allow, &json!({"email": "cfo@example.com"}))
        .unwrap_err()
        .to_string();
    assert!(refusal.contains("cfo@example.com (spec.email)"), "{refusal}");
    assert!(!refusal.contains("treasury"), "{refusal}");
    let refusal = ask(&json!([allow[0]]), &json!({})).unwrap_err().to_string();
    assert!(
        refusal.contains("namespace helpdesk") && !refusal.contains("cfo"),
        "{refusal}"
    );
}
