//! Seeds as candidates (design section 3).

use super::{
    play::{Answer, Life},
    worlds::{fingerprint, line, minute, seed},
};
use crate::lifecycle::{Generation, SeedLedger, SeedRecord, Slot, Source, Verdict, World, record_to_begin_with};

const FRESH: &str = "R T Fresh | A T Stored | X T Refreshed";

fn sources(life: &Life) -> Vec<Source> {
    life.sent.iter().map(|(_, redeem)| redeem.source.clone()).collect()
}

fn rotating() -> Life {
    Life::of(World::fresh().rotating().published(0, 60))
}

fn not_rotating() -> Life {
    Life::of(World::fresh().published(0, 60))
}

#[test]
fn a_changed_seed_is_redeemed_at_once_and_taken() {
    for mut life in [rotating(), not_rotating()] {
        life.change(|world| world.seeded("b")).until(5);
        assert_eq!(sources(&life), [seed("b")]);
        assert_eq!(life.rows, [FRESH]);
        let grant = life.world.status.grant.clone().unwrap();
        assert_eq!(grant.generation, Some(4));
        assert_eq!(grant.grant_time.unwrap().0, minute(0));
    }
}

#[test]
fn a_refused_candidate_leaves_the_rotating_grant_alone_until_the_seed_changes() {
    let mut life = rotating().answering(&[Answer::Refused]);
    life.change(|world| world.seeded("b")).until(50);
    assert_eq!(sources(&life), [seed("b"), Source::Grant], "routine refreshes go on");
    assert_eq!(life.rows, ["R T Fresh | A T Stored | X F SeedRejected"]);
    life.change(|world| world.seeded("a")).until(51);
    assert_eq!(life.rows.last().unwrap(), FRESH, "the former seed is back in its place");
    assert_eq!(life.sent.len(), 2, "and is not sent");
}

#[test]
fn a_refused_candidate_is_forgotten_when_its_secret_is_taken_away() {
    let mut life = rotating().answering(&[Answer::Refused]);
    life.change(|world| world.seeded("b")).until(5);
    life.seed = None;
    life.change(World::without_seed).until(6);
    assert_eq!(life.rows.last().unwrap(), FRESH);
    assert_eq!(life.world.status.failure, None);
}

#[test]
fn a_refused_replacement_leaves_the_published_token_where_nothing_rotates() {
    let mut life = not_rotating().answering(&[Answer::Refused]);
    life.change(|world| world.seeded("b")).until(70);
    assert_eq!(sources(&life), [seed("b")]);
    assert_eq!(
        life.rows,
        [
            "R T Fresh | A F SeedRequired | X F SeedRejected",
            "R F SeedRequired | A F SeedRequired | X F SeedRejected | S T SeedRequired"
        ]
    );
    life.change(|world| world.seeded("a")).until(71);
    assert_eq!(life.rows.last().unwrap(), FRESH, "the former seed goes on");
}

#[test]
fn a_candidate_that_an_admin_must_look_at_does_not_hold_back_routine_refreshes() {
    let mut life = rotating().answering(&[Answer::BadClient]);
    life.change(|world| world.seeded("b")).until(10);
    assert_eq!(life.rows, ["R T Fresh | A T Stored | X F SeedRejected"]);
    let mut life = rotating().answering(&[Answer::BadClient; 4]);
    life.change(|world| world.seeded("b")).until(39);
    life.answers.clear();
    life.until(40);
    assert_eq!(
        sources(&life).last(),
        Some(&seed("b")),
        "tried again right after the grant"
    );
    assert!(sources(&life).contains(&Source::Grant));
    assert_eq!(life.rows.last().unwrap(), FRESH);
}

#[test]
fn a_due_grant_comes_before_a_candidate_that_keeps_failing() {
    let mut life = rotating().answering(&[Answer::Trouble; 40]);
    life.change(|world| world.seeded("b")).until(40);
    life.answers.clear();
    let before = life.sent.len();
    life.until(45);
    assert_eq!(sources(&life)[before..], [Source::Grant, seed("b")]);
}

#[test]
fn a_reverted_seed_is_not_sent_where_it_could_kill_the_living_grant() {
    let mut life = rotating();
    life.change(|world| world.seeded("b")).until(1);
    life.change(|world| world.seeded("a")).until(2);
    assert_eq!(sources(&life), [seed("b")]);
    assert_eq!(life.rows, [FRESH]);
    life.until(60);
    assert_eq!(
        sources(&life),
        [seed("b"), Source::Grant],
        "the grant goes on by itself"
    );
}

#[test]
fn a_reverted_seed_is_taken_up_again_where_nothing_rotates() {
    let mut life = not_rotating();
    life.change(|world| world.seeded("b")).until(1);
    life.change(|world| world.seeded("a")).until(2);
    assert_eq!(sources(&life), [seed("b"), seed("a")]);
    life.change(|world| world.seeded("b")).until(3);
    assert_eq!(sources(&life).len(), 3);
    life.until(20);
    assert_eq!(sources(&life).len(), 3);
}

#[test]
fn a_seed_that_was_refused_under_one_client_may_be_sent_under_another() {
    let ledger = SeedLedger(vec![line("b", Verdict::Refused)]);
    assert_eq!(ledger.verdict(&fingerprint("b"), "client-1"), Some(Verdict::Refused));
    assert_eq!(ledger.verdict(&fingerprint("b"), "client-2"), None);
    let ledger = SeedLedger(vec![line("b", Verdict::Taken)]);
    assert_eq!(ledger.verdict(&fingerprint("b"), "client-2"), Some(Verdict::Taken));
}

#[test]
fn the_ledger_keeps_ten_seeds_and_always_the_living_one() {
    let mut ledger = SeedLedger(vec![line("living", Verdict::Taken)]);
    for number in 0..30 {
        ledger = ledger.with(line(&format!("refused-{number}"), Verdict::Refused));
    }
    assert_eq!(ledger.0.len(), 10);
    assert_eq!(ledger.verdict(&fingerprint("living"), "client-1"), Some(Verdict::Taken));
    assert_eq!(
        ledger.verdict(&fingerprint("refused-29"), "client-1"),
        Some(Verdict::Refused)
    );
    ledger = ledger.with(line("next", Verdict::Taken));
    for number in 30..60 {
        ledger = ledger.with(line(&format!("refused-{number}"), Verdict::Refused));
    }
    assert_eq!(ledger.verdict(&fingerprint("next"), "client-1"), Some(Verdict::Taken));
    assert_eq!(
        ledger.verdict(&fingerprint("living"), "client-1"),
        None,
        "it is not the living one any more"
    );
}

#[test]
fn a_line_that_is_written_again_moves_to_the_end() {
    let ledger = SeedLedger::default()
        .with(line("a", Verdict::Taken))
        .with(line("b", Verdict::Taken))
        .with(line("a", Verdict::Taken));
    let names: Vec<_> = ledger
        .0
        .iter()
        .map(|record: &SeedRecord| record.fingerprint.0.as_str())
        .collect();
    assert_eq!(names, ["sha-b", "sha-a"]);
}

#[test]
fn generation_goes_on_through_seeds() {
    let mut life = rotating();
    for name in ["b", "c", "d"] {
        life.change(|world| world.seeded(name)).until(1);
    }
    assert_eq!(life.world.grant.ours().unwrap().record.generation, Generation(6));
    assert_eq!(life.world.token.ours().unwrap().record.generation, Generation(6));
}

#[test]
fn a_provider_that_begins_to_rotate_is_fenced_with_the_ledger_of_the_token_secret() {
    for trouble in [&[][..], &[Answer::Trouble, Answer::Silence]] {
        let mut life = not_rotating().answering(trouble);
        life.change(World::rotating).until(58);
        assert_eq!(sources(&life).last(), Some(&Source::Grant));
        assert!(
            !sources(&life).contains(&seed("a")),
            "the seed is spent: {:?}",
            sources(&life)
        );
        let Slot::Ours(grant) = &life.world.grant else {
            panic!("no grant Secret")
        };
        assert_eq!(grant.record.seeds, SeedLedger(vec![line("a", Verdict::Taken)]));
    }
}

#[test]
fn a_grant_secret_made_for_a_first_attempt_begins_with_the_ledger_or_with_nothing() {
    let begins = record_to_begin_with(&World::fresh().published(0, 60));
    assert_eq!(begins.seeds, SeedLedger(vec![line("a", Verdict::Taken)]));
    let lost = World {
        grant: Slot::Free,
        ..World::fresh().rotating().published(0, 60)
    };
    let begins = record_to_begin_with(&lost);
    assert_eq!(
        (begins.generation, begins.binding),
        (Generation(3), None),
        "the refresh token is not there"
    );
}
