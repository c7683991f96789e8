//! What the operator does when there is nothing to do, and how little it does when there is (invariant 4), by the API
//! server's own audit log.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::support::{CLIENT, Operator, Rotation, SharedStage, Stage, mailbox, until};

const ASSETS: usize = 50;

/// The verbs and resources of requests, in order.
type Requests = Vec<(String, String, String)>;

#[tokio::test]
async fn a_restart_with_fresh_assets_asks_for_no_token_writes_nothing_and_reads_no_contents() {
    let stage = Stage::set("quiet").await;
    stage.server.set_rotation(Rotation::Strict).await;
    let mut operator = stage.operator().await;
    let names: Vec<String> = (0..ASSETS).map(|index| format!("quiet-{index}")).collect();
    let apply = names.iter().enumerate().map(|(index, name)| {
        let (stage, rotation) = (
            &stage,
            if index % 2 == 0 {
                Rotation::None
            } else {
                Rotation::Strict
            },
        );
        async move {
            let minted = stage.server.mint_rotating(CLIENT, &mailbox(name), rotation).await;
            stage
                .put_secret(&format!("{name}-seed"), &json!({"refresh_token": minted.refresh_token}))
                .await;
            stage
                .apply(&stage.manifest(name, &format!("{rotation:?}"), &json!({})))
                .await;
        }
    });
    futures::future::join_all(apply).await;
    futures::future::join_all(names.iter().map(|name| stage.wait_until_ready(name))).await;
    operator.terminate();
    assert!(operator.wait().await.success());
    drop(operator);
    let (asked, requests) = (stage.server.counters().await.token_requests, recorded(&stage).len());

    let operator = stage.operator().await;
    leads(&operator).await;
    // An asset that comes after the restart is dealt with after all that a restart does.
    let marker = marker(&stage, "after-restart").await;
    let since: Requests = recorded(&stage).split_off(requests);
    let (of_marker, others): (Requests, Requests) =
        since.into_iter().partition(|(_, _, name)| name.starts_with(&marker));
    assert!(
        of_marker.len() >= 3,
        "the marker's own requests are in the log: {of_marker:?}"
    );
    let others: Vec<_> = others
        .into_iter()
        .filter(|(_, resource, _)| resource != "leases")
        .collect();
    let reads_of_one = others
        .iter()
        .filter(|(verb, resource, name)| verb == "get" && resource == "secrets" && name != "oauth-client");
    assert_eq!(reads_of_one.count(), 0, "{others:?}");
    let writes: Vec<_> = others.iter().filter(|(verb, ..)| is_write(verb)).collect();
    // The marker's token Secret is created, and a creation has no name in the log.
    assert!(
        writes.len() <= 1 && writes.iter().all(|(verb, ..)| verb == "create"),
        "{writes:?}"
    );
    assert_eq!(stage.server.counters().await.token_requests, asked + 1);

    // Idle: the time is what is measured, not waited for.
    let before = recorded(&stage).len();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let idle: Vec<_> = recorded(&stage)
        .split_off(before)
        .into_iter()
        .filter(|(_, resource, _)| resource != "leases")
        .collect();
    assert_eq!(idle, []);
    assert_eq!(stage.server.counters().await.token_requests, asked + 1);
}

#[tokio::test]
async fn a_refresh_costs_one_token_request_and_few_calls_to_the_api_server() {
    costs_little(&SharedStage::alone("cost", &[]).await).await;
}

#[tokio::test]
async fn passes_so_slow_that_the_watch_shows_their_last_write_first_cost_no_more() {
    let slow = [("FAILPOINTS", "at-rest=sleep(400)")];
    costs_little(&SharedStage::alone_in("slow-cost", &[], &slow).await).await;
}

async fn costs_little(stage: &SharedStage) {
    for (asset, rotation, most_writes) in [("plain", Rotation::None, 2), ("strict", Rotation::Strict, 4)] {
        let grant = stage.settle(asset, rotation, &json!({})).await;
        // The first refresh of a process may read what later ones know.
        stage.refresh_answered(asset, "first").await;
        // The log lags behind what the operator and we have seen.
        marker(stage, &format!("before-{asset}")).await;
        let before = recorded(stage).len();
        stage.refresh_answered(asset, "second").await;
        marker(stage, &format!("after-{asset}")).await;
        let mine = recorded(stage)
            .split_off(before)
            .into_iter()
            .filter(|(_, resource, name)| {
                resource != "leases"
                    && (name.starts_with(asset) || name == "oauth-client")
                    && !name.starts_with("after")
            });
        let mine: Vec<_> = mine.collect();
        let writes = mine.iter().filter(|(verb, ..)| is_write(verb)).count();
        // The marker reads the client's Secret once as well.
        let reads = mine.iter().filter(|(verb, ..)| verb == "get").count() - 1;
        let log = stage.operator.log_file().display();
        assert!(writes <= most_writes, "{asset}: {mine:#?}; see {log}");
        assert!(reads <= if most_writes == 2 { 2 } else { 3 }, "{asset}: {mine:#?}");
        assert_eq!(stage.requests_of_grant(&grant).await, 3);
    }
}

#[tokio::test]
async fn a_label_on_a_shared_client_secret_sends_no_request_for_any_of_its_assets() {
    let stage = SharedStage::alone("label", &[]).await;
    for asset in ["one", "two", "three"] {
        stage.settle(asset, Rotation::Strict, &json!({})).await;
    }
    let label = json!({"metadata": {"labels": {"team": "a"}}});
    stage
        .secrets
        .patch("oauth-client", &PatchParams::default(), &Patch::Merge(&label))
        .await
        .unwrap();
    stage.wait_for_marker("after-label").await;
    assert_eq!(stage.server.counters().await.token_requests, 4);
}

/// Applies an asset, waits for its token and until the API server's log has its last request.
async fn marker(stage: &Stage, name: &str) -> String {
    let minted = stage.server.mint_rotating(CLIENT, &mailbox(name), Rotation::None).await;
    stage
        .put_secret(&format!("{name}-seed"), &json!({"refresh_token": minted.refresh_token}))
        .await;
    stage.apply(&stage.manifest(name, "None", &json!({}))).await;
    stage.wait_until_ready(name).await;
    until("the marker is in the audit log", || async {
        let written = recorded(stage);
        let last = written
            .iter()
            .any(|(_, resource, of)| of == name && resource.contains("emailassets"));
        last.then_some(())
    })
    .await;
    name.to_owned()
}

async fn leads(operator: &Operator) {
    operator.wait_for_line("leading").await;
}

fn recorded(stage: &Stage) -> Requests {
    let requests = stage.cluster.requests_of(&stage.namespace, "operator").into_iter();
    requests
        .map(|request| (request.verb, request.resource, request.name))
        .collect()
}

fn is_write(verb: &str) -> bool {
    !matches!(verb, "get" | "list" | "watch")
}
