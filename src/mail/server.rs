//! What is asked for when logging in: which server, in which language, with what.

use secrecy::SecretString;

use crate::api::Security;

/// A language of mail servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// IMAP (RFC 9051, RFC 3501).
    Imap,
    /// SMTP submission (RFC 6409).
    Smtp,
    /// POP3 (RFC 1939).
    Pop3,
}

impl Protocol {
    /// Its name, as people write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Imap => "IMAP",
            Self::Smtp => "SMTP",
            Self::Pop3 => "POP3",
        }
    }

    /// Where it is spoken (RFC 8314 section 7.3, RFC 6409 section 3.1; 2525 is what hosters open where networks close the others).
    #[must_use]
    pub const fn ports(self) -> &'static [u16] {
        match self {
            Self::Imap => &[143, 993],
            Self::Smtp => &[25, 465, 587, 2525],
            Self::Pop3 => &[110, 995],
        }
    }

    /// The longest line of a command, with its CRLF: RFC 2683 section 3.2.1.5, RFC 5321 section 4.5.3.1.4, RFC 2449 section 4. A longer first response is sent after the
    /// server asked for it (RFC 4954 section 4, RFC 5034 section 4); such lines have a limit of 12,288 bytes.
    pub(super) const fn command_limit(self) -> usize {
        match self {
            Self::Imap => 1000,
            Self::Smtp => 512,
            Self::Pop3 => 255,
        }
    }
}

/// One mail server. The caller has checked that the credential may go there (invariant 11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailServer {
    /// What it speaks.
    pub protocol: Protocol,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How the connection is encrypted. With `None` nothing is authenticated, and the login ends in [`Meaning::NotEncrypted`](super::Meaning::NotEncrypted).
    pub security: Security,
    /// Login name.
    pub username: String,
}

/// What opens a mailbox. `Debug` shows nothing of it.
#[derive(Debug, Clone)]
pub enum Credential {
    /// An OAuth 2.0 access token.
    Token(SecretString),
    /// A password, most often an app password.
    Password(SecretString),
}

impl Credential {
    pub(super) const fn secret(&self) -> &SecretString {
        match self {
            Self::Token(secret) | Self::Password(secret) => secret,
        }
    }
}

/// A way to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// SASL XOAUTH2.
    XOAuth2,
    /// SASL OAUTHBEARER (RFC 7628).
    OAuthBearer,
    /// SASL PLAIN (RFC 4616).
    Plain,
    /// SASL LOGIN (never standardised, offered nearly everywhere).
    Login,
    /// The protocol's own command: LOGIN of IMAP, USER and PASS of POP3.
    Command,
}

impl Mechanism {
    /// Its name on the wire; for [`Self::Command`] a word for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::XOAuth2 => "XOAUTH2",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::Command => "command",
        }
    }

    /// The SASL mechanism of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::XOAuth2, Self::OAuthBearer, Self::Plain, Self::Login]
            .into_iter()
            .find(|mechanism| mechanism.as_str().eq_ignore_ascii_case(name))
    }

    /// What ends the exchange when the server asks once more, which after a token means: no. XOAUTH2 wants an empty line (developers.google.com: Gmail XOAUTH2
    /// protocol), OAUTHBEARER one byte 0x01 (RFC 7628 section 3.2.3), all others the star that cancels (RFC 4954 section 4).
    pub(super) const fn last_word(self) -> &'static str {
        match self {
            Self::XOAuth2 => "",
            Self::OAuthBearer => "AQ==",
            Self::Plain | Self::Login | Self::Command => "*",
        }
    }
}

/// What a server offers.
#[derive(Debug, Default)]
pub(super) struct Offer {
    /// SASL mechanisms that we know.
    pub(super) mechanisms: Vec<Mechanism>,
    /// Whether the connection can be upgraded.
    pub(super) start_tls: bool,
    /// Whether the first response may stand in the command.
    pub(super) initial_response: bool,
    /// Whether the protocol's own login command is open.
    pub(super) command: bool,
}

impl Offer {
    /// Of those that fit the credential the best. Where a server offers both, XOAUTH2: it is what nearly every client uses, so it is what has to work.
    pub(super) fn choose(&self, credential: &Credential) -> Option<Mechanism> {
        let offered = |mechanism: &Mechanism| match mechanism {
            Mechanism::Command => self.command,
            mechanism => self.mechanisms.contains(mechanism),
        };
        let fitting: &[Mechanism] = match credential {
            Credential::Token(_) => &[Mechanism::XOAuth2, Mechanism::OAuthBearer],
            Credential::Password(_) => &[Mechanism::Plain, Mechanism::Login, Mechanism::Command],
        };
        fitting.iter().copied().find(offered)
    }
}
