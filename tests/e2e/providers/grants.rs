//! Each way to a token through an `EmailProvider`: a mailbox that a rule covers gets its token, another gets nothing, and a rule that is withdrawn ends it in the middle.

use emailasset::api::ConditionType::{Authorized, Ready, Refreshed, Stalled};
use emailasset::api::EmailAsset;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::Shared;
use crate::signin::responses::{plant, respond};
use crate::support::{BUTTON, Browser, Rotation, condition, free_address, mailbox, sign_in, wait_for};

const MAIL: &str = "https://mail.google.com/";
const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";

impl Shared {
    /// A rule for the team; no grants: those of people.
    fn rule_for(&self, mailboxes: &[&str], grants: &[&str]) -> Value {
        json!({"namespaces": {"names": [self.team]}, "mailboxes": mailboxes, "grants": grants})
    }

    /// An `EmailProvider` where people sign in, for these mailboxes.
    async fn apply_provider_of_people(&self, mailboxes: &[&str]) {
        let endpoints = &self.stage.server.endpoints;
        let spec = json!({
            "oauth2": {
                "issuer": endpoints.url,
                "authorizationURL": endpoints.authorization_url,
                "deviceAuthorizationURL": endpoints.device_authorization_url,
                "scopes": ["mail", "offline_access"],
                "prompt": "consent",
                "rotation": "Strict",
            },
            "allow": [self.rule_for(mailboxes, &[])],
        });
        self.apply_provider_with("people", spec).await;
    }

    async fn wait_until_refused(&self, asset: &str, says: &str) -> EmailAsset {
        let refused = wait_for(&self.assets, asset, &format!("it is refused: {says}"), |asset| {
            condition(asset, Ready)
                .is_some_and(|(_, reason, message)| reason == "ProviderNotAllowed" && message.contains(says))
        })
        .await;
        assert!(condition(&refused, Stalled).is_some());
        refused
    }

    async fn change_asset(&self, asset: &str, spec: Value) {
        let patch = json!({ "spec": spec });
        self.assets
            .patch(asset, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .expect("the asset is accepted");
    }

    async fn token_requests(&self) -> usize {
        self.stage.server.requests_since(0).await.len()
    }

    async fn polls(&self) -> usize {
        let all = self.stage.server.requests_since(0).await.into_iter();
        all.filter(|request| request.grant_type.as_deref() == Some(DEVICE))
            .count()
    }
}

#[tokio::test]
async fn a_client_gets_tokens_of_its_own_only_where_that_is_acknowledged_and_the_mailbox_named() {
    let shared = Shared::set().await;
    let _operator = shared
        .stage
        .operator_with(&["--watch-namespace", &shared.team], &[])
        .await;
    let provider = |app_wide: Value| {
        let allow = [
            shared.rule_for(&["app@example.com"], &["ClientCredentials"]),
            shared.rule_for(&["*@example.com"], &["ClientCredentials"]),
        ];
        json!({"oauth2": {"scopes": ["mail"]}, "allow": allow, "appWideToken": app_wide})
    };
    let direct = || json!({"grant": "ClientCredentials"});
    shared.apply_provider_with("app", provider(Value::Null)).await;
    shared.apply_asset("app", "app", direct()).await;
    shared.wait_until_refused("app", "Acknowledged").await;
    assert_eq!(shared.token_requests().await, 0);

    shared.apply_provider_with("app", provider(json!("Acknowledged"))).await;
    shared.wait("app", Ready, "True", "Fresh").await;
    let token = super::text(&shared.token("app").await, "access_token");
    assert!(shared.stage.server.introspect(&token).await.active);
    shared.apply_asset("boss", "app", direct()).await;
    shared
        .wait_until_refused("boss", "ClientCredentials needs the very address")
        .await;
    shared
        .change_asset("app", json!({"username": "boss@example.com"}))
        .await;
    shared
        .wait_until_refused("app", "boss@example.com (spec.username)")
        .await;
    shared.change_asset("app", json!({"username": null})).await;
    shared.wait("app", Ready, "True", "Fresh").await;

    // What is taken back ends it at once, and the Secret stays as it is.
    let before = shared.token("app").await;
    shared.apply_provider_with("app", provider(Value::Null)).await;
    shared.wait_until_refused("app", "Acknowledged").await;
    shared.request_refresh("app", "while-it-may-not").await;
    shared.apply_asset("marker", "app", direct()).await;
    shared.wait_until_refused("marker", "Acknowledged").await;
    assert_eq!(shared.token("app").await.data, before.data);
    assert_eq!(
        shared.token_requests().await,
        1,
        "one token, and nothing was asked in vain"
    );
    shared.apply_provider_with("app", provider(json!("Acknowledged"))).await;
    shared.wait("app", Ready, "True", "Fresh").await;
    assert!(shared.secrets.get_opt("boss-token").await.unwrap().is_none());
}

#[tokio::test]
async fn a_service_account_opens_the_mailboxes_that_a_rule_names_and_no_other() {
    const ACCOUNT: &str = "mail@helpdesk.iam.gserviceaccount.com";
    let shared = Shared::set().await;
    let desk = shared.desk();
    let _operator = shared
        .stage
        .operator_with(&["--watch-namespace", &shared.team], &[])
        .await;
    let file = shared.stage.server.service_account_key(ACCOUNT).await;
    shared.stage.server.delegate(ACCOUNT, &[MAIL]).await;
    shared
        .put_client("shared-account", &json!({"workspace.json": file.to_string()}))
        .await;
    let allow = [
        shared.rule_for(&["box@example.com", "jane@example.com"], &["JWTBearer"]),
        shared.rule_for(&["*@example.com"], &["JWTBearer"]),
        shared.rule_for(&["*@example.com"], &[]),
    ];
    let oauth2 = json!({"clientCredentialsRef": {"name": "shared-account"}, "scopes": [MAIL], "rotation": Value::Null});
    shared
        .apply_provider_with("workspace", json!({"oauth2": oauth2, "allow": allow}))
        .await;
    shared.wait_for_provider("workspace", "True", "Usable").await;

    shared
        .apply_asset("boss", "workspace", json!({"grant": "JWTBearer"}))
        .await;
    shared
        .wait_until_refused("boss", "JWTBearer needs the very address")
        .await;
    shared
        .apply_asset("box", "workspace", json!({"grant": "JWTBearer"}))
        .await;
    let asset = shared.wait("box", Ready, "True", "Fresh").await;
    let shown = serde_json::to_string(&asset.status).unwrap();
    assert!(!shown.contains("shared-account"), "{shown}");
    let account = || async {
        let token = super::text(&shared.token("box").await, "access_token");
        shared.stage.server.introspect(&token).await.account
    };
    assert_eq!(account().await, Some(mailbox("box")));

    // Whose mailbox the token opens is said by loginEmail.
    let login = |email: Value| json!({"oauth2": {"loginEmail": email}});
    shared.change_asset("box", login(json!("boss@example.com"))).await;
    shared
        .wait_until_refused("box", "boss@example.com (spec.oauth2.loginEmail)")
        .await;
    assert_eq!(account().await, Some(mailbox("box")));
    shared.change_asset("box", login(json!("jane@example.com"))).await;
    desk.wait_for_generation("box", 2).await;
    shared.wait("box", Ready, "True", "Fresh").await;
    assert_eq!(account().await, Some(mailbox("jane")));
    assert_eq!(shared.token_requests().await, 2, "nothing was asked for the boss");
    assert!(shared.secrets.get_opt("boss-token").await.unwrap().is_none());
}

#[tokio::test]
async fn a_code_brings_in_whom_a_rule_covers_and_is_not_asked_about_while_none_does() {
    let shared = Shared::set().await;
    let desk = shared.desk();
    shared.stage.server.set_rotation(Rotation::Strict).await;
    let _operator = shared
        .stage
        .operator_with(&["--watch-namespace", &shared.team], &[])
        .await;
    let all = [
        "alice@example.com",
        "bob@example.com",
        "desk@example.com",
        "jane@example.com",
    ];
    for account in all.into_iter().chain(["boss@example.com"]) {
        shared.stage.server.add_person(account).await;
    }
    shared.apply_provider_of_people(&all).await;
    let by_code = || json!({"grant": "DeviceCode"});
    shared.apply_asset("boss", "people", by_code()).await;
    shared.wait_until_refused("boss", "boss@example.com (spec.email)").await;
    desk.request_sign_in("boss", "now").await;

    shared.apply_asset("alice", "people", by_code()).await;
    let [page, code] = desk.request_code("alice", "now").await;
    let browser = Browser::open().await;
    browser.enter_device_code(&page, &code).await;
    browser.sign_in_as(&mailbox("alice")).await;
    browser.consent().await;
    let asset = shared.wait("alice", Ready, "True", "Fresh").await;
    assert_eq!(asset.status.unwrap().grant.unwrap().account, Some(mailbox("alice")));
    let boss = shared.assets.get("boss").await.unwrap();
    assert!(sign_in(&boss)["userCode"].is_null());

    // The rule goes while bob types.
    shared.apply_asset("bob", "people", by_code()).await;
    let [page, code] = desk.request_code("bob", "now").await;
    shared.apply_provider_of_people(&["alice@example.com"]).await;
    shared.wait_until_refused("bob", "bob@example.com (spec.email)").await;
    let before = shared.polls().await;
    let browser = browser.beside().await;
    browser.enter_device_code(&page, &code).await;
    browser.sign_in_as(&mailbox("bob")).await;
    browser.consent().await;
    shared.request_refresh("alice", "marker").await;
    desk.wait_for_generation("alice", 2).await;
    assert_eq!(shared.polls().await, before);
    assert!(shared.secrets.get_opt("bob-token").await.unwrap().is_none());
    shared.apply_provider_of_people(&all).await;
    shared.wait("bob", Ready, "True", "Fresh").await;

    // Who signed in counts, whatever the spec says by now.
    let by_jane = json!({"grant": "DeviceCode", "loginEmail": "jane@example.com"});
    shared.apply_asset("desk", "people", by_jane).await;
    let [page, code] = desk.request_code("desk", "now").await;
    let browser = browser.beside().await;
    browser.enter_device_code(&page, &code).await;
    browser.sign_in_as("jane@example.com").await;
    browser.consent().await;
    shared.wait("desk", Ready, "True", "Fresh").await;
    let refreshes = || async { shared.stage.server.counters().await.refresh_requests };
    let before = refreshes().await;
    shared
        .apply_provider_of_people(&["alice@example.com", "desk@example.com"])
        .await;
    shared
        .wait_until_refused("desk", "jane@example.com (spec.oauth2.loginEmail)")
        .await;
    shared
        .change_asset("desk", json!({"oauth2": {"loginEmail": null}}))
        .await;
    shared
        .wait_until_refused("desk", "jane@example.com (the account that signed in)")
        .await;
    shared.request_refresh("desk", "while-it-may-not").await;
    shared.request_refresh("alice", "another marker").await;
    desk.wait_for_generation("alice", 3).await;
    assert_eq!(refreshes().await, before + 1, "the marker's alone");
}

#[tokio::test]
async fn no_code_of_a_sign_in_is_redeemed_once_its_rule_is_withdrawn() {
    let shared = Shared::set().await;
    let desk = shared.desk();
    shared.stage.server.set_rotation(Rotation::Strict).await;
    let pages = free_address();
    let _operator = shared
        .stage
        .operator_with_sign_in(pages, pages, &["--watch-namespace", &shared.team])
        .await;
    shared.stage.server.add_person(&mailbox("alice")).await;
    shared.apply_provider_of_people(&["alice@example.com"]).await;
    shared
        .apply_asset("alice", "people", json!({"grant": "AuthorizationCode"}))
        .await;
    let waiting = desk.wait_for_link("alice", |_| true).await;
    shared.wait("alice", Authorized, "False", "SignInRequired").await;
    let link = sign_in(&waiting)["url"].as_str().unwrap().to_owned();
    let callback = sign_in(&waiting)["callbackURL"].as_str().unwrap().to_owned();
    shared.stage.register_callback(&callback).await;

    // One person is on the way back to the operator's pages, another to the plugin.
    let browser = Browser::open().await;
    let back = desk.stop_at_callback(&browser, "alice", &mailbox("alice")).await;
    let response = respond(&desk, "alice", &mailbox("alice")).await;
    shared.apply_provider_of_people(&["bob@example.com"]).await;
    shared
        .wait_until_refused("alice", "alice@example.com (spec.email)")
        .await;
    browser.goto(back.as_str()).await;
    browser.wait_for_text("Nothing was changed").await;
    plant(&desk, "alice", &response).await;
    let other = browser.beside().await;
    other.goto(&link).await;
    other.wait_for_text("may not be used here").await;
    assert!(!other.has(BUTTON).await);

    let exchanges = || desk.token_requests("alice@example.com", "authorization_code");
    assert!(exchanges().await.is_empty());
    assert_eq!(desk.kept("alice").await, [None, None]);
    shared.apply_provider_of_people(&["alice@example.com"]).await;
    shared.wait("alice", Authorized, "False", "SignInRequired").await;
    desk.sign_in_well("alice").await;
    assert_eq!(exchanges().await.len(), 1, "the two codes were never sent");
    shared.wait("alice", Refreshed, "True", "Refreshed").await;
}
