//! Random worlds and random lives of days: whatever happens, the rules of [`super::play`] hold and every pass comes to rest.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::{
    play::{Answer, Life},
    worlds::{fingerprint, foreign, lifetime, line, minute, seed, version},
};
use crate::{
    api::{FailureClass, GrantStatus, Reason, Rotation},
    lifecycle::{
        Activity, AttemptHolder, Generation, Handover, Heritage, Input, InputsSeen, Retention, Slot, Source, Standing,
        Step, Verdict, World, decide,
    },
};

/// So many random cases, or as many as `PROPTEST_CASES` says.
fn cases(count: u32) -> ProptestConfig {
    let wanted = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: wanted.unwrap_or(count),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Something that happens to an asset.
#[derive(Debug, Clone)]
enum Event {
    Live(i64),
    Answer(Answer),
    Seed(u8),
    NoSeed,
    Client(u8),
    NoClient,
    Endpoint(u8),
    Rotation(Rotation),
    Request(u8),
    Suspend,
    Resume,
    RefuseSpec,
    DeleteToken,
    DeleteGrant,
    BackUpGrant,
    RestoreGrant,
    Rename,
    Render(u8),
    Retain(Retention),
    RenewBefore(i64),
    ForeignToken(Handover),
    Restart,
    SetClock(i64),
}

fn answers() -> impl Strategy<Value = Answer> {
    prop_oneof![
        4 => prop_oneof![Just(3600), Just(300), Just(86_400), Just(20), Just(0), Just(i64::MAX), -10_000_i64..10_000].prop_map(Answer::Token),
        1 => Just(Answer::Refused),
        2 => Just(Answer::Trouble),
        1 => proptest::option::of(-5_i64..100_000).prop_map(Answer::TooMany),
        1 => Just(Answer::BadClient),
        2 => Just(Answer::Silence),
        1 => Just(Answer::Crash),
    ]
}

fn rotations() -> impl Strategy<Value = Rotation> {
    prop_oneof![Just(Rotation::None), Just(Rotation::Soft), Just(Rotation::Strict)]
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => (1_i64..300).prop_map(Event::Live),
        2 => (300_i64..5_000).prop_map(Event::Live),
        10 => answers().prop_map(Event::Answer),
        3 => (0_u8..4).prop_map(Event::Seed),
        1 => Just(Event::NoSeed),
        2 => (0_u8..2).prop_map(Event::Client),
        1 => Just(Event::NoClient),
        1 => (0_u8..2).prop_map(Event::Endpoint),
        1 => rotations().prop_map(Event::Rotation),
        2 => any::<u8>().prop_map(Event::Request),
        1 => Just(Event::Suspend),
        2 => Just(Event::Resume),
        1 => Just(Event::RefuseSpec),
        1 => Just(Event::DeleteToken),
        1 => Just(Event::DeleteGrant),
        1 => Just(Event::BackUpGrant),
        1 => Just(Event::RestoreGrant),
        1 => Just(Event::Rename),
        1 => (0_u8..3).prop_map(Event::Render),
        1 => prop_oneof![Just(Retention::Stays), Just(Retention::GoesWithAsset)].prop_map(Event::Retain),
        1 => (-10_i64..5_000).prop_map(Event::RenewBefore),
        1 => prop_oneof![Just(Handover::None), Just(Handover::Granted)].prop_map(Event::ForeignToken),
        2 => Just(Event::Restart),
        1 => (-6_000_i64..6_000).prop_map(Event::SetClock),
    ]
}

/// Lives through the events. Everything that is checked is checked in [`Life`].
fn live(world: World, events: &[Event]) -> Life {
    let mut life = Life::of(world);
    let mut plan = life.world.plan.clone().unwrap();
    let mut backup = Slot::Free;
    life.pass();
    for event in events {
        let spec_before = plan.clone();
        match event.clone() {
            Event::Live(minutes) => {
                let end = life.now + SignedDuration::from_mins(minutes);
                life.until_moment(end);
            }
            Event::Answer(answer) => life.answers.push_back(answer),
            Event::Seed(name) => {
                life.change(|world| world.seeded(&name.to_string()));
            }
            Event::NoSeed => {
                life.seed = None;
                life.change(World::without_seed);
            }
            Event::Client(name) => {
                life.change(|world| world.with_client(&name.to_string()));
            }
            Event::NoClient => {
                life.client = None;
                life.change(World::without_client);
            }
            Event::Endpoint(host) => plan.token_endpoint = format!("https://host-{host}.example.com"),
            Event::Rotation(rotation) => plan.rotation = rotation,
            Event::Request(value) => {
                life.change(|world| world.asked_for_a_refresh(&value.to_string()));
            }
            Event::Suspend => life.world.activity = Activity::Suspended,
            Event::Resume => {
                life.world.activity = Activity::Active;
                life.world.plan = Ok(plan.clone());
                if matches!(life.world.token, Slot::Foreign { .. }) {
                    life.world.token = Slot::Free;
                }
            }
            Event::RefuseSpec => {
                life.change(|world| world.refused_spec(Reason::InvalidSpec));
            }
            Event::DeleteToken => life.world.token = Slot::Free,
            Event::DeleteGrant => life.world.grant = Slot::Free,
            Event::BackUpGrant => backup = life.world.grant.clone(),
            Event::RestoreGrant => {
                life.world.grant = backup.clone();
                life.forget_schedule();
            }
            Event::Rename => {
                if let Slot::Ours(token) = std::mem::replace(&mut life.world.token, Slot::Free) {
                    life.world.renamed = Some(token);
                }
            }
            Event::Render(rendering) => plan.rendering = format!("rendering-{rendering}"),
            Event::Retain(retention) => plan.retention = retention,
            Event::RenewBefore(minutes) => plan.renew_before = Some(SignedDuration::from_mins(minutes)),
            Event::ForeignToken(handover) => life.world.token = foreign(handover),
            Event::Restart => {
                life.restart();
            }
            Event::SetClock(minutes) => {
                let now = life.now + SignedDuration::from_mins(minutes);
                life.set_clock(now);
            }
        }
        if plan != spec_before {
            life.world.asset_generation += 1;
            life.world.plan = Ok(plan.clone());
        }
        life.pass();
    }
    life
}

fn inputs<T: Clone + std::fmt::Debug>(
    version: crate::lifecycle::InputVersion,
    value: T,
) -> impl Strategy<Value = Input<T>> {
    prop_oneof![
        Just(Input::NotNeeded(value.clone())),
        Just(Input::Unread(version.clone())),
        Just(Input::Read(version, value)),
        Just(Input::Unusable("Not there.".to_owned())),
    ]
}

prop_compose! {
    /// What a Secret of ours might say, also if nobody of sound mind would have written it.
    fn records()(
        generation in 0_u64..6,
        bound in proptest::option::of(0_u8..2),
        life in proptest::option::of((-10_000_i64..200, -10_000_i64..10_000)),
        seeds in proptest::collection::vec((0_u8..3, any::<bool>()), 0..4),
        noted in proptest::option::of(0_u8..3),
    ) -> crate::lifecycle::Record {
        let mut record = crate::lifecycle::Record {
            generation: Generation(generation),
            binding: bound.map(|client| super::worlds::binding(&client.to_string())),
            lifetime: life.map(|(issued, length)| lifetime(issued, issued + length)),
            ..crate::lifecycle::Record::default()
        };
        for (name, taken) in seeds {
            let verdict = if taken { Verdict::Taken } else { Verdict::Refused };
            record.seeds = record.seeds.with(line(&name.to_string(), verdict));
        }
        // An edition never means two things: notes are of the present one or of an earlier one.
        record.inputs = match noted {
            Some(0) => InputsSeen {
                client: Some((version("0"), "0".to_owned())),
                seed: Some((version("1"), fingerprint("1"))),
            },
            Some(name) => InputsSeen {
                client: Some((version("earlier client"), name.to_string())),
                seed: Some((version("earlier seed"), fingerprint(&name.to_string()))),
            },
            None => InputsSeen::default(),
        };
        record
    }
}

fn slots<T: Clone + std::fmt::Debug>(ours: impl Strategy<Value = T>) -> impl Strategy<Value = Slot<T>> {
    prop_oneof![
        2 => Just(Slot::Free),
        4 => ours.prop_map(Slot::Ours),
        1 => Just(Slot::Leaving),
        1 => Just(foreign(Handover::None)),
        1 => Just(foreign(Handover::Granted)),
    ]
}

prop_compose! {
    fn grants()(
        record in records(),
        attempt in proptest::option::of(0_u8..3),
        unanswered in proptest::collection::vec(0_u8..3, 0..4),
        heritage in prop_oneof![3 => Just(Heritage::Own), 1 => Just(Heritage::Retained)],
        drifted in any::<bool>(),
        same_mailbox in any::<bool>(),
    ) -> crate::lifecycle::GrantSecret {
        let source = |number: u8| if number == 0 { Source::Grant } else { seed(&number.to_string()) };
        let mut world = World::fresh().grant_secret(|grant| {
            grant.record = record;
            grant.heritage = heritage;
            grant.retention = if drifted { Retention::GoesWithAsset } else { Retention::Stays };
            grant.mailbox = if same_mailbox { "support@example.com" } else { "other@example.com" }.to_owned();
        });
        for number in unanswered {
            world = world.unanswered(&source(number), minute(-1));
        }
        if let Some(number) = attempt {
            world = world.attempting(source(number), AttemptHolder::This);
        }
        world.grant.ours().cloned().unwrap()
    }
}

prop_compose! {
    fn worlds()(
        rotation in rotations(),
        client in inputs(version("0"), "0".to_owned()),
        seed in inputs(version("1"), fingerprint("1")),
        grant in slots(grants()),
        token in slots(records()),
        renamed in proptest::option::of(records()),
        suspended in any::<bool>(),
        request in proptest::option::of(Just("monday".to_owned())),
        shown in proptest::option::of(0_i64..6),
        failed in proptest::option::of((0_usize..5, 0_usize..Reason::ALL.len())),
        holder in prop_oneof![
            Just(AttemptHolder::This),
            Just(AttemptHolder::Earlier),
            (0_i64..200).prop_map(|seconds| AttemptHolder::Other { watched: SignedDuration::from_secs(seconds) }),
        ],
    ) -> World {
        let mut world = World::fresh().planned(|plan| plan.rotation = rotation);
        let secret = |record| crate::lifecycle::TokenSecret { record, rendering: "rendering-1".to_owned() };
        (world.client, world.seed, world.grant) = (client, seed, grant);
        world.token = match token {
            Slot::Free => Slot::Free,
            Slot::Ours(record) => Slot::Ours(secret(record)),
            Slot::Leaving => Slot::Leaving,
            Slot::Foreign { found, handover } => Slot::Foreign { found, handover },
        };
        world.renamed = renamed.map(secret);
        world.attempt_holder = holder;
        world.refresh_request = request;
        if suspended {
            world.activity = Activity::Suspended;
        }
        if let Some(generation) = shown {
            world.status.grant = Some(GrantStatus { generation: Some(generation), ..GrantStatus::default() });
        }
        if let Some((class, reason)) = failed {
            let class = [FailureClass::Retry, FailureClass::Throttled, FailureClass::Reauthorize, FailureClass::AdminConfig, FailureClass::Bug][class];
            crate::lifecycle::note_failure(&mut world, super::worlds::failure(class, Reason::ALL[reason]), minute(0), 0.5);
        }
        world
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn any_world_comes_to_rest_and_stays_there(world in worlds(), answers in proptest::collection::vec(answers(), 0..6)) {
        let mut life = Life::of(world.clone());
        life.client = Some((version("0"), "0".to_owned()));
        life.seed = Some((version("1"), fingerprint("1")));
        life.answers.extend(answers);
        life.pass();
        life.pass();
    }

    #[test]
    fn deciding_reads_no_clock_and_survives_any_time(world in worlds(), seconds in any::<i64>()) {
        let seconds = seconds.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
        let now = Timestamp::from_second(seconds).unwrap();
        let decision = decide(&world, now);
        prop_assert_eq!(&decision, &decide(&world, now));
        prop_assert!(decision.wake.is_none_or(|wake| wake > now || now == Timestamp::MAX));
        if matches!(decision.standing, Standing::Refused(_) | Standing::Conflict(_)) {
            prop_assert!(!matches!(decision.step, Step::Redeem(_)));
        }
        let _ = crate::lifecycle::status(&world, &decision.standing, now);
    }
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn days_of_trouble_break_no_rule(rotation in rotations(), events in proptest::collection::vec(events(), 1..60)) {
        let world = World::fresh().seeded("0").with_client("0").planned(|plan| plan.rotation = rotation);
        live(world, &events);
    }

    #[test]
    fn after_the_trouble_a_good_seed_brings_the_asset_back(rotation in rotations(), events in proptest::collection::vec(events(), 1..40)) {
        let world = World::fresh().seeded("0").with_client("0").planned(|plan| plan.rotation = rotation);
        let mut life = live(world, &events);
        life.answers.clear();
        let plan = super::worlds::plan();
        life.change(|mut world| {
            world.plan = Ok(crate::lifecycle::Plan { rotation, ..plan });
            world.activity = Activity::Active;
            world.asset_generation += 1;
            if world.token.ours().is_none() {
                world.token = Slot::Free;
            }
            world.with_client("0").seeded("a-new-one")
        });
        // A day is the longest that a provider's wish can hold us; a stored token of odd length may come first.
        let end = life.now + SignedDuration::from_hours(26);
        life.until_moment(end);
        prop_assert!(life.rows.last().unwrap().starts_with("R T Fresh | A T Stored"), "{:?}", life.rows);
    }
}
