//! Scopes in words: what a person allows.

/// What a scope lets the holder of a token do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Permission {
    Read,
    Send,
    /// Refresh tokens.
    Stay,
    /// Who signed in.
    Identity,
}

use Permission::{Identity, Read, Send, Stay};

/// What scopes mean, by the providers' own pages (`provider/catalogue.yaml` says which). A scope that is not here is shown as it is.
#[rustfmt::skip]
const KNOWN: &[(&str, &[Permission])] = &[
    ("https://mail.google.com/",                                 &[Read, Send]),
    ("https://www.googleapis.com/auth/gmail.readonly",           &[Read]),
    ("https://www.googleapis.com/auth/gmail.modify",             &[Read, Send]),
    ("https://www.googleapis.com/auth/gmail.send",               &[Send]),
    ("https://outlook.office.com/IMAP.AccessAsUser.All",         &[Read]),
    ("https://outlook.office.com/POP.AccessAsUser.All",          &[Read]),
    ("https://outlook.office.com/SMTP.Send",                     &[Send]),
    ("https://outlook.office365.com/IMAP.AccessAsUser.All",      &[Read]),
    ("https://outlook.office365.com/POP.AccessAsUser.All",       &[Read]),
    ("https://outlook.office365.com/SMTP.Send",                  &[Send]),
    ("https://outlook.office365.us/IMAP.AccessAsUser.All",       &[Read]),
    ("https://outlook.office365.us/POP.AccessAsUser.All",        &[Read]),
    ("https://outlook.office365.us/SMTP.Send",                   &[Send]),
    ("https://partner.outlook.cn/IMAP.AccessAsUser.All",         &[Read]),
    ("https://partner.outlook.cn/POP.AccessAsUser.All",          &[Read]),
    ("https://partner.outlook.cn/SMTP.Send",                     &[Send]),
    ("mail-r",                                                   &[Read]),
    ("mail-w",                                                   &[Read, Send]),
    ("mail:imap_ro",                                             &[Read]),
    ("mail:imap_full",                                           &[Read]),
    ("mail:smtp",                                                &[Send]),
    ("mail.imap",                                                &[Read, Send]),
    ("ZohoMail.messages.ALL",                                    &[Read, Send]),
    ("ZOHOMAIL.PROTOCOL.IMAP",                                   &[Read]),
    ("ZOHOMAIL.PROTOCOL.POP",                                    &[Read]),
    ("ZOHOMAIL.PROTOCOL.SMTP",                                   &[Send]),
    ("https://www.fastmail.com/dev/protocol-imap",               &[Read]),
    ("https://www.fastmail.com/dev/protocol-pop",                &[Read]),
    ("https://www.fastmail.com/dev/protocol-smtp",               &[Send]),
    ("https://email.comcast.net/",                               &[Read, Send]),
    ("urn:ietf:params:oauth:scope:mail",                         &[Read, Send]),
    ("offline_access",                                           &[Stay]),
    ("openid",                                                   &[Identity]),
    ("email",                                                    &[Identity]),
    ("profile",                                                  &[Identity]),
    ("login:email",                                              &[Identity]),
    ("https://www.googleapis.com/auth/userinfo.email",           &[Identity]),
];

/// What a sign-in asks a person for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// After "let somebody" and before the mailbox: "read and send mail as".
    pub(super) in_short: &'static str,
    /// One by one.
    pub(super) items: Vec<String>,
    /// As the provider calls them.
    pub(super) scopes: Vec<String>,
}

impl Asked {
    pub(super) fn of(scopes: &[String], mailbox: &str) -> Self {
        let mut permissions: Vec<Permission> = scopes.iter().flat_map(|scope| permissions(scope)).copied().collect();
        permissions.sort_unstable();
        permissions.dedup();
        // A refresh token is what all of this is for, whether a scope says so or not.
        let stay = "Keep this access, without asking you again, until you or an administrator withdraw it".to_owned();
        let mut items: Vec<_> = permissions
            .iter()
            .filter(|permission| **permission != Stay)
            .map(|permission| permission.in_words(mailbox))
            .collect();
        items.extend(
            scopes
                .iter()
                .filter(|scope| permissions_unknown(scope))
                .map(|scope| format!("What the provider calls {scope}")),
        );
        items.push(stay);
        Self {
            in_short: in_short(permissions.contains(&Read), permissions.contains(&Send)),
            items,
            scopes: scopes.to_vec(),
        }
    }
}

impl Permission {
    fn in_words(self, mailbox: &str) -> String {
        match self {
            Read => format!("Read, sort and delete mail in {mailbox}"),
            Send => format!("Send mail as {mailbox}"),
            Stay => "Keep this access until it is withdrawn".to_owned(),
            Identity => "See which account signs in, to be sure that it is the right one".to_owned(),
        }
    }
}

fn permissions(scope: &str) -> &'static [Permission] {
    KNOWN
        .iter()
        .find(|(known, _)| *known == scope)
        .map_or(&[], |(_, permissions)| permissions)
}

fn permissions_unknown(scope: &str) -> bool {
    permissions(scope).is_empty()
}

const fn in_short(read: bool, send: bool) -> &'static str {
    match (read, send) {
        (true, true) => "read and send mail as",
        (true, false) => "read the mail of",
        (false, true) => "send mail as",
        (false, false) => "use the mailbox",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(scopes: &[&str]) -> Asked {
        let scopes: Vec<_> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        Asked::of(&scopes, "jane@example.com")
    }

    #[test]
    fn scopes_are_said_in_a_persons_words() {
        for (scopes, words) in [
            (&["https://mail.google.com/", "openid"][..], "read and send mail as"),
            (
                &[
                    "https://outlook.office.com/IMAP.AccessAsUser.All",
                    "https://outlook.office.com/SMTP.Send",
                    "offline_access",
                ],
                "read and send mail as",
            ),
            (&["https://outlook.office.com/POP.AccessAsUser.All"], "read the mail of"),
            (&["mail:smtp"], "send mail as"),
            (&["urn:something"], "use the mailbox"),
        ] {
            assert_eq!(asked(scopes).in_short, words);
        }
    }

    #[test]
    fn a_scope_that_is_not_known_is_not_hidden() {
        let items = asked(&["https://mail.google.com/", "calendar.write"]).items;
        assert!(items.iter().any(|item| item.contains("calendar.write")), "{items:?}");
    }

    #[test]
    fn each_scope_that_a_provider_asks_a_person_for_is_said_in_words() {
        for (key, entry) in crate::provider::Catalogue::built_in().unwrap().entries() {
            if entry.authorization_url.is_none() {
                continue;
            }
            let servers = [&entry.smtp, &entry.imap, &entry.pop3].into_iter().flatten();
            let identity = entry.identity.iter().flat_map(|identity| &identity.scopes);
            for scope in servers
                .flat_map(|server| &server.scopes)
                .chain(&entry.scopes)
                .chain(identity)
            {
                assert!(!permissions_unknown(scope), "{key}: {scope}");
            }
        }
    }

    #[test]
    fn that_the_access_lasts_is_always_said() {
        for scopes in [&["offline_access"][..], &["https://mail.google.com/"]] {
            let lasting = asked(scopes)
                .items
                .iter()
                .filter(|item| item.contains("withdraw"))
                .count();
            assert_eq!(lasting, 1);
        }
    }
}
