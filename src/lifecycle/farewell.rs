//! The end of an asset whose grant is to be given back (`grantDeletionPolicy: Revoke`).
//!
//! Our finalizer keeps the asset until the refresh token was given back, or until that is given up: a deletion never hangs on a provider for longer than
//! [`PATIENCE`].

use jiff::{SignedDuration, Timestamp};

use super::{
    decide::HOLDER_GRACE,
    facts::{self, Known, client_id, seed},
    messages,
    report::Standing,
    schedule,
    step::{Decision, Step},
    world::{AttemptHolder, Discovery, Farewell, Heritage, Hold, Plan, Slot, Source, World},
};

/// For how long a deletion waits for the provider.
pub const PATIENCE: SignedDuration = SignedDuration::from_mins(5);

/// Puts our finalizer on an asset that needs it, and takes it off one that does not.
pub(super) fn hold(world: &World, plan: &Plan) -> Option<Step> {
    match (plan.farewell, world.hold) {
        (Farewell::Revoke, Hold::Free) => Some(Step::Hold),
        (Farewell::Silent, Hold::Held) => Some(Step::LetGo),
        _ => None,
    }
}

/// What is done about an asset that was deleted at `since`.
pub(super) fn part(world: &World, since: Timestamp, now: Timestamp) -> Decision {
    if world.hold == Hold::Free {
        return Decision::rest(Standing::Leaving);
    }
    let step = |step| Decision::step(step, Standing::Leaving);
    let end = since.checked_add(PATIENCE).unwrap_or(Timestamp::MAX);
    let plan = match &world.plan {
        Ok(plan) if plan.farewell == Farewell::Silent => return step(Step::LetGo),
        Ok(plan) => plan,
        Err(_) if now < end && world.discovery != Discovery::Settled => {
            return match world.discovery {
                Discovery::Failed { again } if again > now => Decision::rest(Standing::Leaving).waking(again.min(end)),
                Discovery::Underway | Discovery::Settled => Decision::rest(Standing::Leaving).waking(end),
                Discovery::Due | Discovery::Failed { .. } => step(Step::Discover),
            };
        }
        Err(refusal) => return step(Step::Part(Some(messages::not_revoked_unplanned(&refusal.message)))),
    };
    if let Some(left) = attempt_left(world)
        && now < end
    {
        return Decision::rest(Standing::Leaving).waking(schedule::ahead(now, left).min(end));
    }
    match to_give_back(world, plan) {
        Err(reason) => step(Step::Part(reason)),
        Ok(None) => step(Step::ReadInputs),
        Ok(Some(_)) if now >= end => step(Step::Part(Some(messages::not_revoked_in_time(&plan.names)))),
        Ok(Some(source)) => step(Step::Revoke(source)),
    }
}

/// How long an open attempt of another process may still bring a new refresh token. Our own has ended when a pass runs.
fn attempt_left(world: &World) -> Option<SignedDuration> {
    let attempt = world.grant.ours()?.attempt.as_ref()?;
    let AttemptHolder::Other { watched } = world.attempt_holder else {
        return None;
    };
    let patience = SignedDuration::from_secs(attempt.duration_seconds.into()).saturating_add(HOLDER_GRACE);
    let left = patience.saturating_sub(watched);
    (left > SignedDuration::ZERO).then_some(left)
}

/// The refresh token to give back; none: the inputs are not known yet. An error: there is none to give back, or it must not be sent, and why.
fn to_give_back(world: &World, plan: &Plan) -> Result<Option<Source>, Option<String>> {
    if matches!(client_id(world), Known::Unread) {
        return Ok(None);
    }
    let source = match &world.grant {
        Slot::Ours(grant) if grant.heritage == Heritage::Own => Source::Grant,
        // The client asks for its tokens itself: there is nothing that would bring the next one.
        Slot::Free if plan.is_direct() => return Err(None),
        // Nothing rotates: what a person put into the seed Secret is the grant.
        Slot::Free if facts::published(world).is_some() => match seed(world) {
            Known::Yes(fingerprint) => Source::Seed(fingerprint.clone()),
            Known::Unread => return Ok(None),
            Known::Unusable(message) => return Err(Some(messages::not_revoked_without(message))),
        },
        Slot::Free if world.status.grant.is_some() => {
            return Err(Some(messages::not_revoked_grant_is_gone(&plan.names)));
        }
        _ => return Err(None),
    };
    if facts::grant_is_dead(world) {
        return Err(None);
    }
    if let Known::Unusable(message) = client_id(world) {
        return Err(Some(messages::not_revoked_without(message)));
    }
    if facts::bound_elsewhere(world, plan) {
        return Err(Some(messages::not_revoked_bound_elsewhere(&plan.names)));
    }
    Ok(Some(source))
}
