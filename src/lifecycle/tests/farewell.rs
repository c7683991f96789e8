//! The end of an asset under `grantDeletionPolicy: Revoke`.

use jiff::SignedDuration;

use super::worlds::*;
use crate::{
    api::{FailureClass, Reason},
    lifecycle::{
        AttemptHolder, Discovery, Farewell, Hold, Input, Presence, Slot, Source, Step, World, decide, world::Heritage,
        world::PlanRefusal,
    },
};

fn hour() -> World {
    World::fresh().published(0, 60)
}

fn rotating_hour() -> World {
    World::fresh().rotating().published(0, 60)
}

/// Under Revoke, with our finalizer.
fn held(world: World) -> World {
    World {
        hold: Hold::Held,
        ..world.planned(|plan| plan.farewell = Farewell::Revoke)
    }
}

/// Deleted at minute 50.
fn deleted(world: World) -> World {
    World {
        presence: Presence::Leaving { since: minute(50) },
        ..held(world)
    }
}

fn step(world: &World, at: i64) -> Step {
    decide(world, minute(at)).step
}

fn parting(world: &World, at: i64) -> String {
    match step(world, at) {
        Step::Part(Some(reason)) => reason,
        step => panic!("{step:?}"),
    }
}

#[test]
fn an_asset_is_held_before_anything_is_redeemed_for_it() {
    let world = World::fresh().planned(|plan| plan.farewell = Farewell::Revoke);
    assert_eq!(step(&world, 0), Step::Hold);
    assert!(matches!(step(&held(World::fresh()), 0), Step::Redeem(_)));
}

#[test]
fn an_asset_that_need_not_be_held_any_more_is_let_go() {
    let world = World {
        hold: Hold::Held,
        ..hour()
    };
    assert_eq!(step(&world, 1), Step::LetGo);
    let presence = Presence::Leaving { since: minute(50) };
    assert_eq!(step(&World { presence, ..world }, 51), Step::LetGo);
}

#[test]
fn the_newest_refresh_token_is_given_back_when_the_asset_is_deleted() {
    assert_eq!(step(&deleted(rotating_hour()), 51), Step::Revoke(Source::Grant));
    assert_eq!(step(&deleted(hour()), 51), Step::Revoke(seed("a")));
}

#[test]
fn what_must_be_known_for_that_is_read_first() {
    let unread = World {
        client: Input::Unread(version("client-2")),
        ..deleted(rotating_hour())
    };
    assert_eq!(step(&unread, 51), Step::ReadInputs);
    let unread = World {
        seed: Input::Unread(version("b")),
        ..deleted(hour())
    };
    assert_eq!(step(&unread, 51), Step::ReadInputs);
}

#[test]
fn an_attempt_of_another_process_is_waited_for_since_its_answer_is_the_newest_token() {
    let watched = SignedDuration::from_secs(10);
    let world = deleted(rotating_hour().attempting(Source::Grant, AttemptHolder::Other { watched }));
    let decision = decide(&world, minute(50));
    assert_eq!(decision.step, Step::Rest);
    assert!(
        decision
            .wake
            .is_some_and(|wake| wake > minute(50) && wake <= minute(55))
    );
    let own = World {
        attempt_holder: AttemptHolder::This,
        ..world
    };
    assert_eq!(step(&own, 51), Step::Revoke(Source::Grant));
}

#[test]
fn a_deletion_waits_five_minutes_for_the_provider_and_then_goes_on() {
    let world = deleted(rotating_hour());
    assert_eq!(step(&world, 54), Step::Revoke(Source::Grant));
    assert_eq!(parting(&world, 55), "Google did not take it within five minutes.");
}

#[test]
fn where_nothing_was_stored_there_is_nothing_to_give_back() {
    assert_eq!(step(&deleted(World::fresh()), 51), Step::Part(None));
    let refused = rotating_hour().failed(FailureClass::Reauthorize, Reason::GrantRevoked, minute(40));
    assert_eq!(step(&deleted(refused), 51), Step::Part(None));
}

#[test]
fn a_client_that_asks_for_its_tokens_itself_has_nothing_to_give_back() {
    let world = deleted(hour()).planned(|plan| plan.question = Some("digest".to_owned()));
    assert_eq!(step(&world, 51), Step::Part(None));
}

#[test]
fn a_retained_grant_that_was_not_taken_up_is_not_this_assets_to_give_back() {
    let mut world = deleted(rotating_hour());
    if let Slot::Ours(grant) = &mut world.grant {
        grant.heritage = Heritage::Retained;
    }
    assert_eq!(step(&world, 51), Step::Part(None));
}

#[test]
fn a_token_is_never_given_back_under_another_client() {
    let world = World {
        client: Input::Read(version("client-2"), "client-2".to_owned()),
        ..deleted(rotating_hour())
    };
    assert!(parting(&world, 51).starts_with("It belongs to another OAuth client"));
}

#[test]
fn a_deletion_does_not_hang_on_what_is_missing() {
    let gone = World {
        client: Input::Unusable("Secret helpdesk/google-oauth-client does not exist; make it.".to_owned()),
        ..deleted(rotating_hour())
    };
    assert!(parting(&gone, 51).starts_with("What is needed for that is missing: Secret helpdesk/google-oauth-client"));
    let refusal = PlanRefusal {
        reason: Reason::InvalidSpec,
        message: "spec.provider is \"gogle\".".to_owned(),
    };
    let unplanned = World {
        plan: Err(refusal),
        ..deleted(rotating_hour())
    };
    assert_eq!(
        parting(&unplanned, 51),
        "The spec cannot be carried out: spec.provider is \"gogle\"."
    );
}

#[test]
fn where_a_token_is_given_back_is_asked_of_the_issuer_but_not_for_ever() {
    let unknown = deleted(rotating_hour()).undiscovered(Reason::Retrying, 52);
    let due = World {
        discovery: Discovery::Due,
        ..unknown.clone()
    };
    assert_eq!(step(&due, 51), Step::Discover);
    let underway = World {
        discovery: Discovery::Underway,
        ..unknown.clone()
    };
    let decision = decide(&underway, minute(51));
    assert_eq!((decision.step, decision.wake), (Step::Rest, Some(minute(55))));
    let decision = decide(&unknown, minute(51));
    assert_eq!((decision.step, decision.wake), (Step::Rest, Some(minute(52))));
    assert_eq!(step(&unknown, 52), Step::Discover);
    assert!(parting(&unknown, 55).starts_with("The spec cannot be carried out: What the issuer"));
    assert!(parting(&due, 55).starts_with("The spec cannot be carried out: "));
}

#[test]
fn the_events_say_what_was_done_and_what_is_left_to_do() {
    assert_eq!(
        crate::lifecycle::not_revoked("Google did not take it within five minutes.", &plan().names),
        "The refresh token of support@example.com was not given back to Google, and the asset goes without that. Google did not take it within five minutes. To end \
         the access, remove the app from the account at Google, or delete the OAuth client."
    );
}
