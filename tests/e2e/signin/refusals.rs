//! Sign-ins that change nothing, each with its own reason, page and next step. A working grant is never replaced by a worse one.

use emailasset::api::ConditionType::{Authorized, Ready};
use serde_json::{Value, json};

use crate::support::{Browser, SignInStage, Stage, Twist, condition, free_address, mailbox};

#[tokio::test]
async fn the_wrong_account_keeps_the_old_grant_and_both_are_named() {
    let stage = SignInStage::join().await;
    stage.server.add_person("eve@example.com").await;
    stage.asset_to_sign_in("wrong-account", &json!({})).await;
    stage.sign_in_well("wrong-account").await;
    let before = stage.kept("wrong-account").await;

    let browser = Browser::open().await;
    let page = stage.sign_in(&browser, "wrong-account", "eve@example.com").await;
    assert_names(&page, &["eve@example.com", &mailbox("wrong-account")]);
    browser.screenshot("sign-in-wrong-account").await;
    let note = stage.wait_for_event("wrong-account", "WrongAccount").await;
    assert_names(&note, &["eve@example.com", &mailbox("wrong-account"), "loginEmail"]);
    assert_eq!(stage.kept("wrong-account").await, before);
    let asset = stage.assets.get("wrong-account").await.unwrap();
    assert_eq!(condition(&asset, Ready).unwrap().0, "True");
    assert_eq!(
        asset.status.unwrap().grant.unwrap().account,
        Some(mailbox("wrong-account"))
    );
    stage.assert_token_works("wrong-account").await;
}

#[tokio::test]
async fn the_first_sign_in_with_the_wrong_account_stores_nothing_and_the_right_one_mends_it() {
    let stage = SignInStage::join().await;
    stage.server.add_person("eve@example.com").await;
    stage.asset_to_sign_in("wrong-first", &json!({})).await;
    stage
        .sign_in(&Browser::open().await, "wrong-first", "eve@example.com")
        .await;
    stage
        .wait_for_condition("wrong-first", Authorized, "False", "WrongAccount")
        .await;
    let message = stage.message_of("wrong-first", Authorized).await;
    assert_names(
        &message,
        &["eve@example.com", &mailbox("wrong-first"), "private window"],
    );
    stage
        .wait_for_condition("wrong-first", Ready, "False", "SignInRequired")
        .await;
    assert_eq!(stage.kept("wrong-first").await, [None, None]);

    stage.sign_in_well("wrong-first").await;
    stage.assert_token_works("wrong-first").await;
}

#[tokio::test]
async fn an_address_that_now_belongs_to_somebody_else_does_not_open_the_mailbox() {
    let stage = SignInStage::join().await;
    stage.asset_to_sign_in("passed-on", &json!({})).await;
    stage.sign_in_well("passed-on").await;
    let before = stage.kept("passed-on").await;
    stage
        .server
        .add_person_with(json!({"email": mailbox("passed-on"), "sub": "somebody-else"}))
        .await;
    stage
        .sign_in(&Browser::open().await, "passed-on", &mailbox("passed-on"))
        .await;
    stage.wait_for_event("passed-on", "WrongAccount").await;
    assert_eq!(stage.kept("passed-on").await, before);
}

#[tokio::test]
async fn what_the_provider_or_the_person_holds_back_is_said_and_changes_nothing() {
    let stage = SignInStage::join().await;
    let admin = Twist::Refuse {
        error: "access_denied",
        description: "AADSTS90094: The grant requires admin permission.",
    };
    for (asset, twist, reason) in [
        ("fewer-scopes", Twist::LeaveOut(&["mail"]), "ScopeNotGranted"),
        ("no-refresh-token", Twist::NoRefreshToken, "NoRefreshToken"),
        ("admin-consent", admin, "AdminConsentRequired"),
    ] {
        stage.asset_to_sign_in(asset, &json!({})).await;
        stage.server.twist_for(&mailbox(asset), twist).await;
        assert_refused(&stage, asset, reason).await;
    }
}

#[tokio::test]
async fn a_person_who_says_no_is_told_that_nothing_changed() {
    let stage = SignInStage::join().await;
    stage.asset_to_sign_in("denied", &json!({})).await;
    stage.sign_in_well("denied").await;
    let before = stage.kept("denied").await;
    let browser = Browser::open().await;
    stage.log_in(&browser, "denied", &mailbox("denied")).await;
    browser.cancel().await;
    browser.wait_for_url(&format!("http://{}/", stage.pages)).await;
    browser.wait_for_text("nothing was changed").await;
    browser.screenshot("sign-in-denied").await;
    stage.wait_for_event("denied", "ConsentDenied").await;
    assert_eq!(stage.kept("denied").await, before);
    stage.wait_until_ready("denied").await;
}

#[tokio::test]
async fn the_same_no_again_and_again_is_counted_but_written_once() {
    let stage = Stage::set("again-no").await;
    let [pages, listen] = [free_address(), free_address()];
    let listen = listen.to_string();
    let _operator = stage.operator_with_sign_in(pages, pages, &["--listen", &listen]).await;
    stage.asset_to_sign_in("no", &json!({})).await;
    let browser = Browser::open().await;
    stage.say_no(&browser, "no").await;
    stage
        .wait_for_condition("no", Authorized, "False", "ConsentDenied")
        .await;
    let first = stage.assets.get("no").await.unwrap();
    for _ in 0..3 {
        stage.say_no(&browser, "no").await;
    }
    let count = |metrics: &str, result: &str| {
        let series = format!("emailasset_sign_ins_total{{result=\"{result}\"}} ");
        metrics
            .lines()
            .find_map(|line| line.strip_prefix(&series).map(str::to_owned))
    };
    let metrics = || async {
        let answer = reqwest::get(format!("http://{listen}/metrics")).await.unwrap();
        answer.text().await.unwrap()
    };
    assert_eq!(count(&metrics().await, "consent_denied").as_deref(), Some("4"));
    let now = stage.assets.get("no").await.unwrap();
    assert_eq!(
        now.metadata.resource_version, first.metadata.resource_version,
        "three more times say nothing new"
    );
    // Another refusal does.
    stage.server.twist_for(&mailbox("no"), Twist::NoRefreshToken).await;
    stage.sign_in(&browser, "no", &mailbox("no")).await;
    stage
        .wait_for_condition("no", Authorized, "False", "NoRefreshToken")
        .await;

    // That opens a browser of its own.
    drop(browser);
    stage.sign_in_well("no").await;
    let metrics = metrics().await;
    for (result, times) in [("no_refresh_token", "1"), ("stored", "1"), ("consent_denied", "4")] {
        assert_eq!(count(&metrics, result).as_deref(), Some(times), "{result} in {metrics}");
    }
    assert!(!metrics.contains(&mailbox("no")), "nobody is named");
}

#[tokio::test]
async fn what_proves_nothing_is_no_proof() {
    let stage = SignInStage::join().await;
    let unverified = json!({"email_verified": false});
    let (nonce, audience) = (json!({"nonce": "another"}), json!({"aud": "another-client"}));
    let (issuer, expired) = (json!({"iss": "https://evil.example"}), json!({"exp": 1_000_000_000}));
    for (asset, twist) in [
        ("proof-unverified", Twist::IdTokenClaims(&unverified)),
        ("proof-nonce", Twist::IdTokenClaims(&nonce)),
        ("proof-audience", Twist::IdTokenClaims(&audience)),
        ("proof-issuer", Twist::IdTokenClaims(&issuer)),
        ("proof-expired", Twist::IdTokenClaims(&expired)),
        ("proof-key", Twist::UnknownKey),
        ("proof-signature", Twist::ForgedSignature),
    ] {
        stage.asset_to_sign_in(asset, &json!({})).await;
        stage.server.twist_for(&mailbox(asset), twist).await;
        if asset == "proof-unverified" {
            // It is told in both places, as a real provider does.
            stage
                .server
                .twist_for(&mailbox(asset), Twist::UserinfoClaims(&unverified))
                .await;
        }
        assert_refused(&stage, asset, "IdentityUnproven").await;
    }
}

#[tokio::test]
async fn an_account_that_only_userinfo_tells_is_proven_by_it_unless_it_is_down() {
    let stage = SignInStage::join().await;
    let without: Value = json!({"email": null, "email_verified": null, "preferred_username": null});
    stage.asset_to_sign_in("userinfo", &json!({})).await;
    stage
        .server
        .twist_for(&mailbox("userinfo"), Twist::IdTokenClaims(&without))
        .await;
    stage
        .server
        .twist_for(&mailbox("userinfo"), Twist::UserinfoDown(503))
        .await;
    assert_refused(&stage, "userinfo", "IdentityUnproven").await;

    stage
        .server
        .twist_for(&mailbox("userinfo"), Twist::IdTokenClaims(&without))
        .await;
    stage.sign_in_well("userinfo").await;
}

#[tokio::test]
async fn an_answer_of_another_issuer_is_refused() {
    let stage = SignInStage::alone("mix-up").await;
    stage.asset_to_sign_in("mixed-up", &json!({})).await;
    stage
        .server
        .twist(
            crate::support::CLIENT,
            Twist::ResponseIssuer(Some("https://evil.example")),
        )
        .await;
    stage
        .sign_in(&Browser::open().await, "mixed-up", &mailbox("mixed-up"))
        .await;
    assert_eq!(stage.kept("mixed-up").await, [None, None]);
    let redeemed = stage.token_requests(&mailbox("mixed-up"), "authorization_code").await;
    assert_eq!(redeemed.len(), 0, "the code is not sent on");
    stage.sign_in_well("mixed-up").await;
}

/// Signs in with the right account, and asserts that nothing was stored, that status and page say why, and that the next sign-in mends it.
async fn assert_refused(stage: &SignInStage, asset: &str, reason: &str) {
    let browser = Browser::open().await;
    let page = stage.sign_in(&browser, asset, &mailbox(asset)).await;
    assert!(page.to_lowercase().contains("nothing was changed"), "{asset}: {page}");
    browser.screenshot(&format!("sign-in-{}", reason.to_lowercase())).await;
    stage.wait_for_condition(asset, Authorized, "False", reason).await;
    stage.wait_for_event(asset, reason).await;
    assert_eq!(stage.kept(asset).await, [None, None], "{asset}: nothing is stored");
}

fn assert_names(text: &str, names: &[&str]) {
    for name in names {
        assert!(text.contains(name), "{name} is not named in: {text}");
    }
}
