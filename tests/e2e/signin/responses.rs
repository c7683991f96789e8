//! Authorization responses that a Secret brings, as `kubectl emailasset authorize` makes it, and as whoever may create Secrets in a namespace could make it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use emailasset::api::EmailAsset;
use emailasset::store::{Key, Secrets};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use crate::support::{
    Browser, Cluster, LOOPBACK_REDIRECT, SignInStage, Stage, Twist, mailbox, note_secret, random_suffix, sign_in,
    wait_for, wait_until_gone,
};

#[tokio::test]
async fn a_response_of_the_right_account_is_redeemed_and_deleted() {
    let stage = SignInStage::join().await;
    stage.asset_to_sign_in("handed-over", &json!({})).await;
    let response = respond(&stage, "handed-over", &mailbox("handed-over")).await;
    plant(&stage, "handed-over", &response).await;
    stage.wait_until_ready("handed-over").await;
    stage.assert_token_works("handed-over").await;
}

#[tokio::test]
async fn a_planted_response_of_another_account_changes_nothing_and_is_deleted() {
    let stage = SignInStage::join().await;
    stage.server.add_person("eve@example.com").await;
    stage.asset_to_sign_in("planted", &json!({})).await;
    stage.sign_in_well("planted").await;
    let before = stage.kept("planted").await;
    let response = respond(&stage, "planted", "eve@example.com").await;
    plant(&stage, "planted", &response).await;
    stage.wait_for_event("planted", "WrongAccount").await;
    assert_eq!(stage.kept("planted").await, before);
    stage.wait_until_ready("planted").await;
}

#[tokio::test]
async fn a_planted_response_of_another_account_does_not_become_the_first_grant_either() {
    let stage = SignInStage::join().await;
    stage.server.add_person("eve@example.com").await;
    stage.asset_to_sign_in("planted-first", &json!({})).await;
    let response = respond(&stage, "planted-first", "eve@example.com").await;
    plant(&stage, "planted-first", &response).await;
    stage.wait_for_event("planted-first", "WrongAccount").await;
    assert_eq!(stage.kept("planted-first").await, [None, None]);
}

#[tokio::test]
async fn a_planted_response_with_a_code_of_another_asset_of_the_same_mailbox_owner_needs_its_verifier() {
    let stage = SignInStage::join().await;
    stage.asset_to_sign_in("planted-code", &json!({})).await;
    let mut response = respond(&stage, "planted-code", &mailbox("planted-code")).await;
    response["code_verifier"] = json!("a-verifier-that-somebody-guessed-and-that-is-long-enough");
    plant(&stage, "planted-code", &response).await;
    stage.wait_for_event("planted-code", "SignInFailed").await;
    assert_eq!(stage.kept("planted-code").await, [None, None]);
}

#[tokio::test]
async fn a_planted_response_for_an_asset_of_another_namespace_reaches_nobody() {
    let (stage, other) = (SignInStage::join().await, SignInStage::alone("planted-elsewhere").await);
    other.asset_to_sign_in("elsewhere", &json!({})).await;
    let response = respond(&other, "elsewhere", &mailbox("elsewhere")).await;
    for name in ["elsewhere", "planted-elsewhere/elsewhere", "../elsewhere"] {
        plant(&stage, name, &response).await;
    }
    assert_eq!(other.kept("elsewhere").await, [None, None]);
    assert_eq!(
        other
            .token_requests(&mailbox("elsewhere"), "authorization_code")
            .await
            .len(),
        0
    );
}

#[tokio::test]
async fn a_response_that_was_kept_back_does_not_replace_a_newer_sign_in() {
    let stage = SignInStage::join().await;
    stage.asset_to_sign_in("kept-back", &json!({})).await;
    let before_any = respond(&stage, "kept-back", &mailbox("kept-back")).await;
    stage.sign_in_well("kept-back").await;
    let first = stage.kept("kept-back").await;
    plant(&stage, "kept-back", &before_any).await;
    let said = stage.wait_for_event("kept-back", "SignInFailed").await;
    assert!(said.contains("Somebody else has signed in"), "{said}");
    assert_eq!(stage.kept("kept-back").await, first);

    let before_the_second = respond(&stage, "kept-back", &mailbox("kept-back")).await;
    assert!(
        before_the_second["grant_time"].is_string(),
        "the plugin says what it saw"
    );
    stage
        .sign_in(&Browser::open().await, "kept-back", &mailbox("kept-back"))
        .await;
    stage.wait_for_generation("kept-back", 2).await;
    let history = |asset: &EmailAsset| sign_in(asset)["lastRefusal"].is_null();
    wait_for(&stage.assets, "kept-back", "the first refusal is history", history).await;
    let second = stage.kept("kept-back").await;
    plant(&stage, "kept-back", &before_the_second).await;
    wait_for(&stage.assets, "kept-back", "the second one is refused too", |asset| {
        sign_in(asset)["lastRefusal"]["message"]
            .as_str()
            .is_some_and(|said| said.contains("Somebody else has signed in"))
    })
    .await;
    assert_eq!(stage.kept("kept-back").await, second);
    let exchanges = stage.token_requests(&mailbox("kept-back"), "authorization_code").await;
    assert_eq!(exchanges.len(), 2, "a code that comes too late is not even sent");
}

#[tokio::test]
async fn of_two_who_come_for_a_response_one_gets_it_also_where_it_cannot_go() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("claims").await;
    let client = cluster.client().await;
    let api: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let secrets = Secrets::new(client, Duration::from_secs(60), Arc::new(|_, _| {}));
    for finalizers in [json!(null), json!(["test.example/hold"])] {
        let made = serde_json::from_value(json!({
            "metadata": {"generateName": "response-", "finalizers": finalizers},
            "type": "emailasset.dev/authorization-response", "stringData": {"code": "x"},
        }));
        let made = api.create(&PostParams::default(), &made.unwrap()).await.unwrap();
        let key = Key::new(&namespace, made.metadata.name.as_deref().unwrap());
        let read = || async { secrets.read(&key).await.unwrap().expect("it is there") };
        let (one, other) = (read().await, read().await);
        let claims = tokio::join!(secrets.claim(&key, &one.seen), secrets.claim(&key, &other.seen));
        let won = [claims.0, claims.1].iter().filter(|claim| claim.is_ok()).count();
        assert_eq!(won, 1, "{finalizers}");
    }
}

#[tokio::test]
async fn garbage_in_a_response_changes_nothing_and_is_deleted() {
    let stage = SignInStage::join().await;
    stage.asset_to_sign_in("garbage", &json!({})).await;
    let good = json!({
        "asset_uid": "x", "code": "x", "code_verifier": "x", "redirect_uri": LOOPBACK_REDIRECT, "nonce": "x",
    });
    let mut all = vec![json!({}), json!({"unknown": "key"})];
    for key in ["asset_uid", "code", "code_verifier", "redirect_uri", "nonce"] {
        let mut without = good.clone();
        without.as_object_mut().unwrap().remove(key);
        all.push(without);
    }
    for (key, value) in [
        ("redirect_uri", "https://evil.example/callback"),
        ("redirect_uri", "not a URL"),
        ("iss", "https://evil.example"),
        ("code", &"x".repeat(100_000)),
        ("asset_uid", "<script>alert(1)</script>"),
        ("grant_time", "yesterday"),
    ] {
        let mut with = good.clone();
        with[key] = json!(value);
        all.push(with);
    }
    for response in all {
        plant(&stage, "garbage", &response).await;
    }
    plant(&stage, "", &good).await;
    assert_eq!(stage.kept("garbage").await, [None, None]);
    stage.sign_in_well("garbage").await;
}

/// What the plugin does: a sign-in with the authorization request of the status and a redirect URI of its own.
pub(crate) async fn respond(stage: &Stage, asset: &str, account: &str) -> Value {
    let shown = stage.assets.get(asset).await.unwrap();
    let uid = shown.metadata.uid.clone().unwrap();
    let request = sign_in(&shown)["authorizationRequest"]
        .as_str()
        .expect("a request")
        .to_owned();
    let [echo, nonce] = [random_suffix(), random_suffix()];
    let verifier: String = std::iter::repeat_with(random_suffix).take(6).collect();
    note_secret(&verifier);
    let mut url = Url::parse(&request).unwrap();
    url.query_pairs_mut()
        .append_pair("redirect_uri", LOOPBACK_REDIRECT)
        .append_pair("state", &echo)
        .append_pair("nonce", &nonce)
        .append_pair("code_challenge", &URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier)))
        .append_pair("code_challenge_method", "S256");
    let browser = Browser::open().await;
    browser.goto(url.as_str()).await;
    browser.sign_in_as(account).await;
    stage.server.twist_for(account, Twist::StopAtServer).await;
    browser.consent().await;
    let back = stage.server.wait_for_response(&echo).await;
    let answer: HashMap<String, String> = back.query_pairs().into_owned().collect();
    assert_eq!(answer["state"], echo);
    let mut response = json!({
        "asset_uid": uid, "code": answer["code"], "code_verifier": verifier,
        "redirect_uri": LOOPBACK_REDIRECT, "nonce": nonce, "iss": answer["iss"],
    });
    if let Some(granted) = grant_time(&shown) {
        response["grant_time"] = json!(granted);
    }
    response
}

fn grant_time(asset: &EmailAsset) -> Option<String> {
    Some(
        asset
            .status
            .as_ref()?
            .grant
            .as_ref()?
            .grant_time
            .as_ref()?
            .0
            .to_string(),
    )
}

/// Makes the Secret and waits until it is gone again.
pub(crate) async fn plant(stage: &Stage, asset: &str, data: &Value) {
    let name = format!("response-{}", random_suffix());
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": name, "annotations": {"emailasset.dev/for": asset}},
        "type": "emailasset.dev/authorization-response",
        "stringData": data,
    }))
    .unwrap();
    stage.secrets.create(&PostParams::default(), &secret).await.unwrap();
    wait_until_gone(&stage.secrets, &name).await;
}
