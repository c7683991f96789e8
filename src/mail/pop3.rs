//! What POP3 servers say (RFC 1939; CAPA of RFC 2449, STLS of RFC 2595, AUTH of RFC 5034).

use super::answer::{Answer, Tone, Turn};
use super::server::{Mechanism, Offer};
use super::wire::{Broken, Wire};

/// A list with more lines is nonsense.
const MOST_LINES: usize = 100;

/// The greeting.
pub(super) async fn greeting(wire: &mut Wire<'_>) -> Result<Answer, Broken> {
    match turn(wire).await? {
        Turn::Done(answer) => Ok(answer),
        Turn::More(_) => Err(Broken::Nonsense("what it says first is no greeting of POP3")),
    }
}

/// The next turn: one line.
pub(super) async fn turn(wire: &mut Wire<'_>) -> Result<Turn, Broken> {
    let line = wire.line().await?;
    let word = line.split(' ').next().unwrap_or_default();
    let tone = match word {
        "+" => return Ok(Turn::More(line.get(1..).unwrap_or_default().trim().to_owned())),
        "+OK" => Tone::Yes,
        "-ERR" => Tone::No,
        _ => return Err(Broken::Nonsense("what it says is no answer of POP3")),
    };
    Ok(Turn::Done(Answer {
        tone,
        text: line.clone(),
        lines: vec![line],
    }))
}

/// What CAPA says: the lines after its +OK, up to the dot. A server that does not know CAPA has USER and PASS.
pub(super) async fn offer(wire: &mut Wire<'_>, answer: &Answer) -> Result<Offer, Broken> {
    let mut offer = Offer {
        initial_response: true,
        command: answer.tone != Tone::Yes,
        ..Offer::default()
    };
    if answer.tone != Tone::Yes {
        return Ok(offer);
    }
    for _ in 0..MOST_LINES {
        let line = wire.line().await?.to_ascii_uppercase();
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.split_first() {
            Some((&".", _)) => return Ok(offer),
            Some((&"STLS", _)) => offer.start_tls = true,
            Some((&"USER", _)) => offer.command = true,
            Some((&"SASL", names)) => offer
                .mechanisms
                .extend(names.iter().filter_map(|name| Mechanism::named(name))),
            _ => {}
        }
    }
    Err(Broken::Nonsense("it never ends its list of capabilities"))
}
