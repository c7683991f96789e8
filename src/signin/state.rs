//! What a sign-in has to remember while the person is at the provider.
//!
//! It travels as `state` through the browser and the provider, sealed: nobody can read, make or change one. The PKCE verifier is not in it. It is derived anew from the
//! operator's key, the browser's number and the nonce, so a stolen state alone redeems nothing (RFC 7636; RFC 9700 section 2.1.1).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use rand::RngCore;
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    Offer,
    browser::BrowserId,
    keys::{Keys, Seal},
};

/// So long a person may take at the provider.
pub(super) const LIFE: SignedDuration = SignedDuration::from_mins(10);
/// A sealed state is shorter than this many characters; a longer one is not looked at.
pub(super) const LONGEST: usize = 2048;
/// Bytes of randomness in a nonce.
const RANDOM: usize = 16;

/// The memory of one sign-in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    #[serde(rename = "s")]
    pub(super) namespace: String,
    #[serde(rename = "a")]
    pub(super) name: String,
    #[serde(rename = "u")]
    pub(super) uid: String,
    /// The provider that the person was sent to.
    #[serde(rename = "k")]
    pub(super) callback_key: String,
    /// Random: it tells sign-ins apart, goes into the ID token and into the verifier.
    #[serde(rename = "n")]
    pub(super) nonce: String,
    /// When the grant was given that was in use as the sign-in began.
    #[serde(rename = "g", skip_serializing_if = "Option::is_none", default)]
    pub(super) granted: Option<Timestamp>,
    #[serde(rename = "e")]
    pub(super) expires: Timestamp,
    /// Digest of the browser's number.
    #[serde(rename = "b")]
    browser: String,
}

impl State {
    /// For a sign-in that begins now, in this browser.
    pub(super) fn begin(offer: &Offer, browser: &BrowserId, now: Timestamp) -> Self {
        let mut nonce = [0; RANDOM];
        rand::rng().fill_bytes(&mut nonce);
        Self {
            namespace: offer.namespace.clone(),
            name: offer.name.clone(),
            uid: offer.uid.clone(),
            callback_key: offer.callback_key.clone(),
            nonce: URL_SAFE_NO_PAD.encode(nonce),
            granted: offer.granted,
            expires: now.saturating_add(LIFE).unwrap_or(now),
            browser: browser.digest(),
        }
    }

    pub(super) fn seal(&self, keys: &Keys) -> Option<String> {
        let text = serde_json::to_vec(self).ok()?;
        Some(URL_SAFE_NO_PAD.encode(keys.seal(Seal::State, &text)?))
    }

    /// None: it was not made by us, or it was changed on its way.
    pub(super) fn unseal(keys: &Keys, sealed: &str) -> Option<Self> {
        if sealed.len() > LONGEST {
            return None;
        }
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        serde_json::from_slice(&keys.unseal(Seal::State, &sealed)?).ok()
    }

    /// Whether this is the browser that the sign-in began in. What is compared is a digest, and the other side of it is sealed: its timing tells nothing.
    pub(super) fn began_in(&self, browser: Option<&BrowserId>) -> bool {
        browser.is_some_and(|browser| browser.digest() == self.browser)
    }

    /// The PKCE verifier: 43 characters, as RFC 7636 section 4.1 recommends.
    pub(super) fn verifier(&self, keys: &Keys, browser: &BrowserId) -> SecretString {
        let mut context = hmac::Context::with_key(keys.verifiers());
        for part in [browser.secret(), &self.nonce, &self.uid] {
            context.update(part.as_bytes());
            context.update(&[0]);
        }
        URL_SAFE_NO_PAD.encode(context.sign()).into()
    }
}

/// What the provider is told of a verifier (RFC 7636 section 4.2, method S256).
pub(super) fn challenge(verifier: &SecretString) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose_secret()))
}
