//! Assets that wait for a person cost nothing: no polling, no writes. A few in every run, 500 in `make soak`.

use std::time::Duration;

use futures::StreamExt;
use serde_json::json;

use crate::support::SignInStage;

#[tokio::test]
async fn assets_that_wait_for_a_person_cost_no_request_and_no_write() {
    let stage = SignInStage::alone("waiting").await;
    let soak = std::env::var_os("EMAILASSET_SOAK").is_some();
    let count = if soak { 500 } else { 20 };
    let stage = &stage;
    futures::stream::iter(0..count)
        .for_each_concurrent(20, |index| async move {
            let grant = if index % 2 == 0 {
                "AuthorizationCode"
            } else {
                "DeviceCode"
            };
            let asset = format!("waiting-{index}");
            stage.apply(&stage.sign_in_manifest(&asset, grant, &json!({}))).await;
            stage
                .wait_for_condition(&asset, emailasset::api::ConditionType::Ready, "False", "SignInRequired")
                .await;
        })
        .await;
    let asked = stage.server.counters().await.requests;
    let requests = stage.cluster.requests_of(&stage.namespace, "operator").len();
    // The time is what is measured, not waited for.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(stage.server.counters().await.requests, asked);
    let made = stage
        .cluster
        .requests_of(&stage.namespace, "operator")
        .split_off(requests);
    let made: Vec<_> = made
        .into_iter()
        .map(|request| (request.verb, request.resource, request.name))
        .filter(|(verb, resource, _)| resource != "leases" && verb != "watch")
        .collect();
    assert_eq!(made, []);
}
