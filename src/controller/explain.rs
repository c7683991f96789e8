//! From a server's answer to words for people: what happened, what it means, and who must do what.

mod issued;

pub(super) use self::issued::{Before, not_issued};
use super::federation::NoToken;
use crate::{
    api::{FailureClass, Reason},
    lifecycle::{self, Failure, History, Names, Redeem, Source},
    oauth::{Cause, Class, FailureKind, Refusal, TransportFailure},
    provider::Endpoints,
};

/// What was asked, for the wording.
pub(super) struct Question<'a> {
    pub(super) redeem: &'a Redeem,
    pub(super) names: &'a Names,
    pub(super) endpoints: &'a Endpoints,
    /// Whether a grant in use goes on whatever becomes of this try.
    pub(super) grant_lives: bool,
}

/// The server said no.
pub(super) fn refused(question: &Question<'_>, refusal: &Refusal) -> Failure {
    let (class, reason) = judgement(question, refusal);
    Failure {
        class,
        reason,
        code: refusal.code.to_string(),
        message: format!("{} {}", said(question, refusal), advice(question, refusal, reason))
            .trim()
            .to_owned(),
        retry_after: refusal.retry_after,
        trace_id: refusal.trace_id.clone(),
    }
}

fn judgement(question: &Question<'_>, refusal: &Refusal) -> (FailureClass, Reason) {
    let candidate = matches!(question.redeem.source, Source::Seed(_));
    match refusal.class {
        Class::Retry => (FailureClass::Retry, Reason::Retrying),
        Class::Throttled => (FailureClass::Throttled, Reason::Throttled),
        Class::Reauthorize if candidate => (FailureClass::Reauthorize, Reason::SeedRejected),
        Class::Reauthorize => (FailureClass::Reauthorize, dead_grant(question, refusal)),
        // A candidate that an admin must look at is no reason to hold back the grant that works.
        Class::AdminConfig if candidate && question.grant_lives => (FailureClass::AdminConfig, Reason::SeedRejected),
        Class::Bug if candidate && question.grant_lives => (FailureClass::Bug, Reason::SeedRejected),
        Class::AdminConfig => (FailureClass::AdminConfig, admin_reason(refusal.cause)),
        Class::Bug => (FailureClass::Bug, Reason::RequestRejected),
    }
}

fn dead_grant(question: &Question<'_>, refusal: &Refusal) -> Reason {
    if question.redeem.history == History::AnswerLost {
        return Reason::GrantLost;
    }
    let words = refusal.description.as_deref().unwrap_or_default().to_ascii_lowercase();
    if words.contains("expired") && !words.contains("revoked") {
        Reason::GrantExpired
    } else {
        Reason::GrantRevoked
    }
}

const fn admin_reason(cause: Cause) -> Reason {
    match cause {
        Cause::AccessDenied => Reason::PolicyBlocked,
        Cause::InvalidScope | Cause::InvalidTarget => Reason::ScopeNotGranted,
        Cause::Redirect | Cause::NotFound => Reason::EndpointUnusable,
        _ => Reason::ClientRejected,
    }
}

/// What the server said, in one sentence.
fn said(question: &Question<'_>, refusal: &Refusal) -> String {
    let provider = &question.endpoints.display_name;
    let words = refusal
        .description
        .as_deref()
        .map(|words| format!(": \u{201c}{words}\u{201d}"))
        .unwrap_or_default();
    let what = match question.redeem.source {
        Source::Grant => format!("a refresh for {}", question.names.email),
        Source::Seed(_) => format!("the refresh token in Secret {}", lifecycle::seed_place(question.names)),
        Source::Client => format!("an access token for {}", question.names.email),
    };
    match refusal.class {
        Class::Retry => format!("{provider} could not answer {what} ({}){words}.", code(refusal)),
        Class::Throttled => format!(
            "{provider} asks for fewer requests; {what} waits ({}){words}.",
            code(refusal)
        ),
        _ => format!("{provider} refused {what} ({}){words}.", code(refusal)),
    }
}

fn code(refusal: &Refusal) -> String {
    let code = refusal.code.as_str();
    if code.contains(&refusal.status.to_string()) {
        code.to_owned()
    } else {
        format!("{code}, HTTP {}", refusal.status)
    }
}

/// What it means and the next step.
fn advice(question: &Question<'_>, refusal: &Refusal, reason: Reason) -> String {
    let names = question.names;
    let client = client(names);
    match reason {
        Reason::Retrying => "It is tried again by itself; nobody has to do anything.".to_owned(),
        Reason::Throttled => "It goes on by itself when the time has come; do not retry by hand.".to_owned(),
        Reason::GrantLost => format!(
            "An earlier answer with the newest refresh token was lost on the way, and the one before it is not accepted any more. {}",
            lifecycle::new_grant(names)
        ),
        Reason::GrantRevoked => {
            format!(
                "The grant is no longer valid: it was revoked, or the password was changed. {}",
                lifecycle::new_grant(names)
            )
        }
        Reason::GrantExpired => format!("The grant has run out. {}", lifecycle::new_grant(names)),
        Reason::SeedRejected if question.grant_lives => format!(
            "The grant in use goes on working. {}",
            if refusal.class == Class::Reauthorize {
                lifecycle::new_grant(names)
            } else {
                format!("Check {client} and the scopes.")
            }
        ),
        Reason::SeedRejected => lifecycle::new_grant(names),
        Reason::PolicyBlocked => format!(
            "A policy forbids it; signing in again will not help. Ask an admin of {} to allow this client and its scopes.",
            question.endpoints.display_name
        ),
        Reason::ScopeNotGranted => format!(
            "The scopes are not accepted: {}. Ask for what the grant covers in spec.oauth2.scopes.",
            listed(&question.endpoints.scopes)
        ),
        Reason::EndpointUnusable => format!(
            "{} does not look like a token endpoint; check spec.oauth2.tokenURL and refreshURL. Redirects are never followed with credentials.",
            question.endpoints.refresh_url
        ),
        Reason::RequestRejected => format!(
            "That is not the person's fault: check the scopes and parameters of the spec, and report it{}.",
            refusal
                .trace_id
                .as_ref()
                .map(|id| format!(" with trace ID {id}"))
                .unwrap_or_default()
        ),
        _ => format!(
            "The stored grant is still good: nobody has to sign in again. Check client ID, client secret and client authentication, and correct them in \
             {client}."
        ),
    }
}

/// Where the OAuth client stands.
fn client(names: &Names) -> String {
    if names.client.is_empty() {
        "spec.oauth2.clientID".to_owned()
    } else {
        format!("Secret {}", names.client)
    }
}

fn listed(scopes: &[String]) -> String {
    if scopes.is_empty() {
        "none were named".to_owned()
    } else {
        scopes.join(" ")
    }
}

/// The request did not leave.
pub(super) fn not_sent(failure: &TransportFailure) -> Failure {
    let (class, reason, advice) = match failure.kind {
        FailureKind::BlockedAddress => (
            FailureClass::AdminConfig,
            Reason::EndpointUnusable,
            "Loopback, link-local and metadata addresses are refused unless the operator runs with --allow-private-addresses.",
        ),
        FailureKind::Certificate => (
            FailureClass::AdminConfig,
            Reason::EndpointUnusable,
            "For a server with a private CA name its certificate in spec.oauth2.caBundleRef, or start the operator with --ca-bundle.",
        ),
        FailureKind::Endpoint => (
            FailureClass::AdminConfig,
            Reason::EndpointUnusable,
            "Correct spec.oauth2.tokenURL or refreshURL.",
        ),
        FailureKind::Request | FailureKind::Client => {
            (FailureClass::Bug, Reason::RequestRejected, "Please report this.")
        }
        _ => (
            FailureClass::Retry,
            Reason::Retrying,
            "Nothing was sent. It is tried again by itself.",
        ),
    };
    Failure {
        class,
        reason,
        code: failure.kind.as_str().to_owned(),
        message: format!("{failure}. {advice}"),
        retry_after: None,
        trace_id: None,
    }
}

/// No answer came.
pub(super) fn unknown(question: &Question<'_>, failure: &TransportFailure) -> Failure {
    let rotating = question.endpoints.rotation == crate::api::Rotation::Strict;
    let (reason, advice) = if rotating {
        (
            Reason::OutcomeUnknown,
            "The request may have been carried out, and this server replaces a refresh token when it is used. It is tried once more shortly before the \
             published token ends; nobody has to do anything now.",
        )
    } else {
        (
            Reason::Retrying,
            "It is tried again by itself; nobody has to do anything.",
        )
    };
    Failure {
        class: FailureClass::Retry,
        reason,
        code: failure.kind.as_str().to_owned(),
        message: format!("{failure}. {advice}"),
        retry_after: failure.answer.as_ref().and_then(|answer| answer.retry_after),
        trace_id: failure.answer.as_ref().and_then(|answer| answer.trace_id.clone()),
    }
}

/// A candidate went unanswered twice.
pub(super) fn given_up(question: &Question<'_>, failure: &TransportFailure) -> Failure {
    spent_seed(failure.kind.as_str(), &format!("{failure}."), question.names)
}

/// A candidate went unanswered twice, the second time because a process ended.
pub(super) fn abandoned_seed(names: &Names) -> Failure {
    spent_seed(
        "interrupted",
        "An operator process ended in the middle of a request.",
        names,
    )
}

fn spent_seed(code: &str, what: &str, names: &Names) -> Failure {
    Failure {
        class: FailureClass::Reauthorize,
        reason: Reason::SeedRejected,
        code: code.to_owned(),
        message: format!(
            "{what} The refresh token in Secret {} was sent twice without an answer and may be spent. {}",
            lifecycle::seed_place(names),
            lifecycle::new_grant(names)
        ),
        retry_after: None,
        trace_id: None,
    }
}

/// A process ended with an attempt open.
pub(super) fn abandoned(endpoints: &Endpoints) -> Failure {
    let rotating = endpoints.rotation == crate::api::Rotation::Strict;
    Failure {
        class: FailureClass::Retry,
        reason: if rotating {
            Reason::OutcomeUnknown
        } else {
            Reason::Retrying
        },
        code: "interrupted".to_owned(),
        message: format!(
            "An operator process ended while {} was being asked for a token, and the answer is not known. It is tried again by itself{}.",
            endpoints.display_name,
            if rotating {
                ", once, shortly before the published token ends"
            } else {
                ""
            }
        ),
        retry_after: None,
        trace_id: None,
    }
}

/// Trust that the spec names is missing.
pub(super) fn no_ca_bundle(message: String) -> Failure {
    Failure {
        class: FailureClass::AdminConfig,
        reason: Reason::EndpointUnusable,
        code: "ca_bundle".to_owned(),
        message,
        retry_after: None,
        trace_id: None,
    }
}

/// The operator has no identity of its own that this asset could use, or cannot show it now.
pub(super) fn no_federated_token(problem: NoToken) -> Failure {
    let (class, reason, message) = match problem {
        NoToken::NotGiven(message) => (FailureClass::AdminConfig, Reason::ClientMissing, message),
        NoToken::Unreadable(message) => (FailureClass::Retry, Reason::Retrying, message),
    };
    Failure {
        class,
        reason,
        code: "federated_token".to_owned(),
        message,
        retry_after: None,
        trace_id: None,
    }
}

/// The server did not take what a person's sign-in was answered with.
pub(super) fn code_refused(names: &Names, endpoints: &Endpoints, refusal: &Refusal) -> String {
    let provider = &endpoints.display_name;
    let words = refusal
        .description
        .as_deref()
        .map(|words| format!(": \u{201c}{words}\u{201d}"))
        .unwrap_or_default();
    let client = client(names);
    let next = match (refusal.class, admin_reason(refusal.cause)) {
        (Class::Retry | Class::Throttled, _) => {
            "Nothing was changed. Open the link again in a few minutes.".to_owned()
        }
        (Class::Reauthorize, _) => {
            "The code was too old or used already, or the redirect URI is not the registered one. Nothing was changed. Open the link again.".to_owned()
        }
        (Class::AdminConfig, Reason::PolicyBlocked) => format!(
            "A policy forbids it; signing in again will not help. Nothing was changed. Ask an admin of {provider} to allow this client and its scopes."
        ),
        (Class::AdminConfig, Reason::ScopeNotGranted) => format!(
            "The scopes are not accepted: {}. Nothing was changed. Correct spec.oauth2.scopes.",
            listed(&endpoints.scopes)
        ),
        (Class::AdminConfig, Reason::EndpointUnusable) => format!(
            "The token endpoint {} does not work as one. Nothing was changed. Correct spec.oauth2.tokenURL.",
            endpoints.token_url
        ),
        (Class::AdminConfig | Class::Bug, _) => {
            format!("Nothing was changed. An admin must look at the OAuth client in {client}.")
        }
    };
    format!("{provider} did not take the sign-in ({}){words}. {next}", code(refusal))
}
