//! The operator is killed at random moments of many refreshes, and what became of each grant is put down to a cause.

#![allow(clippy::print_stdout, reason = "the tables are what a soak run is for")]

use std::{fmt, path::Path, time::Duration};

use futures::future::join_all;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;

use super::evidence::{Evidence, spooled, wait_until_no_attempt_is_open, wait_until_request_is_answered};
use crate::support::{Stage, generation_of, record, wait_for};

/// Refreshed at the same time.
const ASSETS: usize = 4;
/// Up to so many requests of a burst are let through before the kill.
const WARM_UP: u64 = 10;
/// Microseconds within which a refresh is through, roughly: the kill falls into them.
const ONE_REFRESH: u64 = 60_000;

/// An asset and its grant's ID at the server.
pub(crate) struct Subject {
    pub(crate) asset: String,
    pub(crate) grant: String,
}

/// What became of grants, as counts.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    /// The newest refresh token is stored.
    pub(crate) kept: u32,
    /// Of these: from the spool of the killed process.
    pub(crate) healed: u32,
    /// Of these: an attempt was recorded whose request did no harm.
    pub(crate) unspent: u32,
    /// The server has rotated and the process was killed before it had spooled the answer: window (d).
    pub(crate) window: u32,
    /// Of these: the server had sent the answer.
    pub(crate) sent: u32,
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "| {:>4} | {:>6} | {:>7} | {:>10} | {:>4} |",
            self.kept, self.healed, self.unspent, self.window, self.sent
        )
    }
}

impl Tally {
    pub(crate) const HEADER: &str = "kept | healed | unspent | window (d) | sent |";

    /// Puts the sums of a long run (`make soak`) into `docs/measurements.md`.
    pub(crate) fn record(self, title: &str, rounds: u32, what: &str) {
        if std::env::var_os("EMAILASSET_SOAK").is_none() {
            return;
        }
        let rule = "--- | ".repeat(5);
        let body = format!(
            "{what}\n\n| rounds | {}\n| --- | {}\n| {rounds} {self}",
            Self::HEADER,
            rule.trim_end()
        );
        record(title, &body);
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.kept += other.kept;
        self.healed += other.healed;
        self.unspent += other.unspent;
        self.window += other.window;
        self.sent += other.sent;
    }

    /// Judges one grant after a kill: kept, or lost where that cannot be helped. Anything else fails the test.
    pub(crate) fn judge(&mut self, asset: &str, evidence: &Evidence, was_spooled: bool) {
        evidence.assert_never_redeemed_twice(asset);
        let unstored = evidence.requests - evidence.generation;
        assert!(unstored <= 1, "{asset}: more than one answer is missing: {evidence:?}");
        if evidence.alive {
            assert!(
                unstored == 0 || evidence.unanswered || evidence.attempted,
                "{asset}: a request went out that nothing tells of: {evidence:?}"
            );
            self.kept += 1;
            self.healed += u32::from(was_spooled);
            self.unspent += u32::from(evidence.unanswered || evidence.attempted);
            return;
        }
        assert!(
            !was_spooled,
            "{asset}: the answer was in the spool and is lost: {evidence:?}"
        );
        assert_eq!(
            unstored, 1,
            "{asset}: the stored refresh token is spent, and no request tells why: {evidence:?}"
        );
        assert!(
            evidence.unanswered || evidence.attempted,
            "{asset}: an answer is lost and the grant Secret does not say so: {evidence:?}"
        );
        self.window += 1;
        self.sent += u32::from(evidence.sent > evidence.generation);
    }
}

#[tokio::test]
async fn a_kill_at_a_random_moment_loses_nothing_that_reached_the_spool() {
    let (rounds, mut random) = (count("EMAILASSET_ROUNDS", 6), seeded_random());
    let stage = Stage::set("moments").await;
    let mut operator = stage.operator().await;
    let mut total = Tally::default();
    println!("| round | refreshes | {}", Tally::HEADER);
    for round in 1..=rounds {
        let subjects = subjects(&stage, &format!("r{round}"), ASSETS).await;
        let before = stage.server.counters().await.refresh_requests;
        tokio::select! {
            () = burst(&stage, &subjects) => {}
            () = random_moment(&stage, &mut random) => {}
        }
        operator.kill().await;
        let in_spool = spooled(&stage.spool);
        operator = stage.operator().await;
        let mut tally = Tally::default();
        for subject in &subjects {
            settled(&stage, &subject.asset).await;
            let evidence = Evidence::of(&stage, &subject.asset, &subject.grant).await;
            tally.judge(&subject.asset, &evidence, in_spool.contains(&subject.asset));
            stage.assert_token_works(&subject.asset).await;
        }
        assert_eq!(
            spooled(&stage.spool),
            Vec::<String>::new(),
            "what is stored leaves the spool"
        );
        let refreshes = stage.server.counters().await.refresh_requests - before;
        println!("| {round:>5} | {refreshes:>9} {tally}");
        total.add(tally);
    }
    println!("|   all |           {total}");
    total.record(
        "Kills at random moments",
        rounds,
        "SIGKILL in the middle of refreshes at a strictly rotating server. *Healed*: the answer was in the spool. *Unspent*: the request had not been carried out. \
         *Window (d)*: the server had rotated and the answer was not spooled yet, which cannot be closed (docs/protocol.md). Any other loss fails the run.",
    );
    let counters = stage.server.counters().await;
    assert_eq!((counters.grants_killed_by_replay, counters.max_overlapping), (0, 1));
}

/// A number from the environment.
pub(crate) fn count(variable: &str, otherwise: u32) -> u32 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect("a number of rounds"))
}

/// Random numbers of `EMAILASSET_SEED`, or of a seed that is printed.
pub(crate) fn seeded_random() -> StdRng {
    let seed = std::env::var("EMAILASSET_SEED").map_or_else(|_| rand::random(), |text| text.parse().expect("a number"));
    println!("EMAILASSET_SEED={seed} repeats these moments");
    StdRng::seed_from_u64(seed)
}

/// Makes assets and waits for their first tokens.
pub(crate) async fn subjects(stage: &Stage, prefix: &str, count: usize) -> Vec<Subject> {
    let made = (0..count).map(async |number| {
        let asset = format!("{prefix}-{number}");
        let grant = stage.seed(&asset).await;
        stage.apply(&stage.manifest(&asset, "Strict", &json!({}))).await;
        stage.wait_until_ready(&asset).await;
        Subject { asset, grant }
    });
    join_all(made).await
}

/// Asks for refreshes of all of them again and again, for ever.
pub(crate) async fn burst(stage: &Stage, subjects: &[Subject]) {
    for volley in 1_u64.. {
        let seen = stage.server.counters().await.refresh_requests;
        let value = format!("volley-{volley}");
        join_all(
            subjects
                .iter()
                .map(|subject| stage.request_refresh(&subject.asset, &value)),
        )
        .await;
        stage.server.wait_for_refreshes(seen + 1).await;
    }
}

/// Waits until some requests have come in, and then for a random part of one refresh.
pub(crate) async fn random_moment(stage: &Stage, random: &mut StdRng) {
    let (requests, rest) = (random.random_range(1..=WARM_UP), random.random_range(0..ONE_REFRESH));
    let seen = stage.server.counters().await.refresh_requests;
    stage.server.wait_for_refreshes(seen + requests).await;
    // The moment is what is random here; nothing waits for this to be long enough.
    tokio::time::sleep(Duration::from_micros(rest)).await;
}

/// Waits until nothing is left to do for an asset: its last request is answered, and what is stored is published.
pub(crate) async fn settled(stage: &Stage, asset: &str) {
    wait_until_request_is_answered(stage, asset).await;
    wait_until_no_attempt_is_open(stage, asset).await;
    wait_until_published(stage, asset).await;
}

/// Waits until consumers see what is stored.
async fn wait_until_published(stage: &Stage, asset: &str) {
    let stored = stage
        .secrets
        .get(&format!("{asset}-grant"))
        .await
        .expect("there is a grant Secret");
    let stored = generation_of(&stored);
    wait_for(
        &stage.secrets,
        &format!("{asset}-token"),
        "has the stored generation",
        |secret| generation_of(secret) >= stored,
    )
    .await;
}

/// Whether a spool directory holds no answer.
pub(crate) fn is_empty(spool: &Path) -> bool {
    spooled(spool).is_empty()
}
