//! From a server's answer to words for people: what happened, what it means, and who must do what.
//!
//! What is known about a provider's errors stands in `oauth/errors.yaml`; here its blanks are filled, and the sentences are put together:
//!
//! ```text
//! <provider> refused <what> (<code>): "<its words>".  <what it means>  <what stays good>  <the next step>  <a wrong clock>
//! ```

use jiff::SignedDuration;

use self::blanks::Blanks;
pub(super) use self::issued::{Before, not_issued};
use super::{federation::NoToken, situation::Past};
use crate::{
    api::{FailureClass, Reason},
    lifecycle::{self, Failure, History, Names, Redeem, Source},
    oauth::{
        Cause, Circumstance, Class, FailureKind, Refusal, Situation, TransportFailure,
        errors::{Row, Value},
    },
    provider::Endpoints,
};

mod blanks;
mod issued;

/// A clock that is off by less is not worth a word: answers take time, and `Date` has whole seconds.
const CLOCK_IS_WRONG: SignedDuration = SignedDuration::from_mins(2);
/// An answer without a readable reason passes, mostly. After so many in a row it does not.
const PASSES: i64 = 5;

/// What was asked, for the wording.
pub(super) struct Question<'a> {
    pub(super) redeem: &'a Redeem,
    pub(super) names: &'a Names,
    pub(super) endpoints: &'a Endpoints,
    pub(super) past: &'a Past,
    /// What else was known.
    pub(super) situation: &'a Situation,
    /// Whether a grant in use goes on whatever becomes of this try.
    pub(super) grant_lives: bool,
}

/// The server said no.
pub(super) fn refused(question: &Question<'_>, refusal: &Refusal) -> Failure {
    let (class, reason) = judgement(question, refusal);
    let sentences = [
        said(question, refusal),
        advice(question, refusal, class, reason),
        trace(refusal, class, reason),
        clock(question.endpoints, refusal),
    ];
    Failure {
        class,
        reason,
        code: full_code(refusal),
        message: joined(&sentences.each_ref().map(String::as_str)),
        retry_after: refusal.retry_after,
        trace_id: refusal.trace_id.clone(),
    }
}

fn judgement(question: &Question<'_>, refusal: &Refusal) -> (FailureClass, Reason) {
    let candidate = matches!(question.redeem.source, Source::Seed(_));
    let (class, reason) = match refusal.class {
        Class::Retry if is_persistent(question, refusal) => (Class::Bug, Reason::RequestRejected),
        class => (class, refusal.reason),
    };
    match class {
        Class::Reauthorize if candidate => (FailureClass::Reauthorize, Reason::SeedRejected),
        Class::Reauthorize if question.redeem.history == History::AnswerLost => {
            (FailureClass::Reauthorize, Reason::GrantLost)
        }
        // A candidate that an admin must look at is no reason to hold back the grant that works.
        Class::AdminConfig if candidate && question.grant_lives => (FailureClass::AdminConfig, Reason::SeedRejected),
        Class::Bug if candidate && question.grant_lives => (FailureClass::Bug, Reason::SeedRejected),
        class => (class, reason),
    }
}

/// An answer that gives no reason, for the sixth time in a row.
fn is_persistent(question: &Question<'_>, refusal: &Refusal) -> bool {
    let no_reason = matches!(refusal.cause, Cause::NotJson | Cause::NoAccessToken);
    let failed = question
        .past
        .failed
        .as_ref()
        .filter(|failed| failed.code.as_deref() == Some(refusal.code.as_str()));
    let often = failed.is_some_and(|failed| {
        failed.count.unwrap_or_default() >= PASSES || failed.class.as_deref() == Some(FailureClass::Bug.as_str())
    });
    no_reason && often
}

/// What the server said, in one sentence.
fn said(question: &Question<'_>, refusal: &Refusal) -> String {
    let provider = &question.endpoints.display_name;
    let words = quoted(refusal);
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

fn quoted(refusal: &Refusal) -> String {
    let words = refusal.description.as_deref().map(|words| words.trim_end_matches('.'));
    words
        .map(|words| format!(": \u{201c}{words}\u{201d}"))
        .unwrap_or_default()
}

/// The code with the finer one, as the status has it.
fn full_code(refusal: &Refusal) -> String {
    match &refusal.detail {
        Some(detail) => format!("{} {detail}", refusal.code),
        None => refusal.code.to_string(),
    }
}

fn code(refusal: &Refusal) -> String {
    let code = full_code(refusal);
    if code.starts_with("http_") {
        code
    } else {
        format!("{code}, HTTP {}", refusal.status)
    }
}

/// What it means, what stays good and the next step.
fn advice(question: &Question<'_>, refusal: &Refusal, class: FailureClass, reason: Reason) -> String {
    let blanks = Blanks::of(question);
    let row = refusal
        .row
        .filter(|row| row.class == class && reason != Reason::GrantLost);
    let stays_good = match (row, refusal.cause) {
        (None, Cause::Other) => "",
        _ => stays_good(question, class, reason),
    };
    let means = match row {
        Some(row) => blanks.fill(&row.means),
        None => unknown_means(question, refusal, class, reason),
    };
    let next = match row.and_then(|row| row.next.as_ref()) {
        Some(next) => blanks.fill(next),
        None => usual_step(&blanks, class, reason),
    };
    joined(&[&means, stays_good, &next])
}

/// Sentences in a row, without those that have nothing to say.
fn joined(sentences: &[&str]) -> String {
    let said = sentences.iter().map(|sentence| sentence.trim());
    said.filter(|sentence| !sentence.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// What need not be done.
fn stays_good(question: &Question<'_>, class: FailureClass, reason: Reason) -> &'static str {
    let of_grant = matches!(question.redeem.source, Source::Grant);
    match (class, reason) {
        _ if question.situation.has(Circumstance::NoPerson) => "",
        (_, Reason::SeedRejected) if question.grant_lives => "The grant in use goes on working.",
        (FailureClass::AdminConfig, Reason::ClientRejected | Reason::EndpointUnusable | Reason::ScopeNotGranted)
            if of_grant =>
        {
            "The stored grant is still good: nobody has to sign in again."
        }
        (FailureClass::AdminConfig, Reason::PolicyBlocked | Reason::AccountUnusable) => {
            "Signing in again will not help."
        }
        _ => "",
    }
}

/// What is said where nothing is known about the very error.
fn unknown_means(question: &Question<'_>, refusal: &Refusal, class: FailureClass, reason: Reason) -> String {
    let endpoint = &question.endpoints.refresh_url;
    match (class, reason) {
        (_, Reason::GrantLost) => {
            "An earlier answer with the newest refresh token was lost on the way, and the one before it is not accepted any more.".to_owned()
        }
        (FailureClass::Reauthorize, _) => "The grant is no longer valid.".to_owned(),
        (FailureClass::Bug, _) if refusal.class == Class::Retry => format!(
            "It has answered so several times, without a reason that can be read: the grant may have ended, the client may be wrong, or {endpoint} is not a token endpoint."
        ),
        (FailureClass::AdminConfig, Reason::EndpointUnusable) if refusal.cause == Cause::Redirect => {
            format!("{endpoint} points elsewhere, and redirects are never followed with credentials.")
        }
        (FailureClass::AdminConfig, Reason::EndpointUnusable) => {
            format!("{endpoint} does not look like a token endpoint.")
        }
        (FailureClass::AdminConfig, Reason::PolicyBlocked) => {
            "Something in front of the server, or a policy of its own, forbids it.".to_owned()
        }
        (FailureClass::AdminConfig | FailureClass::Bug, _) => {
            "What that means is not known here. It is tried again slowly, and nobody is asked to sign in.".to_owned()
        }
        (FailureClass::Retry | FailureClass::Throttled, _) => String::new(),
    }
}

/// The next step, where nothing is known about the very error or its row leaves it to the class.
fn usual_step(blanks: &Blanks<'_>, class: FailureClass, reason: Reason) -> String {
    let client = blanks.value(Value::Client);
    let provider = blanks.value(Value::Provider);
    match (class, reason) {
        (FailureClass::Retry, _) => "It is tried again by itself; nobody has to do anything.".to_owned(),
        (FailureClass::Throttled, _) => "It goes on by itself when the time has come; do not retry by hand.".to_owned(),
        (FailureClass::Reauthorize, _) => blanks.value(Value::NewGrant),
        (FailureClass::Bug, _) => format!(
            "Look into the log of {provider}. If the client ({client}) and spec.oauth2 are right, please report this answer."
        ),
        (FailureClass::AdminConfig, Reason::EndpointUnusable) => {
            "Correct spec.oauth2.tokenURL or refreshURL.".to_owned()
        }
        (FailureClass::AdminConfig, Reason::PolicyBlocked) => format!(
            "Ask an admin of {provider} to allow this client and its scopes, and look for a proxy between the cluster and {}.",
            blanks.value(Value::LoginHost)
        ),
        (FailureClass::AdminConfig, _) => format!(
            "Look the code up in the documentation of {provider}; check client ID and secret in {client}, and spec.oauth2.clientAuthentication."
        ),
    }
}

/// What support and admins look a refusal up by.
fn trace(refusal: &Refusal, class: FailureClass, reason: Reason) -> String {
    let wanted = class == FailureClass::Bug || reason == Reason::PolicyBlocked || refusal.cause == Cause::LoopDetected;
    let id = refusal.trace_id.as_ref().filter(|_| wanted);
    id.map(|id| format!("Trace ID: {id}.")).unwrap_or_default()
}

/// A wrong clock, and by how much: assertions and times are refused for it.
fn clock(endpoints: &Endpoints, refusal: &Refusal) -> String {
    let Some(ahead) = refusal.clock_ahead else {
        return String::new();
    };
    let suspected = refusal.cause == Cause::Clock;
    if !(400..500).contains(&refusal.status) || (ahead.abs() < CLOCK_IS_WRONG && !suspected) {
        return String::new();
    }
    let theirs = &endpoints.display_name;
    if ahead.abs() < CLOCK_IS_WRONG {
        return format!("But the operator's clock and that of {theirs} agree: if it goes on, please report it.");
    }
    let side = if ahead.is_negative() { "behind" } else { "ahead of" };
    let step = if suspected {
        ""
    } else {
        ": set the clock of its node (NTP)"
    };
    format!(
        "The operator's clock is {} {side} that of {theirs}{step}.",
        in_words(ahead.abs())
    )
}

fn in_words(length: SignedDuration) -> String {
    let (amount, unit) = match length.as_mins() {
        minutes @ ..=180 => (minutes, "minutes"),
        minutes @ 181..=4320 => (minutes / 60, "hours"),
        minutes => (minutes / 1440, "days"),
    };
    format!("{amount} {unit}")
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

/// The server did not take what a person's sign-in was answered with, or gives no code to sign in with.
pub(super) fn sign_in_refused(names: &Names, endpoints: &Endpoints, client_id: &str, refusal: &Refusal) -> String {
    let blanks = Blanks {
        names,
        endpoints,
        client_id,
        granted: None,
        used: None,
        new_grant: AGAIN.to_owned(),
    };
    let next = match (refusal.class, refusal.row) {
        (Class::Retry | Class::Throttled, _) => "Open the link again in a few minutes.".to_owned(),
        (Class::Reauthorize, Some(row)) if refusal.cause == Cause::InteractionRequired => fill_both(&blanks, row),
        (Class::Reauthorize, _) => {
            format!("The code was too old or used already, or the redirect URI is not the registered one. {AGAIN}")
        }
        (Class::AdminConfig | Class::Bug, Some(row)) => fill_both(&blanks, row),
        (Class::AdminConfig | Class::Bug, None) => usual_step(&blanks, refusal.class, refusal.reason),
    };
    let sentences = [
        format!(
            "{} did not take the sign-in ({}){}. Nothing was changed.",
            endpoints.display_name,
            code(refusal),
            quoted(refusal)
        ),
        next,
        trace(refusal, refusal.class, refusal.reason),
        clock(endpoints, refusal),
    ];
    joined(&sentences.each_ref().map(String::as_str))
}

const AGAIN: &str = "Open the link again.";

fn fill_both(blanks: &Blanks<'_>, row: &Row) -> String {
    let next = row
        .next
        .as_ref()
        .map_or_else(|| usual_step(blanks, row.class, row.reason()), |next| blanks.fill(next));
    format!("{} {next}", blanks.fill(&row.means))
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
pub(super) mod tests;
