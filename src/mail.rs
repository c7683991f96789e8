//! Logging in to a mailbox with a token, to see whether its servers let it in: IMAP, SMTP submission and POP3 over TLS.
//!
//! A fresh token is not a working mailbox. [`MailClient::log_in`] holds one short conversation with one server and says how it ended: which [`Step`], the server's own
//! words, what they mean ([`Meaning`]), and a [`Transcript`] without secrets that a person can send to a mail administrator. No mail is read or sent. It never
//! tries twice: when to ask again is the caller's.
//!
//! ```text
//! resolve ─> connect ─> TLS ─> greeting ─> capabilities ─> [STARTTLS ─> TLS ─> capabilities] ─> authenticate ─> one command ─> leave
//!            outbound   tls    └──────────────── talk (what is asked) over wire (lines, limits) ──────────────────┘
//! ```
//!
//! - **The command after the login** is `EXAMINE INBOX`, `NOOP` or `STAT`: Exchange lets a token of another account in, and then answers
//!   "User is authenticated but not connected" to whatever is asked.
//! - **Nothing is believed.** Lines, the whole conversation and the time are bounded. Lines end in CRLF or the conversation ends. A server is quoted only on a mail port and
//!   after a valid greeting of its protocol, so that nobody can read other services through us (invariant 10).
//! - **No secret is repeated**: the transcript has placeholders for what we send, and what a server says is not shown where it repeats part of a token (invariant 5).
//! - **Nothing authenticates without TLS** (invariant 11). What arrives behind the answer to STARTTLS before TLS begins ends the conversation (CVE-2011-0411).
//! - Whether the token may go to this host at all is for the caller to decide.
//!
//! Start reading at `login.rs`. What servers say is data: the rows in `known.rs`.

mod answer;
mod imap;
mod known;
mod login;
mod meaning;
mod pop3;
mod server;
mod smtp;
mod talk;
mod tls;
mod transcript;
mod wire;

pub use answer::Challenge;
pub use login::{Limits, Login, MailClient, MailSettings, QuotedPorts, Step};
pub use meaning::{Meaning, Standing};
pub use server::{Credential, MailServer, Mechanism, Protocol};
pub use tls::MailError;
pub use transcript::{Entry, Speaker, Transcript};

#[cfg(test)]
mod tests;
