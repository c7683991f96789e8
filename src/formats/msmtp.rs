//! A configuration of msmtp 1.8 (marlam.de/msmtp: manual, "Configuration files").
//!
//! A line is a command and an argument that reaches to the end of the line; quotes around the whole argument fall away and there are no escapes, so the words
//! stand bare. A comment begins with `#` at the start of a line only. The password may not stand in a file that others can read, which a mounted one is, so it comes
//! from a command. msmtp hands that command to a shell as it stands.

use super::Facts;
use crate::api::Security;
use crate::provider::{Mechanism, Server};

pub(super) const KEY: &str = "msmtprc";

pub(super) fn text(facts: &Facts, server: &Server) -> String {
    let start_tls = match server.security {
        Security::StartTls => "on",
        Security::Tls | Security::None => "off",
    };
    format!(
        "# For msmtp 1.8 and later: msmtp -C {directory}/{KEY}\n\
         # The token is read at each start. Where this Secret is mounted elsewhere, set EMAILASSET_DIR to that directory.\n\
         defaults\n\
         tls on\n\
         tls_trust_file system\n\
         \n\
         account emailasset\n\
         host {host}\n\
         port {port}\n\
         tls_starttls {start_tls}\n\
         auth {mechanism}\n\
         user {user}\n\
         from {email}\n\
         passwordeval {print_token}\n\
         \n\
         account default : emailasset\n",
        directory = facts.directory,
        host = server.host,
        port = server.port,
        mechanism = mechanism(facts, server),
        user = server.username,
        email = facts.email,
        print_token = facts.print_token(),
    )
}

/// msmtp 1.8 does not escape the two characters that RFC 5801 section 4 wants escaped in OAUTHBEARER.
fn mechanism(facts: &Facts, server: &Server) -> &'static str {
    match facts.mechanism {
        Mechanism::OAuthBearer if !server.username.contains(['=', ',']) => "oauthbearer",
        Mechanism::OAuthBearer | Mechanism::XOAuth2 => "xoauth2",
    }
}
