//! What a provider sends the browser back with (RFC 6749 section 4.1.2, RFC 9207).

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use url::form_urlencoded;

use crate::plugin::terminal::harmless;

/// Longest code that is taken, in bytes. RFC 6749 sets no bound; those of Microsoft have about 1,500.
const LONGEST_CODE: usize = 8 * 1024;
/// Longest `iss`, in bytes.
const LONGEST_ISSUER: usize = 2 * 1024;
/// Longest piece of a provider's words that a person is shown, in characters.
const LONGEST_WORDS: usize = 300;

/// What a request to the loopback page means.
pub(super) enum Callback {
    /// The person consented.
    Consented(Consented),
    /// The provider sent the person back without a code.
    Refused(Refused),
    /// It is not the answer that is waited for: nothing is taken from it.
    Stray,
}

/// A consent on its way to the operator. It cannot be printed.
pub(super) struct Consented {
    /// The authorization code.
    pub(super) code: SecretString,
    /// Who says so (RFC 9207), where the provider names itself.
    pub(super) issuer: Option<String>,
}

/// A refusal in the provider's words, made harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// The error code.
    pub(super) error: String,
    /// What the provider says about it.
    pub(super) description: Option<String>,
}

/// Reads the query of a request. An answer without the state of this sign-in is stray, whoever sent it.
pub(super) fn read(query: &str, state: &SecretString) -> Callback {
    let mut given = Given::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let place = match name.as_ref() {
            "state" => &mut given.state,
            "code" => &mut given.code,
            "iss" => &mut given.issuer,
            "error" => &mut given.error,
            "error_description" => &mut given.description,
            _ => continue,
        };
        // A parameter that is there twice could mean one thing to us and another to the operator (RFC 6749 section 3.1).
        if place.replace(value.into_owned()).is_some() {
            return Callback::Stray;
        }
    }
    if !given.state.as_deref().is_some_and(|given| is_same(given, state)) {
        return Callback::Stray;
    }
    match (given.code, given.error) {
        (_, Some(error)) => Callback::Refused(Refused {
            error: harmless(&error, LONGEST_WORDS),
            description: given
                .description
                .map(|words| harmless(&words, LONGEST_WORDS))
                .filter(|words| !words.is_empty()),
        }),
        (Some(code), None) if is_plain(&code, LONGEST_CODE) => match given.issuer {
            Some(issuer) if !is_plain(&issuer, LONGEST_ISSUER) => Callback::Stray,
            issuer => Callback::Consented(Consented {
                code: code.into(),
                issuer,
            }),
        },
        _ => Callback::Stray,
    }
}

#[derive(Default)]
struct Given {
    state: Option<String>,
    code: Option<String>,
    issuer: Option<String>,
    error: Option<String>,
    description: Option<String>,
}

/// Compares digests, so that the time it takes says nothing about how much of a guess is right.
fn is_same(given: &str, expected: &SecretString) -> bool {
    Sha256::digest(given) == Sha256::digest(expected.expose_secret())
}

/// RFC 6749 appendix A.11: visible characters and spaces.
fn is_plain(text: &str, longest: usize) -> bool {
    !text.is_empty() && text.len() <= longest && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(query: &str) -> String {
        match read(query, &"right".into()) {
            Callback::Consented(consented) => {
                format!("code {} of {:?}", consented.code.expose_secret(), consented.issuer)
            }
            Callback::Refused(refused) => format!("refused {} {:?}", refused.error, refused.description),
            Callback::Stray => "stray".to_owned(),
        }
    }

    #[test]
    fn an_answer_is_taken_only_with_the_state_of_this_sign_in() {
        assert_eq!(
            told("code=a%2Fb&state=right&iss=https%3A%2F%2Fid.example&scope=x"),
            "code a/b of Some(\"https://id.example\")"
        );
        assert_eq!(told("state=right&code=abc"), "code abc of None");
        for query in [
            "code=abc&state=wrong",
            "code=abc&state=",
            "code=abc",
            "code=abc&state=right&state=right",
            "code=abc&code=def&state=right",
            "state=right",
            "",
            "code=&state=right",
            "code=a%0Ab&state=right",
            "code=abc&state=right&iss=%00",
            "error=access_denied&state=wrong",
        ] {
            assert_eq!(told(query), "stray", "{query}");
        }
    }

    #[test]
    fn a_code_longer_than_any_provider_makes_is_not_taken() {
        assert_eq!(told(&format!("state=right&code={}", "a".repeat(9_000))), "stray");
    }

    #[test]
    fn a_refusal_is_shown_without_what_could_steer_a_terminal() {
        assert_eq!(
            told("error=access_denied&error_description=No%1B%5B2J+thanks&state=right"),
            "refused access_denied Some(\"No [2J thanks\")"
        );
        assert_eq!(
            told("error=access_denied&code=abc&state=right"),
            "refused access_denied None"
        );
    }
}
