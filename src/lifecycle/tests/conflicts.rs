//! Secrets of others, handing over, renaming, retention and adoption (design section 3, invariant 6).

use super::{
    play::Life,
    worlds::{binding, foreign, minute},
};
use crate::{
    api::ConditionType,
    lifecycle::{
        Generation, Handover, Heritage, Input, Origin, Retention, SeedClaim, Slot, Step, World, condition, decide,
    },
};

const FRESH: &str = "R T Fresh | A T Stored | X T Refreshed";

/// A rotating asset with a fresh token.
fn rotating() -> World {
    World::fresh().rotating().published(0, 60)
}

/// What Ready says after one pass now.
fn ready_after_a_pass(world: World) -> String {
    let mut life = Life::of(world);
    life.until(0);
    assert_eq!(life.sent.len(), 0, "nothing is redeemed");
    let ready = condition(&life.world.status.conditions, ConditionType::Ready)
        .unwrap()
        .clone();
    format!("{}: {}", ready.reason, ready.message)
}

#[test]
fn somebody_elses_secret_stops_everything_before_a_redemption() {
    let token = World {
        token: foreign(Handover::None),
        ..World::fresh()
    };
    let said = ready_after_a_pass(token);
    assert!(
        said.starts_with("SecretConflict: Secret helpdesk/support-token exists and is not ours"),
        "{said}"
    );
    assert!(
        said.contains("kubectl annotate secret -n helpdesk support-token emailasset.dev/adopt=support"),
        "{said}"
    );
    let grant = World {
        grant: foreign(Handover::None),
        ..World::fresh().rotating()
    };
    let said = ready_after_a_pass(grant);
    assert!(said.contains("Secret helpdesk/support-grant exists"), "{said}");
    assert!(
        !said.contains("spec.secret.name"),
        "the grant Secret's name cannot be chosen: {said}"
    );
}

#[test]
fn a_secret_that_was_handed_over_is_replaced() {
    let mut life = Life::of(World {
        grant: foreign(Handover::Granted),
        ..World::fresh().rotating()
    });
    life.until(1);
    assert_eq!(life.rows, [FRESH]);
    let mut life = Life::of(World {
        token: foreign(Handover::Granted),
        ..World::fresh()
    });
    life.until(1);
    assert_eq!(life.rows, [FRESH]);
}

#[test]
fn secrets_of_an_earlier_asset_are_waited_for() {
    for world in [
        World {
            token: Slot::Leaving,
            ..World::fresh()
        },
        World {
            grant: Slot::Leaving,
            ..World::fresh().rotating()
        },
    ] {
        let said = ready_after_a_pass(world);
        assert!(
            said.starts_with("Pending: An earlier EmailAsset helpdesk/support was deleted"),
            "{said}"
        );
    }
}

#[test]
fn a_rotating_seed_belongs_to_the_oldest_asset_that_names_it() {
    let younger = |world: World| World {
        seed_claim: SeedClaim::Older("helpdesk/sales".to_owned()),
        ..world
    };
    let said = ready_after_a_pass(younger(World::fresh().rotating()));
    assert!(
        said.starts_with("SecretConflict: The refresh token in Secret helpdesk/support-seed"),
        "{said}"
    );
    assert!(said.contains("EmailAsset helpdesk/sales"), "{said}");
    let mut life = Life::of(younger(World::fresh()));
    life.until(1);
    assert_eq!(life.rows, [FRESH], "a seed that does not rotate may be shared");
}

#[test]
fn a_rename_publishes_the_new_secret_and_then_drops_the_old() {
    for world in [World::fresh().published(0, 60), rotating()] {
        let token = world.token.ours().cloned();
        let renamed = World {
            token: Slot::Free,
            renamed: token,
            ..world
        };
        assert!(matches!(
            decide(&renamed, minute(10)).step,
            Step::Publish(Origin::Grant | Origin::Renamed)
        ));
        let mut life = Life::of(renamed);
        life.until(10);
        assert_eq!(life.world.renamed, None);
        assert_eq!(life.rows, [FRESH]);
        assert_eq!(life.sent.len(), 0, "no token is fetched for a rename");
    }
}

#[test]
fn the_old_secret_stays_while_the_new_name_is_taken() {
    let world = World::fresh().published(0, 60);
    let token = world.token.ours().cloned();
    let mut life = Life::of(World {
        token: foreign(Handover::None),
        renamed: token,
        ..world
    });
    life.until(10);
    assert!(life.world.renamed.is_some());
}

#[test]
fn an_expired_token_is_not_copied_but_its_record_is_kept() {
    let world = World::fresh().published(-120, -60);
    let token = world.token.ours().cloned();
    let mut life = Life::of(World {
        token: Slot::Free,
        renamed: token,
        ..world
    });
    life.until(0);
    assert_eq!(life.sent.len(), 1);
    assert_eq!(life.sent[0].1.from, Generation(3), "the generation never falls");
    assert_eq!(life.world.renamed, None);
    assert_eq!(life.rows, [FRESH]);
}

#[test]
fn a_newer_record_is_not_dropped_with_an_old_name() {
    // Renamed to and fro: the Secret of the present name is the older one, and the newer one holds the only ledger.
    let world = World::fresh().published(-120, -60);
    let newer = world.token.ours().cloned();
    let world = World {
        renamed: newer,
        ..world
    }
    .token_secret(|token| token.record.generation = Generation(2));
    assert_ne!(decide(&world.clone().suspended(), minute(0)).step, Step::DropRenamed);
    let mut life = Life::of(world);
    life.until(0);
    assert_eq!(life.world.renamed, None);
    assert_eq!(life.world.token.ours().unwrap().record.generation, Generation(4));
}

#[test]
fn a_change_of_what_surrounds_the_token_is_published_without_a_redemption() {
    for world in [World::fresh().published(0, 60), rotating()] {
        let mut life = Life::of(world.planned(|plan| plan.rendering = "rendering-2".to_owned()));
        life.until(10);
        assert_eq!(life.world.token.ours().unwrap().rendering, "rendering-2");
        assert_eq!(life.sent.len(), 0);
    }
}

#[test]
fn the_deletion_policy_adds_and_removes_the_owner() {
    let mut life = Life::of(rotating().planned(|plan| plan.retention = Retention::GoesWithAsset));
    life.until(1);
    assert_eq!(life.world.grant.ours().unwrap().retention, Retention::GoesWithAsset);
    life.change(|world| world.planned(|plan| plan.retention = Retention::Stays))
        .until(2);
    assert_eq!(life.world.grant.ours().unwrap().retention, Retention::Stays);
    assert_eq!((life.rows, life.sent.len()), (vec![FRESH.to_owned()], 0));
}

/// A new asset that finds the grant Secret of an earlier one of its name.
fn retained() -> World {
    let earlier = rotating().grant_secret(|grant| grant.heritage = Heritage::Retained);
    World {
        grant: earlier.grant,
        ..World::fresh().rotating()
    }
}

#[test]
fn a_retained_grant_is_taken_up_without_a_redemption() {
    let mut life = Life::of(retained());
    life.until(1);
    assert_eq!(life.world.grant.ours().unwrap().heritage, Heritage::Own);
    assert_eq!((life.rows, life.sent.len()), (vec![FRESH.to_owned()], 0));
    assert_eq!(life.world.status.grant.unwrap().generation, Some(3));
}

#[test]
fn a_retained_grant_is_taken_up_once_the_client_is_known() {
    let mut life = Life::of(retained().without_client());
    life.until(1);
    assert_eq!(life.world.grant.ours().unwrap().heritage, Heritage::Retained);
    assert_eq!(life.world.token, Slot::Free);
    life.change(|world| world.with_client("client-1")).until(2);
    assert_eq!(life.rows.last().unwrap(), FRESH);
    let unread = World {
        client: Input::Unread(super::worlds::version("new edition")),
        ..retained()
    };
    assert_eq!(decide(&unread, minute(1)).step, Step::ReadInputs);
}

#[test]
fn a_retained_grant_of_another_mailbox_or_client_is_left_alone() {
    let mailbox = retained().grant_secret(|grant| grant.mailbox = "old@example.com".to_owned());
    let said = ready_after_a_pass(mailbox);
    assert!(
        said.starts_with("SecretConflict: Secret helpdesk/support-grant holds a grant for old@example.com"),
        "{said}"
    );
    let client = retained().grant_secret(|grant| grant.record.binding = Some(binding("client-9")));
    let said = ready_after_a_pass(client);
    assert!(
        said.contains("kubectl delete secret -n helpdesk support-grant"),
        "{said}"
    );
}

#[test]
fn nothing_is_done_for_an_asset_that_is_leaving() {
    let world = World {
        presence: crate::lifecycle::Presence::Leaving { since: minute(0) },
        ..World::fresh()
    };
    let decision = decide(&world, minute(0));
    assert_eq!((decision.step, decision.wake), (Step::Rest, None));
}
