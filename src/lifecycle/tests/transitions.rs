//! Ways between two rows of the state table, as lives in virtual time.

use super::{
    play::{Answer, Life},
    worlds::{foreign, minute, version},
};
use crate::{
    api::Reason,
    lifecycle::{Activity, Handover, Input, Slot, World},
};

const PENDING: &str = "R F Pending | A U Pending | C T Pending";
const FRESH: &str = "R T Fresh | A T Stored | X T Refreshed";

/// Both kinds of provider: transitions that do not depend on rotation are tried with each.
fn both() -> [World; 2] {
    [World::fresh(), World::fresh().rotating()]
}

/// Lives of an asset with a fresh token of one hour.
fn fresh() -> [Life; 2] {
    both().map(|world| Life::of(world.published(0, 60)))
}

fn suspend(world: World) -> World {
    World {
        activity: Activity::Suspended,
        asset_generation: world.asset_generation + 1,
        ..world
    }
}

fn resume(world: World) -> World {
    World {
        activity: Activity::Active,
        asset_generation: world.asset_generation + 1,
        ..world
    }
}

fn correct_client(world: World) -> World {
    World {
        client: Input::Read(version("client-1-corrected"), "client-1".to_owned()),
        ..world
    }
}

#[test]
fn new_to_fresh_in_one_pass_and_one_status_write() {
    for world in both() {
        let mut life = Life::of(world);
        life.until(0);
        assert_eq!(life.rows, [FRESH]);
        assert_eq!((life.sent.len(), life.status_writes), (1, 1));
    }
}

#[test]
fn fresh_to_due_to_fresh_without_leaving_the_row() {
    for mut life in fresh() {
        life.until(24 * 60);
        assert_eq!(life.rows, [FRESH]);
        assert_eq!(life.sent.len(), 36, "every 40 minutes, from minute 40 to 24 h");
        assert_eq!(life.status_writes, 36);
    }
}

#[test]
fn first_token_failing_to_fresh() {
    for world in both() {
        let mut life = Life::of(world).answering(&[Answer::Trouble, Answer::Trouble]);
        life.until(1);
        assert_eq!(
            life.rows,
            ["R F Retrying | A U Pending | X F Retrying | C T Retrying", FRESH]
        );
        assert_eq!(life.sent.len(), 3);
    }
}

#[test]
fn first_token_failing_to_admin_must_act_to_fresh() {
    for world in both() {
        let mut life = Life::of(world).answering(&[Answer::Trouble, Answer::BadClient]);
        life.until(5);
        life.change(correct_client).until(5);
        assert_eq!(
            life.rows,
            [
                "R F Retrying | A U Pending | X F Retrying | C T Retrying",
                "R F ClientRejected | A U Pending | X F ClientRejected | S T ClientRejected",
                FRESH,
            ]
        );
    }
}

#[test]
fn client_missing_to_fresh() {
    for world in both() {
        let mut life = Life::of(world.without_client());
        life.until(5);
        life.change(|world| world.with_client("client-1")).until(5);
        assert_eq!(
            life.rows,
            [
                "R F ClientMissing | A U Pending | X F ClientMissing | S T ClientMissing",
                FRESH
            ]
        );
    }
}

#[test]
fn first_seed_missing_to_fresh() {
    for world in both() {
        let mut life = Life::of(world.without_seed());
        life.until(5);
        life.change(|world| world.seeded("a")).until(5);
        assert_eq!(
            life.rows,
            ["R F SeedRequired | A F SeedRequired | S T SeedRequired", FRESH]
        );
    }
}

#[test]
fn first_seed_refused_to_fresh_with_another() {
    for world in both() {
        let mut life = Life::of(world).answering(&[Answer::Refused]);
        life.until(60);
        assert_eq!(life.sent.len(), 1, "a refused seed is not sent again");
        life.restart().until(61);
        assert_eq!(life.sent.len(), 1, "nor after a restart");
        life.change(|world| world.seeded("b")).until(61);
        assert_eq!(
            life.rows,
            [
                "R F SeedRequired | A F SeedRequired | X F SeedRejected | S T SeedRequired",
                FRESH
            ]
        );
    }
}

#[test]
fn first_seed_refused_to_fresh_under_the_right_client() {
    for world in both() {
        let mut life = Life::of(world.with_client("mistyped")).answering(&[Answer::Refused]);
        life.until(5);
        life.change(|world| world.with_client("client-1")).until(5);
        assert_eq!(
            life.rows.last().unwrap(),
            FRESH,
            "a mistyped client ID must not spend a good seed"
        );
    }
}

#[test]
fn due_to_failing_to_expired_to_fresh() {
    for life in fresh() {
        let mut life = life.answering(&[Answer::Trouble; 14]);
        life.until(100);
        assert_eq!(
            life.rows,
            [
                FRESH,
                "R T Fresh | A T Stored | X F Retrying",
                "R F TokenExpired | A T Stored | X F Retrying",
                FRESH
            ]
        );
    }
}

#[test]
fn failing_to_fresh_while_the_token_is_valid() {
    for life in fresh() {
        let mut life = life.answering(&[Answer::Trouble, Answer::TooMany(Some(120)), Answer::Trouble]);
        life.until(45);
        assert_eq!(
            life.rows,
            [
                FRESH,
                "R T Fresh | A T Stored | X F Retrying",
                "R T Fresh | A T Stored | X F Throttled",
                "R T Fresh | A T Stored | X F Retrying",
                FRESH
            ]
        );
    }
}

#[test]
fn due_to_client_rejected_to_expired_to_fresh_when_the_client_is_corrected() {
    for life in fresh() {
        let mut life = life.answering(&[Answer::BadClient; 3]);
        life.until(70);
        assert!(life.sent.len() <= 3, "retried slowly");
        life.answers.clear();
        life.change(correct_client).until(70);
        assert_eq!(
            life.rows,
            [
                FRESH,
                "R T Fresh | A T Stored | X F ClientRejected",
                "R F TokenExpired | A T Stored | X F ClientRejected | S T TokenExpired",
                FRESH
            ]
        );
    }
}

#[test]
fn due_to_client_missing_to_expired_to_fresh() {
    for mut life in fresh() {
        life.until(30);
        life.change(World::without_client).until(70);
        life.change(|world| world.with_client("client-1")).until(70);
        assert_eq!(
            life.rows,
            [
                FRESH,
                "R T Fresh | A T Stored | X F ClientMissing",
                "R F TokenExpired | A T Stored | X F ClientMissing | S T TokenExpired",
                FRESH
            ]
        );
    }
}

#[test]
fn client_missing_and_back_before_the_refresh_was_due() {
    for mut life in fresh() {
        life.change(World::without_client).until(10);
        life.change(|world| world.with_client("client-1")).until(11);
        assert_eq!(life.rows, ["R T Fresh | A T Stored | X F ClientMissing", FRESH]);
        assert_eq!(life.sent.len(), 0);
    }
}

#[test]
fn due_to_refused_to_expired_to_fresh_with_a_new_seed() {
    for life in fresh() {
        let mut life = life.answering(&[Answer::Refused]);
        life.until(300);
        assert_eq!(life.sent.len(), 1, "a dead grant is not sent again");
        life.restart().until(301);
        assert_eq!(life.sent.len(), 1, "nor after a restart");
        life.change(|world| world.seeded("b")).until(301);
        assert_eq!(
            life.rows,
            [
                FRESH,
                "R T Fresh | A F GrantRevoked | X F GrantRevoked",
                "R F SeedRequired | A F GrantRevoked | X F GrantRevoked | S T SeedRequired",
                FRESH
            ]
        );
    }
}

#[test]
fn refused_to_a_new_seed_that_fails_for_a_while_to_fresh() {
    for life in fresh() {
        let mut life = life.answering(&[Answer::Refused, Answer::Trouble, Answer::Refused]);
        life.until(70);
        life.change(|world| world.seeded("b")).until(71);
        life.change(|world| world.seeded("c")).until(71);
        assert_eq!(
            life.rows,
            [
                FRESH,
                "R T Fresh | A F GrantRevoked | X F GrantRevoked",
                "R F SeedRequired | A F GrantRevoked | X F GrantRevoked | S T SeedRequired",
                "R F TokenExpired | A F GrantRevoked | X F Retrying",
                "R F SeedRequired | A F GrantRevoked | X F SeedRejected | S T SeedRequired",
                FRESH
            ]
        );
    }
}

#[test]
fn fresh_to_suspended_to_expired_to_fresh() {
    for mut life in fresh() {
        life.change(suspend).until(90);
        assert_eq!(life.sent.len(), 0);
        life.change(resume).until(90);
        assert_eq!(life.rows, [FRESH, "R F Suspended | A T Stored | X T Refreshed", FRESH]);
    }
}

#[test]
fn suspended_from_the_start_to_fresh() {
    for world in both() {
        let mut life = Life::of(world.suspended());
        life.until(5);
        life.change(resume).until(5);
        assert_eq!(life.rows, ["R F Suspended | A U Pending", FRESH]);
    }
}

#[test]
fn fresh_to_invalid_spec_and_back() {
    for mut life in fresh() {
        let plan = life.world.plan.clone();
        life.change(|world| world.refused_spec(Reason::InvalidSpec)).until(50);
        life.change(|world| World { plan, ..world }).until(50);
        assert_eq!(
            life.rows,
            ["R F InvalidSpec | A T Stored | X T Refreshed | S T InvalidSpec", FRESH]
        );
    }
}

#[test]
fn fresh_to_conflict_and_back() {
    for mut life in fresh() {
        let token = life.world.token.clone();
        life.change(|world| World {
            token: foreign(Handover::None),
            ..world
        })
        .until(50);
        life.change(|world| World { token, ..world }).until(50);
        assert_eq!(
            life.rows,
            [
                "R F SecretConflict | A T Stored | X T Refreshed | S T SecretConflict",
                FRESH
            ]
        );
        assert_eq!(life.sent.len(), 1, "nothing is redeemed while a Secret is in the way");
    }
}

#[test]
fn waiting_for_the_garbage_collector_to_fresh() {
    for world in both() {
        let mut life = Life::of(World {
            token: Slot::Leaving,
            ..world
        });
        life.until(5);
        life.change(|world| World {
            token: Slot::Free,
            ..world
        })
        .until(5);
        assert_eq!(life.rows, ["R F Pending | C T Pending", FRESH]);
    }
}

#[test]
fn a_restart_does_nothing_that_is_not_due() {
    for mut life in fresh() {
        life.until(10);
        let writes = life.status_writes;
        life.client = None;
        life.seed = None;
        life.restart().until(20);
        assert_eq!((life.sent.len(), life.status_writes), (0, writes));
        assert_eq!(
            life.rows,
            [FRESH],
            "nothing was read: what the inputs hold stands on our Secrets"
        );
    }
}

#[test]
fn a_deleted_token_secret_comes_back() {
    let mut life = Life::of(World::fresh().rotating().published(0, 60));
    life.change(|world| World {
        token: Slot::Free,
        ..world
    })
    .until(5);
    assert_eq!(life.sent.len(), 0, "the grant Secret holds the newest access token");
    assert_eq!(life.rows, [FRESH]);
    let mut life = Life::of(World::fresh().published(0, 60));
    life.set_clock(minute(5))
        .change(|world| World {
            token: Slot::Free,
            ..world
        })
        .until(5);
    assert_eq!(life.sent.len(), 1, "where nothing rotates the seed is redeemed again");
    assert_eq!(life.rows, [FRESH]);
}

#[test]
fn pending_is_shown_where_the_first_try_cannot_finish_in_its_pass() {
    let holder = crate::lifecycle::AttemptHolder::Other {
        watched: jiff::SignedDuration::ZERO,
    };
    let world = World::fresh().rotating().remembering_a_refused_seed("z").seeded("a");
    let mut life = Life::of(world.attempting(super::worlds::seed("a"), holder));
    life.pass();
    assert_eq!(life.rows, [PENDING]);
}

#[test]
fn a_token_that_somebody_took_out_of_our_secrets_is_fetched_anew() {
    for mut life in fresh() {
        life.set_clock(minute(5));
        life.change(|world| {
            let world = if world.grant.ours().is_some() {
                world.grant_secret(|grant| grant.record.lifetime = None)
            } else {
                world
            };
            world.token_secret(|token| token.record.lifetime = None)
        });
        life.forget_schedule();
        life.until(5);
        assert_eq!((life.sent.len(), life.rows), (1, vec![FRESH.to_owned()]));
    }
}
