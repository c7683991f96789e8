//! The operator's own keys: from 32 random bytes that all replicas share, one key for each purpose.
//!
//! The bytes stand in a Secret and are made once. Each purpose gets a key of its own (HKDF-SHA256, RFC 5869), so that what was made for one is worth nothing for
//! another: a sealed result cannot be handed in as a state.

use std::fmt;

use rand::{RngCore, rngs::OsRng};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf, hmac,
};
use secrecy::{SecretSlice, zeroize::Zeroizing};

/// The operator's keys hold this many bytes.
pub const LENGTH: usize = 32;

/// The operator's own keys. Printing them prints nothing; copies are cheap enough for start-up, not more.
pub struct Keys {
    /// For links: whoever has one was given it by us.
    links: hmac::Key,
    /// For PKCE verifiers.
    verifiers: hmac::Key,
    states: LessSafeKey,
    results: LessSafeKey,
}

/// What a sealed text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seal {
    /// The state that goes to the provider and back.
    State,
    /// How a sign-in ended, in the address of its last page.
    Result,
}

/// The bytes are no key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// There are too few or too many.
    #[error(
        "the operator's keys must be {LENGTH} bytes, but there are {found}; delete the Secret, and new ones are made (links and sign-ins in use then end)"
    )]
    Length {
        /// Bytes that were found.
        found: usize,
    },
    /// The cryptographic library refused to derive a key. Not seen, and not expected.
    #[error("no key could be derived from the operator's keys")]
    Derivation,
}

/// The system gives no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes for new keys")]
pub struct NoRandomness(#[source] rand::rand_core::OsError);

impl Keys {
    /// Derives all keys from the shared bytes.
    ///
    /// # Errors
    /// [`KeysError::Length`], unless there are [`LENGTH`] bytes.
    pub fn new(shared: &[u8]) -> Result<Self, KeysError> {
        if shared.len() != LENGTH {
            return Err(KeysError::Length { found: shared.len() });
        }
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"emailasset.dev").extract(shared);
        Ok(Self {
            links: authentication_key(&root, b"sign-in links")?,
            verifiers: authentication_key(&root, b"sign-in verifiers")?,
            states: sealing_key(&root, b"sign-in states")?,
            results: sealing_key(&root, b"sign-in results")?,
        })
    }

    /// New bytes, to be kept where all replicas read them.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn generate() -> Result<SecretSlice<u8>, NoRandomness> {
        let mut bytes = Zeroizing::new(vec![0; LENGTH]);
        rand::TryRngCore::try_fill_bytes(&mut OsRng, &mut bytes).map_err(NoRandomness)?;
        Ok(SecretSlice::from(bytes.to_vec()))
    }

    /// The key of links.
    pub(super) const fn links(&self) -> &hmac::Key {
        &self.links
    }

    /// The key of PKCE verifiers.
    pub(super) const fn verifiers(&self) -> &hmac::Key {
        &self.verifiers
    }

    /// Encrypts and authenticates. None: the text is longer than the cipher takes.
    ///
    /// The nonce is random: safe for 2^32 texts under one key, which is 2.7 years of answering 50 requests a second.
    pub(super) fn seal(&self, seal: Seal, text: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        rand::rng().fill_bytes(&mut nonce);
        let mut sealed = text.to_vec();
        self.sealing(seal)
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)
            .ok()?;
        Some([nonce.as_slice(), &sealed].concat())
    }

    /// What was sealed. None: this was not sealed by us for this purpose.
    pub(super) fn unseal(&self, seal: Seal, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = text.to_vec();
        let length = self
            .sealing(seal)
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::empty(), &mut text)
            .ok()?
            .len();
        text.truncate(length);
        Some(text)
    }

    const fn sealing(&self, seal: Seal) -> &LessSafeKey {
        match seal {
            Seal::State => &self.states,
            Seal::Result => &self.results,
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Keys([REDACTED])")
    }
}

fn authentication_key(root: &hkdf::Prk, purpose: &[u8]) -> Result<hmac::Key, KeysError> {
    let purpose = [purpose];
    let derived = root.expand(&purpose, hmac::HMAC_SHA256);
    derived.map(Into::into).map_err(|_| KeysError::Derivation)
}

fn sealing_key(root: &hkdf::Prk, purpose: &[u8]) -> Result<LessSafeKey, KeysError> {
    let purpose = [purpose];
    let derived = root.expand(&purpose, &CHACHA20_POLY1305);
    derived
        .map(|key| LessSafeKey::new(UnboundKey::from(key)))
        .map_err(|_| KeysError::Derivation)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn keys() -> Keys {
        Keys::new(&[7; LENGTH]).unwrap()
    }

    #[test]
    fn what_is_sealed_can_be_unsealed_by_every_replica() {
        let sealed = keys().seal(Seal::State, b"words").unwrap();
        assert_eq!(keys().unseal(Seal::State, &sealed).unwrap(), b"words");
        assert!(!sealed.windows(5).any(|window| window == b"words"));
    }

    #[test]
    fn every_change_of_a_sealed_text_is_noticed() {
        let sealed = keys().seal(Seal::State, b"words").unwrap();
        for position in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[position] ^= 1;
            assert_eq!(keys().unseal(Seal::State, &forged), None, "byte {position}");
            assert_eq!(
                keys().unseal(Seal::State, &sealed[..position]),
                None,
                "cut at {position}"
            );
        }
    }

    #[test]
    fn a_result_is_no_state() {
        let sealed = keys().seal(Seal::Result, b"words").unwrap();
        assert_eq!(keys().unseal(Seal::State, &sealed), None);
    }

    #[test]
    fn other_keys_open_nothing() {
        let sealed = keys().seal(Seal::State, b"words").unwrap();
        let other = Keys::new(&[8; LENGTH]).unwrap();
        assert_eq!(other.unseal(Seal::State, &sealed), None);
    }

    #[test]
    fn generated_keys_are_of_the_right_length_and_differ() {
        let (one, other) = (Keys::generate().unwrap(), Keys::generate().unwrap());
        assert_eq!(one.expose_secret().len(), LENGTH);
        assert_ne!(one.expose_secret(), other.expose_secret());
        assert!(Keys::new(one.expose_secret()).is_ok());
    }

    #[test]
    fn a_wrong_length_is_named() {
        let error = Keys::new(&[0; 31]).unwrap_err();
        assert!(
            error.to_string().contains("must be 32 bytes, but there are 31"),
            "{error}"
        );
    }

    #[test]
    fn keys_print_nothing() {
        assert_eq!(format!("{:?}", keys()), "Keys([REDACTED])");
    }
}
