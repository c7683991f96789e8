//! What follows from a [`World`] at once, whatever the time is: which Secret holds the grant's record, which client and seed are in sight, and how the seed
//! relates to the grant.
//!
//! Both halves of this room ask here: [`mod@super::decide`] before it acts and [`super::report`] before it speaks, so that an asset never does one thing and says
//! another.

use jiff::Timestamp;

use super::{
    report,
    world::{
        Account, Binding, Fingerprint, Generation, GrantSecret, History, Input, Lifetime, Plan, Record, Slot, Source,
        Unanswered, Upkeep, Verdict, World,
    },
};
use crate::api::{Reason, Rotation};

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
        Input::Unnamed => Known::Unusable(""),
        Input::Unread(version) => match record(world).and_then(|record| record.inputs.client.as_ref()) {
            Some((seen, id)) if seen == version => Known::Yes(id),
            _ => Known::Unread,
        },
    }
}

/// The client ID, if it is known without reading its Secret again.
#[must_use]
pub fn known_client(world: &World) -> Option<&str> {
    match client_id(world) {
        Known::Yes(id) => Some(id),
        Known::Unread | Known::Unusable(_) => None,
    }
}

/// The seed's fingerprint, as far as it is known.
pub(super) fn seed(world: &World) -> Known<'_, Fingerprint> {
    match &world.seed {
        Input::NotNeeded(fingerprint) | Input::Read(_, fingerprint) => Known::Yes(fingerprint),
        Input::Unusable(message) => Known::Unusable(message),
        Input::Unnamed => Known::Unusable(""),
        Input::Unread(version) => match record(world).and_then(|record| record.inputs.seed.as_ref()) {
            Some((seen, fingerprint)) if seen == version => Known::Yes(fingerprint),
            _ => Known::Unread,
        },
    }
}

/// Which of our Secrets holds the grant's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// The grant Secret.
    Grant,
    /// The token Secret.
    Token,
    /// The token Secret of an earlier name.
    Renamed,
}

/// Which of our Secrets holds the grant's record, if any does: the grant Secret, else the newest token Secret. Where the grant Secret is left alone by refreshes,
/// the newest of all.
#[must_use]
pub fn holder(world: &World) -> Option<Holder> {
    if world.grant.ours().is_some() && !grant_stands(world) {
        return Some(Holder::Grant);
    }
    // Of two with the same generation the last counts.
    [Holder::Renamed, Holder::Token, Holder::Grant]
        .into_iter()
        .filter_map(|holder| Some((holder, record_of(world, holder)?.generation)))
        .max_by_key(|(_, generation)| *generation)
        .map(|(holder, _)| holder)
}

/// Whether routine refreshes leave the grant Secret alone. One that came from a sign-in and is now to grow from a seed is written again: it keeps the ledger.
fn grant_stands(world: &World) -> bool {
    let signed_in = world.plan.as_ref().is_ok_and(Plan::begins_with_sign_in);
    let stands = |grant: &GrantSecret| grant.record.upkeep == Upkeep::Standing;
    signed_in && world.grant.ours().is_some_and(stands)
}

fn record_of(world: &World, holder: Holder) -> Option<&Record> {
    match holder {
        Holder::Grant => world.grant.ours().map(|grant| &grant.record),
        Holder::Token => world.token.ours().map(|token| &token.record),
        Holder::Renamed => world.renamed.as_ref().map(|token| &token.record),
    }
}

/// The annotations that hold the grant's record.
#[must_use]
pub fn record(world: &World) -> Option<&Record> {
    record_of(world, holder(world)?)
}

/// Who signed in for the grant that is stored.
pub(super) fn account(world: &World) -> Option<&Account> {
    world.grant.ours().and_then(|grant| grant.record.account.as_ref())
}

/// When the grant was given that is stored, if the status does not know of it yet: whatever it says of the end of a grant is about an earlier one.
pub(super) fn signed_in_since(world: &World) -> bool {
    let Some(granted) = world.grant.ours().and_then(|grant| grant.record.granted) else {
        return false;
    };
    let shown = world.status.grant.as_ref().and_then(|grant| grant.grant_time.as_ref());
    shown != Some(&report::whole_second(granted)) && account(world).is_some()
}

/// Whether the provider has refused the grant that is at hand.
pub(super) fn grant_is_dead(world: &World) -> bool {
    report::grant_is_dead(&world.status) && !signed_in_since(world) && !is_direct(world)
}

/// What the record of a grant Secret begins with that is made for a first attempt. A token Secret that holds the ledger of seeds hands its record over: without
/// that, a seed whose provider has begun to rotate would look new once it was spent, and sending it again could kill the grant that grew from it.
#[must_use]
pub fn record_to_begin_with(world: &World) -> Record {
    let holder = record(world).filter(|record| !record.seeds.0.is_empty());
    Record {
        generation: newest_generation(world),
        ..holder.cloned().unwrap_or_default()
    }
}

/// Whether attempts are recorded: the provider rotates or might, or it did once, which is why a grant Secret exists or has existed.
pub(super) fn rotates(world: &World, plan: &Plan) -> bool {
    if plan.is_direct() {
        return false;
    }
    plan.rotation != Rotation::None
        || match world.grant.ours() {
            Some(_) => !grant_stands(world),
            None => grant_secret_existed(world),
        }
}

/// A token Secret whose ledger of seeds is empty has left it to a grant Secret.
fn grant_secret_existed(world: &World) -> bool {
    record(world).is_some_and(|record| record.binding.is_some() && record.seeds.0.is_empty())
}

/// What a grant would belong to that is redeemed now.
pub(super) fn binding_to(plan: &Plan, client: &str) -> Binding {
    Binding {
        token_endpoint: plan.token_endpoint.clone(),
        client_id: client.to_owned(),
        question: plan.question.clone(),
    }
}

/// Whether tokens are issued without a refresh token.
fn is_direct(world: &World) -> bool {
    world.plan.as_ref().is_ok_and(Plan::is_direct)
}

/// Whether the very question that is asked now was answered with a token before.
#[must_use]
pub fn was_issued(world: &World) -> bool {
    let (Ok(plan), Some(client)) = (&world.plan, known_client(world)) else {
        return false;
    };
    plan.is_direct() && issued(world, plan, client).is_some()
}

/// The newest token that was issued without a refresh token, if it answers what is asked for now. A token whose lifetime is not known counts as ended.
pub(super) fn issued(world: &World, plan: &Plan, client: &str) -> Option<Lifetime> {
    let record = record(world).filter(|record| record.binding.as_ref() == Some(&binding_to(plan, client)))?;
    record.lifetime
}

/// What the grant belongs to; none before the first success.
pub(super) fn binding(world: &World) -> Option<&Binding> {
    record(world).and_then(|record| record.binding.as_ref())
}

/// Whether the grant is known to belong to another client or endpoint.
pub(super) fn bound_elsewhere(world: &World, plan: &Plan) -> bool {
    match (binding(world), client_id(world)) {
        (Some(binding), Known::Yes(id)) => *binding != binding_to(plan, id),
        (Some(binding), _) => binding.token_endpoint != plan.token_endpoint,
        _ => false,
    }
}

/// Whether a token was ever obtained under the present client and endpoint.
pub(super) fn had_token(world: &World, plan: &Plan) -> bool {
    binding(world).is_some() && !bound_elsewhere(world, plan)
}

/// The lifetime of the token that consumers see.
pub(super) fn published(world: &World) -> Option<Lifetime> {
    world.token.ours().and_then(|token| token.record.lifetime)
}

/// How the seed Secret's present content relates to the grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SeedStanding {
    /// It is not there or cannot be used.
    Unusable,
    /// Not settled yet: not sent, or sent without an answer.
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

/// The seed to redeem as a candidate: one that was not settled before, or one whose refusal would cost nothing.
pub(super) fn candidate<'a>(world: &'a World, plan: &Plan, client: &str) -> Option<&'a Fingerprint> {
    let Known::Yes(fingerprint) = seed(world) else {
        return None;
    };
    match seed_standing(world, client) {
        SeedStanding::New => Some(fingerprint),
        // Where nothing rotates, an earlier seed that once worked may come back (a `git revert`): nothing can be killed by sending it.
        SeedStanding::Earlier => {
            let bound = binding(world) == Some(&binding_to(plan, client));
            (bound && !rotates(world, plan)).then_some(fingerprint)
        }
        SeedStanding::Unusable | SeedStanding::InUse | SeedStanding::Refused => None,
    }
}

/// The newest token of a grant that may be redeemed again: it belongs to this client and endpoint, the provider has not refused it, and its refresh token is
/// at hand. A token whose lifetime is not known (somebody took the annotation or the token away) counts as ended long ago.
pub(super) fn living_grant(world: &World, plan: &Plan, client: &str) -> Option<Lifetime> {
    let record = record(world)?;
    let bound = record.binding.as_ref() == Some(&binding_to(plan, client));
    let at_hand = world.grant.ours().is_some() || seed_standing(world, client) == SeedStanding::InUse;
    if bound && at_hand && !grant_is_dead(world) {
        Some(record.lifetime.unwrap_or(Lifetime {
            issued: Timestamp::UNIX_EPOCH,
            expires: Timestamp::UNIX_EPOCH,
        }))
    } else {
        None
    }
}

/// Whether a grant goes on whatever becomes of a candidate: one is stored, under the present client and endpoint, and the provider has not refused it.
#[must_use]
pub fn grant_lives(world: &World) -> bool {
    let (Ok(plan), Known::Yes(client)) = (&world.plan, client_id(world)) else {
        return false;
    };
    living_grant(world, plan, client).is_some()
}

/// Whether one more unanswered try with this refresh token settles it as refused. A candidate is retried once while another grant goes on; without one it is
/// tried until the provider answers, since an unknown outcome alone never asks a person to act (invariant 2).
#[must_use]
pub fn gives_up(world: &World, source: &Source) -> bool {
    matches!(source, Source::Seed(_)) && unanswered(world, source).is_some() && grant_lives(world)
}

/// The tries with this refresh token that went unanswered.
pub(super) fn unanswered<'a>(world: &'a World, source: &Source) -> Option<&'a Unanswered> {
    world.grant.ours().and_then(|grant| grant.unanswered.of(source))
}

/// Whether the grant Secret is missing or older than the status says, where refresh tokens are replaced: it was deleted, or came back from a backup, and the
/// refresh token at hand is probably spent.
pub(super) fn grant_is_behind(world: &World, plan: &Plan) -> bool {
    rotates(world, plan) && newest_stored(world) < newest_generation(world)
}

/// The newest grant is not at hand, and the seed in sight is the one it grew from: it is probably spent.
pub(super) fn seed_may_be_spent(world: &World, plan: &Plan) -> bool {
    if !grant_is_behind(world, plan) {
        return false;
    }
    let grown_from = world.token.ours().and_then(|token| token.record.inputs.seed.as_ref());
    match (grown_from, seed(world)) {
        (Some((_, grown_from)), Known::Yes(seed)) => grown_from == seed,
        _ => true,
    }
}

/// What a refusal of this refresh token would mean.
pub(super) fn history(world: &World, plan: &Plan, source: &Source) -> History {
    let behind = match source {
        Source::Grant => grant_is_behind(world, plan),
        Source::Seed(_) => seed_may_be_spent(world, plan),
        Source::Client => false,
    };
    if behind || unanswered(world, source).is_some() {
        History::AnswerLost
    } else {
        History::Clean
    }
}

/// Stored answers as the Secret that holds the grant knows them: the grant Secret, or the token Secret if it keeps the ledger of seeds.
pub(super) fn newest_stored(world: &World) -> Generation {
    let holds_grant = |record: &&Record| world.grant.ours().is_some() || !record.seeds.0.is_empty();
    record(world)
        .filter(holds_grant)
        .map(|record| record.generation)
        .unwrap_or_default()
}

/// The newest generation that left a trace anywhere: the one to redeem from, for it never falls, whatever was lost or restored (invariant 1).
#[must_use]
pub fn newest_generation(world: &World) -> Generation {
    let shown = world.status.grant.as_ref().and_then(|grant| grant.generation);
    // The status counts the answers of a grant; a token without one has its own count.
    let shown = shown.filter(|_| !is_direct(world)).unwrap_or_default();
    let shown = Generation(u64::try_from(shown).unwrap_or_default());
    let grant = world.grant.ours().map(|grant| &grant.record);
    let tokens = world.token.ours().into_iter().chain(&world.renamed);
    let stored = tokens.map(|token| &token.record).chain(grant);
    stored.fold(shown, |newest, record| newest.max(record.generation))
}

/// Whether no grant Secret is there though one is needed, so that nothing can be remembered in its place.
pub(super) fn record_has_no_holder(world: &World, plan: &Plan) -> bool {
    matches!(world.grant, Slot::Free) && grant_is_behind(world, plan)
}

/// Why the last try failed; none: it worked, or nothing was tried.
pub(super) fn failure_reason(world: &World) -> Option<Reason> {
    let failure = world.status.failure.as_ref()?;
    Some(
        failure
            .reason
            .as_deref()
            .and_then(Reason::parse)
            .unwrap_or(Reason::Retrying),
    )
}

/// Whether the failure is about a seed that is not in sight any more. `SeedRejected` is shown until the seed changes (design section 3).
pub(super) fn failure_is_history(world: &World) -> bool {
    let Known::Yes(client) = client_id(world) else {
        return false;
    };
    failure_reason(world) == Some(Reason::SeedRejected)
        && !matches!(seed_standing(world, client), SeedStanding::New | SeedStanding::Refused)
}

/// Whether somebody asked for a refresh and has not been answered.
pub(super) fn refresh_requested(world: &World) -> bool {
    let handled = world
        .status
        .handled_requests
        .as_ref()
        .and_then(|handled| handled.refresh.as_ref());
    world.refresh_request.is_some() && world.refresh_request.as_ref() != handled && !request_is_met(world)
}

/// Whether the newest answer met the request, whatever the status says of it: that may have failed to be written (invariant 9).
pub(super) fn request_is_met(world: &World) -> bool {
    let met = record(world).and_then(|record| record.request.as_ref());
    met.is_some() && met == world.refresh_request.as_ref()
}
