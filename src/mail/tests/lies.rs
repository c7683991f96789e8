//! What no mail server should do: lie, stay silent, flood, have the wrong certificate, or be no mail server at all.

use std::time::{Duration, Instant};

use futures::future::join_all;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::server::{Case, Certificate, USER, password, token};
use crate::api::Security;
use crate::mail::Meaning::{self, *};
use crate::mail::Protocol::{self, Imap, Pop3, Smtp};
use crate::mail::talk::{Failure, Talk};
use crate::mail::transcript::Scribe;
use crate::mail::wire::Wire;
use crate::mail::{
    Credential, Limits, Login, MailClient, MailServer, MailSettings, Mechanism, QuotedPorts, Speaker, Standing, Step,
    Transcript,
};
use crate::outbound::PrivateAddresses;

const IMAP: &str = "S: * OK hi\nC: CAPABILITY\nS: * CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2\nS: {tag} OK\nC: AUTHENTICATE XOAUTH2 ...\n";
const SMTP: &str = "S: 220 hi\nC: EHLO ...\nS: 250-hi\nS: 250 AUTH XOAUTH2\nC: AUTH XOAUTH2 ...\n";
const POP: &str = "S: +OK hi\nC: CAPA\nS: +OK\nS: SASL XOAUTH2\nS: .\nC: AUTH XOAUTH2 ...\n";

async fn run(protocol: Protocol, ending: &str) -> Login {
    let opening = match protocol {
        Imap => IMAP,
        Smtp => SMTP,
        Pop3 => POP,
    };
    Case::new(protocol, &format!("{opening}{ending}")).run().await
}

#[rustfmt::skip]
const LIES: &[(&str, Protocol, &str, (Step, Meaning))] = &[
    ("OK, then BAD",                Imap, "S: {tag} OK in\nC: EXAMINE INBOX\nS: {tag} BAD what",           (Step::Command, Misunderstood)),
    ("OK, then NO",                 Imap, "S: {tag} OK in\nC: EXAMINE INBOX\nS: {tag} NO such mailbox",    (Step::Command, MailboxNotOpened)),
    ("OK, then gone",               Imap, "S: {tag} OK in",                                                (Step::Command, HungUp)),
    ("235, then gone",              Smtp, "S: 235 in",                                                     (Step::Command, HungUp)),
    ("+OK, then gone",              Pop3, "S: +OK in",                                                     (Step::Command, HungUp)),
    ("gone instead of an answer",   Imap, "close",                                                              (Step::Authenticate, HungUp)),
    ("gone instead of an answer",   Smtp, "close",                                                              (Step::Authenticate, HungUp)),
    ("gone in the middle of a line", Smtp, "raw: 535 5.7\nclose",                                                 (Step::Authenticate, HungUp)),
    ("gone in the middle of a reply", Smtp, "S: 535-5.7.8 no\nclose",                                             (Step::Authenticate, HungUp)),
    ("bare LF",                     Imap, "raw: A2 OK in\\n",                                              (Step::Authenticate, Nonsense)),
    ("bare LF",                     Smtp, "raw: 235 in\\n",                                                (Step::Authenticate, Nonsense)),
    ("bare LF",                     Pop3, "raw: +OK in\\n",                                                (Step::Authenticate, Nonsense)),
    ("a zero byte",                 Pop3, "raw: +OK \\0 in\\r\\n",                                         (Step::Authenticate, Nonsense)),
    ("another tag",                 Imap, "S: A9 OK in",                                                   (Step::Authenticate, Nonsense)),
    ("neither OK nor NO nor BAD",   Imap, "S: {tag} YES in",                                               (Step::Authenticate, Nonsense)),
    ("a code out of range",         Smtp, "S: 935 in",                                                     (Step::Authenticate, Nonsense)),
    ("two codes in one reply",      Smtp, "S: 235-in\nS: 535 out",                                         (Step::Authenticate, Nonsense)),
    ("wants data",                  Smtp, "S: 354 go ahead",                                               (Step::Authenticate, Nonsense)),
    ("challenges without end",      Smtp, "S: 334 \nC:\nS: 334 ",                                          (Step::Authenticate, Nonsense)),
    ("challenges without end",      Imap, "S: + \nC:\nS: + ",                                              (Step::Authenticate, Nonsense)),
    ("a line without end",          Imap, "flood: x",                                                      (Step::Authenticate, Nonsense)),
    ("lines without end",           Imap, "flood: * OK still here\\r\\n",                                  (Step::Authenticate, Nonsense)),
    ("a reply without end",         Smtp, "flood: 250-still here\\r\\n",                                   (Step::Authenticate, Nonsense)),
    ("a literal of a gigabyte",     Imap, "S: * LIST () {1000000000}",                                     (Step::Authenticate, Nonsense)),
    ("a challenge, then yes",       Smtp, "S: 334 \nC:\nS: 235 in\nC: NOOP\nS: 535 5.7.8 no",              (Step::Command, MailboxNotOpened)),
    ("a question after a command",  Imap, "S: {tag} OK in\nC: EXAMINE INBOX\nS: + and now",                (Step::Command, Nonsense)),
];

#[tokio::test]
async fn each_lie_has_its_meaning() {
    for (name, protocol, ending, (step, meaning)) in LIES {
        let login = run(*protocol, ending).await;
        assert_eq!(
            (login.step, login.meaning),
            (*step, *meaning),
            "{name}, {protocol:?}\n{}",
            login.transcript
        );
    }
}

#[tokio::test]
async fn what_is_no_greeting_is_neither_believed_nor_quoted() {
    let greetings = [
        "S: SSH-2.0-OpenSSH_9.2p1 secret-host",
        "S: HTTP/1.1 400 Bad Request secret-host",
        "S: -DENIED Redis is running secret-host",
        "S: * PREAUTH secret-host",
        "S: 250 secret-host",
        "S: 220_secret-host",
        "S: + secret-host",
        "raw: * OK secret-host\\n",
        "raw: 220 secret-host\\n",
        "raw: +OK secret-host\\n",
        "raw: \\0\\0\\0secret-host\\r\\n",
        "flood: secret-host",
        "flood: 220-secret-host\\r\\n",
    ];
    for greeting in greetings {
        for protocol in [Imap, Smtp, Pop3] {
            let login = Case::new(protocol, greeting).run().await;
            assert_eq!(
                (login.step, login.meaning),
                (Step::Greeting, NotMail),
                "{greeting} {protocol:?}\n{}",
                login.transcript
            );
            assert!(
                !format!("{login:?}").contains("secret-host"),
                "{greeting} {protocol:?}\n{}",
                login.transcript
            );
        }
    }
}

#[tokio::test]
async fn a_megabyte_of_greeting_is_not_read_to_its_end() {
    let megabyte = "x".repeat(1024 * 1024);
    for (protocol, greeting) in [(Imap, "* OK "), (Smtp, "220 "), (Pop3, "+OK ")] {
        let login = Case::new(protocol, &format!("S: {greeting}{megabyte}")).run().await;
        assert_eq!(
            (login.step, login.meaning),
            (Step::Greeting, NotMail),
            "{}",
            login.transcript
        );
        assert!(login.transcript.to_string().len() < 1000);
    }
}

#[tokio::test]
async fn a_server_that_turns_us_away_with_its_greeting_is_quoted() {
    for (protocol, greeting, meaning, words) in [
        (
            Imap,
            "* BYE Too many connections from your address",
            Throttled,
            "BYE Too many connections from your address",
        ),
        (
            Imap,
            "* BYE Disconnected for maintenance",
            Temporary,
            "BYE Disconnected for maintenance",
        ),
        (
            Smtp,
            "421 4.3.2 Service not available",
            Temporary,
            "421 4.3.2 Service not available",
        ),
        (
            Smtp,
            "554 5.7.1 Your address is blocked",
            TurnedAway,
            "554 5.7.1 Your address is blocked",
        ),
        (Pop3, "-ERR not today", TurnedAway, "-ERR not today"),
    ] {
        let login = Case::new(protocol, &format!("S: {greeting}")).run().await;
        assert_eq!(
            (login.step, login.meaning),
            (Step::Greeting, meaning),
            "{}",
            login.transcript
        );
        assert_eq!(login.said.as_deref(), Some(words));
        assert_eq!(login.standing(), Standing::Unknown);
    }
}

#[tokio::test]
async fn a_server_on_a_port_that_is_not_one_of_mail_is_not_quoted() {
    let mut case = Case::new(Imap, &format!("{IMAP}S: {{tag}} NO [AUTHENTICATIONFAILED] secret-host"));
    case.settings.quoted_ports = QuotedPorts::OfMail;
    let login = case.run().await;
    assert_eq!(login.meaning, CredentialRefused);
    assert_eq!(login.said, None);
    assert!(!login.transcript.to_string().contains("S: "), "{}", login.transcript);
    assert!(!format!("{login:?}").contains("secret-host"));
}

/// Within its limit of time: the test itself gives a busy machine much more.
async fn in_time(case: Case) -> Login {
    let begun = Instant::now();
    let login = case.hurried().run().await;
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    login
}

#[tokio::test]
async fn silence_ends_with_the_time_limit_wherever_it_begins() {
    let rows = [
        ("hang".to_owned(), Step::Greeting),
        ("S: * OK hi\nhang".to_owned(), Step::Capabilities),
        (
            "S: * OK hi\nC: CAPABILITY\nS: * CAPABILITY IMAP4rev1\nhang".to_owned(),
            Step::Capabilities,
        ),
        (format!("{IMAP}hang"), Step::Authenticate),
        (format!("{IMAP}raw: A2 OK no end of line\nhang"), Step::Authenticate),
        (format!("{IMAP}S: + \nC:\nhang"), Step::Authenticate),
        (
            format!("{IMAP}S: {{tag}} OK\nC: EXAMINE INBOX\nS: * 3 EXISTS\nhang"),
            Step::Command,
        ),
    ];
    let logins = rows.map(async |(script, step)| (in_time(Case::new(Imap, &script)).await, step));
    for (login, step) in join_all(logins).await {
        assert_eq!((login.step, login.meaning), (step, Silent), "{}", login.transcript);
        assert_eq!(login.standing(), Standing::Unknown);
    }
    // No TLS handshake comes.
    let mut case = Case::new(Imap, "");
    case.script = "hang".to_owned();
    let login = in_time(case).await;
    assert_eq!((login.step, login.meaning), (Step::Tls, Silent));
}

#[tokio::test]
async fn a_server_that_drips_does_not_outlast_the_limit_for_everything() {
    let mut case = Case::new(Imap, "");
    case.settings.limits.whole = Duration::from_secs(3);
    case.script = format!(
        "tls\nS: * OK hi\nC: CAPABILITY\n{}",
        "S: * OK still here\nwait\n".repeat(1000)
    );
    let login = case.run().await;
    assert_eq!(
        (login.step, login.meaning),
        (Step::Capabilities, Silent),
        "{}",
        login.transcript
    );
}

#[tokio::test]
async fn a_farewell_is_not_waited_for_beyond_the_limit() {
    let case = Case::new(Imap, &format!("{IMAP}S: {{tag}} NO no\nC: LOGOUT\nhang"));
    assert_eq!(in_time(case).await.meaning, CredentialRefused);
}

#[tokio::test]
async fn each_fault_of_a_certificate_has_its_meaning_and_no_token_is_sent() {
    for (certificate, meaning) in [
        (Certificate::OtherName, WrongName),
        (Certificate::Expired, CertificateExpired),
        (Certificate::NotYetValid, CertificateNotYetValid),
        (Certificate::UnknownAuthority, UnknownAuthority),
    ] {
        for protocol in [Imap, Smtp, Pop3] {
            let mut case = Case::new(protocol, "S: nobody comes as far as this");
            case.certificate = certificate;
            let login = case.run().await;
            assert_eq!(
                (login.step, login.meaning),
                (Step::Tls, meaning),
                "{}",
                login.transcript
            );
            assert_eq!(login.standing(), Standing::Unknown);
        }
        let mut case = Case::start_tls(
            Smtp,
            "S: 220 hi\nC: EHLO ...\nS: 250-hi\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\ntls\nC: nothing",
        );
        case.certificate = certificate;
        let login = case.run().await;
        assert_eq!(
            (login.step, login.meaning),
            (Step::Tls, meaning),
            "{}",
            login.transcript
        );
    }
}

#[tokio::test]
async fn a_server_that_speaks_plain_text_where_tls_should_begin_is_told_apart() {
    for (protocol, greeting) in [(Imap, "S: * OK hi"), (Smtp, "S: 220 hi"), (Pop3, "S: +OK hi")] {
        let mut case = Case::new(protocol, "");
        case.script = format!("{greeting}\nhang");
        let login = case.run().await;
        assert_eq!((login.step, login.meaning), (Step::Tls, NotTls), "{}", login.transcript);
    }
}

#[tokio::test]
async fn what_stands_behind_the_answer_to_starttls_ends_the_conversation() {
    let scripts = [
        (
            Imap,
            "S: * OK hi\nC: CAPABILITY\nS: * CAPABILITY IMAP4rev1 STARTTLS\nS: {tag} OK\nC: STARTTLS\nraw: {tag} OK go\\r\\n* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\\r\\nA3 OK\\r\\n\ntls\nC: nothing",
        ),
        (
            Smtp,
            "S: 220 hi\nC: EHLO ...\nS: 250-hi\nS: 250 STARTTLS\nC: STARTTLS\nraw: 220 go\\r\\n250 AUTH XOAUTH2\\r\\n\ntls\nC: nothing",
        ),
        (
            Pop3,
            "S: +OK hi\nC: CAPA\nS: +OK\nS: STLS\nS: .\nC: STLS\nraw: +OK go\\r\\n+OK\\r\\nSASL XOAUTH2\\r\\n.\\r\\n\ntls\nC: nothing",
        ),
    ];
    for (protocol, script) in scripts {
        let login = Case::start_tls(protocol, script).run().await;
        assert_eq!(
            (login.step, login.meaning),
            (Step::StartTls, PlaintextInjected),
            "{}",
            login.transcript
        );
        assert_eq!(login.standing(), Standing::Unknown);
    }
}

#[tokio::test]
async fn without_starttls_nothing_is_said_in_plain_text() {
    let scripts = [
        (
            Imap,
            "S: * OK hi\nC: CAPABILITY\nS: * CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2\nS: {tag} OK\nC: LOGOUT",
        ),
        (Smtp, "S: 220 hi\nC: EHLO ...\nS: 250-hi\nS: 250 AUTH XOAUTH2\nC: QUIT"),
        (
            Smtp,
            "S: 220 hi\nC: EHLO ...\nS: 250-hi\nS: 250-STARTTLS\nS: 250 AUTH XOAUTH2\nC: STARTTLS\nS: 554 not today\nC: QUIT",
        ),
        (
            Smtp,
            "S: 220 hi\nC: EHLO ...\nS: 250-hi\nS: 250-STARTTLS\nS: 250 AUTH XOAUTH2\nC: STARTTLS\nS: 502 no\nC: QUIT",
        ),
        (Pop3, "S: +OK hi\nC: CAPA\nS: +OK\nS: SASL XOAUTH2\nS: .\nC: QUIT"),
    ];
    for (protocol, script) in scripts {
        let login = Case::start_tls(protocol, script).run().await;
        assert_eq!(
            (login.step, login.meaning),
            (Step::StartTls, NoStartTls),
            "{}",
            login.transcript
        );
        assert_eq!(login.standing(), Standing::Unknown);
    }
}

#[tokio::test]
async fn without_encryption_nobody_logs_in() {
    for credential in [token("a-token"), password("a-password")] {
        let script = "S: * OK hi\nC: CAPABILITY\nS: * CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2 AUTH=PLAIN\nS: {tag} OK\nC: LOGOUT";
        let mut case = Case::start_tls(Imap, script).with(credential);
        case.security = Security::None;
        let login = case.run().await;
        assert_eq!(login.meaning, NotEncrypted, "{}", login.transcript);
    }
}

#[tokio::test]
async fn a_server_that_repeats_the_token_is_not_quoted() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    const SECRET: &str = "ya29.a-token-that-nobody-may-see";
    let in_base64 = STANDARD.encode(format!("user={USER}\u{1}auth=Bearer {SECRET}\u{1}\u{1}"));
    for echo in [
        SECRET.to_owned(),
        format!("bad token '{}'", SECRET.get(3..25).unwrap()),
        in_base64.clone(),
        format!("AUTHENTICATE XOAUTH2 {in_base64} failed"),
    ] {
        let script = format!("{IMAP}S: {{tag}} NO {echo}");
        let login = Case::new(Imap, &script).with(token(SECRET)).run().await;
        assert_eq!((login.meaning, &login.said), (CredentialRefused, &None));
        let shown = format!("{login:?}");
        assert!(
            !shown.contains("nobody-may") && !shown.contains(in_base64.get(70..).unwrap()),
            "{shown}"
        );
    }
    let challenge = STANDARD.encode(format!(r#"{{"status":"{SECRET}"}}"#));
    let login = Case::new(Imap, &format!("{IMAP}S: + {challenge}\nC:\nS: {{tag}} NO no"))
        .with(token(SECRET))
        .run()
        .await;
    assert!(!format!("{login:?}").contains("nobody-may"), "{}", login.transcript);
    assert!(!format!("{login:?}").contains(&challenge), "{}", login.transcript);
}

#[tokio::test]
async fn what_a_server_says_cannot_move_the_cursor_or_fill_the_screen() {
    let words = format!("\u{1b}[2J\u{202e}red\u{7}\t{}", "long ".repeat(500));
    let login = run(Imap, &format!("S: {{tag}} NO {words}")).await;
    let said = login.said.unwrap();
    assert!(said.starts_with("NO [2J red long long"), "{said}");
    assert!(said.chars().count() <= 500);
    for entry in login.transcript.entries() {
        assert!(entry.text.chars().count() <= 500);
        assert!(!entry.text.chars().any(char::is_control));
    }
}

#[tokio::test]
async fn a_transcript_has_an_end() {
    let chatter = "S: * OK noise\n".repeat(300);
    let login = run(Imap, &format!("{chatter}S: {{tag}} NO no")).await;
    assert_eq!(login.meaning, CredentialRefused);
    assert_eq!(login.transcript.entries().len(), 100);
    assert!(
        login.transcript.to_string().ends_with("more lines)\n"),
        "{}",
        login.transcript
    );
}

#[tokio::test]
async fn a_name_that_cannot_be_said_is_not_said() {
    for (offer, credential) in [
        ("AUTH=XOAUTH2", token("a\u{1}b")),
        ("AUTH=PLAIN", password("a\0b")),
        ("ID", password("a\r\nA9 DELETE INBOX")),
    ] {
        let script =
            format!("S: * OK hi\nC: CAPABILITY\nS: * CAPABILITY IMAP4rev1 SASL-IR {offer}\nS: {{tag}} OK\nC: LOGOUT");
        let login = Case::new(Imap, &script).with(credential).run().await;
        assert_eq!(
            (login.step, login.meaning),
            (Step::Authenticate, Unsayable),
            "{}",
            login.transcript
        );
    }
    let script = "S: +OK hi\nC: CAPA\nS: +OK\nS: USER\nS: .\nC: QUIT";
    let login = Case::new(Pop3, script).with(password("a\r\nDELE 1")).run().await;
    assert_eq!(login.meaning, Unsayable, "{}", login.transcript);
}

fn client(private_addresses: PrivateAddresses) -> MailClient {
    let _ = rustls::crypto::ring::default_provider().install_default();
    MailClient::new(MailSettings {
        private_addresses,
        ..MailSettings::default()
    })
    .unwrap()
}

fn at(host: &str, port: u16) -> MailServer {
    MailServer {
        protocol: Imap,
        host: host.to_owned(),
        port,
        security: Security::Tls,
        username: USER.to_owned(),
    }
}

#[tokio::test]
async fn loopback_and_metadata_addresses_are_not_connected_to() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for host in [
        "127.0.0.1",
        "localhost",
        "::1",
        "169.254.169.254",
        "::ffff:127.0.0.1",
        "2130706433",
    ] {
        let login = client(PrivateAddresses::Refuse)
            .log_in(&at(host, port), &token("t"), None)
            .await;
        assert!(
            matches!(login.meaning, AddressNotAllowed | Unresolvable),
            "{host}: {:?}",
            login.meaning
        );
        assert_eq!(login.step, Step::Resolve);
    }
    let nobody = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(nobody.is_err());
}

#[tokio::test]
async fn a_host_that_is_not_there_is_unreachable() {
    let client = client(PrivateAddresses::Allow);
    let free = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let login = client.log_in(&at("127.0.0.1", port), &token("t"), None).await;
    assert_eq!((login.step, login.meaning), (Step::Connect, Unreachable));
    let login = client.log_in(&at("mail.invalid", 993), &token("t"), None).await;
    assert_eq!((login.step, login.meaning), (Step::Resolve, Unresolvable));
}

#[test]
fn every_meaning_has_a_name_of_its_own_and_a_sentence() {
    let mut names: Vec<_> = Meaning::ALL.iter().map(|meaning| meaning.as_str()).collect();
    assert!(Meaning::ALL.iter().all(|meaning| meaning.advice().ends_with('.')));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Meaning::ALL.len());
    assert_eq!(
        format!("{:?}", Credential::Token("a-token".into())).find("a-token"),
        None
    );
    assert_ne!(Speaker::Client, Speaker::Server);
}

/// What the lines of servers are made of.
#[rustfmt::skip]
const PIECES: &[&str] = &[
    "* OK ", "* BYE ", "* NO ", "* CAPABILITY ", "IMAP4rev1 SASL-IR AUTH=XOAUTH2", "A1 ", "A2 ", "A3 ", "OK ", "NO ", "BAD ", "{3}", "{99999999999999999999}", "{", "}",
    "220 ", "220-", "250 ", "250-", "AUTH XOAUTH2", "334 ", "235 ", "535 5.7.8 ", "999 ", "22", "+OK ", "-ERR ", "+ ", "+", "SASL XOAUTH2", ".", "eyJzdGF0dXMiOjQwMX0=",
    "=", "\u{1}", "\0", "\u{e9}", "\u{202e}", "ya29.a-token-of-thirty-bytes", " ", "\n", "\r",
];

/// Answers of a server: mostly lines, mostly made of what servers say.
fn answers() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        4 => Just(b"\r\n".to_vec()),
        1 => vec(any::<u8>(), 0..8),
    ];
    vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn whatever_a_server_says_the_conversation_ends_and_shows_no_secret(
        protocol in select(&[Imap, Smtp, Pop3][..]),
        answers in answers(),
    ) {
        let greeting = match protocol {
            Imap => "* OK hi\r\n* CAPABILITY SASL-IR AUTH=XOAUTH2\r\nA1 OK\r\n",
            Smtp => "220 hi\r\n250-hi\r\n250 AUTH XOAUTH2\r\n",
            Pop3 => "+OK hi\r\n+OK\r\nSASL XOAUTH2\r\n.\r\n",
        };
        for said in [answers.clone(), [greeting.as_bytes(), &answers].concat()] {
            let transcript = overheard(protocol, &said);
            let shown = transcript.to_string();
            prop_assert!(!shown.contains("a-token-of-thirty"), "{}", shown);
            prop_assert!(!shown.chars().any(|letter| letter != '\n' && letter.is_control()), "{}", shown);
        }
    }
}

/// The conversation with a server that says all this and closes.
fn overheard(protocol: Protocol, said: &[u8]) -> Transcript {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let credential = token("ya29.a-token-of-thirty-bytes");
    let mut scribe = Scribe::new(&credential, true);
    let server = MailServer {
        protocol,
        ..at("localhost", 993)
    };
    runtime.block_on(async {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        theirs.write_all(said).await.unwrap();
        theirs.shutdown().await.unwrap();
        let end = tokio::time::Instant::now() + Duration::from_secs(60);
        let wire = Wire::new(Box::new(ours), Limits::default(), end, &mut scribe);
        let mut talk = Talk::new(wire, &server, "127.0.0.1:1".parse().unwrap());
        let _: Result<(), Failure> = async {
            talk.greeting().await?;
            let offer = talk.offer().await?;
            talk.authenticate(Mechanism::XOAuth2, &offer, &credential).await?;
            talk.prove().await
        }
        .await;
    });
    scribe.into_transcript()
}
