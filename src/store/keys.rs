//! The operator's own keys: they seal what goes through people's browsers and make links. All replicas use the same ones, so they stand in a Secret of the
//! operator's own namespace, which is created once and never changed.

use secrecy::{ExposeSecret, SecretString};

use super::{
    index::{Key, Kind},
    secrets::{Contents, Draft, Secrets, StoreError},
};
use crate::api::names;

/// The key of the Secret's data.
const KEY: &str = "key";

/// Why the operator has no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The API server could not be asked.
    #[error("Secret {0} with the operator's own keys can be neither read nor created")]
    Store(Key, #[source] StoreError),
    /// Somebody put something else there.
    #[error(
        "Secret {0} holds no key of ours: expected 64 hexadecimal digits under `key`. Delete it, and a new one is made; sign-in links change with it"
    )]
    Unusable(Key),
}

impl Secrets {
    /// The operator's own keys. Where there are none yet, `fresh` becomes them, unless another replica is faster.
    ///
    /// # Errors
    /// [`KeysError`].
    pub async fn own_keys(&self, namespace: &str, fresh: &SecretString) -> Result<SecretString, KeysError> {
        let key = Key::new(namespace, names::KEYS_SECRET);
        let store = |error| KeysError::Store(key.clone(), error);
        if let Some(contents) = self.read(&key).await.map_err(store)? {
            return usable(&key, &contents);
        }
        let draft = Draft {
            kind: Kind::Other,
            annotations: [].into(),
            labels: super::token::own_labels(),
            owner: None,
            data: [(KEY.to_owned(), fresh.clone())].into(),
        };
        match self.create(&key, draft).await {
            Ok(_) => Ok(fresh.clone()),
            Err(StoreError::Exists(_)) => match self.read(&key).await.map_err(store)? {
                Some(contents) => usable(&key, &contents),
                None => Err(KeysError::Unusable(key)),
            },
            Err(error) => Err(store(error)),
        }
    }
}

fn usable(key: &Key, contents: &Contents) -> Result<SecretString, KeysError> {
    let hexadecimal = |text: &SecretString| {
        let text = text.expose_secret();
        text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    contents
        .text(KEY)
        .ok()
        .filter(hexadecimal)
        .ok_or_else(|| KeysError::Unusable(key.clone()))
}
