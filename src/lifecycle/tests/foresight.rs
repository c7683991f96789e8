//! Grants that end by themselves, and what providers mind.

use jiff::{SignedDuration, Timestamp};

use super::{
    direct,
    play::{Answer, Life},
    worlds::{failure, minute, row, start},
};
use crate::{
    api::{ConditionType, FailureClass, Reason},
    lifecycle::{
        EndToldBy, GrantEnd, Limits, News, Stated, Step, TokenAge, World, condition, decide, end_after, note_failure,
        status,
    },
};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

pub(super) const fn days(count: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * count)
}

/// Minutes in so many days.
pub(super) const fn day(count: i64) -> i64 {
    24 * 60 * count
}

pub(super) fn told(at: Timestamp, since: Timestamp) -> GrantEnd {
    GrantEnd {
        at,
        since,
        told_by: EndToldBy::Provider,
    }
}

pub(super) fn limited(world: World, change: impl FnOnce(&mut Limits)) -> World {
    world.planned(|plan| change(&mut plan.limits))
}

/// An hour's token, and a grant that the provider ends seven days after minute 0.
pub(super) fn in_testing() -> World {
    limited(World::fresh().published(0, 60), |limits| {
        limits.while_testing = Some(days(7));
        limits.max_idle = Some(days(180));
    })
    .token_secret(|token| {
        token.record.granted = Some(minute(0));
        token.record.ends = Some(told(minute(day(7)), minute(0)));
    })
    .shown(minute(0))
}

/// Nobody fetches tokens, and the provider ends a grant that is not used for 90 days.
pub(super) fn idle() -> World {
    limited(World::fresh().published(0, 60), |limits| {
        limits.max_idle = Some(days(90));
        limits.keep_alive = Some(days(60));
    })
    .suspended()
}

fn expiration(world: &World) -> Option<Timestamp> {
    Some(world.status.grant.as_ref()?.expiration_time.as_ref()?.0)
}

fn says(world: &World, kind: ConditionType) -> (String, String) {
    let shown = condition(&world.status.conditions, kind).unwrap();
    (shown.reason.clone(), shown.message.clone())
}

#[test]
fn what_an_answer_says_of_the_end_counts_before_what_the_catalogue_knows() {
    let known = Some(days(30));
    let said = |stated, token| {
        end_after(
            Some(&told(minute(day(5)), start())),
            News { stated, token, known },
            minute(60),
        )
    };
    let by_catalogue = GrantEnd {
        at: minute(60 + day(30)),
        since: minute(60),
        told_by: EndToldBy::Catalogue,
    };
    let in_days = |count| Some(Stated::In(days(count)));
    let before = told(minute(day(5)), start());
    assert_eq!(
        said(in_days(9), TokenAge::New),
        Some(told(minute(60 + day(9)), minute(60)))
    );
    assert_eq!(said(Some(Stated::Never), TokenAge::New), None);
    assert_eq!(said(Some(Stated::Never), TokenAge::Kept), None);
    assert_eq!(said(None, TokenAge::New), Some(by_catalogue));
    assert_eq!(
        said(None, TokenAge::Kept),
        Some(before.clone()),
        "it is the same refresh token"
    );
    assert_eq!(said(None, TokenAge::Unknown), None, "nobody knows how old a seed is");
    let nearly = Some(Stated::In(days(5) - SignedDuration::from_secs(HOUR - 20)));
    assert_eq!(
        said(nearly, TokenAge::Kept),
        Some(before),
        "the same moment, told again"
    );
    assert_eq!(
        said(nearly, TokenAge::Unknown).map(|end| end.since),
        Some(minute(60)),
        "but not of another refresh token"
    );
}

#[test]
fn people_are_told_once_and_in_time_that_a_grant_will_end() {
    let mut life = Life::of(in_testing());
    life.until(day(5));
    assert_eq!(expiration(&life.world), Some(minute(day(7))));
    assert_eq!(life.rows, ["R T Fresh | A T Stored | X T Refreshed"]);
    // A quarter of seven days is less than three days.
    life.until(day(7) - day(7) / 4);
    assert_eq!(
        life.rows.last().unwrap(),
        "R T Fresh | A T GrantEnding | X T Refreshed",
        "the token goes on being valid"
    );
    life.restart().until(day(7) - 1);
    assert_eq!(life.rows.len(), 2, "{:#?}", life.rows);
    let (_, message) = says(&life.world, ConditionType::Authorized);
    assert!(
        message.contains("2026-12-02T12:00:00Z") && message.contains("kubectl"),
        "{message}"
    );
}

#[test]
fn a_new_grant_takes_the_notice_back() {
    let mut life = Life::of(in_testing());
    life.until(day(6));
    assert_eq!(says(&life.world, ConditionType::Authorized).0, "GrantEnding");
    life.change(|world| world.seeded("b")).until(day(6) + 1);
    assert_eq!(says(&life.world, ConditionType::Authorized).0, "Stored");
    assert_eq!(expiration(&life.world), None);
}

#[test]
fn a_long_life_is_told_of_three_days_ahead() {
    let world = World::fresh()
        .published(0, 60)
        .token_secret(|token| token.record.ends = Some(told(minute(day(100)), minute(0))))
        .suspended()
        .shown(minute(61));
    assert_eq!(decide(&world, minute(61)).wake, Some(minute(day(97))));
    assert_eq!(decide(&world, minute(day(97))).wake, Some(minute(day(100))));
    let ended = world.shown(minute(day(100)));
    assert_eq!(decide(&ended, minute(day(100))).wake, None);
    let (reason, message) = says(&ended, ConditionType::Authorized);
    assert!(
        reason == "GrantEnding" && message.contains("should have ended"),
        "{message}"
    );
}

#[test]
fn a_suspended_asset_is_never_refreshed_and_its_idle_grant_is_told_of_before_it_dies() {
    let mut life = Life::of(idle().shown(minute(0)));
    life.until(day(86));
    assert_eq!(expiration(&life.world), Some(minute(day(90))));
    assert_eq!(life.rows.last().unwrap(), "R F Suspended | A T Stored | X T Refreshed");
    let quiet = life.status_writes;
    life.restart().until(day(88));
    assert_eq!(
        life.rows.last().unwrap(),
        "R F Suspended | A T GrantEnding | X T Refreshed"
    );
    life.until(day(365));
    assert!(life.sent.is_empty());
    assert_eq!(
        (quiet, life.status_writes),
        (1, 3),
        "nothing is written while nothing changes"
    );
    life.change(|mut world| {
        world.activity = crate::lifecycle::Activity::Active;
        world.asset_generation += 1;
        world
    })
    .until(day(366));
    assert_eq!(life.rows.last().unwrap(), "R T Fresh | A T Stored | X T Refreshed");
    assert_eq!(expiration(&life.world), None, "it is used, so it does not end");
}

#[test]
fn a_grant_that_cannot_be_redeemed_for_months_is_told_of_too() {
    let mut life = Life::of(limited(World::fresh().published(0, 60), |limits| {
        limits.max_idle = Some(days(90));
    }));
    life.change(World::without_client).until(day(86));
    assert_eq!(expiration(&life.world), None, "a refresh may come any time");
    let wake = decide(&life.world, life.now).wake;
    assert_eq!(wake, Some(minute(day(87))));
    life.until(day(87));
    assert_eq!(says(&life.world, ConditionType::Authorized).0, "GrantEnding");
}

#[test]
fn a_long_token_is_replaced_in_time_to_keep_its_grant_alive() {
    let year = limited(World::fresh().rotating(), |limits| limits.keep_alive = Some(days(80)));
    let mut life = Life::of(year).answering(&[Answer::Token(365 * DAY); 9]);
    life.refresh_tokens_live = Some(days(365));
    life.until(day(365));
    let sent: Vec<i64> = life
        .sent
        .iter()
        .map(|(at, _)| at.duration_since(start()).as_hours() / 24)
        .collect();
    assert_eq!(sent, [0, 80, 160, 240, 320]);
    let renewal = life.world.status.token.as_ref().unwrap().renewal_time.clone().unwrap();
    assert_eq!(renewal.0, minute(day(400)), "and the status says when");
    assert!(
        life.rows.iter().all(|row| !row.contains("GrantEnding")),
        "{:#?}",
        life.rows
    );
}

#[test]
fn the_same_token_again_is_a_success_and_makes_nobody_loop() {
    let year = limited(World::fresh().rotating(), |limits| limits.keep_alive = Some(days(80)));
    let mut life = Life::of(year);
    for passed in 0..400 {
        // The token that was given first, with what is left of its year.
        let left = 365 - passed;
        life.answers = [Answer::Token(if left > 0 { left * DAY } else { 365 * DAY })].into();
        life.until(day(passed));
    }
    assert!(life.sent.len() <= 16, "{} requests", life.sent.len());
    assert_eq!(life.rows.last().unwrap(), "R T Fresh | A T Stored | X T Refreshed");
}

#[test]
fn a_refresh_token_that_would_end_before_its_access_token_is_redeemed_before() {
    let mut life = Life::of(World::fresh().rotating()).answering(&[Answer::Stated(HOUR, 30 * 60); 9]);
    life.until(120);
    let sent: Vec<i64> = life
        .sent
        .iter()
        .map(|(at, _)| at.duration_since(start()).as_mins())
        .collect();
    assert_eq!(sent, [0, 20, 40, 60, 80, 100, 120], "with two thirds of the hour left");
    assert!(
        life.rows.iter().all(|row| !row.contains("GrantEnding")),
        "{:#?}",
        life.rows
    );
}

#[test]
fn an_end_that_no_refresh_moves_is_not_refreshed_against() {
    let mut life = Life::of(World::fresh().rotating());
    for passed in 0..20 * 60 {
        life.answers = [Answer::Stated(HOUR, DAY - passed * 60)].into();
        life.until(passed);
    }
    // One after the first answer, when nobody could know, and then one in 40 minutes.
    assert!(life.sent.len() <= 30, "{} requests in 19 hours", life.sent.len());
    assert_eq!(says(&life.world, ConditionType::Authorized).0, "GrantEnding");
}

/// Zoho: ten in ten minutes.
pub(super) fn paced(world: World) -> World {
    limited(world, |limits| {
        limits.refresh_interval = Some(SignedDuration::from_mins(1));
        limits.throttled_for = Some(SignedDuration::from_mins(10));
    })
}

#[test]
fn a_request_waits_until_the_provider_does_not_mind_and_people_are_told_until_when() {
    let mut life = Life::of(paced(World::fresh().published(0, 60)));
    life.set_clock(start() + SignedDuration::from_secs(10));
    life.change(|world| world.asked_for_a_refresh("monday")).pass();
    assert!(life.sent.is_empty());
    let (reason, message) = says(&life.world, ConditionType::Refreshed);
    assert!(
        reason == "Refreshed" && message.contains("is made at 2026-11-25T12:01:00Z"),
        "{message}"
    );
    assert_eq!(life.world.status.handled_requests, None);
    life.until(2);
    assert_eq!(life.sent.len(), 1);
    assert_eq!(life.sent[0].0, minute(1));
    assert!(!says(&life.world, ConditionType::Refreshed).1.contains("asked for"));
}

#[test]
fn however_people_ask_no_provider_gets_more_than_it_minds() {
    let mut life = Life::of(paced(World::fresh().published(0, 60))).answering(&[Answer::Trouble; 4]);
    for second in 0..600 {
        life.set_clock(start() + SignedDuration::from_secs(second));
        life.change(|world| world.asked_for_a_refresh(&second.to_string()))
            .pass();
    }
    let gaps: Vec<i64> = life
        .sent
        .windows(2)
        .map(|pair| pair[1].0.duration_since(pair[0].0).as_secs())
        .collect();
    assert!(!gaps.is_empty() && gaps.iter().all(|gap| *gap >= 60), "{gaps:?}");
    assert!(life.sent.len() <= 10);
}

#[test]
fn a_provider_that_does_not_say_how_long_is_left_alone_as_long_as_it_wants() {
    let mut world = paced(World::fresh().published(0, 60));
    let next = |world: &World| {
        let next = world.status.failure.as_ref()?.next_attempt_time.as_ref()?.0;
        Some(next.duration_since(minute(40)).as_secs())
    };
    note_failure(
        &mut world,
        failure(FailureClass::Throttled, Reason::Throttled),
        minute(40),
        1.0,
    );
    assert_eq!(next(&world), Some(600));
    let mut world = paced(World::fresh().published(0, 60));
    note_failure(
        &mut world,
        failure(FailureClass::Retry, Reason::Retrying),
        minute(40),
        1.0,
    );
    assert_eq!(next(&world), Some(60), "and a retry is another redemption");
}

#[test]
fn a_restart_knows_the_end_without_reading_anything() {
    let world = in_testing().restarted();
    let decision = decide(&world, minute(day(6)) - SignedDuration::from_mins(day(6) - 10));
    assert_eq!(decision.step, Step::Rest);
    let shown = status(&world, &decision.standing, minute(10)).unwrap();
    assert_eq!(shown, world.status);
    assert_eq!(row(&shown), "R T Fresh | A T Stored | X T Refreshed");
}

#[test]
fn where_there_is_no_refresh_token_none_can_end() {
    let limits = |limits: &mut Limits| {
        limits.max_idle = Some(days(30));
        limits.keep_alive = Some(days(20));
    };
    let world = limited(direct::published(0, day(365)), limits).suspended();
    let world = world.shown(minute(day(29)));
    assert_eq!(expiration(&world), None);
    assert_eq!(says(&world, ConditionType::Authorized).0, "Stored");
    let active = limited(direct::published(0, day(365)), limits);
    let active = active.shown(minute(day(1)));
    let renewal = active.status.token.as_ref().unwrap().renewal_time.as_ref().unwrap().0;
    assert!(renewal > minute(day(200)), "{renewal}");
    assert_eq!(decide(&active, minute(day(1))).wake, Some(renewal));
}

#[test]
fn a_dead_grant_and_one_of_another_client_have_no_end_to_tell_of() {
    let dead = in_testing().failed(FailureClass::Reauthorize, Reason::GrantRevoked, minute(day(6)));
    assert_eq!(expiration(&dead), None);
    let elsewhere = in_testing().with_client("client-2").shown(minute(day(6)));
    assert_eq!(expiration(&elsewhere), None);
}
