//! When a token is replaced, and when a failed try is repeated.
//!
//! Times only: what is done at these times is chosen in [`mod@super::decide`]. Refreshes are spread by a jitter that is stable for each asset, so that a thousand
//! tokens of one hour are not all due in the same minute, and a restart does not move anybody's turn (invariant 3).

use jiff::{SignedDuration, Timestamp};

use super::world::{Lifetime, Unanswered};

/// Exchange refuses tokens near their end, and a mounted Secret reaches a pod a minute or two late: consumers get at least this much, where the token lives
/// long enough.
const LATEST: SignedDuration = SignedDuration::from_mins(10);
/// No refresh so soon after a success: a provider that hands out the same token again cannot make us loop.
pub(super) const SHORTEST_GAP: SignedDuration = SignedDuration::from_secs(30);
/// A strictly rotating grant whose last answer was lost is tried again this long before the published token ends (invariant 2).
const LAST_CHANCE: SignedDuration = SignedDuration::from_mins(5);
/// A request that was given up is served or gone after this long, with the connection that carried it; a retry before that could overlap it (invariant 2, rule
/// 10 of `docs/protocol.md`).
const ON_THE_WIRE: SignedDuration = SignedDuration::from_secs(60);

/// When a token is replaced: when [`renewal_time`] says, but not so soon after it was issued that a provider which returns the same token could make us loop
/// (a third of its life, at least 30 seconds).
#[must_use]
pub(super) fn due(lifetime: &Lifetime, wish: Option<SignedDuration>, jitter: f64) -> Timestamp {
    renewal_time(lifetime, wish, jitter).max(earliest(lifetime))
}

/// Not before this is a token replaced, unless somebody asks (invariant 3).
#[must_use]
pub(super) fn earliest(lifetime: &Lifetime) -> Timestamp {
    ahead(lifetime.issued, (lifetime.length() / 3).max(SHORTEST_GAP))
}

/// When a token should be replaced: with a third of its life left or as `spec.renewBefore` wishes, not later than 10 minutes before its end, never in the first
/// half of its life, and up to a tenth of its life earlier by jitter (`0.0..1.0`).
#[must_use]
pub fn renewal_time(lifetime: &Lifetime, wish: Option<SignedDuration>, jitter: f64) -> Timestamp {
    let life = lifetime.length();
    let wish = wish.unwrap_or(life / 3).max(SignedDuration::ZERO);
    let wanted = if LATEST <= life / 2 { wish.max(LATEST) } else { wish };
    let spread = (life / 10).mul_f64(jitter.clamp(0.0, 1.0));
    let before = wanted.saturating_add(spread).min(life / 2);
    back(lifetime.expires, before)
}

/// When a strictly rotating grant whose last answer was lost may be sent again: once, 5 minutes before the published token ends; if that goes unanswered too, not
/// before the token has ended. Where no valid token is left to lose, when [`off_the_wire`] says.
#[must_use]
pub(super) fn retry_after_unknown(
    tried: &Unanswered,
    reuse_grace: Option<SignedDuration>,
    published: Option<&Lifetime>,
    now: Timestamp,
) -> Timestamp {
    if within_grace(tried, reuse_grace, now) {
        return now;
    }
    let patient = match published {
        Some(token) if token.is_valid(now) && tried.times > 1 => token.expires,
        Some(token) if token.is_valid(now) => back(token.expires, LAST_CHANCE),
        _ => now,
    };
    patient.max(off_the_wire(tried, reuse_grace, now))
}

/// From when on a try that went unanswered cannot overlap the next one: at once where the server is known to answer a spent refresh token for a while, else a
/// minute after it was given up.
#[must_use]
pub(super) fn off_the_wire(tried: &Unanswered, reuse_grace: Option<SignedDuration>, now: Timestamp) -> Timestamp {
    if within_grace(tried, reuse_grace, now) {
        now
    } else {
        ahead(tried.since, ON_THE_WIRE)
    }
}

fn within_grace(tried: &Unanswered, reuse_grace: Option<SignedDuration>, now: Timestamp) -> bool {
    reuse_grace.is_some_and(|grace| now < ahead(tried.since, grace))
}

/// How long to wait after the nth failure in a row (1 is the first). `roll` in `0.0..1.0` spreads the retries of many assets.
#[must_use]
pub fn backoff(pace: Pace, count: i64, roll: f64) -> SignedDuration {
    let doublings = u32::try_from(count.saturating_sub(1).clamp(0, 16)).unwrap_or_default();
    let ceiling = pace.first().saturating_mul(1_i32 << doublings).min(pace.longest());
    // Between half and the whole: "full jitter" would sometimes hammer, and a fixed delay would keep assets in step.
    ceiling
        .mul_f64(0.5 + 0.5 * roll.clamp(0.0, 1.0))
        .max(SignedDuration::from_secs(1))
}

/// How patiently a kind of failure is retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Trouble that passes by itself: 5 seconds doubling to 5 minutes.
    Soon,
    /// The provider asks for fewer requests: a minute doubling to 10, unless it names a time.
    Throttled,
    /// An admin must act, perhaps out of our sight: 15 minutes doubling to an hour.
    Slow,
}

impl Pace {
    const fn first(self) -> SignedDuration {
        match self {
            Self::Soon => SignedDuration::from_secs(5),
            Self::Throttled => SignedDuration::from_mins(1),
            Self::Slow => SignedDuration::from_mins(15),
        }
    }

    const fn longest(self) -> SignedDuration {
        match self {
            Self::Soon => SignedDuration::from_mins(5),
            Self::Throttled => SignedDuration::from_mins(10),
            Self::Slow => SignedDuration::from_hours(1),
        }
    }
}

/// A moment later; the end of time where that does not exist.
pub(super) fn ahead(moment: Timestamp, by: SignedDuration) -> Timestamp {
    moment.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// A moment earlier; the beginning of time where that does not exist.
pub(super) fn back(moment: Timestamp, by: SignedDuration) -> Timestamp {
    moment.checked_sub(by).unwrap_or(Timestamp::MIN)
}
