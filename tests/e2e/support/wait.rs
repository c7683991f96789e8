//! Waiting for something to be seen, for a limited time.

use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::utils::{Backoff, StreamBackoff};
use kube::runtime::watcher::watch_object;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How long a test waits for anything. Long, because a loaded machine is slow, and because a replica waits 150 s for an attempt of another one that was killed in the
/// middle of it (invariant 2).
const LIMIT: Duration = Duration::from_secs(240);

/// Watches an object until `condition` holds for it, and returns it as it was then.
///
/// `what` completes the sentence "secret x …" in the message when that does not happen within [`LIMIT`]. Breaks of the
/// watch, such as a restart of the API server, are waited out.
pub(crate) async fn wait_for<K>(api: &Api<K>, name: &str, what: &str, condition: impl Fn(&K) -> bool) -> K
where
    K: Resource + Clone + Debug + Send + DeserializeOwned + Serialize + 'static,
{
    let mut last = Seen::Nothing;
    let watching = async {
        let mut states = std::pin::pin!(StreamBackoff::new(watch_object(api.clone(), name), RetrySoon));
        while let Some(state) = states.next().await {
            match state {
                Ok(Some(object)) if condition(&object) => return object,
                Ok(Some(object)) => last = Seen::Object(Box::new(object)),
                Ok(None) => last = Seen::Nothing,
                Err(error) => last = Seen::Error(error.to_string()),
            }
        }
        unreachable!("a watch is tried again for ever")
    };
    let found = tokio::time::timeout(LIMIT, watching).await;
    found.unwrap_or_else(|_| {
        panic!(
            "{name}: not so within {LIMIT:?}: {what}; last seen: {}",
            last.describe()
        )
    })
}

/// Watches an object until there is none of its name.
pub(crate) async fn wait_until_gone<K>(api: &Api<K>, name: &str)
where
    K: Resource + Clone + Debug + Send + DeserializeOwned + Serialize + 'static,
{
    let watching = async {
        let mut states = std::pin::pin!(StreamBackoff::new(watch_object(api.clone(), name), RetrySoon));
        while let Some(state) = states.next().await {
            if matches!(state, Ok(None)) {
                return;
            }
        }
    };
    tokio::time::timeout(LIMIT, watching)
        .await
        .unwrap_or_else(|_| panic!("{name} is still there after {LIMIT:?}"));
}

/// Asks again and again until the answer is `Some`, for what cannot be watched, such as a health page.
pub(crate) async fn until<T, F>(what: &str, ask: impl Fn() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    until_within(LIMIT, what, ask).await
}

/// The same with a limit of its own.
pub(super) async fn until_within<T, F>(limit: Duration, what: &str, ask: impl Fn() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let asking = async {
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        loop {
            pause.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    tokio::time::timeout(limit, asking)
        .await
        .unwrap_or_else(|_| panic!("not so within {limit:?}: {what}"))
}

/// A broken watch is tried again soon: tests break it on purpose, and wait for what comes after.
struct RetrySoon;

impl Iterator for RetrySoon {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::from_millis(50))
    }
}

impl Backoff for RetrySoon {
    fn reset(&mut self) {}
}

enum Seen<K> {
    Nothing,
    Object(Box<K>),
    Error(String),
}

impl<K: Serialize> Seen<K> {
    fn describe(&self) -> String {
        match self {
            Self::Nothing => "no such object".to_owned(),
            Self::Object(object) => serde_json::to_string_pretty(object).unwrap_or_else(|error| error.to_string()),
            Self::Error(error) => error.clone(),
        }
    }
}
