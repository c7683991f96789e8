//! What IMAP servers say (RFC 9051, RFC 3501; the initial response of RFC 4959).

use super::answer::{Answer, Tone, Turn};
use super::server::{Mechanism, Offer};
use super::wire::{Broken, Wire};

/// The greeting: `* OK`, or `* BYE` from a server that is busy. `* PREAUTH` is no use: we could not show who we are.
pub(super) async fn greeting(wire: &mut Wire<'_>) -> Result<Answer, Broken> {
    let line = wire.line().await?;
    let tone = match untagged(&line) {
        Some("OK") => Tone::Yes,
        Some("BYE") => Tone::Closing,
        _ => return Err(Broken::Nonsense("what it says first is no greeting of IMAP")),
    };
    Ok(Answer {
        tone,
        text: line.trim_start_matches("* ").to_owned(),
        lines: vec![line],
    })
}

/// The next turn in answer to the command with this tag.
pub(super) async fn turn(wire: &mut Wire<'_>, tag: &str) -> Result<Turn, Broken> {
    let mut lines = Vec::new();
    loop {
        let line = line(wire).await?;
        if let Some(challenge) = line.strip_prefix('+') {
            return Ok(Turn::More(challenge.trim().to_owned()));
        }
        let (first, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let tone = if first == tag {
            tone(rest)?
        } else if untagged(&line) == Some("BYE") {
            Tone::Closing
        } else if first == "*" {
            lines.push(line);
            continue;
        } else {
            return Err(Broken::Nonsense("it answers what nobody asked"));
        };
        let text = text(&lines, rest);
        lines.push(line);
        return Ok(Turn::Done(Answer { tone, text, lines }));
    }
}

fn tone(rest: &str) -> Result<Tone, Broken> {
    let word = rest.split(' ').next().unwrap_or_default().to_ascii_uppercase();
    match word.as_str() {
        "OK" => Ok(Tone::Yes),
        "NO" => Ok(Tone::No),
        "BAD" => Ok(Tone::NotUnderstood),
        _ => Err(Broken::Nonsense("its answer is neither OK nor NO nor BAD")),
    }
}

/// The answer, and what the server complained about before it: alerts come untagged.
fn text(untagged_lines: &[String], answer: &str) -> String {
    let complaints = untagged_lines
        .iter()
        .filter(|line| matches!(untagged(line), Some("NO" | "BAD")))
        .filter_map(|line| line.strip_prefix("* "));
    let mut parts = vec![answer];
    parts.extend(complaints);
    parts.join("; ")
}

/// The first word of an untagged line.
fn untagged(line: &str) -> Option<&'static str> {
    let word = line.strip_prefix("* ")?.split(' ').next()?;
    ["OK", "NO", "BAD", "BYE", "CAPABILITY"]
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(word))
}

/// A line, with its literals left out.
async fn line(wire: &mut Wire<'_>) -> Result<String, Broken> {
    let mut line = wire.line().await?;
    while let Some(count) = literal(&line) {
        wire.skip(count).await?;
        let rest = wire.line().await?;
        line = format!("{} {rest}", line.rsplit_once('{').map_or("", |(before, _)| before));
    }
    Ok(line)
}

/// How many bytes follow a line that ends in `{123}`.
fn literal(line: &str) -> Option<usize> {
    let (_, count) = line.strip_prefix("* ")?.strip_suffix('}')?.rsplit_once('{')?;
    count.parse().ok()
}

/// What the capabilities say.
pub(super) fn offer(answer: &Answer) -> Offer {
    let mut offer = Offer {
        command: true,
        ..Offer::default()
    };
    let lines = answer.lines.iter().filter(|line| untagged(line) == Some("CAPABILITY"));
    for word in lines.flat_map(|line| line.split_ascii_whitespace()) {
        let word = word.to_ascii_uppercase();
        match word.as_str() {
            "STARTTLS" => offer.start_tls = true,
            "SASL-IR" => offer.initial_response = true,
            "LOGINDISABLED" => offer.command = false,
            word => offer
                .mechanisms
                .extend(word.strip_prefix("AUTH=").and_then(Mechanism::named)),
        }
    }
    offer
}

/// A quoted string (RFC 9051 section 4.3). None where it cannot be one.
pub(super) fn quoted(text: &str) -> Option<String> {
    let sayable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    sayable.then(|| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_with_quotes_is_quoted_and_one_with_a_line_break_refused() {
        assert_eq!(quoted(r#"a"b\c d"#).unwrap(), r#""a\"b\\c d""#);
        assert!(quoted("a\r\nA2 DELETE INBOX").is_none());
        assert!(quoted("grün").is_none());
    }
}
