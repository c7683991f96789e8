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
//! only then: which refresh token may be sent, and is it time? Invariants 2, 3, 4, 8 and 9 live here; the tests name them.

use jiff::{SignedDuration, Timestamp};

use super::{
    messages,
    report::{self, Standing},
    schedule,
    step::{Decision, Fencing, Origin, Redeem, Step},
    world::{
        Activity, AttemptHolder, Binding, Fingerprint, Generation, Handover, Heritage, History, Input, Lifetime, Plan,
        Presence, Record, SeedClaim, Sight, Slot, Source, Unanswered, Verdict, World,
    },
};
use crate::api::{Reason, Rotation};

/// A process that opened an attempt is given this much longer than it asked for: it may have been slow to notice that its time was up (invariant 2).
pub const HOLDER_GRACE: SignedDuration = SignedDuration::from_secs(60);

/// Names the next step.
#[must_use]
pub fn decide(world: &World, now: Timestamp) -> Decision {
    if world.presence == Presence::Leaving {
        return Decision::rest(Standing::Leaving);
    }
    let plan = match &world.plan {
        Ok(plan) => plan,
        Err(refusal) => return Decision::rest(Standing::Refused(refusal.clone())),
    };
    blocked(world, plan)
        .or_else(|| open_attempt(world, plan, now))
        .or_else(|| own_grant(world, plan))
        .or_else(|| publish(world, plan, now))
        .unwrap_or_else(|| obtain(world, plan, now))
}

impl Decision {
    /// Nothing to do, and only a change can alter that.
    fn rest(standing: Standing) -> Self {
        Self {
            step: Step::Rest,
            standing,
            wake: None,
        }
    }

    fn step(step: Step, standing: Standing) -> Self {
        Self {
            step,
            standing,
            wake: None,
        }
    }

    fn waking(mut self, at: Timestamp) -> Self {
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
        return conflict(messages::foreign_secret(&plan.names.token_secret, found, &plan.names));
    }
    if let Slot::Foreign { found, handover } = &world.grant {
        return match handover {
            Handover::None => conflict(messages::foreign_secret(&plan.names.grant_secret, found, &plan.names)),
            Handover::Granted => Some(Decision::step(Step::ReplaceForeignGrant, Standing::Fine)),
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

/// While an attempt is open nothing else is done with the grant (invariant 2).
fn open_attempt(world: &World, plan: &Plan, now: Timestamp) -> Option<Decision> {
    let attempt = world.grant.ours()?.attempt.as_ref()?;
    let standing = standing(world, plan);
    match world.attempt_holder {
        AttemptHolder::This | AttemptHolder::Earlier => Some(Decision::step(Step::SettleUnknown, standing)),
        AttemptHolder::Other { watched } => {
            let patience = SignedDuration::from_secs(attempt.duration_seconds.into()).saturating_add(HOLDER_GRACE);
            let left = patience.saturating_sub(watched);
            Some(if left <= SignedDuration::ZERO {
                Decision::step(Step::SettleUnknown, standing)
            } else {
                Decision::rest(standing).waking(schedule::ahead(now, left))
            })
        }
    }
}

/// The grant Secret carries our UID, and an ownerReference exactly under `grantDeletionPolicy: Delete`. A retained one is taken up if it belongs to the same
/// client: for that the client must be known.
fn own_grant(world: &World, plan: &Plan) -> Option<Decision> {
    let grant = world.grant.ours()?;
    if grant.heritage == Heritage::Own {
        let drifted = grant.retention != plan.retention;
        return drifted.then(|| Decision::step(Step::OwnGrant, Standing::Fine));
    }
    Some(match client_id(world) {
        Known::Unread => Decision::step(Step::ReadInputs, Standing::Fine),
        Known::Unusable(message) => Decision::rest(Standing::ClientMissing(message.to_owned())),
        Known::Yes(id) => match &grant.record.binding {
            Some(binding) if *binding != binding_to(plan, id) => Decision::rest(Standing::Conflict(
                messages::grant_of_another_client(binding, &plan.names),
            )),
            _ => Decision::step(Step::OwnGrant, Standing::Fine),
        },
    })
}

/// What is stored must also be published; what is published must look as the spec says.
fn publish(world: &World, plan: &Plan, now: Timestamp) -> Option<Decision> {
    let token = world.token.ours();
    if !bound_elsewhere(world, plan)
        && let Some(origin) = newest_token(world, now)
    {
        let current = token.is_some_and(|token| origin == Origin::Token && token.rendering == plan.rendering);
        let as_stored = token.is_some_and(|token| {
            let stored = world.grant.ours().map(|grant| grant.record.generation);
            stored == Some(token.record.generation) && token.rendering == plan.rendering
        });
        if !current && !as_stored {
            return Some(Decision::step(Step::Publish(origin), Standing::Fine));
        }
    }
    (token.is_some() && world.renamed.is_some()).then(|| Decision::step(Step::DropRenamed, Standing::Fine))
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
    let resting = |world: &World| rest(world, plan, now);
    let Known::Yes(client) = client_id(world) else {
        return record_inputs(world).unwrap_or_else(|| resting(world));
    };
    if needs_confirmation(world, plan) {
        return Decision::step(Step::ConfirmGrant, standing(world, plan));
    }
    let Some(tried) = choose(world, plan, client, now) else {
        return record_inputs(world).unwrap_or_else(|| resting(world));
    };
    if tried.at > now || world.activity == Activity::Suspended {
        return record_inputs(world).unwrap_or_else(|| {
            let decision = resting(world);
            if world.activity == Activity::Suspended {
                decision
            } else {
                decision.waking(tried.at)
            }
        });
    }
    Decision::step(
        Step::Redeem(Redeem {
            from: newest_generation(world),
            history: history(world, plan, &tried.source),
            source: tried.source,
            binding: binding_to(plan, client),
            fencing: if rotates(world, plan) {
                Fencing::Recorded
            } else {
                Fencing::Free
            },
        }),
        standing(world, plan),
    )
}

/// A refresh token and the moment from which it may be sent.
struct Try {
    source: Source,
    at: Timestamp,
}

/// The refresh token to send next. A grant that is due comes before a candidate: routine refreshes go on whatever becomes of a new seed.
fn choose(world: &World, plan: &Plan, client: &str, now: Timestamp) -> Option<Try> {
    let grant = living_grant(world, plan, client).map(|lifetime| Try {
        source: Source::Grant,
        at: grant_time(world, plan, &lifetime, now),
    });
    let candidate = candidate(world, plan, client).map(|fingerprint| {
        let source = Source::Seed(fingerprint.clone());
        Try {
            at: candidate_time(world, plan, &source, now),
            source,
        }
    });
    match (grant, candidate) {
        (Some(grant), Some(candidate)) if grant.at <= now || grant.at < candidate.at => Some(grant),
        (grant, candidate) => candidate.or(grant),
    }
}

/// The newest token of a grant that may be redeemed again: it belongs to this client and endpoint, the provider has not refused it, and its refresh token is
/// at hand.
fn living_grant(world: &World, plan: &Plan, client: &str) -> Option<Lifetime> {
    let record = record(world)?;
    let bound = record.binding.as_ref() == Some(&binding_to(plan, client));
    let at_hand = world.grant.ours().is_some() || matches!(seed_standing(world, client), SeedStanding::InUse);
    if bound && at_hand && !report::grant_is_dead(&world.status) {
        record.lifetime
    } else {
        None
    }
}

/// When the grant may be redeemed: when it is due or somebody asked, but not against a backoff, nor while a lost answer may still turn up.
fn grant_time(world: &World, plan: &Plan, lifetime: &Lifetime, now: Timestamp) -> Timestamp {
    let due = if refresh_requested(world) {
        now
    } else {
        schedule::renewal_time(lifetime, plan.renew_before, world.jitter).max(schedule::earliest_renewal(lifetime))
    };
    // A failing candidate is no reason to hold back the grant that works.
    let of_candidate = failure_reason(world) == Some(Reason::SeedRejected);
    let backoff = if of_candidate { None } else { backoff_end(world) };
    let not_before = [
        backoff,
        restored_backup(world, plan, now),
        after_unknown(world, plan, &Source::Grant, now),
    ];
    not_before.into_iter().flatten().fold(due, Timestamp::max)
}

/// When a candidate may be redeemed: at once, but for backoff.
fn candidate_time(world: &World, plan: &Plan, source: &Source, now: Timestamp) -> Timestamp {
    let at = backoff_end(world).unwrap_or(now);
    let lost_with_the_grant = matches!(world.grant, Slot::Free) && seed_may_be_spent(world, plan);
    let at = if lost_with_the_grant {
        at.max(published_end(world).unwrap_or(at))
    } else {
        at
    };
    // No published token depends on a candidate: there is nothing to wait for after an answer was lost.
    at.max(unanswered(world, source).map_or(at, |tried| tried.since))
}

/// A seed that was not sent before, or one whose refusal would cost nothing.
fn candidate<'a>(world: &'a World, plan: &Plan, client: &str) -> Option<&'a Fingerprint> {
    let Known::Yes(fingerprint) = seed(world) else {
        return None;
    };
    let verdict = record(world).and_then(|record| record.seeds.verdict(fingerprint, client));
    match verdict {
        None => Some(fingerprint),
        // Where nothing rotates, an earlier seed that once worked may come back (a `git revert`): nothing can be killed by sending it.
        Some(Verdict::Taken) => {
            let bound = record(world).and_then(|record| record.binding.as_ref()) == Some(&binding_to(plan, client));
            let reverted = bound && !rotates(world, plan) && seed_standing(world, client) == SeedStanding::Earlier;
            reverted.then_some(fingerprint)
        }
        Some(Verdict::Refused) => None,
    }
}

/// How the seed Secret's present content relates to the grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SeedStanding {
    /// It is not there or cannot be used.
    Unusable,
    /// Not sent yet.
    New,
    /// The grant grew from it.
    InUse,
    /// It was taken once, and another one since.
    Earlier,
    /// It was refused.
    Refused,
}

/// How the seed Secret's present content relates to the grant.
pub(super) fn seed_standing(world: &World, client: &str) -> SeedStanding {
    let Known::Yes(fingerprint) = seed(world) else {
        return SeedStanding::Unusable;
    };
    let Some(record) = record(world) else {
        return SeedStanding::New;
    };
    match record.seeds.verdict(fingerprint, client) {
        None => SeedStanding::New,
        Some(Verdict::Refused) => SeedStanding::Refused,
        Some(Verdict::Taken) => {
            let last = record.seeds.0.iter().rev().find(|line| line.verdict == Verdict::Taken);
            if last.is_some_and(|line| line.fingerprint == *fingerprint) {
                SeedStanding::InUse
            } else {
                SeedStanding::Earlier
            }
        }
    }
}

/// Whether what the watch shows of the grant Secret contradicts the status, so that it must be asked for before anything is concluded.
fn needs_confirmation(world: &World, plan: &Plan) -> bool {
    world.grant_sight == Sight::Cached && rotates(world, plan) && newest_stored(world) < shown_generation(world)
}

/// A grant Secret that is older than the status says came back from a backup: its refresh token is spent. It is tried once, when no valid token is published
/// any more (design section 3).
fn restored_backup(world: &World, plan: &Plan, now: Timestamp) -> Option<Timestamp> {
    let older = rotates(world, plan) && newest_stored(world) < shown_generation(world);
    older.then(|| published_end(world).unwrap_or(now))
}

/// The grant Secret is gone and the seed in sight is the one it grew from: it is probably spent.
fn seed_may_be_spent(world: &World, plan: &Plan) -> bool {
    if !rotates(world, plan) || shown_generation(world) == Generation::default() {
        return false;
    }
    let grown_from = world.token.ours().and_then(|token| token.record.inputs.seed.as_ref());
    match (grown_from, seed(world)) {
        (Some((_, grown_from)), Known::Yes(seed)) => grown_from == seed,
        _ => true,
    }
}

fn published_end(world: &World) -> Option<Timestamp> {
    world
        .token
        .ours()
        .and_then(|token| token.record.lifetime)
        .map(|lifetime| lifetime.expires)
}

/// A strictly rotating refresh token whose answer was lost waits (invariant 2). Where the old one stays good there is nothing to wait for.
fn after_unknown(world: &World, plan: &Plan, source: &Source, now: Timestamp) -> Option<Timestamp> {
    let tried = unanswered(world, source)?;
    let published = world.token.ours().and_then(|token| token.record.lifetime);
    (plan.rotation != Rotation::Soft)
        .then(|| schedule::retry_after_unknown(tried.since, plan.reuse_grace, published.as_ref(), now))
}

fn unanswered<'a>(world: &'a World, source: &Source) -> Option<&'a Unanswered> {
    world.grant.ours().and_then(|grant| grant.unanswered.of(source))
}

/// Whether a refusal would mean that an answer was lost.
fn history(world: &World, plan: &Plan, source: &Source) -> History {
    let lost = match source {
        Source::Grant => newest_stored(world) < shown_generation(world),
        Source::Seed(_) => matches!(world.grant, Slot::Free) && seed_may_be_spent(world, plan),
    };
    let lost = lost && rotates(world, plan);
    if lost || unanswered(world, source).is_some() {
        History::AnswerLost
    } else {
        History::Clean
    }
}

/// Until when a failure forbids the next try. A change of the spec or an input ends it at once, and so does a request, except where the provider itself asked for
/// patience (invariant 8).
fn backoff_end(world: &World) -> Option<Timestamp> {
    let failure = world.status.failure.as_ref()?;
    let end = failure.next_attempt_time.as_ref()?.0;
    let throttled = failure_reason(world) == Some(Reason::Throttled);
    let changed = world
        .failed_under
        .as_ref()
        .is_some_and(|then| *then != world.circumstances())
        || world
            .status
            .observed_generation
            .is_some_and(|seen| seen >= 0 && seen != world.asset_generation);
    let lifted = !throttled && (changed || refresh_requested(world));
    (!lifted).then_some(end)
}

fn failure_reason(world: &World) -> Option<Reason> {
    world.status.failure.as_ref()?.reason.as_deref().and_then(Reason::parse)
}

/// Remembers the editions that were looked at, where a Secret of ours is there to hold them: the next start then reads nothing.
fn record_inputs(world: &World) -> Option<Decision> {
    let noted = &record(world)?.inputs;
    let known = inputs_now(world, noted);
    (known != *noted).then(|| Decision::step(Step::RecordInputs, Standing::Fine))
}

/// What is known of the inputs now; an input that is gone or unusable leaves what was noted.
#[must_use]
pub fn inputs_now(world: &World, noted: &super::world::InputsSeen) -> super::world::InputsSeen {
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
    match published_end(world) {
        Some(end) if end > now => decision.waking(end),
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
    let new_seed =
        matches!(seed_standing(world, client), SeedStanding::New) || candidate(world, plan, client).is_some();
    if let Some(bound) = record(world).and_then(|record| record.binding.as_ref())
        && *bound != binding_to(plan, client)
        && !(new_seed && may_try(world))
    {
        return Standing::ClientChanged(bound.clone());
    }
    if report::grant_is_dead(&world.status) && !new_seed {
        return Standing::GrantRefused;
    }
    match seed(world) {
        Known::Unusable(message) if living_grant(world, plan, client).is_none() => {
            return Standing::SeedRequired(message.to_owned());
        }
        _ => {}
    }
    let seed = seed_standing(world, client);
    let spent = matches!(
        seed,
        SeedStanding::Refused | SeedStanding::Earlier | SeedStanding::InUse
    );
    if spent && living_grant(world, plan, client).is_none() && !new_seed {
        return Standing::SeedRequired(messages::seed_was_refused(&plan.names));
    }
    if world.status.failure.is_some() {
        return Standing::Failing;
    }
    if seed == SeedStanding::Refused {
        Standing::SeedRejected
    } else {
        Standing::Fine
    }
}

fn may_try(world: &World) -> bool {
    world.activity == Activity::Active
}

/// What is known of an input without reading its Secret again.
pub(super) enum Known<'a, T: ?Sized> {
    /// Known, from this pass or from the last time this edition was read.
    Yes(&'a T),
    /// This edition was not read yet.
    Unread,
    /// Not there or not usable, and why.
    Unusable(&'a str),
}

/// The client ID, as far as it is known.
pub(super) fn client_id(world: &World) -> Known<'_, str> {
    match &world.client {
        Input::NotNeeded(id) | Input::Read(_, id) => Known::Yes(id),
        Input::Unusable(message) => Known::Unusable(message),
        Input::Unread(version) => match record(world).and_then(|record| record.inputs.client.as_ref()) {
            Some((seen, id)) if seen == version => Known::Yes(id),
            _ => Known::Unread,
        },
    }
}

/// The seed's fingerprint, as far as it is known.
pub(super) fn seed(world: &World) -> Known<'_, Fingerprint> {
    match &world.seed {
        Input::NotNeeded(fingerprint) | Input::Read(_, fingerprint) => Known::Yes(fingerprint),
        Input::Unusable(message) => Known::Unusable(message),
        Input::Unread(version) => match record(world).and_then(|record| record.inputs.seed.as_ref()) {
            Some((seen, fingerprint)) if seen == version => Known::Yes(fingerprint),
            _ => Known::Unread,
        },
    }
}

/// The Secret of ours that holds the grant's record: the grant Secret, else the token Secret, else the token Secret of an earlier name.
pub(super) fn record(world: &World) -> Option<&Record> {
    let grant = world.grant.ours().map(|grant| &grant.record);
    let token = world.token.ours().or(world.renamed.as_ref()).map(|token| &token.record);
    grant.or(token)
}

/// Whether attempts are recorded: the provider rotates or might, or a grant Secret exists because it once did.
pub(super) fn rotates(world: &World, plan: &Plan) -> bool {
    plan.rotation != Rotation::None || matches!(world.grant, Slot::Ours(_))
}

/// Whether the grant is known to belong to another client or endpoint.
fn bound_elsewhere(world: &World, plan: &Plan) -> bool {
    let binding = record(world).and_then(|record| record.binding.as_ref());
    match (binding, client_id(world)) {
        (Some(binding), Known::Yes(id)) => *binding != binding_to(plan, id),
        (Some(binding), _) => binding.token_endpoint != plan.token_endpoint,
        _ => false,
    }
}

/// Whether the published token is valid and was obtained under the current binding.
pub(super) fn published(world: &World, plan: &Plan, now: Timestamp) -> bool {
    let valid = world
        .token
        .ours()
        .and_then(|token| token.record.lifetime)
        .is_some_and(|life| life.is_valid(now));
    valid && !bound_elsewhere(world, plan)
}

fn binding_to(plan: &Plan, client: &str) -> Binding {
    Binding {
        token_endpoint: plan.token_endpoint.clone(),
        client_id: client.to_owned(),
    }
}

/// Stored answers as the Secret that holds the grant knows them: the grant Secret, or the token Secret if it keeps the ledger of seeds.
fn newest_stored(world: &World) -> Generation {
    let keeps_ledger = |record: &&Record| world.grant.ours().is_some() || !record.seeds.0.is_empty();
    record(world)
        .filter(keeps_ledger)
        .map(|record| record.generation)
        .unwrap_or_default()
}

/// Stored answers as the status knows them.
fn shown_generation(world: &World) -> Generation {
    let shown = world
        .status
        .grant
        .as_ref()
        .and_then(|grant| grant.generation)
        .unwrap_or_default();
    Generation(u64::try_from(shown).unwrap_or_default())
}

/// The generation to redeem from: it never falls, whatever was lost or restored (invariant 1).
fn newest_generation(world: &World) -> Generation {
    let stored = record(world).map(|record| record.generation).unwrap_or_default();
    stored.max(shown_generation(world))
}

/// Whether somebody asked for a refresh and has not been answered.
pub(super) fn refresh_requested(world: &World) -> bool {
    let handled = world
        .status
        .handled_requests
        .as_ref()
        .and_then(|handled| handled.refresh.as_ref());
    world.refresh_request.is_some() && world.refresh_request.as_ref() != handled
}

impl World {
    /// What the next try depends on.
    #[must_use]
    pub fn circumstances(&self) -> super::world::Circumstances {
        super::world::Circumstances {
            asset_generation: self.asset_generation,
            client: version(&self.client),
            seed: version(&self.seed),
        }
    }
}

fn version<T>(input: &Input<T>) -> Option<super::world::InputVersion> {
    match input {
        Input::Unread(version) | Input::Read(version, _) => Some(version.clone()),
        Input::NotNeeded(_) | Input::Unusable(_) => None,
    }
}
