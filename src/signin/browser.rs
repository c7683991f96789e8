//! Which browser is it? A random number in a cookie, which ties a state to the browser that it was made for.
//!
//! Without it somebody could begin a sign-in, hand the address of the provider to another person, and have that person's consent arrive as an answer to their own
//! sign-in, or the other way round (login CSRF; RFC 9700 section 4.7).

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, header::COOKIE};
use rand::RngCore;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::Links;

/// Bytes of randomness in a browser's number.
const RANDOM: usize = 32;
/// The characters that make up [`RANDOM`] bytes.
const CHARACTERS: usize = 43;
/// For so long a browser keeps the number. A sign-in takes minutes, its last page lives for an hour.
const SECONDS: u32 = 3600;

/// A browser's random number. Whoever knows it can finish the sign-ins that it began.
#[derive(Clone)]
pub(super) struct BrowserId(SecretString);

impl BrowserId {
    /// A new one.
    pub(super) fn random() -> Self {
        let mut bytes = [0; RANDOM];
        rand::rng().fill_bytes(&mut bytes);
        Self(URL_SAFE_NO_PAD.encode(bytes).into())
    }

    /// The one that this browser was given before.
    pub(super) fn of(headers: &HeaderMap, links: &Links) -> Option<Self> {
        let name = cookie_name(links);
        headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|header| header.to_str().ok())
            .flat_map(|header| header.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .find(|(found, value)| *found == name && is_ours(value))
            .map(|(_, value)| Self(value.into()))
    }

    /// The value of `Set-Cookie`. `Lax` lets it come along when the provider sends the person back, and with no other request of another site.
    pub(super) fn cookie(&self, links: &Links) -> Option<HeaderValue> {
        let secure = if links.over_tls() { "; Secure" } else { "" };
        let cookie = format!(
            "{}={}; Path=/; Max-Age={SECONDS}; HttpOnly; SameSite=Lax{secure}",
            cookie_name(links),
            self.0.expose_secret()
        );
        let mut value = HeaderValue::try_from(cookie).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// What a state may know of the browser: enough to recognise it, not enough to be it.
    pub(super) fn digest(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.0.expose_secret()))
    }

    pub(super) fn secret(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for BrowserId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("BrowserId([REDACTED])")
    }
}

/// Browsers take a cookie whose name begins with `__Host-` from this very host over TLS only (RFC 6265bis section 4.1.3.2), so no other host of our domain can plant one.
fn cookie_name(links: &Links) -> &'static str {
    if links.over_tls() {
        "__Host-emailasset-browser"
    } else {
        "emailasset-browser"
    }
}

fn is_ours(value: &str) -> bool {
    value.len() == CHARACTERS
        && value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
