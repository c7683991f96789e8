//! Durations as people write them in Kubernetes: Go's format, such as `1h30m`, `90s` or `1.5h`.
//!
//! Why not a crate's: `kube::core::Duration` panics on `1m-5s` and on numbers that are too large, so one resource could stop the watch of all; it also turns
//! `-5m` into five minutes and prints `1h30m` as `5400s`. Here nothing panics, a negative duration is refused, and printing gives back what people write.

use jiff::SignedDuration;

const NANOSECOND: i128 = 1;
const MICROSECOND: i128 = 1_000 * NANOSECOND;
const MILLISECOND: i128 = 1_000 * MICROSECOND;
const SECOND: i128 = 1_000 * MILLISECOND;
const MINUTE: i128 = 60 * SECOND;
const HOUR: i128 = 60 * MINUTE;

/// Go holds a duration in 64 bits of nanoseconds, about 292 years; so do CEL and every Go client that reads ours.
const LONGEST: i128 = i64::MAX as i128;

/// Longer units of the same first letter come first: `ms` before `m`.
const UNITS: [(&str, i128); 8] = [
    ("ns", NANOSECOND),
    ("us", MICROSECOND),
    ("µs", MICROSECOND),
    ("μs", MICROSECOND),
    ("ms", MILLISECOND),
    ("s", SECOND),
    ("m", MINUTE),
    ("h", HOUR),
];

/// Why a text is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// There is nothing.
    #[error("a duration such as 20m or 1h30m was expected, but the text is empty")]
    Empty,
    /// It begins with a minus sign.
    #[error("a duration may not be negative")]
    Negative,
    /// A number was expected.
    #[error("a duration is a number with a unit, such as 20m or 1h30m")]
    NoNumber,
    /// A unit was expected.
    #[error("each number of a duration needs a unit: h, m, s, ms, us or ns")]
    NoUnit,
    /// It is longer than 292 years.
    #[error("the duration is too long: at most 292 years can be held")]
    TooLong,
}

/// Reads a duration in Go's format (pkg.go.dev/time#ParseDuration). Fractions finer than a nanosecond are cut off.
pub fn parse(text: &str) -> Result<SignedDuration, DurationError> {
    let mut rest = match text.strip_prefix('+').unwrap_or(text) {
        "" => return Err(DurationError::Empty),
        "0" => return Ok(SignedDuration::ZERO),
        text if text.starts_with('-') => return Err(DurationError::Negative),
        text => text,
    };
    let mut total = 0_i128;
    while !rest.is_empty() {
        let (amount, after_number) = number(rest)?;
        let (unit, after_unit) = UNITS
            .iter()
            .find_map(|(name, unit)| Some((*unit, after_number.strip_prefix(name)?)))
            .ok_or(DurationError::NoUnit)?;
        total = total.checked_add(amount.times(unit)?).ok_or(DurationError::TooLong)?;
        rest = after_unit;
    }
    if total > LONGEST {
        return Err(DurationError::TooLong);
    }
    Ok(SignedDuration::from_nanos_i128(total))
}

/// Prints a duration as a person would write it: `1h30m`, `20m`, `90s`, `1.5s`, `0s`. Reading it gives the same duration, unless it is negative.
#[must_use]
pub fn format(duration: SignedDuration) -> String {
    let sign = if duration.is_negative() { "-" } else { "" };
    let total = duration.as_nanos().unsigned_abs();
    let seconds = total / SECOND.unsigned_abs();
    let nanoseconds = total % SECOND.unsigned_abs();
    let (hours, minutes, left) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if nanoseconds > 0 {
        let fraction = format!("{nanoseconds:09}");
        return format!("{sign}{seconds}.{}s", fraction.trim_end_matches('0'));
    }
    match (hours, minutes, left) {
        (0, 0 | 1, _) if left != 0 || seconds == 0 => format!("{sign}{seconds}s"),
        (0, minutes, 0) => format!("{sign}{minutes}m"),
        (hours, 0, 0) => format!("{sign}{hours}h"),
        (0, minutes, left) => format!("{sign}{minutes}m{left}s"),
        (hours, minutes, 0) => format!("{sign}{hours}h{minutes}m"),
        (hours, minutes, left) => format!("{sign}{hours}h{minutes}m{left}s"),
    }
}

/// A decimal number, exact: `whole` and `fraction` / `scale`.
struct Number {
    whole: i128,
    fraction: i128,
    scale: i128,
}

impl Number {
    fn times(&self, unit: i128) -> Result<i128, DurationError> {
        let whole = self.whole.checked_mul(unit).ok_or(DurationError::TooLong)?;
        let fraction = self.fraction.checked_mul(unit).ok_or(DurationError::TooLong)?;
        whole.checked_add(fraction / self.scale).ok_or(DurationError::TooLong)
    }
}

fn number(text: &str) -> Result<(Number, &str), DurationError> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), digits);
    if whole.is_empty() && fraction.is_empty() {
        return Err(DurationError::NoNumber);
    }
    // Eighteen digits are finer than a nanosecond for every unit, and leave room to multiply.
    let fraction = fraction.get(..18).unwrap_or(fraction);
    let whole = if whole.is_empty() { Ok(0) } else { whole.parse() };
    let numerator = if fraction.is_empty() { Ok(0) } else { fraction.parse() };
    let scale = fraction.bytes().fold(1_i128, |scale, _| scale * 10);
    match (whole, numerator) {
        (Ok(whole), Ok(fraction)) => Ok((Number { whole, fraction, scale }, rest)),
        _ => Err(DurationError::TooLong),
    }
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: i64) -> SignedDuration {
        SignedDuration::from_secs(seconds)
    }

    #[test]
    fn reads_what_go_reads() {
        for (text, expected) in [
            ("20m", seconds(1200)),
            ("1h30m", seconds(5400)),
            ("90s", seconds(90)),
            ("1.5h", seconds(5400)),
            (".5m", seconds(30)),
            ("1.m", seconds(60)),
            ("+2s", seconds(2)),
            ("0", SignedDuration::ZERO),
            ("0s", SignedDuration::ZERO),
            ("1m1h", seconds(3660)),
            ("3ms", SignedDuration::from_millis(3)),
            ("3us", SignedDuration::from_micros(3)),
            ("3µs", SignedDuration::from_micros(3)),
            ("3ns", SignedDuration::from_nanos(3)),
            ("1.0000000019s", SignedDuration::from_nanos(1_000_000_001)),
            ("0.100000000000000000000h", seconds(360)),
            ("2562047h47m16.854775807s", SignedDuration::from_nanos(i64::MAX)),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_duration_and_never_panics() {
        for (text, expected) in [
            ("", DurationError::Empty),
            ("+", DurationError::Empty),
            ("-5m", DurationError::Negative),
            ("+-5m", DurationError::Negative),
            ("1m-5s", DurationError::NoNumber),
            ("five", DurationError::NoNumber),
            (".s", DurationError::NoNumber),
            ("20", DurationError::NoUnit),
            ("20 m", DurationError::NoUnit),
            ("1d", DurationError::NoUnit),
            ("20M", DurationError::NoUnit),
            ("1h30", DurationError::NoUnit),
            ("٣m", DurationError::NoNumber),
            ("2562047h47m16.854775808s", DurationError::TooLong),
            ("99999999999999999999h", DurationError::TooLong),
            ("999999999999999999999999999999999999999h", DurationError::TooLong),
            ("9999999999999999999999999999999999999999999h", DurationError::TooLong),
        ] {
            assert_eq!(parse(text), Err(expected), "{text}");
        }
        assert!(parse(&"9".repeat(100_000)).is_err());
        assert!(parse(&"9h".repeat(10_000)).is_ok());
    }

    #[test]
    fn prints_what_a_person_would_write_and_reads_it_back() {
        for (duration, expected) in [
            (SignedDuration::ZERO, "0s"),
            (seconds(1), "1s"),
            (seconds(60), "1m"),
            (seconds(90), "90s"),
            (seconds(150), "2m30s"),
            (seconds(1200), "20m"),
            (seconds(3600), "1h"),
            (seconds(5400), "1h30m"),
            (seconds(3601), "1h0m1s"),
            (seconds(360_000), "100h"),
            (SignedDuration::from_millis(1500), "1.5s"),
            (SignedDuration::from_nanos(1), "0.000000001s"),
        ] {
            assert_eq!(format(duration), expected);
            assert_eq!(parse(expected), Ok(duration));
        }
        assert_eq!(format(SignedDuration::from_secs(-90)), "-90s");
        assert!(!format(SignedDuration::MIN).is_empty());
    }
}
