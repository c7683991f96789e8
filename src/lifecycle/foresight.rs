//! When a grant will end by itself, and what is done before that.
//!
//! A grant ends by itself when its refresh token does (the provider says when, or the catalogue knows how long they live), and when it is not used for too long.
//! The first cannot be helped: somebody must act, and is told in time. The second is what refreshes are for; it is told where none are made.

use jiff::{SignedDuration, Timestamp};

use super::{
    facts, messages, schedule,
    world::{Activity, EndToldBy, GrantEnd, Lifetime, Plan, Record, World},
};
use crate::api::Rotation;

/// So long before the end at most, people are told.
const LONGEST_NOTICE: SignedDuration = SignedDuration::from_hours(3 * 24);
/// Two answers may name the same moment this far apart: seconds are counted from an answer's arrival.
const SAME_MOMENT: SignedDuration = SignedDuration::from_mins(1);
/// Seconds and time zones of a provider's days.
const ABOUT: SignedDuration = SignedDuration::from_hours(1);

/// What an answer says of the end of the refresh token that is in use from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stated {
    /// It has none.
    Never,
    /// So long after the answer.
    In(SignedDuration),
}

/// What an answer, and the catalogue, tell about the refresh token that is in use from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct News {
    /// What the answer says.
    pub stated: Option<Stated>,
    /// What is known of the age of that refresh token.
    pub token: TokenAge,
    /// How long refresh tokens of this provider live.
    pub known: Option<SignedDuration>,
}

/// What is known of the age of a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenAge {
    /// The answer brought it.
    New,
    /// It was redeemed before.
    Kept,
    /// It comes from a seed: nobody knows when it was given.
    Unknown,
}

/// When the refresh token that is in use after an answer ends. What it says of a moment that was named before is no news: that keeps the Secrets as they are.
#[must_use]
pub fn end_after(before: Option<&GrantEnd>, news: News, now: Timestamp) -> Option<GrantEnd> {
    let from_now = |life, told_by| GrantEnd {
        at: schedule::ahead(now, life),
        since: now,
        told_by,
    };
    let before = before.filter(|_| news.token != TokenAge::Unknown);
    match (news.stated, news.token) {
        (Some(Stated::Never), _) => None,
        (Some(Stated::In(life)), _) => {
            let stated = from_now(life, EndToldBy::Provider);
            let same = |known: &&GrantEnd| {
                known.told_by == EndToldBy::Provider && known.at.duration_since(stated.at).abs() <= SAME_MOMENT
            };
            Some(before.filter(same).cloned().unwrap_or(stated))
        }
        (None, TokenAge::New) => news.known.map(|life| from_now(life, EndToldBy::Catalogue)),
        (None, TokenAge::Kept | TokenAge::Unknown) => before.cloned(),
    }
}

/// Why a grant will end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The provider says so.
    Stated,
    /// The provider says so, and each refresh moves it.
    Slides,
    /// The provider says so, and it is the time that it gives to apps in testing.
    Testing(SignedDuration),
    /// Refresh tokens of this provider live no longer.
    Lifetime(SignedDuration),
    /// It is not used for so long.
    Idle(SignedDuration),
}

/// An end that is in sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) at: Timestamp,
    /// From when on people are told: three days before, or with a quarter of the time left.
    pub(super) notice: Timestamp,
    pub(super) why: Why,
}

impl End {
    fn of(since: Timestamp, at: Timestamp, why: Why) -> Self {
        let life = at.duration_since(since).max(SignedDuration::ZERO);
        Self {
            at,
            notice: schedule::back(at, LONGEST_NOTICE.min(life / 4)),
            why,
        }
    }
}

/// When the grant in use ends by itself, as far as that is known. Idleness counts where no refresh is to be expected: it is suspended, or none has worked for so
/// long that it is time to tell.
pub(super) fn end(world: &World, plan: &Plan, now: Timestamp) -> Option<End> {
    let (own, idle) = ends(world, plan);
    let idle = idle.filter(|idle| world.activity == Activity::Suspended || idle.notice <= now);
    own.into_iter().chain(idle).min_by_key(|end| end.at)
}

/// When this room has something new to say.
pub(super) fn wake(world: &World, plan: &Plan, now: Timestamp) -> Option<Timestamp> {
    let (own, idle) = ends(world, plan);
    let moments = own.into_iter().chain(idle).flat_map(|end| [end.notice, end.at]);
    moments.filter(|moment| *moment > now).min()
}

/// What people should know of the end, if it is time to tell.
pub(super) fn notice(world: &World, plan: &Plan, now: Timestamp) -> Option<String> {
    let end = end(world, plan, now).filter(|end| end.notice <= now)?;
    Some(messages::grant_ends(&end, world.activity, now, &plan.names))
}

/// The end of the refresh token itself, and the one that comes of not using it.
fn ends(world: &World, plan: &Plan) -> (Option<End>, Option<End>) {
    let lives = !plan.is_direct() && facts::had_token(world, plan) && !facts::grant_is_dead(world);
    let record = facts::record(world).filter(|_| lives);
    let Some(record) = record else { return (None, None) };
    let own = record
        .ends
        .as_ref()
        .map(|ends| End::of(ends.since, ends.at, why(ends, record, plan)));
    let idle = plan.limits.max_idle.zip(record.lifetime).map(|(most, token)| {
        let at = schedule::ahead(token.issued, most);
        End::of(token.issued, at, Why::Idle(most))
    });
    (own, idle)
}

fn why(ends: &GrantEnd, record: &Record, plan: &Plan) -> Why {
    let life = ends.at.duration_since(ends.since);
    let testing = plan.limits.while_testing.filter(|testing| {
        let latest = record.granted.map(|granted| schedule::ahead(granted, *testing));
        latest.is_some_and(|latest| ends.at <= schedule::ahead(latest, ABOUT))
    });
    match (ends.told_by, testing) {
        (EndToldBy::Catalogue, _) => Why::Lifetime(life),
        (EndToldBy::Provider, Some(testing)) => Why::Testing(testing),
        (EndToldBy::Provider, None) if slides(ends, record.lifetime.as_ref(), plan) => Why::Slides,
        (EndToldBy::Provider, None) => Why::Stated,
    }
}

/// Whether the next refresh is likely to bring a later end: the last one did, or there was only one.
fn slides(ends: &GrantEnd, token: Option<&Lifetime>, plan: &Plan) -> bool {
    plan.rotation != Rotation::None && token.is_some_and(|token| token.issued == ends.since)
}

/// When a token is replaced: when [`schedule::due`] says, and sooner where the refresh token would end or grow old before that.
pub(super) fn due(token: &Lifetime, ends: Option<&GrantEnd>, plan: &Plan, jitter: f64) -> Timestamp {
    let due = schedule::due(token, plan.renew_before, jitter);
    // Months: no provider can make us loop by it, whatever its access tokens live (invariant 3).
    let keep_alive = plan.limits.keep_alive.filter(|_| !plan.is_direct());
    let by_keep_alive =
        keep_alive.map(|most| schedule::ahead(token.issued, most - (most / 10).mul_f64(jitter.clamp(0.0, 1.0))));
    let before_end = ends.filter(|ends| slides(ends, Some(token), plan)).map(|ends| {
        let half = schedule::ahead(ends.since, ends.at.duration_since(ends.since) / 2);
        half.max(schedule::earliest(token))
    });
    by_keep_alive.into_iter().chain(before_end).fold(due, Timestamp::min)
}
