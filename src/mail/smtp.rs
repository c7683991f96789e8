//! What SMTP servers say (RFC 5321 section 4.2; AUTH of RFC 4954, STARTTLS of RFC 3207).

use std::net::SocketAddr;

use super::answer::{Answer, Tone, Turn};
use super::server::{Mechanism, Offer};
use super::wire::{Broken, Wire};

/// A reply with more lines is nonsense. Gmail's longest has nine.
const MOST_LINES: usize = 100;

/// The greeting: 220, or a code of a server that is busy or turns us away.
pub(super) async fn greeting(wire: &mut Wire<'_>) -> Result<Answer, Broken> {
    let (code, answer) = reply(wire).await?;
    if code == 220 || code >= 400 {
        return Ok(answer);
    }
    Err(Broken::Nonsense("what it says first is no greeting of SMTP"))
}

/// The next turn.
pub(super) async fn turn(wire: &mut Wire<'_>) -> Result<Turn, Broken> {
    let (code, answer) = reply(wire).await?;
    match code {
        334 => Ok(Turn::More(answer.text.get(3..).unwrap_or_default().trim().to_owned())),
        300..400 => Err(Broken::Nonsense("it asks for something that it cannot want here")),
        _ => Ok(Turn::Done(answer)),
    }
}

async fn reply(wire: &mut Wire<'_>) -> Result<(u16, Answer), Broken> {
    const NO_REPLY: Broken = Broken::Nonsense("what it says is no reply of SMTP");
    let (mut lines, mut words, mut first) = (Vec::new(), Vec::new(), None);
    while lines.len() < MOST_LINES {
        let line = wire.line().await?;
        let (code, last, text) = parse(&line).ok_or(NO_REPLY)?;
        if *first.get_or_insert(code) != code {
            return Err(NO_REPLY);
        }
        words.push(text.to_owned());
        lines.push(line);
        if last {
            let text = format!("{code} {}", joined(&words));
            let tone = tone(code);
            return Ok((code, Answer { tone, text, lines }));
        }
    }
    Err(NO_REPLY)
}

/// Code, whether the reply ends here, and the words.
fn parse(line: &str) -> Option<(u16, bool, &str)> {
    let code: u16 = line
        .get(..3)
        .filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()))?
        .parse()
        .ok()?;
    let rest = line.get(3..)?;
    let last = match rest.bytes().next() {
        None | Some(b' ') => true,
        Some(b'-') => false,
        Some(_) => return None,
    };
    (200..600)
        .contains(&code)
        .then(|| (code, last, rest.get(1..).unwrap_or_default()))
}

const fn tone(code: u16) -> Tone {
    match code {
        421 => Tone::Closing,
        400..500 => Tone::NotNow,
        500..505 => Tone::NotUnderstood,
        505.. => Tone::No,
        _ => Tone::Yes,
    }
}

/// The lines of a reply as one. The enhanced code (RFC 2034) stands on each of them and is said once.
fn joined(words: &[String]) -> String {
    let enhanced = words.first().and_then(|first| first.split(' ').next()).filter(|code| {
        let numbers: Vec<&str> = code.split('.').collect();
        numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u16>().is_ok())
    });
    let rest = words.iter().skip(1).map(|line| match enhanced {
        Some(code) => line.strip_prefix(code).unwrap_or(line).trim(),
        None => line.trim(),
    });
    let all: Vec<&str> = words
        .first()
        .map(|first| first.trim())
        .into_iter()
        .chain(rest)
        .collect();
    all.join(" ")
}

/// How we call ourselves: by our address (RFC 5321 section 4.1.3), since we have no name that anybody could look up.
pub(super) fn hello(own: SocketAddr) -> String {
    match own {
        SocketAddr::V4(own) => format!("EHLO [{}]", own.ip()),
        SocketAddr::V6(own) => format!("EHLO [IPv6:{}]", own.ip()),
    }
}

/// What the answer to EHLO says. Old servers write `AUTH=`.
pub(super) fn offer(answer: &Answer) -> Offer {
    let mut offer = Offer {
        initial_response: true,
        ..Offer::default()
    };
    for line in answer.lines.iter().skip(1).filter_map(|line| line.get(4..)) {
        let line = line.to_ascii_uppercase();
        let words: Vec<&str> = line.split([' ', '=']).collect();
        match words.split_first() {
            Some((&"STARTTLS", _)) => offer.start_tls = true,
            Some((&"AUTH", names)) => offer
                .mechanisms
                .extend(names.iter().filter_map(|name| Mechanism::named(name))),
            _ => {}
        }
    }
    offer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_of_several_lines_becomes_one() {
        let lines = [
            "5.7.8 Username and Password not accepted.",
            "5.7.8  https://support.google.com - gsmtp",
        ];
        let lines = lines.map(str::to_owned);
        assert_eq!(
            joined(&lines),
            "5.7.8 Username and Password not accepted. https://support.google.com - gsmtp"
        );
        assert_eq!(joined(&["no code".to_owned(), "here".to_owned()]), "no code here");
    }

    #[test]
    fn what_is_no_reply_is_not_read_as_one() {
        for line in [
            "",
            "22",
            "2200 hello",
            "abc hello",
            "99 hello",
            "700 hello",
            "220_hello",
            "+20 hello",
            "22\u{e9} hello",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
        assert_eq!(parse("220 hello"), Some((220, true, "hello")));
        assert_eq!(parse("250-SIZE"), Some((250, false, "SIZE")));
        assert_eq!(parse("334"), Some((334, true, "")));
    }
}
