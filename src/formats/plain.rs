//! Words that stand for themselves in every consumer's file.
//!
//! The API server and `api::validate` ask the same of a spec. It is asked again here, of whatever is about to be written: a value that comes another way (an
//! `EmailProvider`, the catalogue, an object from before a rule) must not become a line of somebody's configuration.

use super::Refusal;
use crate::api::Format;

/// Longest piece of a given value that a message repeats, in characters.
const LONGEST_QUOTE: usize = 80;
/// Longest word: a mailbox address (RFC 5321 section 4.5.3.1.3).
const LONGEST: usize = 254;

const WORD: &str =
    "visible ASCII characters without spaces, quotes, backslash, $ and square brackets, not beginning with a hyphen";
const NAME: &str = "letters, digits, hyphens and dots, beginning with a letter or digit";

/// A login name or address.
pub(super) fn word(format: Format, what: &'static str, given: &str) -> Result<String, Refusal> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"'`$\\[]".contains(&byte);
    let holds = given.bytes().all(plain) && !given.starts_with('-');
    accept(format, what, given, holds, WORD)
}

/// A host name.
pub(super) fn host(format: Format, what: &'static str, given: &str) -> Result<String, Refusal> {
    name(format, what, given)
}

/// The name of an object of Kubernetes, or of a host.
pub(super) fn name(format: Format, what: &'static str, given: &str) -> Result<String, Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    let begins = given.starts_with(|first: char| first.is_ascii_alphanumeric());
    accept(format, what, given, given.bytes().all(plain) && begins, NAME)
}

/// A word in a place that ends at a colon.
pub(super) fn without_colon(format: Format, what: &'static str, given: &str) -> Result<String, Refusal> {
    let holds = !given.contains(':');
    accept(format, what, given, holds, "names without a colon, where it would end")
}

fn accept(
    format: Format,
    what: &'static str,
    given: &str,
    holds: bool,
    accepted: &'static str,
) -> Result<String, Refusal> {
    if holds && (1..=LONGEST).contains(&given.len()) {
        return Ok(given.to_owned());
    }
    let mut piece: String = given.chars().take(LONGEST_QUOTE).collect();
    if piece.len() < given.len() {
        piece.push('…');
    }
    Err(Refusal::Unsayable {
        format,
        what,
        given: format!("{piece:?}"),
        accepted,
    })
}
