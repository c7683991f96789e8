//! What a token endpoint can answer, and what people then read (design section 4; docs of the classes in `oauth`).

use emailasset::api::ConditionType::{Authorized, Ready, Reconciling, Refreshed, Stalled};
use emailasset::api::{EmailAsset, FailureStatus};
use jiff::SignedDuration;
use serde_json::json;

use crate::support::{Action, Fault, Rotation, SharedStage, Step, condition, wait_for};

/// An answer to a refresh, and what it is made of.
struct Case {
    name: &'static str,
    answer: Action,
    class: &'static str,
    reason: &'static str,
    says: &'static str,
}

fn case(name: &'static str, answer: Action, class: &'static str, reason: &'static str, says: &'static str) -> Case {
    Case {
        name,
        answer,
        class,
        reason,
        says,
    }
}

fn oauth_error(status: u16, code: &str, description: &str) -> Action {
    Action::answer_json(status, &json!({"error": code, "error_description": description}))
}

#[rustfmt::skip]
fn cases() -> Vec<Case> {
    let html = "<html><body><h1>Bad Gateway</h1></body></html>";
    let many = Action::Answer { status: 200, headers: [("content-type", "application/json".to_owned())].into(), body: "x".repeat(1024), repeat: 10 * 1024, trickle: 0 };
    vec![
        case("unavailable", Action::answer(503, "text/plain", "try later"),                       "RETRY",        "Retrying",         "tried again by itself"),
        case("bad-gateway", Action::answer(502, "text/html", html),                               "RETRY",        "Retrying",         "tried again by itself"),
        case("internal",    Action::answer(500, "text/plain", ""),                                "RETRY",        "Retrying",         "tried again by itself"),
        case("ten-megabytes", many,                                                               "RETRY",        "Retrying",         "tried again by itself"),
        case("throttled",   throttled("3600"),                                                    "THROTTLED",    "Throttled",        "do not retry by hand"),
        case("client",      oauth_error(401, "invalid_client", "bad secret"),                     "ADMIN_CONFIG", "ClientRejected",   "nobody has to sign in"),
        case("unauthorized", oauth_error(400, "unauthorized_client", "not for you"),              "ADMIN_CONFIG", "ClientRejected",   "nobody has to sign in"),
        case("scope",       oauth_error(400, "invalid_scope", "unknown scope"),                   "ADMIN_CONFIG", "ScopeNotGranted",  "spec.oauth2.scopes"),
        case("malformed",   oauth_error(400, "invalid_request", "what is this"),                  "BUG",          "RequestRejected",  "report it"),
        case("moved",       moved(),                                                              "ADMIN_CONFIG", "EndpointUnusable", "never followed"),
        case("not-there",   Action::answer(404, "text/html", "<h1>Not found</h1>"),               "ADMIN_CONFIG", "EndpointUnusable", "does not look like a token endpoint"),
    ]
}

fn throttled(retry_after: &str) -> Action {
    let mut answer = Action::answer(429, "text/plain", "slow down");
    if let Action::Answer { headers, .. } = &mut answer {
        headers.insert("retry-after", retry_after.to_owned());
    }
    answer
}

fn moved() -> Action {
    let mut answer = Action::answer(307, "text/plain", "");
    if let Action::Answer { headers, .. } = &mut answer {
        headers.insert("location", "https://elsewhere.example/token".to_owned());
    }
    answer
}

#[tokio::test]
async fn a_failing_refresh_says_who_must_do_what_and_leaves_the_valid_token() {
    let stage = SharedStage::join().await;
    let cases = cases();
    futures::future::join_all(cases.iter().map(|case| fails_and_recovers(&stage, case))).await;
}

async fn fails_and_recovers(stage: &SharedStage, case: &Case) {
    let asset = format!("failing-{}", case.name);
    stage.settle(&asset, Rotation::None, &json!({})).await;
    let token = stage.access_token(&asset).await;
    let fault = Fault {
        action: case.answer.clone(),
        ..SharedStage::fault(&asset)
    };
    stage.server.inject(fault).await;
    let said = stage.refresh_answered(&asset, "first").await;
    let refreshed = condition(&said, Refreshed).unwrap();
    assert_eq!(
        (refreshed.0.as_str(), refreshed.1.as_str()),
        ("False", case.reason),
        "{}: {said:#?}",
        case.name
    );
    assert!(refreshed.2.contains(case.says), "{}: {}", case.name, refreshed.2);
    assert!(refreshed.2.len() < 1000, "{}: what a server says is bounded", case.name);
    for (kind, status) in [
        (Ready, Some("True")),
        (Authorized, Some("True")),
        (Stalled, None),
        (Reconciling, None),
    ] {
        assert_eq!(
            condition(&said, kind).map(|said| said.0).as_deref(),
            status,
            "{}: {kind}",
            case.name
        );
    }
    let failure = failure_of(&said);
    assert_eq!(failure.class.as_deref(), Some(case.class), "{}", case.name);
    assert_eq!(failure.reason.as_deref(), Some(case.reason));
    assert_eq!(failure.count, Some(1));
    assert!(failure.next_attempt_time.as_ref().unwrap().0 > failure.last_failure_time.as_ref().unwrap().0);
    assert_eq!(stage.access_token(&asset).await, token);

    // A request lifts the backoff, except where the provider itself asked for patience.
    stage.request_refresh(&asset, "second").await;
    if case.class == "THROTTLED" {
        let wait = failure
            .next_attempt_time
            .unwrap()
            .0
            .duration_since(failure.last_failure_time.unwrap().0);
        assert!(wait >= SignedDuration::from_hours(1), "{wait}");
    } else {
        let recovered = stage.wait_for_condition(&asset, Refreshed, "True", "Refreshed").await;
        assert!(recovered.status.unwrap().failure.is_none(), "{}", case.name);
        assert_ne!(stage.access_token(&asset).await, token);
    }
}

#[tokio::test]
async fn a_time_in_retry_after_is_kept_in_either_form() {
    let stage = SharedStage::join().await;
    let in_two_hours = std::time::SystemTime::now() + std::time::Duration::from_secs(7200);
    for (asset, form, least) in [
        ("patient-seconds", "1800".to_owned(), 1800),
        ("patient-date", httpdate::fmt_http_date(in_two_hours), 7100),
    ] {
        let grant = stage.settle(asset, Rotation::Strict, &json!({})).await;
        let fault = Fault {
            action: throttled(&form),
            ..SharedStage::fault(asset)
        };
        stage.server.inject(fault).await;
        let failure = failure_of(&stage.refresh_answered(asset, "first").await);
        let wait = failure
            .next_attempt_time
            .unwrap()
            .0
            .duration_since(failure.last_failure_time.unwrap().0);
        assert!(wait >= SignedDuration::from_secs(least), "{asset}: {wait}");
        stage.request_refresh(asset, "second").await;
        stage.wait_for_marker(&format!("after-{asset}")).await;
        assert_eq!(stage.requests_of_grant(&grant).await, 2);
    }
}

#[tokio::test]
async fn an_error_in_a_good_status_is_an_error() {
    let stage = SharedStage::join().await;
    let grant = stage.settle("polite", Rotation::Strict, &json!({})).await;
    let fault = Fault {
        action: oauth_error(200, "invalid_grant", "Token has been revoked"),
        ..SharedStage::fault("polite")
    };
    stage.server.inject(fault).await;
    stage.request_refresh("polite", "now").await;
    let said = stage
        .wait_for_condition("polite", Authorized, "False", "GrantRevoked")
        .await;
    assert_eq!(condition(&said, Ready).unwrap().0, "True", "its time is not over");
    let failure = failure_of(&said);
    assert_eq!(
        (failure.class.as_deref(), failure.code.as_deref()),
        (Some("REAUTH"), Some("invalid_grant"))
    );
    assert!(
        failure.next_attempt_time.is_none(),
        "a refused grant is not tried again"
    );
    stage.request_refresh("polite", "again").await;
    stage.wait_for_marker("after-polite").await;
    assert_eq!(stage.requests_of_grant(&grant).await, 2);
}

#[tokio::test]
async fn a_lost_answer_of_a_rotating_server_asks_nobody_to_sign_in() {
    let stage = SharedStage::join().await;
    let grant = stage.settle("answer-lost", Rotation::Strict, &json!({})).await;
    let fault = Fault {
        step: Step::After,
        action: Action::Drop,
        ..SharedStage::fault("answer-lost")
    };
    stage.server.inject(fault).await;
    stage.request_refresh("answer-lost", "now").await;
    let said = stage
        .wait_for_condition("answer-lost", Refreshed, "False", "OutcomeUnknown")
        .await;
    assert_eq!(condition(&said, Ready).unwrap().0, "True");
    assert_eq!(condition(&said, Authorized).unwrap().0, "Unknown");
    assert!(condition(&said, Stalled).is_none());
    stage.request_refresh("answer-lost", "again").await;
    stage.wait_for_marker("after-answer-lost").await;
    assert_eq!(stage.requests_of_grant(&grant).await, 2, "it waits");
}

#[tokio::test]
async fn a_first_token_that_fails_shows_progress_or_who_must_act() {
    let stage = SharedStage::join().await;
    let passes = Fault {
        action: Action::answer(503, "text/plain", ""),
        ..SharedStage::fault("first-passes")
    };
    stage.server.inject(passes).await;
    stage.seed_rotating("first-passes", Rotation::Strict).await;
    stage.apply(&stage.manifest("first-passes", "Strict", &json!({}))).await;
    let said = stage
        .wait_for_condition("first-passes", Ready, "False", "Retrying")
        .await;
    assert!(condition(&said, Reconciling).is_some() && condition(&said, Stalled).is_none());

    let stays = Fault {
        times: None,
        action: oauth_error(401, "invalid_client", ""),
        ..SharedStage::fault("first-stays")
    };
    let stays = stage.server.inject(stays).await;
    stage.seed_rotating("first-stays", Rotation::Strict).await;
    stage.apply(&stage.manifest("first-stays", "Strict", &json!({}))).await;
    let said = stage
        .wait_for_condition("first-stays", Ready, "False", "ClientRejected")
        .await;
    assert!(condition(&said, Reconciling).is_none() && condition(&said, Stalled).is_some());
    stays.release().await;
    stage.request_refresh("first-stays", "the-client-is-mended").await;

    // The other one came by itself.
    stage.wait_until_ready("first-passes").await;
    stage.wait_until_ready("first-stays").await;
}

#[tokio::test]
async fn an_event_tells_of_a_turn_once_and_not_of_its_repeats() {
    let stage = SharedStage::join().await;
    let asset = "eventful";
    stage.settle(asset, Rotation::None, &json!({})).await;
    let fault = Fault {
        times: Some(3),
        action: Action::answer(503, "text/plain", ""),
        ..SharedStage::fault(asset)
    };
    stage.server.inject(fault).await;
    for (value, count) in [("first", 1), ("second", 2), ("third", 3)] {
        stage.request_refresh(asset, value).await;
        wait_for(&stage.assets, asset, &format!("{count} failures"), |asset| {
            let failure = asset.status.as_ref().and_then(|status| status.failure.as_ref());
            failure.and_then(|failure| failure.count) == Some(count)
        })
        .await;
    }
    stage.request_refresh(asset, "works").await;
    stage.wait_for_condition(asset, Refreshed, "True", "Refreshed").await;
    stage.refresh_answered(asset, "routine").await;
    let events = stage.events(asset, 2).await;
    let reasons: Vec<_> = events.iter().map(|(reason, _)| reason.as_str()).collect();
    assert_eq!(reasons, ["Retrying", "Refreshed"], "{events:#?}");
}

#[tokio::test]
async fn a_slow_body_is_given_up_after_the_time_for_a_token() {
    let stage = SharedStage::alone("slow", &["--token-timeout", "2s"]).await;
    stage.settle("slow-body", Rotation::None, &json!({})).await;
    let drip = Action::Answer {
        status: 200,
        headers: [("content-type", "application/json".to_owned())].into(),
        body: " ".to_owned(),
        repeat: 600,
        trickle: 100,
    };
    let fault = Fault {
        action: drip,
        ..SharedStage::fault("slow-body")
    };
    stage.server.inject(fault).await;
    let said = stage.refresh_answered("slow-body", "now").await;
    let refreshed = condition(&said, Refreshed).unwrap();
    assert_eq!(
        (refreshed.0.as_str(), refreshed.1.as_str()),
        ("False", "Retrying"),
        "{refreshed:?}"
    );
    stage.request_refresh("slow-body", "again").await;
    stage
        .wait_for_condition("slow-body", Refreshed, "True", "Refreshed")
        .await;
}

fn failure_of(asset: &EmailAsset) -> FailureStatus {
    let failure = asset.status.as_ref().and_then(|status| status.failure.clone());
    failure.expect("the status tells of a failure")
}
