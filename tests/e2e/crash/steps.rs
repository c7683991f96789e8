//! The operator is killed at every step of a refresh, by failpoints that abort the process, and started again.

use std::os::unix::process::ExitStatusExt;

use emailasset::api::ConditionType::{Authorized, Ready, Refreshed, Stalled};
use futures::future::join_all;
use jiff::SignedDuration;
use nix::sys::signal::Signal;
use serde_json::json;

use super::evidence::{Evidence, let_time_pass, wait_until_no_attempt_is_open, wait_until_request_is_answered};
use crate::support::{Operator, Stage, condition};

/// Nearly all of the hour that tokens live here: the last five minutes have begun.
const NEARLY_AN_HOUR: SignedDuration = SignedDuration::from_mins(56);

/// What the next process makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The next token is stored and published, after one request.
    Goes,
    /// An attempt is found of which nobody knows that it was never sent.
    MayHaveBeenSent,
    /// The server has rotated and the answer is gone: window (d) of `docs/protocol.md`.
    AnswerIsLost,
}

#[rustfmt::skip]
const STEPS: &[(&str, Then)] = &[
    ("before-attempt", Then::Goes),
    ("after-attempt",  Then::MayHaveBeenSent),
    ("after-answer",   Then::AnswerIsLost),
    ("before-spool",   Then::AnswerIsLost),
    ("after-spool",    Then::Goes),
    ("after-store",    Then::Goes),
    ("before-publish", Then::Goes),
    ("after-publish",  Then::Goes),
    ("before-status",  Then::Goes),
    ("after-status",   Then::Goes),
];

/// The same for the first redemption of a seed, where no token is published yet.
#[rustfmt::skip]
const FIRST_STEPS: &[(&str, Then)] = &[
    ("before-attempt", Then::Goes),
    ("after-attempt",  Then::MayHaveBeenSent),
    ("after-spool",    Then::Goes),
    ("after-store",    Then::Goes),
    ("after-publish",  Then::Goes),
];

#[tokio::test]
async fn only_a_kill_between_answer_and_spool_loses_a_grant() {
    let stage = Stage::set("steps").await;
    let mut operator = stage.operator().await;
    let grants = join_all(STEPS.iter().map(|(step, _)| first_token(&stage, step))).await;
    operator.kill().await;

    for ((step, then), grant) in STEPS.iter().zip(&grants) {
        let mut successor = kill_a_refresh(&stage, step).await;
        judge(&stage, step, grant, *then).await;
        successor.kill().await;
    }

    for (step, _) in unknown() {
        let_time_pass(&stage, step, NEARLY_AN_HOUR).await;
    }
    let _operator = stage.operator().await;
    for ((step, then), grant) in STEPS.iter().zip(&grants).filter(|((_, then), _)| *then != Then::Goes) {
        judge_retry(&stage, step, grant, *then).await;
    }
}

#[tokio::test]
async fn a_seed_survives_a_kill_at_every_step() {
    let stage = Stage::set("steps").await;
    for (step, then) in FIRST_STEPS {
        let mut doomed = doomed_at(&stage, step).await;
        let grant = stage.seed(step).await;
        stage.apply(&stage.manifest(step, "Strict", &json!({}))).await;
        assert_aborted(&mut doomed, step).await;
        let mut successor = stage.operator().await;
        if *then == Then::MayHaveBeenSent {
            stage.wait_for_condition(step, Ready, "False", "OutcomeUnknown").await;
            assert_eq!(stage.server.counters_of(&grant).await.requests, 0);
            successor.kill().await;
            // Its request could have been on the wire for a minute (rule 10).
            let_time_pass(&stage, step, SignedDuration::from_secs(61)).await;
            successor = stage.operator().await;
        }
        stage.wait_until_ready(step).await;
        stage.assert_token_works(step).await;
        let evidence = Evidence::of(&stage, step, &grant).await;
        assert_eq!((evidence.generation, evidence.requests), (1, 1), "{step}: {evidence:?}");
        assert!(
            evidence.alive && !evidence.unanswered && !evidence.attempted,
            "{step}: {evidence:?}"
        );
        successor.kill().await;
    }
}

fn unknown() -> impl Iterator<Item = &'static (&'static str, Then)> {
    STEPS.iter().filter(|(_, then)| *then != Then::Goes)
}

async fn first_token(stage: &Stage, asset: &str) -> String {
    let grant = stage.seed(asset).await;
    stage.apply(&stage.manifest(asset, "Strict", &json!({}))).await;
    stage.wait_until_ready(asset).await;
    grant
}

async fn doomed_at(stage: &Stage, step: &str) -> Operator {
    stage
        .operator_with(&[], &[("FAILPOINTS", &format!("{step}=1*return"))])
        .await
}

async fn assert_aborted(doomed: &mut Operator, step: &str) {
    let ended = doomed.wait().await;
    assert_eq!(
        ended.signal(),
        Some(Signal::SIGABRT as i32),
        "{step}: the step was not reached"
    );
}

/// Kills a refresh of the asset that has the step's name, and starts the next process.
async fn kill_a_refresh(stage: &Stage, step: &str) -> Operator {
    let mut doomed = doomed_at(stage, step).await;
    stage.request_refresh(step, "now").await;
    assert_aborted(&mut doomed, step).await;
    stage.operator().await
}

async fn judge(stage: &Stage, step: &str, grant: &str, then: Then) {
    wait_until_request_is_answered(stage, step).await;
    wait_until_no_attempt_is_open(stage, step).await;
    let requests = if then == Then::MayHaveBeenSent { 1 } else { 2 };
    if then == Then::Goes {
        stage.wait_for_generation(step, 2).await;
        stage.wait_for_condition(step, Refreshed, "True", "Refreshed").await;
    } else {
        let asset = stage
            .wait_for_condition(step, Refreshed, "False", "OutcomeUnknown")
            .await;
        assert_eq!(
            condition(&asset, Ready).unwrap().0,
            "True",
            "{step}: the token is valid"
        );
        let (authorized, reason, message) = condition(&asset, Authorized).unwrap();
        assert_eq!(
            (authorized.as_str(), reason.as_str()),
            ("Unknown", "OutcomeUnknown"),
            "{step}"
        );
        assert!(message.contains("nobody has to do anything now"), "{step}: {message}");
        assert_eq!(condition(&asset, Stalled), None, "{step}: no person is asked");
    }
    stage.assert_token_works(step).await;
    let evidence = Evidence::of(stage, step, grant).await;
    evidence.assert_never_redeemed_twice(step);
    assert_eq!(evidence.requests, requests, "{step}: {evidence:?}");
    assert_eq!(
        evidence.generation,
        if then == Then::Goes { 2 } else { 1 },
        "{step}: {evidence:?}"
    );
    assert_eq!(evidence.unanswered, then != Then::Goes, "{step}: {evidence:?}");
    assert_eq!(evidence.alive, then != Then::AnswerIsLost, "{step}: {evidence:?}");
}

/// Five minutes before the token ends there is one retry. Only now is a person asked, if the server says no.
async fn judge_retry(stage: &Stage, step: &str, grant: &str, then: Then) {
    if then == Then::MayHaveBeenSent {
        stage.wait_for_generation(step, 2).await;
        stage.assert_token_works(step).await;
        let evidence = Evidence::of(stage, step, grant).await;
        evidence.assert_never_redeemed_twice(step);
        assert!(evidence.alive && !evidence.unanswered, "{step}: {evidence:?}");
        assert_eq!(evidence.requests, 2, "{step}: {evidence:?}");
        return;
    }
    let asset = stage.wait_for_condition(step, Authorized, "False", "GrantLost").await;
    let message = condition(&asset, Authorized).unwrap().2;
    assert!(
        message.contains("An earlier answer with the newest refresh token was lost"),
        "{step}: {message}"
    );
    assert!(message.contains("kubectl patch secret"), "{step}: {message}");
    assert_eq!(
        condition(&asset, Ready).unwrap().0,
        "True",
        "{step}: by its time the token is still valid"
    );
    let evidence = Evidence::of(stage, step, grant).await;
    assert_eq!(
        (evidence.requests, evidence.max_overlapping),
        (3, 1),
        "{step}: {evidence:?}"
    );
}
