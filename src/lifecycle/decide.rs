//! What should happen next to one asset.
//!
//! [`decide`] looks at everything that is known ([`World`]) and names the one step to take and how the asset stands. It reads no clock, makes no call and
//! awaits nothing: the controller hands it the world and carries out the answer, until the answer is to rest.
//!
//! ```text
//! World ──decide──> Decision { step, standing, wake }
//! ```
//!
//! The order of the questions is the order of the functions below: may we act at all, is an attempt open, is something ours to tidy, are the inputs known, and
//! only then: which refresh token may be sent ([`super::facts`]), and is it time ([`super::turn`])? Invariants 2, 3, 4, 8 and 9 live here; the tests name them.

use jiff::{SignedDuration, Timestamp};

use super::{
    device,
    facts::{self, Known, SeedStanding, binding_to, client_id, living_grant, rotates, seed, seed_standing},
    farewell, foresight, messages,
    report::Standing,
    schedule,
    step::{Decision, Fencing, Origin, Redeem, Step},
    turn,
    world::{
        Activity, AttemptHolder, Binding, Discovery, Handover, Heritage, Input, InputsSeen, Plan, PlanRefusal,
        Presence, SeedClaim, Sight, Slot, Source, World,
    },
};
use crate::api::Reason;

/// A process that opened an attempt is given this much longer than it asked for: it may have been slow to notice that its time was up (invariant 2).
pub const HOLDER_GRACE: SignedDuration = SignedDuration::from_secs(60);

/// Names the next step.
#[must_use]
pub fn decide(world: &World, now: Timestamp) -> Decision {
    if let Presence::Leaving { since } = world.presence {
        return farewell::part(world, since, now);
    }
    let plan = match &world.plan {
        Ok(plan) => plan,
        Err(refusal) => return refused(world, refusal, now),
    };
    if let Some(step) = farewell::hold(world, plan) {
        return Decision::step(step, standing(world, plan));
    }
    blocked(world, plan)
        .or_else(|| open_attempt(world, plan, now))
        .or_else(|| own_grant(world, plan, now))
        .or_else(|| publish(world, plan, now))
        .unwrap_or_else(|| obtain(world, plan, now))
}

/// Nothing is done before somebody changes something, or an issuer has said where the endpoints are. While only that or the `EmailProvider` is missing the published
/// token counts until its end, which is then told.
fn refused(world: &World, refusal: &PlanRefusal, now: Timestamp) -> Decision {
    let standing = Standing::Refused(refusal.clone());
    let decision = match (world.discovery, world.activity) {
        (Discovery::Due, Activity::Active) => return Decision::step(Step::Discover, standing),
        (Discovery::Failed { again }, Activity::Active) if again <= now => {
            return Decision::step(Step::Discover, standing);
        }
        (Discovery::Failed { again }, Activity::Active) => Decision::rest(standing).waking(again),
        _ => Decision::rest(standing),
    };
    let counts = refusal.reason == Reason::ProviderNotReady || world.discovery != Discovery::Settled;
    match facts::published(world) {
        Some(token) if counts && token.is_valid(now) => decision.waking(token.expires),
        _ => decision,
    }
}

impl Decision {
    /// Nothing to do, and only a change can alter that.
    pub(super) fn rest(standing: Standing) -> Self {
        Self {
            step: Step::Rest,
            standing,
            wake: None,
        }
    }

    pub(super) fn step(step: Step, standing: Standing) -> Self {
        Self {
            step,
            standing,
            wake: None,
        }
    }

    pub(super) fn waking(mut self, at: Timestamp) -> Self {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
        self
    }
}

/// Secrets in the way: nothing is redeemed before they are gone, since the answer would have no place.
fn blocked(world: &World, plan: &Plan) -> Option<Decision> {
    let conflict = |message| Some(Decision::rest(Standing::Conflict(message)));
    if let Slot::Foreign {
        found,
        handover: Handover::None,
    } = &world.token
    {
        return conflict(messages::foreign_token_secret(found, &plan.names));
    }
    if let Slot::Foreign { found, handover } = &world.grant {
        return match handover {
            Handover::None => conflict(messages::foreign_grant_secret(found, &plan.names)),
            Handover::Granted => Some(Decision::step(Step::ReplaceForeignGrant, standing(world, plan))),
        };
    }
    if let (SeedClaim::Older(asset), true) = (&world.seed_claim, rotates(world, plan)) {
        return conflict(messages::seed_of_another(asset, &plan.names));
    }
    if let Slot::Ours(grant) = &world.grant
        && grant.heritage == Heritage::Retained
        && grant.mailbox != plan.names.email
    {
        return conflict(messages::grant_of_another_mailbox(&grant.mailbox, &plan.names));
    }
    let leaving = matches!(world.grant, Slot::Leaving) || matches!(world.token, Slot::Leaving);
    leaving.then(|| Decision::rest(Standing::Waiting(messages::waits_for_garbage_collection(&plan.names))))
}

/// Whether somebody may sign in for this asset now: what the grant would belong to, or why nobody may, as a sentence with the next step.
///
/// # Errors
/// The sentence.
pub fn may_sign_in(world: &World) -> Result<Binding, String> {
    let plan = world.plan.as_ref().map_err(|refusal| refusal.message.clone())?;
    if matches!(world.presence, Presence::Leaving { .. }) {
        return Err(messages::is_being_deleted(&plan.names));
    }
    if !plan.begins_with_sign_in() {
        return Err(messages::needs_no_sign_in(plan));
    }
    if world.activity == Activity::Suspended {
        return Err(messages::suspended(&plan.names));
    }
    if let Some(blocked) = blocked(world, plan) {
        return Err(match blocked.standing {
            Standing::Conflict(message) | Standing::Waiting(message) => message,
            _ => messages::waits_for_garbage_collection(&plan.names),
        });
    }
    match client_id(world) {
        Known::Yes(client) => Ok(binding_to(plan, client)),
        Known::Unusable(message) => Err(message.to_owned()),
        Known::Unread => Err(messages::pending(&plan.names)),
    }
}

/// While an attempt is open nothing else is done with the grant (invariant 2). What was stored before it may be published.
fn open_attempt(world: &World, plan: &Plan, now: Timestamp) -> Option<Decision> {
    let grant = world.grant.ours()?;
    let attempt = grant.attempt.as_ref()?;
    let patience = SignedDuration::from_secs(attempt.duration_seconds.into()).saturating_add(HOLDER_GRACE);
    let left = match world.attempt_holder {
        AttemptHolder::This | AttemptHolder::Earlier => SignedDuration::ZERO,
        AttemptHolder::Other { watched } => patience.saturating_sub(watched),
    };
    if left <= SignedDuration::ZERO {
        return Some(Decision::step(Step::SettleUnknown, standing(world, plan)));
    }
    let own = grant.heritage == Heritage::Own;
    let publish = if own { publish(world, plan, now) } else { None };
    Some(publish.unwrap_or_else(|| rest(world, plan, now).waking(schedule::ahead(now, left))))
}

/// The grant Secret carries our UID, and an ownerReference exactly under `grantDeletionPolicy: Delete`. A retained one is taken up if it belongs to the same
/// client: for that the client must be known.
fn own_grant(world: &World, plan: &Plan, now: Timestamp) -> Option<Decision> {
    let grant = world.grant.ours()?;
    if grant.heritage == Heritage::Own {
        let drifted = grant.retention != plan.retention;
        return drifted.then(|| Decision::step(Step::OwnGrant, standing(world, plan)));
    }
    Some(match client_id(world) {
        Known::Unread => Decision::step(Step::ReadInputs, standing(world, plan)),
        Known::Unusable(_) => rest(world, plan, now),
        Known::Yes(id) => match &grant.record.binding {
            Some(binding) if *binding != binding_to(plan, id) => Decision::rest(Standing::Conflict(
                messages::grant_of_another_client(binding, &plan.names),
            )),
            _ => Decision::step(Step::OwnGrant, standing(world, plan)),
        },
    })
}

/// What is stored must also be published; what is published must look as the spec says.
fn publish(world: &World, plan: &Plan, now: Timestamp) -> Option<Decision> {
    let token = world.token.ours();
    if !facts::bound_elsewhere(world, plan)
        && let Some(origin) = newest_token(world, now)
    {
        let current = token.is_some_and(|token| origin == Origin::Token && token.rendering == plan.rendering);
        let as_stored = token.is_some_and(|token| {
            let stored = world.grant.ours().map(|grant| grant.record.generation);
            stored == Some(token.record.generation) && token.rendering == plan.rendering
        });
        if !current && !as_stored {
            return Some(Decision::step(Step::Publish(origin), standing(world, plan)));
        }
    }
    let renamed = world.renamed.as_ref()?;
    let newer = |generation| renamed.record.generation <= generation;
    let kept_elsewhere = world.grant.ours().is_some() || token.is_some_and(|token| newer(token.record.generation));
    (token.is_some() && kept_elsewhere).then(|| Decision::step(Step::DropRenamed, standing(world, plan)))
}

/// Where the newest access token stands that is still valid. Of two places with the same generation the grant Secret comes first: consumers may have changed
/// theirs.
fn newest_token(world: &World, now: Timestamp) -> Option<Origin> {
    let token = world.token.ours().map(|token| &token.record);
    let renamed = world.renamed.as_ref().map(|token| &token.record);
    let places = [
        (Origin::Renamed, renamed),
        (Origin::Token, token),
        (Origin::Grant, world.grant.ours().map(|grant| &grant.record)),
    ];
    let newest = places
        .into_iter()
        .filter_map(|(origin, record)| Some((origin, record?)))
        .max_by_key(|(_, record)| record.generation);
    newest
        .filter(|(_, record)| record.lifetime.is_some_and(|lifetime| lifetime.is_valid(now)))
        .map(|(origin, _)| origin)
}

/// Looks at the inputs and, if there is a refresh token that may be sent and it is time, sends it.
fn obtain(world: &World, plan: &Plan, now: Timestamp) -> Decision {
    if matches!(client_id(world), Known::Unread) || matches!(seed(world), Known::Unread) {
        return Decision::step(Step::ReadInputs, standing(world, plan));
    }
    let idle = || record_inputs(world, plan).unwrap_or_else(|| rest(world, plan, now));
    let Known::Yes(client) = client_id(world) else {
        return idle();
    };
    if let Some(step) = device::step(world, plan, client, now) {
        return Decision::step(step, standing(world, plan));
    }
    if needs_confirmation(world, plan) {
        return Decision::step(Step::ConfirmGrant, standing(world, plan));
    }
    let Some(next) = choose(world, plan, client, now).filter(|_| world.activity == Activity::Active) else {
        return idle();
    };
    if next.at > now {
        let decision = idle();
        return if decision.step == Step::Rest {
            decision.waking(next.at)
        } else {
            decision
        };
    }
    let fencing = if rotates(world, plan) {
        Fencing::Recorded
    } else {
        Fencing::Free
    };
    Decision::step(
        Step::Redeem(Redeem {
            from: facts::newest_generation(world),
            history: facts::history(world, plan, &next.source),
            source: next.source,
            binding: binding_to(plan, client),
            fencing,
        }),
        standing(world, plan),
    )
}

/// What a token may be bought with, and from when on.
struct Turn {
    source: Source,
    at: Timestamp,
}

/// The refresh token to send next. A grant that is due comes before a candidate: routine refreshes go on whatever becomes of a new seed.
fn choose(world: &World, plan: &Plan, client: &str, now: Timestamp) -> Option<Turn> {
    if plan.is_direct() {
        return Some(Turn {
            source: Source::Client,
            at: turn::issue_time(world, plan, client, now),
        });
    }
    let grant = living_grant(world, plan, client).map(|lifetime| Turn {
        source: Source::Grant,
        at: turn::grant_time(world, plan, &lifetime, now),
    });
    let candidate = facts::candidate(world, plan, client).map(|fingerprint| {
        let source = Source::Seed(fingerprint.clone());
        let at = turn::candidate_time(world, plan, &source, now);
        Turn { source, at }
    });
    match (grant, candidate) {
        (Some(grant), Some(candidate)) if grant.at <= now || grant.at < candidate.at => Some(grant),
        (grant, candidate) => candidate.or(grant),
    }
}

/// Whether what the watch shows of the grant Secret contradicts the status, so that it must be asked for before anything is concluded.
fn needs_confirmation(world: &World, plan: &Plan) -> bool {
    world.grant_sight == Sight::Cached && facts::grant_is_behind(world, plan)
}

/// Remembers the editions that were looked at, where a Secret of ours is there to hold them: the next start then reads nothing.
fn record_inputs(world: &World, plan: &Plan) -> Option<Decision> {
    // The token Secret of a lost grant says which seed that grant grew from: not to be overwritten.
    if facts::record_has_no_holder(world, plan) {
        return None;
    }
    let record = facts::record(world)?;
    let leaving = world.renamed.as_ref();
    if leaving.is_some_and(|renamed| std::ptr::eq(record, &raw const renamed.record)) {
        return None;
    }
    let noted = &record.inputs;
    (inputs_now(world, noted) != *noted).then(|| Decision::step(Step::RecordInputs, standing(world, plan)))
}

/// What is known of the inputs now; an input that is gone or unusable leaves what was noted.
#[must_use]
pub fn inputs_now(world: &World, noted: &InputsSeen) -> InputsSeen {
    let mut known = noted.clone();
    if let Input::Read(version, id) = &world.client {
        known.client = Some((version.clone(), id.clone()));
    }
    if let Input::Read(version, fingerprint) = &world.seed {
        known.seed = Some((version.clone(), fingerprint.clone()));
    }
    known
}

/// Nothing is left to do: how the asset stands, and when that may change by itself.
fn rest(world: &World, plan: &Plan, now: Timestamp) -> Decision {
    let decision = Decision::rest(standing(world, plan));
    let later = device::wake(world, plan)
        .into_iter()
        .chain(foresight::wake(world, plan, now));
    let decision = later.fold(decision, Decision::waking);
    match facts::published(world) {
        Some(token) if token.is_valid(now) => decision.waking(token.expires),
        _ => decision,
    }
}

/// How the asset stands.
fn standing(world: &World, plan: &Plan) -> Standing {
    let client = match client_id(world) {
        Known::Yes(id) => id,
        Known::Unusable(message) => return Standing::ClientMissing(message.to_owned()),
        Known::Unread => return Standing::Fine,
    };
    if plan.is_direct() {
        return match world.status.failure {
            Some(_) => Standing::Failing,
            None => Standing::Fine,
        };
    }
    let seed = seed_standing(world, client);
    let hope = facts::candidate(world, plan, client).is_some();
    let will_try = hope && world.activity == Activity::Active;
    if let Some(bound) = facts::binding(world)
        && *bound != binding_to(plan, client)
        && !will_try
    {
        return if seed == SeedStanding::Refused {
            Standing::SeedRequired(messages::seed_of_new_client_was_refused(bound, &plan.names))
        } else {
            Standing::ClientChanged(bound.clone())
        };
    }
    if !hope && let Some(standing) = without_grant(world, plan, client) {
        return standing;
    }
    if world.status.failure.is_some() && !facts::failure_is_history(world) {
        Standing::Failing
    } else if seed == SeedStanding::Refused {
        Standing::SeedRejected
    } else {
        Standing::Fine
    }
}

/// No grant may be redeemed, and the seed in sight cannot become one.
fn without_grant(world: &World, plan: &Plan, client: &str) -> Option<Standing> {
    if facts::grant_is_dead(world) && device::pending(world, plan).is_none() {
        return Some(Standing::GrantRefused);
    }
    if living_grant(world, plan, client).is_some() {
        return None;
    }
    if let Some(device) = device::pending(world, plan) {
        return Some(Standing::DevicePending(messages::enter_code(device, &plan.names)));
    }
    if let Some(way) = &plan.names.sign_in {
        return Some(Standing::SignInRequired(messages::sign_in_needed(way, &plan.names)));
    }
    match seed(world) {
        Known::Unusable(message) => Some(Standing::SeedRequired(message.to_owned())),
        Known::Yes(_) => Some(Standing::SeedRequired(messages::seed_was_refused(&plan.names))),
        Known::Unread => None,
    }
}
