//! The answer never arrives: the server has rotated, and the connection breaks.

use emailasset::api::ConditionType::{Authorized, Ready, Refreshed, Stalled};
use jiff::SignedDuration;
use serde_json::json;

use super::evidence::{Evidence, let_time_pass, wait_until_request_is_answered};
use crate::support::{Action, Fault, Match, Rotation, Stage, Step, condition};

/// The next answer for this grant is dropped after the server has done its work.
fn dropped_answer(grant: &str) -> Fault {
    Fault {
        applies_to: Match {
            grant_id: Some(grant.to_owned()),
            ..Match::default()
        },
        step: Step::After,
        action: Action::Drop,
        ..Fault::default()
    }
}

#[tokio::test]
async fn a_dropped_answer_asks_nobody_until_the_one_retry_is_refused() {
    let stage = Stage::set("lost").await;
    let mut operator = stage.operator().await;
    let grant = stage.seed("dropped").await;
    stage.apply(&stage.manifest("dropped", "Strict", &json!({}))).await;
    stage.wait_until_ready("dropped").await;

    stage.server.inject(dropped_answer(&grant)).await;
    stage.request_refresh("dropped", "first").await;
    let asset = stage
        .wait_for_condition("dropped", Refreshed, "False", "OutcomeUnknown")
        .await;
    assert_eq!(condition(&asset, Ready).unwrap().0, "True");
    assert_eq!(condition(&asset, Authorized).unwrap().0, "Unknown");
    assert_eq!(condition(&asset, Stalled), None, "no person is asked");
    stage.assert_token_works("dropped").await;

    // Neither somebody in a hurry nor a restart sends the spent token.
    stage.request_refresh("dropped", "second").await;
    operator.kill().await;
    let mut operator = stage.operator().await;
    let other = stage.seed("other").await;
    stage.apply(&stage.manifest("other", "Strict", &json!({}))).await;
    stage.wait_until_ready("other").await;
    assert_eq!(stage.server.counters_of(&other).await.requests, 1);
    assert_eq!(stage.server.counters_of(&grant).await.requests, 2);
    operator.kill().await;

    let_time_pass(&stage, "dropped", SignedDuration::from_mins(56)).await;
    let _operator = stage.operator().await;
    let asset = stage
        .wait_for_condition("dropped", Authorized, "False", "GrantLost")
        .await;
    let message = condition(&asset, Authorized).unwrap().2;
    assert!(message.contains("was lost on the way"), "{message}");
    assert!(message.contains("kubectl patch secret"), "{message}");
    assert_eq!(
        condition(&asset, Ready).unwrap().0,
        "True",
        "by its time the token is still valid"
    );
    wait_until_request_is_answered(&stage, "dropped").await;
    let evidence = Evidence::of(&stage, "dropped", &grant).await;
    assert_eq!(
        (evidence.generation, evidence.requests, evidence.max_overlapping),
        (1, 3, 1),
        "{evidence:?}"
    );
}

#[tokio::test]
async fn where_a_spent_token_stays_good_a_dropped_answer_mends_itself() {
    let stage = Stage::set("lost").await;
    stage.server.set_rotation(Rotation::Soft).await;
    let _operator = stage.operator().await;
    let grant = stage.seed("soft").await;
    stage.apply(&stage.manifest("soft", "Soft", &json!({}))).await;
    stage.wait_until_ready("soft").await;

    // The server hands out new refresh tokens of the old one: nobody else would notice.
    stage.server.inject(dropped_answer(&grant)).await;
    stage.request_refresh("soft", "now").await;
    stage.server.wait_for_refreshes_of(&grant, 2).await;
    stage.wait_for_condition("soft", Refreshed, "False", "Retrying").await;
    // A refresh that is not due is repeated when it is, or on request.
    stage.request_refresh("soft", "again").await;
    stage.wait_for_generation("soft", 2).await;
    stage.wait_for_condition("soft", Refreshed, "True", "Refreshed").await;
    stage.assert_token_works("soft").await;
    let evidence = Evidence::of(&stage, "soft", &grant).await;
    assert!(evidence.alive && !evidence.unanswered, "{evidence:?}");
    assert_eq!((evidence.requests, evidence.max_overlapping), (3, 1), "{evidence:?}");
}
