//! What stands before several replicas: one address, and behind it the replica that the test chooses.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Hands connections on, byte by byte. It ends with this value.
pub(crate) struct Balancer {
    /// Where people connect to.
    pub(crate) address: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
    task: JoinHandle<()>,
}

impl Balancer {
    /// Hands connections to this address, until [`Balancer::direct_to`] names another one.
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let target = Arc::new(Mutex::new(target));
        let task = tokio::spawn(serve(listener, Arc::clone(&target)));
        Self { address, target, task }
    }

    /// New connections go there from now on.
    pub(crate) fn direct_to(&self, target: SocketAddr) {
        *self.target.lock().expect("nobody panics with it") = target;
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, target: Arc<Mutex<SocketAddr>>) {
    while let Ok((mut person, _)) = listener.accept().await {
        let target = *target.lock().expect("nobody panics with it");
        tokio::spawn(async move {
            // A replica that is gone refuses: the person's connection is closed, as a balancer does.
            if let Ok(mut replica) = TcpStream::connect(target).await {
                let _ = tokio::io::copy_bidirectional(&mut person, &mut replica).await;
            }
        });
    }
}
