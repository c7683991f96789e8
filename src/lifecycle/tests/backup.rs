//! Grant Secrets that are missing, or came back older than they were (design section 3).

use super::{
    play::{Answer, Life},
    worlds::{minute, seed},
};
use crate::{
    api::Rotation,
    lifecycle::{Activity, Generation, History, SeedLedger, Slot, Source, Step, Verdict, World, decide},
};

const FRESH: &str = "R T Fresh | A T Stored | X T Refreshed";
const BEHIND: &str = "R T Fresh | A U Pending | X T Refreshed";

/// A rotating asset whose grant Secret was deleted at minute 10.
fn lost() -> World {
    World {
        grant: Slot::Free,
        ..World::fresh().rotating().published(0, 60)
    }
}

/// A rotating asset whose grant Secret came back from a backup of two generations ago.
fn restored() -> World {
    World::fresh()
        .rotating()
        .published(0, 60)
        .grant_secret(|grant| grant.record.generation = Generation(1))
}

fn sent(life: &Life) -> Vec<(i64, Source)> {
    life.sent
        .iter()
        .map(|(at, redeem)| (at.duration_since(minute(0)).as_mins(), redeem.source.clone()))
        .collect()
}

#[test]
fn the_watch_is_not_believed_when_it_contradicts_the_status() {
    for world in [lost(), restored()] {
        assert_eq!(decide(&world, minute(10)).step, Step::ConfirmGrant);
        let mut life = Life::of(world);
        life.until(10);
        assert_eq!(life.sent.len(), 0);
    }
}

#[test]
fn a_lost_grant_is_seeded_again_only_when_the_published_token_has_ended() {
    let mut life = Life::of(lost());
    life.until(90);
    assert_eq!(sent(&life), [(60, seed("a"))]);
    assert_eq!(life.sent[0].1.history, History::AnswerLost);
    assert_eq!(life.rows, [BEHIND, FRESH]);
    assert_eq!(
        life.world.grant.ours().unwrap().record.generation,
        Generation(4),
        "it never falls"
    );
}

#[test]
fn a_restored_grant_is_redeemed_once_when_the_published_token_has_ended() {
    let mut life = Life::of(restored()).answering(&[Answer::Refused]);
    life.until(90);
    assert_eq!(sent(&life), [(60, Source::Grant)]);
    assert_eq!(life.sent[0].1.history, History::AnswerLost);
    assert_eq!(
        life.rows,
        [
            BEHIND,
            "R F SeedRequired | A F GrantLost | X F GrantLost | S T SeedRequired"
        ]
    );
}

#[test]
fn a_restored_grant_that_still_works_heals() {
    let mut life = Life::of(restored());
    life.until(70);
    assert_eq!(life.rows, [BEHIND, FRESH]);
    assert_eq!(life.sent[0].1.from, Generation(3));
    assert_eq!(life.world.grant.ours().unwrap().record.generation, Generation(4));
}

#[test]
fn a_request_does_not_hurry_a_restored_grant() {
    let mut life = Life::of(restored());
    life.change(|world| world.asked_for_a_refresh("now")).until(50);
    assert_eq!(life.sent.len(), 0);
}

#[test]
fn a_seed_that_the_lost_grant_did_not_grow_from_is_redeemed_at_once() {
    for world in [lost(), restored()] {
        let mut life = Life::of(world);
        life.set_clock(minute(10)).change(|world| world.seeded("b")).until(11);
        assert_eq!(sent(&life), [(10, seed("b"))]);
        assert_eq!(life.rows, [FRESH]);
    }
}

#[test]
fn a_restored_ledger_that_does_not_know_the_present_seed_does_not_make_it_new() {
    // The backup is older than the seed: its ledger has never seen it, but the published token grew from it.
    let world = restored().grant_secret(|grant| {
        grant.record.seeds = SeedLedger::default().with(super::worlds::line("old", Verdict::Taken));
    });
    let mut life = Life::of(world);
    life.until(59);
    assert_eq!(life.sent.len(), 0);
    life.answers.extend([Answer::Refused, Answer::Refused]);
    life.until(90);
    assert_eq!(sent(&life), [(60, Source::Grant), (60, seed("a"))], "each once");
}

#[test]
fn a_lost_grant_without_a_published_token_is_seeded_again_at_once() {
    let world = World {
        token: Slot::Free,
        ..lost()
    };
    let mut life = Life::of(world);
    life.set_clock(minute(10)).until(10);
    assert_eq!(sent(&life), [(10, seed("a"))]);
}

#[test]
fn looking_at_a_new_seed_does_not_make_it_the_one_that_the_lost_grant_grew_from() {
    let mut life = Life::of(lost().suspended());
    life.set_clock(minute(10)).change(|world| world.seeded("b")).until(11);
    let noted = life.world.token.ours().unwrap().record.inputs.seed.clone().unwrap().1;
    assert_eq!(Source::Seed(noted), seed("a"));
    life.world.activity = Activity::Active;
    life.restart().until(12);
    assert_eq!(
        sent(&life),
        [(11, seed("b"))],
        "it is new, and need not wait for the published token to end"
    );
}

#[test]
fn a_status_that_was_lost_too_is_no_reason_to_forget_the_token_secrets_generation() {
    let mut world = restored();
    world.status.grant = None;
    assert_eq!(decide(&world, minute(50)).step, Step::ConfirmGrant);
}

#[test]
fn where_nothing_rotates_a_lost_record_is_no_loss() {
    let world = World {
        token: Slot::Free,
        ..World::fresh().published(0, 60)
    };
    assert_eq!(world.plan.as_ref().unwrap().rotation, Rotation::None);
    let mut life = Life::of(world);
    life.set_clock(minute(10)).until(11);
    assert_eq!(sent(&life), [(10, seed("a"))]);
    assert_eq!(life.world.token.ours().unwrap().record.generation, Generation(4));
}
