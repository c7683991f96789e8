//! When tokens are replaced and tries repeated (invariants 3 and 8).

use jiff::{SignedDuration, Timestamp};

use super::{
    play::{Answer, Life},
    worlds::{failure, lifetime, minute, start, version},
};
use crate::{
    api::{FailureClass, Reason},
    lifecycle::{
        Failure, Input, Lifetime, Pace, Step, World, backoff, decide, note_failure, renewal_time, schedule::due,
    },
};

fn token(seconds: i64) -> Lifetime {
    Lifetime {
        issued: start(),
        expires: start() + SignedDuration::from_secs(seconds),
    }
}

/// Seconds after issue at which a token of so many seconds is replaced.
fn replaced_after(seconds: i64, wish: Option<i64>, jitter: f64) -> i64 {
    let at = due(&token(seconds), wish.map(SignedDuration::from_secs), jitter);
    at.duration_since(start()).as_secs()
}

#[rustfmt::skip]
const REPLACED: &[(i64, Option<i64>, f64, i64)] = &[
    // life, wish, jitter, replaced after
    (3600,  None,       0.0, 2400),   // a third is left
    (3600,  None,       1.0, 2040),   // up to a tenth earlier
    (3600,  Some(0),    0.0, 3000),   // never later than 10 minutes before the end
    (3600,  Some(1200), 0.0, 2400),
    (3600,  Some(3500), 0.0, 1800),   // never in the first half
    (3600,  Some(3500), 1.0, 1800),
    (3600,  Some(-60),  0.0, 3000),
    (1200,  None,       0.0, 600),    // 10 minutes are half of it
    (300,   None,       0.0, 200),    // no room for 10 minutes
    (60,    None,       0.0, 40),
    (45,    None,       1.0, 30),
    (20,    None,       0.0, 30),     // not within 30 seconds
    (0,     None,       0.0, 30),
    (-5,    None,       0.5, 30),     // ended before it began
    (86400, None,       0.0, 57600),
];

#[test]
fn a_token_is_replaced_with_a_third_of_its_life_left_within_limits() {
    for (life, wish, jitter, expected) in REPLACED {
        assert_eq!(
            replaced_after(*life, *wish, *jitter),
            *expected,
            "{life} {wish:?} {jitter}"
        );
    }
}

#[test]
fn absurd_lifetimes_stay_within_time() {
    let forever = Lifetime {
        issued: start(),
        expires: Timestamp::MAX,
    };
    assert!(due(&forever, None, 0.9) < Timestamp::MAX);
    let reversed = Lifetime {
        issued: Timestamp::MAX,
        expires: Timestamp::MIN,
    };
    assert_eq!(due(&reversed, Some(SignedDuration::MAX), 1.0), Timestamp::MAX);
    assert_eq!(
        renewal_time(&lifetime(0, 60), Some(SignedDuration::MIN), 0.0),
        minute(50)
    );
}

#[test]
fn failures_are_repeated_more_and_more_patiently() {
    let waits = |pace| [1, 2, 3, 20, i64::MAX].map(|count| backoff(pace, count, 1.0).as_secs());
    assert_eq!(waits(Pace::Soon), [5, 10, 20, 300, 300]);
    assert_eq!(waits(Pace::Throttled), [60, 120, 240, 600, 600]);
    assert_eq!(waits(Pace::Slow), [900, 1800, 3600, 3600, 3600]);
    assert_eq!(
        backoff(Pace::Soon, 1, 0.0).as_millis(),
        2500,
        "spread over the second half"
    );
}

#[test]
fn a_provider_that_fails_in_two_ways_in_turn_does_not_reset_the_backoff() {
    let mut life = Life::of(World::fresh().published(0, 60)).answering(&[
        Answer::Trouble,
        Answer::TooMany(None),
        Answer::Trouble,
        Answer::TooMany(None),
        Answer::Trouble,
    ]);
    life.until(43);
    let failed = life.world.status.failure.clone().unwrap();
    assert!(failed.count.unwrap() >= 2, "{failed:?}");
    life.until(50);
    assert_eq!(life.world.status.failure, None);
}

#[test]
fn an_admins_failure_begins_its_own_count() {
    let mut world = World::fresh().published(0, 60);
    for _ in 0..9 {
        note_failure(
            &mut world,
            failure(FailureClass::Retry, Reason::Retrying),
            minute(40),
            1.0,
        );
    }
    note_failure(
        &mut world,
        failure(FailureClass::AdminConfig, Reason::ClientRejected),
        minute(40),
        1.0,
    );
    let failed = world.status.failure.unwrap();
    assert_eq!(failed.count, Some(1));
    assert_eq!(failed.next_attempt_time.unwrap().0, minute(55));
}

#[test]
fn a_providers_wish_for_patience_is_a_floor_up_to_a_day() {
    let next = |wish: i64, class| {
        let mut world = World::fresh();
        let failed = Failure {
            retry_after: Some(SignedDuration::from_secs(wish)),
            ..failure(class, Reason::Throttled)
        };
        note_failure(&mut world, failed, start(), 1.0);
        let at = world.status.failure.unwrap().next_attempt_time.unwrap().0;
        at.duration_since(start()).as_secs()
    };
    assert_eq!(next(600, FailureClass::Throttled), 600);
    assert_eq!(next(1, FailureClass::Throttled), 60);
    assert_eq!(next(-1, FailureClass::Retry), 5);
    assert_eq!(next(i64::MAX, FailureClass::Throttled), 86_400);
}

#[test]
fn a_retry_is_never_shown_earlier_than_it_is_made() {
    let mut world = World::fresh();
    let now: Timestamp = "2026-11-25T12:00:00.250Z".parse().unwrap();
    note_failure(&mut world, failure(FailureClass::Retry, Reason::Retrying), now, 1.0);
    let failed = world.status.failure.unwrap();
    assert_eq!(failed.last_failure_time.unwrap().0, start());
    assert_eq!(
        failed.next_attempt_time.unwrap().0,
        start() + SignedDuration::from_secs(6)
    );
}

/// A world in backoff for about 5 minutes at minute 40.
fn in_backoff(reason: Reason) -> World {
    let mut world = World::fresh().published(0, 60);
    let class = if reason == Reason::Throttled {
        FailureClass::Throttled
    } else {
        FailureClass::Retry
    };
    for _ in 0..9 {
        note_failure(&mut world, failure(class, reason), minute(40), 1.0);
    }
    world.shown(minute(40))
}

fn tries(world: &World) -> bool {
    matches!(decide(world, minute(41)).step, Step::Redeem(_))
}

#[test]
fn backoff_ends_at_once_when_spec_or_input_change_or_somebody_asks() {
    let waiting = in_backoff(Reason::Retrying);
    assert!(!tries(&waiting));
    let changed_spec = World {
        asset_generation: 2,
        ..waiting.clone()
    };
    assert!(tries(&changed_spec));
    let changed_client = World {
        client: Input::Read(version("client-1-corrected"), "client-1".to_owned()),
        ..waiting.clone()
    };
    assert!(tries(&changed_client));
    assert!(tries(&waiting.asked_for_a_refresh("now")));
}

#[test]
fn backoff_survives_a_restart() {
    let waiting = in_backoff(Reason::Retrying).restarted();
    assert_eq!(waiting.failed_under, None);
    assert!(!tries(&waiting));
}

#[test]
fn an_input_that_changed_while_no_operator_ran_ends_the_backoff() {
    let waiting = in_backoff(Reason::Retrying).restarted();
    let changed = World {
        client: Input::Read(version("client-1-corrected"), "client-1".to_owned()),
        ..waiting
    };
    assert!(tries(&changed));
}

#[test]
fn a_throttled_asset_waits_whatever_changes() {
    let waiting = in_backoff(Reason::Throttled);
    assert!(!tries(&waiting.clone().asked_for_a_refresh("now")));
    assert!(!tries(&World {
        asset_generation: 2,
        ..waiting
    }));
}

#[test]
fn a_clock_that_was_days_ahead_holds_nothing_up() {
    let ahead = minute(3 * 24 * 60);
    let mut world = World::fresh().published(3 * 24 * 60, 3 * 24 * 60 + 60);
    assert!(
        tries(&world),
        "the token is from the future: its schedule means nothing"
    );
    note_failure(
        &mut world,
        failure(FailureClass::Throttled, Reason::Throttled),
        ahead,
        1.0,
    );
    assert!(tries(&world), "and so does the backoff");
    let slightly = World::fresh().published(43, 103);
    assert!(!tries(&slightly), "clocks of two nodes may differ a little");
}

#[test]
fn a_request_is_answered_once_and_counts_against_no_schedule() {
    let mut life = Life::of(World::fresh().published(0, 60));
    life.set_clock(minute(5));
    life.change(|world| world.asked_for_a_refresh("monday")).until(6);
    assert_eq!(life.sent.len(), 1);
    let handled = life.world.status.handled_requests.clone().unwrap();
    assert_eq!(handled.refresh.as_deref(), Some("monday"));
    life.until(30);
    assert_eq!(life.sent.len(), 1);
}

#[test]
fn a_request_that_was_met_is_not_met_again_where_the_status_was_lost() {
    // Invariant 9, across a restart: the process was killed, or the API server refused the status, after the token was stored.
    let mut life = Life::of(World::fresh().published(0, 60));
    life.set_clock(minute(5));
    life.change(|world| world.asked_for_a_refresh("monday")).until(6);
    life.change(|mut world| {
        world.status.handled_requests = None;
        world
    })
    .until(10);
    assert_eq!(life.sent.len(), 1);
    let handled = life.world.status.handled_requests.clone().unwrap();
    assert_eq!(
        handled.refresh.as_deref(),
        Some("monday"),
        "and the status says so in the end"
    );
    life.change(|world| world.asked_for_a_refresh("tuesday")).until(11);
    assert_eq!(life.sent.len(), 2);
}

#[test]
fn a_failing_request_is_answered_and_does_not_hammer() {
    let mut life = Life::of(World::fresh().published(0, 60)).answering(&[Answer::Trouble; 200]);
    life.set_clock(minute(5));
    life.change(|world| world.asked_for_a_refresh("monday")).until(10);
    assert_eq!(
        life.sent.len(),
        1,
        "a refresh that is not due is not repeated before it is"
    );
    assert!(life.world.status.handled_requests.is_some());
}

#[test]
fn a_provider_that_returns_the_same_token_again_cannot_make_us_loop() {
    // The answer is cached by the provider: each one lives a little shorter.
    let mut life = Life::of(World::fresh()).answering(&[
        Answer::Token(3600),
        Answer::Token(90),
        Answer::Token(5),
        Answer::Token(0),
    ]);
    life.until(45);
    assert!(life.sent.len() <= 8, "{} requests", life.sent.len());
}

#[test]
fn a_secret_that_is_deleted_again_and_again_cannot_make_us_loop() {
    let mut life = Life::of(World::fresh());
    for second in 0..60 {
        life.set_clock(start() + SignedDuration::from_secs(second));
        life.change(|world| World {
            token: crate::lifecycle::Slot::Free,
            ..world
        })
        .pass();
    }
    assert!(life.sent.len() <= 3, "{} requests in a minute", life.sent.len());
}

#[test]
fn a_request_while_suspended_waits_for_better_days() {
    let mut life = Life::of(World::fresh().published(0, 60).suspended());
    life.change(|world| world.asked_for_a_refresh("monday")).until(10);
    assert_eq!(life.sent.len(), 0);
    assert_eq!(life.world.status.handled_requests, None);
    life.change(|mut world| {
        world.activity = crate::lifecycle::Activity::Active;
        world.asset_generation += 1;
        world
    })
    .until(11);
    assert_eq!(life.sent.len(), 1);
}
