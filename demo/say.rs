//! How the demo speaks: headings, paragraphs, commands and tables. Colours and countdowns appear on a terminal only.

#![allow(
    clippy::unused_self,
    reason = "one voice speaks, also where it needs neither colours nor a terminal"
)]

use std::env;
use std::io::{self, IsTerminal, Write};

/// Longest line of a paragraph.
const WIDTH: usize = 96;

const BOLD: &str = "1";
const DIM: &str = "2";
const GREEN: &str = "32";
const RED: &str = "31";
const CYAN: &str = "36";

/// Whether something was as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was.
    Good,
    /// It was not.
    Bad,
}

impl Verdict {
    /// The verdict on a check.
    pub(crate) const fn of(passed: bool) -> Self {
        if passed { Self::Good } else { Self::Bad }
    }
}

/// The one that speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Voice {
    terminal: bool,
    colours: bool,
}

impl Voice {
    /// A voice for standard output, whatever that is. `NO_COLOR` is obeyed (no-color.org).
    pub(crate) fn new() -> Self {
        let terminal = io::stdout().is_terminal();
        Self {
            terminal,
            colours: terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }

    /// Whether a person can answer.
    pub(crate) fn is_heard_by_a_person(self) -> bool {
        self.terminal && io::stdin().is_terminal()
    }

    /// The name of a chapter.
    pub(crate) fn heading(self, text: &str) {
        let rule = "─".repeat(WIDTH.saturating_sub(text.chars().count() + 4));
        println!("\n{}\n", self.paint(BOLD, &format!("── {text} {rule}")));
    }

    /// A paragraph, wrapped.
    pub(crate) fn tell(self, text: &str) {
        for line in wrap(text, WIDTH) {
            println!("{line}");
        }
    }

    /// What somebody could type, and what it prints.
    pub(crate) fn command(self, command: &str, output: &str) {
        println!("  {}", self.paint(CYAN, &format!("$ {command}")));
        self.block(output);
    }

    /// Text as it stands.
    pub(crate) fn block(self, text: &str) {
        for line in text.trim_end().lines() {
            println!("  {}", line.trim_end());
        }
    }

    /// Something went as it should.
    pub(crate) fn good(self, text: &str) {
        self.marked(&self.paint(GREEN, "✓"), text);
    }

    /// Something was put to the test.
    pub(crate) fn judge(self, verdict: Verdict, text: &str) {
        match verdict {
            Verdict::Good => self.good(text),
            Verdict::Bad => self.marked(&self.paint(RED, "✗"), text),
        }
    }

    /// A condition of an asset, word for word.
    pub(crate) fn condition(self, kind: &str, status: &str, reason: &str, message: &str) {
        let colour = match status {
            "True" if kind != "Stalled" => GREEN,
            "Unknown" => CYAN,
            _ => RED,
        };
        println!(
            "  {} {} {}",
            self.paint(BOLD, &format!("{kind:<12}")),
            self.paint(colour, &format!("{status:<8}")),
            self.paint(BOLD, reason)
        );
        for line in wrap(message, WIDTH - 15) {
            println!("               {line}");
        }
    }

    /// A remark.
    pub(crate) fn aside(self, text: &str) {
        for line in wrap(text, WIDTH - 2) {
            println!("  {}", self.paint(DIM, &line));
        }
    }

    /// An empty line.
    pub(crate) fn gap(self) {
        println!();
    }

    /// A line that the next one of its kind overwrites; only people at a terminal see it.
    pub(crate) fn meanwhile(self, text: &str) {
        if self.terminal {
            print!("\r\x1b[2K  {}", self.paint(DIM, text));
            let _ = io::stdout().flush();
        }
    }

    /// Takes the last [`Self::meanwhile`] away.
    pub(crate) fn forget_meanwhile(self) {
        if self.terminal {
            print!("\r\x1b[2K");
            let _ = io::stdout().flush();
        }
    }

    fn marked(self, mark: &str, text: &str) {
        let mut first = true;
        for line in wrap(text, WIDTH - 4) {
            println!("  {} {line}", if first { mark } else { " " });
            first = false;
        }
    }

    fn paint(self, colour: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Breaks a text into lines at spaces.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let longer = line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && longer > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}
