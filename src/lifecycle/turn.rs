//! When a token may be asked for: not before it is due, not against a backoff, not while a lost answer makes patience wise.

use jiff::{SignedDuration, Timestamp};

use super::{
    facts::{self, Known, failure_reason, published, refresh_requested, rotates, unanswered},
    foresight, schedule,
    world::{Activity, Circumstances, Input, InputVersion, Lifetime, Plan, Source, World},
};
use crate::api::{Reason, Rotation};

/// Clocks of two nodes may differ by this much. A moment further ahead than this, where only the past makes sense, was noted by a clock that has been set back.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// When the grant may be redeemed: when it is due or somebody asked, but not against a backoff, nor while a lost answer may still turn up.
pub(super) fn grant_time(world: &World, plan: &Plan, lifetime: &Lifetime, now: Timestamp) -> Timestamp {
    let due = if refresh_requested(world) || noted_by_another_clock(lifetime.issued, now) {
        now
    } else {
        let ends = facts::record(world).and_then(|record| record.ends.as_ref());
        foresight::due(lifetime, ends, plan, world.jitter)
    };
    // A failing candidate is no reason to hold back the grant that works.
    let of_candidate = failure_reason(world) == Some(Reason::SeedRejected);
    let backoff = if of_candidate { None } else { backoff_end(world, now) };
    let failed = if of_candidate { None } else { last_failure(world) };
    let not_before = [
        backoff,
        restored_backup(world, plan),
        after_unknown(world, plan, now),
        pause(plan, [Some(lifetime.issued), failed], now),
    ];
    not_before.into_iter().flatten().fold(due, Timestamp::max)
}

/// When a candidate may be redeemed: at once, but for backoff, not while an earlier try with it may be under way, and not before the published token has ended if
/// the candidate may be spent.
pub(super) fn candidate_time(world: &World, plan: &Plan, candidate: &Source, now: Timestamp) -> Timestamp {
    let spent = facts::seed_may_be_spent(world, plan);
    let not_before = [
        backoff_end(world, now),
        published(world).filter(|_| spent).map(|life| life.expires),
        gap_after_deletion(world, now),
        candidate_off_the_wire(world, plan, candidate, now),
        pause(plan, [last_failure(world), None], now),
    ];
    not_before.into_iter().flatten().fold(now, Timestamp::max)
}

/// A refresh that somebody asked for has to wait.
pub(super) struct Wait {
    pub(super) until: Timestamp,
    /// The time that the provider wants between two, if it is that.
    pub(super) pace: Option<SignedDuration>,
}

/// Until when a refresh that somebody asked for has to wait, and why.
pub(super) fn request_waits(world: &World, plan: &Plan, now: Timestamp) -> Option<Wait> {
    let Known::Yes(client) = facts::client_id(world) else {
        return None;
    };
    let asked = refresh_requested(world) && world.activity == Activity::Active;
    let lifetime = facts::living_grant(world, plan, client).filter(|_| asked)?;
    let until = grant_time(world, plan, &lifetime, now);
    let paced = pause(plan, [Some(lifetime.issued), last_failure(world)], now) == Some(until);
    (until > now).then_some(Wait {
        until,
        pace: plan.limits.refresh_interval.filter(|_| paced),
    })
}

/// Until when the provider would mind another redemption of the same refresh token, after the last ones. A request by annotation obeys it too.
fn pause(plan: &Plan, last: [Option<Timestamp>; 2], now: Timestamp) -> Option<Timestamp> {
    let interval = plan.limits.refresh_interval?;
    let last = last
        .into_iter()
        .flatten()
        .filter(|last| !noted_by_another_clock(*last, now))
        .max()?;
    Some(schedule::ahead(last, interval))
}

/// When the last try failed, at the latest: the status has whole seconds.
fn last_failure(world: &World) -> Option<Timestamp> {
    let failed = world.status.failure.as_ref()?.last_failure_time.as_ref()?.0;
    Some(schedule::ahead(failed, SignedDuration::from_secs(1)))
}

/// When a token may be asked for that needs no refresh token: when it is due, at once where something else is asked for than last time, but not against a backoff.
pub(super) fn issue_time(world: &World, plan: &Plan, client: &str, now: Timestamp) -> Timestamp {
    let due = match facts::issued(world, plan, client) {
        Some(lifetime) if !refresh_requested(world) && !noted_by_another_clock(lifetime.issued, now) => {
            schedule::due(&lifetime, plan.renew_before, world.jitter)
        }
        _ => now,
    };
    let not_before = [backoff_end(world, now), gap_after_deletion(world, now)];
    not_before.into_iter().flatten().fold(due, Timestamp::max)
}

/// Whoever deletes our Secrets as fast as we write them cannot make us loop: with them the ledger is gone, and the seed looks new (invariant 3).
fn gap_after_deletion(world: &World, now: Timestamp) -> Option<Timestamp> {
    let issued = world.status.token.as_ref()?.issue_time.as_ref()?.0;
    let forgotten = facts::record(world).is_none() && !noted_by_another_clock(issued, now);
    forgotten.then(|| schedule::ahead(issued, schedule::SHORTEST_GAP))
}

/// A grant Secret that is older than the status says came back from a backup: its refresh token is spent. It is tried once, when no valid token is published
/// any more (design section 3).
fn restored_backup(world: &World, plan: &Plan) -> Option<Timestamp> {
    let published = published(world)?;
    facts::grant_is_behind(world, plan).then_some(published.expires)
}

/// A strictly rotating refresh token whose answer was lost waits (invariant 2). Where the old one stays good there is nothing to wait for.
fn after_unknown(world: &World, plan: &Plan, now: Timestamp) -> Option<Timestamp> {
    let tried = unanswered(world, &Source::Grant)?;
    spends(world, plan).then(|| schedule::retry_after_unknown(tried, plan.reuse_grace, published(world).as_ref(), now))
}

/// A candidate whose answer was lost has no published token of its own to lose, but its last request may still be on the wire.
fn candidate_off_the_wire(world: &World, plan: &Plan, candidate: &Source, now: Timestamp) -> Option<Timestamp> {
    let tried = unanswered(world, candidate)?;
    spends(world, plan).then(|| schedule::off_the_wire(tried, plan.reuse_grace, now))
}

/// Whether a refresh token that was sent is not to be sent again.
fn spends(world: &World, plan: &Plan) -> bool {
    rotates(world, plan) && plan.rotation != Rotation::Soft
}

/// Until when a failure forbids the next try. A change of the spec or an input ends it at once, and so does a request, except where the provider itself asked for
/// patience (invariant 8).
fn backoff_end(world: &World, now: Timestamp) -> Option<Timestamp> {
    let failure = world.status.failure.as_ref()?;
    let end = failure.next_attempt_time.as_ref()?.0;
    let of_another_clock = failure
        .last_failure_time
        .as_ref()
        .is_some_and(|failed| noted_by_another_clock(failed.0, now));
    let throttled = failure_reason(world) == Some(Reason::Throttled);
    let lifted = !throttled && (circumstances_changed(world) || refresh_requested(world));
    (!lifted && !of_another_clock).then_some(end)
}

fn noted_by_another_clock(moment: Timestamp, now: Timestamp) -> bool {
    moment > schedule::ahead(now, CLOCK_SKEW)
}

/// Whether the spec or an input is not what it was when the last try failed. A process that did not see that try goes by the editions noted on our Secrets.
fn circumstances_changed(world: &World) -> bool {
    let spec = world.status.observed_generation;
    if spec.is_some_and(|seen| seen >= 0 && seen != world.asset_generation) {
        return true;
    }
    if let Some(then) = &world.failed_under {
        return *then != world.circumstances();
    }
    let Some(noted) = facts::record(world).map(|record| &record.inputs) else {
        return false;
    };
    let client = noted.client.as_ref().map(|(version, _)| version);
    let seed = noted.seed.as_ref().map(|(version, _)| version);
    differs(client, &world.client) || differs(seed, &world.seed)
}

fn differs<T>(noted: Option<&InputVersion>, input: &Input<T>) -> bool {
    noted.is_some_and(|noted| version(input).is_some_and(|seen| seen != *noted))
}

impl World {
    /// What the next try depends on.
    #[must_use]
    pub fn circumstances(&self) -> Circumstances {
        Circumstances {
            asset_generation: self.asset_generation,
            client: version(&self.client),
            seed: version(&self.seed),
        }
    }
}

fn version<T>(input: &Input<T>) -> Option<InputVersion> {
    match input {
        Input::Unread(version) | Input::Read(version, _) => Some(version.clone()),
        Input::NotNeeded(_) | Input::Unusable(_) | Input::Unnamed => None,
    }
}
