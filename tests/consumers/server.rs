//! A mail server on a loopback port, over TLS, that takes one login and writes down what it is told.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::NamedTempFile;

/// What the server says to the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Accept,
    /// With a challenge that explains it, as servers do.
    Refuse,
}

/// What the client said.
#[derive(Debug, Default)]
pub(crate) struct Spoken {
    pub(crate) port: u16,
    /// Its initial response, decoded.
    pub(crate) login: String,
    /// What it sent after the explained refusal.
    pub(crate) answer_to_challenge: Option<String>,
    /// All other lines.
    pub(crate) lines: Vec<String>,
}

pub(crate) struct LoopbackServer {
    pub(crate) port: u16,
    certificate: NamedTempFile,
    conversation: JoinHandle<Spoken>,
}

type Stream = BufReader<StreamOwned<ServerConnection, TcpStream>>;

impl LoopbackServer {
    pub(crate) fn smtp(mechanism: &'static str, answer: Answer) -> Self {
        Self::start(move |stream| smtp(stream, mechanism, answer))
    }

    pub(crate) fn imap(answer: Answer) -> Self {
        Self::start(move |stream| imap(stream, answer))
    }

    fn start(talk: impl FnOnce(&mut Conversation) -> Option<()> + Send + 'static) -> Self {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let mut certificate = NamedTempFile::new().unwrap();
        certificate.write_all(cert.pem().as_bytes()).unwrap();
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(certificate.path(), readable).unwrap();
        let key = signing_key.serialize_der().try_into().unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let settings = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let conversation = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
            let tls = ServerConnection::new(Arc::new(settings)).unwrap();
            let mut conversation = Conversation {
                stream: BufReader::new(StreamOwned::new(tls, stream)),
                spoken: Spoken {
                    port,
                    ..Spoken::default()
                },
            };
            // A client may hang up when it likes.
            let _ = talk(&mut conversation);
            conversation.spoken
        });
        Self {
            port,
            certificate,
            conversation,
        }
    }

    /// The file of the certificate to trust.
    pub(crate) fn certificate(&self) -> String {
        self.certificate.path().to_str().unwrap().to_owned()
    }

    /// What was said, when the client has gone.
    pub(crate) fn spoken(self) -> Spoken {
        // One that never came is not waited for.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        self.conversation.join().unwrap()
    }
}

struct Conversation {
    stream: Stream,
    spoken: Spoken,
}

impl Conversation {
    fn say(&mut self, line: &str) -> Option<()> {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).ok()?;
        self.stream.get_mut().flush().ok()
    }

    fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).ok()?;
        (read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// The initial response, where it stands or on the next line.
    fn hear_login(&mut self, at_once: Option<&str>, challenge: &str) -> Option<()> {
        let response = if let Some(response) = at_once {
            response.to_owned()
        } else {
            self.say(challenge)?;
            self.hear()?
        };
        self.spoken.login = String::from_utf8(STANDARD.decode(response).unwrap()).unwrap();
        Some(())
    }
}

fn smtp(talk: &mut Conversation, mechanism: &str, answer: Answer) -> Option<()> {
    talk.say("220 localhost ESMTP")?;
    loop {
        let line = talk.hear()?;
        let upper = line.to_ascii_uppercase();
        if upper.starts_with("EHLO") {
            talk.say(&format!("250-localhost\r\n250 AUTH {mechanism}"))?;
        } else if upper.starts_with("AUTH ") {
            let at_once = line.split(' ').nth(2).filter(|response| *response != "=");
            talk.hear_login(at_once, "334 ")?;
            if answer == Answer::Refuse {
                talk.say(&format!(
                    "334 {}",
                    STANDARD.encode(r#"{"status":"401","schemes":"bearer","scope":"mail"}"#)
                ))?;
                talk.spoken.answer_to_challenge = talk.hear();
                talk.say("535 5.7.8 refused")?;
            } else {
                talk.say("235 2.7.0 welcome")?;
            }
        } else if upper == "DATA" {
            talk.say("354 go on")?;
            while talk.hear()? != "." {}
            talk.say("250 2.0.0 taken")?;
        } else if upper == "QUIT" {
            return talk.say("221 bye");
        } else {
            talk.spoken.lines.push(line);
            talk.say("250 2.0.0 fine")?;
        }
    }
}

fn imap(talk: &mut Conversation, answer: Answer) -> Option<()> {
    talk.say("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] localhost")?;
    loop {
        let line = talk.hear()?;
        let (tag, command) = line.split_once(' ')?;
        let command = command.to_owned();
        if let Some(rest) = command.strip_prefix("AUTHENTICATE XOAUTH2") {
            let at_once = Some(rest.trim()).filter(|response| !response.is_empty());
            talk.hear_login(at_once, "+ ")?;
            let said = if answer == Answer::Accept {
                "OK [CAPABILITY IMAP4rev1] welcome"
            } else {
                "NO refused"
            };
            talk.say(&format!("{tag} {said}"))?;
        } else if command.starts_with("LIST") {
            talk.say("* LIST (\\HasNoChildren) \"/\" INBOX")?;
            talk.say(&format!("{tag} OK done"))?;
        } else if command == "LOGOUT" {
            talk.say("* BYE")?;
            return talk.say(&format!("{tag} OK done"));
        } else {
            talk.spoken.lines.push(command);
            talk.say(&format!("{tag} OK fine"))?;
        }
    }
}
