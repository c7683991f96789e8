//! The authorization request of one sign-in: what the operator prepared, with what only this machine knows.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use url::Url;

use crate::plugin::exit::{Exit, Problem};

/// The parameters that belong to this sign-in. What the operator prepared has none of them, and if it had, ours win.
const OWN: [&str; 5] = [
    "redirect_uri",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
];

/// The secrets of one sign-in.
pub(super) struct Secrets {
    /// PKCE verifier (RFC 7636 section 4.1): 32 random bytes, 43 characters.
    pub(super) verifier: SecretString,
    /// Ties the answer to this request (RFC 6749 section 10.12).
    pub(super) state: SecretString,
    /// Ties the ID token to this request (OpenID Connect Core section 3.1.2.1).
    pub(super) nonce: String,
}

impl Secrets {
    /// New ones, from the system's random numbers.
    pub(super) fn make() -> Result<Self, Problem> {
        Ok(Self {
            verifier: random()?.into(),
            state: random()?.into(),
            nonce: random()?,
        })
    }
}

fn random() -> Result<String, Problem> {
    let mut bytes = [0; 32];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Problem::new(Exit::Found, "This system gives no random numbers."))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The link to open: the prepared request with redirect URI, state, nonce and challenge.
///
/// Anybody who may edit the asset can choose the page, so a person is shown its host, and nothing but https is opened.
pub(super) fn link(prepared: &str, redirect_uri: &str, secrets: &Secrets) -> Result<Url, Problem> {
    let unusable = || {
        Problem::new(
            Exit::Found,
            "status.signIn.authorizationRequest is no https URL with a host, so it is not opened. Look at spec.oauth2.authorizationURL of the asset.",
        )
    };
    let mut link = Url::parse(prepared).map_err(|_| unusable())?;
    if link.scheme() != "https" || link.host_str().is_none() {
        return Err(unusable());
    }
    let kept: Vec<(String, String)> = link
        .query_pairs()
        .filter(|(name, _)| !OWN.contains(&name.as_ref()))
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(secrets.verifier.expose_secret()));
    link.query_pairs_mut()
        .clear()
        .extend_pairs(kept)
        .append_pair("redirect_uri", redirect_uri)
        .append_pair("state", secrets.state.expose_secret())
        .append_pair("nonce", &secrets.nonce)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256");
    Ok(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREPARED: &str = "https://accounts.google.com/o/oauth2/v2/auth?client_id=1&scope=https%3A%2F%2Fmail.google.com%2F&response_type=code&access_type=offline";

    #[test]
    fn a_link_is_the_prepared_request_with_what_only_this_machine_knows() {
        // The pair of RFC 7636, appendix B.
        let secrets = Secrets {
            verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into(),
            state: "s".into(),
            nonce: "n".to_owned(),
        };
        let link = link(PREPARED, "http://127.0.0.1:4711", &secrets).unwrap();
        assert_eq!(
            link.as_str(),
            format!(
                "{PREPARED}&redirect_uri=http%3A%2F%2F127.0.0.1%3A4711&state=s&nonce=n\
                 &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256"
            )
        );
    }

    #[test]
    fn a_prepared_request_cannot_choose_where_the_code_goes() {
        let secrets = Secrets::make().unwrap();
        let prepared = format!("{PREPARED}&redirect_uri=https%3A%2F%2Fevil.example&state=known");
        let link = link(&prepared, "http://127.0.0.1:4711", &secrets).unwrap();
        let found: Vec<_> = link
            .query_pairs()
            .filter(|(name, _)| name == "redirect_uri" || name == "state")
            .collect();
        assert_eq!(found.len(), 2);
        assert!(!link.as_str().contains("evil"));
    }

    #[test]
    fn nothing_but_https_is_opened() {
        let secrets = Secrets::make().unwrap();
        for prepared in [
            "http://login.example.com/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "x",
            "",
        ] {
            assert!(
                link(prepared, "http://127.0.0.1:1", &secrets).is_err(),
                "{prepared:?} was accepted"
            );
        }
    }

    #[test]
    fn every_sign_in_has_secrets_of_its_own_long_enough_for_pkce() {
        let (one, other) = (Secrets::make().unwrap(), Secrets::make().unwrap());
        assert_eq!(one.verifier.expose_secret().len(), 43);
        assert_ne!(one.verifier.expose_secret(), other.verifier.expose_secret());
        assert_ne!(one.state.expose_secret(), one.verifier.expose_secret());
    }
}
