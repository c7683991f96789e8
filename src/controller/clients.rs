//! OAuth clients that were read, kept as long as their Secrets stay as they are.
//!
//! Hundreds of assets share one client: without this each refresh would read the same Secret again. An entry counts only while the watch shows the edition that was
//! read; a Secret that changes is read again. So few are kept that the memory is bounded, and their secrets print nowhere.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::{
    lifecycle::InputVersion,
    store::{Key, inputs::Client},
};

/// More than this many clients are rarely in use; a cluster that has more reads some of them again.
const MOST: usize = 256;

/// A client's Secret as it was read: its edition, and the client or what is wrong with it.
pub(super) type ClientRead = (InputVersion, Result<Client, String>);

/// Clients by their Secrets.
#[derive(Default)]
pub(super) struct Clients(Mutex<HashMap<Key, ClientRead>>);

impl Clients {
    /// The client in this edition of the Secret, if it was read.
    pub(super) fn get(&self, secret: &Key, edition: &InputVersion) -> Option<ClientRead> {
        let clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clients.get(secret).filter(|(read, _)| read == edition).cloned()
    }

    /// Remembers what was read.
    pub(super) fn keep(&self, secret: Key, read: ClientRead) {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= MOST && !clients.contains_key(&secret) {
            clients.clear();
        }
        clients.insert(secret, read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(edition: &str) -> ClientRead {
        let client = Client {
            id: Some("id".to_owned()),
            secret: None,
            key: None,
            service_account: None,
            registration: None,
        };
        (InputVersion(edition.to_owned()), Ok(client))
    }

    #[test]
    fn a_client_is_known_in_the_edition_that_was_read_only() {
        let clients = Clients::default();
        let secret = Key::new("here", "client");
        clients.keep(secret.clone(), read("u/1"));
        assert!(clients.get(&secret, &InputVersion("u/1".to_owned())).is_some());
        assert!(clients.get(&secret, &InputVersion("u/2".to_owned())).is_none());
    }

    #[test]
    fn their_number_is_bounded() {
        let clients = Clients::default();
        for number in 0..=MOST {
            clients.keep(Key::new("here", &number.to_string()), read("u/1"));
        }
        assert!(clients.0.lock().unwrap().len() <= MOST);
    }
}
