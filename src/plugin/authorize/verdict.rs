//! What the operator made of a sign-in, read from the asset and its Events.
//!
//! Everything is compared with what was there before, never with a clock: the clocks of a laptop and of a cluster differ.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::{ConditionType, EmailAsset, FailureStatus, Reason, SignInRefusalStatus};
use crate::lifecycle;
use crate::plugin::terminal::harmless;

/// Longest message that is told, in characters.
const LONGEST: usize = 2_000;

/// The asset before the sign-in.
#[derive(Debug, Clone, Default)]
pub(super) struct Before {
    granted: Option<Time>,
    refusal: Option<SignInRefusalStatus>,
    failure: Option<FailureStatus>,
    conditions: Vec<Condition>,
    events: BTreeSet<Seen>,
}

/// One edition of an Event: it is written anew when the same happens again.
type Seen = (Option<String>, Option<String>);

/// What has become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is a new grant.
    SignedIn,
    /// Nothing was changed.
    Refused {
        /// The reason, as in conditions and Events.
        reason: String,
        /// For people.
        message: String,
    },
    /// Nothing can be seen yet.
    Open,
}

impl Before {
    /// What is there now.
    pub(super) fn of(asset: &EmailAsset, events: &[Event]) -> Self {
        let status = asset.status.as_ref();
        Self {
            granted: granted(asset).cloned(),
            refusal: refusal(asset).cloned(),
            failure: status.and_then(|status| status.failure.clone()),
            conditions: status.map(|status| status.conditions.clone()).unwrap_or_default(),
            events: events.iter().map(seen).collect(),
        }
    }

    /// What has come of the sign-in since.
    pub(super) fn verdict(&self, asset: &EmailAsset, events: &[Event]) -> Verdict {
        let conditions = asset
            .status
            .as_ref()
            .map(|status| status.conditions.as_slice())
            .unwrap_or_default();
        let told = refusal(asset)
            .filter(|told| Some(*told) != self.refusal.as_ref())
            .and_then(|told| refused(told.reason.as_deref(), told.message.as_deref()));
        // Before the grant: one that is stored takes older refusals out of the status, so this one came after it, and the grant is of somebody who was faster.
        if let Some(refused) = told {
            return refused;
        }
        let authorized = lifecycle::condition(conditions, ConditionType::Authorized);
        let is_new = granted(asset).is_some_and(|granted| Some(granted) != self.granted.as_ref());
        if is_new && authorized.is_some_and(|said| said.status == "True") {
            return Verdict::SignedIn;
        }
        let of_failure = asset
            .status
            .as_ref()
            .and_then(|status| status.failure.as_ref())
            .filter(|failure| Some(*failure) != self.failure.as_ref())
            .map(|failure| (failure.reason.as_deref(), failure.message.as_deref()));
        let of_conditions = conditions
            .iter()
            .filter(|said| said.status == "False" && !self.conditions.iter().any(|known| is_the_same(known, said)))
            .map(|said| (Some(said.reason.as_str()), Some(said.message.as_str())));
        let of_events = events
            .iter()
            .filter(|event| event.type_.as_deref() == Some("Warning") && !self.events.contains(&seen(event)))
            .map(|event| (event.reason.as_deref(), event.message.as_deref()));
        of_failure
            .into_iter()
            .chain(of_conditions)
            .chain(of_events)
            .find_map(|(reason, message)| refused(reason, message))
            .unwrap_or(Verdict::Open)
    }
}

fn refused(reason: Option<&str>, message: Option<&str>) -> Option<Verdict> {
    let reason = reason.filter(|reason| Reason::parse(reason).is_some_and(is_refusal))?;
    Some(Verdict::Refused {
        reason: reason.to_owned(),
        message: harmless(message.unwrap_or_default(), LONGEST),
    })
}

/// Whether two conditions say the same, whenever and about whichever spec they were written.
fn is_the_same(one: &Condition, other: &Condition) -> bool {
    (&one.type_, &one.status, &one.reason, &one.message) == (&other.type_, &other.status, &other.reason, &other.message)
}

/// When the grant was given that is in use.
pub(super) fn granted(asset: &EmailAsset) -> Option<&Time> {
    asset.status.as_ref()?.grant.as_ref()?.grant_time.as_ref()
}

fn refusal(asset: &EmailAsset) -> Option<&SignInRefusalStatus> {
    asset.status.as_ref()?.sign_in.as_ref()?.last_refusal.as_ref()
}

fn seen(event: &Event) -> Seen {
    (event.metadata.uid.clone(), event.metadata.resource_version.clone())
}

/// The reasons that the operator gives for a sign-in that changed nothing.
pub(super) const fn is_refusal(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::WrongAccount
            | Reason::IdentityUnproven
            | Reason::ScopeNotGranted
            | Reason::ConsentDenied
            | Reason::AdminConsentRequired
            | Reason::NoRefreshToken
            | Reason::SignInFailed
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn asset(status: &Value) -> EmailAsset {
        serde_json::from_value(json!({
            "apiVersion": "emailasset.dev/v1alpha1", "kind": "EmailAsset", "metadata": {"name": "support"},
            "spec": {"email": "support@example.com", "oauth2": {"grant": "AuthorizationCode"}}, "status": status,
        }))
        .unwrap()
    }

    fn condition(kind: &str, status: &str, reason: &str) -> Value {
        json!({"type": kind, "status": status, "reason": reason, "message": "said", "lastTransitionTime": "2026-11-25T09:00:00Z"})
    }

    fn event(version: &str, type_: &str, reason: &str) -> Event {
        serde_json::from_value(json!({
            "metadata": {"uid": "1", "resourceVersion": version}, "involvedObject": {}, "type": type_, "reason": reason, "message": "said",
        }))
        .unwrap()
    }

    fn refused(reason: &str) -> Verdict {
        super::refused(Some(reason), Some("said")).unwrap()
    }

    #[test]
    fn a_new_grant_that_is_accepted_is_a_success() {
        let waiting = asset(&json!({"conditions": [condition("Authorized", "False", "SignInRequired")]}));
        let granted = |time: &str| {
            asset(&json!({"grant": {"grantTime": time}, "conditions": [condition("Authorized", "True", "Stored")]}))
        };
        let (first, second) = (granted("2026-11-25T10:00:00Z"), granted("2026-11-25T11:00:00Z"));
        assert_eq!(Before::of(&waiting, &[]).verdict(&first, &[]), Verdict::SignedIn);
        assert_eq!(Before::of(&first, &[]).verdict(&second, &[]), Verdict::SignedIn);
        assert_eq!(Before::of(&first, &[]).verdict(&first, &[]), Verdict::Open);
    }

    #[test]
    fn a_refusal_is_found_in_the_sign_in_the_failure_the_conditions_or_an_event() {
        let before = asset(&json!({"conditions": [condition("Authorized", "False", "SignInRequired")]}));
        let before_events = [event("1", "Warning", "WrongAccount")];
        let seen = Before::of(&before, &before_events);
        assert_eq!(seen.verdict(&before, &before_events), Verdict::Open);

        let told = asset(&json!({"signIn": {"lastRefusal": {"reason": "NoRefreshToken", "message": "said"}}}));
        assert_eq!(seen.verdict(&told, &before_events), refused("NoRefreshToken"));
        assert_eq!(Before::of(&told, &[]).verdict(&told, &[]), Verdict::Open);
        let failed = asset(&json!({"failure": {"reason": "ConsentDenied", "message": "said"}}));
        assert_eq!(seen.verdict(&failed, &before_events), refused("ConsentDenied"));
        let said = asset(&json!({"conditions": [condition("Authorized", "False", "WrongAccount")]}));
        assert_eq!(seen.verdict(&said, &before_events), refused("WrongAccount"));
        assert_eq!(
            seen.verdict(&before, &[event("2", "Warning", "WrongAccount")]),
            refused("WrongAccount")
        );
    }

    #[test]
    fn a_grant_of_somebody_who_was_faster_is_no_success() {
        let waiting = asset(&json!({"conditions": [condition("Authorized", "False", "SignInRequired")]}));
        let of_another = asset(&json!({
            "grant": {"grantTime": "2026-11-25T10:00:00Z"}, "conditions": [condition("Authorized", "True", "Stored")],
            "signIn": {"lastRefusal": {"reason": "SignInFailed", "message": "said", "time": "2026-11-25T10:00:01Z"}},
        }));
        let seen = Before::of(&waiting, &[]);
        assert_eq!(seen.verdict(&of_another, &[]), refused("SignInFailed"));
        // What came of an earlier sign-in says nothing about the next one.
        let earlier = [event("1", "Warning", "WrongAccount")];
        let granted = asset(
            &json!({"grant": {"grantTime": "2026-11-25T10:00:00Z"}, "conditions": [condition("Authorized", "True", "Stored")]}),
        );
        assert_eq!(seen.verdict(&granted, &earlier), Verdict::SignedIn);
    }

    #[test]
    fn what_has_nothing_to_do_with_the_sign_in_is_no_refusal() {
        let before = asset(&json!({"conditions": []}));
        let seen = Before::of(&before, &[]);
        let other = asset(&json!({
            "failure": {"reason": "Retrying", "message": "said"}, "conditions": [condition("Ready", "False", "Pending")],
        }));
        let events = [event("1", "Normal", "WrongAccount"), event("2", "Warning", "Throttled")];
        assert_eq!(seen.verdict(&other, &events), Verdict::Open);
    }

    #[test]
    fn an_older_refusal_that_is_written_once_more_is_no_new_one() {
        let at = |time: &str| {
            let mut said = condition("Authorized", "False", "WrongAccount");
            said["lastTransitionTime"] = json!(time);
            asset(&json!({ "conditions": [said] }))
        };
        let seen = Before::of(&at("2026-11-25T09:00:00Z"), &[]);
        assert_eq!(seen.verdict(&at("2026-11-25T10:00:00Z"), &[]), Verdict::Open);
    }

    #[test]
    fn the_same_refusal_once_more_is_seen_by_its_failure() {
        let at = |time: &str| {
            asset(
                &json!({"failure": {"reason": "WrongAccount", "message": "said", "lastFailureTime": time},
                "conditions": [condition("Authorized", "False", "WrongAccount")]}),
            )
        };
        let seen = Before::of(&at("2026-11-25T10:00:00Z"), &[]);
        assert_eq!(seen.verdict(&at("2026-11-25T10:00:00Z"), &[]), Verdict::Open);
        assert_eq!(seen.verdict(&at("2026-11-25T10:00:09Z"), &[]), refused("WrongAccount"));
    }
}
