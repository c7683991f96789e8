//! The HTTP server for the kubelet and Prometheus: `/healthz`, `/readyz`, `/metrics`.
//!
//! It is reachable from the whole cluster, so it limits what a client can make it hold: headers, connections and their time (`listener`). No handler reads a body.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header::CONTENT_TYPE};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::metrics::{self, Metrics};
use crate::listener::{self, Limits};

/// Whether the caches hold what is in the cluster. Says nothing about leadership: a standby is ready, too.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// From now on this replica is ready.
    pub fn caches_are_synced(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

const LIMITS: Limits = Limits {
    connections: 128,
    patience: Duration::from_secs(10),
    buffer: 16 * 1024,
    // A scrape then opens a new one.
    connection_time: Duration::from_secs(300),
    last_answer_time: Duration::from_secs(5),
};

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for health and metrics: give a free address and port with --listen")]
pub struct ListenError {
    /// The address as given.
    pub address: SocketAddr,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

/// The server, bound and not yet answering.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    router: Router,
    limits: Limits,
}

impl Server {
    /// Listens. `[::]` means all addresses, of IPv4 alone on a host without IPv6.
    ///
    /// # Errors
    /// [`ListenError`], where the port is taken or the address is not this host's.
    pub async fn bind(address: SocketAddr, metrics: Arc<Metrics>, readiness: Readiness) -> Result<Self, ListenError> {
        let listener = listener::bind(address)
            .await
            .map_err(|source| ListenError { address, source })?;
        Ok(Self {
            listener,
            router: router(metrics, readiness),
            limits: LIMITS,
        })
    }

    /// Where it listens: the port that was chosen, where port 0 was given.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `shutdown`, then finishes the answers that are under way.
    pub async fn run(self, shutdown: CancellationToken) {
        listener::serve(self.listener, self.router, self.limits, shutdown).await;
    }
}

fn router(metrics: Arc<Metrics>, readiness: Readiness) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready).with_state(readiness))
        .route("/metrics", get(scrape).with_state(metrics))
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    if readiness.is_ready() {
        "ok\n".into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: the caches are not filled yet\n",
        )
            .into_response()
    }
}

async fn scrape(State(metrics): State<Arc<Metrics>>) -> Response {
    match metrics.encode() {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        task::JoinHandle,
        time::timeout,
    };

    use super::*;

    struct Running {
        address: SocketAddr,
        readiness: Readiness,
        shutdown: CancellationToken,
        task: JoinHandle<()>,
    }

    async fn start(limits: Limits) -> Running {
        let (readiness, shutdown) = (Readiness::default(), CancellationToken::new());
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut server = Server::bind(loopback, Arc::new(Metrics::new(Vec::new)), readiness.clone())
            .await
            .unwrap();
        server.limits = limits;
        let address = server.address().unwrap();
        Running {
            address,
            readiness,
            shutdown: shutdown.clone(),
            task: tokio::spawn(server.run(shutdown)),
        }
    }

    impl Running {
        /// Sends this and reads until the server closes.
        async fn say(&self, words: &str) -> String {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            // The server may close before it has read everything.
            let _ = stream.write_all(words.as_bytes()).await;
            let mut answer = Vec::new();
            let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer))
                .await
                .expect("the server closes");
            String::from_utf8(answer).unwrap()
        }

        async fn get(&self, path: &str) -> String {
            self.say(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
                .await
        }
    }

    #[tokio::test]
    async fn it_is_healthy_at_once_and_ready_when_the_caches_are_synced() {
        let server = start(LIMITS).await;
        assert!(server.get("/healthz").await.starts_with("HTTP/1.1 200 "));
        let early = server.get("/readyz").await;
        assert!(
            early.starts_with("HTTP/1.1 503 ") && early.contains("caches"),
            "{early}"
        );
        server.readiness.caches_are_synced();
        assert!(server.get("/readyz").await.starts_with("HTTP/1.1 200 "));
    }

    #[tokio::test]
    async fn metrics_say_that_they_are_openmetrics() {
        let server = start(LIMITS).await;
        let answer = server.get("/metrics").await;
        assert!(
            answer.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"),
            "{answer}"
        );
        assert!(answer.ends_with("# EOF\n"), "{answer}");
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        let server = start(LIMITS).await;
        assert!(server.get("/").await.starts_with("HTTP/1.1 404 "));
        let post = "POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc";
        assert!(server.say(post).await.starts_with("HTTP/1.1 405 "));
    }

    #[tokio::test]
    async fn a_body_is_not_waited_for() {
        let server = start(LIMITS).await;
        let endless = "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n";
        assert!(server.say(endless).await.starts_with("HTTP/1.1 405 "));
    }

    #[tokio::test]
    async fn headers_that_are_too_large_are_refused() {
        let server = start(LIMITS).await;
        let large = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(100_000));
        let answer = server.say(&large).await;
        assert!(!answer.contains("200 OK"), "{answer}");
        assert!(server.get("/healthz").await.contains("200 OK"));
    }

    #[tokio::test]
    async fn a_client_that_sends_its_headers_slowly_is_dropped() {
        let server = start(Limits {
            patience: Duration::from_millis(50),
            ..LIMITS
        })
        .await;
        let answer = server.say("GET /healthz HTTP/1.1\r\nHost:").await;
        assert!(!answer.contains("200 OK"), "{answer}");
    }

    #[tokio::test]
    async fn a_connection_that_is_kept_open_ends_with_its_time() {
        let server = start(Limits {
            connection_time: Duration::from_millis(50),
            ..LIMITS
        })
        .await;
        let answer = server.say("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.contains("200 OK"), "{answer}");
    }

    #[tokio::test]
    async fn shutdown_ends_the_server_although_a_client_keeps_its_connection() {
        let server = start(LIMITS).await;
        let mut idle = TcpStream::connect(server.address).await.unwrap();
        idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        assert_ne!(idle.read(&mut [0; 512]).await.unwrap(), 0);
        server.shutdown.cancel();
        timeout(Duration::from_secs(2), server.task)
            .await
            .expect("ends")
            .unwrap();
        assert!(TcpStream::connect(server.address).await.is_err());
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_named_with_the_flag() {
        let server = start(LIMITS).await;
        let metrics = Arc::new(Metrics::new(Vec::new));
        let error = Server::bind(server.address, metrics, Readiness::default())
            .await
            .expect_err("is taken")
            .to_string();
        assert!(
            error.contains(&server.address.to_string()) && error.contains("--listen"),
            "{error}"
        );
    }
}
