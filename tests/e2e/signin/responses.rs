//! Authorization responses that a Secret brings, as `kubectl emailasset authorize` makes it, and as whoever may create Secrets in a namespace could make it.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use crate::support::{
    Browser, LOOPBACK_REDIRECT, SignInStage, mailbox, note_secret, random_suffix, sign_in, wait_until_gone,
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
async fn respond(stage: &SignInStage, asset: &str, account: &str) -> Value {
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
    browser.stop_before("http://127.0.0.1:9/*").await;
    browser.consent().await;
    let back = stage.server.wait_for_response(&echo).await;
    let answer: HashMap<String, String> = back.query_pairs().into_owned().collect();
    assert_eq!(answer["state"], echo);
    json!({
        "asset_uid": uid, "code": answer["code"], "code_verifier": verifier,
        "redirect_uri": LOOPBACK_REDIRECT, "nonce": nonce, "iss": answer["iss"],
    })
}

/// Makes the Secret and waits until it is gone again.
async fn plant(stage: &SignInStage, asset: &str, data: &Value) {
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
