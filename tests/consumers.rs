//! The ready-made keys of a token Secret, read by the programs that they are for.
//!
//! A Secret is laid out in a directory, as the kubelet would mount it, and the real client logs in from it to a server on a loopback port that writes down what it
//! is told. The words are as ugly as the API allows. msmtp and mbsync come with `tests/setup`; Exim and Postfix, of which a machine has one at most, are tried where
//! they are installed, and said to be missed where not (`EMAILASSET_ALL_CONSUMERS=1` makes that a failure).

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that cannot go on says so by panicking, in helpers too"
)]

#[path = "consumers/server.rs"]
mod server;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use emailasset::api::{Format, Security};
use emailasset::formats::{Issued, Mailbox, Outline, directory};
use emailasset::provider::{Mechanism, Server};
use secrecy::ExposeSecret;
use tempfile::TempDir;

use server::{Answer, LoopbackServer, Spoken};

/// Every character that a login name may have.
const USER: &str = "a!#%&()*+,./:;<=>?@^_{|}~-Z9@example.com";
/// The same without the one that ends it in Postfix.
const USER_OF_POSTFIX: &str = "a!#%&()*+,./;<=>?@^_{|}~-Z9@example.com";
/// Every visible character, and long enough for no command line of SMTP.
fn token() -> String {
    let visible: String = ('!'..='~').collect();
    visible.repeat(20)
}

/// A mounted Secret.
struct Mounted(TempDir);

impl Mounted {
    fn new(formats: &[Format], user: &str, port: u16, mechanisms: &[Mechanism]) -> Self {
        let at = Server {
            host: "localhost".to_owned(),
            port,
            security: Security::Tls,
            username: user.to_owned(),
        };
        let mailbox = Mailbox {
            secret: "support-token",
            email: "support@example.com",
            username: user,
            smtp: Some(&at),
            imap: Some(&at),
            pop3: None,
            mechanisms,
        };
        let outline = Outline::new(formats, &mailbox).unwrap().unwrap();
        let keys = outline.render(&Issued {
            token: &token().into(),
            token_type: "Bearer",
            expires: Some("2026-11-25T15:00:00Z".parse().unwrap()),
        });
        let folder = tempfile::tempdir().unwrap();
        // Whoever delivers mail is another user.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mounted = Self(folder);
        for (key, value) in keys {
            mounted.put(&key, value.expose_secret());
        }
        mounted.put("access_token", &token());
        mounted.put("username", user);
        mounted
    }

    fn put(&self, key: &str, text: &str) {
        fs::write(self.path(key), text).unwrap();
    }

    fn path(&self, key: &str) -> PathBuf {
        self.0.path().join(key)
    }

    fn text(&self, key: &str) -> String {
        fs::read_to_string(self.path(key)).unwrap()
    }

    fn folder(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    /// Trusts the test's certificate in place of the system's.
    fn replace(&self, key: &str, from: &str, to: &str) {
        let text = self.text(key);
        assert!(text.contains(from), "{key}:\n{text}");
        self.put(key, &text.replace(from, to));
    }
}

fn run(command: &mut Command, input: &str) -> Output {
    use std::io::Write;

    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; run tests/setup"));
    // A client that fails early reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn succeeded(output: &Output) -> String {
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{} {}",
        said(&output.stdout),
        said(&output.stderr)
    );
    said(&output.stdout)
}

/// Where a server of mail is installed, `PATH` or not.
fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').map(PathBuf::from).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join(name)).find(|file| file.exists());
    if found.is_none() {
        assert!(
            std::env::var_os("EMAILASSET_ALL_CONSUMERS").is_none(),
            "{name} is not installed"
        );
        eprintln!("not tried: {name} is not installed");
    }
    found
}

const MAIL: &str = "From: support@example.com\nTo: someone@example.com\nSubject: a test\n\nhello\n";

fn xoauth2(user: &str) -> String {
    format!("user={user}\u{1}auth=Bearer {}\u{1}\u{1}", token())
}

fn oauthbearer(user: &str, port: u16) -> String {
    let user = user.replace('=', "=3D").replace(',', "=2C");
    let token = token();
    format!("n,a={user},\u{1}host=localhost\u{1}port={port}\u{1}auth=Bearer {token}\u{1}\u{1}")
}

#[test]
fn msmtp_logs_in_with_either_mechanism() {
    for (mechanism, user) in [
        (Mechanism::XOAuth2, USER),
        (Mechanism::OAuthBearer, "a!#%&()*+./:;<>?@^_{|}~-Z9@example.com"),
    ] {
        let server = LoopbackServer::smtp(mechanism.as_str(), Answer::Accept);
        let mounted = Mounted::new(&[Format::Msmtp], user, server.port, &[mechanism]);
        let trusted = format!("tls_trust_file {}", server.certificate());
        mounted.replace("msmtprc", "tls_trust_file system", &trusted);
        let mut msmtp = Command::new("msmtp");
        msmtp
            .args(["-C", mounted.path("msmtprc").to_str().unwrap(), "someone@example.com"])
            .env("EMAILASSET_DIR", mounted.folder());
        succeeded(&run(&mut msmtp, MAIL));
        let spoken = server.spoken();
        let expected = match mechanism {
            Mechanism::XOAuth2 => xoauth2(user),
            Mechanism::OAuthBearer => oauthbearer(user, spoken.port),
        };
        assert!(spoken.login == expected, "{}", spoken.login);
        let sender = "MAIL FROM:<support@example.com>".to_owned();
        assert!(spoken.lines.contains(&sender), "{:?}", spoken.lines);
    }
}

#[test]
fn msmtp_reads_the_token_where_the_secret_is_mounted_by_itself() {
    let mounted = Mounted::new(&[Format::Msmtp], USER, 465, &[]);
    let text = mounted.text("msmtprc");
    let expected = format!(
        r#"passwordeval cat "${{EMAILASSET_DIR:-{}}}/access_token""#,
        directory("support-token")
    );
    assert!(text.lines().any(|line| line == expected), "{text}");
    // As the client understands it, with the one thing changed that needs the mount.
    mounted.replace("msmtprc", &directory("support-token"), mounted.folder());
    let mut msmtp = Command::new("msmtp");
    msmtp.args([
        "-C",
        mounted.path("msmtprc").to_str().unwrap(),
        "--pretend",
        "someone@example.com",
    ]);
    let shown = succeeded(&run(msmtp.env_remove("EMAILASSET_DIR"), MAIL));
    for line in [
        "host = localhost",
        "port = 465",
        "auth = XOAUTH2",
        &format!("user = {USER}"),
        "password = *",
        "tls = on",
        "tls_starttls = off",
        "tls_trust_file = system",
        "tls_certcheck = on",
        "from = support@example.com",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in\n{shown}");
    }
}

#[test]
fn mbsync_logs_in_and_lists_the_folders() {
    let server = LoopbackServer::imap(Answer::Accept);
    let mounted = Mounted::new(&[Format::Mbsync], USER, server.port, &[]);
    let trusted = format!("SSLType IMAPS\nCertificateFile {}", server.certificate());
    mounted.replace("mbsyncrc", "SSLType IMAPS", &trusted);
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("Maildir")).unwrap();
    let mut mbsync = Command::new("mbsync");
    mbsync
        .args(["-c", mounted.path("mbsyncrc").to_str().unwrap(), "-l", "emailasset"])
        .env("EMAILASSET_DIR", mounted.folder())
        .env("HOME", home.path());
    let listed = succeeded(&run(&mut mbsync, ""));
    assert!(listed.lines().any(|line| line == "INBOX"), "{listed}");
    assert_eq!(server.spoken().login, xoauth2(USER));
}

#[test]
fn a_shell_reads_the_variables_and_nothing_else_happens() {
    let mounted = Mounted::new(&[Format::Env], USER, 465, &[]);
    let script = r#". "$1"; printf '%s\n' "$EMAILASSET_ACCESS_TOKEN" "$EMAILASSET_TOKEN_TYPE" "$EMAILASSET_EXPIRES_AT" "$EMAILASSET_EMAIL" "$EMAILASSET_USERNAME" "$EMAILASSET_SMTP_HOST" "$EMAILASSET_SMTP_PORT" "$EMAILASSET_SMTP_SECURITY" "$EMAILASSET_SMTP_USERNAME"; set | grep -c ^EMAILASSET_"#;
    let mut shell = Command::new("sh");
    shell
        .args(["-euc", script, "sh", mounted.path("token.env").to_str().unwrap()])
        .env_remove("EMAILASSET_ALL_CONSUMERS");
    let shown = succeeded(&run(&mut shell, ""));
    let token = token();
    let expected = [
        token.as_str(),
        "Bearer",
        "2026-11-25T15:00:00Z",
        "support@example.com",
        USER,
        "localhost",
        "465",
        "TLS",
        USER,
        "13",
    ];
    assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn python_reads_the_json_and_logs_in_as_the_guide_says() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/consumers.md")).unwrap();
    let program = page.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    for answer in [Answer::Accept, Answer::Refuse] {
        let server = LoopbackServer::smtp("XOAUTH2", answer);
        let mounted = Mounted::new(&[Format::Json], USER, server.port, &[]);
        let whole = format!("{program}\nimport sys\nlogin(sys.argv[1]).quit()\n");
        let mut python = Command::new("python3");
        python
            .args(["-c", &whole, mounted.path("token.json").to_str().unwrap()])
            .env("SSL_CERT_FILE", server.certificate());
        let output = run(&mut python, "");
        assert_eq!(output.status.success(), answer == Answer::Accept);
        let spoken = server.spoken();
        assert_eq!(spoken.login, xoauth2(USER));
        assert_eq!(
            spoken.answer_to_challenge.as_deref(),
            (answer == Answer::Refuse).then_some("")
        );
    }
}

/// A whole configuration of Exim around the pieces.
fn exim(program: &Path, mounted: &Mounted, server: &LoopbackServer, spool: &Path) -> PathBuf {
    let trusted = format!("tls_verify_certificates = {}", server.certificate());
    mounted.replace("exim_transport.conf", "tls_verify_certificates = system", &trusted);
    // It takes loopback addresses for itself.
    mounted.replace("exim_router.conf", "no_more", "self = send\n  no_more");
    let folder = mounted.folder();
    let configuration = format!(
        "exim_path = {program}\nprimary_hostname = test.example.com\nspool_directory = {spool}\nlog_file_path = {spool}/%slog\nkeep_environment =\nEMAILASSET_DIR = {folder}\n\
         begin routers\n.include {folder}/exim_router.conf\nbegin transports\n.include {folder}/exim_transport.conf\n\
         begin authenticators\n.include {folder}/exim_authenticator.conf\n",
        program = program.display(),
        spool = spool.display(),
    );
    let path = spool.join("exim.conf");
    fs::write(&path, configuration).unwrap();
    path
}

#[test]
fn exim_sends_with_the_mechanism_that_is_offered_and_answers_a_refusal() {
    let Some(program) = installed("exim4") else { return };
    for mechanism in ["XOAUTH2", "OAUTHBEARER"] {
        for answer in [Answer::Accept, Answer::Refuse] {
            let server = LoopbackServer::smtp(mechanism, answer);
            let mounted = Mounted::new(&[Format::Exim], USER, server.port, &[]);
            let spool = tempfile::tempdir().unwrap();
            fs::set_permissions(spool.path(), fs::Permissions::from_mode(0o777)).unwrap();
            let configuration = exim(&program, &mounted, &server, spool.path());
            let mut exim = Command::new(&program);
            exim.arg("-C").arg(&configuration);
            exim.args(["-odf", "-f", "support@example.com", "someone@example.com"]);
            let output = run(&mut exim, MAIL);
            let said = String::from_utf8_lossy(&output.stderr);
            let log = fs::read_to_string(spool.path().join("mainlog")).unwrap_or_default();
            let spoken: Spoken = server.spoken();
            let (login, to_challenge) = match mechanism {
                "XOAUTH2" => (xoauth2(USER), ""),
                _ => (oauthbearer(USER, spoken.port), "AQ=="),
            };
            assert!(spoken.login == login, "{said}\n{log}\n{}", spoken.login);
            match answer {
                Answer::Accept => assert!(log.contains("=> someone@example.com"), "{log}"),
                Answer::Refuse => assert_eq!(spoken.answer_to_challenge.as_deref(), Some(to_challenge), "{log}"),
            }
        }
    }
}

#[test]
fn postfix_reads_its_parameters_and_finds_the_login() {
    let (Some(postconf), Some(postmap)) = (installed("postconf"), installed("postmap")) else {
        return;
    };
    let mounted = Mounted::new(&[Format::Postfix], USER_OF_POSTFIX, 465, &[]);
    let configuration = tempfile::tempdir().unwrap();
    fs::write(
        configuration.path().join("main.cf"),
        format!("compatibility_level = 3.6\n{}", mounted.text("postfix_main.cf")),
    )
    .unwrap();
    fs::write(configuration.path().join("master.cf"), "").unwrap();
    let folder = configuration.path().to_str().unwrap();
    let shown = run(Command::new(postconf).args(["-c", folder, "-n"]), "");
    assert_eq!(String::from_utf8_lossy(&shown.stderr), "", "no parameter is unknown");
    let shown = succeeded(&shown);
    for line in [
        "relayhost = [localhost]:465".to_owned(),
        format!(
            "smtp_sasl_password_maps = texthash:{}/postfix_sasl_passwd",
            directory("support-token")
        ),
        "smtp_tls_security_level = secure".to_owned(),
        "smtp_tls_wrappermode = yes".to_owned(),
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in\n{shown}");
    }
    let table = format!("texthash:{}", mounted.path("postfix_sasl_passwd").display());
    let found = run(
        Command::new(postmap).args(["-c", folder, "-q", "[localhost]:465", &table]),
        "",
    );
    let expected = format!("{USER_OF_POSTFIX}:{}/sasl_xoauth2.json\n", directory("support-token"));
    assert_eq!(succeeded(&found), expected);
}
