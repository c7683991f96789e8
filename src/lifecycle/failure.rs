//! What a try that failed or worked leaves in the status.
//!
//! The status is the memory of failures: how many there were in a row and when the next try may come survive a restart there (invariant 8).

use jiff::{SignedDuration, Timestamp};

use super::{
    report,
    schedule::{self, Pace},
    world::World,
};
use crate::api::{FailureClass, FailureStatus, Reason};

/// A provider's wish for patience is granted up to here: what a server says is data (invariant 10), and a slip of its pen must not stop an asset for a year.
const LONGEST_WISH: SignedDuration = SignedDuration::from_hours(24);

/// One failed try, in the words of the status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Who can do something about it.
    pub class: FailureClass,
    /// The reason to show.
    pub reason: Reason,
    /// The provider's error code or ours.
    pub code: String,
    /// What happened, what it means and the next step.
    pub message: String,
    /// How long the provider asks us to wait.
    pub retry_after: Option<SignedDuration>,
    /// The provider's identifier of the failed request.
    pub trace_id: Option<String>,
}

/// Takes a failed try into the world. `roll` in `0.0..1.0` spreads retries.
pub fn note_failure(world: &mut World, failure: Failure, now: Timestamp, roll: f64) {
    let before = world.status.failure.as_ref();
    let count = before
        .filter(|before| continues(failure.class, before))
        .and_then(|before| before.count)
        .unwrap_or_default()
        .saturating_add(1);
    let limits = world.plan.as_ref().map(|plan| plan.limits.clone()).unwrap_or_default();
    let wait = pace(failure.class).map(|pace| {
        let own = schedule::backoff(pace, count, roll);
        let known = limits
            .throttled_for
            .filter(|_| failure.class == FailureClass::Throttled);
        // The provider's wish is a floor; a wish of less than our own pace is no reason to hurry.
        let wish = failure.retry_after.or(known).map(|wish| wish.min(LONGEST_WISH));
        own.max(wish.unwrap_or_default())
            .max(limits.refresh_interval.unwrap_or_default())
    });
    let failed = FailureStatus {
        class: Some(failure.class.as_str().to_owned()),
        reason: Some(failure.reason.as_str().to_owned()),
        code: Some(failure.code),
        message: Some(failure.message),
        last_failure_time: Some(report::whole_second(now)),
        count: Some(count),
        next_attempt_time: wait.map(|wait| report::next_second(schedule::ahead(now, wait))),
        trace_id: failure.trace_id,
    };
    // The grant's end must outlive this failure, which the next try may replace within the same pass.
    report::remember_end_of_grant(&mut world.status, &failed, world.asset_generation, now);
    world.status.failure = Some(failed);
    settle(world);
}

/// Takes a try that worked into the world.
pub fn note_success(world: &mut World) {
    world.status.failure = None;
    // A refusal of the grant before is history; what is true now is said when the pass rests.
    report::forget_end_of_grant(&mut world.status);
    settle(world);
}

/// The try was made under these circumstances and has answered the request: neither lifts the next backoff.
fn settle(world: &mut World) {
    world.failed_under = Some(world.circumstances());
    world.status.observed_generation = Some(world.asset_generation);
    report::answer_request(&mut world.status, world.refresh_request.as_ref());
}

/// How patiently a class is retried; none: it is not.
const fn pace(class: FailureClass) -> Option<Pace> {
    match class {
        FailureClass::Retry => Some(Pace::Soon),
        FailureClass::Throttled => Some(Pace::Throttled),
        FailureClass::AdminConfig | FailureClass::Bug => Some(Pace::Slow),
        FailureClass::Reauthorize => None,
    }
}

/// Failures in a row are counted together while the same kind of patience helps: a provider in trouble answers now with an error and now not at all.
fn continues(class: FailureClass, before: &FailureStatus) -> bool {
    let kind: &[FailureClass] = match class {
        FailureClass::Retry | FailureClass::Throttled => &[FailureClass::Retry, FailureClass::Throttled],
        FailureClass::AdminConfig | FailureClass::Bug => &[FailureClass::AdminConfig, FailureClass::Bug],
        FailureClass::Reauthorize => &[FailureClass::Reauthorize],
    };
    kind.iter().any(|class| before.class.as_deref() == Some(class.as_str()))
}
