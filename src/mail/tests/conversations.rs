//! What Gmail, Exchange, Yahoo, Dovecot and others say, line by line, and what it means.

use super::server::{Case, USER, password, token};
use crate::mail::Meaning::{self, *};
use crate::mail::Mechanism;
use crate::mail::Protocol::{self, Imap, Pop3, Smtp};
use crate::mail::{Challenge, Login, Standing, Step};
use crate::sasl;

const TOKEN: &str = "ya29.a-token-of-thirty-bytes";

/// `{xoauth2}` in base64.
fn xoauth2(token: &str) -> String {
    use secrecy::ExposeSecret;
    sasl::xoauth2(USER, &token.into()).unwrap().expose_secret().to_owned()
}

fn scripted(script: &str) -> String {
    script.replace("{xoauth2}", &xoauth2(TOKEN))
}

const GMAIL_IMAP: &str = "
    S: * OK Gimap ready for requests from 192.0.2.1 d2e1a72fcca58-7b1mb1
    C: CAPABILITY
    S: * CAPABILITY IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 XYZZY SASL-IR AUTH=XOAUTH2 AUTH=PLAIN AUTH=PLAIN-CLIENTTOKEN AUTH=OAUTHBEARER
    S: {tag} OK Thats all she wrote! d2e1a72fcca58-7b1mb1
    C: AUTHENTICATE XOAUTH2 {xoauth2}
";
const GMAIL_CHALLENGE: &str =
    "eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIiwic2NvcGUiOiJodHRwczovL21haWwuZ29vZ2xlLmNvbS8ifQ==";
const GMAIL_SMTP: &str = "
    S: 220 smtp.gmail.com ESMTP 5b1f17b1804b1-45b - gsmtp
    C: EHLO [127.0.0.1]
    S: 250-smtp.gmail.com at your service, [192.0.2.1]
    S: 250-SIZE 35882577
    S: 250-8BITMIME
    S: 250-AUTH LOGIN PLAIN XOAUTH2 PLAIN-CLIENTTOKEN OAUTHBEARER XOAUTH
    S: 250-ENHANCEDSTATUSCODES
    S: 250-PIPELINING
    S: 250-CHUNKING
    S: 250 SMTPUTF8
    C: AUTH XOAUTH2 {xoauth2}
";
const EXCHANGE_IMAP: &str = "
    S: * OK The Microsoft Exchange IMAP4 service is ready. [QQBNADAA]
    C: CAPABILITY
    S: * CAPABILITY IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+
    S: {tag} OK CAPABILITY completed.
    C: AUTHENTICATE XOAUTH2 {xoauth2}
";
const EXCHANGE_POP: &str = "
    S: +OK The Microsoft Exchange POP3 service is ready. [QQBNADAA]
    C: CAPA
    S: +OK
    S: TOP
    S: UIDL
    S: SASL PLAIN XOAUTH2
    S: USER
    S: .
    C: AUTH XOAUTH2 {xoauth2}
";
/// On port 587 with STARTTLS, as Exchange has it; before TLS it offers no AUTH.
const EXCHANGE_SMTP: &str = "
    S: 220 FR4P281CA0001.outlook.office365.com Microsoft ESMTP MAIL Service ready at Wed, 25 Nov 2026 13:00:00 +0000
    C: EHLO [127.0.0.1]
    S: 250-FR4P281CA0001.outlook.office365.com Hello [192.0.2.1]
    S: 250-SIZE 157286400
    S: 250-STARTTLS
    S: 250 SMTPUTF8
    C: STARTTLS
    S: 220 2.0.0 SMTP server ready
    tls
    C: EHLO [127.0.0.1]
    S: 250-FR4P281CA0001.outlook.office365.com Hello [192.0.2.1]
    S: 250-SIZE 157286400
    S: 250-AUTH LOGIN XOAUTH2
    S: 250 SMTPUTF8
    C: AUTH XOAUTH2 {xoauth2}
";
const YAHOO_IMAP: &str = "
    S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=OAUTHBEARER ID MOVE NAMESPACE XYMHIGHESTMODSEQ UIDPLUS LITERAL+ CHILDREN UNSELECT] IMAP4rev1 Hello
    C: CAPABILITY
    S: * CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=OAUTHBEARER ID MOVE NAMESPACE XYMHIGHESTMODSEQ UIDPLUS LITERAL+ CHILDREN UNSELECT
    S: {tag} OK CAPABILITY completed
    C: AUTHENTICATE OAUTHBEARER bixhPXN1cHBvcnRAZXhhbXBsZS5jb20sAWhvc3Q9bG9jYWxob3N0AXBvcnQ9...
";
const DOVECOT_IMAP: &str = "
    S: * OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ AUTH=OAUTHBEARER] Dovecot ready.
    C: CAPABILITY
    S: * CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ AUTH=OAUTHBEARER
    S: {tag} OK Pre-login capabilities listed, post-login capabilities have more.
    C: AUTHENTICATE OAUTHBEARER ...
";
const DOVECOT_SMTP: &str = "
    S: 220 mail.example.com Dovecot ready.
    C: EHLO [127.0.0.1]
    S: 250-mail.example.com
    S: 250-8BITMIME
    S: 250-AUTH OAUTHBEARER XOAUTH2
    S: 250 PIPELINING
    C: AUTH XOAUTH2 {xoauth2}
";

/// A server of section "mail-server errors" of our notes on providers: how it begins, how it goes on, what comes of it, and what it is quoted with.
type Row = (
    &'static str,
    Protocol,
    &'static str,
    &'static str,
    (Step, Meaning),
    &'static str,
);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("Gmail SMTP, token no good", Smtp, GMAIL_SMTP, "
        S: 334 {gmail}
        C:
        S: 535-5.7.8 Username and Password not accepted. For more information, go to
        S: 535 5.7.8  https://support.google.com/mail/?p=BadCredentials 5b1f17b1804b1-45b - gsmtp",
        (Step::Authenticate, CredentialRefused), "535 5.7.8 Username and Password not accepted. For more information, go to https://support.google.com/mail/?p=BadCredentials 5b1f17b1804b1-45b - gsmtp"),
    ("Gmail IMAP, token no good", Imap, GMAIL_IMAP, "
        S: + {gmail}
        C:
        S: {tag} NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)",
        (Step::Authenticate, CredentialRefused), "NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)"),
    ("Gmail IMAP switched off", Imap, GMAIL_IMAP, "
        S: {tag} NO [ALERT] Your account is not enabled for IMAP use (Failure)",
        (Step::Authenticate, ProtocolDisabled), "NO [ALERT] Your account is not enabled for IMAP use (Failure)"),
    ("Gmail IMAP switched off, said beside", Imap, GMAIL_IMAP, "
        S: * NO [ALERT] Your account is not enabled for IMAP use
        S: {tag} NO Failure",
        (Step::Authenticate, ProtocolDisabled), "NO Failure; NO [ALERT] Your account is not enabled for IMAP use"),
    ("Gmail SMTP, too many", Smtp, GMAIL_SMTP, "S: 454 4.7.0 Too many login attempts, please try again later. 5b1f17b1804b1-45b - gsmtp",
        (Step::Authenticate, Throttled), "454 4.7.0 Too many login attempts, please try again later. 5b1f17b1804b1-45b - gsmtp"),
    ("Gmail SMTP, own trouble", Smtp, GMAIL_SMTP, "S: 454 4.7.0 Cannot authenticate due to a temporary system problem. Try again later. - gsmtp",
        (Step::Authenticate, CannotCheck), "454 4.7.0 Cannot authenticate due to a temporary system problem. Try again later. - gsmtp"),
    ("Gmail SMTP, closing", Smtp, GMAIL_SMTP, "S: 421 4.7.0 Try again later, closing connection. - gsmtp",
        (Step::Authenticate, Temporary), "421 4.7.0 Try again later, closing connection. - gsmtp"),
    ("Gmail SMTP, limit of the day", Smtp, GMAIL_SMTP, "S: 550 5.4.5 Daily user sending limit exceeded. - gsmtp",
        (Step::Authenticate, SendingLimit), "550 5.4.5 Daily user sending limit exceeded. - gsmtp"),
    ("Exchange SMTP, token no good", Smtp, EXCHANGE_SMTP, "S: 535 5.7.3 Authentication unsuccessful [FR4P281CA0001.DEUP281.PROD.OUTLOOK.COM]",
        (Step::Authenticate, CredentialRefused), "535 5.7.3 Authentication unsuccessful [FR4P281CA0001.DEUP281.PROD.OUTLOOK.COM]"),
    ("Exchange SMTP AUTH off for the tenant", Smtp, EXCHANGE_SMTP, "S: 535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled for more information.",
        (Step::Authenticate, SmtpAuthDisabled), "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled for more information."),
    ("Exchange SMTP AUTH off for the mailbox", Smtp, EXCHANGE_SMTP, "S: 535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit https://aka.ms/smtp_auth_disabled for more information.",
        (Step::Authenticate, SmtpAuthDisabled), "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit https://aka.ms/smtp_auth_disabled for more information."),
    ("Exchange SMTP, security defaults", Smtp, EXCHANGE_SMTP, "S: 535 5.7.139 Authentication unsuccessful, user is locked by your organization's security defaults policy. Contact your administrator.",
        (Step::Authenticate, BlockedByPolicy), "535 5.7.139 Authentication unsuccessful, user is locked by your organization's security defaults policy. Contact your administrator."),
    ("Exchange SMTP, criteria, to a token", Smtp, EXCHANGE_SMTP, "S: 535 5.7.139 Authentication unsuccessful, the request did not meet the criteria to be authenticated successfully. Contact your administrator.",
        (Step::Authenticate, BlockedByPolicy), "535 5.7.139 Authentication unsuccessful, the request did not meet the criteria to be authenticated successfully. Contact your administrator."),
    ("Exchange SMTP, rights not in force", Smtp, EXCHANGE_SMTP, "
        S: 235 2.7.0 Authentication successful
        C: NOOP
        S: 430 4.2.0 STOREDRV; mailbox logon failure; failure reason: MapiExceptionLogonFailed",
        (Step::Command, NotYetInForce), "430 4.2.0 STOREDRV; mailbox logon failure; failure reason: MapiExceptionLogonFailed"),
    ("Exchange SMTP, no rights on this session", Smtp, EXCHANGE_SMTP, "
        S: 235 2.7.0 Authentication successful
        C: NOOP
        S: 554 5.2.0 AuthenticationContext has no rights on this session",
        (Step::Command, NotYetInForce), "554 5.2.0 AuthenticationContext has no rights on this session"),
    ("Exchange SMTP, Send As", Smtp, EXCHANGE_SMTP, "
        S: 235 2.7.0 Authentication successful
        C: NOOP
        S: 550 5.7.60 SMTP; Client does not have permissions to send as this sender",
        (Step::Command, SenderNotAllowed), "550 5.7.60 SMTP; Client does not have permissions to send as this sender"),
    ("Exchange SMTP, SendAsDenied", Smtp, EXCHANGE_SMTP, "
        S: 235 2.7.0 Authentication successful
        C: NOOP
        S: 554 5.2.252 SendAsDenied; support@example.com not allowed to send as other@example.com",
        (Step::Command, SenderNotAllowed), "554 5.2.252 SendAsDenied; support@example.com not allowed to send as other@example.com"),
    ("Exchange SMTP, login forgotten", Smtp, EXCHANGE_SMTP, "
        S: 235 2.7.0 Authentication successful
        C: NOOP
        S: 530 5.7.57 Client not authenticated to send mail.",
        (Step::Command, MailboxNotOpened), "530 5.7.57 Client not authenticated to send mail."),
    ("Exchange SMTP, busy", Smtp, EXCHANGE_SMTP, "S: 421 4.3.2 Service not available, closing transmission channel",
        (Step::Authenticate, Temporary), "421 4.3.2 Service not available, closing transmission channel"),
    ("Exchange SMTP, connections", Smtp, EXCHANGE_SMTP, "S: 432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more information.",
        (Step::Authenticate, Throttled), "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more information."),
    ("Exchange SMTP, passing", Smtp, EXCHANGE_SMTP, "S: 454 4.7.0 Temporary authentication failure",
        (Step::Authenticate, CannotCheck), "454 4.7.0 Temporary authentication failure"),
    ("Exchange IMAP, token no good", Imap, EXCHANGE_IMAP, "S: {tag} NO AUTHENTICATE failed.",
        (Step::Authenticate, CredentialRefused), "NO AUTHENTICATE failed."),
    ("Exchange IMAP, a token of somebody else", Imap, EXCHANGE_IMAP, "
        S: {tag} OK AUTHENTICATE completed.
        C: EXAMINE INBOX
        S: {tag} BAD User is authenticated but not connected.",
        (Step::Command, NotConnected), "BAD User is authenticated but not connected."),
    ("Exchange IMAP, throttled", Imap, EXCHANGE_IMAP, "
        S: {tag} OK AUTHENTICATE completed.
        C: EXAMINE INBOX
        S: {tag} BAD Request is throttled. Suggested Backoff Time: 299961 milliseconds",
        (Step::Command, Throttled), "BAD Request is throttled. Suggested Backoff Time: 299961 milliseconds"),
    ("Exchange POP, token no good", Pop3, EXCHANGE_POP, "S: -ERR Authentication failure: unknown user name or bad password.",
        (Step::Authenticate, CredentialRefused), "-ERR Authentication failure: unknown user name or bad password."),
    ("Gmail POP switched off", Pop3, EXCHANGE_POP, "S: -ERR [SYS/PERM] Your account is not enabled for POP access. Please visit your Gmail settings page.",
        (Step::Authenticate, ProtocolDisabled), "-ERR [SYS/PERM] Your account is not enabled for POP access. Please visit your Gmail settings page."),
    ("POP, somebody else is there", Pop3, EXCHANGE_POP, "
        S: +OK User successfully authenticated
        C: STAT
        S: -ERR [IN-USE] Do you have another POP session running?",
        (Step::Command, Temporary), "-ERR [IN-USE] Do you have another POP session running?"),
    ("Yahoo IMAP, token no good", Imap, YAHOO_IMAP, "
        S: + eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NvcGUiOiJtYWlsLXcifQ==
        C: AQ==
        S: {tag} NO [AUTHENTICATIONFAILED] AUTHENTICATE Invalid credentials",
        (Step::Authenticate, CredentialRefused), "NO [AUTHENTICATIONFAILED] AUTHENTICATE Invalid credentials"),
    ("Dovecot IMAP, a scope is missing", Imap, DOVECOT_IMAP, "
        S: + eyJzdGF0dXMiOiJpbnN1ZmZpY2llbnRfc2NvcGUiLCJzY29wZSI6Im1haWwifQ==
        C: AQ==
        S: {tag} NO [AUTHENTICATIONFAILED] Authentication failed.",
        (Step::Authenticate, ScopeMissing), "NO [AUTHENTICATIONFAILED] Authentication failed."),
    ("Dovecot IMAP, introspection down", Imap, DOVECOT_IMAP, "S: {tag} NO [UNAVAILABLE] Temporary authentication failure. [mail:2026-11-25 13:00:00]",
        (Step::Authenticate, CannotCheck), "NO [UNAVAILABLE] Temporary authentication failure. [mail:2026-11-25 13:00:00]"),
    ("Dovecot SMTP, introspection down", Smtp, DOVECOT_SMTP, "S: 454 4.7.0 Temporary authentication failure.",
        (Step::Authenticate, CannotCheck), "454 4.7.0 Temporary authentication failure."),
    ("Dovecot SMTP, token no good", Smtp, DOVECOT_SMTP, "
        S: 334 eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIiwic2NvcGUiOiJtYWlsIn0=
        C:
        S: 535 5.7.8 Authentication failed.",
        (Step::Authenticate, CredentialRefused), "535 5.7.8 Authentication failed."),
    ("SMTP, line too long", Smtp, DOVECOT_SMTP, "S: 500 5.5.2 Line too long",
        (Step::Authenticate, TokenTooLong), "500 5.5.2 Line too long"),
    ("SMTP, unknown mechanism", Smtp, DOVECOT_SMTP, "S: 504 5.7.4 Unrecognized authentication type",
        (Step::Authenticate, MechanismNotOffered), "504 5.7.4 Unrecognized authentication type"),
    ("SMTP, unknown mechanism, other code", Smtp, DOVECOT_SMTP, "S: 504 5.5.4 Unrecognized authentication type",
        (Step::Authenticate, MechanismNotOffered), "504 5.5.4 Unrecognized authentication type"),
    ("IMAP, not this user", Imap, DOVECOT_IMAP, "S: {tag} NO [AUTHORIZATIONFAILED] Not yours",
        (Step::Authenticate, WrongUser), "NO [AUTHORIZATIONFAILED] Not yours"),
    ("IMAP, BYE in the middle", Imap, DOVECOT_IMAP, "S: * BYE Server shutting down.",
        (Step::Authenticate, Temporary), "BYE Server shutting down."),
];

async fn run(row: &Row) -> Login {
    let (_, protocol, opening, ending, ..) = row;
    let script = scripted(&format!("{opening}{ending}")).replace("{gmail}", GMAIL_CHALLENGE);
    let case = if script.contains("STARTTLS") || script.contains("STLS") {
        Case::start_tls(*protocol, &script)
    } else {
        Case::new(*protocol, &script)
    };
    case.with(token(TOKEN)).run().await
}

#[tokio::test]
async fn each_refusal_that_is_known_has_its_meaning_and_is_quoted() {
    for row in ROWS {
        let (name, .., (step, meaning), words) = row;
        let login = run(row).await;
        assert_eq!(
            (login.step, login.meaning),
            (*step, *meaning),
            "{name}\n{}",
            login.transcript
        );
        assert_eq!(login.said.as_deref(), Some(*words), "{name}\n{}", login.transcript);
        assert!(!login.transcript.to_string().contains(TOKEN), "{name}");
        assert!(!login.transcript.to_string().contains(&xoauth2(TOKEN)), "{name}");
    }
}

#[tokio::test]
async fn a_login_that_works_runs_a_command_and_leaves() {
    let rows = [
        (
            Imap,
            GMAIL_IMAP,
            "S: {tag} OK someuser authenticated (Success)\nC: EXAMINE INBOX\nS: * FLAGS (\\Seen)\nS: * 3 EXISTS\nS: {tag} OK [READ-ONLY] INBOX selected. (Success)\nC: LOGOUT\nS: * BYE LOGOUT Requested",
        ),
        (
            Imap,
            EXCHANGE_IMAP,
            "S: {tag} OK AUTHENTICATE completed.\nC: EXAMINE INBOX\nS: * 0 EXISTS\nS: {tag} OK [READ-ONLY] EXAMINE completed.\nC: LOGOUT",
        ),
        (
            Imap,
            YAHOO_IMAP,
            "S: {tag} OK AUTHENTICATE completed\nC: EXAMINE INBOX\nS: * LIST () \"/\" {5}\nraw: INBOX\\r\\n\nS: {tag} OK [READ-ONLY] EXAMINE completed\nC: LOGOUT",
        ),
        (
            Smtp,
            GMAIL_SMTP,
            "S: 235 2.7.0 Accepted\nC: NOOP\nS: 250 2.0.0 OK\nC: QUIT\nS: 221 2.0.0 closing connection",
        ),
        (
            Smtp,
            EXCHANGE_SMTP,
            "S: 235 2.7.0 Authentication successful\nC: NOOP\nS: 250 2.0.0 OK\nC: QUIT",
        ),
        (
            Pop3,
            EXCHANGE_POP,
            "S: +OK User successfully authenticated\nC: STAT\nS: +OK 3 1024\nC: QUIT",
        ),
    ];
    for (protocol, opening, ending) in rows {
        let row = ("", protocol, opening, ending, (Step::Command, Accepted), "");
        let login = run(&row).await;
        assert_eq!(
            (login.step, login.meaning),
            (Step::Command, Accepted),
            "{}",
            login.transcript
        );
        assert_eq!((login.standing(), login.said), (Standing::Accepted, None));
    }
}

#[tokio::test]
async fn the_mechanism_is_chosen_from_what_the_server_offers() {
    let xoauth2 = run(&(
        "",
        Imap,
        GMAIL_IMAP,
        "S: {tag} NO no",
        (Step::Authenticate, CredentialRefused),
        "",
    ))
    .await;
    let bearer = run(&(
        "",
        Imap,
        YAHOO_IMAP,
        "S: {tag} NO no",
        (Step::Authenticate, CredentialRefused),
        "",
    ))
    .await;
    assert_eq!(xoauth2.mechanism, Some(Mechanism::XOAuth2));
    assert_eq!(bearer.mechanism, Some(Mechanism::OAuthBearer));
}

#[tokio::test]
async fn a_server_without_a_mechanism_for_tokens_gets_no_token() {
    let rows = [
        (
            Imap,
            "S: * OK hello\nC: CAPABILITY\nS: * CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=LOGIN\nS: {tag} OK done\nC: LOGOUT",
            MechanismNotOffered,
        ),
        (
            Imap,
            "S: * OK hello\nC: CAPABILITY\nS: * CAPABILITY IMAP4rev1 LOGINDISABLED\nS: {tag} OK done\nC: LOGOUT",
            LoginDisabled,
        ),
        (
            Smtp,
            "S: 220 hello\nC: EHLO ...\nS: 250-hello\nS: 250 AUTH PLAIN LOGIN\nC: QUIT",
            MechanismNotOffered,
        ),
        (
            Pop3,
            "S: +OK hello\nC: CAPA\nS: -ERR what?\nC: QUIT",
            MechanismNotOffered,
        ),
    ];
    for (protocol, script, meaning) in rows {
        let login = Case::new(protocol, script).run().await;
        assert_eq!(
            (login.step, login.meaning),
            (Step::Authenticate, meaning),
            "{}",
            login.transcript
        );
        assert_eq!(login.standing(), Standing::Refused);
    }
}

#[tokio::test]
async fn a_token_that_is_too_long_for_the_command_is_sent_when_the_server_asks_for_it() {
    let long = "t".repeat(6000);
    let response = xoauth2(&long);
    let scripts = [
        (
            Smtp,
            GMAIL_SMTP,
            "C: AUTH XOAUTH2\nS: 334 \nC: {response}\nS: 235 2.7.0 Accepted\nC: NOOP\nS: 250 OK\nC: QUIT",
        ),
        (
            Imap,
            GMAIL_IMAP,
            "C: AUTHENTICATE XOAUTH2\nS: + \nC: {response}\nS: {tag} OK in\nC: EXAMINE INBOX\nS: {tag} OK\nC: LOGOUT",
        ),
        (
            Pop3,
            EXCHANGE_POP,
            "C: AUTH XOAUTH2\nS: + \nC: {response}\nS: +OK in\nC: STAT\nS: +OK 0 0\nC: QUIT",
        ),
    ];
    for (protocol, opening, ending) in scripts {
        let opening = opening.lines().filter(|line| !line.contains("{xoauth2}"));
        let opening = opening.collect::<Vec<_>>().join("\n");
        let script = format!("{opening}\n{}", ending.replace("{response}", &response));
        let login = Case::new(protocol, &script).with(token(&long)).run().await;
        assert_eq!(login.meaning, Accepted, "{}", login.transcript);
        assert!(!login.transcript.to_string().contains("tttttttttttttttt"));
    }
}

#[tokio::test]
async fn the_longest_line_of_a_command_is_512_bytes_at_smtp() {
    // "AUTH XOAUTH2 " and CRLF leave 497 bytes to the response, and base64 comes in fours.
    let token_for = |length: usize| "t".repeat(length / 4 * 3 - "user=support@example.com1auth=Bearer 11".len());
    for (response_length, ending) in [
        (496, "C: AUTH XOAUTH2 ...\nS: 235 in\nC: NOOP\nS: 250 OK"),
        (500, "C: AUTH XOAUTH2\nS: 334 \nC: ...\nS: 235 in\nC: NOOP\nS: 250 OK"),
    ] {
        let text = token_for(response_length);
        assert_eq!(xoauth2(&text).len(), response_length);
        let script = format!("S: 220 hi\nC: EHLO ...\nS: 250-hi\nS: 250 AUTH XOAUTH2\n{ending}");
        let login = Case::new(Smtp, &script).with(token(&text)).run().await;
        assert_eq!(login.meaning, Accepted, "{}", login.transcript);
    }
}

#[tokio::test]
async fn an_imap_server_without_initial_responses_is_asked_first() {
    let script = scripted(
        "S: * OK hi\nC: CAPABILITY\nS: * CAPABILITY IMAP4rev1 AUTH=XOAUTH2\nS: {tag} OK\nC: AUTHENTICATE XOAUTH2\nS: + \nC: {xoauth2}\nS: {tag} OK in\nC: EXAMINE INBOX\nS: {tag} OK",
    );
    let login = Case::new(Imap, &script).with(token(TOKEN)).run().await;
    assert_eq!(login.meaning, Accepted, "{}", login.transcript);
}

#[tokio::test]
async fn what_a_server_says_about_the_token_is_told() {
    let login = run(&ROWS[1]).await;
    let challenge = Challenge {
        status: Some("400".to_owned()),
        scope: Some("https://mail.google.com/".to_owned()),
    };
    assert_eq!(login.challenge, Some(challenge));
    assert!(
        login
            .transcript
            .to_string()
            .contains("status 400, the scope is https://mail.google.com/")
    );
}

#[tokio::test]
async fn start_tls_works_for_imap_and_pop3_too() {
    let scripts = [
        (
            Imap,
            "S: * OK hi\nC: CAPABILITY\nS: * CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\nS: {tag} OK\nC: STARTTLS\nS: {tag} OK begin\ntls\nC: CAPABILITY\nS: * CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2\nS: {tag} OK\nC: AUTHENTICATE XOAUTH2 {xoauth2}\nS: {tag} OK in\nC: EXAMINE INBOX\nS: {tag} OK\nC: LOGOUT",
        ),
        (
            Pop3,
            "S: +OK hi\nC: CAPA\nS: +OK\nS: STLS\nS: .\nC: STLS\nS: +OK begin\ntls\nC: CAPA\nS: +OK\nS: SASL XOAUTH2\nS: .\nC: AUTH XOAUTH2 {xoauth2}\nS: +OK in\nC: STAT\nS: +OK 0 0\nC: QUIT",
        ),
    ];
    for (protocol, script) in scripts {
        let login = Case::start_tls(protocol, &scripted(script))
            .with(token(TOKEN))
            .run()
            .await;
        assert_eq!(login.meaning, Accepted, "{}", login.transcript);
    }
}

#[tokio::test]
async fn a_password_is_said_in_the_way_that_the_server_offers() {
    const IMAP: &str = "S: * OK hi\nC: CAPABILITY\nS: * CAPABILITY IMAP4rev1 {offer}\nS: {tag} OK\n{login}\nS: {tag} OK in\nC: EXAMINE INBOX\nS: {tag} OK";
    const SMTP: &str = "S: 220 hi\nC: EHLO ...\nS: 250-hi\nS: 250 AUTH {offer}\n{login}\nS: 235 in\nC: NOOP\nS: 250 OK";
    const POP: &str = "S: +OK hi\nC: CAPA\nS: +OK\nS: {offer}\nS: .\n{login}\nS: +OK in\nC: STAT\nS: +OK 0 0";
    const PLAIN: &str = "AHN1cHBvcnRAZXhhbXBsZS5jb20AYXBwICJwYXNzIg==";
    const LOGIN: &str = "C: {verb} LOGIN\nS: {more}\nC: c3VwcG9ydEBleGFtcGxlLmNvbQ==\nS: {more}\nC: YXBwICJwYXNzIg==";
    let rows = [
        (
            Imap,
            IMAP,
            "SASL-IR AUTH=LOGIN AUTH=PLAIN",
            "C: AUTHENTICATE PLAIN {plain}",
            Mechanism::Plain,
        ),
        (
            Imap,
            IMAP,
            "AUTH=PLAIN",
            "C: AUTHENTICATE PLAIN\nS: + \nC: {plain}",
            Mechanism::Plain,
        ),
        (Imap, IMAP, "SASL-IR AUTH=LOGIN", LOGIN, Mechanism::Login),
        (
            Imap,
            IMAP,
            "SASL-IR AUTH=XOAUTH2",
            r#"C: LOGIN "support@example.com" "app \"pass\"""#,
            Mechanism::Command,
        ),
        (Smtp, SMTP, "LOGIN PLAIN", "C: AUTH PLAIN {plain}", Mechanism::Plain),
        (Smtp, SMTP, "LOGIN", LOGIN, Mechanism::Login),
        (Pop3, POP, "SASL PLAIN", "C: AUTH PLAIN {plain}", Mechanism::Plain),
        (
            Pop3,
            POP,
            "USER",
            "C: USER support@example.com\nS: +OK\nC: PASS app \"pass\"",
            Mechanism::Command,
        ),
    ];
    for (protocol, script, offer, login, mechanism) in rows {
        let (verb, more) = match protocol {
            Imap => ("AUTHENTICATE", "+ "),
            Smtp => ("AUTH", "334 "),
            Pop3 => ("AUTH", "+ "),
        };
        let login = login
            .replace("{verb}", verb)
            .replace("{more}", more)
            .replace("{plain}", PLAIN);
        let script = script.replace("{offer}", offer).replace("{login}", &login);
        let login = Case::new(protocol, &script).with(password("app \"pass\"")).run().await;
        assert_eq!(
            (login.meaning, login.mechanism),
            (Accepted, Some(mechanism)),
            "{}",
            login.transcript
        );
        let shown = login.transcript.to_string();
        assert!(
            !shown.contains("app \"pass") && !shown.contains(PLAIN) && !shown.contains("YXBwICJwYXNzIg"),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn a_password_that_no_server_takes_any_more_is_told_apart() {
    for (words, meaning) in [
        (
            "534-5.7.9 Application-specific password required. For more information, go to\nS: 534 5.7.9  https://support.google.com/mail/?p=InvalidSecondFactor - gsmtp",
            PasswordLoginDisabled,
        ),
        (
            "534 5.7.14 <https://accounts.google.com/signin/continue> Please log in via your web browser",
            PasswordLoginDisabled,
        ),
        (
            "535 5.7.139 Authentication unsuccessful, the request did not meet the criteria to be authenticated successfully.",
            PasswordLoginDisabled,
        ),
        (
            "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.",
            PasswordLoginDisabled,
        ),
        (
            "550 5.7.30 Basic authentication is not supported for Client Submission.",
            PasswordLoginDisabled,
        ),
        ("525 5.7.13 User account disabled", AccountDisabled),
        ("535 5.7.8 Error: authentication failed", CredentialRefused),
    ] {
        let script = format!("S: 220 hi\nC: EHLO ...\nS: 250-hi\nS: 250 AUTH PLAIN\nC: AUTH PLAIN ...\nS: {words}");
        let login = Case::new(Smtp, &script).with(password("hunter22")).run().await;
        assert_eq!(
            (login.step, login.meaning),
            (Step::Authenticate, meaning),
            "{}",
            login.transcript
        );
    }
}

#[tokio::test]
async fn the_transcript_reads_like_the_conversation() {
    let login = run(&ROWS[1]).await;
    let shown = login.transcript.to_string();
    let port = shown
        .lines()
        .next()
        .unwrap()
        .replace(|letter: char| letter.is_ascii_digit(), "");
    assert_eq!(port, "-- IMAP at localhost port , security TLS");
    let rest = shown.split_once('\n').unwrap().1;
    assert_eq!(
        rest,
        "\
-- TLS 1.3, the certificate is valid for localhost
S: * OK Gimap ready for requests from 192.0.2.1 d2e1a72fcca58-7b1mb1
C: A1 CAPABILITY
S: * CAPABILITY IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 XYZZY SASL-IR AUTH=XOAUTH2 AUTH=PLAIN AUTH=PLAIN-CLIENTTOKEN AUTH=OAUTHBEARER
S: A1 OK Thats all she wrote! d2e1a72fcca58-7b1mb1
C: A2 AUTHENTICATE XOAUTH2 <support@example.com and a token of 28 bytes, in base64>
S: + eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIiwic2NvcGUiOiJodHRwczovL21haWwuZ29vZ2xlLmNvbS8ifQ==
-- which says: status 400, the scope is https://mail.google.com/
C: <an empty line>
S: A2 NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)
C: A3 LOGOUT
-- The mail server refuses the credential. Most often somebody else than the login name signed in, the token lacks the scope for mail, or a right given lately has not reached the server yet.
"
    );
}
