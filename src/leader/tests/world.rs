//! An API server that knows one Lease, and a network that can delay, lose and cut.

use std::{
    collections::HashMap,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use futures::StreamExt;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::{
    sync::{oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::leader::{Election, Fence, Leadership, Settings};

type Answer = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// What the network does with one call.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Weather {
    /// From candidate to server.
    pub(super) there: Duration,
    /// From server to candidate.
    pub(super) back: Duration,
    pub(super) loses: Loses,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Loses {
    #[default]
    Nothing,
    Request,
    Answer,
}

type Forecast = Box<dyn FnMut() -> Weather + Send>;

#[derive(Default)]
struct Line {
    cut: bool,
    next: Option<(Loses, Calls)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Calls {
    All,
    Writes,
}

struct State {
    lease: Option<Lease>,
    version: u64,
    writes: u64,
    lines: HashMap<String, Line>,
    forecast: Forecast,
}

/// The server. Clones are the same one.
#[derive(Clone)]
pub(super) struct World {
    state: Arc<Mutex<State>>,
    /// The Lease after each change, and whether it was deleted, for watches.
    changes: watch::Sender<(u64, Option<Lease>)>,
}

/// A replica: its election, and what a test may do to it.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) fence: Fence,
    pub(super) leadership: watch::Receiver<Leadership>,
    pub(super) shutdown: CancellationToken,
    frozen: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
    history: Arc<Mutex<Vec<Leadership>>>,
    _recorder: JoinSet<()>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with_weather(|| Weather {
            there: Duration::from_millis(5),
            back: Duration::from_millis(5),
            loses: Loses::Nothing,
        })
    }

    pub(super) fn with_weather(forecast: impl FnMut() -> Weather + Send + 'static) -> Self {
        let state = State {
            lease: None,
            version: 1,
            writes: 0,
            lines: HashMap::new(),
            forecast: Box::new(forecast),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            changes: watch::Sender::new((1, None)),
        }
    }

    pub(super) fn start(&self, name: &str) -> Node {
        self.start_with(Settings::new("ns", name))
    }

    pub(super) fn start_with(&self, settings: Settings) -> Node {
        let shutdown = CancellationToken::new();
        let name = settings.identity.clone();
        let client = self.client(name.clone());
        let (candidate, fence, leadership) = Election::prepare(client, settings, shutdown.clone());
        let (frozen, is_frozen) = watch::channel(false);
        let task = tokio::spawn(Freezable::new(candidate.run(), is_frozen));
        let (history, recorder) = record(leadership.clone());
        Node {
            name,
            fence,
            leadership,
            shutdown,
            frozen,
            task: Some(task),
            history,
            _recorder: recorder,
        }
    }

    fn client(&self, name: String) -> Client {
        let world = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (world, name) = (world.clone(), name.clone());
            async move { Ok::<_, Infallible>(world.carry(&name, request).await) }
        });
        Client::new(service, "ns")
    }

    /// Brings a request to the server and its answer back. The server's part goes on when the candidate has given up waiting.
    async fn carry(&self, name: &str, request: Request<Body>) -> Response<Answer> {
        let (send, receive) = oneshot::channel();
        let (world, name) = (self.clone(), name.to_owned());
        tokio::spawn(async move {
            let weather = world.weather(&name, request.method());
            sleep(weather.there).await;
            if weather.loses == Loses::Request || world.is_cut(&name) {
                return std::future::pending().await;
            }
            let answer = world.serve(&name, request).await;
            sleep(weather.back).await;
            if weather.loses == Loses::Answer || world.is_cut(&name) {
                return std::future::pending().await;
            }
            let _ = send.send(answer);
        });
        match receive.await {
            Ok(answer) => answer,
            Err(_) => std::future::pending().await,
        }
    }

    fn weather(&self, name: &str, method: &Method) -> Weather {
        let mut state = self.state.lock().unwrap();
        let mut weather = (state.forecast)();
        let line = state.lines.entry(name.to_owned()).or_default();
        if let Some((loses, _)) = line
            .next
            .take_if(|(_, calls)| *calls == Calls::All || method != Method::GET)
        {
            weather.loses = loses;
        }
        weather
    }

    async fn serve(&self, name: &str, request: Request<Body>) -> Response<Answer> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let body = body.collect().await.unwrap().to_bytes();
        let leases = "/apis/coordination.k8s.io/v1/namespaces/ns/leases";
        if path == leases && parts.method == Method::GET {
            assert!(
                query.contains("watch=true") && query.contains("metadata.name%3Demailasset-operator"),
                "{query}"
            );
            let from = query
                .split('&')
                .find_map(|part| part.strip_prefix("resourceVersion="))
                .unwrap();
            return self.watch(name, from.parse().unwrap());
        }
        let (code, answer) = match parts.method {
            Method::GET => self.get(),
            Method::POST => self.write(None, serde_json::from_slice(&body).unwrap()),
            Method::PUT => {
                let lease: Lease = serde_json::from_slice(&body).unwrap();
                {
                    let version = lease.metadata.resource_version.clone().expect("a PUT has a version");
                    self.write(Some(&version), lease)
                }
            }
            other => panic!("unexpected {other} {path}"),
        };
        let bytes = Bytes::from(answer.to_string());
        Response::builder()
            .status(code)
            .body(http_body_util::Full::new(bytes).boxed_unsync())
            .unwrap()
    }

    fn get(&self) -> (u16, Value) {
        match &self.state.lock().unwrap().lease {
            Some(lease) => (200, serde_json::to_value(lease).unwrap()),
            None => failure(404, "NotFound"),
        }
    }

    fn write(&self, version: Option<&String>, lease: Lease) -> (u16, Value) {
        let mut state = self.state.lock().unwrap();
        state.writes += 1;
        match (version, &state.lease) {
            (Some(_), None) => return failure(404, "NotFound"),
            (None, Some(_)) => return failure(409, "AlreadyExists"),
            (Some(old), Some(now)) if now.metadata.resource_version.as_ref() != Some(old) => {
                return failure(409, "Conflict");
            }
            _ => {}
        }
        let lease = self.put(&mut state, lease);
        (200, serde_json::to_value(lease).unwrap())
    }

    fn put(&self, state: &mut State, mut lease: Lease) -> Lease {
        state.version += 1;
        lease.metadata.resource_version = Some(state.version.to_string());
        state.lease = Some(lease.clone());
        self.changes.send_replace((state.version, Some(lease.clone())));
        lease
    }

    /// Sends the newest state after each change, as a watch may that was slow. A cut line delays events; they are not lost.
    fn watch(&self, name: &str, from: u64) -> Response<Answer> {
        let changes = tokio_stream(self.changes.subscribe());
        let (world, name) = (self.clone(), name.to_owned());
        let lines = changes
            .filter(move |(version, _)| std::future::ready(*version > from))
            .then(move |(_, lease)| {
                let (world, name) = (world.clone(), name.clone());
                async move {
                    let delay = world.weather(&name, &Method::GET).back;
                    sleep(delay).await;
                    while world.is_cut(&name) {
                        sleep(Duration::from_secs(1)).await;
                    }
                    let event = match lease {
                        Some(lease) => json!({"type": "MODIFIED", "object": lease}),
                        None => json!({"type": "DELETED", "object": named()}),
                    };
                    Ok::<_, Infallible>(Frame::data(Bytes::from(format!("{event}\n"))))
                }
            });
        Response::new(StreamBody::new(lines).boxed_unsync())
    }

    fn line(&self, name: &str, change: impl FnOnce(&mut Line)) {
        change(self.state.lock().unwrap().lines.entry(name.to_owned()).or_default());
    }

    fn is_cut(&self, name: &str) -> bool {
        self.state.lock().unwrap().lines.get(name).is_some_and(|line| line.cut)
    }

    pub(super) fn cut(&self, name: &str) {
        self.line(name, |line| line.cut = true);
    }

    pub(super) fn mend(&self, name: &str) {
        self.line(name, |line| line.cut = false);
    }

    pub(super) fn drop_next_answer(&self, name: &str) {
        self.line(name, |line| line.next = Some((Loses::Answer, Calls::All)));
    }

    pub(super) fn drop_next_answer_to_a_write(&self, name: &str) {
        self.line(name, |line| line.next = Some((Loses::Answer, Calls::Writes)));
    }

    pub(super) fn delete(&self) {
        let mut state = self.state.lock().unwrap();
        state.version += 1;
        state.lease = None;
        self.changes.send_replace((state.version, None));
    }

    /// Writes the Lease unchanged, as `kubectl annotate` would.
    pub(super) fn touch(&self) {
        let mut state = self.state.lock().unwrap();
        let lease = state.lease.clone().unwrap();
        self.put(&mut state, lease);
    }

    pub(super) fn plant(&self, holder: &str, renewed: &str, seconds: i32) {
        let mut lease = named();
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(seconds),
            lease_transitions: Some(7),
            renew_time: Some(MicroTime(renewed.parse::<Timestamp>().unwrap())),
            ..LeaseSpec::default()
        });
        let mut state = self.state.lock().unwrap();
        self.put(&mut state, lease);
    }

    pub(super) fn spec(&self) -> LeaseSpec {
        self.state.lock().unwrap().lease.clone().unwrap().spec.unwrap()
    }

    pub(super) fn writes(&self) -> u64 {
        self.state.lock().unwrap().writes
    }
}

impl Node {
    /// Kills the process: its task is gone, and nobody asks its fence again.
    pub(super) fn crash(&mut self) {
        self.task.take().unwrap().abort();
    }

    pub(super) fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    pub(super) fn thaw(&self) {
        self.frozen.send_replace(false);
    }

    pub(super) async fn ended(&mut self) {
        self.task.take().unwrap().await.unwrap();
    }

    pub(super) fn has_led(&mut self) -> bool {
        self.history.lock().unwrap().contains(&Leadership::Leading)
    }

    pub(super) fn has_lost(&mut self) -> bool {
        self.history.lock().unwrap().contains(&Leadership::Standby)
    }
}

fn record(mut leadership: watch::Receiver<Leadership>) -> (Arc<Mutex<Vec<Leadership>>>, JoinSet<()>) {
    let history = Arc::new(Mutex::new(Vec::new()));
    let mut recorder = JoinSet::new();
    let seen = Arc::clone(&history);
    recorder.spawn(async move {
        while leadership.changed().await.is_ok() {
            seen.lock().unwrap().push(*leadership.borrow_and_update());
        }
    });
    (history, recorder)
}

fn tokio_stream<T: Clone>(receiver: watch::Receiver<T>) -> impl futures::Stream<Item = T> {
    // The first value is the present one: a change between a read and its watch is not missed.
    futures::stream::unfold((receiver, true), |(mut receiver, first)| async move {
        if !first {
            receiver.changed().await.ok()?;
        }
        let value = receiver.borrow_and_update().clone();
        Some((value, (receiver, false)))
    })
}

fn named() -> Lease {
    let mut lease = Lease::default();
    lease.metadata.name = Some("emailasset-operator".to_owned());
    lease.metadata.namespace = Some("ns".to_owned());
    lease.metadata.resource_version = Some("1".to_owned());
    lease
}

fn failure(code: u16, reason: &str) -> (u16, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": reason, "reason": reason, "code": code
    });
    (code, status)
}

/// A process under SIGSTOP: while frozen, the future inside is not polled. Its timers and the answers to it go on meanwhile.
struct Freezable {
    inner: Pin<Box<dyn Future<Output = ()> + Send>>,
    frozen: watch::Receiver<bool>,
    change: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Freezable {
    fn new(inner: impl Future<Output = ()> + Send + 'static, frozen: watch::Receiver<bool>) -> Self {
        let change = Box::pin(next_change(frozen.clone()));
        Self {
            inner: Box::pin(inner),
            frozen,
            change,
        }
    }
}

async fn next_change(mut frozen: watch::Receiver<bool>) {
    if frozen.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Future for Freezable {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        while self.change.as_mut().poll(context).is_ready() {
            self.frozen.mark_unchanged();
            self.change = Box::pin(next_change(self.frozen.clone()));
        }
        if *self.frozen.borrow() {
            Poll::Pending
        } else {
            self.inner.as_mut().poll(context)
        }
    }
}
