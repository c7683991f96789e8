//! What the end of a login means: a closed set, for conditions, metrics and people.

/// How a login stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// The mailbox opened.
    Accepted,
    /// The server clearly keeps this mailbox shut to this credential.
    Refused,
    /// Nothing is known about the mailbox: the server could not be reached, was busy, or made no sense.
    Unknown,
}

macro_rules! meanings {
    ($($(#[$doc:meta])* $name:ident: $standing:ident, $advice:literal;)*) => {
        /// What the end of a login means.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Meaning { $($(#[$doc])* $name,)* }

        impl Meaning {
            /// All of them, in the order of the source.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name, for a status and for metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// How the mailbox stands.
            #[must_use]
            pub const fn standing(self) -> Standing {
                match self { $(Self::$name => Standing::$standing,)* }
            }

            /// What it means to a person and what to do about it, in one or two sentences that can follow the server's own words.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice,)* }
            }
        }
    };
}

meanings! {
    /// The mailbox opened, and a command worked in it.
    Accepted: Accepted, "The mail server let us in.";

    /// The server says no to token or password, and not why.
    CredentialRefused: Refused, "The mail server refuses the credential. Most often somebody else than the login name signed in, the token lacks the scope for mail, or a right given lately has not reached the server yet.";
    /// The token lacks a scope.
    ScopeMissing: Refused, "The token does not have the scope that the mail server wants. Add it to the asset and sign in again.";
    /// The credential is good, for another mailbox.
    WrongUser: Refused, "The credential is good, but not for this login name. Set spec.username, or sign in as the owner of the mailbox.";
    /// Exchange lets the token in and then says "User is authenticated but not connected".
    NotConnected: Refused, "Exchange knows the account that signed in, but it has no mailbox of this login name open to it: another user signed in, or an app lacks FullAccess to the mailbox (Add-MailboxPermission).";
    /// IMAP or POP is switched off for the mailbox.
    ProtocolDisabled: Refused, "The protocol is switched off for this mailbox. Its owner or an administrator can switch it on in the settings of the mailbox.";
    /// SMTP AUTH is switched off in Exchange.
    SmtpAuthDisabled: Refused, "SMTP AUTH is switched off at Exchange, for tokens too. An administrator can allow it for the mailbox: Set-CASMailbox -SmtpClientAuthenticationDisabled $false (https://aka.ms/smtp_auth_disabled).";
    /// No password opens the mailbox, only a token.
    PasswordLoginDisabled: Refused, "The mail server takes no password for this mailbox, or only an app password. Use OAuth, or make an app password.";
    /// A policy of the organization forbids the login.
    BlockedByPolicy: Refused, "A policy of the organization forbids this login, such as security defaults or conditional access. Its administrator has to allow it.";
    /// `LOGINDISABLED`, and no mechanism that we could use instead.
    LoginDisabled: Refused, "The mail server has switched logins off on this port. Use its port for mail clients.";
    /// Tokens, or passwords, are not among what the server takes.
    MechanismNotOffered: Refused, "The mail server does not offer this kind of login. Check host and port; where they are right, the server has to be set up for it (XOAUTH2 or OAUTHBEARER for tokens).";
    /// The account is switched off.
    AccountDisabled: Refused, "The account is switched off. Its administrator has to switch it on.";
    /// The server cannot take a token of this length.
    TokenTooLong: Refused, "The token is longer than a line that this mail server takes. Its administrator can raise that limit.";
    /// The login worked, and the mailbox does not open.
    MailboxNotOpened: Refused, "The mail server accepts the login and then does not open the mailbox.";
    /// Mail in the name of the mailbox is refused.
    SenderNotAllowed: Refused, "The account may not send in the name of this mailbox. An administrator can give it Send As.";

    /// The right to the mailbox is not in force yet, as far as one can tell.
    NotYetInForce: Unknown, "The app may log in, but its right to the mailbox is not in force. After it was given that takes up to an hour; if it lasts, give the app FullAccess (Add-MailboxPermission).";
    /// Too many logins or connections.
    Throttled: Unknown, "The mail server sees too many logins or connections. We ask again later.";
    /// The mailbox sent too much for today.
    SendingLimit: Unknown, "The mailbox has reached its sending limit. This has nothing to do with the token and ends within a day.";
    /// The server cannot ask whoever knows about tokens.
    CannotCheck: Unknown, "The mail server cannot check credentials at the moment. We ask again later; if it lasts, the server that it asks about tokens is down.";
    /// Any other trouble that passes.
    Temporary: Unknown, "The mail server has a problem of its own. We ask again later.";
    /// It does not talk to us, whoever we are.
    TurnedAway: Unknown, "The mail server does not talk to this address. Check host and port, and whether it is blocked.";
    /// It does not understand a command.
    Misunderstood: Unknown, "The mail server does not understand what every mail client says.";

    /// The asset wants no encryption.
    NotEncrypted: Unknown, "The connection would not be encrypted, so nothing was sent. Set security to TLS or StartTLS.";
    /// STARTTLS is not there.
    NoStartTls: Unknown, "The mail server offers no STARTTLS. Where it speaks TLS from the first byte set security to TLS; otherwise somebody on the way may be taking the offer out.";
    /// Something stood between the answer to STARTTLS and TLS.
    PlaintextInjected: Unknown, "Something came in plain text after the answer to STARTTLS. This is a fault of the mail server, or somebody on the way (CVE-2011-0411). Nothing was sent.";

    /// DNS has no address.
    Unresolvable: Unknown, "The name of the mail server cannot be resolved. Check it, and whether DNS works in the cluster.";
    /// The address is off limits.
    AddressNotAllowed: Unknown, "The mail server has a loopback, link-local or metadata address. They are only used with --allow-private-addresses.";
    /// No connection.
    Unreachable: Unknown, "The mail server cannot be reached. Check host and port, and whether the network lets the operator out to it.";
    /// It does not answer.
    Silent: Unknown, "The mail server did not answer in time.";
    /// It closed the connection.
    HungUp: Unknown, "The mail server closed the connection in the middle.";
    /// The certificate is for other names.
    WrongName: Unknown, "The mail server's certificate is not valid for this host name. Use the name that the certificate has.";
    /// The certificate is too old.
    CertificateExpired: Unknown, "The mail server's certificate has expired.";
    /// The certificate is too new.
    CertificateNotYetValid: Unknown, "The mail server's certificate is not valid yet. Check the clocks.";
    /// Nobody whom we trust made the certificate.
    UnknownAuthority: Unknown, "Nobody whom we trust has signed the mail server's certificate. Give the CA certificate to the operator.";
    /// It speaks plain text where TLS should begin.
    NotTls: Unknown, "The mail server does not begin with TLS on this port. Set security to StartTLS, or use its port for TLS.";
    /// Any other failure of TLS.
    TlsFailed: Unknown, "TLS with the mail server fails.";
    /// It does not greet as a mail server does.
    NotMail: Unknown, "What answers there is no mail server of this protocol. Check host and port.";
    /// It breaks its own protocol later.
    Nonsense: Unknown, "The mail server breaks the rules of its own protocol.";
    /// Login name or secret cannot be written down for this server.
    Unsayable: Unknown, "The login name or the credential has a character that cannot be said to this mail server.";
}

impl Meaning {
    /// Whether a new token could help, where the one that was refused is not fresh. At most one refresh per token may come of it.
    #[must_use]
    pub const fn a_new_token_may_help(self) -> bool {
        matches!(self, Self::CredentialRefused | Self::ScopeMissing)
    }

    /// Whether a right that was given lately, and is still spreading, may be behind it. At Exchange that takes up to an hour.
    #[must_use]
    pub const fn may_be_spreading(self) -> bool {
        matches!(self, Self::CredentialRefused | Self::NotConnected | Self::NotYetInForce)
    }
}
