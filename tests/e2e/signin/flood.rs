//! A flood of the public port must not make refreshes late (goal of issue 4: p99 at most 2 s). A few assets in every run; many, and written down, in `make soak`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use emailasset::api::EmailAsset;
use futures::StreamExt;
use jiff::Timestamp;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::{Rotation, Stage, Table, free_address, mailbox, record, until};

/// Seconds. Refreshes come after 34 to 40 of them.
const TOKEN_LIFE: u32 = 60;
/// More than the operator has places for.
const CLIENTS: usize = 400;
/// Milliseconds: the goal.
const LATEST: u64 = 2_000;

#[tokio::test]
async fn a_flood_of_the_public_port_makes_no_refresh_late() {
    let soak = std::env::var_os("EMAILASSET_SOAK").is_some();
    let (count, rounds) = if soak { (200, 3) } else { (20, 1) };
    let stage = Stage::set("flood").await;
    stage.server.set_access_token_lifetime(TOKEN_LIFE).await;
    stage.server.set_rotation(Rotation::Strict).await;
    let pages = free_address();
    let _operator = stage.operator_with_sign_in(pages, pages, &[]).await;
    stage.asset_to_sign_in("target", &json!({})).await;
    let link = stage.link("target").await;
    for number in 0..count {
        let asset = format!("flood-{number}");
        stage.seed(&asset).await;
        stage.apply(&stage.manifest(&asset, "Strict", &json!({}))).await;
        stage.wait_until_ready(&asset).await;
    }
    let dues = Dues::watch(&stage.assets);

    let calm = measure(&stage, &dues, count, rounds).await;
    let flood = Flood::start(pages, &link);
    until("the flood is there", || async {
        (flood.answers.limited.load(Ordering::Relaxed) > 0).then_some(())
    })
    .await;
    let flooded = measure(&stage, &dues, count, rounds).await;
    let answers = flood.stop();

    if soak {
        write_down(&calm, &flooded, &answers);
        assert!(flooded.at(99) <= LATEST, "{flooded:?}");
    } else {
        // Twice the goal: other tests run on the same cores.
        assert!(flooded.at(99) <= 2 * LATEST, "{flooded:?}, without a flood {calm:?}");
    }
    assert!(answers.served > 0 && answers.limited > answers.served, "{answers:?}");
}

/// How late refreshes were, in milliseconds, in order.
#[derive(Debug)]
struct Lateness(Vec<u64>);

impl Lateness {
    /// A percentile.
    fn at(&self, percent: usize) -> u64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0[rank - 1]
    }
}

/// Waits until each asset has been due so many times from now on, and compares with the server's log. None may be missing.
async fn measure(stage: &Stage, dues: &Dues, count: usize, rounds: usize) -> Lateness {
    let start = Timestamp::now().as_second() + 1;
    let lateness = until("all assets were refreshed as often as they should", || async {
        let mut sent: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for request in stage.server.requests_since(0).await {
            if request.grant_type.as_deref() == Some("refresh_token") {
                sent.entry(request.account.unwrap_or_default())
                    .or_default()
                    .push(request.at);
            }
        }
        let mut late = Vec::new();
        for number in 0..count {
            let asset = format!("flood-{number}");
            let mine = sent.get(&mailbox(&asset)).map_or(&[][..], Vec::as_slice);
            for due in dues.of(&asset).range(start..).take(rounds) {
                let due = u64::try_from(due * 1_000).unwrap();
                late.push(mine.iter().find(|&&at| at >= due)? - due);
            }
        }
        (late.len() == count * rounds).then_some(late)
    });
    let mut lateness = lateness.await;
    lateness.sort_unstable();
    Lateness(lateness)
}

/// When each asset said that it would be refreshed (`status.token.renewalTime`), in seconds since 1970.
struct Dues {
    seen: Arc<Mutex<BTreeMap<String, BTreeSet<i64>>>>,
    _watching: JoinSet<()>,
}

impl Dues {
    fn watch(assets: &Api<EmailAsset>) -> Self {
        let seen: Arc<Mutex<BTreeMap<String, BTreeSet<i64>>>> = Arc::default();
        let mut watching = JoinSet::new();
        let (assets, noted) = (assets.clone(), Arc::clone(&seen));
        watching.spawn(async move {
            let mut states = std::pin::pin!(
                watcher(assets, watcher::Config::default())
                    .default_backoff()
                    .applied_objects()
            );
            while let Some(state) = states.next().await {
                let Ok(asset) = state else { continue };
                let name = asset.metadata.name.unwrap_or_default();
                let renewal = asset.status.and_then(|status| status.token?.renewal_time);
                if let Some(renewal) = renewal {
                    noted
                        .lock()
                        .unwrap()
                        .entry(name)
                        .or_default()
                        .insert(renewal.0.as_second());
                }
            }
        });
        Self {
            seen,
            _watching: watching,
        }
    }

    fn of(&self, asset: &str) -> BTreeSet<i64> {
        self.seen.lock().unwrap().get(asset).cloned().unwrap_or_default()
    }
}

/// A generator on a thread of its own, on one core.
struct Flood {
    answers: Arc<Counters>,
    thread: JoinHandle<f64>,
}

#[derive(Debug, Default)]
struct Counters {
    over: AtomicBool,
    served: AtomicU64,
    limited: AtomicU64,
    broken: AtomicU64,
}

/// What became of the flood's requests.
#[derive(Debug)]
struct Answers {
    served: u64,
    limited: u64,
    broken: u64,
    seconds: f64,
}

impl Flood {
    fn start(server: SocketAddr, link: &str) -> Self {
        let answers: Arc<Counters> = Arc::default();
        let path = url::Url::parse(link).unwrap().path().to_owned();
        let counters = Arc::clone(&answers);
        let thread = std::thread::spawn(move || {
            pin_to_one_core();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let started = Instant::now();
            runtime.block_on(async {
                let mut clients = JoinSet::new();
                for number in 0..CLIENTS {
                    clients.spawn(one_after_another(server, words(&path, number), Arc::clone(&counters)));
                }
                clients.join_all().await;
            });
            started.elapsed().as_secs_f64()
        });
        Self { answers, thread }
    }

    fn stop(self) -> Answers {
        self.answers.over.store(true, Ordering::Relaxed);
        let seconds = self.thread.join().unwrap();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Answers {
            served: count(&self.answers.served),
            limited: count(&self.answers.limited),
            broken: count(&self.answers.broken),
            seconds,
        }
    }
}

/// Requests of all kinds: the page of an asset, a callback with something sealed that is not ours, a button, no page at all.
fn words(path: &str, number: usize) -> String {
    let state = "A".repeat(400);
    let line = match number % 4 {
        0 => format!("GET {path} HTTP/1.1"),
        1 => format!("GET /callback/google?code=x&state={state} HTTP/1.1"),
        2 => format!("POST {path} HTTP/1.1\r\nSec-Fetch-Site: same-origin"),
        _ => format!("GET /{state} HTTP/1.1"),
    };
    format!("{line}\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
}

async fn one_after_another(server: SocketAddr, words: String, counters: Arc<Counters>) {
    let mut answer = Vec::with_capacity(16 * 1024);
    while !counters.over.load(Ordering::Relaxed) {
        answer.clear();
        let counter = match ask(server, &words, &mut answer).await {
            Some(429) => &counters.limited,
            Some(_) => &counters.served,
            None => &counters.broken,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

async fn ask(server: SocketAddr, words: &str, answer: &mut Vec<u8>) -> Option<u16> {
    let mut stream = TcpStream::connect(server).await.ok()?;
    stream.write_all(words.as_bytes()).await.ok()?;
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(answer).await.ok()? == 0 {
            return None;
        }
    }
    std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}

/// The last core, where one may choose.
fn pin_to_one_core() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut set = CpuSet::new();
    if set.set(cores - 1).is_ok() {
        // Where that is not allowed the flood is only stronger.
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}

fn write_down(calm: &Lateness, flooded: &Lateness, answers: &Answers) {
    let seconds = |milliseconds: u64| format!("{:.2}", std::time::Duration::from_millis(milliseconds).as_secs_f64());
    let mut table = Table::new(&["", "refreshes", "median, s", "p99, s", "latest, s"]);
    for (name, lateness) in [("without a flood", calm), ("with it", flooded)] {
        let times = [50, 99, 100].map(|percent| seconds(lateness.at(percent)));
        table.row([name.to_owned(), lateness.0.len().to_string()].into_iter().chain(times));
    }
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate for people"
    )]
    let rate = |count: u64| (count as f64 / answers.seconds) as u64;
    let body = format!(
        "How long after `status.token.renewalTime` a refresh reaches the token endpoint, with tokens of {TOKEN_LIFE} s, while {CLIENTS} clients on one core ask the public port for all that it has, as fast as they are answered. Goal: p99 of 2 s. The flood got {} answers a second and {} times a second that there are too many; {} connections a second were closed on it.\n\n{}",
        rate(answers.served),
        rate(answers.limited),
        rate(answers.broken),
        table.to_markdown()
    );
    record("Refreshes while the public port is flooded", &body);
}
