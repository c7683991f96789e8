//! What `pizauth dump` writes.
//!
//! Format, version 1 (ltratt/pizauth `src/server/state.rs`, `src/config.rs`): a nonce of 12 bytes, then ChaCha20-Poly1305 under a key that is in pizauth's source
//! (it keeps tokens from `grep`, no more), around the fields in bincode's fixed form: integers little-endian, texts and lists with their length in 8 bytes
//! before them, an option with one byte.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::account::{Account, Seed, filled};

/// Not a secret: every pizauth has it.
const KEY: [u8; 32] = [
    0x66, 0xa2, 0x47, 0xa8, 0x5e, 0x48, 0xcf, 0xec, 0xaa, 0xed, 0x9b, 0x36, 0xeb, 0xa9, 0x7d, 0x53, 0x50, 0xd4, 0x28,
    0x63, 0x75, 0x09, 0x7a, 0x44, 0xee, 0xff, 0xb9, 0xc4, 0x54, 0x6b, 0x65, 0xa3,
];
const VERSION: u64 = 1;

/// Why a file is no dump that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoDump {
    /// It does not open with pizauth's key.
    NotPizauth,
    /// It does, and what is inside is not version 1.
    UnknownForm,
}

/// The accounts of a dump.
pub(super) fn accounts(file: &[u8]) -> Result<Vec<Account>, NoDump> {
    let (nonce, sealed) = file.split_at_checked(NONCE_LEN).ok_or(NoDump::NotPizauth)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| NoDump::NotPizauth)?;
    let key = UnboundKey::new(&CHACHA20_POLY1305, &KEY).map_err(|_| NoDump::NotPizauth)?;
    let mut sealed = sealed.to_vec();
    let opened = LessSafeKey::new(key)
        .open_in_place(nonce, Aad::empty(), &mut sealed)
        .map_err(|_| NoDump::NotPizauth)?;
    let mut reader = Reader(opened);
    read(&mut reader).ok_or(NoDump::UnknownForm)
}

fn read(reader: &mut Reader<'_>) -> Option<Vec<Account>> {
    if reader.number()? != VERSION {
        return None;
    }
    let accounts = reader.list(account)?;
    reader.0.is_empty().then_some(accounts)
}

fn account(reader: &mut Reader<'_>) -> Option<Account> {
    let label = reader.text()?;
    let authorization_url = reader.text()?;
    let fields = reader.list(|reader| Some((reader.text()?, reader.text()?)))?;
    let client_id = reader.text()?;
    let client_secret = reader.text_or_nothing()?;
    let _redirect_uri = reader.text()?;
    let scopes = reader.list(Reader::text)?;
    let token_url = reader.text()?;
    let seed = match reader.bytes(4)? {
        [0, 0, 0, 0] => None,
        [1, 0, 0, 0] => {
            let _access_token = reader.text()?;
            // Two times, each of seconds and nanoseconds.
            reader.bytes(2 * 12)?;
            Some(reader.text_or_nothing()?)
        }
        _ => return None,
    };
    let hint = fields.into_iter().find(|(name, _)| name == "login_hint");
    Some(Account {
        email: hint
            .map(|(_, email)| email)
            .or_else(|| Some(label.clone()))
            .filter(|email| email.contains('@')),
        label: Some(label),
        seed: Seed::of(seed),
        client_id: Some(client_id),
        client_secret: filled(Some(client_secret)).map(Into::into),
        token_url: Some(token_url),
        authorization_url: Some(authorization_url),
        scopes,
        ..Account::default()
    })
}

/// What has not been read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (read, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(read)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        Some(std::str::from_utf8(self.bytes(length)?).ok()?.to_owned())
    }

    /// An optional text; empty where there is none.
    fn text_or_nothing(&mut self) -> Option<String> {
        match self.bytes(1)? {
            [0] => Some(String::new()),
            [1] => self.text(),
            _ => None,
        }
    }

    fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let length = self.number()?;
        // An entry has bytes, so a length that lies ends where these do.
        (0..length).map(|_| read(self)).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A dump as pizauth would write it.
    pub(in crate::plugin::import) fn dump(version: u64) -> Vec<u8> {
        let mut plain = Vec::new();
        let number = |plain: &mut Vec<u8>, number: u64| plain.extend(number.to_le_bytes());
        let text = |plain: &mut Vec<u8>, text: &str| {
            plain.extend((text.len() as u64).to_le_bytes());
            plain.extend(text.as_bytes());
        };
        number(&mut plain, version);
        number(&mut plain, 2);
        // An account with a token.
        text(&mut plain, "officesmtp");
        text(
            &mut plain,
            "https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
        );
        number(&mut plain, 1);
        text(&mut plain, "login_hint");
        text(&mut plain, "jane@contoso.example");
        text(&mut plain, "client-1");
        plain.push(1);
        text(&mut plain, "client-secret-1");
        text(&mut plain, "http://localhost/");
        number(&mut plain, 2);
        text(&mut plain, "https://outlook.office365.com/SMTP.Send");
        text(&mut plain, "offline_access");
        text(&mut plain, "https://login.microsoftonline.com/common/oauth2/v2.0/token");
        plain.extend([1, 0, 0, 0]);
        text(&mut plain, "access-1");
        for _ in 0..2 {
            number(&mut plain, 1_790_000_000);
            plain.extend(5_u32.to_le_bytes());
        }
        plain.push(1);
        text(&mut plain, "refresh-1");
        // One that nobody signed in for yet.
        text(&mut plain, "empty");
        text(&mut plain, "https://id.example/auth");
        number(&mut plain, 0);
        text(&mut plain, "client-2");
        plain.push(0);
        text(&mut plain, "http://localhost/");
        number(&mut plain, 0);
        text(&mut plain, "https://id.example/token");
        plain.extend([0, 0, 0, 0]);

        let nonce = [7; NONCE_LEN];
        let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &KEY).unwrap());
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut plain)
            .unwrap();
        [nonce.as_slice(), &plain].concat()
    }

    #[test]
    fn a_dump_is_read_account_by_account() {
        let accounts = accounts(&dump(1)).unwrap();
        assert_eq!(accounts.len(), 2);
        assert_eq!(accounts[0].label.as_deref(), Some("officesmtp"));
        assert_eq!(accounts[0].email.as_deref(), Some("jane@contoso.example"));
        assert!(matches!(&accounts[0].seed, Seed::Token(_)));
        assert!(matches!(&accounts[1].seed, Seed::Missing));
        assert!(accounts[1].client_secret.is_none());
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_inside_a_dump_is_read_or_refused(inside in proptest::collection::vec(0_u8..4, 0..200)) {
            let _ = read(&mut Reader(&inside));
            let _ = accounts(&inside);
        }
    }

    #[test]
    fn what_is_no_dump_or_another_version_is_said() {
        assert_eq!(accounts(b"").err(), Some(NoDump::NotPizauth));
        assert_eq!(accounts(&[0; 200]).err(), Some(NoDump::NotPizauth));
        assert_eq!(accounts(&dump(2)).err(), Some(NoDump::UnknownForm));
        let mut changed = dump(1);
        changed[30] ^= 1;
        assert_eq!(accounts(&changed).err(), Some(NoDump::NotPizauth));
    }
}
