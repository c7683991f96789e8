//! Tokens that are issued to the client itself: no person, no refresh token, no grant Secret.

use super::worlds::*;
use crate::{
    api::{ConditionType, FailureClass, GrantStatus, Reason},
    lifecycle::*,
};

const QUESTION: &str = "question-1";

fn asked(question: &str) -> Binding {
    Binding {
        question: Some(question.to_owned()),
        ..binding("client-1")
    }
}

/// A new asset whose tokens are issued to its client.
pub(super) fn fresh() -> World {
    let mut world = World::fresh().planned(|plan| plan.question = Some(QUESTION.to_owned()));
    world.seed = Input::Unnamed;
    world
}

/// Its token of generation 3 was published at minute `issued` and ends at minute `expires`.
pub(super) fn published(issued: i64, expires: i64) -> World {
    fresh()
        .token_secret(|token| {
            token.record = Record {
                generation: Generation(3),
                binding: Some(asked(QUESTION)),
                lifetime: Some(lifetime(issued, expires)),
                inputs: InputsSeen {
                    client: Some((version("client-1"), "client-1".to_owned())),
                    seed: None,
                },
                ..Record::default()
            };
            token.rendering = "rendering-1".to_owned();
        })
        .shown(minute(issued))
}

fn step(world: &World, at: i64) -> Step {
    decide(world, minute(at)).step
}

fn issue(from: u64) -> Step {
    Step::Redeem(Redeem {
        from: Generation(from),
        source: Source::Client,
        binding: asked(QUESTION),
        history: History::Clean,
        fencing: Fencing::Free,
    })
}

fn shows(world: &World, at: i64) -> String {
    row(&status(world, &decide(world, minute(at)).standing, minute(at)).unwrap())
}

#[test]
fn a_new_asset_asks_at_once_and_records_no_attempt_even_where_the_server_rotates() {
    assert_eq!(step(&fresh(), 0), issue(0));
    assert_eq!(step(&fresh().rotating(), 0), issue(0));
    assert_eq!(shows(&fresh(), 0), "R F Pending | A U Pending | C T Pending");
}

#[test]
fn a_token_is_replaced_when_it_is_due_and_not_before() {
    let world = published(0, 60);
    assert_eq!(shows(&world, 0), "R T Fresh | A T Stored | X T Refreshed");
    assert_eq!(step(&world, 39), Step::Rest);
    assert_eq!(decide(&world, minute(1)).wake, Some(minute(40)));
    assert_eq!(step(&world, 40), issue(3));
}

#[test]
fn a_restart_reads_nothing_and_asks_for_nothing() {
    let world = published(0, 60).restarted();
    assert_eq!(step(&world, 10), Step::Rest);
    assert_eq!(shows(&world, 10), "R T Fresh | A T Stored | X T Refreshed");
}

#[test]
fn another_question_or_client_means_another_token_at_once_and_nobody_has_to_act() {
    let tenant = published(0, 60).planned(|plan| plan.question = Some("question-2".to_owned()));
    let client = published(0, 60).with_client("client-2");
    for world in [tenant, client] {
        let Step::Redeem(redeem) = step(&world, 10) else {
            panic!("{:?}", step(&world, 10))
        };
        assert_eq!((redeem.source, redeem.from), (Source::Client, Generation(3)));
        // The old token opens another account, perhaps: it is not called the asset's.
        assert_eq!(
            shows(&world, 10),
            "R F Pending | A U Pending | X T Refreshed | C T Pending"
        );
    }
}

#[test]
fn a_failure_backs_off_and_a_change_of_the_client_ends_that() {
    let world = published(0, 60).failed(FailureClass::AdminConfig, Reason::ClientRejected, minute(40));
    assert_eq!(
        shows(&world, 41),
        "R T Fresh | A T Stored | X F ClientRejected",
        "the token is still valid"
    );
    assert_eq!(step(&world, 41), Step::Rest);
    assert!(decide(&world, minute(41)).wake.is_some());
    let mut rotated = world.clone();
    rotated.client = Input::Read(version("client-1-again"), "client-1".to_owned());
    assert_eq!(step(&rotated, 41), issue(3), "a new key is tried at once");
    assert_eq!(
        shows(&world, 61),
        "R F TokenExpired | A T Stored | X F ClientRejected | S T TokenExpired"
    );
    let first = fresh().failed(FailureClass::Retry, Reason::Retrying, minute(0));
    assert_eq!(
        shows(&first, 0),
        "R F Retrying | A U Pending | X F Retrying | C T Retrying"
    );
}

#[test]
fn a_missing_client_is_said_and_nothing_is_asked() {
    let world = published(0, 60).without_client();
    assert_eq!(step(&world, 50), Step::Rest);
    assert_eq!(shows(&world, 50), "R T Fresh | A T Stored | X F ClientMissing");
}

#[test]
fn a_request_is_met_at_once_and_a_deleted_secret_not_faster_than_every_half_minute() {
    assert_eq!(step(&published(0, 60).asked_for_a_refresh("now"), 1), issue(3));
    let mut deleted = published(0, 60);
    deleted.token = Slot::Free;
    assert_eq!(decide(&deleted, start()).step, Step::Rest);
    assert!(matches!(step(&deleted, 1), Step::Redeem(_)));
}

#[test]
fn a_suspended_asset_asks_for_nothing() {
    assert_eq!(step(&fresh().suspended(), 0), Step::Rest);
    assert_eq!(step(&published(0, 60).suspended(), 70), Step::Rest);
}

#[test]
fn an_earlier_grant_that_was_refused_is_no_reason_to_wait() {
    let mut world = World::fresh()
        .published(0, 60)
        .failed(FailureClass::Reauthorize, Reason::GrantRevoked, minute(40));
    world.seed = Input::Unnamed;
    let world = world.planned(|plan| plan.question = Some(QUESTION.to_owned()));
    let world = World {
        asset_generation: 2,
        token: Slot::Ours(world.token.ours().unwrap().clone().under(world.plan.as_ref().unwrap())),
        ..world
    };
    assert_eq!(step(&world, 41), issue(0));
}

#[test]
fn what_was_issued_in_the_other_way_counts_for_nothing() {
    let refreshed = World::fresh().published(0, 60);
    let issued = published(0, 60);
    let (with_grant, without) = (refreshed.plan.clone().unwrap(), issued.plan.clone().unwrap());
    let of = |world: &World| world.token.ours().unwrap().clone();
    assert_eq!(of(&refreshed).under(&with_grant), of(&refreshed));
    assert_eq!(of(&issued).under(&without), of(&issued));
    for (token, plan) in [(of(&refreshed), &without), (of(&issued), &with_grant)] {
        let counted = token.clone().under(plan);
        assert_eq!((counted.record.binding, counted.record.lifetime), (None, None));
        assert_eq!(counted.record.generation, Generation(0));
        assert_eq!(
            counted.record.inputs, token.record.inputs,
            "or they would be noted again and again"
        );
    }
    // Back to a seed: it is new, and redeemed.
    let mut back = World::fresh();
    back.token = Slot::Ours(of(&issued).under(&with_grant));
    assert!(matches!(decide(&back, start()).step, Step::Redeem(redeem) if redeem.source == seed("a")));
}

#[test]
fn the_status_tells_of_no_grant_and_forgets_no_count() {
    let world = published(0, 60);
    assert_eq!(world.status.grant, None);
    let token = world.status.token.as_ref().unwrap();
    assert_eq!(token.refresh_count, Some(1));
    let again = world.clone().shown(minute(5));
    assert_eq!(
        again.status.token.unwrap().refresh_count,
        Some(1),
        "the same token is counted once"
    );

    let mut earlier = world;
    earlier.status.grant = Some(GrantStatus {
        account: Some("jane@example.com".to_owned()),
        generation: Some(2),
        ..GrantStatus::default()
    });
    let earlier = earlier.shown(minute(5));
    let grant = earlier.status.grant.clone().unwrap();
    assert_eq!((grant.account, grant.generation), (None, Some(2)));
    assert_eq!(earlier.status.token.unwrap().refresh_count, Some(1));
}

#[test]
fn nobody_can_sign_in_for_it() {
    let said = may_sign_in(&published(0, 60)).unwrap_err();
    assert!(said.contains("nobody has to sign in"), "{said}");
    let status = published(0, 60).status;
    let shown = |kind| condition(&status.conditions, kind).unwrap().message.clone();
    assert!(
        shown(ConditionType::Authorized)
            .starts_with("Google issues access tokens for support@example.com to the client in Secret")
    );
}
