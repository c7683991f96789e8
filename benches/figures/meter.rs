//! What processes and the API server have used so far.

use std::{collections::BTreeMap, fs, ops::Sub, path::Path, time::Duration};

use kube::Client;
use serde_json::Value;

/// The processor time that a process has used, in steps of 10 ms.
pub(crate) fn processor_time(process: i32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("the process runs");
    // The name in parentheses may hold spaces: fields are counted after it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |field: usize| fields[field].parse::<u64>().expect("a number of ticks");
    // proc(5): utime and stime are fields 14 and 15, in hundredths of a second.
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

/// Resident memory in MiB: now, and the most there ever was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) now: f64,
    pub(crate) peak: f64,
}

impl Memory {
    pub(crate) fn of(process: i32) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
        let kib = |name: &str| {
            let line = status
                .lines()
                .find(|line| line.starts_with(name))
                .expect("proc(5) knows it");
            line.split_whitespace()
                .nth(1)
                .and_then(|kib| kib.parse::<f64>().ok())
                .expect("a number of KiB")
        };
        Self {
            now: kib("VmRSS:") / 1024.0,
            peak: kib("VmHWM:") / 1024.0,
        }
    }
}

/// The process ids of API server and etcd.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ControlPlane {
    api_server: i32,
    etcd: i32,
}

impl ControlPlane {
    /// Those of the cluster in this folder.
    pub(crate) fn of(cluster: &Path) -> Self {
        let parts = fs::read_to_string(cluster.join("ports.json")).expect("the cluster says what runs");
        let parts: Value = serde_json::from_str(&parts).expect("it is JSON");
        let pid = |part: &str| {
            parts[part]["pid"]
                .as_i64()
                .and_then(|pid| i32::try_from(pid).ok())
                .expect("a process id")
        };
        Self {
            api_server: pid("kube-apiserver"),
            etcd: pid("etcd"),
        }
    }

    pub(crate) fn processor_time(self) -> (Duration, Duration) {
        (processor_time(self.api_server), processor_time(self.etcd))
    }
}

/// How many requests the API server has answered, on assets, Secrets, `ConfigMap`s and Events.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Requests {
    pub(crate) writes: f64,
    pub(crate) reads: f64,
    /// Lists and watches.
    pub(crate) lists: f64,
}

impl Requests {
    /// As the API server counts them.
    pub(crate) async fn so_far(client: &Client) -> Self {
        let request = http::Request::get("/metrics").body(Vec::new()).expect("a request");
        let text = client
            .request_text(request)
            .await
            .expect("the API server tells its metrics");
        let mut requests = Self::default();
        for line in text.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
            let Some((labels, value)) = line.rsplit_once("} ") else {
                continue;
            };
            let value: f64 = value.parse().expect("a number");
            let label = |name: &str| {
                labels
                    .split(&format!("{name}=\""))
                    .nth(1)
                    .and_then(|rest| rest.split('"').next())
            };
            if !matches!(
                label("resource"),
                Some("emailassets" | "secrets" | "configmaps" | "events")
            ) {
                continue;
            }
            match label("verb") {
                Some("GET") => requests.reads += value,
                Some("LIST" | "WATCH" | "WATCHLIST") => requests.lists += value,
                _ => requests.writes += value,
            }
        }
        requests
    }
}

impl Sub for Requests {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            writes: self.writes - earlier.writes,
            reads: self.reads - earlier.reads,
            lists: self.lists - earlier.lists,
        }
    }
}

/// A number from the environment, such as `ROUNDS=3`.
pub(crate) fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// Numbers from the environment, separated by commas.
pub(crate) fn numbers(name: &str, default: &str) -> Vec<usize> {
    let text = setting(name, default);
    let number = |part: &str| {
        part.trim()
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text}: expected numbers"))
    };
    text.split(',').map(number).collect()
}

/// One number from the environment.
pub(crate) fn number(name: &str, default: &str) -> usize {
    numbers(name, default)[0]
}

/// The middle one.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// At this part of the sorted values: 0.99 is the 99th percentile.
pub(crate) fn percentile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "thousands of values"
    )]
    let index = ((sorted.len() as f64 * part).ceil() as usize).clamp(1, sorted.len()) - 1;
    sorted[index]
}

/// Used to keep names in order.
pub(crate) type ByName<T> = BTreeMap<String, T>;
