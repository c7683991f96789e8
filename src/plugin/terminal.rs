//! What differs between a terminal and a file: colours, width, a spinner. Nothing of it ever reaches a pipe.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

/// Widest lines on a terminal, in columns: longer ones are hard to read.
const WIDEST: usize = 110;
/// Width where a terminal does not say.
const USUAL: usize = 80;
/// One picture of the spinner stays this long.
const TURN: Duration = Duration::from_millis(120);
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// Whether something goes to a person's terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// A terminal of this many columns.
    Terminal {
        /// Columns.
        width: usize,
        /// Whether it shall have colours.
        paint: Paint,
    },
    /// A pipe or a file.
    Plain,
}

/// Whether text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// It is.
    Colours,
    /// It is not.
    None,
}

impl Screen {
    /// Where standard output goes.
    #[must_use]
    pub fn of_output() -> Self {
        Self::of(io::stdout().is_terminal())
    }

    /// Where standard error goes.
    #[must_use]
    pub fn of_errors() -> Self {
        Self::of(io::stderr().is_terminal())
    }

    fn of(is_terminal: bool) -> Self {
        if !is_terminal {
            return Self::Plain;
        }
        let columns = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        let width = columns.filter(|columns| *columns > 0).unwrap_or(USUAL);
        // no-color.org: any value but an empty one.
        let wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let able = env::var_os("TERM").is_none_or(|kind| kind != "dumb");
        let paint = if wanted && able { Paint::Colours } else { Paint::None };
        Self::Terminal { width, paint }
    }

    /// Whether a person reads it as it is written.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Terminal { .. })
    }

    /// Columns to wrap at; none: do not wrap.
    #[must_use]
    pub fn wrap_at(self) -> Option<usize> {
        match self {
            Self::Terminal { width, .. } => Some(width.min(WIDEST)),
            Self::Plain => None,
        }
    }

    fn painted(self, code: &str, text: &str) -> String {
        match self {
            Self::Terminal {
                paint: Paint::Colours, ..
            } => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            _ => text.to_owned(),
        }
    }

    /// Something that is well.
    #[must_use]
    pub fn good(self, text: &str) -> String {
        self.painted("32", text)
    }

    /// Something that is not.
    #[must_use]
    pub fn bad(self, text: &str) -> String {
        self.painted("31", text)
    }

    /// Something that may pass.
    #[must_use]
    pub fn doubtful(self, text: &str) -> String {
        self.painted("33", text)
    }

    /// What the eye shall find first.
    #[must_use]
    pub fn strong(self, text: &str) -> String {
        self.painted("1", text)
    }
}

/// Writes to standard output. A reader that went away, such as `head`, is no error.
pub(super) fn print(text: &str) {
    let mut output = io::stdout().lock();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

/// Writes a line to standard error.
pub(super) fn tell(text: &str) {
    let mut errors = io::stderr().lock();
    let _ = writeln!(errors, "{text}");
}

/// Text from elsewhere, fit for a terminal: one line without control characters, bounded.
#[must_use]
pub(super) fn harmless(text: &str, longest: usize) -> String {
    let visible = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter });
    let mut kept: String = visible.take(longest).collect();
    if text.chars().count() > longest {
        kept.push('…');
    }
    kept.trim().to_owned()
}

/// Shows that something is being waited for: turning on a terminal, one line elsewhere. It disappears when dropped.
pub(super) struct Waiting(Option<JoinHandle<()>>);

impl Waiting {
    /// Begins to show `what`, such as "Waiting for the sign-in".
    pub(super) fn show(what: &str) -> Self {
        let Screen::Terminal { width, .. } = Screen::of_errors() else {
            tell(&format!("{what} …"));
            return Self(None);
        };
        let what = what.to_owned();
        let began = Instant::now();
        Self(Some(tokio::spawn(async move {
            let mut turns = tokio::time::interval(TURN);
            for picture in SPINNER.iter().cycle() {
                turns.tick().await;
                let line = format!("{picture} {what} … {} s", began.elapsed().as_secs());
                let line: String = line.chars().take(width.saturating_sub(1)).collect();
                let mut errors = io::stderr().lock();
                let _ = write!(errors, "\r\u{1b}[2K{line}").and_then(|()| errors.flush());
            }
        })))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(turning) = self.0.take() {
            turning.abort();
            let mut errors = io::stderr().lock();
            let _ = write!(errors, "\r\u{1b}[2K").and_then(|()| errors.flush());
        }
    }
}
