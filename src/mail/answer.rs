//! Answers of mail servers, whatever their protocol.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::GeneralPurposeConfig;
use base64::engine::{DecodePaddingMode, GeneralPurpose};
use serde_json::Value;

use super::transcript::Scribe;

/// A challenge beyond this is no error of a token.
const CHALLENGE_LIMIT: usize = 4096;

/// What an answer amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// SMTP 2xx, IMAP OK, POP3 +OK.
    Yes,
    /// No, and later perhaps: SMTP 4xx.
    NotNow,
    /// SMTP 5xx, IMAP NO, POP3 -ERR.
    No,
    /// The command itself is refused: SMTP 500 to 504, IMAP BAD.
    NotUnderstood,
    /// The server ends the conversation: IMAP BYE, SMTP 421.
    Closing,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) tone: Tone,
    /// What it says, as one line; as long as the server made it.
    pub(super) text: String,
    /// Each line, as it came.
    pub(super) lines: Vec<String>,
}

/// What a server says while a client logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// It wants more: a challenge in base64, often empty.
    More(String),
    /// It is done.
    Done(Answer),
}

/// Why a server refuses a token, as it says inside the login (RFC 7628 section 3.2.2; developers.google.com: Gmail XOAUTH2 protocol).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Challenge {
    /// `invalid_token`, `insufficient_scope`, or an HTTP status such as `401`.
    pub status: Option<String>,
    /// The scopes that the server wants.
    pub scope: Option<String>,
}

impl Challenge {
    /// Reads it. Where it cannot be read, or may not be quoted, both fields are empty.
    pub(super) fn read(text: &str, scribe: &Scribe) -> Self {
        let engine = GeneralPurpose::new(
            &STANDARD,
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
        );
        let decoded = (text.len() <= CHALLENGE_LIMIT)
            .then(|| engine.decode(text.trim()).ok())
            .flatten();
        let object: Value = decoded
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        // Google sends the status as text, others as a number.
        let field = |name: &str| match object.get(name)? {
            Value::String(text) => scribe.quote(text),
            Value::Number(number) => scribe.quote(&number.to_string()),
            _ => None,
        };
        Self {
            status: field("status"),
            scope: field("scope"),
        }
    }

    /// Whether the server says that the token lacks a scope.
    pub(super) fn lacks_scope(&self) -> bool {
        self.status.as_deref() == Some("insufficient_scope")
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.status, &self.scope) {
            (None, None) => formatter.write_str("the server asks once more, and nothing can be read out of it"),
            (status, None) => write!(
                formatter,
                "which says: status {}",
                status.as_deref().unwrap_or_default()
            ),
            (None, Some(scope)) => write!(formatter, "which says: the scope is {scope}"),
            (Some(status), Some(scope)) => write!(formatter, "which says: status {status}, the scope is {scope}"),
        }
    }
}
