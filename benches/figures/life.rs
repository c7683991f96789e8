//! What an operator costs that has nothing to do, that is restarted, and that lives on.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use kube::api::{Request, WatchEvent, WatchParams};
use serde_json::Value;

use crate::{
    ground::{Ground, HOME, NAMESPACE, Rotation},
    meter::{Memory, Requests, number, numbers, processor_time},
    support::{Operator, Table, record},
};

/// An hour is not over during a bench; of a day, nothing is due.
const LONG_LIFE: u32 = 24 * 3600;

/// Measures with each count; the refresh cycles with the smallest.
pub(crate) async fn measure() {
    let idle = Duration::from_secs(number("IDLE_SECONDS", "300") as u64);
    let mut rest = Table::new(&[
        "",
        "CPU s",
        "writes",
        "reads",
        "lists and watches",
        "token requests",
        "RSS MiB",
        "peak RSS MiB",
    ]);
    let mut first = Table::new(&[
        "assets",
        "first write after the Lease was held, s",
        "Lease held after the start of the process, s",
    ]);
    for (turn, count) in numbers("COUNTS", "1000,5000").into_iter().enumerate() {
        let ground = Ground::empty(Rotation::None).await;
        ground.server.set_access_token_lifetime(LONG_LIFE).await;
        let endpoint = ground.server.endpoints.token_url.clone();
        ground.add_assets(0..count, Rotation::None, &endpoint).await;
        let progress = ground.follow().await;

        let begun = Instant::now();
        let mut operator = ground.operator();
        let (leases, secrets) = (leases(), secrets());
        let (held, written) = tokio::join!(first_event(&ground, &leases), first_event(&ground, &secrets));
        first.row([
            count.to_string(),
            format!("{:.3}", (written - held).as_secs_f64()),
            format!("{:.3}", (held - begun).as_secs_f64()),
        ]);
        progress.all_ready(count).await;
        quiet(&operator).await;
        let memory = Memory::of(operator.pid());
        rest.row(row(
            &format!("{count} assets, after their first tokens"),
            None,
            Requests::default(),
            0,
            memory,
        ));

        operator.terminate();
        operator.wait().await;
        let before = Meters::now(&ground).await;
        operator = ground.operator();
        operator.wait_for_line("leading").await;
        quiet(&operator).await;
        rest.row(
            before
                .row(
                    &ground,
                    &format!("{count} assets, restart until quiet"),
                    &operator,
                    Duration::ZERO,
                )
                .await,
        );

        if turn == 0 {
            let before = Meters::now(&ground).await;
            let used = processor_time(operator.pid());
            tokio::time::sleep(idle).await;
            rest.row(
                before
                    .row(
                        &ground,
                        &format!("{count} assets, idle for {} s", idle.as_secs()),
                        &operator,
                        used,
                    )
                    .await,
            );
            cycles(&ground, &operator, count, &progress).await;
        }
        operator.kill().await;
    }
    let goal = "Nothing is due. Goals: no token request, no write but the Lease's (which is not counted), no read; at 5,000 assets a restart within 0.5 s of CPU; \
                at most 30 MiB with 1,000 assets and 60 MiB with 5,000.";
    record("Idle and restart", &format!("{goal}\n\n{}", rest.to_markdown()));
    let goal = "All assets wait when the operator starts. Goal: 0.3 s.";
    record("First write", &format!("{goal}\n\n{}", first.to_markdown()));
}

/// Refreshes all assets again and again, on request.
async fn cycles(ground: &Ground, operator: &Operator, count: usize, progress: &crate::ground::Progress) {
    let cycles = number("CYCLES", "50");
    let mut table = Table::new(&["after cycle", "RSS MiB", "peak RSS MiB", "token requests per refresh"]);
    let begun = ground.server.counters().await.token_requests;
    for cycle in 1..=cycles {
        ground.request_refreshes(0..count, &format!("cycle-{cycle}")).await;
        let tokens = i64::try_from(cycle).expect("few") + 1;
        progress
            .reach(count, "were refreshed", |view| view.tokens >= tokens)
            .await;
        if [1, 2, 5, 10, 20, 30, 40, 50].contains(&cycle) || cycle == cycles {
            quiet(operator).await;
            let memory = Memory::of(operator.pid());
            let requests = ground.server.counters().await.token_requests - begun;
            #[expect(clippy::cast_precision_loss, reason = "thousands")]
            let per_refresh = requests as f64 / (count * cycle) as f64;
            table.row([
                cycle.to_string(),
                format!("{:.1}", memory.now),
                format!("{:.1}", memory.peak),
                format!("{per_refresh:.4}"),
            ]);
        }
    }
    let goal = format!(
        "{count} assets are refreshed again and again, all at once, by the annotation emailasset.dev/refresh. Goal: no growth over 50 cycles."
    );
    record("Memory over refreshes", &format!("{goal}\n\n{}", table.to_markdown()));
}

struct Meters {
    requests: Requests,
    tokens: u64,
}

impl Meters {
    async fn now(ground: &Ground) -> Self {
        Self {
            requests: Requests::so_far(&ground.client).await,
            tokens: ground.server.counters().await.token_requests,
        }
    }

    async fn row(self, ground: &Ground, what: &str, operator: &Operator, used: Duration) -> Vec<String> {
        let processor_time = processor_time(operator.pid()) - used;
        let now = Self::now(ground).await;
        let (requests, tokens) = (now.requests - self.requests, now.tokens - self.tokens);
        row(what, Some(processor_time), requests, tokens, Memory::of(operator.pid()))
    }
}

fn row(what: &str, processor_time: Option<Duration>, requests: Requests, tokens: u64, memory: Memory) -> Vec<String> {
    let (cpu, counts) = match processor_time {
        Some(time) => {
            let counts = [requests.writes, requests.reads, requests.lists].map(|count| count.to_string());
            (
                format!("{:.2}", time.as_secs_f64()),
                [counts.to_vec(), vec![tokens.to_string()]].concat(),
            )
        }
        None => (String::new(), vec![String::new(); 4]),
    };
    let memory = [memory.now, memory.peak].map(|mib| format!("{mib:.1}"));
    [vec![what.to_owned(), cpu], counts, memory.to_vec()].concat()
}

/// Waits until the operator has used no processor time for a second.
async fn quiet(operator: &Operator) {
    let mut used = processor_time(operator.pid());
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = processor_time(operator.pid());
        if now == used {
            return;
        }
        used = now;
    }
}

fn leases() -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases")
}

fn secrets() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/secrets")
}

/// When the next object appears at this place.
async fn first_event(ground: &Ground, path: &str) -> Instant {
    let list = http::Request::get(format!("{path}?limit=1"))
        .body(Vec::new())
        .expect("a request");
    let list: Value = ground.client.request(list).await.expect("a list");
    let version = list["metadata"]["resourceVersion"].as_str().unwrap_or("0").to_owned();
    let request = Request::new(path)
        .watch(&WatchParams::default(), &version)
        .expect("a request");
    let mut events = ground
        .client
        .request_events::<Value>(request)
        .await
        .expect("a watch")
        .boxed();
    while let Some(event) = events.try_next().await.expect("a watch") {
        if let WatchEvent::Added(_) | WatchEvent::Modified(_) = event {
            return Instant::now();
        }
    }
    panic!("nothing appeared at {path}");
}
