//! How a command ends: the exit codes, which scripts rely on, and a problem as a person reads it.

use std::fmt;

/// What the process answers to its caller. The numbers are documented in `--help` and `docs/kubectl-emailasset.md`, and stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It worked, and what was asked about is well.
    Fine,
    /// A problem was found: an asset is not ready, a manifest is wrong, there is no such asset.
    Found,
    /// The command line, or a file that it names, cannot be used.
    Usage,
    /// The cluster cannot be reached, or does not let us.
    Cluster,
    /// Nobody answered in time.
    TimedOut,
    /// The sign-in was refused; nothing was changed.
    SignInRefused,
    /// Ctrl-C, as shells number it.
    Interrupted,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Found => 1,
            Self::Usage => 2,
            Self::Cluster => 3,
            Self::TimedOut => 4,
            Self::SignInRefused => 5,
            Self::Interrupted => 130,
        }
    }
}

/// What stands below the help of every command.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  it worked, and what was asked about is well
  1  a problem was found: an asset is not ready, a manifest is wrong, there is no such asset
  2  the command line, or a file that it names, cannot be used
  3  the cluster cannot be reached, or does not let you
  4  nobody answered in time
  5  the sign-in was refused; nothing was changed";

/// Why a command did not do what it was asked: sentences for a person, and the exit code for a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How the process ends.
    pub exit: Exit,
    /// What was found, what it means and the next step.
    pub message: String,
}

impl Problem {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}
