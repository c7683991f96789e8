//! One login, from the name of a server to what came of it.

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::answer::Challenge;
use super::meaning::{Meaning, Standing};
use super::server::{Credential, MailServer, Mechanism, Offer};
use super::talk::{Failure, Parting, Talk};
use super::tls::{Authorities, MailError};
use super::transcript::{Scribe, Transcript};
use super::wire::Wire;
use crate::api::Security;
use crate::outbound::address::{ResolveError, resolve};
use crate::outbound::{CaBundle, PrivateAddresses};

/// Of a server with many addresses, so many are tried.
const MOST_ADDRESSES: usize = 4;

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For resolving the name and connecting together. Default 10 s.
    pub connect: Duration,
    /// For a TLS handshake, and for each line. Default 15 s: servers make those wait who come with a wrong password.
    pub answer: Duration,
    /// For everything. Default 30 s.
    pub whole: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(15),
            whole: Duration::from_secs(30),
        }
    }
}

/// On which ports a server is quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QuotedPorts {
    /// On those of its protocol ([`Protocol::ports`](super::Protocol::ports)).
    #[default]
    OfMail,
    /// On all: for tests.
    All,
}

/// How logins are made.
#[derive(Debug, Clone, Default)]
pub struct MailSettings {
    /// How long things may take.
    pub limits: Limits,
    /// Whether loopback, link-local and metadata addresses may be connected to. Default: refused.
    pub private_addresses: PrivateAddresses,
    /// Trusted for all servers, on top of the platform's authorities.
    pub ca_bundle: Option<CaBundle>,
    /// Where servers are quoted.
    pub quoted_ports: QuotedPorts,
}

/// How far a login came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// Looking up the host's addresses.
    Resolve,
    /// Connecting to one of them.
    Connect,
    /// Beginning TLS.
    Tls,
    /// Waiting for the greeting.
    Greeting,
    /// Asking what is offered.
    Capabilities,
    /// Asking for TLS.
    StartTls,
    /// Logging in.
    Authenticate,
    /// Doing something harmless in the mailbox.
    Command,
}

impl Step {
    /// The name, for a status and for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "Resolve",
            Self::Connect => "Connect",
            Self::Tls => "Tls",
            Self::Greeting => "Greeting",
            Self::Capabilities => "Capabilities",
            Self::StartTls => "StartTls",
            Self::Authenticate => "Authenticate",
            Self::Command => "Command",
        }
    }
}

/// What came of a login. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// What it means.
    pub meaning: Meaning,
    /// The last thing that was tried.
    pub step: Step,
    /// The words of the server that ended it: one line, at most 500 characters. None where it let us in, said nothing, or may not be quoted.
    pub said: Option<String>,
    /// What the server said about the token inside the login.
    pub challenge: Option<Challenge>,
    /// How we logged in, if it came that far.
    pub mechanism: Option<Mechanism>,
    /// The conversation, for a person.
    pub transcript: Transcript,
}

impl Login {
    /// How the mailbox stands.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        self.meaning.standing()
    }
}

/// Logs in to mail servers. Holds TLS configurations and nothing else; share one.
pub struct MailClient {
    settings: MailSettings,
    authorities: Authorities,
}

impl fmt::Debug for MailClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MailClient")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl MailClient {
    /// Reads the platform's authorities.
    ///
    /// # Errors
    /// [`MailError`].
    pub fn new(settings: MailSettings) -> Result<Self, MailError> {
        let authorities = Authorities::new(settings.ca_bundle.clone())?;
        Ok(Self { settings, authorities })
    }

    /// Logs in once, and out again. `authority` may vouch for this server too. Ends within [`Limits::whole`]. May be dropped at any time.
    pub async fn log_in(&self, server: &MailServer, credential: &Credential, authority: Option<&CaBundle>) -> Login {
        let quotes = self.settings.quoted_ports == QuotedPorts::All || server.protocol.ports().contains(&server.port);
        let mut scribe = Scribe::new(credential, quotes);
        let mut mechanism = None;
        let ended = self
            .converse(server, credential, authority, &mut scribe, &mut mechanism)
            .await;
        let failure = ended.err();
        let (meaning, said, challenge) = failure.map_or((Meaning::Accepted, None, None), |failure| {
            (failure.meaning, failure.said, failure.challenge)
        });
        let meaning = for_credential(meaning, credential);
        scribe.note(meaning.advice());
        Login {
            meaning,
            step: scribe.step,
            said,
            challenge,
            mechanism,
            transcript: scribe.into_transcript(),
        }
    }

    async fn converse(
        &self,
        server: &MailServer,
        credential: &Credential,
        authority: Option<&CaBundle>,
        scribe: &mut Scribe,
        mechanism: &mut Option<Mechanism>,
    ) -> Result<(), Failure> {
        let limits = self.settings.limits;
        let end = Instant::now() + limits.whole;
        let stream = self.connect(server, scribe, end).await?;
        let own_address = stream.local_addr().map_err(|_| Failure::broken(Meaning::HungUp))?;
        let wire = Wire::new(Box::new(stream), limits, end, scribe);
        let mut talk = Talk::new(wire, server, own_address);
        let ended = self.talk(&mut talk, server, credential, authority, mechanism).await;
        let parting = ended.as_ref().err().map_or(Parting::Polite, |failure| failure.parting);
        if parting == Parting::Polite {
            talk.leave().await;
        }
        ended
    }

    async fn connect(&self, server: &MailServer, scribe: &mut Scribe, end: Instant) -> Result<TcpStream, Failure> {
        let deadline = end.min(Instant::now() + self.settings.limits.connect);
        scribe.note(format!(
            "{} at {} port {}, security {}",
            server.protocol.as_str(),
            server.host,
            server.port,
            server.security.as_str()
        ));
        let resolved = timeout_at(
            deadline,
            resolve(&server.host, server.port, self.settings.private_addresses),
        )
        .await;
        let addresses = match resolved {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(ResolveError::OffLimits)) => return Err(Failure::broken(Meaning::AddressNotAllowed)),
            Ok(Err(ResolveError::Lookup(_))) | Err(_) => return Err(Failure::broken(Meaning::Unresolvable)),
        };
        scribe.step = Step::Connect;
        let mut left = u32::try_from(addresses.len().min(MOST_ADDRESSES)).unwrap_or(1);
        for address in addresses.iter().take(MOST_ADDRESSES) {
            // An address that swallows everything leaves time for the others.
            let share = deadline.saturating_duration_since(Instant::now()) / left;
            left = left.saturating_sub(1).max(1);
            match timeout_at(Instant::now() + share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Small lines back and forth: waiting to fill a packet only costs time.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    scribe.note("connecting: refused");
                }
                Ok(Err(_)) => scribe.note("connecting: no way there"),
                Err(_) => scribe.note("connecting: no answer"),
            }
        }
        Err(Failure::broken(Meaning::Unreachable))
    }

    async fn talk(
        &self,
        talk: &mut Talk<'_>,
        server: &MailServer,
        credential: &Credential,
        authority: Option<&CaBundle>,
        chosen: &mut Option<Mechanism>,
    ) -> Result<(), Failure> {
        let tls = self.authorities.tls(&server.host, authority);
        let tls = tls.map_err(|_| Failure::broken(Meaning::TlsFailed))?;
        if server.security == Security::Tls {
            talk.step(Step::Tls);
            talk.encrypt(&tls).await?;
        }
        talk.step(Step::Greeting);
        talk.greeting().await?;
        talk.step(Step::Capabilities);
        let mut offer = talk.offer().await?;
        match server.security {
            Security::Tls => {}
            // Invariant 11.
            Security::None => return Err(Failure::ours(Meaning::NotEncrypted)),
            Security::StartTls => {
                talk.step(Step::StartTls);
                if !offer.start_tls {
                    return Err(Failure::ours(Meaning::NoStartTls));
                }
                talk.ask_for_tls().await?;
                talk.step(Step::Tls);
                talk.encrypt(&tls).await?;
                talk.step(Step::Capabilities);
                offer = talk.offer().await?;
            }
        }
        talk.step(Step::Authenticate);
        let mechanism = offer
            .choose(credential)
            .ok_or_else(|| Failure::ours(without_mechanism(&offer, server)))?;
        *chosen = Some(mechanism);
        talk.authenticate(mechanism, &offer, credential).await?;
        talk.step(Step::Command);
        talk.prove().await
    }
}

/// What it means that a server offers nothing that fits.
fn without_mechanism(offer: &Offer, server: &MailServer) -> Meaning {
    let shut = server.protocol == super::Protocol::Imap && !offer.command && offer.mechanisms.is_empty();
    if shut {
        Meaning::LoginDisabled
    } else {
        Meaning::MechanismNotOffered
    }
}

/// Exchange uses the words for passwords also where a policy forbids a token.
const fn for_credential(meaning: Meaning, credential: &Credential) -> Meaning {
    match (meaning, credential) {
        (Meaning::PasswordLoginDisabled, Credential::Token(_)) => Meaning::BlockedByPolicy,
        (meaning, _) => meaning,
    }
}
