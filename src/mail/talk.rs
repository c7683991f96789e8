//! A conversation with one mail server, whatever it speaks: each method asks one thing and says how it went.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};

use super::answer::{Answer, Challenge, Tone, Turn};
use super::known;
use super::login::Step;
use super::meaning::Meaning;
use super::server::{Credential, MailServer, Mechanism, Offer, Protocol};
use super::tls::Tls;
use super::wire::{Broken, Wire};
use super::{imap, pop3, smtp};
use crate::sasl;

/// Why a conversation ended before its end.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) meaning: Meaning,
    /// The server's own words.
    pub(super) said: Option<String>,
    /// What the server said inside the login.
    pub(super) challenge: Option<Challenge>,
    pub(super) parting: Parting,
}

/// Whether the server still listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parting {
    /// It can be left politely.
    Polite,
    /// There is nobody to say farewell to.
    Abrupt,
}

impl Failure {
    /// The connection is of no more use.
    pub(super) const fn broken(meaning: Meaning) -> Self {
        Self {
            meaning,
            said: None,
            challenge: None,
            parting: Parting::Abrupt,
        }
    }

    /// We do not go on.
    pub(super) fn ours(meaning: Meaning) -> Self {
        Self {
            parting: Parting::Polite,
            ..Self::broken(meaning)
        }
    }
}

/// A response to a server's challenge, and what stands in the transcript in its place.
struct Response {
    bytes: SecretString,
    shown: String,
}

/// One conversation.
pub(super) struct Talk<'a> {
    wire: Wire<'a>,
    server: &'a MailServer,
    own_address: SocketAddr,
    commands: u32,
}

impl<'a> Talk<'a> {
    pub(super) const fn new(wire: Wire<'a>, server: &'a MailServer, own_address: SocketAddr) -> Self {
        Self {
            wire,
            server,
            own_address,
            commands: 0,
        }
    }

    /// Notes how far the conversation has come.
    pub(super) fn step(&mut self, step: Step) {
        self.wire.scribe.step = step;
    }

    /// Goes on over TLS.
    pub(super) async fn encrypt(&mut self, tls: &Tls) -> Result<(), Failure> {
        self.wire.encrypt(tls).await.map_err(Failure::broken)
    }

    /// Waits for the greeting. From then on the server may be quoted.
    pub(super) async fn greeting(&mut self) -> Result<(), Failure> {
        let read = match self.server.protocol {
            Protocol::Imap => imap::greeting(&mut self.wire).await,
            Protocol::Smtp => smtp::greeting(&mut self.wire).await,
            Protocol::Pop3 => pop3::greeting(&mut self.wire).await,
        };
        match read {
            Ok(answer) => {
                self.wire.scribe.greeted(&answer.lines);
                self.judge(&answer)
            }
            Err(Broken::Nonsense(note)) => {
                self.wire.scribe.note(note);
                Err(Failure::broken(Meaning::NotMail))
            }
            Err(broken) => Err(self.failure(broken)),
        }
    }

    /// Asks what it offers.
    pub(super) async fn offer(&mut self) -> Result<Offer, Failure> {
        match self.server.protocol {
            Protocol::Imap => {
                let answer = self.ask("CAPABILITY").await?;
                self.judge(&answer)?;
                Ok(imap::offer(&answer))
            }
            Protocol::Smtp => {
                let answer = self.ask(&smtp::hello(self.own_address)).await?;
                self.judge(&answer)?;
                Ok(smtp::offer(&answer))
            }
            Protocol::Pop3 => {
                let answer = self.ask("CAPA").await?;
                let offer = pop3::offer(&mut self.wire, &answer).await;
                offer.map_err(|broken| self.failure(broken))
            }
        }
    }

    /// Asks for TLS. Whatever stands behind the answer came in plain text from who knows whom.
    pub(super) async fn ask_for_tls(&mut self) -> Result<(), Failure> {
        let command = match self.server.protocol {
            Protocol::Imap | Protocol::Smtp => "STARTTLS",
            Protocol::Pop3 => "STLS",
        };
        let answer = self.ask(command).await?;
        self.judge(&answer)?;
        if self.wire.has_unread() {
            return Err(Failure::broken(Meaning::PlaintextInjected));
        }
        Ok(())
    }

    /// Logs in.
    pub(super) async fn authenticate(
        &mut self,
        mechanism: Mechanism,
        offer: &Offer,
        credential: &Credential,
    ) -> Result<(), Failure> {
        if mechanism == Mechanism::Command {
            return self.authenticate_by_command(credential).await;
        }
        let responses = self
            .responses(mechanism, credential)
            .ok_or(Failure::ours(Meaning::Unsayable))?;
        let mut responses = responses.into_iter().peekable();
        let verb = if self.server.protocol == Protocol::Imap {
            "AUTHENTICATE"
        } else {
            "AUTH"
        };
        let command = format!("{verb} {}", mechanism.as_str());
        let first = responses.next_if(|response| {
            offer.initial_response && mechanism != Mechanism::Login && self.fits(&command, response)
        });
        let (line, shown) = match &first {
            Some(response) => (
                format!("{command} {}", response.bytes.expose_secret()).into(),
                format!("{command} {}", response.shown),
            ),
            None => (SecretString::from(command.clone()), command),
        };
        let mut turn = self.begin(&line, &shown).await?;
        for response in responses {
            if matches!(turn, Turn::Done(_)) {
                break;
            }
            turn = self.go_on(&response.bytes, &response.shown).await?;
        }
        self.conclude(mechanism, turn).await
    }

    /// After all was said: an answer, or a challenge that says why not and wants a last word before the answer comes.
    async fn conclude(&mut self, mechanism: Mechanism, turn: Turn) -> Result<(), Failure> {
        let (answer, challenge) = match turn {
            Turn::Done(answer) => (answer, None),
            Turn::More(text) => {
                let challenge = Challenge::read(&text, self.wire.scribe);
                self.wire.scribe.note(challenge.to_string());
                let last_word = SecretString::from(mechanism.last_word());
                let shown = Some(mechanism.last_word()).filter(|word| !word.is_empty());
                match self.go_on(&last_word, shown.unwrap_or("<an empty line>")).await? {
                    Turn::Done(answer) => (answer, Some(challenge)),
                    Turn::More(_) => return Err(self.failure(Broken::Nonsense("it asks on and on"))),
                }
            }
        };
        self.judge(&answer).map_err(|failure| Failure {
            meaning: match failure.meaning {
                Meaning::CredentialRefused if challenge.as_ref().is_some_and(Challenge::lacks_scope) => {
                    Meaning::ScopeMissing
                }
                meaning => meaning,
            },
            challenge,
            ..failure
        })
    }

    async fn authenticate_by_command(&mut self, credential: &Credential) -> Result<(), Failure> {
        let unsayable = || Failure::ours(Meaning::Unsayable);
        let (user, password) = (&self.server.username, credential.secret().expose_secret());
        let one_line = |text: &str| !text.contains(['\r', '\n', '\0']);
        let lines = if self.server.protocol == Protocol::Imap {
            let user = imap::quoted(user).ok_or_else(unsayable)?;
            let password = imap::quoted(password).ok_or_else(unsayable)?;
            vec![(
                SecretString::from(format!("LOGIN {user} {password}")),
                format!("LOGIN {user} <password>"),
            )]
        } else if one_line(user) && one_line(password) {
            let name = format!("USER {user}");
            vec![
                (name.clone().into(), name),
                (format!("PASS {password}").into(), "PASS <password>".to_owned()),
            ]
        } else {
            return Err(unsayable());
        };
        for (line, shown) in lines {
            match self.begin(&line, &shown).await? {
                Turn::Done(answer) => self.judge(&answer)?,
                Turn::More(_) => return Err(self.failure(ASKS_FOR_MORE)),
            }
        }
        Ok(())
    }

    /// Does something harmless that needs the mailbox.
    pub(super) async fn prove(&mut self) -> Result<(), Failure> {
        let command = match self.server.protocol {
            Protocol::Imap => "EXAMINE INBOX",
            Protocol::Smtp => "NOOP",
            Protocol::Pop3 => "STAT",
        };
        let answer = self.ask(command).await?;
        self.judge(&answer)
    }

    /// Closes politely.
    pub(super) async fn leave(&mut self) {
        let command = match self.server.protocol {
            Protocol::Imap => format!("{} LOGOUT", self.next_tag()),
            Protocol::Smtp | Protocol::Pop3 => "QUIT".to_owned(),
        };
        self.wire.leave(&command).await;
    }

    fn responses(&self, mechanism: Mechanism, credential: &Credential) -> Option<Vec<Response>> {
        let (user, secret) = (&self.server.username, credential.secret());
        let place = sasl::Server {
            host: self.server.host.clone(),
            port: self.server.port,
        };
        let length = secret.expose_secret().len();
        let response = |bytes: Option<SecretString>, shown: String| bytes.map(|bytes| Response { bytes, shown });
        let token = || format!("<{user} and a token of {length} bytes, in base64>");
        let in_base64 = |text: &str| Some(SecretString::from(STANDARD.encode(text)));
        match mechanism {
            Mechanism::XOAuth2 => vec![response(sasl::xoauth2(user, secret), token())],
            Mechanism::OAuthBearer => vec![response(sasl::oauthbearer(user, Some(&place), secret), token())],
            Mechanism::Plain => vec![response(
                sasl::plain(user, secret),
                format!("<{user} and the password, in base64>"),
            )],
            Mechanism::Login => vec![
                response(in_base64(user), format!("<{user}, in base64>")),
                response(
                    in_base64(secret.expose_secret()),
                    "<the password, in base64>".to_owned(),
                ),
            ],
            Mechanism::Command => Vec::new(),
        }
        .into_iter()
        .collect()
    }

    /// Whether a response fits into the line of its command.
    fn fits(&self, command: &str, response: &Response) -> bool {
        let tag = if self.server.protocol == Protocol::Imap {
            "A99 "
        } else {
            ""
        };
        let length = tag.len() + command.len() + " ".len() + response.bytes.expose_secret().len() + "\r\n".len();
        length <= self.server.protocol.command_limit()
    }

    async fn ask(&mut self, command: &str) -> Result<Answer, Failure> {
        match self.begin(&command.to_owned().into(), command).await? {
            Turn::Done(answer) => Ok(answer),
            Turn::More(_) => Err(self.failure(ASKS_FOR_MORE)),
        }
    }

    /// Sends a command.
    async fn begin(&mut self, command: &SecretString, shown: &str) -> Result<Turn, Failure> {
        if self.server.protocol != Protocol::Imap {
            return self.go_on(command, shown).await;
        }
        let tag = self.next_tag();
        let line = SecretString::from(format!("{tag} {}", command.expose_secret()));
        self.go_on(&line, &format!("{tag} {shown}")).await
    }

    /// Sends a line as it is.
    async fn go_on(&mut self, line: &SecretString, shown: &str) -> Result<Turn, Failure> {
        let sent = self.wire.send(line, shown).await;
        let turn = match (sent, self.server.protocol) {
            (Err(broken), _) => Err(broken),
            (Ok(()), Protocol::Imap) => imap::turn(&mut self.wire, &format!("A{}", self.commands)).await,
            (Ok(()), Protocol::Smtp) => smtp::turn(&mut self.wire).await,
            (Ok(()), Protocol::Pop3) => pop3::turn(&mut self.wire).await,
        };
        turn.map_err(|broken| self.failure(broken))
    }

    fn next_tag(&mut self) -> String {
        self.commands += 1;
        format!("A{}", self.commands)
    }

    fn judge(&self, answer: &Answer) -> Result<(), Failure> {
        if answer.tone == Tone::Yes {
            return Ok(());
        }
        Err(Failure {
            said: self.wire.scribe.quote(&answer.text),
            ..Failure::ours(known::meaning(self.server.protocol, self.wire.scribe.step, answer))
        })
    }

    fn failure(&mut self, broken: Broken) -> Failure {
        match broken {
            Broken::Silent => Failure::broken(Meaning::Silent),
            Broken::HungUp => Failure::broken(Meaning::HungUp),
            Broken::Nonsense(note) => {
                self.wire.scribe.note(note);
                Failure::broken(Meaning::Nonsense)
            }
        }
    }
}

const ASKS_FOR_MORE: Broken = Broken::Nonsense("it asks for more where there is nothing more to say");
