//! Times and long lines, for people.

use jiff::{SignedDuration, Timestamp};

/// A moment relative to now: `in 5 min`, `3 h ago`.
#[must_use]
pub(super) fn distance(moment: Timestamp, now: Timestamp) -> String {
    let apart = moment.duration_since(now);
    if (-4..=0).contains(&apart.as_secs()) {
        return "just now".to_owned();
    }
    let words = roughly(apart.abs());
    if apart.is_negative() {
        format!("{words} ago")
    } else {
        format!("in {words}")
    }
}

/// A length of time, as precise as a person wants it.
#[must_use]
pub(super) fn roughly(duration: SignedDuration) -> String {
    match duration.as_secs() {
        seconds @ ..=99 => format!("{seconds} s"),
        seconds @ 100..=5_999 => format!("{} min", seconds / 60),
        seconds @ 6_000..=172_799 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// An error of the system without its number.
#[must_use]
pub(super) fn without_number(error: &str) -> &str {
    error.split(" (os error ").next().unwrap_or(error)
}

/// Breaks sentences into lines, and keeps a command whole that ends them: a person copies it.
#[must_use]
pub(super) fn sentences(text: &str, width: Option<usize>) -> Vec<String> {
    let last = text.rmatch_indices(" kubectl ").next().filter(|_| width.is_some());
    let (before, command) = last.map_or((text, ""), |(place, _)| text.split_at(place));
    // A command in the middle of a sentence has no end that can be told.
    if !(before.ends_with(':') || before.ends_with(" run")) {
        return wrapped(text, width);
    }
    let mut lines = wrapped(before, width);
    lines.push(format!("  {}", command.trim_start()));
    lines
}

/// Breaks a text into lines of at most `width` columns. A word that is longer, such as a link, keeps a line of its own whole, so that it can be copied.
#[must_use]
pub(super) fn wrapped(text: &str, width: Option<usize>) -> Vec<String> {
    let Some(width) = width else {
        return vec![text.to_owned()];
    };
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_is_as_precise_as_a_person_wants_it() {
        let now: Timestamp = "2026-11-25T10:00:00Z".parse().unwrap();
        for (moment, told) in [
            ("2026-11-25T10:00:20Z", "in 20 s"),
            ("2026-11-25T09:59:58Z", "just now"),
            ("2026-11-25T09:55:00Z", "5 min ago"),
            ("2026-11-25T13:00:00Z", "in 3 h"),
            ("2026-11-22T10:00:00Z", "3 days ago"),
        ] {
            assert_eq!(distance(moment.parse().unwrap(), now), told);
        }
    }

    #[test]
    fn a_command_at_the_end_stays_whole() {
        let text = "It is gone. Create it: kubectl create secret generic -n helpdesk oauth-client";
        assert_eq!(
            sentences(text, Some(12)),
            [
                "It is gone.",
                "Create it:",
                "  kubectl create secret generic -n helpdesk oauth-client"
            ]
        );
        assert_eq!(sentences(text, None), [text]);
        assert_eq!(
            sentences(
                "Open it, or run kubectl emailasset authorize -n helpdesk support",
                Some(16)
            ),
            ["Open it, or run", "  kubectl emailasset authorize -n helpdesk support"]
        );
        assert_eq!(sentences("Use kubectl here", Some(40)), ["Use kubectl here"]);
    }

    #[test]
    fn a_link_is_never_broken() {
        let text = "Open https://login.example.com/a/very/long/link now";
        assert_eq!(
            wrapped(text, Some(10)),
            ["Open", "https://login.example.com/a/very/long/link", "now"]
        );
        assert_eq!(wrapped(text, None), [text]);
    }
}
