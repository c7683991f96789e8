//! Every row of the state table in the design's section 4 that exists so far: conditions, step and wake.

use super::worlds::{failure, foreign, line, minute, row, seed};
use crate::{
    api::{FailureClass, Reason, Rotation},
    lifecycle::{
        AttemptHolder, Discovery, Fencing, Handover, Presence, SeedLedger, Slot, Source, Standing, Step, Verdict,
        World, decide, note_failure, status,
    },
};

/// What a pass at this minute would do and show, in one line.
fn line_of(world: &World, minutes: i64) -> String {
    let now = minute(minutes);
    let decision = decide(world, now);
    let step = match &decision.step {
        Step::Redeem(redeem) => match &redeem.source {
            Source::Grant => "Redeem the grant".to_owned(),
            Source::Seed(fingerprint) => format!("Redeem {}", fingerprint.0),
            Source::Client => "Ask for a token".to_owned(),
        },
        step => format!("{step:?}"),
    };
    let wake = decision.wake.map_or_else(
        || "no wake".to_owned(),
        |wake| format!("wake after {} s", wake.duration_since(now).as_secs()),
    );
    let row = status(world, &decision.standing, now).map_or_else(|| "no status".to_owned(), |status| row(&status));
    format!("{row} // {step}, {wake}")
}

macro_rules! rows {
    ($($name:ident: $world:expr, at minute $minute:expr => $line:expr;)+) => {
        $(#[test] fn $name() { assert_eq!(line_of(&$world, $minute), $line); })+
    };
}

/// A token of one hour, published at minute 0, where nothing rotates.
fn hour() -> World {
    World::fresh().published(0, 60)
}

/// The same where each answer replaces the refresh token.
fn rotating_hour() -> World {
    World::fresh().rotating().published(0, 60)
}

#[rustfmt::skip]
rows! {
    new_asset_redeems_its_seed: World::fresh(), at minute 0 =>
        "R F Pending | A U Pending | C T Pending // Redeem sha-a, no wake";
    new_asset_without_a_seed: World::fresh().without_seed(), at minute 0 =>
        "R F SeedRequired | A F SeedRequired | S T SeedRequired // Rest, no wake";
    new_asset_without_a_client: World::fresh().without_client(), at minute 0 =>
        "R F ClientMissing | A U Pending | X F ClientMissing | S T ClientMissing // Rest, no wake";

    endpoints_to_be_discovered: World { discovery: Discovery::Due, ..World::fresh().undiscovered(Reason::Pending, 1) }, at minute 0 =>
        "R F Pending | C T Pending // Discover, no wake";
    endpoints_are_being_discovered: World { discovery: Discovery::Underway, ..World::fresh().undiscovered(Reason::Pending, 1) }, at minute 0 =>
        "R F Pending | C T Pending // Rest, no wake";
    issuer_cannot_be_asked: World::fresh().undiscovered(Reason::Retrying, 1), at minute 0 =>
        "R F Retrying | X F Retrying | C T Retrying // Rest, wake after 60 s";
    issuer_is_asked_again: World::fresh().undiscovered(Reason::Retrying, 1), at minute 1 =>
        "R F Retrying | X F Retrying | C T Retrying // Discover, no wake";
    issuer_wants_patience: World::fresh().undiscovered(Reason::Throttled, 1), at minute 0 =>
        "R F Throttled | X F Throttled | C T Throttled // Rest, wake after 60 s";
    issuer_is_wrong: World::fresh().undiscovered(Reason::EndpointUnusable, 1), at minute 0 =>
        "R F EndpointUnusable | X F EndpointUnusable | S T EndpointUnusable // Rest, wake after 60 s";
    issuer_cannot_be_asked_and_the_token_is_valid: hour().ready_before().undiscovered(Reason::Retrying, 100), at minute 10 =>
        "R T Fresh | A T Stored | X F Retrying // Rest, wake after 3000 s";
    issuer_cannot_be_asked_and_the_token_has_expired: hour().ready_before().undiscovered(Reason::Retrying, 100), at minute 60 =>
        "R F TokenExpired | A T Stored | X F Retrying // Rest, wake after 2400 s";
    issuer_is_not_asked_for_a_suspended_asset: World { discovery: Discovery::Due, ..World::fresh().undiscovered(Reason::Suspended, 1).suspended() }, at minute 0 =>
        "R F Suspended // Rest, no wake";

    first_token_fails_and_may_pass: World::fresh().failed(FailureClass::Retry, Reason::Retrying, minute(0)), at minute 0 =>
        "R F Retrying | A U Pending | X F Retrying | C T Retrying // Rest, wake after 5 s";
    first_token_is_throttled: World::fresh().failed(FailureClass::Throttled, Reason::Throttled, minute(0)), at minute 0 =>
        "R F Throttled | A U Pending | X F Throttled | C T Throttled // Rest, wake after 60 s";
    first_token_fails_and_an_admin_must_act: World::fresh().failed(FailureClass::AdminConfig, Reason::ClientRejected, minute(0)), at minute 0 =>
        "R F ClientRejected | A U Pending | X F ClientRejected | S T ClientRejected // Rest, wake after 900 s";
    first_answer_is_lost: World::fresh().rotating().unanswered(&seed("a"), minute(0)).recorded().failed(FailureClass::Retry, Reason::OutcomeUnknown, minute(0)), at minute 0 =>
        "R F OutcomeUnknown | A U OutcomeUnknown | X F OutcomeUnknown | C T OutcomeUnknown // Rest, wake after 60 s";
    first_seed_is_refused: World::fresh().remembering_a_refused_seed("a").failed(FailureClass::Reauthorize, Reason::SeedRejected, minute(0)), at minute 0 =>
        "R F SeedRequired | A F SeedRequired | X F SeedRejected | S T SeedRequired // Rest, no wake";

    fresh: hour(), at minute 1 =>
        "R T Fresh | A T Stored | X T Refreshed // Rest, wake after 2340 s";
    fresh_rotating: rotating_hour(), at minute 1 =>
        "R T Fresh | A T Stored | X T Refreshed // Rest, wake after 2340 s";
    due: hour(), at minute 40 =>
        "R T Fresh | A T Stored | X T Refreshed // Redeem the grant, no wake";
    due_rotating: rotating_hour(), at minute 40 =>
        "R T Fresh | A T Stored | X T Refreshed // Redeem the grant, no wake";

    failing_while_the_token_is_valid: hour().failed(FailureClass::Retry, Reason::Retrying, minute(40)), at minute 40 =>
        "R T Fresh | A T Stored | X F Retrying // Rest, wake after 5 s";
    failing_after_the_token_expired: hour().failed(FailureClass::Retry, Reason::Retrying, minute(60)), at minute 60 =>
        "R F TokenExpired | A T Stored | X F Retrying // Rest, wake after 5 s";
    an_admin_must_act_while_the_token_is_valid: hour().failed(FailureClass::AdminConfig, Reason::ClientRejected, minute(40)), at minute 40 =>
        "R T Fresh | A T Stored | X F ClientRejected // Rest, wake after 900 s";
    an_admin_must_act_after_the_token_expired: hour().failed(FailureClass::AdminConfig, Reason::ClientRejected, minute(60)), at minute 60 =>
        "R F TokenExpired | A T Stored | X F ClientRejected | S T TokenExpired // Rest, wake after 900 s";
    our_request_is_wrong_after_the_token_expired: hour().failed(FailureClass::Bug, Reason::ClientRejected, minute(60)), at minute 60 =>
        "R F TokenExpired | A T Stored | X F ClientRejected | S T TokenExpired // Rest, wake after 900 s";

    outcome_unknown_while_the_token_is_valid: rotating_hour().unanswered(&Source::Grant, minute(40)).failed(FailureClass::Retry, Reason::OutcomeUnknown, minute(40)), at minute 40 =>
        "R T Fresh | A U OutcomeUnknown | X F OutcomeUnknown // Rest, wake after 900 s";
    outcome_unknown_after_the_token_expired: rotating_hour().unanswered(&Source::Grant, minute(60)).failed(FailureClass::Retry, Reason::OutcomeUnknown, minute(60)), at minute 60 =>
        "R F TokenExpired | A U OutcomeUnknown | X F OutcomeUnknown // Rest, wake after 60 s";
    outcome_unknown_found_after_a_restart: rotating_hour().unanswered(&Source::Grant, minute(40)), at minute 40 =>
        "R T Fresh | A U OutcomeUnknown | X F OutcomeUnknown // Rest, wake after 900 s";

    grant_refused_while_the_token_is_valid: hour().failed(FailureClass::Reauthorize, Reason::GrantRevoked, minute(40)), at minute 40 =>
        "R T Fresh | A F GrantRevoked | X F GrantRevoked // Rest, wake after 1200 s";
    grant_refused_after_the_token_expired: hour().failed(FailureClass::Reauthorize, Reason::GrantRevoked, minute(40)), at minute 60 =>
        "R F SeedRequired | A F GrantRevoked | X F GrantRevoked | S T SeedRequired // Rest, no wake";
    grant_expired_after_the_token_expired: rotating_hour().failed(FailureClass::Reauthorize, Reason::GrantExpired, minute(40)), at minute 60 =>
        "R F SeedRequired | A F GrantExpired | X F GrantExpired | S T SeedRequired // Rest, no wake";
    grant_lost_after_the_token_expired: rotating_hour().failed(FailureClass::Reauthorize, Reason::GrantLost, minute(55)), at minute 60 =>
        "R F SeedRequired | A F GrantLost | X F GrantLost | S T SeedRequired // Rest, no wake";

    client_missing_while_the_token_is_valid: hour().without_client(), at minute 50 =>
        "R T Fresh | A T Stored | X F ClientMissing // Rest, wake after 600 s";
    client_missing_after_the_token_expired: hour().without_client(), at minute 60 =>
        "R F TokenExpired | A T Stored | X F ClientMissing | S T TokenExpired // Rest, no wake";
    client_changed: hour().with_client("client-2").recorded(), at minute 10 =>
        "R F SeedRequired | A F SeedRequired | S T SeedRequired // Rest, wake after 3000 s";
    endpoint_changed: rotating_hour().planned(|plan| plan.token_endpoint = "https://other.example.com".to_owned()), at minute 10 =>
        "R F SeedRequired | A F SeedRequired | S T SeedRequired // Rest, wake after 3000 s";

    invalid_spec: hour().refused_spec(Reason::InvalidSpec), at minute 50 =>
        "R F InvalidSpec | A T Stored | X T Refreshed | S T InvalidSpec // Rest, no wake";
    host_not_allowed: hour().refused_spec(Reason::HostNotAllowed), at minute 50 =>
        "R F HostNotAllowed | A T Stored | X T Refreshed | S T HostNotAllowed // Rest, no wake";
    new_asset_with_an_invalid_spec: World::fresh().refused_spec(Reason::InvalidSpec), at minute 0 =>
        "R F InvalidSpec | S T InvalidSpec // Rest, no wake";
    provider_not_allowed: hour().refused_spec(Reason::ProviderNotAllowed), at minute 50 =>
        "R F ProviderNotAllowed | A T Stored | X T Refreshed | S T ProviderNotAllowed // Rest, no wake";
    provider_not_ready_while_the_token_is_valid: hour().refused_spec(Reason::ProviderNotReady), at minute 50 =>
        "R T Fresh | A T Stored | X F ProviderNotReady // Rest, wake after 600 s";
    provider_not_ready_after_the_token_expired: hour().refused_spec(Reason::ProviderNotReady), at minute 60 =>
        "R F ProviderNotReady | A T Stored | X F ProviderNotReady | S T ProviderNotReady // Rest, no wake";
    new_asset_whose_provider_is_not_ready: World::fresh().refused_spec(Reason::ProviderNotReady), at minute 0 =>
        "R F ProviderNotReady | X F ProviderNotReady | S T ProviderNotReady // Rest, no wake";
    secret_conflict: World { token: foreign(Handover::None), ..hour() }, at minute 50 =>
        "R F SecretConflict | A T Stored | X T Refreshed | S T SecretConflict // Rest, no wake";
    secret_conflict_of_the_grant: World { grant: foreign(Handover::None), ..rotating_hour() }, at minute 50 =>
        "R F SecretConflict | A T Stored | X T Refreshed | S T SecretConflict // Rest, no wake";

    suspended_while_the_token_is_valid: hour().suspended(), at minute 50 =>
        "R T Fresh | A T Stored | X T Refreshed // Rest, wake after 600 s";
    suspended_after_the_token_expired: hour().suspended(), at minute 60 =>
        "R F Suspended | A T Stored | X T Refreshed // Rest, no wake";
    suspended_while_failing_keeps_what_was_said: hour().failed(FailureClass::Retry, Reason::Retrying, minute(60)).suspended(), at minute 61 =>
        "R F Suspended | A T Stored | X F Retrying // Rest, no wake";
    suspended_from_the_start: World::fresh().suspended(), at minute 0 =>
        "R F Suspended | A U Pending // Rest, no wake";
    suspended_with_a_dead_grant_stays_with_its_person: hour().failed(FailureClass::Reauthorize, Reason::GrantRevoked, minute(40)).suspended(), at minute 60 =>
        "R F SeedRequired | A F GrantRevoked | X F GrantRevoked | S T SeedRequired // Rest, no wake";

    a_new_seed_was_refused_and_the_grant_goes_on: rotating_hour().seeded("b").recorded().ledger("b", Verdict::Refused).failed(FailureClass::Reauthorize, Reason::SeedRejected, minute(10)), at minute 11 =>
        "R T Fresh | A T Stored | X F SeedRejected // Rest, wake after 1740 s";
    a_replacement_was_refused_where_nothing_rotates: hour().seeded("b").recorded().ledger("b", Verdict::Refused).failed(FailureClass::Reauthorize, Reason::SeedRejected, minute(10)), at minute 11 =>
        "R T Fresh | A F SeedRequired | X F SeedRejected // Rest, wake after 2940 s";
    a_replacement_was_refused_and_the_token_expired: hour().seeded("b").recorded().ledger("b", Verdict::Refused).failed(FailureClass::Reauthorize, Reason::SeedRejected, minute(10)), at minute 60 =>
        "R F SeedRequired | A F SeedRequired | X F SeedRejected | S T SeedRequired // Rest, no wake";

    another_process_redeems: rotating_hour().attempting(Source::Grant, AttemptHolder::Other { watched: jiff::SignedDuration::from_secs(10) }), at minute 40 =>
        "R T Fresh | A T Stored | X T Refreshed // Rest, wake after 140 s";
    secrets_of_an_earlier_asset_are_leaving: World { token: Slot::Leaving, ..World::fresh() }, at minute 0 =>
        "R F Pending | C T Pending // Rest, no wake";
    being_deleted: World { presence: Presence::Leaving { since: minute(50) }, ..hour() }, at minute 50 =>
        "no status // Rest, no wake";
}

#[test]
fn where_nothing_rotates_a_refresh_is_not_fenced() {
    let fencing = |world: &World| match decide(world, minute(40)).step {
        Step::Redeem(redeem) => redeem.fencing,
        step => panic!("{step:?}"),
    };
    assert_eq!(fencing(&hour()), Fencing::Free);
    assert_eq!(fencing(&rotating_hour()), Fencing::Recorded);
    assert_eq!(
        fencing(&World::fresh().softly_rotating().published(0, 60)),
        Fencing::Recorded
    );
    let once_rotated = rotating_hour().planned(|plan| plan.rotation = Rotation::None);
    assert_eq!(fencing(&once_rotated), Fencing::Recorded);
}

#[test]
fn the_end_of_the_grant_outlives_a_failing_new_seed() {
    let mut world = rotating_hour();
    // Within one pass: the grant is refused, a new seed is in sight and fails too, and only then the status is made.
    note_failure(
        &mut world,
        failure(FailureClass::Reauthorize, Reason::GrantRevoked),
        minute(40),
        0.5,
    );
    world = world.seeded("b");
    note_failure(
        &mut world,
        failure(FailureClass::Retry, Reason::Retrying),
        minute(40),
        0.5,
    );
    assert_eq!(
        line_of(&world, 40),
        "R T Fresh | A F GrantRevoked | X F Retrying // RecordInputs, no wake"
    );
    assert!(matches!(decide(&world, minute(41)).step, Step::Redeem(redeem) if redeem.source == seed("b")));
}

#[test]
fn a_wrong_pair_of_plan_and_standing_still_has_a_ready() {
    let world = World::fresh().refused_spec(Reason::InvalidSpec);
    let status = status(&world, &Standing::Fine, minute(0)).unwrap();
    assert_eq!(row(&status), "R F InvalidSpec | S T InvalidSpec");
}

#[test]
fn conditions_keep_their_time_while_their_status_stays() {
    let world = hour().failed(FailureClass::Retry, Reason::Retrying, minute(40));
    let later = world.clone().failed(FailureClass::Retry, Reason::Throttled, minute(45));
    let times = |world: &World| -> Vec<_> {
        world
            .status
            .conditions
            .iter()
            .map(|shown| shown.last_transition_time.0)
            .collect()
    };
    assert_eq!(times(&world), [minute(0), minute(0), minute(40)]);
    assert_eq!(times(&later), times(&world));
}

#[test]
fn the_ledger_is_what_tells_that_a_grant_secret_was_lost() {
    let lost = World {
        grant: Slot::Free,
        ..World::fresh().rotating().published(0, 60)
    }
    .planned(|plan| plan.rotation = Rotation::None);
    let step = decide(&lost, minute(1)).step;
    assert_eq!(
        step,
        Step::ConfirmGrant,
        "an empty ledger beside a binding means that a grant Secret held it"
    );
    let never_had_one = hour().token_secret(|token| token.record.seeds = SeedLedger(vec![line("a", Verdict::Taken)]));
    assert_eq!(decide(&never_had_one, minute(1)).step, Step::Rest);
}

impl World {
    /// What was read is noted.
    fn recorded(mut self) -> Self {
        let noted =
            |world: &Self, record: &crate::lifecycle::Record| crate::lifecycle::inputs_now(world, &record.inputs);
        let copy = self.clone();
        match (&mut self.grant, &mut self.token) {
            (Slot::Ours(grant), _) => grant.record.inputs = noted(&copy, &grant.record),
            (_, Slot::Ours(token)) => token.record.inputs = noted(&copy, &token.record),
            _ => {}
        }
        self
    }
}
