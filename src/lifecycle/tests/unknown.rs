//! Attempts that end without an answer (invariant 2).

use jiff::SignedDuration;

use super::{
    play::{Answer, Life},
    worlds::{minute, seed},
};
use crate::{
    api::{FailureClass, Reason},
    lifecycle::{AttemptHolder, History, Input, Source, Step, Verdict, World, decide, gives_up},
};

const FRESH: &str = "R T Fresh | A T Stored | X T Refreshed";
const EXPIRED: &str = "R F TokenExpired | A U OutcomeUnknown | X F OutcomeUnknown";
const LOST: &str = "R T Fresh | A U OutcomeUnknown | X F OutcomeUnknown";

fn strict() -> Life {
    Life::of(World::fresh().rotating().published(0, 60))
}

/// Seconds from each request to the next, rounded down.
fn pauses(life: &Life) -> Vec<i64> {
    let between = life.sent.windows(2);
    between
        .map(|pair| pair[1].0.duration_since(pair[0].0).as_secs())
        .collect()
}

fn minutes(life: &Life) -> Vec<i64> {
    life.sent
        .iter()
        .map(|(at, _)| at.duration_since(minute(0)).as_mins())
        .collect()
}

#[test]
fn a_lost_answer_is_tried_once_more_five_minutes_before_the_token_ends() {
    let mut life = strict().answering(&[Answer::Silence]);
    life.until(60);
    assert_eq!(minutes(&life), [40, 55]);
    assert_eq!(life.sent[1].1.history, History::AnswerLost);
    assert_eq!(life.rows, [FRESH, LOST, FRESH]);
}

#[test]
fn a_second_lost_answer_waits_until_the_token_has_ended_and_never_asks_a_person() {
    let mut life = strict().answering(&[Answer::Silence; 8]);
    life.until(59);
    assert_eq!(minutes(&life), [40, 55]);
    life.until(120);
    assert_eq!(minutes(&life)[2], 60);
    assert_eq!(
        life.rows,
        [
            FRESH,
            LOST,
            "R F TokenExpired | A U OutcomeUnknown | X F OutcomeUnknown",
            FRESH
        ]
    );
}

#[test]
fn a_refusal_after_a_lost_answer_means_that_the_grant_is_lost() {
    let mut life = strict().answering(&[Answer::Silence, Answer::Refused]);
    life.until(70);
    assert_eq!(
        life.rows,
        [
            FRESH,
            LOST,
            "R T Fresh | A F GrantLost | X F GrantLost",
            "R F SeedRequired | A F GrantLost | X F GrantLost | S T SeedRequired"
        ]
    );
}

#[test]
fn an_answer_that_decides_nothing_leaves_the_earlier_one_lost() {
    let mut life = strict().answering(&[Answer::Silence, Answer::Trouble]);
    life.until(55);
    assert_eq!(
        life.rows,
        [FRESH, LOST, "R T Fresh | A U OutcomeUnknown | X F Retrying"]
    );
    life.until(56);
    assert_eq!(life.rows.last().unwrap(), FRESH);
}

#[test]
fn a_server_with_a_reuse_grace_is_asked_again_within_it() {
    let world = World::fresh().rotating().published(0, 60);
    let world = world.planned(|plan| plan.reuse_grace = Some(SignedDuration::from_mins(2)));
    let mut life = Life::of(world).answering(&[Answer::Silence]);
    life.until(60);
    assert_eq!(minutes(&life)[..2], [40, 40]);
    assert_eq!(life.sent.len(), 2);
}

#[test]
fn where_the_old_token_stays_good_backoff_alone_decides() {
    let mut life = Life::of(World::fresh().softly_rotating().published(0, 60)).answering(&[Answer::Silence]);
    life.until(41);
    assert_eq!(minutes(&life), [40, 40]);
    let mut life = Life::of(World::fresh().published(0, 60)).answering(&[Answer::Silence]);
    life.until(41);
    assert_eq!(minutes(&life), [40, 40]);
    assert_eq!(life.rows, [FRESH, "R T Fresh | A T Stored | X F Retrying", FRESH]);
}

#[test]
fn a_token_of_two_minutes_leaves_no_time_to_wait_but_for_the_wire() {
    let mut world = World::fresh().rotating();
    world.jitter = 0.5;
    let mut life = Life::of(world).answering(&[Answer::Token(120), Answer::Silence]);
    life.until(3);
    assert_eq!(life.sent.len(), 3);
    assert_eq!(pauses(&life)[1], 60);
    assert_eq!(life.rows, [FRESH, LOST, EXPIRED, FRESH]);
}

#[test]
fn a_retry_waits_a_minute_for_the_wire_though_no_token_is_left_to_lose() {
    // Rule 10 of docs/protocol.md: the request that was given up may still reach the server.
    let mut life = strict().answering(&[Answer::Silence; 3]);
    life.until(65);
    let at: Vec<i64> = minutes(&life);
    assert_eq!(at, [40, 55, 60, 61], "the third is given up when the token has ended");
    assert_eq!(pauses(&life)[2], 60);
}

#[test]
fn a_request_does_not_send_a_second_one_onto_the_wire() {
    let mut world = World::fresh().rotating().published(0, 60);
    world.jitter = 0.0;
    let mut life = Life::of(world).answering(&[Answer::Silence; 3]);
    life.until(60);
    life.change(|world| world.asked_for_a_refresh("now")).until(62);
    assert_eq!(pauses(&life)[2], 60);
}

#[test]
fn a_killed_process_leaves_its_successor_to_wait_for_the_wire() {
    let mut world = World::fresh().rotating();
    world.jitter = 0.5;
    let mut life = Life::of(world).answering(&[Answer::Token(120), Answer::Crash]);
    life.until(4);
    assert_eq!(pauses(&life)[1], 60);
}

#[test]
fn a_silent_candidate_waits_for_the_wire_too() {
    let mut life = Life::of(World::fresh().rotating()).answering(&[Answer::Silence; 2]);
    life.until(5);
    assert_eq!(pauses(&life), [60, 60]);
    let mut life = strict().answering(&[Answer::Silence]);
    life.change(|world| world.seeded("b")).until(20);
    assert_eq!(pauses(&life), [60], "whatever token an older grant has published");
}

#[test]
fn a_silent_candidate_that_stays_good_need_not_wait_for_the_wire() {
    let mut life = Life::of(World::fresh().softly_rotating()).answering(&[Answer::Silence]);
    life.until(5);
    assert!(pauses(&life)[0] < 10, "{:?}", pauses(&life));
}

#[test]
fn a_request_does_not_hurry_a_lost_answer() {
    let mut life = strict().answering(&[Answer::Silence]);
    life.until(45);
    life.change(|world| world.asked_for_a_refresh("now")).until(50);
    assert_eq!(minutes(&life), [40]);
}

#[test]
fn a_killed_process_leaves_an_attempt_that_its_successor_settles() {
    let mut life = strict().answering(&[Answer::Crash]);
    life.until(60);
    assert_eq!(minutes(&life), [40, 55]);
    assert_eq!(life.rows, [FRESH, LOST, FRESH]);
}

#[test]
fn the_attempt_of_another_process_is_waited_for_its_duration_and_a_minute() {
    let watched = |seconds| {
        let holder = AttemptHolder::Other {
            watched: SignedDuration::from_secs(seconds),
        };
        World::fresh()
            .rotating()
            .published(0, 60)
            .attempting(Source::Grant, holder)
    };
    let waiting = decide(&watched(149), minute(40));
    assert_eq!(waiting.step, Step::Rest);
    assert_eq!(waiting.wake, Some(minute(40) + SignedDuration::from_secs(1)));
    assert_eq!(decide(&watched(150), minute(40)).step, Step::SettleUnknown);
    for own in [AttemptHolder::This, AttemptHolder::Earlier] {
        let world = World::fresh()
            .rotating()
            .published(0, 60)
            .attempting(Source::Grant, own);
        assert_eq!(decide(&world, minute(40)).step, Step::SettleUnknown);
    }
}

#[test]
fn waiting_for_another_process_does_not_hide_that_the_token_ends() {
    let holder = AttemptHolder::Other {
        watched: SignedDuration::ZERO,
    };
    let world = World::fresh()
        .rotating()
        .published(0, 60)
        .attempting(Source::Grant, holder);
    assert_eq!(decide(&world, minute(59)).wake, Some(minute(60)));
}

#[test]
fn what_was_stored_is_published_while_another_process_redeems() {
    let holder = AttemptHolder::Other {
        watched: SignedDuration::ZERO,
    };
    let world = World::fresh()
        .rotating()
        .published(0, 60)
        .attempting(Source::Grant, holder);
    let world = World {
        token: crate::lifecycle::Slot::Free,
        ..world
    };
    assert_eq!(
        decide(&world, minute(10)).step,
        Step::Publish(crate::lifecycle::Origin::Grant)
    );
}

#[test]
fn a_candidate_is_retried_once_and_then_settled_while_the_grant_goes_on() {
    let mut life = strict().answering(&[Answer::Silence, Answer::Silence]);
    life.change(|world| world.seeded("b")).until(20);
    assert_eq!(life.sent.len(), 2);
    let grant = life.world.grant.ours().unwrap();
    assert_eq!(grant.record.seeds.0.last().unwrap().verdict, Verdict::Refused);
    assert!(grant.unanswered.0.is_empty());
    assert_eq!(
        life.rows,
        [
            "R T Fresh | A T Stored | X F OutcomeUnknown",
            "R T Fresh | A T Stored | X F SeedRejected"
        ],
        "the grant itself is not in doubt"
    );
}

#[test]
fn a_first_seed_is_tried_until_the_provider_answers() {
    let mut life = Life::of(World::fresh().rotating()).answering(&[Answer::Silence; 6]);
    life.until(30);
    assert_eq!(life.sent.len(), 7);
    assert_eq!(
        life.rows,
        [
            "R F OutcomeUnknown | A U OutcomeUnknown | X F OutcomeUnknown | C T OutcomeUnknown",
            FRESH
        ]
    );
}

#[test]
fn a_candidate_is_given_up_only_while_another_grant_lives() {
    let once = World::fresh()
        .rotating()
        .published(0, 60)
        .seeded("b")
        .unanswered(&seed("b"), minute(1));
    assert!(gives_up(&once, &seed("b")));
    assert!(!gives_up(&once, &seed("c")), "the first silence settles nothing");
    assert!(!gives_up(&once, &Source::Grant));
    let dead = once
        .clone()
        .failed(FailureClass::Reauthorize, Reason::GrantRevoked, minute(2));
    assert!(!gives_up(&dead, &seed("b")), "it is the only hope");
    let unread = World {
        client: Input::Unusable("Gone.".to_owned()),
        ..once
    };
    assert!(!gives_up(&unread, &seed("b")));
}
