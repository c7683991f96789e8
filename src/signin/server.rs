//! The HTTP server of the sign-in pages.
//!
//! It stands open to the internet, so it limits what clients can make it hold and do: connections, their time, headers, bodies, and requests a second in all.
//! The manner is that of `telemetry/health.rs`, with less for everybody.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    Desk, Links,
    routes::{App, router},
};

/// What clients may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections at a time; more wait in the kernel's queue.
    pub(super) connections: usize,
    /// From the first byte (or the end of the request before) to the end of the headers.
    pub(super) header_time: Duration,
    /// Address and headers of a request, in bytes: more gets a page that says so.
    pub(super) header_size: usize,
    /// The same, where it costs too much even to say so. hyper then answers without a page.
    pub(super) buffer: usize,
    /// A form holds one digest.
    pub(super) body_size: usize,
    pub(super) body_time: Duration,
    /// After this time a connection is closed behind the answer that is under way.
    pub(super) connection_time: Duration,
    /// For an answer that is under way at the end of the connection, or at shutdown.
    pub(super) last_answer_time: Duration,
    /// How long a browser waits for a code to be redeemed before it is told to look again. Shorter than the timeouts of common proxies (60 s).
    pub(super) answer_wait: Duration,
    /// Requests of all clients together.
    pub(super) requests_per_second: u32,
    pub(super) burst: u32,
    /// How long a client waits for the answer that there were too many.
    pub(super) pause: Duration,
}

pub(super) const LIMITS: Limits = Limits {
    connections: 256,
    header_time: Duration::from_secs(5),
    header_size: 16 * 1024,
    buffer: 32 * 1024,
    body_size: 1024,
    body_time: Duration::from_secs(5),
    connection_time: Duration::from_secs(60),
    last_answer_time: Duration::from_secs(35),
    answer_wait: Duration::from_secs(30),
    requests_per_second: 50,
    burst: 200,
    pause: Duration::from_millis(250),
};

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for the sign-in pages: give a free address and port with --sign-in-listen")]
pub struct ListenError {
    /// The address as given.
    pub address: SocketAddr,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

/// The server, bound and not yet answering.
pub struct Server<D> {
    listener: TcpListener,
    links: Links,
    desk: Arc<D>,
    pub(super) limits: Limits,
}

impl<D: Desk> Server<D> {
    /// Listens. `[::]` means all addresses, of IPv4 alone on a host without IPv6.
    ///
    /// # Errors
    /// [`ListenError`], where the port is taken or the address is not this host's.
    pub async fn bind(address: SocketAddr, links: Links, desk: Arc<D>) -> Result<Self, ListenError> {
        let listener = listen(address)
            .await
            .map_err(|source| ListenError { address, source })?;
        Ok(Self {
            listener,
            links,
            desk,
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

    /// Answers until `shutdown`, then finishes the answers that are under way, and waits for every code that was handed to the [`Desk`].
    pub async fn run(self, shutdown: CancellationToken) {
        let app = Arc::new(App::new(self.links, self.desk, self.limits));
        let router = router(&app);
        let free = Arc::new(Semaphore::new(self.limits.connections));
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let accepted = shutdown.run_until_cancelled(async {
                let permit = Arc::clone(&free).acquire_owned().await;
                (permit, self.listener.accept().await)
            });
            match accepted.await {
                None => break,
                Some((permit, Ok((stream, _)))) => {
                    let connection = serve(stream, router.clone(), self.limits, shutdown.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Some((_, Err(error))) => {
                    warn!(%error, "a connection for the sign-in pages could not be accepted");
                    // Most likely out of file descriptors: trying at once would only fail again.
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(self.listener);
        while connections.join_next().await.is_some() {}
        app.tasks.close();
        app.tasks.wait().await;
    }
}

impl<D> fmt::Debug for Server<D> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Server({:?})", self.links)
    }
}

async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error)
            if address.ip().is_unspecified() && address.is_ipv6() && error.kind() != io::ErrorKind::AddrInUse =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    }
}

async fn serve(stream: TcpStream, router: Router, limits: Limits, shutdown: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(limits.buffer)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let ended = select! {
        ended = connection.as_mut() => Some(ended),
        () = sleep(limits.connection_time) => None,
        () = shutdown.cancelled() => None,
    };
    let ended = if let Some(ended) = ended {
        Ok(ended)
    } else {
        connection.as_mut().graceful_shutdown();
        timeout(limits.last_answer_time, connection).await
    };
    if let Ok(Err(error)) = ended {
        debug!(%error, "a connection for the sign-in pages broke");
    }
}
