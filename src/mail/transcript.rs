//! The conversation as a person may see it.

use std::fmt;

use secrecy::ExposeSecret;

use super::login::Step;
use super::server::Credential;
use crate::outbound::SecretsInPlay;
use crate::outbound::words::quotable;

/// More lines than this are not kept; a login has about twenty.
const MOST_ENTRIES: usize = 100;

/// A line of a server is cut to this many characters.
const LINE_LIMIT: usize = 500;

const NOT_SHOWN: &str = "(not shown: it repeats part of the token or password)";

/// Who said a line of a [`Transcript`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// We did.
    Client,
    /// The mail server did.
    Server,
    /// Nobody: what happened between lines, such as TLS.
    Note,
}

/// One line of a [`Transcript`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Who said it.
    pub speaker: Speaker,
    /// What was said: one line, at most 500 characters, without secrets and control characters.
    pub text: String,
}

/// A conversation with a mail server, line by line, without secrets. `Display` gives it as `C:`, `S:` and `--` lines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transcript {
    entries: Vec<Entry>,
    left_out: usize,
}

impl Transcript {
    /// The lines, in order; at most 100.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn push(&mut self, speaker: Speaker, text: String) {
        if self.entries.len() < MOST_ENTRIES {
            self.entries.push(Entry { speaker, text });
        } else {
            self.left_out += 1;
        }
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Entry { speaker, text } in &self.entries {
            let mark = match speaker {
                Speaker::Client => "C:",
                Speaker::Server => "S:",
                Speaker::Note => "--",
            };
            writeln!(formatter, "{mark} {text}")?;
        }
        if self.left_out > 0 {
            writeln!(formatter, "-- ({} more lines)", self.left_out)?;
        }
        Ok(())
    }
}

/// Whether a server may be quoted, as far as the conversation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quoting {
    /// It has not greeted yet, so it may be anything.
    AfterGreeting,
    /// It greeted as a mail server does.
    Yes,
    /// Its port is not one of mail.
    Never,
}

/// Writes a [`Transcript`], and knows what may stand in it.
pub(super) struct Scribe {
    transcript: Transcript,
    secrets: SecretsInPlay,
    quoting: Quoting,
    /// How far the conversation has come.
    pub(super) step: Step,
}

impl Scribe {
    pub(super) fn new(credential: &Credential, quotes: bool) -> Self {
        Self {
            transcript: Transcript::default(),
            secrets: SecretsInPlay::default().with(credential.secret().expose_secret()),
            quoting: if quotes { Quoting::AfterGreeting } else { Quoting::Never },
            step: Step::Resolve,
        }
    }

    pub(super) fn into_transcript(self) -> Transcript {
        self.transcript
    }

    /// What we said, in words without secrets.
    pub(super) fn client(&mut self, text: &str) {
        self.transcript.push(Speaker::Client, text.to_owned());
    }

    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.transcript.push(Speaker::Note, text.into());
    }

    /// The server greeted as its protocol wants it.
    pub(super) fn greeted(&mut self, lines: &[String]) {
        if self.quoting == Quoting::Never {
            self.note("the words of the server are not shown: its port is not one of mail");
        } else {
            self.quoting = Quoting::Yes;
        }
        for line in lines {
            self.server(line);
        }
    }

    /// A line of the server. Nothing while it may not be quoted.
    pub(super) fn server(&mut self, line: &str) {
        if self.quoting == Quoting::Yes {
            let text = if self.secrets.leak_into(line) {
                NOT_SHOWN.to_owned()
            } else {
                quotable(line, LINE_LIMIT).unwrap_or_default()
            };
            self.transcript.push(Speaker::Server, text);
        }
    }

    /// Words of the server for a status. None where it may not be quoted, said nothing, or repeats a secret.
    pub(super) fn quote(&self, words: &str) -> Option<String> {
        let quotable = quotable(words, LINE_LIMIT)?;
        (self.quoting == Quoting::Yes && !self.secrets.leak_into(words)).then_some(quotable)
    }
}
