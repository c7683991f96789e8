//! Logins at a real Dovecot, which asks a small server of ours about each token. Needs the packages that `tests/setup mail` gets, so these tests run when asked for:
//! `cargo test --lib -- --ignored mail::tests::dovecot`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rcgen::generate_simple_self_signed;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::server::{USER, password, token};
use crate::api::Security;
use crate::mail::Meaning::*;
use crate::mail::Protocol::{self, Imap, Pop3, Smtp};
use crate::mail::{Credential, Login, MailClient, MailServer, MailSettings, Mechanism, QuotedPorts, Step};
use crate::outbound::{CaBundle, PrivateAddresses};

const PASSWORD: &str = "an \"app\" password";

struct Dovecot {
    process: Child,
    authority: CaBundle,
    ports: [u16; 6],
    _folder: TempDir,
}

impl Drop for Dovecot {
    /// Its own farewell takes seconds.
    fn drop(&mut self) {
        let group = Pid::from_raw(self.process.id().try_into().unwrap());
        killpg(group, Signal::SIGKILL).unwrap();
        self.process.wait().unwrap();
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

impl Dovecot {
    /// Takes these mechanisms for tokens.
    async fn start(mechanisms: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(path.join("mail")).unwrap();
        fs::set_permissions(path.join("mail"), Permissions::from_mode(0o777)).unwrap();
        let own = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(path.join("certificate.pem"), own.cert.pem()).unwrap();
        fs::write(path.join("key.pem"), own.signing_key.serialize_pem()).unwrap();
        fs::write(path.join("passwords"), format!("{USER}:{{PLAIN}}{PASSWORD}\n")).unwrap();
        let ports = [(); 6].map(|()| free_port());
        let (introspection, relay) = (introspect().await, relay().await);
        fs::write(path.join("oauth2.conf"), oauth2(introspection)).unwrap();
        fs::write(path.join("dovecot.conf"), configuration(path, mechanisms, ports, relay)).unwrap();
        let process = Command::new("dovecot")
            .arg("-F")
            .arg("-c")
            .arg(path.join("dovecot.conf"))
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("dovecot is not there: run tests/setup mail");
        let dovecot = Self {
            process,
            authority: CaBundle::from_pem(own.cert.pem().as_bytes()).unwrap(),
            ports,
            _folder: folder,
        };
        for port in ports {
            let listening = async {
                while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), listening).await.unwrap();
        }
        dovecot
    }

    async fn log_in(&self, protocol: Protocol, security: Security, credential: &Credential) -> Login {
        let [imap, imaps, pop3, pop3s, submission, submissions] = self.ports;
        let (open, tls) = match protocol {
            Imap => (imap, imaps),
            Pop3 => (pop3, pop3s),
            Smtp => (submission, submissions),
        };
        let server = MailServer {
            protocol,
            host: "localhost".to_owned(),
            port: if security == Security::Tls { tls } else { open },
            security,
            username: USER.to_owned(),
        };
        let client = MailClient::new(MailSettings {
            private_addresses: PrivateAddresses::Allow,
            quoted_ports: QuotedPorts::All,
            ..MailSettings::default()
        });
        client.unwrap().log_in(&server, credential, Some(&self.authority)).await
    }
}

fn oauth2(introspection: u16) -> String {
    format!(
        "introspection_mode = post
introspection_url = http://127.0.0.1:{introspection}/introspect
force_introspection = yes
username_attribute = username
active_attribute = active
active_value = true
scope = mail
"
    )
}

fn configuration(path: &Path, mechanisms: &str, ports: [u16; 6], relay: u16) -> String {
    let [imap, imaps, pop3, pop3s, submission, submissions] = ports;
    let path = path.display();
    format!(
        "base_dir = {path}/run
state_dir = {path}/state
log_path = {path}/log
listen = 127.0.0.1
protocols = imap pop3 submission
ssl = required
ssl_cert = <{path}/certificate.pem
ssl_key = <{path}/key.pem
auth_mechanisms = {mechanisms} plain login
auth_failure_delay = 0
first_valid_uid = 1
mail_location = maildir:{path}/mail/%u
submission_relay_host = 127.0.0.1
submission_relay_port = {relay}
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {path}/oauth2.conf
}}
passdb {{
  driver = passwd-file
  mechanisms = plain login
  args = {path}/passwords
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={path}/mail/%u
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
    ssl = yes
  }}
}}
service submission-login {{
  inet_listener submission {{
    port = {submission}
  }}
  inet_listener submissions {{
    port = {submissions}
    ssl = yes
  }}
}}
"
    )
}

/// Says what a token is worth (RFC 7662). The port.
async fn introspect() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_introspection(stream));
        }
    });
    port
}

async fn answer_introspection(stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    let (mut length, mut line) = (0, String::new());
    while stream.read_line(&mut line).await.unwrap_or(0) > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let body = String::from_utf8(body).unwrap();
    let user = format!(r#""username":"{USER}""#);
    let (status, answer) = if body.contains("good") {
        ("200 OK", format!(r#"{{"active":true,{user},"scope":"mail"}}"#))
    } else if body.contains("narrow") {
        ("200 OK", format!(r#"{{"active":true,{user},"scope":"profile"}}"#))
    } else if body.contains("stranger") {
        (
            "200 OK",
            r#"{"active":true,"username":"other@example.com","scope":"mail"}"#.to_owned(),
        )
    } else if body.contains("down") {
        ("503 Service Unavailable", String::new())
    } else {
        ("200 OK", r#"{"active":false}"#.to_owned())
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.len()
    );
    let _ = stream.write_all(format!("{head}{answer}").as_bytes()).await;
}

/// Where Dovecot would hand mail on to. The port.
async fn relay() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                let _ = stream.write_all(b"220 relay.example.com ESMTP\r\n").await;
                while stream.read_line(&mut line).await.unwrap_or(0) > 0 {
                    let _ = stream.write_all(b"250 fine\r\n").await;
                    line.clear();
                }
            });
        }
    });
    port
}

#[tokio::test]
#[ignore = "needs Dovecot: tests/setup mail"]
async fn dovecot_lets_a_good_token_in_by_every_way() {
    for (mechanisms, mechanism) in [("xoauth2", Mechanism::XOAuth2), ("oauthbearer", Mechanism::OAuthBearer)] {
        let dovecot = Dovecot::start(mechanisms).await;
        for length in [0, 1500, 6000] {
            let token = token(&format!("good{}", "x".repeat(length)));
            for protocol in [Imap, Pop3, Smtp] {
                for security in [Security::Tls, Security::StartTls] {
                    let login = dovecot.log_in(protocol, security, &token).await;
                    assert_eq!(login.meaning, Accepted, "{length} {security:?}\n{}", login.transcript);
                    assert_eq!(login.mechanism, Some(mechanism));
                }
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs Dovecot: tests/setup mail"]
async fn dovecot_refuses_in_words_that_are_known() {
    for mechanisms in ["xoauth2", "oauthbearer"] {
        let dovecot = Dovecot::start(mechanisms).await;
        for protocol in [Imap, Pop3, Smtp] {
            for (text, meanings) in [
                ("expired", [CredentialRefused].as_slice()),
                ("stranger", &[CredentialRefused]),
                ("narrow", &[CredentialRefused, ScopeMissing]),
                ("down", &[CannotCheck]),
            ] {
                let login = dovecot.log_in(protocol, Security::Tls, &token(text)).await;
                assert_eq!(login.step, Step::Authenticate, "{text}\n{}", login.transcript);
                assert!(
                    meanings.contains(&login.meaning),
                    "{text}: {:?}\n{}",
                    login.meaning,
                    login.transcript
                );
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs Dovecot: tests/setup mail"]
async fn dovecot_takes_a_password_and_no_wrong_one() {
    let dovecot = Dovecot::start("xoauth2").await;
    for protocol in [Imap, Pop3, Smtp] {
        for security in [Security::Tls, Security::StartTls] {
            let login = dovecot.log_in(protocol, security, &password(PASSWORD)).await;
            assert_eq!(login.meaning, Accepted, "{}", login.transcript);
            let login = dovecot.log_in(protocol, security, &password("wrong")).await;
            assert_eq!(login.meaning, CredentialRefused, "{}", login.transcript);
        }
        let login = dovecot.log_in(protocol, Security::None, &password(PASSWORD)).await;
        assert_eq!(login.meaning, NotEncrypted, "{}", login.transcript);
    }
}
