//! Pieces of a configuration of Exim 4 as a sending service (exim.org: specification, chapters 6, 11 and 34).
//!
//! One file for each section that they belong to, for `.include`. Nothing that a person chose stands in them but the host and its port: Exim replaces the names of
//! macros anywhere in a line, splits lists at colons and expands what is in braces, so the login name is read from its key like the token. The `plaintext` driver
//! turns a `^` into a zero byte unless it is doubled, after everything else. The first string is empty, so that the token follows the server's empty challenge:
//! long tokens do not fit behind `AUTH` (RFC 4954 section 4). The third one answers the challenge with which a server explains a refusal: empty for XOAUTH2, one byte
//! for OAUTHBEARER (RFC 7628 section 3.2.3).

use super::{Facts, TOKEN_KEY};
use crate::api::Security;
use crate::provider::Server;

const AUTHENTICATOR_KEY: &str = "exim_authenticator.conf";
const TRANSPORT_KEY: &str = "exim_transport.conf";
const ROUTER_KEY: &str = "exim_router.conf";

pub(super) fn texts(facts: &Facts, server: &Server) -> [(&'static str, String); 3] {
    [
        (AUTHENTICATOR_KEY, authenticator(facts, server)),
        (TRANSPORT_KEY, transport(facts, server)),
        (ROUTER_KEY, router(facts, server)),
    ]
}

/// Exim takes the first one that the server offers.
fn authenticator(facts: &Facts, server: &Server) -> String {
    let key = if server.username == facts.username {
        "username"
    } else {
        "smtp_username"
    };
    let username = from_file(key);
    // RFC 5801 section 4: these two would end the name.
    let escaped = replaced(&replaced(&username, "=", "=3D"), ",", "=2C");
    let token = zero_free(&from_file(TOKEN_KEY));
    format!(
        "# For Exim 4, in the section that \"begin authenticators\" begins: .include {directory}/{AUTHENTICATOR_KEY}\n\
         # Login name and token are read at each login. Where this Secret is mounted elsewhere, set the macro EMAILASSET_DIR at the top of the configuration.\n\
         .ifndef EMAILASSET_DIR\n\
         EMAILASSET_DIR = {directory}\n\
         .endif\n\
         emailasset_xoauth2:\n  \
           driver = plaintext\n  \
           public_name = XOAUTH2\n  \
           client_condition = ${{if !eq{{$tls_out_cipher}}{{}}}}\n  \
           client_ignore_invalid_base64\n  \
           client_send = : user={username}\\x01auth=Bearer {token}\\x01\\x01 : ${{if eq{{1}}{{0}}{{x}}}}\n\
         emailasset_oauthbearer:\n  \
           driver = plaintext\n  \
           public_name = OAUTHBEARER\n  \
           client_condition = ${{if !eq{{$tls_out_cipher}}{{}}}}\n  \
           client_ignore_invalid_base64\n  \
           client_send = : n,a={escaped},\\x01host={host}\\x01port={port}\\x01auth=Bearer {token}\\x01\\x01 : \\x01\n",
        directory = facts.directory,
        username = zero_free(&username),
        escaped = zero_free(&escaped),
        host = server.host,
        port = server.port,
    )
}

fn from_file(key: &str) -> String {
    format!("${{readfile{{EMAILASSET_DIR/{key}}}}}")
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    format!("${{sg{{{text}}}{{{from}}}{{{to}}}}}")
}

/// Every `^` doubled, so that none becomes a zero byte.
fn zero_free(text: &str) -> String {
    replaced(text, r"\N\^\N", "^^")
}

fn transport(facts: &Facts, server: &Server) -> String {
    let encryption = match server.security {
        Security::StartTls => "hosts_require_tls = *",
        Security::Tls | Security::None => "protocol = smtps",
    };
    format!(
        "# For Exim 4, in the section that \"begin transports\" begins: .include {directory}/{TRANSPORT_KEY}\n\
         emailasset_smtp:\n  \
           driver = smtp\n  \
           port = {port}\n  \
           {encryption}\n  \
           hosts_require_auth = *\n  \
           tls_verify_certificates = system\n  \
           tls_verify_hosts = *\n",
        directory = facts.directory,
        port = server.port,
    )
}

fn router(facts: &Facts, server: &Server) -> String {
    format!(
        "# For Exim 4, after the routers for local domains in the section that \"begin routers\" begins: .include {directory}/{ROUTER_KEY}\n\
         emailasset:\n  \
           driver = manualroute\n  \
           transport = emailasset_smtp\n  \
           route_list = * {host}\n  \
           host_find_failed = defer\n  \
           no_more\n",
        directory = facts.directory,
        host = server.host,
    )
}
