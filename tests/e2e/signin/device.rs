//! Signing in with a code on any device (RFC 8628).

use std::time::Duration;

use emailasset::api::ConditionType::{Authorized, Ready};
use emailasset::api::EmailAsset;
use serde_json::json;

use crate::support::{
    Action, Browser, Fault, Match, SignInStage, Stage, condition, free_address, mailbox, sign_in, until, wait_for,
};

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";

#[tokio::test]
async fn a_code_is_asked_for_on_request_entered_in_a_browser_and_the_asset_is_ready() {
    let stage = SignInStage::join().await;
    device_asset(&stage, "device").await;
    let asset = stage
        .wait_for_condition("device", Ready, "False", "SignInRequired")
        .await;
    assert!(sign_in(&asset)["userCode"].is_null(), "not before somebody asks for it");
    let [verification_url, user_code] = stage.request_code("device", "now").await;
    let asset = stage.assets.get("device").await.unwrap();
    let (_, _, message) = condition(&asset, Ready).unwrap();
    assert!(
        message.contains(&user_code) && message.contains(&verification_url),
        "{message}"
    );
    let handled = asset.status.unwrap().handled_requests.unwrap();
    assert_eq!(handled.sign_in.as_deref(), Some("now"));

    let browser = Browser::open().await;
    browser.enter_device_code(&verification_url, &user_code).await;
    browser.sign_in_as(&mailbox("device")).await;
    browser.consent().await;
    let asset = stage.wait_until_ready("device").await;
    stage.assert_token_works("device").await;
    assert!(sign_in(&asset)["userCode"].is_null(), "a spent code is not shown");
    assert_eq!(asset.status.unwrap().grant.unwrap().account, Some(mailbox("device")));
}

#[tokio::test]
async fn the_wrong_account_does_not_come_in_by_a_code_either() {
    let stage = SignInStage::join().await;
    stage.server.add_person("eve@example.com").await;
    device_asset(&stage, "device-wrong").await;
    let [verification_url, user_code] = stage.request_code("device-wrong", "now").await;
    let browser = Browser::open().await;
    browser.enter_device_code(&verification_url, &user_code).await;
    browser.sign_in_as("eve@example.com").await;
    browser.consent().await;
    stage
        .wait_for_condition("device-wrong", Authorized, "False", "WrongAccount")
        .await;
    let [_, token] = stage.kept("device-wrong").await;
    assert_eq!(token, None);
}

#[tokio::test]
async fn a_declined_code_is_said_and_not_asked_about_again() {
    let stage = SignInStage::join().await;
    device_asset(&stage, "device-declined").await;
    let [verification_url, user_code] = stage.request_code("device-declined", "now").await;
    Browser::open()
        .await
        .decline_device_code(&verification_url, &user_code)
        .await;
    stage
        .wait_for_condition("device-declined", Authorized, "False", "ConsentDenied")
        .await;
    let asset = stage.assets.get("device-declined").await.unwrap();
    assert!(sign_in(&asset)["userCode"].is_null());
    // The next value asks for the next code.
    let [_, next] = stage.request_code("device-declined", "again").await;
    assert_ne!(next, user_code);
}

#[tokio::test]
async fn a_code_that_nobody_enters_runs_out_and_the_server_is_left_alone() {
    let stage = SignInStage::alone("device-expiry").await;
    stage.server.set_device_code_lifetime(6).await;
    device_asset(&stage, "unentered").await;
    stage.request_code("unentered", "now").await;
    let asset = wait_for(&stage.assets, "unentered", "its code is gone", |asset| {
        sign_in(asset)["userCode"].is_null()
    })
    .await;
    assert_eq!(condition(&asset, Ready).unwrap().0, "False");
    assert!(!stage.wait_for_event("unentered", "SignInFailed").await.is_empty());
    let asked = stage.server.counters().await.requests;
    // The time is what is measured, not waited for: six intervals of what it was.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(stage.server.counters().await.requests, asked);
}

#[tokio::test]
async fn the_interval_is_obeyed_and_slow_down_makes_it_longer() {
    let stage = SignInStage::alone("device-interval").await;
    stage.server.set_device_interval(2).await;
    device_asset(&stage, "patient").await;
    stage.request_code("patient", "now").await;
    wait_for_polls(&stage, 2).await;
    let slower = stage
        .server
        .inject(Fault {
            applies_to: Match {
                grant_type: Some(GRANT_TYPE),
                ..Match::default()
            },
            action: Action::answer_json(400, &json!({"error": "slow_down"})),
            ..Fault::default()
        })
        .await;
    wait_for_polls(&stage, 4).await;
    assert_eq!(slower.hits().await, 1);
    let times = poll_times(&stage).await;
    let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps[0] >= 2_000 && gaps[1] >= 2_000, "{gaps:?}");
    assert!(
        gaps[2] >= 7_000,
        "5 s more after slow_down (RFC 8628 section 3.5): {gaps:?}"
    );
}

#[tokio::test]
async fn the_interval_is_obeyed_across_restarts_and_the_code_goes_on_being_good() {
    let stage = Stage::set("device-restart").await;
    stage.server.set_device_interval(3).await;
    let pages = free_address();
    let mut operator = stage.operator_with_sign_in(pages, pages, &[]).await;
    device_asset(&stage, "restarted").await;
    let [verification_url, user_code] = stage.request_code("restarted", "now").await;
    for round in 1..=2 {
        wait_for_polls(&stage, round).await;
        operator.kill().await;
        operator = stage.operator_with_sign_in(pages, pages, &[]).await;
    }
    let browser = Browser::open().await;
    browser.enter_device_code(&verification_url, &user_code).await;
    browser.sign_in_as(&mailbox("restarted")).await;
    browser.consent().await;
    stage.wait_until_ready("restarted").await;
    let polls = stage.server.requests_since(0).await;
    assert!(
        polls.iter().all(|poll| !poll.too_soon),
        "{:?}",
        poll_times(&stage).await
    );
}

async fn device_asset(stage: &Stage, asset: &str) -> EmailAsset {
    stage.server.add_person(&mailbox(asset)).await;
    stage
        .apply(&stage.sign_in_manifest(asset, "DeviceCode", &json!({})))
        .await
}

/// When the server was polled, in milliseconds.
async fn poll_times(stage: &Stage) -> Vec<u64> {
    let all = stage.server.requests_since(0).await.into_iter();
    all.filter(|request| request.grant_type.as_deref() == Some(GRANT_TYPE))
        .map(|request| request.at)
        .collect()
}

async fn wait_for_polls(stage: &Stage, count: usize) {
    until("the server was polled", || async {
        (poll_times(stage).await.len() >= count).then_some(())
    })
    .await;
}
