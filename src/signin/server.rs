//! The HTTP server of the sign-in pages.
//!
//! It stands open to the internet, so it limits what clients can make it hold and do: connections and their time ([`listener`]), headers, bodies, and requests a
//! second in all.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    Desk, Links,
    routes::{App, router},
};
use crate::listener;

/// What clients may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections. Its `buffer` is larger than `header_size`: beyond that hyper answers without a page.
    pub(super) connections: listener::Limits,
    /// Address and headers of a request, in bytes: more gets a page that says so.
    pub(super) header_size: usize,
    /// A form holds one digest.
    pub(super) body_size: usize,
    /// Shorter than the patience for a connection: a browser shall be told.
    pub(super) body_time: Duration,
    /// How long a browser waits for a code to be redeemed before it is told to look again. Shorter than the timeouts of common proxies (60 s).
    pub(super) answer_wait: Duration,
    /// Browsers that wait for that at a time; more are told at once to look again. Without this, one provider that hangs could take all connections.
    pub(super) waiting: usize,
    /// Requests of all clients together.
    pub(super) requests_per_second: u32,
    pub(super) burst: u32,
    /// How long a client waits for the answer that there were too many.
    pub(super) pause: Duration,
}

pub(super) const LIMITS: Limits = Limits {
    connections: listener::Limits {
        connections: 256,
        patience: Duration::from_secs(5),
        buffer: 32 * 1024,
        connection_time: Duration::from_secs(60),
        last_answer_time: Duration::from_secs(35),
    },
    header_size: 16 * 1024,
    body_size: 1024,
    body_time: Duration::from_secs(4),
    answer_wait: Duration::from_secs(30),
    waiting: 64,
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
        let listener = listener::bind(address)
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
        listener::serve(self.listener, router(&app), self.limits.connections, shutdown).await;
        app.tasks.close();
        app.tasks.wait().await;
    }
}

impl<D> fmt::Debug for Server<D> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Server({:?})", self.links)
    }
}
