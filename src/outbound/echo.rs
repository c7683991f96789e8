//! Does a text repeat a secret? Servers echo parameters in error descriptions; what they say ends in status and logs, which
//! people may read who may not read Secrets (invariant 5).
//!
//! This guards against careless servers. One that means harm already has the refresh token and can pass it on by itself.

use std::collections::HashSet;
use std::iter;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded::byte_serialize;

/// This many bytes in a row, shared with a secret, count as a leak.
const SHARED: usize = 16;

/// A secret shorter than [`SHARED`] counts when it occurs whole; one shorter than this occurs everywhere.
const SHORTEST: usize = 4;

/// The secrets of one exchange: those that we sent, and those in the answer.
#[derive(Debug, Clone, Default)]
pub struct SecretsInPlay(Vec<SecretString>);

impl SecretsInPlay {
    /// Takes note of one more secret.
    #[must_use]
    pub fn with(mut self, secret: &str) -> Self {
        self.0.push(SecretString::from(secret));
        self
    }

    /// Whether `text` shares 16 bytes in a row with a secret: plain, URL-encoded, or anywhere inside base64 of either alphabet.
    #[must_use]
    pub(crate) fn leak_into(&self, text: &str) -> bool {
        let texts = [text.as_bytes().to_vec(), percent_decoded(text)];
        self.0
            .iter()
            .flat_map(|secret| disguises(secret.expose_secret()))
            .any(|form| texts.iter().any(|text| shares(text, form.as_bytes())))
    }

    /// As [`Self::leak_into`], for the plain form only: cheap enough for every answer.
    #[must_use]
    pub(crate) fn leak_plainly_into(&self, text: &str) -> bool {
        self.0
            .iter()
            .any(|secret| shares(text.as_bytes(), secret.expose_secret().as_bytes()))
    }
}

fn shares(text: &[u8], secret: &[u8]) -> bool {
    if secret.len() < SHARED {
        return secret.len() >= SHORTEST && text.windows(secret.len()).any(|window| window == secret);
    }
    let windows: HashSet<&[u8]> = text.windows(SHARED).collect();
    !windows.is_empty() && secret.windows(SHARED).any(|window| windows.contains(window))
}

/// The secret itself and what base64 makes of it. RFC 6749 section 2.3.1 has the client secret URL-encoded inside the Basic
/// header, so that form is disguised too; text that is only URL-encoded is found by decoding the text.
fn disguises(secret: &str) -> Vec<String> {
    let encoded: String = byte_serialize(secret.as_bytes()).collect();
    let forms = if encoded == secret {
        vec![secret.to_owned()]
    } else {
        vec![secret.to_owned(), encoded]
    };
    let in_base64 = forms
        .iter()
        .flat_map(|form| (0..3).flat_map(|offset| base64_at(form, offset)))
        .collect::<Vec<_>>();
    forms.into_iter().chain(in_base64).collect()
}

/// The characters of base64 that depend on `text` alone when it begins `offset` bytes after a multiple of three.
fn base64_at(text: &str, offset: usize) -> [String; 2] {
    let bytes: Vec<u8> = iter::repeat_n(0, offset).chain(text.bytes()).collect();
    let (first, end) = ((offset * 8).div_ceil(6), bytes.len() * 8 / 6);
    [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)]
        .map(|encoded| encoded.get(first..end).unwrap_or_default().to_owned())
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut rest = text.as_bytes();
    let mut decoded = Vec::with_capacity(rest.len());
    while let [first, tail @ ..] = rest {
        let value = match tail {
            [high, low, ..] if *first == b'%' => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        decoded.push(value.unwrap_or(*first));
        rest = if value.is_some() {
            tail.get(2..).unwrap_or_default()
        } else {
            tail
        };
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "1//0abc+DEF/ghi=jkl~mno*pqr stu";

    #[test]
    fn a_secret_is_found_in_every_disguise() {
        let form: String = byte_serialize(SECRET.as_bytes()).collect();
        let texts = [
            SECRET.to_owned(),
            format!("token '{}' is bad", SECRET.get(3..19).unwrap()),
            form.clone(),
            form.to_ascii_lowercase().replace("%2f", "%2F").replace("def", "DEF"),
            "refresh_token=1%2F%2F0abc%2BDEF%2fghi%3djkl".to_owned(),
            STANDARD_NO_PAD.encode(format!("client:{SECRET}")),
            URL_SAFE_NO_PAD.encode(format!("client1:{form}")),
            STANDARD_NO_PAD.encode(format!("client12:{form}")),
        ];
        for text in texts {
            assert!(
                SecretsInPlay::default().with("other").with(SECRET).leak_into(&text),
                "{text}"
            );
        }
    }

    #[test]
    fn a_short_secret_counts_when_it_occurs_whole() {
        let secrets = SecretsInPlay::default().with("hunter22");
        assert!(secrets.leak_into("password hunter22 is wrong"));
        assert!(!secrets.leak_into("password hunter2 is wrong"));
    }

    #[test]
    fn an_empty_or_tiny_secret_hides_nothing() {
        assert!(!SecretsInPlay::default().with("").with("a").leak_into("a bad request"));
    }

    #[test]
    fn fifteen_characters_in_common_are_no_leak() {
        assert!(
            !SecretsInPlay::default()
                .with(SECRET)
                .leak_into(SECRET.get(..15).unwrap())
        );
    }
}
