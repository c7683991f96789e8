//! The page of this machine that the provider sends the browser back to (RFC 8252 section 7.3).
//!
//! It listens on loopback only, answers `GET /` alone, and takes one answer: the one with the state of this sign-in. Whatever else knocks, another program or a
//! page that guesses the port, gets an error page and changes nothing. Sizes, times and connections are bounded.

use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Method, Request, Response, header};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use secrecy::SecretString;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use super::callback::{self, Callback, Consented, Refused};
use super::pages::{Page, page};
use crate::plugin::exit::{Exit, Problem};
use crate::plugin::words::without_number;

/// Connections at a time; more wait in the kernel's queue.
const CONNECTIONS: usize = 16;
/// How long a connection may last.
const CONNECTION_LIMIT: Duration = Duration::from_secs(10);
/// How long a request's headers may take.
const HEADER_LIMIT: Duration = Duration::from_secs(5);
/// Size of a request line with headers, in bytes.
const REQUEST_SIZE: usize = 32 * 1024;
/// How long the last page may take to reach the browser.
const LAST_PAGE_LIMIT: Duration = Duration::from_secs(2);

/// The host part of the redirect URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Host {
    /// `127.0.0.1`, as RFC 8252 section 8.3 recommends.
    Address,
    /// `localhost`, where the provider ignores the port of this name alone.
    Name,
}

impl Host {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "127.0.0.1",
            Self::Name => "localhost",
        }
    }
}

/// A page that waits for the browser.
pub(super) struct Loopback {
    host: Host,
    port: u16,
    listeners: Vec<TcpListener>,
}

/// How a sign-in in the browser ended.
pub(super) type Answer = Result<Consented, Refused>;

impl Loopback {
    /// Opens the port; 0: any free one.
    pub(super) async fn open(host: Host, port: u16) -> Result<Self, Problem> {
        let busy = |error: std::io::Error| {
            Problem::new(
                Exit::Usage,
                format!(
                    "Port {port} of this machine cannot be listened on: {}. Choose another with --port, or leave it out where any port is accepted.",
                    without_number(&error.to_string())
                ),
            )
        };
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(busy)?;
        let port = first.local_addr().map_err(busy)?.port();
        let mut listeners = vec![first];
        if host == Host::Name {
            // Some browsers try ::1 first for this name. A machine without IPv6 has only the other.
            listeners.extend(TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await.ok());
        }
        Ok(Self { host, port, listeners })
    }

    /// The port that it listens on.
    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// The redirect URI. It has no path, because some providers compare paths and people register none.
    pub(super) fn redirect_uri(&self) -> String {
        format!("http://{}:{}", self.host.as_str(), self.port)
    }

    /// Waits for the answer to this state. Ends only when it has come, and when the browser has got its page.
    pub(super) async fn answer(self, state: SecretString) -> Answer {
        let (sender, mut receiver) = oneshot::channel();
        let desk = Arc::new(Desk {
            authorities: ["127.0.0.1", "localhost", "[::1]"].map(|host| format!("{host}:{}", self.port)),
            state,
            sender: Mutex::new(Some(sender)),
        });
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        let answer = loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                // Nobody closes the semaphore.
                std::future::pending::<()>().await;
                continue;
            };
            tokio::select! {
                biased;
                answer = &mut receiver => match answer {
                    Ok(answer) => break answer,
                    // The desk lives as long as this loop.
                    Err(_) => std::future::pending().await,
                },
                accepted = accept(&self.listeners) => if let Some(stream) = accepted {
                    let desk = Arc::clone(&desk);
                    connections.spawn(async move {
                        serve(stream, desk).await;
                        drop(permit);
                    });
                },
                Some(_) = connections.join_next() => {}
            }
        };
        let finish = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(LAST_PAGE_LIMIT, finish).await;
        answer
    }
}

async fn accept(listeners: &[TcpListener]) -> Option<TcpStream> {
    let accepting = listeners.iter().map(|listener| Box::pin(listener.accept()));
    let (accepted, _, _) = futures::future::select_all(accepting).await;
    if let Ok((stream, _)) = accepted {
        return Some(stream);
    }
    // Such as too many open files: not at once again.
    tokio::time::sleep(Duration::from_millis(100)).await;
    None
}

struct Desk {
    /// What a browser that was sent here writes as `Host`: a name that was bent to this machine's address gets nothing.
    authorities: [String; 3],
    state: SecretString,
    sender: Mutex<Option<oneshot::Sender<Answer>>>,
}

async fn serve(stream: TcpStream, desk: Arc<Desk>) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let answer = desk.respond(request.method(), request.uri(), request.headers());
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .max_buf_size(REQUEST_SIZE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A client that breaks off or is too slow is its own affair.
    let _ = tokio::time::timeout(CONNECTION_LIMIT, connection).await;
}

impl Desk {
    fn respond(&self, method: &Method, uri: &http::Uri, headers: &http::HeaderMap) -> Response<String> {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let ours = host.is_some_and(|host| self.authorities.iter().any(|own| own.eq_ignore_ascii_case(host)));
        let Some(query) = uri
            .query()
            .filter(|_| ours && uri.path() == "/" && method == Method::GET)
        else {
            return page(Page::NotFound);
        };
        let (answer, shown) = match callback::read(query, &self.state) {
            Callback::Consented(consented) => (Ok(consented), Page::Taken),
            Callback::Refused(refused) => (Err(refused), Page::Refused),
            Callback::Stray => return page(Page::Stray),
        };
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        match sender {
            Some(sender) => {
                // Nobody waits any more: the command has ended.
                let _ = sender.send(answer);
                page(shown)
            }
            None => page(Page::Stray),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn ask(port: u16, request: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    fn get(path: &str, port: u16) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n")
    }

    #[tokio::test]
    async fn one_answer_is_taken_and_strays_change_nothing() {
        let loopback = Loopback::open(Host::Address, 0).await.unwrap();
        let port = loopback.port();
        assert_eq!(loopback.redirect_uri(), format!("http://127.0.0.1:{port}"));
        let waiting = tokio::spawn(loopback.answer("right".into()));

        for (request, status) in [
            (get("/favicon.ico", port), "404"),
            (get("/", port), "404"),
            (get("/?code=abc&state=wrong", port), "400"),
            (get("/other?code=abc&state=right", port), "404"),
            (get("/?code=abc&state=right", port).replace("GET", "POST"), "404"),
            (
                get("/?code=abc&state=right", port).replace("127.0.0.1", "evil.example"),
                "404",
            ),
            (get(&format!("/?code={}", "a".repeat(40_000)), port), "4"),
        ] {
            let answer = ask(port, &request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
            assert!(!waiting.is_finished());
        }

        let answer = ask(port, &get("/?code=abc&state=right&iss=https%3A%2F%2Fid.example", port)).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("You can close this window"), "{answer}");
        let lower = answer.to_lowercase();
        for header in [
            "cache-control: no-store",
            "referrer-policy: no-referrer",
            "x-content-type-options: nosniff",
            "content-security-policy: default-src 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(lower.contains(header), "{header} is missing: {answer}");
        }
        let consented = waiting.await.unwrap().ok().unwrap();
        assert_eq!(consented.code.expose_secret(), "abc");
        assert_eq!(consented.issuer.as_deref(), Some("https://id.example"));
    }

    #[tokio::test]
    async fn a_refusal_ends_the_waiting_too() {
        let loopback = Loopback::open(Host::Name, 0).await.unwrap();
        let port = loopback.port();
        let waiting = tokio::spawn(loopback.answer("right".into()));
        let request = get("/?error=access_denied&state=right", port).replace("Host: 127.0.0.1", "Host: localhost");
        let answer = ask(port, &request).await;
        assert!(answer.contains("The sign-in did not happen"), "{answer}");
        assert_eq!(waiting.await.unwrap().err().unwrap().error, "access_denied");
    }

    #[tokio::test]
    async fn a_port_in_use_is_said_with_the_way_out() {
        let first = Loopback::open(Host::Address, 0).await.unwrap();
        let second = Loopback::open(Host::Address, first.port()).await.err().unwrap();
        assert_eq!(second.exit, Exit::Usage);
        assert!(second.message.contains("--port"), "{second}");
    }
}
