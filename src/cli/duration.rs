//! Times on the command line, written as in Go: `30s`, `1m30s`, `500ms`.

use std::time::Duration;

/// The longest time that makes sense on this command line.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a text is no time. Clap shows the flag and the text beside it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotATime {
    #[error("expected a time like 30s, 1m30s or 500ms: whole numbers, each with ms, s, m or h")]
    Form,
    #[error("expected a time above 0 and up to 24h")]
    Range,
}

/// Parses a time above 0 and up to a day.
pub(super) fn parse(text: &str) -> Result<Duration, NotATime> {
    if text.is_empty() {
        return Err(NotATime::Form);
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = split(rest, |character| character.is_ascii_digit());
        let (unit, after) = split(after, |character| character.is_ascii_alphabetic());
        let number: u32 = number.parse().map_err(|_| {
            if number.is_empty() {
                NotATime::Form
            } else {
                NotATime::Range
            }
        })?;
        total = unit_of(unit)?
            .checked_mul(number)
            .and_then(|part| total.checked_add(part))
            .ok_or(NotATime::Range)?;
        rest = after;
    }
    if total.is_zero() || total > LONGEST {
        Err(NotATime::Range)
    } else {
        Ok(total)
    }
}

fn unit_of(unit: &str) -> Result<Duration, NotATime> {
    match unit {
        "ms" => Ok(Duration::from_millis(1)),
        "s" => Ok(Duration::from_secs(1)),
        "m" => Ok(Duration::from_secs(60)),
        "h" => Ok(Duration::from_secs(60 * 60)),
        _ => Err(NotATime::Form),
    }
}

/// The characters from the start that belong, and the rest.
fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|character| !belongs(character)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_in_go() {
        for (text, millis) in [
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1h", 3_600_000),
            ("24h", 86_400_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_sensible_time_is_refused() {
        for text in ["", "30", "s", "-5s", "1m-5s", "1.5s", "5 s", "5d", "10µs", "+5s", "١s"] {
            assert_eq!(parse(text), Err(NotATime::Form), "{text:?}");
        }
        for text in ["0s", "25h", "99999999999999999999h", "4294967295h"] {
            assert_eq!(parse(text), Err(NotATime::Range), "{text:?}");
        }
    }
}
