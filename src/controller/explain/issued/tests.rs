use serde_json::json;

use super::*;
use crate::{
    controller::situation::Past,
    lifecycle::{Binding, Fencing, Generation, History, Names, Redeem, Source},
    oauth::{Circumstance, ErrorCode, Situation, classify::plain_reason},
    provider::{Catalogue, Endpoints, resolve},
};

const START: &str = "2026-11-25T10:00:00Z";

/// Those of a server that nothing is known about.
fn endpoints(grant: Grant) -> Endpoints {
    at(&json!({"oauth2": {"grant": grant.as_str(), "tokenURL": "https://id.example.com/token"}}))
}

fn at(more: &serde_json::Value) -> Endpoints {
    let mut spec = json!({"email": "support@example.com", "oauth2": {"clientCredentialsRef": {"name": "c"}}});
    json_patch::merge(&mut spec, more);
    resolve(&serde_json::from_value(spec).unwrap(), Catalogue::built_in().unwrap()).unwrap()
}

fn refusal(class: Class, cause: Cause, code: &str) -> Refusal {
    Refusal {
        class,
        cause,
        code: ErrorCode::new(code),
        description: Some("what the server says".to_owned()),
        status: 401,
        retry_after: None,
        trace_id: None,
        evidence: Evidence::ErrorCode,
        reason: plain_reason(class, cause),
        row: None,
        detail: None,
        clock_ahead: None,
    }
}

/// What is said so long after the first failure, of which the status tells; none: this is the first.
fn said(grant: Grant, refusal: &Refusal, before: Before, failing_for: Option<SignedDuration>) -> Failure {
    said_at(&endpoints(grant), grant, refusal, before, failing_for)
}

fn said_at(
    endpoints: &Endpoints,
    grant: Grant,
    refusal: &Refusal,
    before: Before,
    failing_for: Option<SignedDuration>,
) -> Failure {
    let names = Names {
        email: "support@example.com".to_owned(),
        client: "helpdesk/mail-client".to_owned(),
        ..Names::default()
    };
    let redeem = Redeem {
        from: Generation(0),
        source: Source::Client,
        binding: Binding {
            token_endpoint: "https://oauth2.googleapis.com".to_owned(),
            client_id: "mail@x".to_owned(),
            question: Some("q".to_owned()),
        },
        history: History::Clean,
        fencing: Fencing::Free,
    };
    let question = Question {
        redeem: &redeem,
        names: &names,
        endpoints,
        past: &Past::default(),
        situation: &Situation::default().with(Some(Circumstance::NoPerson)),
        grant_lives: false,
    };
    let start: Timestamp = START.parse().unwrap();
    let conditions = failing_for.map(|_| {
        json!([{"type": "Refreshed", "status": "False", "reason": "Retrying", "message": "", "lastTransitionTime": START}])
    });
    let status = serde_json::from_value(json!({"conditions": conditions.unwrap_or(json!([]))})).unwrap();
    let now = start + failing_for.unwrap_or_default();
    not_issued(&question, refusal, grant, before, &status, now)
}

#[test]
fn a_permission_that_was_just_given_gets_time_to_spread() {
    let unauthorized = refusal(Class::AdminConfig, Cause::UnauthorizedClient, "unauthorized_client");
    let denied = refusal(Class::Reauthorize, Cause::AccessDenied, "access_denied");
    for refusal in [&unauthorized, &denied] {
        let google = json!({"provider": "google-service-account", "oauth2": {"grant": "JWTBearer"}});
        let entra = json!({"provider": "microsoft-app", "oauth2": {"grant": "ClientCredentials", "parameters": {"tenant": "contoso.com"}}});
        for (endpoints, grant, hours) in [
            (at(&google), Grant::JwtBearer, 24),
            (at(&entra), Grant::ClientCredentials, 1),
            (endpoints(Grant::JwtBearer), Grant::JwtBearer, 24),
            (endpoints(Grant::ClientCredentials), Grant::ClientCredentials, 1),
            // Not a number of ours, but the catalogue's.
            (
                Endpoints {
                    propagation_grace: Some(SignedDuration::from_hours(3)),
                    ..at(&entra)
                },
                Grant::ClientCredentials,
                3,
            ),
        ] {
            for since in [
                None,
                Some(SignedDuration::from_hours(hours) - SignedDuration::from_secs(1)),
            ] {
                let failure = said_at(&endpoints, grant, refusal, Before::Nothing, since);
                assert_eq!((failure.class, failure.reason), (FailureClass::Retry, Reason::Retrying));
                assert!(
                    failure
                        .message
                        .contains(&format!("can take up to {hours} h: it is tried again by itself")),
                    "{}",
                    failure.message
                );
            }
            let failure = said_at(
                &endpoints,
                grant,
                refusal,
                Before::Nothing,
                Some(SignedDuration::from_hours(hours)),
            );
            assert_eq!(failure.class, FailureClass::AdminConfig, "{}", failure.message);
            assert!(
                failure.message.ends_with("Nobody has to sign in."),
                "{}",
                failure.message
            );
        }
    }
    // What has worked once has spread.
    let failure = said(Grant::JwtBearer, &unauthorized, Before::Issued, None);
    assert_eq!(
        (failure.class, failure.reason),
        (FailureClass::AdminConfig, Reason::ClientRejected)
    );
}

#[test]
fn no_refusal_asks_a_person_to_sign_in() {
    for (refusal, class, reason) in [
        (
            refusal(Class::Reauthorize, Cause::InvalidGrant, "invalid_grant"),
            FailureClass::AdminConfig,
            Reason::ClientRejected,
        ),
        (
            refusal(Class::Reauthorize, Cause::InteractionRequired, "interaction_required"),
            FailureClass::AdminConfig,
            Reason::PolicyBlocked,
        ),
        (
            refusal(Class::AdminConfig, Cause::InvalidClient, "invalid_client"),
            FailureClass::AdminConfig,
            Reason::ClientRejected,
        ),
        (
            refusal(Class::AdminConfig, Cause::InvalidScope, "invalid_scope"),
            FailureClass::AdminConfig,
            Reason::ScopeNotGranted,
        ),
        (
            refusal(Class::Retry, Cause::ServerError, "server_error"),
            FailureClass::Retry,
            Reason::Retrying,
        ),
        (
            refusal(Class::Throttled, Cause::RateLimited, "slow_down"),
            FailureClass::Throttled,
            Reason::Throttled,
        ),
    ] {
        for grant in [Grant::JwtBearer, Grant::ClientCredentials] {
            let failure = said(grant, &refusal, Before::Nothing, None);
            assert_eq!((failure.class, failure.reason), (class, reason), "{}", refusal.code);
            assert!(
                !failure.message.contains("authorize") && !failure.message.contains("stored grant"),
                "{}",
                failure.message
            );
        }
    }
}
