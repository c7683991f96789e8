//! What stands in each file, and what can never come to stand in one.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;
use crate::api::Format as F;
use crate::store::token::keys;

fn server(host: &str, port: u16, security: Security, username: &str) -> Server {
    Server {
        host: host.to_owned(),
        port,
        security,
        username: username.to_owned(),
    }
}

/// A mailbox whose words a test chooses.
struct Words {
    email: String,
    username: String,
    smtp: Option<Server>,
    imap: Option<Server>,
    pop3: Option<Server>,
    mechanisms: Vec<Mechanism>,
}

impl Words {
    fn plain() -> Self {
        Self::with("support@example.com", "support@example.com", "mail.example.com")
    }

    fn with(email: &str, username: &str, host: &str) -> Self {
        Self {
            email: email.to_owned(),
            username: username.to_owned(),
            smtp: Some(server(host, 587, Security::StartTls, username)),
            imap: Some(server(host, 993, Security::Tls, username)),
            pop3: None,
            mechanisms: Vec::new(),
        }
    }

    fn mailbox(&self) -> Mailbox<'_> {
        Mailbox {
            secret: "support-mail",
            email: &self.email,
            username: &self.username,
            smtp: self.smtp.as_ref(),
            imap: self.imap.as_ref(),
            pop3: self.pop3.as_ref(),
            mechanisms: &self.mechanisms,
        }
    }

    fn outline(&self, formats: &[F]) -> Result<Outline, Refusal> {
        Outline::new(formats, &self.mailbox()).map(Option::unwrap)
    }

    fn render(&self, formats: &[F], token: &str) -> BTreeMap<String, String> {
        let keys = self.outline(formats).unwrap().render(&Issued {
            token: &token.into(),
            token_type: "Bearer",
            expires: Some("2026-11-25T15:00:00Z".parse().unwrap()),
        });
        keys.into_iter()
            .map(|(key, value)| (key, value.expose_secret().to_owned()))
            .collect()
    }

    fn refusal(&self, format: F) -> String {
        self.outline(&[format]).unwrap_err().to_string()
    }
}

fn only(keys: &BTreeMap<String, String>) -> &str {
    assert_eq!(keys.len(), 1);
    keys.values().next().unwrap()
}

#[test]
fn what_is_not_asked_for_is_not_laid_out() {
    assert_eq!(Outline::new(&[], &Words::plain().mailbox()), Ok(None));
}

#[test]
fn each_protocol_has_its_login_by_its_own_name() {
    let mut words = Words::plain();
    words.smtp.as_mut().unwrap().username = "sender@example.com".to_owned();
    let keys = words.render(&[F::XOAuth2, F::OAuthBearer], "T");
    let said: Vec<_> = keys
        .iter()
        .map(|(key, value)| {
            (
                key.as_str(),
                String::from_utf8(STANDARD.decode(value).unwrap()).unwrap(),
            )
        })
        .collect();
    let expected = [
        (
            "imap_oauthbearer",
            "n,a=support@example.com,\u{1}host=mail.example.com\u{1}port=993\u{1}auth=Bearer T\u{1}\u{1}",
        ),
        ("imap_xoauth2", "user=support@example.com\u{1}auth=Bearer T\u{1}\u{1}"),
        (
            "smtp_oauthbearer",
            "n,a=sender@example.com,\u{1}host=mail.example.com\u{1}port=587\u{1}auth=Bearer T\u{1}\u{1}",
        ),
        ("smtp_xoauth2", "user=sender@example.com\u{1}auth=Bearer T\u{1}\u{1}"),
    ];
    assert_eq!(said, expected.map(|(key, text)| (key, text.to_owned())));
}

/// The vectors that the providers and the RFC publish.
#[test]
fn logins_are_the_published_bytes() {
    for (user, token, response) in [
        (
            "someuser@example.com",
            "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg",
            "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ==",
        ),
        (
            "test@contoso.onmicrosoft.com",
            "EwBAAl3BAAUFFpUAo7J3Ve0bjLBWZWCclRC3EoAA",
            "dXNlcj10ZXN0QGNvbnRvc28ub25taWNyb3NvZnQuY29tAWF1dGg9QmVhcmVyIEV3QkFBbDNCQUFVRkZwVUFvN0ozVmUwYmpMQldaV0NjbFJDM0VvQUEBAQ==",
        ),
    ] {
        let keys = Words::with(user, user, "mail.example.com").render(&[F::XOAuth2], token);
        assert_eq!(keys["imap_xoauth2"], response);
    }
    let mut words = Words::with("user@example.com", "user@example.com", "server.example.com");
    words.imap.as_mut().unwrap().port = 143;
    let keys = words.render(&[F::OAuthBearer], "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
    assert_eq!(
        keys["imap_oauthbearer"],
        "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
    );
}

#[test]
fn a_configuration_says_where_the_token_is_and_not_what_it_is() {
    let keys = Words::plain().render(&[F::Msmtp, F::Mbsync, F::Exim, F::Postfix], "s3cr3t");
    for (key, text) in &keys {
        let is_token_file = key == "sasl_xoauth2.json";
        assert_eq!(text.contains("s3cr3t"), is_token_file, "{key}");
        assert!(
            is_token_file || text.contains("/run/secrets/emailasset.dev/support-mail"),
            "{key}"
        );
    }
}

#[test]
fn the_way_of_encryption_is_the_servers() {
    let mut words = Words::plain();
    let line = |words: &Words, format: F, line: &str| {
        let keys = words.render(&[format], "T");
        let mut lines = keys.values().flat_map(|text| text.lines());
        assert!(lines.any(|found| found.trim() == line), "{}: {line}", format.as_str());
    };
    line(&words, F::Msmtp, "tls_starttls on");
    line(&words, F::Exim, "hosts_require_tls = *");
    line(&words, F::Postfix, "smtp_tls_wrappermode = no");
    line(&words, F::Mbsync, "SSLType IMAPS");
    words.smtp.as_mut().unwrap().security = Security::Tls;
    words.imap.as_mut().unwrap().security = Security::StartTls;
    line(&words, F::Msmtp, "tls_starttls off");
    line(&words, F::Exim, "protocol = smtps");
    line(&words, F::Postfix, "smtp_tls_wrappermode = yes");
    line(&words, F::Mbsync, "SSLType STARTTLS");
}

/// Yahoo's servers offer XOAUTH2 no more, or not always.
#[test]
fn a_client_that_is_told_one_mechanism_is_told_the_best() {
    let mut words = Words::plain();
    let told = |words: &Words| words.render(&[F::Msmtp], "T")["msmtprc"].contains("\nauth oauthbearer\n");
    assert!(!told(&words), "XOAUTH2 where nobody knows");
    words.mechanisms = vec![Mechanism::XOAuth2, Mechanism::OAuthBearer];
    assert!(!told(&words));
    words.mechanisms = vec![Mechanism::OAuthBearer, Mechanism::XOAuth2];
    assert!(told(&words));
    words.smtp.as_mut().unwrap().username = "a=b@example.com".to_owned();
    assert!(!told(&words), "msmtp would not escape it");
}

#[test]
fn json_holds_everything_and_says_it_as_it_is() {
    let keys = Words::plain().render(&[F::Json], r#"a"b\c"#);
    let expected = r#"{"access_token":"a\"b\\c","token_type":"Bearer","expires_at":"2026-11-25T15:00:00Z","email":"support@example.com","username":"support@example.com","imap":{"host":"mail.example.com","port":993,"security":"TLS","username":"support@example.com"},"smtp":{"host":"mail.example.com","port":587,"security":"StartTLS","username":"support@example.com"}}"#;
    assert_eq!(only(&keys).trim_end(), expected);
}

#[test]
fn variables_stand_in_single_quotes() {
    let keys = Words::plain().render(&[F::Env], "a$b'c");
    let lines: Vec<&str> = only(&keys).lines().collect();
    assert_eq!(lines[0], r"EMAILASSET_ACCESS_TOKEN='a$b'\''c'");
    assert_eq!(lines[2], "EMAILASSET_EXPIRES_AT='2026-11-25T15:00:00Z'");
    assert!(lines.contains(&"EMAILASSET_SMTP_PORT='587'"));
}

#[test]
fn the_token_file_of_the_sasl_plugin_never_asks_it_to_refresh() {
    let words = Words::plain();
    let keys = words.render(&[F::SaslXOAuth2], "T");
    let expected = r#"{"access_token":"T","expiry":"1795618800","manage_token_externally":"true","refresh_token":"","user":"support@example.com"}"#;
    assert_eq!(only(&keys).trim_end(), expected);
    let without_end = words.outline(&[F::SaslXOAuth2]).unwrap().render(&Issued {
        token: &"T".into(),
        token_type: "Bearer",
        expires: None,
    });
    let text = without_end["sasl_xoauth2.json"].expose_secret();
    assert!(text.contains(r#""expiry":"2147483647""#), "{text}");
}

/// The keys that every token Secret has.
fn default_keys() -> BTreeSet<String> {
    let own = [
        keys::ACCESS_TOKEN,
        keys::TOKEN_TYPE,
        keys::EXPIRES_AT,
        "email",
        "username",
    ];
    let servers = ["smtp", "imap", "pop3"].into_iter().flat_map(|protocol| {
        ["host", "port", "security", "username"]
            .into_iter()
            .map(move |key| format!("{protocol}_{key}"))
    });
    own.into_iter().map(str::to_owned).chain(servers).collect()
}

#[test]
fn no_format_takes_a_key_that_is_there_already() {
    let mut words = Words::plain();
    words.pop3 = Some(server("mail.example.com", 995, Security::Tls, "support@example.com"));
    let mut taken = default_keys();
    // Postfix brings the token file of the plugin, which is a format of its own.
    for format in F::ALL.into_iter().filter(|format| *format != F::SaslXOAuth2) {
        for key in words.render(&[format], "T").into_keys() {
            assert!(
                key.bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
            );
            assert!(taken.insert(key.clone()), "{key} of {} is taken", format.as_str());
        }
    }
    let both = words.render(&[F::Postfix, F::SaslXOAuth2], "T");
    assert_eq!(both, words.render(&[F::Postfix], "T"));
}

#[test]
fn a_format_without_its_server_is_refused_with_what_to_do() {
    let mut words = Words::plain();
    words.smtp = None;
    let said = words.refusal(F::Msmtp);
    for part in ["Msmtp", "an SMTP server", "spec.smtp"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(words.outline(&[F::XOAuth2, F::Mbsync, F::Json, F::SaslXOAuth2]).is_ok());
    words.imap = None;
    let said = words.refusal(F::XOAuth2);
    assert!(
        said.contains("a mail server") && said.contains("spec.imap or spec.smtp"),
        "{said}"
    );
    assert!(words.outline(&[F::Json, F::Env]).is_ok());
}

#[test]
fn no_token_is_handed_to_a_connection_that_is_not_encrypted() {
    let mut words = Words::plain();
    words.smtp.as_mut().unwrap().security = Security::None;
    for format in [F::Msmtp, F::Exim, F::Postfix] {
        let said = words.refusal(format);
        assert!(
            said.contains("spec.smtp.security is None") && said.contains("StartTLS"),
            "{said}"
        );
    }
    let keys = words.render(&[F::XOAuth2], "T");
    assert_eq!(keys.into_keys().collect::<Vec<_>>(), ["imap_xoauth2"]);
    words.imap = None;
    assert!(words.refusal(F::XOAuth2).contains("not encrypted"));
}

#[test]
fn a_word_that_would_become_a_line_of_its_own_is_refused_by_every_format() {
    for evil in [
        "a@example.com\npasswordeval curl evil.example",
        "a@example.com\r\nPassCmd x",
        "a\nb@example.com",
        "a\rb@example.com",
        "a\tb@example.com",
        "a b@example.com",
        "a\"b@example.com",
        "a'b@example.com",
        "a\\b@example.com",
        "$(id)@example.com",
        "`id`@example.com",
        "-C@example.com",
        "a\u{1}auth=Bearer x",
        "a\u{2028}b@example.com",
        "",
    ] {
        let mut at_server = Words::plain();
        at_server.smtp.as_mut().unwrap().username = evil.to_owned();
        for words in [
            Words::with(evil, "a@example.com", "mail.example.com"),
            Words::with("a@example.com", evil, "mail.example.com"),
            Words::with("a@example.com", "a@example.com", evil),
            at_server,
        ] {
            for format in F::ALL {
                let said = words.refusal(format);
                assert!(said.contains("cannot stand") && !said.contains('\n'), "{said}");
            }
        }
    }
}

#[test]
fn a_login_name_with_a_colon_is_no_matter_but_to_postfix() {
    let words = Words::with("a@example.com", "corp:a", "mail.example.com");
    assert!(words.refusal(F::Postfix).contains("without a colon"));
    let others: Vec<F> = F::ALL.into_iter().filter(|format| *format != F::Postfix).collect();
    assert!(words.outline(&others).is_ok());
}

/// The configurations, with the words of one mailbox put in place of another's.
fn replaced(text: &str, words: &[(&str, &str)]) -> String {
    words
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

fn a_word() -> impl Strategy<Value = String> {
    prop_oneof![
        // What the API accepts.
        "[!#%&(-,./0-9:-@A-Z^_a-z{|}~][!#%&(-@A-Z^_a-z{|}~-]{0,40}",
        // What it does not.
        "[a-z]{1,5}[\\n\\r\\t ][a-z]{1,20}",
        ".{0,40}",
        "[a-z]{1,5}[\\x00-\\x20\"'`$\\\\\\[\\]][a-z ]{1,20}",
    ]
}

/// Mostly one that is fine, or no file would ever be made.
fn a_host() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z0-9]{1,10}([.][a-z-]{1,5})?", 1 => a_word()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// Whatever stands in the spec: a file either is the file that it should be, word for word, or is not made.
    #[test]
    fn a_word_stands_for_itself_or_is_refused(email in a_word(), username in a_word(), host in a_host(), token in "[!-~]{1,60}") {
        const PLACES: [&str; 3] = ["EMAIL", "USERNAME", "HOST"];
        let plain = Words::with(PLACES[0], PLACES[1], PLACES[2]);
        let words = Words::with(&email, &username, &host);
        for format in [F::Msmtp, F::Mbsync, F::Exim, F::Postfix] {
            let Ok(outline) = words.outline(&[format]) else { continue };
            let shown = outline.render(&Issued { token: &token.as_str().into(), token_type: "Bearer", expires: None });
            for (key, expected) in plain.render(&[format], "T").into_iter().filter(|(key, _)| key != "sasl_xoauth2.json") {
                let found = shown[&key].expose_secret();
                prop_assert_eq!(found.lines().count(), expected.lines().count());
                prop_assert!(found.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)));
                for (found, expected) in found.lines().zip(expected.lines()) {
                    // `EMAILASSET_DIR` holds one of the places.
                    let expected = expected.replace("EMAILASSET_DIR", "\u{1}");
                    let mut parts = vec![(PLACES[0], "\u{2}"), (PLACES[1], "\u{3}"), (PLACES[2], "\u{4}")];
                    parts.extend([("\u{1}", "EMAILASSET_DIR"), ("\u{2}", email.as_str()), ("\u{3}", &username), ("\u{4}", &host)]);
                    prop_assert_eq!(found, replaced(&expected, &parts));
                }
            }
        }
    }

    #[test]
    fn json_and_variables_say_any_token(token in "[!-~]{1,60}", username in a_word()) {
        let words = Words::with("a@example.com", &username, "mail.example.com");
        if let Ok(outline) = words.outline(&[F::Json, F::SaslXOAuth2, F::Env]) {
            let keys = outline.render(&Issued { token: &token.as_str().into(), token_type: "Bearer", expires: None });
            for key in ["token.json", "sasl_xoauth2.json"] {
                let read: serde_json::Value = serde_json::from_str(keys[key].expose_secret()).unwrap();
                prop_assert_eq!(&read["access_token"], &token);
            }
            let text = keys["token.env"].expose_secret();
            let quoted = token.replace('\'', r"'\''");
            prop_assert_eq!(text.lines().next().unwrap(), format!("EMAILASSET_ACCESS_TOKEN='{quoted}'"));
            let expected = format!("EMAILASSET_USERNAME='{username}'");
            prop_assert!(text.lines().any(|line| line == expected));
        }
    }

    /// The rules of the API and those of the files agree: what can be applied can be written.
    #[test]
    fn what_the_api_accepts_is_written(username in "[!#%&(-,./0-9:-@A-Z^_a-z{|}~][!#%&(-@A-Z^_a-z{|}~-]{0,40}") {
        let words = Words::with("a@example.com", &username, "mail.example.com");
        for format in F::ALL.into_iter().filter(|format| *format != F::Postfix || !username.contains(':')) {
            prop_assert!(words.outline(&[format]).is_ok(), "{}", format.as_str());
        }
    }
}
