//! Ready-made keys of a token Secret (`spec.secret.formats`), for mail clients that read a file of a form of their own.
//!
//! An [`Outline`] is all of it but the token. It is refused where a file could not say what the spec says, or would say more: a login name with a line end in it
//! would add a line such as `passwordeval` to a client's configuration. [`Outline::render`] adds a token: plain data in, keys and bytes out, no clock, no call.
//!
//! Where a client can fetch the token from a file at each login, its configuration says where that file is and not what the token is. So it never holds an old
//! one, and need not be kept as secret. The file is [`TOKEN_KEY`] of the same Secret, mounted at [`directory`] unless the consumer says otherwise.
//!
//! A new format is a variant of [`Format`], a file of this room that says why it quotes as it does, a test with the real client in `tests/consumers.rs`, and a
//! section of `docs/consumers.md`.

mod documents;
mod exim;
mod mbsync;
mod msmtp;
mod plain;
mod postfix;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use secrecy::SecretString;

use crate::api::{Format, Security};
use crate::provider::{Endpoints, Mechanism, Server};
use crate::sasl;

/// The key of a token Secret that holds the token alone.
pub const TOKEN_KEY: &str = "access_token";

/// Where consumers mount the token Secret of this name, unless they say otherwise.
#[must_use]
pub fn directory(secret: &str) -> String {
    format!("/run/secrets/emailasset.dev/{secret}")
}

/// What is known of a mailbox, apart from its token.
#[derive(Debug, Clone, Copy)]
pub struct Mailbox<'a> {
    /// The name of the token Secret.
    pub secret: &'a str,
    /// The address.
    pub email: &'a str,
    /// The login name, where a server has none of its own.
    pub username: &'a str,
    /// The server that takes mail.
    pub smtp: Option<&'a Server>,
    /// The server for reading with IMAP.
    pub imap: Option<&'a Server>,
    /// The server for reading with POP3.
    pub pop3: Option<&'a Server>,
    /// What the servers offer for logging in with a token, best first. Empty: nobody knows.
    pub mechanisms: &'a [Mechanism],
}

impl<'a> Mailbox<'a> {
    /// From the effective values of a spec.
    #[must_use]
    pub fn of(secret: &'a str, endpoints: &'a Endpoints) -> Self {
        Self {
            secret,
            email: &endpoints.email,
            username: &endpoints.username,
            smtp: endpoints.smtp.as_ref(),
            imap: endpoints.imap.as_ref(),
            pop3: endpoints.pop3.as_ref(),
            mechanisms: &endpoints.mechanisms,
        }
    }

    const fn server(&self, protocol: Protocol) -> Option<&'a Server> {
        match protocol {
            Protocol::Smtp => self.smtp,
            Protocol::Imap => self.imap,
            Protocol::Pop3 => self.pop3,
        }
    }
}

/// A token on its way into the keys.
#[derive(Debug, Clone, Copy)]
pub struct Issued<'a> {
    /// The token.
    pub token: &'a SecretString,
    /// Its type, `Bearer` nearly always.
    pub token_type: &'a str,
    /// When it ends, where that is known.
    pub expires: Option<Timestamp>,
}

/// Why a format cannot be made. For the person who wrote the asset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is about a server that is not known.
    #[error(
        "spec.secret.formats names {format}, which needs {needed}, and none is known: set its host in spec.{field}, choose a provider that has one, or take {format} out of the list.",
        format = .format.as_str()
    )]
    NoServer {
        /// The format.
        format: Format,
        /// The server, in words.
        needed: &'static str,
        /// The field of the spec.
        field: &'static str,
    },
    /// The connection to its server is not encrypted (invariant 11).
    #[error(
        "spec.secret.formats names {format}, and {field}.security is None: no token is sent over a connection that is not encrypted. Set it to TLS or StartTLS, or take {format} out of the list.",
        format = .format.as_str()
    )]
    NotEncrypted {
        /// The format.
        format: Format,
        /// The field of the spec.
        field: &'static str,
    },
    /// A value that a file cannot say, or that would say more than itself.
    #[error(
        "spec.secret.formats names {format}, and {what} is {given}: in its configuration that cannot stand. Accepted are {accepted}. Change it, or take {format} out of the list.",
        format = .format.as_str()
    )]
    Unsayable {
        /// The format.
        format: Format,
        /// What the value is, in words.
        what: &'static str,
        /// The value, in quotes and bounded.
        given: String,
        /// What could stand there.
        accepted: &'static str,
    },
}

/// The keys that a spec asks for, without the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    facts: Facts,
    pieces: Vec<Piece>,
}

/// The words that files are made of. All of them are plain.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    directory: String,
    email: String,
    username: String,
    servers: Vec<Login>,
    /// For clients that are told one. All servers that are known have [`Mechanism::XOAuth2`], but some only to be polite.
    mechanism: Mechanism,
}

/// A server to log in to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Login {
    protocol: Protocol,
    server: Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Smtp,
    Imap,
    Pop3,
}

/// A format with what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    XOAuth2(Vec<Login>),
    OAuthBearer(Vec<Login>),
    Msmtp(Login),
    Mbsync(Login),
    Exim(Login),
    Postfix(Login),
    SaslXOAuth2 { username: String },
    Json,
    Env,
}

impl Outline {
    /// Lays out the keys of these formats; none where no format is asked for.
    ///
    /// # Errors
    /// The first of the formats that cannot be made, and why.
    pub fn new(formats: &[Format], mailbox: &Mailbox<'_>) -> Result<Option<Self>, Refusal> {
        let Some(first) = formats.first() else {
            return Ok(None);
        };
        let facts = Facts::new(*first, mailbox)?;
        let pieces = formats.iter().map(|format| Piece::new(*format, &facts, mailbox));
        let pieces = pieces.collect::<Result<Vec<_>, _>>()?;
        Ok(Some(Self { facts, pieces }))
    }

    /// The keys with a token in them.
    #[must_use]
    pub fn render(&self, issued: &Issued<'_>) -> BTreeMap<String, SecretString> {
        let keys = self.pieces.iter().flat_map(|piece| piece.render(&self.facts, issued));
        keys.collect()
    }

    /// The keys with a made-up token: the same as long as nothing but the token differs, and as long as this build writes them in the same way.
    #[must_use]
    pub fn sample(&self) -> BTreeMap<String, SecretString> {
        self.render(&Issued {
            token: &SecretString::from("token"),
            token_type: "Bearer",
            expires: Some(Timestamp::UNIX_EPOCH),
        })
    }
}

impl Facts {
    fn new(format: Format, mailbox: &Mailbox<'_>) -> Result<Self, Refusal> {
        let servers = Protocol::ALL.into_iter().filter_map(|protocol| {
            let server = mailbox.server(protocol)?.clone();
            Some(Login { protocol, server })
        });
        let facts = Self {
            directory: directory(&plain::name(format, "the name of the Secret", mailbox.secret)?),
            email: plain::word(format, "the mailbox", mailbox.email)?,
            username: plain::word(format, "the login name", mailbox.username)?,
            servers: servers.collect(),
            mechanism: mailbox.mechanisms.first().copied().unwrap_or(Mechanism::XOAuth2),
        };
        for login in &facts.servers {
            plain::host(format, "the host of a mail server", &login.server.host)?;
            plain::word(format, "the login name at a mail server", &login.server.username)?;
        }
        Ok(facts)
    }

    fn login(&self, protocol: Protocol) -> Option<&Login> {
        self.servers.iter().find(|login| login.protocol == protocol)
    }

    /// A command of a shell that prints the token, without a line end.
    fn print_token(&self) -> String {
        format!(r#"cat "${{EMAILASSET_DIR:-{}}}/{TOKEN_KEY}""#, self.directory)
    }
}

impl Piece {
    fn new(format: Format, facts: &Facts, mailbox: &Mailbox<'_>) -> Result<Self, Refusal> {
        let login = |protocol: Protocol| {
            let login = facts.login(protocol).ok_or(Refusal::NoServer {
                format,
                needed: protocol.in_words(),
                field: protocol.as_str(),
            })?;
            login.encrypted(format)
        };
        Ok(match format {
            Format::XOAuth2 => Self::XOAuth2(logins(format, facts)?),
            Format::OAuthBearer => Self::OAuthBearer(logins(format, facts)?),
            Format::Msmtp => Self::Msmtp(login(Protocol::Smtp)?),
            Format::Mbsync => Self::Mbsync(login(Protocol::Imap)?),
            Format::Exim => Self::Exim(login(Protocol::Smtp)?),
            Format::Postfix => {
                let login = login(Protocol::Smtp)?;
                plain::without_colon(format, "the login name at the SMTP server", &login.server.username)?;
                Self::Postfix(login)
            }
            Format::SaslXOAuth2 => Self::SaslXOAuth2 {
                username: mailbox.smtp.map_or(mailbox.username, |smtp| &smtp.username).to_owned(),
            },
            Format::Json => Self::Json,
            Format::Env => Self::Env,
        })
    }

    fn render(&self, facts: &Facts, issued: &Issued<'_>) -> Vec<(String, SecretString)> {
        let one = |key: &str, text: String| vec![(key.to_owned(), SecretString::from(text))];
        match self {
            Self::XOAuth2(logins) => responses(logins, "xoauth2", |server| {
                sasl::xoauth2(&server.username, issued.token)
            }),
            Self::OAuthBearer(logins) => responses(logins, "oauthbearer", |server| {
                let place = sasl::Server {
                    host: server.host.clone(),
                    port: server.port,
                };
                sasl::oauthbearer(&server.username, Some(&place), issued.token)
            }),
            Self::Msmtp(login) => one(msmtp::KEY, msmtp::text(facts, &login.server)),
            Self::Mbsync(login) => one(mbsync::KEY, mbsync::text(facts, &login.server)),
            Self::Exim(login) => exim::texts(facts, &login.server)
                .into_iter()
                .flat_map(|(key, text)| one(key, text))
                .collect(),
            Self::Postfix(login) => {
                let mut keys = one(postfix::MAIN_KEY, postfix::main(facts, &login.server));
                keys.extend(one(postfix::LOGIN_KEY, postfix::login(facts, &login.server)));
                keys.push(postfix::token_file(&login.server.username, issued));
                keys
            }
            Self::SaslXOAuth2 { username } => vec![postfix::token_file(username, issued)],
            Self::Json => vec![documents::json(facts, issued)],
            Self::Env => vec![documents::env(facts, issued)],
        }
    }
}

/// All servers that a token may be sent to; there has to be one.
fn logins(format: Format, facts: &Facts) -> Result<Vec<Login>, Refusal> {
    let mut refused = Refusal::NoServer {
        format,
        needed: "a mail server",
        field: "imap or spec.smtp",
    };
    let mut logins = Vec::new();
    for login in &facts.servers {
        match login.encrypted(format) {
            Ok(login) => logins.push(login),
            Err(refusal) => refused = refusal,
        }
    }
    if logins.is_empty() { Err(refused) } else { Ok(logins) }
}

/// A token that cannot be said has no keys. The operator takes none with such characters.
fn responses(
    logins: &[Login],
    mechanism: &str,
    response: impl Fn(&Server) -> Option<SecretString>,
) -> Vec<(String, SecretString)> {
    let keys = logins
        .iter()
        .filter_map(|login| Some((format!("{}_{mechanism}", login.protocol), response(&login.server)?)));
    keys.collect()
}

impl Login {
    /// This login, if its connection is encrypted.
    fn encrypted(&self, format: Format) -> Result<Self, Refusal> {
        match self.server.security {
            Security::Tls | Security::StartTls => Ok(self.clone()),
            Security::None => Err(Refusal::NotEncrypted {
                format,
                field: self.protocol.field(),
            }),
        }
    }
}

impl Protocol {
    /// Beginning with the one that a mailbox is read with.
    const ALL: [Self; 3] = [Self::Imap, Self::Smtp, Self::Pop3];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
        }
    }

    const fn field(self) -> &'static str {
        match self {
            Self::Smtp => "spec.smtp",
            Self::Imap => "spec.imap",
            Self::Pop3 => "spec.pop3",
        }
    }

    const fn in_words(self) -> &'static str {
        match self {
            Self::Smtp => "an SMTP server",
            Self::Imap => "an IMAP server",
            Self::Pop3 => "a POP3 server",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
