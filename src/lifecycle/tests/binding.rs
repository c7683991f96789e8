//! A grant belongs to one client and one token endpoint (design section 3).

use super::{
    play::{Answer, Life},
    worlds::{binding, minute, seed},
};
use crate::lifecycle::{Source, Step, World, decide};

const FRESH: &str = "R T Fresh | A T Stored | X T Refreshed";
const CHANGED: &str = "R F SeedRequired | A F SeedRequired | S T SeedRequired";

fn lives() -> [Life; 2] {
    [World::fresh(), World::fresh().rotating()].map(|world| Life::of(world.published(0, 60)))
}

fn move_endpoint(world: World) -> World {
    World {
        asset_generation: 2,
        ..world
    }
    .planned(|plan| plan.token_endpoint = "https://evil.example.com".to_owned())
}

#[test]
fn another_client_gets_nothing_and_the_old_one_gets_its_grant_back() {
    for mut life in lives() {
        life.change(|world| world.with_client("client-2")).until(50);
        assert_eq!(life.sent.len(), 0);
        life.change(|world| world.with_client("client-1")).until(50);
        assert_eq!(life.rows, [CHANGED, FRESH]);
        assert_eq!(life.sent.len(), 1);
        assert_eq!(life.sent[0].1.source, Source::Grant);
    }
}

#[test]
fn another_token_endpoint_gets_nothing() {
    for mut life in lives() {
        life.change(move_endpoint).until(120);
        assert_eq!(life.sent.len(), 0);
        assert_eq!(life.rows, [CHANGED]);
    }
}

#[test]
fn another_endpoint_is_noticed_also_while_the_client_is_missing() {
    for mut life in lives() {
        life.change(|world| move_endpoint(world).without_client()).until(10);
        assert_eq!(
            life.rows,
            ["R F ClientMissing | A U Pending | X F ClientMissing | S T ClientMissing"]
        );
    }
}

#[test]
fn a_new_seed_under_a_new_client_begins_a_new_grant() {
    for mut life in lives() {
        life.change(|world| world.with_client("client-2").seeded("b")).until(10);
        assert_eq!(life.sent.len(), 1);
        assert_eq!(life.sent[0].1.source, seed("b"));
        assert_eq!(life.sent[0].1.binding, binding("client-2"));
        assert_eq!(life.rows, [FRESH]);
    }
}

#[test]
fn a_new_seed_under_a_new_client_fails_like_a_first_token() {
    for life in lives() {
        let mut life = life.answering(&[Answer::Trouble, Answer::BadClient]);
        life.change(|world| world.with_client("client-2").seeded("b")).until(2);
        assert_eq!(
            life.rows,
            [
                "R F Retrying | A U Pending | X F Retrying | C T Retrying",
                "R F ClientRejected | A U Pending | X F ClientRejected | S T ClientRejected"
            ],
            "the published token belongs to the old client, and has not expired"
        );
    }
}

#[test]
fn a_seed_that_the_new_client_may_not_use_is_named() {
    for life in lives() {
        let mut life = life.answering(&[Answer::Refused]);
        life.change(|world| world.with_client("client-2").seeded("b")).until(2);
        assert_eq!(
            life.rows,
            ["R F SeedRequired | A F SeedRequired | X F SeedRejected | S T SeedRequired"]
        );
        let ready = &life.world.status.conditions[0];
        assert!(
            ready.message.contains("client-1"),
            "the way back is named: {}",
            ready.message
        );
        life.change(|world| world.with_client("client-1").seeded("a")).until(2);
        assert_eq!(life.rows.last().unwrap(), FRESH);
    }
}

#[test]
fn a_suspended_asset_with_a_new_client_and_seed_waits() {
    for mut life in lives() {
        life.change(|world| world.with_client("client-2").seeded("b").suspended())
            .until(10);
        assert_eq!(life.sent.len(), 0);
        assert_eq!(life.rows, [CHANGED]);
    }
}

#[test]
fn a_request_cannot_be_answered_with_a_token_and_is_answered_with_the_status() {
    let world = World::fresh()
        .published(0, 60)
        .with_client("client-2")
        .asked_for_a_refresh("monday");
    assert_ne!(decide(&world, minute(1)).step, Step::Rest, "the client's ID is noted");
    let mut life = Life::of(world);
    life.until(1);
    let handled = life.world.status.handled_requests.unwrap();
    assert_eq!(handled.refresh.as_deref(), Some("monday"));
}
