//! `emailproxy.config` of email-oauth2-proxy: an INI file with a section for each account.
//!
//! Format: simonrob/email-oauth2-proxy `emailproxy.config` and `emailproxy.py`. Tokens are kept there encrypted (Fernet) with the password that the mail client
//! uses towards the proxy, and sometimes the client secret is too.

use super::account::{Account, Seed, filled};

/// Base64 of what every Fernet value begins with: version 0x80 and the first bytes of a time (cryptography.io: Fernet specification).
const FERNET: &str = "gAAAA";

/// Whether a text looks like such a file.
pub(super) fn looks_like_it(text: &str) -> bool {
    sections(text).iter().any(|section| section.get("token_url").is_some())
}

/// The accounts in it.
pub(super) fn accounts(text: &str) -> Vec<Account> {
    sections(text)
        .into_iter()
        .filter(|section| section.get("token_url").is_some() || section.get("client_id").is_some())
        .map(Section::account)
        .collect()
}

/// A section of an INI file, as Python's configparser reads it.
struct Section {
    name: String,
    entries: Vec<(String, String)>,
}

impl Section {
    fn get(&self, key: &str) -> Option<String> {
        let found = self.entries.iter().rev().find(|(known, _)| known == key);
        // The file that comes with the tool says "*** your client id here ***".
        filled(found.map(|(_, value)| value.clone())).filter(|value| !value.starts_with("***"))
    }

    fn account(self) -> Account {
        let mut account = Account {
            email: Some(self.name.clone()).filter(|name| name.contains('@')),
            client_id: self.get("client_id"),
            client_secret: self.get("client_secret").map(Into::into),
            token_url: self.get("token_url"),
            authorization_url: self.get("permission_url"),
            scopes: self
                .get("oauth2_scope")
                .map(|scopes| scopes.split_whitespace().map(str::to_owned).collect())
                .unwrap_or_default(),
            seed: match self.get("refresh_token") {
                Some(token) if token.starts_with(FERNET) => Seed::Encrypted(ENCRYPTED.to_owned()),
                token => Seed::of(token),
            },
            ..Account::default()
        };
        if account.client_secret.is_none() && self.get("client_secret_encrypted").is_some() {
            account.notes.push(
                "The client secret is encrypted in the file too: put it into a Secret with the keys client_id and client_secret, and name that with --client-secret-ref."
                    .to_owned(),
            );
        }
        account.label = Some(self.name);
        account
    }
}

const ENCRYPTED: &str = "its tokens are encrypted with the password that the mail client uses towards the proxy. Run this again with --sign-in: then the manifests ask for one sign-in by the person of the mailbox, with the same OAuth client, and nothing has to be decrypted";

fn sections(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        let indented = line.starts_with([' ', '\t']);
        if !indented && let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            sections.push(Section {
                name: name.trim().to_owned(),
                entries: Vec::new(),
            });
            continue;
        }
        let Some(section) = sections.last_mut() else { continue };
        match (indented, section.entries.last_mut()) {
            // A value goes on in lines that are indented.
            (true, Some((_, value))) => {
                value.push(' ');
                value.push_str(trimmed);
            }
            _ => {
                if let Some((key, value)) = trimmed.split_once(['=', ':']) {
                    section
                        .entries
                        .push((key.trim().to_lowercase(), value.trim().to_owned()));
                }
            }
        }
    }
    sections
}
