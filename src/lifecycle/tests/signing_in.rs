//! Grants that begin with a person: the rows of the state table, and the ways between them.

use super::worlds::{minute, row};
use crate::{
    api::{ConditionType, FailureClass, Reason},
    lifecycle::{
        Fencing, Sight, SignInRefusal, Slot, Source, Standing, Step, World, condition, decide, note_failure,
        note_refusal, status,
    },
};

fn waiting() -> World {
    World::fresh().signing_in().shown(minute(0))
}

fn step(world: &World, minutes: i64) -> Step {
    decide(world, minute(minutes)).step
}

fn shown(world: &World, minutes: i64) -> String {
    let now = minute(minutes);
    row(&status(world, &decide(world, now).standing, now).unwrap())
}

#[test]
fn an_asset_that_waits_for_a_person_does_nothing_and_says_where_to_sign_in() {
    let world = World::fresh().signing_in();
    let decision = decide(&world, minute(0));
    assert_eq!((decision.step, decision.wake), (Step::Rest, None));
    assert_eq!(
        shown(&world, 0),
        "R F SignInRequired | A F SignInRequired | S T SignInRequired"
    );
    let status = status(&world, &decide(&world, minute(0)).standing, minute(0)).unwrap();
    let ready = condition(&status.conditions, ConditionType::Ready).unwrap();
    assert!(
        ready
            .message
            .contains("https://mail.example.com/sign-in/helpdesk/support/abc"),
        "{}",
        ready.message
    );
    assert!(
        ready
            .message
            .contains("kubectl emailasset authorize -n helpdesk support"),
        "{}",
        ready.message
    );
}

#[test]
fn a_sign_in_is_published_at_once() {
    let world = waiting().signed_in(1, 61);
    assert!(matches!(step(&world, 1), Step::Publish(_)));
    let world = world.and_published(1);
    assert_eq!(step(&world, 1), Step::Rest);
    assert_eq!(shown(&world, 1), "R T Fresh | A T Stored | X T Refreshed");
    let grant = world.status.grant.unwrap();
    assert_eq!(grant.account.as_deref(), Some("support@example.com"));
    assert_eq!(grant.generation, Some(1));
}

#[test]
fn where_nothing_rotates_a_refresh_leaves_the_grant_secret_alone() {
    let world = waiting().signed_in(0, 60).and_published(0);
    let Step::Redeem(redeem) = step(&world, 45) else {
        panic!("it is due");
    };
    assert_eq!((redeem.source, redeem.fencing), (Source::Grant, Fencing::Free));
    let world = world.refreshed(45, 105);
    assert_eq!(step(&world, 45), Step::Rest);
    assert_eq!(shown(&world, 45), "R T Fresh | A T Stored | X T Refreshed");
    let status = world.status.clone();
    assert_eq!(status.grant.unwrap().generation, Some(2));
    let Step::Redeem(redeem) = step(&world.restarted(), 90) else {
        panic!("it is due again, also for a process that has read nothing");
    };
    assert_eq!(redeem.from.0, 2);
}

#[test]
fn where_refresh_tokens_rotate_an_attempt_is_recorded() {
    let world = World::fresh().rotating().signing_in().signed_in(0, 60).and_published(0);
    let Step::Redeem(redeem) = step(&world, 45) else {
        panic!("it is due");
    };
    assert_eq!((redeem.source, redeem.fencing), (Source::Grant, Fencing::Recorded));
}

#[test]
fn a_refused_grant_asks_for_a_sign_in_when_the_token_has_ended_and_a_new_one_mends_it() {
    let mut world = waiting().signed_in(0, 60).and_published(0);
    note_failure(
        &mut world,
        super::worlds::failure(FailureClass::Reauthorize, Reason::GrantRevoked),
        minute(45),
        1.0,
    );
    let world = world.shown(minute(45));
    assert_eq!(shown(&world, 45), "R T Fresh | A F GrantRevoked | X F GrantRevoked");
    assert_eq!(step(&world, 46), Step::Rest);
    let world = world.shown(minute(61));
    assert_eq!(
        shown(&world, 61),
        "R F SignInRequired | A F GrantRevoked | X F GrantRevoked | S T SignInRequired"
    );
    let world = world.signed_in(70, 130);
    assert!(matches!(step(&world, 70), Step::Publish(_)));
    let world = world.and_published(70);
    assert_eq!(shown(&world, 70), "R T Fresh | A T Stored | X T Refreshed");
    assert_eq!(world.status.failure, None);
    assert_eq!(step(&world, 70), Step::Rest);
    assert!(matches!(step(&world, 115), Step::Redeem(_)));
}

#[test]
fn a_sign_in_that_changed_nothing_is_said_until_one_works() {
    let mut world = waiting();
    let refusal = SignInRefusal::WrongAccount {
        signed_in: "eve@example.com".to_owned(),
        wanted: "support@example.com".to_owned(),
    };
    note_refusal(&mut world, &refusal, minute(1));
    assert_eq!(
        shown(&world, 1),
        "R F SignInRequired | A F WrongAccount | S T SignInRequired"
    );
    let world = world.shown(minute(1)).signed_in(2, 62).and_published(2);
    assert_eq!(shown(&world, 2), "R T Fresh | A T Stored | X T Refreshed");
    assert_eq!(world.status.sign_in, None);
}

#[test]
fn a_refused_sign_in_beside_a_working_grant_changes_no_condition() {
    let mut world = waiting().signed_in(0, 60).and_published(0);
    note_refusal(&mut world, &SignInRefusal::ConsentDenied, minute(1));
    assert_eq!(shown(&world, 1), "R T Fresh | A T Stored | X T Refreshed");
}

#[test]
fn another_client_asks_for_a_sign_in_and_the_old_one_restores_the_grant() {
    let world = waiting().signed_in(0, 60).and_published(0).with_client("client-2");
    assert_eq!(step(&world, 45), Step::RecordInputs);
    assert_eq!(
        decide(&world, minute(45)).standing,
        Standing::ClientChanged(super::worlds::binding("client-1"))
    );
    assert_eq!(
        shown(&world, 45),
        "R F SignInRequired | A F SignInRequired | S T SignInRequired"
    );
    assert!(matches!(step(&world.with_client("client-1"), 45), Step::Redeem(_)));
}

#[test]
fn a_new_link_is_answered_in_the_status() {
    let world = waiting().asked_to_sign_in("again").shown(minute(1));
    let handled = world.status.handled_requests.unwrap();
    assert_eq!(handled.sign_in.as_deref(), Some("again"));
}

#[test]
fn an_asset_that_changed_to_a_seed_keeps_the_ledger_in_the_grant_secret() {
    let signed_in = waiting().signed_in(0, 60).and_published(0).refreshed(45, 105);
    let mut world = signed_in.seeded("a");
    world.plan.as_mut().unwrap().names.sign_in = None;
    world.grant_sight = Sight::Live;
    let world = world.shown(minute(46));
    let Step::Redeem(redeem) = step(&world, 106) else {
        panic!("the seed is a candidate: {:?}", step(&world, 106));
    };
    assert_eq!(redeem.fencing, Fencing::Recorded);
}

#[test]
fn a_code_is_asked_for_on_request_only() {
    let world = World::fresh().signing_in_by_device();
    assert_eq!(step(&world, 0), Step::Rest);
    assert!(matches!(step(&world.asked_to_sign_in("now"), 0), Step::BeginDevice(_)));
}

#[test]
fn a_code_is_shown_and_the_server_is_asked_after_its_interval() {
    let mut world = World::fresh()
        .signing_in_by_device()
        .asked_to_sign_in("now")
        .with_code("now", 15);
    world.device_due = minute(1);
    let decision = decide(&world, minute(0));
    assert_eq!((decision.step, decision.wake), (Step::Rest, Some(minute(1))));
    assert_eq!(
        shown(&world, 0),
        "R F SignInRequired | A F SignInRequired | C T SignInRequired"
    );
    let told = status(&world, &decide(&world, minute(0)).standing, minute(0)).unwrap();
    let sign_in = told.sign_in.unwrap();
    assert_eq!(sign_in.user_code.as_deref(), Some("BDSD-HQMK"));
    assert_eq!(told.handled_requests.unwrap().sign_in.as_deref(), Some("now"));
    assert!(matches!(step(&world, 1), Step::PollDevice(_)));
}

#[test]
fn a_code_that_has_run_out_is_dropped_and_not_asked_for_again() {
    let world = World::fresh()
        .signing_in_by_device()
        .asked_to_sign_in("now")
        .with_code("now", 15)
        .shown(minute(0));
    assert_eq!(step(&world, 15), Step::DropDevice);
    let mut dropped = world.grant_secret(|grant| grant.device = None);
    note_refusal(&mut dropped, &SignInRefusal::CodeExpired, minute(15));
    assert_eq!(step(&dropped, 15), Step::Rest);
    assert!(matches!(
        step(&dropped.asked_to_sign_in("again"), 15),
        Step::BeginDevice(_)
    ));
}

#[test]
fn a_code_of_another_client_is_dropped() {
    let world = World::fresh()
        .signing_in_by_device()
        .with_code("now", 15)
        .with_client("client-2");
    assert_eq!(step(&world, 0), Step::DropDevice);
}

#[test]
fn a_grant_secret_without_a_grant_is_no_grant() {
    let world = World::fresh().signing_in_by_device().with_code("now", 15);
    let world = world.grant_secret(|grant| grant.device = None);
    assert!(matches!(world.grant, Slot::Ours(_)));
    assert_eq!(step(&world, 0), Step::Rest);
    assert_eq!(
        shown(&world, 0),
        "R F SignInRequired | A F SignInRequired | S T SignInRequired"
    );
}
