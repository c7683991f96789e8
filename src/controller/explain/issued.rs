//! Words for refusals where nobody's grant is at stake: the client itself asked, or its service account. No person can sign in against these, so an admin acts or
//! nobody does; and what an admin has just allowed may still be spreading.

use jiff::{SignedDuration, Timestamp};

use super::{Blanks, Question, refused, said};
use crate::{
    api::{ConditionType, EmailAssetStatus, FailureClass, Grant, Reason},
    lifecycle::{self, Failure},
    oauth::{Cause, Class, Evidence, Refusal, errors::Value},
};

/// How long a delegation may spread where nothing is known of the server: as long as at Google.
const DELEGATION_SPREADS: SignedDuration = SignedDuration::from_hours(24);
/// The same for what an admin has consented to.
const CONSENT_SPREADS: SignedDuration = SignedDuration::from_hours(1);

/// Whether the very same question was answered with a token before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::controller) enum Before {
    /// It was: the permission has long spread.
    Issued,
    /// Never yet.
    Nothing,
}

/// The server gave no token. `status` says since when it has been like this.
pub(in crate::controller) fn not_issued(
    question: &Question<'_>,
    refusal: &Refusal,
    grant: Grant,
    before: Before,
    status: &EmailAssetStatus,
    now: Timestamp,
) -> Failure {
    let failure = refused(question, refusal);
    let forbidden = matches!(refusal.cause, Cause::UnauthorizedClient | Cause::AccessDenied)
        && refusal.evidence == Evidence::ErrorCode
        && matches!(refusal.class, Class::AdminConfig | Class::Reauthorize);
    let since = failing_since(status).unwrap_or(now);
    let spreads = question.endpoints.propagation_grace.unwrap_or(match grant {
        Grant::JwtBearer => DELEGATION_SPREADS,
        _ => CONSENT_SPREADS,
    });
    let until = since.checked_add(spreads).unwrap_or(Timestamp::MAX);
    if forbidden && before == Before::Nothing && now < until {
        return Failure {
            class: FailureClass::Retry,
            reason: Reason::Retrying,
            message: format!(
                "{} That is also what it says while a permission that was just given spreads, which takes minutes, and can take up to {} h: it is tried again by itself, and \
                 counts as a refusal from {until} on. Meanwhile: {}",
                said(question, refusal),
                spreads.as_hours(),
                to_check(question, grant)
            ),
            ..failure
        };
    }
    if refusal.row.is_some() && refusal.class == Class::AdminConfig {
        // What is known about the very error says more than what could be checked.
        return failure;
    }
    let reason = match (refusal.class, refusal.cause) {
        (Class::Reauthorize, Cause::AccessDenied | Cause::InteractionRequired) => Reason::PolicyBlocked,
        (Class::Reauthorize, _) => Reason::ClientRejected,
        (Class::AdminConfig, _) if matches!(failure.reason, Reason::ClientRejected | Reason::PolicyBlocked) => {
            failure.reason
        }
        _ => return failure,
    };
    Failure {
        class: FailureClass::AdminConfig,
        reason,
        message: format!("{} {}", said(question, refusal), to_check(question, grant)),
        ..failure
    }
}

/// Since when no try has worked: a condition's time changes with its status alone, and it outlives a restart.
fn failing_since(status: &EmailAssetStatus) -> Option<Timestamp> {
    let refreshed = lifecycle::condition(&status.conditions, ConditionType::Refreshed)?;
    (refreshed.status == "False").then_some(refreshed.last_transition_time.0)
}

/// What an admin can look at. Nobody has to sign in.
fn to_check(question: &Question<'_>, grant: Grant) -> String {
    let blanks = Blanks::of(question);
    let (client, scopes) = (blanks.value(Value::Client), blanks.value(Value::Scopes));
    match grant {
        Grant::JwtBearer => format!(
            "An admin of {} lets the service account act for the mailbox's account: by its numeric client ID, with exactly these scopes: {scopes} (at Google: Admin console, \
             Security, Access and data control, API controls, Domain-wide delegation). The account must exist, and the key in {client} must not have been deleted. Nobody has to \
             sign in.",
            question.endpoints.display_name
        ),
        _ => format!(
            "Check the client's ID and its secret or certificate in {client}, and that an admin of {} has consented to its application permissions. Nobody has to sign in.",
            question.endpoints.display_name
        ),
    }
}

#[cfg(test)]
mod tests;
