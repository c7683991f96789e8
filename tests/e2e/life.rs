//! The life of a token, as a user sees it.

use emailasset::api::ConditionType::{Authorized, Ready, Refreshed};
use serde_json::json;

use crate::support::{Rotation, Stage, condition, generation_of, text, until};

#[tokio::test]
async fn a_seed_becomes_a_token_that_works() {
    let stage = Stage::set("life").await;
    let _operator = stage.operator().await;
    stage.server.set_rotation(Rotation::None).await;
    stage.seed("plain").await;
    stage.apply(&stage.manifest("plain", "None", &json!({}))).await;

    let asset = stage.wait_until_ready("plain").await;
    stage.assert_token_works("plain").await;
    for kind in [Ready, Authorized, Refreshed] {
        assert_eq!(condition(&asset, kind).unwrap().0, "True", "{kind}");
    }
    assert!(
        stage.secrets.get_opt("plain-grant").await.unwrap().is_none(),
        "nothing rotates: no grant Secret"
    );
}

#[tokio::test]
async fn a_rotating_grant_lives_through_many_refreshes() {
    let stage = Stage::set("life").await;
    let _operator = stage.operator().await;
    stage.server.set_rotation(Rotation::Strict).await;
    let grant = stage.seed("strict").await;
    stage.apply(&stage.manifest("strict", "Strict", &json!({}))).await;
    stage.wait_until_ready("strict").await;
    for round in 1..=3 {
        stage.request_refresh("strict", &format!("round-{round}")).await;
        stage.wait_for_generation("strict", round + 1).await;
        stage.assert_token_works("strict").await;
    }
    let counters = stage.server.counters_of(&grant).await;
    assert_eq!(
        (counters.requests, counters.max_overlapping, counters.killed_by_replay),
        (4, 1, 0)
    );
    let token = stage.secrets.get("strict-token").await.unwrap();
    assert!(
        token
            .data
            .as_ref()
            .unwrap()
            .keys()
            .all(|key| !key.contains("refresh") && !key.contains("client"))
    );
    let kept = stage.secrets.get("strict-grant").await.unwrap();
    assert_eq!(generation_of(&kept), Some(4));
    assert_eq!(text(&kept, "access_token"), text(&token, "access_token"));
}

#[tokio::test]
async fn a_revoked_grant_is_said_and_a_new_seed_mends_it() {
    let stage = Stage::set("life").await;
    let _operator = stage.operator().await;
    stage.server.set_rotation(Rotation::Strict).await;
    let grant = stage.seed("gone").await;
    stage.apply(&stage.manifest("gone", "Strict", &json!({}))).await;
    stage.wait_until_ready("gone").await;
    stage.server.revoke(&grant).await;
    stage.request_refresh("gone", "now").await;
    let asset = stage
        .wait_for_condition("gone", Authorized, "False", "GrantRevoked")
        .await;
    assert_eq!(
        condition(&asset, Ready).unwrap().0,
        "True",
        "the published token is still valid by its time"
    );

    stage.seed("gone").await;
    stage.wait_for_condition("gone", Authorized, "True", "Stored").await;
    until("the new token works", || async {
        stage
            .server
            .introspect(&stage.access_token("gone").await)
            .await
            .active
            .then_some(())
    })
    .await;
}
