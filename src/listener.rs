//! A listening socket and the connections on it: HTTP/1.1 for clients that nobody knows.
//!
//! The health port is open to the whole cluster and the sign-in pages to the internet, so both limit what clients can make them hold. A client has a few seconds for
//! whatever we wait for it to do; the time that our own answer takes is not counted. When all places are taken, the client that has kept us waiting the longest has
//! to leave: however many dawdle, nobody else is kept out.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{Router, response::Response};
use http::Request;
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    select,
    sync::{Notify, watch},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// How long somebody waits at the door of a full house before the slowest has to leave. Who comes again at once shall not keep the processor busy.
const AT_THE_DOOR: Duration = Duration::from_millis(2);
/// What is read after the end of a connection, in bytes and for how long.
const REST: usize = 256 * 1024;
const REST_TIME: Duration = Duration::from_secs(1);

/// What clients may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at a time.
    pub(crate) connections: usize,
    /// How long a client may keep us waiting: with its headers, with taking an answer, with asking again.
    pub(crate) patience: Duration,
    /// Address and headers of a request, in bytes (8,192 at least).
    pub(crate) buffer: usize,
    /// After this time a connection is closed behind the answer that is under way.
    pub(crate) connection_time: Duration,
    /// For an answer that is under way at the end of the connection, or at shutdown.
    pub(crate) last_answer_time: Duration,
}

/// Listens. `[::]` means all addresses, of IPv4 alone on a host without IPv6.
///
/// # Errors
/// What the kernel says.
pub(crate) async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error)
            if address.ip().is_unspecified() && address.is_ipv6() && error.kind() != io::ErrorKind::AddrInUse =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    }
}

/// Answers until `shutdown`, then finishes the answers that are under way.
pub(crate) async fn serve(listener: TcpListener, router: Router, limits: Limits, shutdown: CancellationToken) {
    let mut house = House::new(limits.connections);
    loop {
        let accepted = shutdown.run_until_cancelled(async {
            let (stream, _) = listener.accept().await?;
            house.make_room().await;
            io::Result::Ok(stream)
        });
        match accepted.await {
            None => break,
            Some(Ok(stream)) => {
                let client = Client::new(&house.turned);
                let turn = client.turn.subscribe();
                let connection = connection(stream, router.clone(), limits, client, shutdown.clone());
                house.let_in(connection, turn);
            }
            Some(Err(error)) => {
                warn!(%error, address = ?listener.local_addr().ok(), "a connection could not be accepted");
                // Most likely out of file descriptors: trying at once would only fail again.
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    while house.connections.join_next().await.is_some() {}
}

/// A connection, for the handler of a request on it (an extension of the request).
#[derive(Debug, Clone)]
pub(crate) struct Client {
    turn: Arc<watch::Sender<Turn>>,
    turned: Arc<Notify>,
}

/// Who has to do something.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Ours,
    /// The client's, since then.
    Theirs(Instant),
}

impl Client {
    fn new(turned: &Arc<Notify>) -> Self {
        Self {
            turn: Arc::new(watch::Sender::new(Turn::Theirs(Instant::now()))),
            turned: Arc::clone(turned),
        }
    }

    /// Waits for something that the client has to do. Meanwhile it may have to leave for others, and after the listener's patience it does.
    pub(crate) async fn waited_for<T>(&self, what: impl Future<Output = T>) -> T {
        self.is_waited_for();
        let done = what.await;
        self.is_served();
        done
    }

    fn is_served(&self) {
        self.turn.send_replace(Turn::Ours);
    }

    fn is_waited_for(&self) {
        self.turn.send_replace(Turn::Theirs(Instant::now()));
        self.turned.notify_one();
    }
}

/// The connections that are open.
struct House {
    places: usize,
    open: Vec<(AbortHandle, watch::Receiver<Turn>)>,
    connections: JoinSet<()>,
    /// It has become some client's turn.
    turned: Arc<Notify>,
}

impl House {
    fn new(places: usize) -> Self {
        Self {
            places,
            open: Vec::new(),
            connections: JoinSet::new(),
            turned: Arc::default(),
        }
    }

    /// Returns when there is a place. Whoever is being answered keeps theirs.
    async fn make_room(&mut self) {
        self.forget_the_gone();
        if self.connections.len() >= self.places {
            let _ = timeout(AT_THE_DOOR, self.connections.join_next()).await;
        }
        while self.connections.len() >= self.places {
            if let Some(slowest) = self.slowest() {
                self.open.swap_remove(slowest).0.abort();
                self.connections.join_next().await;
            } else {
                select! {
                    _ = self.connections.join_next() => {}
                    () = self.turned.notified() => {}
                }
            }
        }
        self.forget_the_gone();
    }

    fn forget_the_gone(&mut self) {
        while self.connections.try_join_next().is_some() {}
        self.open.retain(|(connection, _)| !connection.is_finished());
    }

    /// Who has kept us waiting the longest.
    fn slowest(&self) -> Option<usize> {
        let waited_for = self.open.iter().enumerate().filter_map(|(index, (connection, turn))| {
            let turn = *turn.borrow();
            match turn {
                Turn::Theirs(since) if !connection.is_finished() => Some((since, index)),
                _ => None,
            }
        });
        waited_for.min().map(|(_, index)| index)
    }

    fn let_in(&mut self, connection: impl Future<Output = ()> + Send + 'static, turn: watch::Receiver<Turn>) {
        self.open.push((self.connections.spawn(connection), turn));
    }
}

async fn connection(stream: TcpStream, router: Router, limits: Limits, client: Client, shutdown: CancellationToken) {
    let turn = client.turn.subscribe();
    select! {
        () = converse(stream, router, limits, client, shutdown) => {}
        () = out_of_patience(turn, limits.patience) => debug!("a client was too slow"),
    }
}

async fn out_of_patience(mut turn: watch::Receiver<Turn>, patience: Duration) {
    loop {
        let now = *turn.borrow_and_update();
        match now {
            Turn::Theirs(since) if timeout_at(since + patience, turn.changed()).await.is_err() => return,
            Turn::Theirs(_) => {}
            // An error would mean that the conversation is over, which ends the whole.
            Turn::Ours => drop(turn.changed().await),
        }
    }
}

async fn converse(stream: TcpStream, router: Router, limits: Limits, client: Client, shutdown: CancellationToken) {
    let pages = TowerToHyperService::new(router);
    let answer = service_fn(move |mut request: Request<Incoming>| {
        client.is_served();
        request.extensions_mut().insert(client.clone());
        let (answer, client) = (pages.call(request), client.clone());
        async move {
            let answer: Result<Response, Infallible> = answer.await;
            client.is_waited_for();
            answer
        }
    });
    let mut connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(limits.buffer)
        .serve_connection(TokioIo::new(stream), answer);
    let ended = select! {
        ended = &mut connection => Some(ended),
        () = sleep(limits.connection_time) => None,
        () = shutdown.cancelled() => None,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        std::pin::Pin::new(&mut connection).graceful_shutdown();
        match timeout(limits.last_answer_time, &mut connection).await {
            Ok(ended) => ended,
            Err(_) => return,
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection broke");
    }
    read_the_rest(connection.into_parts().io.into_inner()).await;
}

/// Where something is left unread at the end, the kernel takes back what is still on its way to the client, such as the answer that its request is too large.
async fn read_the_rest(mut stream: TcpStream) {
    let mut rest = [0; 1024];
    let reading = async {
        let mut left = REST;
        while left > 0
            && let Ok(read @ 1..) = stream.read(&mut rest).await
        {
            left = left.saturating_sub(read);
        }
    };
    let _ = timeout(REST_TIME, reading).await;
}
