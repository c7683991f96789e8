//! A TLS server that does exactly what a test tells it, byte by byte, and a proxy in front of it.

use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use url::Url;

use crate::oauth::CaBundle;

pub(crate) fn install_tls_provider() {
    // The second test to come here finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// What the server does with one request.
#[derive(Clone)]
pub(crate) enum Step {
    /// Writes this and reads the next request from the same connection.
    Answer(String),
    /// Writes this and closes the connection without a word.
    AnswerAndClose(String),
    /// Writes this and then nothing more, for ever.
    AnswerAndHang(String),
    /// Reads the request and resets the connection.
    Reset,
    /// Writes the head of an endless body, and spaces until the client hangs up.
    Flood,
}

pub(crate) fn ok_json(body: &str) -> Step {
    Step::Answer(response("200 OK", "", body))
}

pub(crate) fn response(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) authority: CaBundle,
    pub(crate) authority_pem: String,
    /// Each request, whole.
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    pub(crate) connections: Arc<Mutex<usize>>,
    /// Told when a flood ended because the client hung up.
    pub(crate) flood_ended: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Serves one step per request; its certificate is for `localhost` and `token.test`.
    pub(crate) async fn start(steps: Vec<Step>) -> Self {
        let mut steps = steps.into_iter();
        Self::answering(move |_| steps.next()).await
    }

    /// Serves what `answer` says to each request; none: it closes the connection.
    pub(crate) async fn answering(answer: impl FnMut(&str) -> Option<Step> + Send + 'static) -> Self {
        Self::named(&["localhost", "token.test"], answer).await
    }

    /// As [`Server::answering`], with a certificate for these names.
    pub(crate) async fn named(names: &[&str], answer: impl FnMut(&str) -> Option<Step> + Send + 'static) -> Self {
        install_tls_provider();
        let (acceptor, authority_pem) = certificate(names);
        let authority = CaBundle::from_pem(authority_pem.as_bytes()).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = Arc::new(Mutex::new(answer));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(Mutex::new(0));
        let flood_ended = Arc::new(Notify::new());
        let (log, count, ended) = (
            Arc::clone(&requests),
            Arc::clone(&connections),
            Arc::clone(&flood_ended),
        );
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *count.lock().unwrap() += 1;
                let (acceptor, answer) = (acceptor.clone(), Arc::clone(&answer));
                let (log, ended) = (Arc::clone(&log), Arc::clone(&ended));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    while let Some(request) = read_request(&mut stream).await {
                        log.lock().unwrap().push(request.clone());
                        let Some(step) = answer.lock().unwrap()(&request) else {
                            return;
                        };
                        if !act(step, &mut stream, &ended).await {
                            return;
                        }
                    }
                });
            }
        });
        Self {
            port,
            authority,
            authority_pem,
            requests,
            connections,
            flood_ended,
            task,
        }
    }

    pub(crate) fn url(&self, host: &str) -> Url {
        Url::parse(&format!("https://{host}:{}/token", self.port)).unwrap()
    }

    pub(crate) fn request_count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

/// Whether the connection goes on.
async fn act(step: Step, stream: &mut TlsStream<TcpStream>, flood_ended: &Notify) -> bool {
    match step {
        Step::Answer(text) => stream.write_all(text.as_bytes()).await.is_ok() && stream.flush().await.is_ok(),
        Step::AnswerAndClose(text) => {
            stream.write_all(text.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            false
        }
        Step::AnswerAndHang(text) => {
            stream.write_all(text.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            std::future::pending().await
        }
        Step::Reset => {
            stream.get_ref().0.set_zero_linger().unwrap();
            false
        }
        Step::Flood => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000000000\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            while stream.write_all(&[b' '; 16 * 1024]).await.is_ok() {}
            flood_ended.notify_one();
            false
        }
    }
}

async fn read_request(stream: &mut TlsStream<TcpStream>) -> Option<String> {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse::<usize>().unwrap()) {
                return Some(text);
            }
        }
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
}

fn certificate(names: &[&str]) -> (TlsAcceptor, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let leaf = CertificateParams::new(names)
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), authority.pem())
}

/// A CONNECT proxy that sends everything to one port of this machine, whatever name it is asked for.
pub(crate) struct Proxy {
    pub(crate) url: Url,
    /// The first line of each request.
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub(crate) async fn start(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") {
                    client.read_exact(&mut byte).await.unwrap();
                    head.push(byte[0]);
                }
                log.lock()
                    .unwrap()
                    .push(String::from_utf8(head).unwrap().lines().next().unwrap().to_owned());
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                tokio::spawn(async move {
                    let mut target = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut target).await;
                });
            }
        });
        Self { url, asked }
    }
}
