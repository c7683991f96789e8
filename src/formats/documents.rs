//! Everything about a mailbox in one file: as JSON, and as variables.
//!
//! Variables stand in single quotes, in which nothing has a meaning: so a POSIX shell, systemd, dotenv libraries and the kubelet's env files read the same. None of the
//! values has a quote in it, but a token may: it is written as a shell reads it. No variable has a name that something else uses.

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::{Facts, Issued, Protocol};

const JSON_KEY: &str = "token.json";
const ENV_KEY: &str = "token.env";

#[derive(Serialize)]
struct Document<'a> {
    access_token: &'a str,
    token_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    email: &'a str,
    username: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    imap: Option<ServerDocument<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    smtp: Option<ServerDocument<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pop3: Option<ServerDocument<'a>>,
}

#[derive(Serialize)]
struct ServerDocument<'a> {
    host: &'a str,
    port: u16,
    security: &'a str,
    username: &'a str,
}

pub(super) fn json(facts: &Facts, issued: &Issued<'_>) -> (String, SecretString) {
    let server = |protocol: Protocol| {
        facts.login(protocol).map(|login| ServerDocument {
            host: &login.server.host,
            port: login.server.port,
            security: login.server.security.as_str(),
            username: &login.server.username,
        })
    };
    let document = Document {
        access_token: issued.token.expose_secret(),
        token_type: issued.token_type,
        expires_at: issued.expires.map(|expires| expires.to_string()),
        email: &facts.email,
        username: &facts.username,
        imap: server(Protocol::Imap),
        smtp: server(Protocol::Smtp),
        pop3: server(Protocol::Pop3),
    };
    as_json(JSON_KEY, &document)
}

/// A file of one line.
pub(super) fn as_json(key: &str, document: &impl Serialize) -> (String, SecretString) {
    // Structs of texts and numbers: writing them cannot fail.
    let text = serde_json::to_string(document).unwrap_or_default();
    (key.to_owned(), SecretString::from(text + "\n"))
}

pub(super) fn env(facts: &Facts, issued: &Issued<'_>) -> (String, SecretString) {
    let mut lines = Vec::new();
    let mut set = |name: &str, value: &str| {
        let quoted = value.replace('\'', r"'\''");
        lines.push(format!("EMAILASSET_{name}='{quoted}'\n"));
    };
    set("ACCESS_TOKEN", issued.token.expose_secret());
    set("TOKEN_TYPE", issued.token_type);
    if let Some(expires) = issued.expires {
        set("EXPIRES_AT", &expires.to_string());
    }
    set("EMAIL", &facts.email);
    set("USERNAME", &facts.username);
    for login in &facts.servers {
        let protocol = login.protocol.as_str().to_ascii_uppercase();
        set(&format!("{protocol}_HOST"), &login.server.host);
        set(&format!("{protocol}_PORT"), &login.server.port.to_string());
        set(&format!("{protocol}_SECURITY"), login.server.security.as_str());
        set(&format!("{protocol}_USERNAME"), &login.server.username);
    }
    (ENV_KEY.to_owned(), SecretString::from(lines.concat()))
}
