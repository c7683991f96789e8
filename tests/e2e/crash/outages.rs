//! The API server fails while an answer is on its way: paused, killed, and both with the operator told to end.

use serde_json::json;

use super::evidence::{Evidence, spooled};
use crate::support::{Cluster, Fault, Match, Operator, Stage, Step, install_crds, until};

#[tokio::test]
async fn an_answer_outlives_an_api_server_that_pauses_dies_or_is_gone_at_the_end() {
    // The stage borrows its cluster for good. It ends with the test process.
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::own().await));
    install_crds(cluster).await;
    let stage = Stage::set_in(cluster, "outage").await;
    let mut operator = stage.operator().await;
    for asset in ["paused", "killed", "ended", "healed"] {
        let grant = stage.seed(asset).await;
        stage.apply(&stage.manifest(asset, "Strict", &json!({}))).await;
        stage.wait_until_ready(asset).await;
        match asset {
            "paused" => {
                answer_while(&stage, asset, &grant, async || cluster.pause_api_server().await).await;
                cluster.resume_api_server().await;
            }
            "killed" => {
                answer_while(&stage, asset, &grant, async || cluster.stop_api_server().await).await;
                cluster.start_api_server().await;
            }
            "ended" => {
                answer_while(&stage, asset, &grant, async || {
                    cluster.stop_api_server().await;
                    operator.terminate();
                })
                .await;
                cluster.start_api_server().await;
                assert!(operator.wait().await.success(), "it ends when the answer is stored");
                assert_eq!(spooled(&stage.spool), Vec::<String>::new());
                operator = impatient(&stage).await;
            }
            _ => {
                answer_while(&stage, asset, &grant, async || {
                    cluster.stop_api_server().await;
                    operator.terminate();
                })
                .await;
                assert!(operator.wait().await.success(), "its time to finish is up");
                assert_eq!(spooled(&stage.spool), [asset]);
                cluster.start_api_server().await;
                operator = stage.operator().await;
            }
        }
        stage.wait_for_generation(asset, 2).await;
        stage.assert_token_works(asset).await;
        until("the spool is empty", || async {
            spooled(&stage.spool).is_empty().then_some(())
        })
        .await;
        let evidence = Evidence::of(&stage, asset, &grant).await;
        evidence.assert_never_redeemed_twice(asset);
        assert_eq!(
            (evidence.generation, evidence.requests),
            (2, 2),
            "{asset}: {evidence:?}"
        );
        assert!(
            evidence.alive && !evidence.attempted && !evidence.unanswered,
            "{asset}: {evidence:?}"
        );
    }
}

/// Lets the answer of a refresh arrive when the API server has failed, and waits until it is in the spool.
async fn answer_while(stage: &Stage, asset: &str, grant: &str, fail: impl AsyncFnOnce()) {
    let held = Fault {
        applies_to: Match {
            grant_id: Some(grant.to_owned()),
            ..Match::default()
        },
        step: Step::After,
        hang: true,
        ..Fault::default()
    };
    let held = stage.server.inject(held).await;
    stage.request_refresh(asset, "now").await;
    held.wait_until_held(1).await;
    fail().await;
    held.release().await;
    until("the answer is in the spool", || async {
        spooled(&stage.spool).contains(&asset.to_owned()).then_some(())
    })
    .await;
}

/// An operator that finishes within a second or not at all.
async fn impatient(stage: &Stage) -> Operator {
    stage.operator_with(&["--shutdown-grace", "1s"], &[]).await
}
