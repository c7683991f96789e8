//! Cold start: all assets are there when the operator starts. How fast are all Ready, next to a loop without logic?

use std::time::{Duration, Instant};

use crate::{
    bare_loop,
    ground::{Ground, Rotation},
    meter::{Memory, Requests, median, number, numbers, processor_time, setting},
    support::{Table, record},
};

/// One run, of the loop or of the operator.
struct Run {
    who: String,
    rate: f64,
    controller: Duration,
    api_server: Duration,
    etcd: Duration,
    peak: f64,
    requests: Requests,
    tokens: u64,
}

/// Measures both kinds of rotation with each count.
pub(crate) async fn measure() {
    let rounds = number("ROUNDS", "5");
    let widths = numbers("WIDTHS", "16,32,64");
    for count in numbers("COUNTS", "1000,5000") {
        for rotation in [Rotation::None, Rotation::Strict] {
            if !setting("ROTATIONS", "None,Strict").contains(rotation.name()) {
                continue;
            }
            // With many assets one width is enough: the best one hardly differs.
            let widths = if count > 1000 {
                &widths[widths.len() / 2..=widths.len() / 2]
            } else {
                &widths[..]
            };
            let mut runs: Vec<Vec<Run>> = Vec::new();
            for round in 1..=rounds {
                let mut row = Vec::new();
                for &width in widths {
                    row.push(run_loop(count, rotation, width).await);
                }
                row.push(run_operator(count, rotation).await);
                for run in &row {
                    println!(
                        "  round {round}: {:>12} {:6.1}/s, {:.2} ms CPU each",
                        run.who,
                        run.rate,
                        milliseconds(run.controller, count)
                    );
                }
                runs.push(row);
            }
            report(count, rotation, &runs);
        }
    }
}

async fn run_loop(count: usize, rotation: Rotation, width: usize) -> Run {
    let ground = Ground::with_assets(count, rotation).await;
    let progress = ground.follow().await;
    let before = Before::now(&ground).await;
    let ran = bare_loop::run(&ground, rotation, width).await;
    progress.all_ready(count).await;
    let mut run = before.ended(&ground, format!("loop, {width}"), count, ran.took).await;
    run.controller = ran.processor_time;
    run.peak = ran.peak_mib;
    run
}

async fn run_operator(count: usize, rotation: Rotation) -> Run {
    let ground = Ground::with_assets(count, rotation).await;
    let progress = ground.follow().await;
    let before = Before::now(&ground).await;
    let begun = Instant::now();
    let mut operator = ground.operator();
    let took = progress.all_ready(count).await - begun;
    let (controller, memory) = (processor_time(operator.pid()), Memory::of(operator.pid()));
    let mut run = before.ended(&ground, "operator".to_owned(), count, took).await;
    run.controller = controller;
    run.peak = memory.peak;
    operator.kill().await;
    run
}

impl Run {
    /// Of controller, API server and etcd together, in seconds.
    fn processor_time(&self) -> f64 {
        (self.controller + self.api_server + self.etcd).as_secs_f64()
    }
}

/// The runs of the loop in a round.
fn loops(row: &[Run]) -> impl Iterator<Item = &Run> {
    row.iter().filter(|run| run.who != "operator")
}

/// The meters before a run.
struct Before {
    control_plane: (Duration, Duration),
    requests: Requests,
    tokens: u64,
}

impl Before {
    async fn now(ground: &Ground) -> Self {
        // Reading the metrics costs the API server time too: first that, then its time.
        let requests = Requests::so_far(&ground.client).await;
        Self {
            tokens: ground.server.counters().await.token_requests,
            control_plane: ground.control_plane().processor_time(),
            requests,
        }
    }

    async fn ended(self, ground: &Ground, who: String, count: usize, took: Duration) -> Run {
        let (api_server, etcd) = ground.control_plane().processor_time();
        #[expect(clippy::cast_precision_loss, reason = "thousands")]
        let rate = count as f64 / took.as_secs_f64();
        Run {
            who,
            rate,
            controller: Duration::ZERO,
            api_server: api_server - self.control_plane.0,
            etcd: etcd - self.control_plane.1,
            peak: 0.0,
            requests: Requests::so_far(&ground.client).await - self.requests,
            tokens: ground.server.counters().await.token_requests - self.tokens,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "thousands")]
fn milliseconds(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1000.0 / count as f64
}

#[expect(clippy::cast_precision_loss, reason = "thousands")]
fn report(count: usize, rotation: Rotation, runs: &[Vec<Run>]) {
    let columns = [
        "",
        "assets/s",
        "ratio to the best loop of its round",
        "controller CPU ms",
        "API server CPU ms",
        "etcd CPU ms",
        "CPU ratio",
        "peak RSS MiB",
        "writes",
        "reads",
        "token requests",
    ];
    let mut table = Table::new(&columns);
    let best = |row: &[Run]| loops(row).map(|run| run.rate).fold(0.0, f64::max);
    let least = |row: &[Run]| loops(row).map(Run::processor_time).fold(f64::MAX, f64::min);
    let per_asset = |value: f64| value / count as f64;
    for column in 0..runs[0].len() {
        let these = || runs.iter().map(|row| &row[column]);
        let ratios = runs.iter().map(|row| row[column].rate / best(row));
        let middle = |figure: &dyn Fn(&Run) -> f64| median(these().map(figure));
        let all = these()
            .map(|run| format!("{:.0}", run.rate))
            .collect::<Vec<_>>()
            .join(", ");
        table.row([
            runs[0][column].who.clone(),
            format!("{:.0} ({all})", middle(&|run| run.rate)),
            format!("{:.2}", median(ratios)),
            format!("{:.2}", middle(&|run| milliseconds(run.controller, count))),
            format!("{:.2}", middle(&|run| milliseconds(run.api_server, count))),
            format!("{:.2}", middle(&|run| milliseconds(run.etcd, count))),
            format!(
                "{:.2}",
                median(runs.iter().map(|row| least(row) / row[column].processor_time()))
            ),
            format!("{:.0}", middle(&|run| run.peak)),
            format!("{:.3}", middle(&|run| per_asset(run.requests.writes))),
            format!("{:.3}", middle(&|run| per_asset(run.requests.reads))),
            format!("{:.3}", middle(&|run| per_asset(run.tokens as f64))),
        ]);
    }
    let text = format!(
        "{count} assets exist, then the operator starts; until all are Ready, from the start of the process. The loop does for each asset the same POST, {} by \
         server-side apply and a merge patch of the status, 16, 32 or 64 at a time, and nothing else. Fresh cluster for each run, loop and operator in turn; medians \
         of {} (goal: a ratio of 0.80 where nothing rotates, and 1.0 ms of controller CPU for each asset). The CPU \
         ratio is that of all CPU time, the cheapest loop's by this one's: what the rates would come to on a machine that does nothing else. Figures but rates, ratios and \
         the peak are per asset.\n\n{}",
        if rotation == Rotation::None {
            "one Secret write"
        } else {
            "three Secret writes"
        },
        runs.len(),
        table.to_markdown()
    );
    record(
        &format!("Cold start: {count} assets, rotation {}", rotation.name()),
        &text,
    );
}
