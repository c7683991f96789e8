//! Pieces of a configuration of Postfix with the Cyrus SASL plugin sasl-xoauth2, and that plugin's token file.
//!
//! `postfix_main.cf` holds parameters (postfix.org: `postconf(5)`; `$` would begin another parameter's name). `postfix_sasl_passwd` is a table of type `texthash`: the
//! server, white space, then login name and "password" with a colon between them (`SASL_README`), where the plugin takes the password as the path of its token file.
//! So a login name with a colon is refused. The token file is JSON (tarickb/sasl-xoauth2: `src/token_store.cc`, read). The plugin of today takes the token as it is
//! because `manage_token_externally` says so; older ones would refresh an expired token by themselves, want the key `refresh_token` for it, and get none.

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::{Facts, Issued};
use crate::api::Security;
use crate::provider::Server;

pub(super) const MAIN_KEY: &str = "postfix_main.cf";
pub(super) const LOGIN_KEY: &str = "postfix_sasl_passwd";
const TOKEN_FILE_KEY: &str = "sasl_xoauth2.json";

pub(super) fn main(facts: &Facts, server: &Server) -> String {
    let wrapper = match server.security {
        Security::StartTls => "no",
        Security::Tls | Security::None => "yes",
    };
    format!(
        "# For Postfix 3 with the SASL plugin sasl-xoauth2: append to main.cf. Postfix reads the token at each login.\n\
         relayhost = {place}\n\
         smtp_sasl_auth_enable = yes\n\
         smtp_sasl_mechanism_filter = xoauth2\n\
         smtp_sasl_password_maps = texthash:{directory}/{LOGIN_KEY}\n\
         smtp_sasl_security_options =\n\
         smtp_sasl_tls_security_options =\n\
         smtp_tls_security_level = secure\n\
         smtp_tls_wrappermode = {wrapper}\n\
         smtp_tls_CAfile = /etc/ssl/certs/ca-certificates.crt\n",
        place = place(server),
        directory = facts.directory,
    )
}

pub(super) fn login(facts: &Facts, server: &Server) -> String {
    format!(
        "{place} {user}:{directory}/{TOKEN_FILE_KEY}\n",
        place = place(server),
        user = server.username,
        directory = facts.directory,
    )
}

/// The server as Postfix looks it up: brackets keep it from asking for MX records.
fn place(server: &Server) -> String {
    format!("[{}]:{}", server.host, server.port)
}

/// All values are texts: the plugin's JSON library turns what is not into one, and older versions of it differ in how.
#[derive(Serialize)]
struct TokenFile<'a> {
    access_token: &'a str,
    expiry: String,
    manage_token_externally: &'a str,
    refresh_token: &'a str,
    user: &'a str,
}

pub(super) fn token_file(username: &str, issued: &Issued<'_>) -> (String, SecretString) {
    // The plugin reads a C int.
    let latest = i64::from(i32::MAX);
    let expiry = issued.expires.map_or(latest, |expires| expires.as_second().min(latest));
    let file = TokenFile {
        access_token: issued.token.expose_secret(),
        expiry: expiry.to_string(),
        manage_token_externally: "true",
        refresh_token: "",
        user: username,
    };
    super::documents::as_json(TOKEN_FILE_KEY, &file)
}
