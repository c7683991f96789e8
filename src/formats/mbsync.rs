//! A configuration of mbsync 1.4 (isync.sourceforge.io: `mbsync(1)`, "Configuration").
//!
//! An argument may stand in double quotes, where a backslash takes the next character as it is; outside of them `#` begins a comment, so what comes from the spec
//! stands in quotes. mbsync includes no other file, so this one is whole: it fetches all folders and changes nothing at the server. `SSLType` is the old name of
//! `TLSType`; 1.5 knows both, 1.4 only this one.

use super::Facts;
use crate::api::Security;
use crate::provider::Server;

pub(super) const KEY: &str = "mbsyncrc";

pub(super) fn text(facts: &Facts, server: &Server) -> String {
    let encryption = match server.security {
        Security::StartTls => "STARTTLS",
        Security::Tls | Security::None => "IMAPS",
    };
    format!(
        "# For mbsync 1.4 and later with a SASL plugin for XOAUTH2 or OAUTHBEARER: mbsync -c {directory}/{KEY} emailasset\n\
         # It copies new mail to ~/Maildir, which has to exist, and changes nothing at the server. The token is read at each login.\n\
         # Where this Secret is mounted elsewhere, set EMAILASSET_DIR to that directory.\n\
         IMAPAccount emailasset\n\
         Host {host}\n\
         Port {port}\n\
         User \"{user}\"\n\
         PassCmd \"{print_token}\"\n\
         AuthMechs XOAUTH2 OAUTHBEARER\n\
         SSLType {encryption}\n\
         \n\
         IMAPStore emailasset-remote\n\
         Account emailasset\n\
         \n\
         MaildirStore emailasset-local\n\
         Path ~/Maildir/\n\
         Inbox ~/Maildir/INBOX\n\
         SubFolders Verbatim\n\
         \n\
         Channel emailasset\n\
         Far :emailasset-remote:\n\
         Near :emailasset-local:\n\
         Patterns *\n\
         Create Near\n\
         Sync Pull\n\
         SyncState *\n",
        directory = facts.directory,
        host = server.host,
        port = server.port,
        user = server.username,
        print_token = facts.print_token().replace('"', "\\\""),
    )
}
