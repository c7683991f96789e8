//! No secret leaves by another door (invariant 5): what is logged at level `trace`, shown in statuses and Events, and
//! counted in metrics.
//!
//! `tests/leaks` does the same over the logs of a whole run.

use emailasset::api::ConditionType::Ready;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;

use crate::support::leaks::Forbidden;
use crate::support::{Action, Fault, Rotation, SharedStage, Step, run_directory};

#[tokio::test]
async fn logs_statuses_events_and_metrics_hold_no_secret_after_good_and_bad_days() {
    let stage = SharedStage::alone("secrecy", &["--log-level", "trace"]).await;
    live_through_good_and_bad_days(&stage).await;

    let secrets = stage.server.secrets().await;
    assert!(secrets.len() > 10, "{} secrets were in play", secrets.len());
    let forbidden = Forbidden::new(secrets.iter().map(String::as_str));
    let assets = stage.assets.list(&ListParams::default()).await.unwrap();
    let events: Api<Event> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let events = events.list(&ListParams::default()).await.unwrap();
    let seen = [
        ("log", stage.operator.log()),
        ("assets", serde_json::to_string_pretty(&assets).unwrap()),
        ("events", serde_json::to_string_pretty(&events).unwrap()),
        ("metrics", stage.metrics().await),
    ];
    for (what, text) in &seen {
        assert!(text.len() > 100, "there are {what}");
        // For the search over the whole run, whose list of secrets is longer.
        std::fs::write(run_directory().join(format!("seen-{what}-{}", stage.namespace)), text).unwrap();
        assert_eq!(forbidden.search(text), [], "{what}");
    }

    // The search would have found one: our own Secrets are full of them.
    let kept = stage.secret("good-days-grant").await;
    let planted = serde_json::to_string(&kept).unwrap();
    assert!(!forbidden.search(&planted).is_empty(), "base64 in a Secret");
    let token = stage.access_token("good-days").await;
    assert_eq!(
        forbidden
            .search(&format!("a log line with {}", token.get(..16).unwrap()))
            .len(),
        1
    );
}

async fn live_through_good_and_bad_days(stage: &SharedStage) {
    stage.settle("good-days", Rotation::Strict, &json!({})).await;
    stage.refresh_answered("good-days", "first").await;
    stage.seed_rotating("good-days", Rotation::Strict).await;
    stage.wait_for_generation("good-days", 3).await;

    // A server that repeats what it was sent, in an error and in words of its own.
    let grant = stage.settle("bad-days", Rotation::None, &json!({})).await;
    let seed = crate::support::text(&stage.secret("bad-days-seed").await, "refresh_token");
    let secret = crate::support::text(&stage.secret("oauth-client").await, "client_secret");
    let token = stage.access_token("bad-days").await;
    let said = format!("your refresh token {seed} and secret {secret}, and the token {token}");
    for (value, action) in [
        ("html", Action::answer(502, "text/html", format!("<p>{said}</p>"))),
        (
            "words",
            Action::answer_json(400, &json!({"error": "invalid_request", "error_description": said})),
        ),
        (
            "code",
            Action::answer_json(400, &json!({"error": seed, "error_description": said})),
        ),
        (
            "client",
            Action::answer_json(
                401,
                &json!({"error": "invalid_client", "error_uri": format!("https://x/{secret}")}),
            ),
        ),
        (
            "not-json",
            Action::answer(
                200,
                "application/json",
                format!("{{\"access_token\": \"{token}\", \"refresh_token\": "),
            ),
        ),
        ("text", Action::answer(200, "text/plain", said.clone())),
    ] {
        stage
            .server
            .inject(Fault {
                action,
                ..SharedStage::fault("bad-days")
            })
            .await;
        stage.refresh_answered("bad-days", value).await;
    }
    let lost = Fault {
        step: Step::After,
        action: Action::Drop,
        ..SharedStage::fault("good-days")
    };
    stage.server.inject(lost).await;
    stage.refresh_answered("good-days", "lost").await;
    stage.server.revoke(&grant).await;
    stage.refresh_answered("bad-days", "revoked").await;
    // Contents that are in the wrong place.
    stage
        .put_secret("wrong-seed", &json!({"refresh_token": format!("{seed}\n{seed}")}))
        .await;
    stage.apply(&stage.manifest("wrong", "None", &json!({}))).await;
    stage.wait_for_condition("wrong", Ready, "False", "SeedRequired").await;
    stage
        .secrets
        .delete("good-days-token", &DeleteParams::default())
        .await
        .unwrap();
    stage.wait_for_generation("good-days", 3).await;
}
