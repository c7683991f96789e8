//! Two replicas: one leads, and whatever happens to it, nobody redeems a grant while another does, and no answer is dropped.
//!
//! `EMAILASSET_REPLICA_ROUNDS` is the number of rounds in which the leader is killed or frozen; `EMAILASSET_SEED` repeats their moments.

#![allow(clippy::print_stdout, reason = "the tables are what a soak run is for")]

use std::{collections::HashMap, convert::Infallible, path::PathBuf, pin::pin, time::Instant};

use futures::{StreamExt, future::join_all};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    runtime::{WatchStreamExt, watcher, watcher::Config},
};
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    crash::{
        evidence::{Evidence, holder, spooled},
        moments::{Subject, Tally, burst, count, is_empty, random_moment, seeded_random, settled, subjects},
    },
    support::{Fault, Match, Operator, Stage, Step, generation_of, random_suffix, run_directory, until, wait_for},
};

/// What a replica logs when it has the Lease.
const LEADS: &str = "election: leading lease=";
/// What it logs when it finds that it has lost it.
const LEADS_NO_MORE: &str = "no longer leading";
/// Longer than any freeze here: an answer that waits for a frozen process is not given up.
const PATIENT: &str = "120s";

/// The most pairs of replicas at a time.
const PAIRS: usize = 4;

struct Replica {
    operator: Operator,
    spool: PathBuf,
}

impl Replica {
    async fn start(stage: &Stage) -> Self {
        Self::start_under(stage, &[]).await
    }

    async fn start_under(stage: &Stage, environment: &[(&str, &str)]) -> Self {
        let spool = run_directory().join(format!("spool-{}", random_suffix()));
        Self::start_as(stage, spool, environment).await
    }

    async fn start_with(stage: &Stage, spool: PathBuf) -> Self {
        Self::start_as(stage, spool, &[]).await
    }

    async fn start_as(stage: &Stage, spool: PathBuf, environment: &[(&str, &str)]) -> Self {
        let path = spool.to_string_lossy();
        let operator = stage
            .operator_with(&["--token-timeout", PATIENT, "--spool-dir", &path], environment)
            .await;
        Self { operator, spool }
    }

    /// Waits until it leads, and has not lost the Lease since.
    async fn wait_until_it_leads(&self) {
        until("a replica leads", || async { self.leads().then_some(()) }).await;
    }

    async fn wait_until_it_has_lost_the_lease(&self) {
        self.operator.wait_for_line(LEADS_NO_MORE).await;
        until("a replica has lost the Lease", || async {
            (!self.leads()).then_some(())
        })
        .await;
    }

    /// The name of its process in attempts; its name in the Lease ends with it.
    fn holder(&self) -> String {
        let log = self.operator.log();
        let (_, identity) = log.split_once(LEADS).expect("it leads");
        let quoted = identity.split('"').find(|part| part.starts_with("test_"));
        quoted.expect("an identity").trim_start_matches("test_").to_owned()
    }

    fn leads(&self) -> bool {
        let log = self.operator.log();
        log.rfind(LEADS) > log.rfind(LEADS_NO_MORE)
    }
}

/// Two replicas in one namespace.
struct Pair {
    stage: Stage,
    leader: Replica,
    standby: Replica,
    /// Counts rounds, for names.
    rounds: u32,
}

/// What happens to the leader in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    /// SIGKILL; the other takes over, and then it is started again.
    Kill,
    /// SIGKILL, and it is started again at once, as a kubelet does.
    KillAndRestart,
    /// SIGSTOP until the other has taken over.
    Freeze,
}

const BLOWS: [Blow; 4] = [Blow::Freeze, Blow::KillAndRestart, Blow::Kill, Blow::Freeze];

#[tokio::test]
async fn on_sigterm_the_other_replica_leads_before_the_open_request_is_finished() {
    let stage = Stage::set("handover").await;
    let mut first = Replica::start(&stage).await;
    first.wait_until_it_leads().await;
    let second = Replica::start(&stage).await;
    let subject = &subjects(&stage, "open", 1).await[0];
    let held = stage.server.inject(held_answer(subject)).await;
    stage.request_refresh(&subject.asset, "now").await;
    held.wait_until_held(1).await;

    let told = Instant::now();
    first.operator.terminate();
    second.wait_until_it_leads().await;
    println!("hand-over took {:?}", told.elapsed());
    // It works at once, and leaves alone what the first has under way.
    subjects(&stage, "new", 1).await;
    assert_is_left_alone(&stage, subject).await;
    assert_eq!(
        stage.server.counters().await.open,
        1,
        "the first still waits for its answer"
    );

    held.release().await;
    assert!(first.operator.wait().await.success());
    stage.wait_for_generation(&subject.asset, 2).await;
    stage.assert_token_works(&subject.asset).await;
    let evidence = Evidence::of(&stage, &subject.asset, &subject.grant).await;
    evidence.assert_never_redeemed_twice(&subject.asset);
    assert!(evidence.alive && !evidence.attempted, "{evidence:?}");
    assert_eq!((evidence.generation, evidence.requests), (2, 2), "{evidence:?}");
}

#[tokio::test]
async fn a_status_that_a_frozen_leader_was_about_to_write_does_not_replace_its_successors() {
    let stage = Stage::set("stale-status").await;
    // Every status waits right before it is sent, long enough to be frozen there.
    let slow = [("FAILPOINTS", "before-status=sleep(5000)")];
    let first = Replica::start_under(&stage, &slow).await;
    first.wait_until_it_leads().await;
    let subject = &subjects(&stage, "overtaken", 1).await[0];
    let second = Replica::start(&stage).await;
    stage.request_refresh(&subject.asset, "first").await;
    stage.wait_for_generation(&subject.asset, 2).await;
    first.operator.freeze();
    second.wait_until_it_leads().await;
    stage.request_refresh(&subject.asset, "second").await;
    stage.wait_for_generation(&subject.asset, 3).await;
    settled(&stage, &subject.asset).await;

    first.operator.thaw();
    first
        .operator
        .wait_for_line("this replica leads no more, and the asset has changed since")
        .await;
    let asset = stage.assets.get(&subject.asset).await.unwrap();
    let status = asset.status.unwrap();
    assert_eq!(status.handled_requests.unwrap().refresh.as_deref(), Some("second"));
    assert_eq!(status.grant.unwrap().generation, Some(3));
}

#[tokio::test]
async fn leaders_that_are_killed_or_frozen_never_overlap_with_the_next_one() {
    let rounds = count("EMAILASSET_REPLICA_ROUNDS", 4);
    let mut random = seeded_random();
    println!("| round                | {}", Tally::HEADER);
    // Most of a round is waiting for a Lease to end, so some pairs go through theirs side by side.
    let blows: Vec<Blow> = BLOWS.into_iter().cycle().take(rounds as usize).collect();
    let share = blows.len().div_ceil(PAIRS).max(2);
    let pairs = blows.chunks(share).enumerate().map(|(number, blows)| {
        let random = StdRng::from_rng(&mut random);
        lane(number, blows, random)
    });
    let mut total = Tally::default();
    for tally in join_all(pairs).await {
        total.add(tally);
    }
    println!("| all                  {total}");
    total.record(
        "Leaders killed and frozen",
        rounds,
        "Two replicas; the one that leads is killed, or frozen past its Lease and woken again, in the middle of refreshes. Any overlap of two attempts fails the run.",
    );
}

async fn lane(number: usize, blows: &[Blow], mut random: StdRng) -> Tally {
    let mut pair = Pair::set().await;
    let mut total = Tally::default();
    for blow in blows {
        let secrets = pair.stage.secrets.clone();
        let tally = tokio::select! {
            tally = pair.round(*blow, &mut random) => tally,
            never = generations_never_fall(secrets) => match never {},
        };
        println!("| {:<20} {tally}", format!("{number} {blow:?}"));
        total.add(tally);
    }
    let counters = pair.stage.server.counters().await;
    assert_eq!((counters.grants_killed_by_replay, counters.max_overlapping), (0, 1));
    total
}

impl Pair {
    async fn set() -> Self {
        let stage = Stage::set("replicas").await;
        let leader = Replica::start(&stage).await;
        leader.wait_until_it_leads().await;
        let standby = Replica::start(&stage).await;
        Self {
            stage,
            leader,
            standby,
            rounds: 0,
        }
    }

    async fn round(&mut self, blow: Blow, random: &mut StdRng) -> Tally {
        self.rounds += 1;
        let prefix = format!("r{}", self.rounds);
        let subjects = subjects(&self.stage, &prefix, 3).await;
        let tally = match blow {
            Blow::Kill | Blow::KillAndRestart => self.kill(blow, &subjects, random).await,
            Blow::Freeze => self.freeze(&subjects, random).await,
        };
        // Whoever leads now does its work.
        self::subjects(&self.stage, &format!("{prefix}-after"), 1).await;
        tally
    }

    async fn kill(&mut self, blow: Blow, subjects: &[Subject], random: &mut StdRng) -> Tally {
        tokio::select! {
            () = burst(&self.stage, subjects) => {}
            () = random_moment(&self.stage, random) => {}
        }
        let dead = self.leader.holder();
        self.leader.operator.kill().await;
        let in_spool = spooled(&self.leader.spool);
        if blow == Blow::Kill {
            self.standby.wait_until_it_leads().await;
        }
        let restarted = Replica::start_with(&self.stage, self.leader.spool.clone()).await;
        self.leader = if blow == Blow::Kill {
            std::mem::replace(&mut self.standby, restarted)
        } else {
            // Its spool proves that its predecessor is dead: it need not wait for the Lease to end.
            restarted.wait_until_it_leads().await;
            restarted
        };
        let spool = if blow == Blow::Kill {
            &self.standby.spool
        } else {
            &self.leader.spool
        };
        until("the spool is healed", || async { is_empty(spool).then_some(()) }).await;
        let mut tally = Tally::default();
        for subject in subjects {
            self.wait_until_settled_or_held_by(&dead, &subject.asset).await;
            let evidence = Evidence::of(&self.stage, &subject.asset, &subject.grant).await;
            tally.judge(&subject.asset, &evidence, in_spool.contains(&subject.asset));
            self.stage.assert_token_works(&subject.asset).await;
        }
        tally
    }

    /// An attempt of a dead process is waited for by others for minutes, and all else is settled.
    async fn wait_until_settled_or_held_by(&self, dead: &str, asset: &str) {
        let held_by_the_dead = |secret: &Secret| holder(secret).as_deref() == Some(dead);
        let secret = wait_for(
            &self.stage.secrets,
            &format!("{asset}-grant"),
            "is settled or held",
            |secret| holder(secret).is_none() || held_by_the_dead(secret),
        )
        .await;
        if !held_by_the_dead(&secret) {
            settled(&self.stage, asset).await;
        }
    }

    /// The leader stands still while the server has an answer for it; the other takes over; the answer is stored by the one that does not lead any more.
    async fn freeze(&mut self, subjects: &[Subject], random: &mut StdRng) -> Tally {
        let (waiting, others) = subjects.split_first().expect("there are some");
        let held = self.stage.server.inject(held_answer(waiting)).await;
        self.stage.request_refresh(&waiting.asset, "now").await;
        held.wait_until_held(1).await;
        let frozen = async {
            random_moment(&self.stage, random).await;
            self.leader.operator.freeze();
            self.standby.wait_until_it_leads().await;
        };
        tokio::select! {
            () = burst(&self.stage, others) => {}
            () = frozen => {}
        }
        std::mem::swap(&mut self.leader, &mut self.standby);
        let (leader, thawed) = (&self.leader, &self.standby);
        // The new leader works, and leaves alone what the frozen one has under way.
        self::subjects(&self.stage, &format!("r{}-meanwhile", self.rounds), 1).await;
        assert_is_left_alone(&self.stage, waiting).await;
        held.release().await;
        thawed.operator.thaw();
        thawed.wait_until_it_has_lost_the_lease().await;
        self.stage.wait_for_generation(&waiting.asset, 2).await;
        join_all(subjects.iter().map(|subject| settled(&self.stage, &subject.asset))).await;
        assert!(leader.leads());
        let mut tally = Tally::default();
        for subject in subjects {
            let evidence = Evidence::of(&self.stage, &subject.asset, &subject.grant).await;
            tally.judge(&subject.asset, &evidence, false);
            assert!(
                evidence.alive,
                "{}: a frozen process drops no answer: {evidence:?}",
                subject.asset
            );
            self.stage.assert_token_works(&subject.asset).await;
        }
        tally
    }
}

/// Another process has an attempt open, and nobody calls its outcome unknown before its time (rule 9 of `docs/protocol.md`).
async fn assert_is_left_alone(stage: &Stage, subject: &Subject) {
    let evidence = Evidence::of(stage, &subject.asset, &subject.grant).await;
    assert!(
        evidence.attempted && !evidence.unanswered,
        "{}: {evidence:?}",
        subject.asset
    );
}

/// Watches what consumers see, and panics when an older token takes the place of a newer one.
async fn generations_never_fall(secrets: Api<Secret>) -> Infallible {
    let tokens = Config::default().fields("type=emailasset.dev/token");
    let mut seen: HashMap<String, Option<u64>> = HashMap::new();
    let mut changes = pin!(watcher(secrets, tokens).default_backoff().applied_objects());
    while let Some(change) = changes.next().await {
        let Ok(secret) = change else { continue };
        let (name, generation) = (secret.name_any(), generation_of(&secret));
        let before = seen.insert(name.clone(), generation).flatten();
        assert!(generation >= before, "{name} fell from {before:?} to {generation:?}");
    }
    unreachable!("a watch is tried again for ever")
}

/// The server has rotated and keeps its answer back.
fn held_answer(subject: &Subject) -> Fault {
    Fault {
        applies_to: Match {
            grant_id: Some(subject.grant.clone()),
            ..Match::default()
        },
        step: Step::After,
        hang: true,
        ..Fault::default()
    }
}
