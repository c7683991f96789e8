//! HTTP by hand: what no client library would send.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Twelve times what the operator lets a client keep it waiting, for slow machines. Far below what it lets a connection live.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// What a server sent until it closed the connection.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
}

impl Reply {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        Some(Self {
            status,
            head: head.to_owned(),
            body: body.to_owned(),
        })
    }

    /// A header; it may stand there once only.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.head.lines().filter_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        });
        let value = found.next();
        assert_eq!(found.next(), None, "{name} stands there twice: {}", self.head);
        value
    }

    /// A hidden field of the form.
    pub(super) fn field(&self, name: &str) -> &str {
        let start = format!("name=\"{name}\" value=\"");
        let (_, rest) = self.body.split_once(&start).expect("the page has a form");
        rest.split('"').next().unwrap()
    }

    /// Whether head or body have these words.
    pub(super) fn says(&self, words: &str) -> bool {
        self.head.contains(words) || self.body.contains(words)
    }
}

/// Sends bytes, whatever the server does meanwhile, and reads until it closes. None: it closed without an answer.
pub(super) async fn say(server: SocketAddr, words: &[u8]) -> Option<Reply> {
    let (mut reading, mut writing) = TcpStream::connect(server).await.unwrap().into_split();
    let mut answer = Vec::new();
    let both = async {
        // The server may close before it has taken everything.
        let (_, _) = tokio::join!(writing.write_all(words), reading.read_to_end(&mut answer));
    };
    timeout(LIMIT, both).await.expect("the server closes the connection");
    Reply::parse(&answer)
}

/// A GET that is as it should be, but for these headers.
pub(super) async fn get(server: SocketAddr, path: &str, headers: &str) -> Reply {
    let words = format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
    say(server, words.as_bytes()).await.expect("an answer")
}

/// The same for a form.
pub(super) async fn post(server: SocketAddr, path: &str, headers: &str, form: &str) -> Reply {
    let length = form.len();
    let words = format!(
        "POST {path} HTTP/1.1\r\n{headers}Connection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{form}"
    );
    say(server, words.as_bytes()).await.expect("an answer")
}
