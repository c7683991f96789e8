//! Every standing's status as people read it, in one file for review: `messages.txt`. After a change of words run the test with `UPDATE_SNAPSHOTS=1` and read
//! the difference.

use std::fmt::Write as _;

use super::{
    foresight,
    worlds::{foreign, lifetime, line, minute, seed},
};
use crate::{
    api::{EmailAssetStatus, FailureClass, Reason},
    lifecycle::{
        EndToldBy, GrantEnd, Handover, Heritage, SeedClaim, SignInRefusal, Slot, Source, Standing, Verdict, World,
        decide, note_refusal, status,
    },
};

fn hour() -> World {
    World::fresh().published(0, 60)
}

fn rotating_hour() -> World {
    World::fresh().rotating().published(0, 60)
}

fn retained() -> World {
    let earlier = rotating_hour().grant_secret(|grant| grant.heritage = Heritage::Retained);
    World {
        grant: earlier.grant,
        ..World::fresh().rotating()
    }
}

fn refused_sign_in(refusal: &SignInRefusal) -> World {
    let mut world = World::fresh().signing_in();
    note_refusal(&mut world, refusal, minute(0));
    world
}

/// A grant that ends at this minute, as the provider said at minute 0.
fn in_sight(world: World, end: i64) -> World {
    world.token_secret(|token| token.record.ends = Some(foresight::told(minute(end), minute(0))))
}

/// Title, world and the minute at which it is shown.
#[rustfmt::skip]
fn situations() -> Vec<(&'static str, World, i64)> {
    vec![
        ("The first token is on its way", World::fresh(), 0),
        ("The first token fails and may pass", World::fresh().failed(FailureClass::Retry, Reason::Retrying, minute(0)), 0),
        ("The first token fails and an admin must act", World::fresh().failed(FailureClass::AdminConfig, Reason::ClientRejected, minute(0)), 0),
        ("The first answer is lost", World::fresh().rotating().remembering_a_refused_seed("z").unanswered(&seed("a"), minute(0)).failed(FailureClass::Retry, Reason::OutcomeUnknown, minute(0)), 0),
        ("The client Secret is missing", World::fresh().without_client(), 0),
        ("The seed Secret is missing", World::fresh().without_seed(), 0),
        ("The first seed is refused", World::fresh().remembering_a_refused_seed("a").failed(FailureClass::Reauthorize, Reason::SeedRejected, minute(0)), 0),
        ("All is well", hour(), 1),
        ("A refresh fails, the token is valid", hour().failed(FailureClass::Retry, Reason::Retrying, minute(40)), 40),
        ("A refresh fails, the token has expired", hour().failed(FailureClass::Retry, Reason::Retrying, minute(60)), 60),
        ("An admin must act, the token has expired", hour().failed(FailureClass::AdminConfig, Reason::ClientRejected, minute(60)), 60),
        ("The client is missing, the token has expired", hour().without_client(), 60),
        ("The token has expired and nothing has failed", rotating_hour().attempting(Source::Grant, crate::lifecycle::AttemptHolder::Other { watched: jiff::SignedDuration::ZERO }), 60),
        ("An answer is lost", rotating_hour().unanswered(&Source::Grant, minute(40)).failed(FailureClass::Retry, Reason::OutcomeUnknown, minute(40)), 41),
        ("An answer is lost, found after a restart", rotating_hour().unanswered(&Source::Grant, minute(40)), 41),
        ("The grant is refused, the token is valid", hour().failed(FailureClass::Reauthorize, Reason::GrantRevoked, minute(40)), 41),
        ("The grant is refused, the token has expired", hour().failed(FailureClass::Reauthorize, Reason::GrantRevoked, minute(40)), 60),
        ("A new seed is refused", rotating_hour().seeded("b").ledger("b", Verdict::Refused).failed(FailureClass::Reauthorize, Reason::SeedRejected, minute(10)), 11),
        ("A new seed was refused, and a refresh has worked since", rotating_hour().seeded("b").ledger("b", Verdict::Refused), 11),
        ("A replacement is refused where nothing rotates", hour().seeded("b").ledger("b", Verdict::Refused).failed(FailureClass::Reauthorize, Reason::SeedRejected, minute(10)), 60),
        ("The seed is gone where nothing rotates", hour().without_seed(), 60),
        ("The client has changed", hour().with_client("client-2"), 10),
        ("The client has changed and may not use the seed in sight", hour().with_client("client-2").seeded("b").token_secret(|token| {
            let mut refused = line("b", Verdict::Refused);
            refused.client_id = "client-2".to_owned();
            token.record.seeds = token.record.seeds.clone().with(refused);
        }), 10),
        ("The spec is invalid", hour().refused_spec(Reason::InvalidSpec), 10),
        ("A host is not allowed", hour().refused_spec(Reason::HostNotAllowed), 10),
        ("The issuer could not be asked for the endpoints", World::fresh().undiscovered(Reason::Retrying, 1), 0),
        ("What the issuer says cannot be used", World::fresh().undiscovered(Reason::EndpointUnusable, 1), 0),
        ("The issuer cannot be asked, the token is valid", hour().ready_before().undiscovered(Reason::Retrying, 11), 10),
        ("The issuer cannot be asked, the token has expired", hour().ready_before().undiscovered(Reason::Retrying, 61), 60),
        ("Suspended before the issuer was ever asked", World::fresh().undiscovered(Reason::Suspended, 1).suspended(), 0),
        ("Somebody else's Secret has the token Secret's name", World { token: foreign(Handover::None), ..World::fresh() }, 0),
        ("Somebody else's Secret has the grant Secret's name", World { grant: foreign(Handover::None), ..World::fresh().rotating() }, 0),
        ("The rotating seed is an older asset's", World { seed_claim: SeedClaim::Older("helpdesk/sales".to_owned()), ..World::fresh().rotating() }, 0),
        ("A retained grant opens another mailbox", retained().grant_secret(|grant| grant.mailbox = "old@example.com".to_owned()), 0),
        ("A retained grant belongs to another client", retained().with_client("client-2"), 0),
        ("Secrets of an earlier asset are leaving", World { token: Slot::Leaving, ..World::fresh() }, 0),
        ("The grant Secret is missing", World { grant: Slot::Free, ..rotating_hour() }, 10),
        ("Suspended without a valid token", hour().suspended(), 60),
        ("Suspended with a valid token", hour().suspended().token_secret(|token| token.record.lifetime = Some(lifetime(0, 600))), 60),
        ("No person is needed, and the first token is on its way", super::direct::fresh(), 0),
        ("No person is needed, and all is well", super::direct::published(0, 60), 1),
        ("No person is needed, and an admin must act", super::direct::published(0, 60).failed(FailureClass::AdminConfig, Reason::ClientRejected, minute(60)), 60),
        ("Nobody has signed in yet", World::fresh().signing_in(), 0),
        ("Nobody has signed in yet, and the operator has no public address", World::fresh().signing_in().planned(|plan| {
            if let Some(way) = &mut plan.names.sign_in { way.page = None; }
        }), 0),
        ("Nobody has asked for a code yet", World::fresh().signing_in_by_device(), 0),
        ("A code waits to be entered", World::fresh().signing_in_by_device().with_code("now", 15), 0),
        ("Another account signed in", refused_sign_in(&SignInRefusal::WrongAccount { signed_in: "eve@example.com".to_owned(), wanted: "support@example.com".to_owned() }), 0),
        ("The same name signed in, and somebody else", refused_sign_in(&SignInRefusal::OtherSubject { signed_in: "support@example.com".to_owned() }), 0),
        ("Nothing proves who signed in", refused_sign_in(&SignInRefusal::IdentityUnproven { why: "The provider asserts no account. Set spec.oauth2.issuer to its OpenID Connect issuer.".to_owned() }), 0),
        ("A scope was not granted", refused_sign_in(&SignInRefusal::ScopeNotGranted { missing: vec!["https://mail.google.com/".to_owned()] }), 0),
        ("No refresh token was given", refused_sign_in(&SignInRefusal::NoRefreshToken), 0),
        ("The person said no", refused_sign_in(&SignInRefusal::ConsentDenied), 0),
        ("Only an admin may consent", refused_sign_in(&SignInRefusal::AdminConsentRequired), 0),
        ("Somebody else signed in meanwhile", refused_sign_in(&SignInRefusal::Superseded), 0),
        ("The grant of a sign-in is refused, the token has expired", World::fresh().signing_in().signed_in(0, 60).and_published(0).failed(FailureClass::Reauthorize, Reason::GrantRevoked, minute(40)), 60),
        ("Another client, where a person signs in", World::fresh().signing_in().signed_in(0, 60).and_published(0).with_client("client-2"), 10),
        ("The grant ends because the app is in testing", foresight::in_testing(), foresight::day(6)),
        ("The same, and a person signed in", World::fresh().signing_in().signed_in(0, 60).planned(|plan| plan.limits.while_testing = Some(foresight::days(7))).grant_secret(|grant| {
            grant.record.ends = Some(foresight::told(minute(foresight::day(7)), minute(0)));
        }).and_published(0), foresight::day(6)),
        ("The grant ends because the provider says so", in_sight(World::fresh().published(0, 60), foresight::day(90)), foresight::day(88)),
        ("The grant has ended, and nobody has tried since", in_sight(World::fresh().published(0, 60).suspended(), foresight::day(90)), foresight::day(91)),
        ("The grant ends because refresh tokens live no longer", World::fresh().published(0, 60).token_secret(|token| {
            token.record.ends = Some(GrantEnd { at: minute(foresight::day(30)), since: minute(0), told_by: EndToldBy::Catalogue });
        }), foresight::day(28)),
        ("A grant that each refresh prolongs is about to end", in_sight(World::fresh().rotating().published(0, 60), 60).grant_secret(|grant| {
            grant.record.ends = Some(foresight::told(minute(60), minute(0)));
        }).failed(FailureClass::AdminConfig, Reason::ClientRejected, minute(50)), 50),
        ("The grant ends because it is not used while suspended", foresight::idle(), foresight::day(88)),
        ("The same, and it is too late", foresight::idle(), foresight::day(91)),
        ("The grant ends because no refresh has worked for so long", foresight::limited(hour(), |limits| limits.max_idle = Some(foresight::days(90))).without_client(), foresight::day(88)),
        ("A refresh was asked for and has to wait", foresight::paced(hour()).asked_for_a_refresh("monday"), 0),
        ("A refresh was asked for while the provider asks for fewer", foresight::paced(hour()).failed(FailureClass::Throttled, Reason::Throttled, minute(40)).asked_for_a_refresh("monday"), 41),
        ("Being deleted", World { presence: crate::lifecycle::Presence::Leaving { since: minute(0) }, ..hour() }, 10),
    ]
}

fn written(status: &EmailAssetStatus) -> String {
    status.conditions.iter().fold(String::new(), |mut text, shown| {
        let _ = writeln!(
            text,
            "  {}={} {}\n      {}",
            shown.type_, shown.status, shown.reason, shown.message
        );
        text
    })
}

#[test]
fn messages_read_as_reviewed() {
    let mut text = String::from(
        "# What people read. Made by the test messages_read_as_reviewed; `UPDATE_SNAPSHOTS=1 cargo test --lib lifecycle` writes it.\n",
    );
    for (title, world, minutes) in situations() {
        let now = minute(minutes);
        let shown = status(&world, &decide(&world, now).standing, now);
        let shown = shown.map_or_else(|| "  (nothing is reported)\n".to_owned(), |status| written(&status));
        let _ = write!(text, "\n## {title}\n{shown}");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/lifecycle/tests/messages.txt");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let reviewed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        text == reviewed,
        "the messages differ from src/lifecycle/tests/messages.txt; run with UPDATE_SNAPSHOTS=1 and read the difference. First new line: {:?}",
        text.lines()
            .zip(reviewed.lines().chain(std::iter::repeat("")))
            .find(|(new, old)| new != old)
    );
}

#[test]
fn every_standing_is_among_the_situations() {
    let standings: Vec<Standing> = situations()
        .iter()
        .map(|(_, world, minutes)| decide(world, minute(*minutes)).standing)
        .collect();
    let name = |standing: &Standing| match standing {
        Standing::Leaving => 0,
        Standing::Refused(_) => 1,
        Standing::Conflict(_) => 2,
        Standing::Waiting(_) => 3,
        Standing::ClientMissing(_) => 4,
        Standing::ClientChanged(_) => 5,
        Standing::SeedRequired(_) => 6,
        Standing::GrantRefused => 7,
        Standing::Failing => 8,
        Standing::SeedRejected => 9,
        Standing::Fine => 10,
        Standing::SignInRequired(_) => 11,
        Standing::DevicePending(_) => 12,
    };
    for kind in 0..=12 {
        assert!(
            standings.iter().any(|standing| name(standing) == kind),
            "standing {kind} is not shown"
        );
    }
}

#[test]
fn a_condition_that_asks_for_something_names_a_command() {
    let asks = ["SeedRequired", "SignInRequired", "SecretConflict", "Suspended"];
    for (title, world, minutes) in situations() {
        let now = minute(minutes);
        let Some(shown) = status(&world, &decide(&world, now).standing, now) else {
            continue;
        };
        for shown in shown
            .conditions
            .iter()
            .filter(|shown| asks.contains(&shown.reason.as_str()))
        {
            // What the controller says of a missing Secret has its own command.
            let names_one = shown.message.contains("kubectl ") && shown.message.contains("helpdesk");
            let asks_for_more = shown.message.contains("make it") || shown.message.contains("and enter ");
            assert!(names_one || asks_for_more, "{title}: {}", shown.message);
        }
        for shown in &shown.conditions {
            assert!(
                !shown.message.is_empty() && shown.message.len() < 1024,
                "{title}: {}",
                shown.type_
            );
        }
    }
}

#[test]
fn a_step_that_the_provider_s_words_contain_is_not_said_twice() {
    let world = hour();
    let names = &world.plan.as_ref().unwrap().names;
    let step = crate::lifecycle::new_grant(names);
    let said = format!("Google says that the grant was revoked. {step}");
    assert_eq!(crate::lifecycle::messages::grant_is_refused(&said, names), said);
    assert_eq!(crate::lifecycle::messages::grant_is_refused("", names), step);
}
