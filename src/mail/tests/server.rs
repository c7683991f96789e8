//! A mail server that follows a script, over plain TCP and TLS.
//!
//! A script has a line for each thing that happens:
//!
//! ```text
//! S: text       the server sends this line; `{tag}` is the tag of the client's last command
//! C: text       the client must send this line, behind its tag if it has one; `...` at the end stands for anything
//! tls           the server waits for a TLS handshake
//! raw: text     the server sends this as it is; \r, \n and \0 are escapes
//! flood: text   the server sends this without end
//! wait          the server says nothing for a while
//! hang          the server says no more
//! close         the server closes the connection
//! ```
//!
//! After a last line of its own the server takes one farewell; then it closes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use crate::api::Security;
use crate::mail::wire::Connection;
use crate::mail::{Credential, Limits, Login, MailClient, MailServer, MailSettings, Protocol, QuotedPorts};
use crate::outbound::{CaBundle, PrivateAddresses};

pub(super) const USER: &str = "support@example.com";

/// What is wrong with the server's certificate.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Certificate {
    Good,
    OtherName,
    Expired,
    NotYetValid,
    UnknownAuthority,
}

/// A server, and who comes to it.
pub(super) struct Case {
    pub(super) protocol: Protocol,
    pub(super) security: Security,
    pub(super) script: String,
    pub(super) certificate: Certificate,
    pub(super) credential: Credential,
    pub(super) settings: MailSettings,
}

impl Case {
    /// Over TLS, with a token.
    pub(super) fn new(protocol: Protocol, script: &str) -> Self {
        Self {
            protocol,
            security: Security::Tls,
            script: format!("tls\n{script}"),
            certificate: Certificate::Good,
            credential: token("ya29.a-token-of-thirty-bytes"),
            settings: MailSettings {
                // Long: on a busy machine a server may need its time. What has to be waited for has limits of its own.
                limits: Limits {
                    connect: Duration::from_secs(60),
                    answer: Duration::from_secs(60),
                    whole: Duration::from_secs(60),
                },
                private_addresses: PrivateAddresses::Allow,
                ca_bundle: None,
                quoted_ports: QuotedPorts::All,
            },
        }
    }

    /// As [`Self::new`]; TLS begins where the script says so.
    pub(super) fn start_tls(protocol: Protocol, script: &str) -> Self {
        Self {
            security: Security::StartTls,
            script: script.to_owned(),
            ..Self::new(protocol, "")
        }
    }

    pub(super) fn with(self, credential: Credential) -> Self {
        Self { credential, ..self }
    }

    /// Waits for three seconds.
    pub(super) fn hurried(mut self) -> Self {
        self.settings.limits.answer = Duration::from_secs(3);
        self
    }

    /// Logs in. The client must have kept to the script.
    pub(super) async fn run(self) -> Login {
        // The second test to come here finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (acceptor, authority) = certificate(self.certificate);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let hangs = self.script.contains("hang");
        let deviation = Arc::new(Mutex::new(None));
        let (told, script) = (Arc::clone(&deviation), self.script);
        let (finished, end) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let ended = Actor::new(stream, acceptor).play(&script).await;
            *told.lock().unwrap() = ended.err();
            drop(finished);
        });
        let client = MailClient::new(self.settings).unwrap();
        let server = MailServer {
            protocol: self.protocol,
            host: "localhost".to_owned(),
            port,
            security: self.security,
            username: USER.to_owned(),
        };
        let trusted = (self.certificate != Certificate::UnknownAuthority).then_some(&authority);
        let login = client.log_in(&server, &self.credential, trusted).await;
        if !hangs {
            let _ = end.await;
        }
        task.abort();
        let deviation = deviation.lock().unwrap().take();
        assert!(
            deviation.is_none(),
            "{}\n{}",
            deviation.unwrap_or_default(),
            login.transcript
        );
        login
    }
}

pub(super) fn token(text: &str) -> Credential {
    Credential::Token(SecretString::from(text))
}

pub(super) fn password(text: &str) -> Credential {
    Credential::Password(SecretString::from(text))
}

/// The server's side of one connection.
struct Actor {
    connection: Box<dyn Connection>,
    open: Option<TcpStream>,
    acceptor: TlsAcceptor,
    unread: Vec<u8>,
    tag: String,
}

enum Ended {
    /// The client went away.
    Gone,
    /// It said something else.
    Deviation(String),
}

impl Actor {
    fn new(stream: TcpStream, acceptor: TlsAcceptor) -> Self {
        Self {
            connection: Box::new(tokio::io::empty()),
            open: Some(stream),
            acceptor,
            unread: Vec::new(),
            tag: String::new(),
        }
    }

    /// Plays to the end, or until the client leaves.
    async fn play(mut self, script: &str) -> Result<(), String> {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            match self.act(line).await {
                Ok(()) => {}
                Err(Ended::Gone) => return Ok(()),
                Err(Ended::Deviation(deviation)) => return Err(deviation),
            }
        }
        let heard_last = script
            .lines()
            .next_back()
            .is_some_and(|line| line.trim().starts_with("C:"));
        if !heard_last {
            let _ = self.line().await;
        }
        Ok(())
    }

    async fn act(&mut self, line: &str) -> Result<(), Ended> {
        if let Some(text) = line.strip_prefix("S:") {
            let text = format!("{}\r\n", text.trim_start().replace("{tag}", &self.tag));
            self.send(text.as_bytes()).await
        } else if let Some(text) = line.strip_prefix("raw: ") {
            let text = text.replace("\\r", "\r").replace("\\n", "\n").replace("\\0", "\0");
            self.send(text.replace("{tag}", &self.tag).as_bytes()).await
        } else if let Some(text) = line.strip_prefix("flood: ") {
            loop {
                self.send(text.repeat(1024).as_bytes()).await?;
            }
        } else if let Some(expected) = line.strip_prefix("C:") {
            self.expect(expected.trim_start()).await
        } else {
            match line {
                "tls" => {
                    let stream = self.open.take().expect("a script begins TLS once");
                    let stream = self.acceptor.accept(stream).await.map_err(|_| Ended::Gone)?;
                    self.connection = Box::new(stream);
                    Ok(())
                }
                "hang" => std::future::pending().await,
                "wait" => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    Ok(())
                }
                "close" => Err(Ended::Gone),
                other => panic!("no line of a script: {other}"),
            }
        }
    }

    fn connection(&mut self) -> &mut dyn Connection {
        match &mut self.open {
            Some(open) => open,
            None => &mut *self.connection,
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        let connection = self.connection();
        connection.write_all(bytes).await.map_err(|_| Ended::Gone)?;
        connection.flush().await.map_err(|_| Ended::Gone)
    }

    async fn expect(&mut self, expected: &str) -> Result<(), Ended> {
        let line = self.line().await?;
        let command = match line.split_once(' ') {
            Some((tag, command)) if tag.len() == 2 && tag.starts_with('A') => {
                tag.clone_into(&mut self.tag);
                command
            }
            _ => &line,
        };
        let fits = match expected.strip_suffix("...") {
            Some(beginning) => command.starts_with(beginning),
            None => command == expected,
        };
        if fits {
            return Ok(());
        }
        Err(Ended::Deviation(format!(
            "expected {expected:?} of the client, found {command:?}"
        )))
    }

    async fn line(&mut self) -> Result<String, Ended> {
        loop {
            if let Some(length) = self.unread.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..length + 2).take(length).collect();
                return Ok(String::from_utf8(line).unwrap());
            }
            let mut buffer = [0; 4096];
            let count = self.connection().read(&mut buffer).await.map_err(|_| Ended::Gone)?;
            if count == 0 {
                return Err(Ended::Gone);
            }
            self.unread.extend_from_slice(&buffer[..count]);
        }
    }
}

fn certificate(kind: Certificate) -> (TlsAcceptor, CaBundle) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let name = if kind == Certificate::OtherName {
        "imap.other.example"
    } else {
        "localhost"
    };
    let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
    match kind {
        Certificate::Expired => leaf.not_after = date_time_ymd(2020, 1, 1),
        Certificate::NotYetValid => leaf.not_before = date_time_ymd(3000, 1, 1),
        Certificate::Good | Certificate::OtherName | Certificate::UnknownAuthority => {}
    }
    let leaf = leaf.signed_by(&key, &authority).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let bundle = CaBundle::from_pem(authority.pem().as_bytes()).unwrap();
    (TlsAcceptor::from(Arc::new(config)), bundle)
}
