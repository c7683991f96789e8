//! The bytes with which a mail client logs in: for what is written into Secrets, for what the plugin prints, for whoever logs in. Base64 without line
//! breaks, as IMAP, SMTP and POP3 take it as an initial response or after the server's empty challenge.
//!
//! ```text
//! XOAUTH2      user=<mailbox> ^A auth=Bearer <token> ^A ^A
//! OAUTHBEARER  n,a=<mailbox>, ^A host=<host> ^A port=<port> ^A auth=Bearer <token> ^A ^A
//! PLAIN        NUL <mailbox> NUL <password>
//! ```

use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};

/// A server, for OAUTHBEARER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Host name.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// XOAUTH2 (developers.google.com: Gmail XOAUTH2 protocol; learn.microsoft.com: authenticate with OAuth). It has no escapes, so a user name with its separator
/// cannot be said: none.
#[must_use]
pub fn xoauth2(user: &str, token: &SecretString) -> Option<SecretString> {
    let token = token.expose_secret();
    let sayable = !user.contains('\u{1}') && !token.contains('\u{1}');
    sayable.then(|| {
        STANDARD
            .encode(format!("user={user}\u{1}auth=Bearer {token}\u{1}\u{1}"))
            .into()
    })
}

/// OAUTHBEARER (RFC 7628 section 3.1) without channel binding. None where something cannot be said.
#[must_use]
pub fn oauthbearer(user: &str, server: Option<&Server>, token: &SecretString) -> Option<SecretString> {
    let token = token.expose_secret();
    let host = server.map(|server| server.host.as_str()).unwrap_or_default();
    if [user, host, token].iter().any(|part| part.contains('\u{1}')) {
        return None;
    }
    // RFC 5801 section 4: these two would end the name.
    let user = user.replace('=', "=3D").replace(',', "=2C");
    let place = server
        .map(|server| format!("host={}\u{1}port={}\u{1}", server.host, server.port))
        .unwrap_or_default();
    Some(
        STANDARD
            .encode(format!("n,a={user},\u{1}{place}auth=Bearer {token}\u{1}\u{1}"))
            .into(),
    )
}

/// PLAIN (RFC 4616 section 2) without an authorization identity. None where something cannot be said: it has no escapes either.
#[must_use]
pub fn plain(user: &str, password: &SecretString) -> Option<SecretString> {
    let password = password.expose_secret();
    let sayable = !user.contains('\0') && !password.contains('\0');
    sayable.then(|| STANDARD.encode(format!("\0{user}\0{password}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(response: Option<SecretString>) -> String {
        response.unwrap().expose_secret().to_owned()
    }

    #[test]
    fn xoauth2_is_as_google_and_microsoft_document_it() {
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
            ("u@e.com", "T", "dXNlcj11QGUuY29tAWF1dGg9QmVhcmVyIFQBAQ=="),
        ] {
            assert_eq!(shown(xoauth2(user, &token.into())), response);
        }
    }

    #[test]
    fn oauthbearer_is_as_in_rfc_7628() {
        let server = Server {
            host: "server.example.com".to_owned(),
            port: 143,
        };
        assert_eq!(
            shown(oauthbearer(
                "user@example.com",
                Some(&server),
                &"vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==".into()
            )),
            "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
        );
        assert_eq!(
            shown(oauthbearer("user@example.com", None, &"TOKEN".into())),
            "bixhPXVzZXJAZXhhbXBsZS5jb20sAWF1dGg9QmVhcmVyIFRPS0VOAQE="
        );
    }

    #[test]
    fn plain_is_as_in_rfc_4616() {
        assert_eq!(
            shown(plain("tim", &"tanstaaftanstaaf".into())),
            "AHRpbQB0YW5zdGFhZnRhbnN0YWFm"
        );
        assert!(plain("a\0b", &"T".into()).is_none());
    }

    #[test]
    fn a_name_with_a_comma_is_escaped_and_one_with_a_separator_refused() {
        let response = shown(oauthbearer("a=b,c", None, &"T".into()));
        let bytes = STANDARD.decode(response).unwrap();
        assert!(bytes.starts_with(b"n,a=a=3Db=2Cc,\x01"));
        assert!(xoauth2("a\u{1}b", &"T".into()).is_none());
        assert!(oauthbearer("a\u{1}b", None, &"T".into()).is_none());
    }
}
