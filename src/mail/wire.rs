//! Lines to and from a mail server, with limits on their length, on the whole conversation and on time.

use std::mem;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::login::Limits;
use super::meaning::Meaning;
use super::tls::Tls;
use super::transcript::Scribe;

/// A longer line is nonsense. RFC 9051 names no limit; Gmail's longest, its capabilities, has about 250 bytes.
const LINE_LIMIT: usize = 8 * 1024;

/// All that one server may say.
const TOTAL_LIMIT: usize = 64 * 1024;

/// What a farewell may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// A connection: TCP, or TLS over it.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Why no line could be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// Nothing came in time.
    Silent,
    /// The connection was closed or reset, or TLS broke.
    HungUp,
    /// The server breaks its own protocol.
    Nonsense(&'static str),
}

/// One connection and what was read ahead from it.
pub(super) struct Wire<'a> {
    connection: Box<dyn Connection>,
    ahead: Vec<u8>,
    total: usize,
    limits: Limits,
    end: Instant,
    pub(super) scribe: &'a mut Scribe,
}

impl<'a> Wire<'a> {
    /// Over a connection. All of the conversation is over by `end`.
    pub(super) fn new(connection: Box<dyn Connection>, limits: Limits, end: Instant, scribe: &'a mut Scribe) -> Self {
        Self {
            connection,
            ahead: Vec::new(),
            total: 0,
            limits,
            end,
            scribe,
        }
    }

    /// The moment by which the next thing must have happened.
    pub(super) fn deadline(&self) -> Instant {
        self.end.min(Instant::now() + self.limits.answer)
    }

    /// Whether bytes came that nobody asked for.
    pub(super) fn has_unread(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Goes on over TLS. What was read ahead must have been looked at before.
    ///
    /// # Errors
    /// What the handshake failed for; the connection is gone then.
    pub(super) async fn encrypt(&mut self, tls: &Tls) -> Result<(), Meaning> {
        let deadline = self.deadline();
        self.ahead.clear();
        let open = mem::replace(&mut self.connection, Box::new(tokio::io::empty()));
        self.connection = tls.handshake(open, deadline, self.scribe).await?;
        Ok(())
    }

    /// The next line, without its CRLF.
    pub(super) async fn line(&mut self) -> Result<String, Broken> {
        let deadline = self.deadline();
        let length = loop {
            match self.ahead.iter().position(|byte| *byte == b'\n') {
                Some(length) if length <= LINE_LIMIT => break length,
                None if self.ahead.len() <= LINE_LIMIT => self.read_more(deadline).await?,
                _ => return Err(Broken::Nonsense("it sent a line that is too long")),
            }
        };
        let line: Vec<u8> = self.ahead.drain(..=length).collect();
        let line = line
            .strip_suffix(b"\r\n")
            .ok_or(Broken::Nonsense("it ends lines without a carriage return"))?;
        if line.contains(&0) {
            return Err(Broken::Nonsense("it sent a zero byte"));
        }
        let line = String::from_utf8_lossy(line).into_owned();
        self.scribe.server(&line);
        Ok(line)
    }

    /// Drops the next bytes: an IMAP literal, which we never need.
    pub(super) async fn skip(&mut self, count: usize) -> Result<(), Broken> {
        if count > TOTAL_LIMIT {
            return Err(Broken::Nonsense("it sent too much"));
        }
        let deadline = self.deadline();
        while self.ahead.len() < count {
            self.read_more(deadline).await?;
        }
        self.ahead.drain(..count);
        Ok(())
    }

    async fn read_more(&mut self, deadline: Instant) -> Result<(), Broken> {
        let mut buffer = [0; 4096];
        let read = timeout_at(deadline, self.connection.read(&mut buffer)).await;
        let count = read.map_err(|_| Broken::Silent)?.map_err(|_| Broken::HungUp)?;
        if count == 0 {
            return Err(Broken::HungUp);
        }
        self.total += count;
        if self.total > TOTAL_LIMIT {
            return Err(Broken::Nonsense("it sent too much"));
        }
        self.ahead.extend(buffer.iter().take(count));
        Ok(())
    }

    /// Sends a line. `shown` stands in the transcript in place of it.
    pub(super) async fn send(&mut self, line: &SecretString, shown: &str) -> Result<(), Broken> {
        self.scribe.client(shown);
        let deadline = self.deadline();
        let bytes = SecretString::from(format!("{}\r\n", line.expose_secret()));
        let sent = timeout_at(deadline, async {
            self.connection.write_all(bytes.expose_secret().as_bytes()).await?;
            self.connection.flush().await
        });
        sent.await.map_err(|_| Broken::Silent)?.map_err(|_| Broken::HungUp)
    }

    /// Says a last line and closes, without hurry and without complaint: a server that is left politely frees its place at once.
    pub(super) async fn leave(&mut self, line: &str) {
        self.end = self.end.min(Instant::now() + FAREWELL);
        let deadline = self.end;
        if self.send(&line.to_owned().into(), line).await.is_ok() {
            let mut rest = [0; 1024];
            let _ = timeout_at(deadline, self.connection.read(&mut rest)).await;
            let _ = timeout_at(deadline, self.connection.shutdown()).await;
        }
    }
}
