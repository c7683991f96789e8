//! What a person reads after each answer that we know, from the bytes on the wire to the sentence: a recorded server sends the answers in `answers/` over HTTP, and the
//! messages are kept in `messages.txt` to be read aloud. After a change of words run with `UPDATE_SNAPSHOTS=1` and read the difference.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::*;
use crate::api::{EmailAssetSpec, FailureStatus, Rotation};
use crate::lifecycle::{Binding, Fencing, Fingerprint, Generation, SignInBy, SignInWay};
use crate::oauth::errors::Errors;
use crate::oauth::tests::server::{Server, Step, install_tls_provider, response};
use crate::oauth::{
    Circumstance, ClientAuthentication, ClientCredentials, Dialect, HttpSettings, Outcome, PrivateAddresses,
    ProxySetting, Redemption, Situation, TokenClient,
};
use crate::provider::{Catalogue, resolve};

/// One answer, and what has to come of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::controller) struct Recorded {
    pub(in crate::controller) status: u16,
    #[serde(default)]
    pub(in crate::controller) headers: String,
    pub(in crate::controller) body: String,
    #[serde(default)]
    pub(in crate::controller) when: Vec<Circumstance>,
    #[serde(default)]
    history: Option<String>,
    /// How often this answer came before in a row.
    #[serde(default)]
    failed: i64,
    /// The class, or TOKEN, or UNKNOWN where nobody knows whether the token was redeemed.
    pub(in crate::controller) class: String,
    #[serde(default)]
    pub(in crate::controller) reason: String,
    /// At least so many seconds until the next try.
    #[serde(default)]
    wait: Option<i64>,
}

const REFRESH_TOKEN: &str = "1//0e-the-refresh-token-that-is-sent";
const CLIENT_SECRET: &str = "the~client~secret~that~is~sent";

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/controller/explain"))
}

pub(in crate::controller) fn recorded(dialect: Dialect) -> Vec<Recorded> {
    let path = folder().join("answers").join(format!("{}.yaml", dialect.section()));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The provider as people call it, its token endpoint and the scopes that an asset asks for.
const fn provider(dialect: Dialect) -> (&'static str, &'static str, &'static str) {
    match dialect {
        Dialect::Google => (
            "Google",
            "https://oauth2.googleapis.com/token",
            "https://mail.google.com/",
        ),
        Dialect::Microsoft => (
            "Microsoft 365",
            "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token",
            "https://outlook.office.com/SMTP.Send https://outlook.office.com/IMAP.AccessAsUser.All offline_access",
        ),
        Dialect::Yahoo => ("Yahoo", "https://api.login.yahoo.com/oauth2/get_token", "mail-w"),
        Dialect::Zoho => (
            "Zoho",
            "https://accounts.zoho.eu/oauth/v2/token",
            "ZOHOMAIL.PROTOCOL.IMAP",
        ),
        Dialect::Fastmail => (
            "Fastmail",
            "https://api.fastmail.com/oauth/refresh",
            "https://www.fastmail.com/dev/protocol-smtp",
        ),
        Dialect::Yandex => ("Yandex", "https://oauth.yandex.com/token", "mail:smtp mail:imap_full"),
        Dialect::MailRu => (
            "Mail.ru",
            "https://oauth.mail.ru/token",
            "openid mail.imap offline_access",
        ),
        Dialect::Keycloak => (
            "id.example.com",
            "https://id.example.com/realms/mail/protocol/openid-connect/token",
            "openid email offline_access",
        ),
    }
}

pub(super) fn endpoints(dialect: Dialect) -> &'static Endpoints {
    static ALL: LazyLock<HashMap<Dialect, Endpoints>> = LazyLock::new(|| {
        Dialect::ALL
            .into_iter()
            .map(|dialect| (dialect, endpoints_of(dialect)))
            .collect()
    });
    &ALL[&dialect]
}

fn endpoints_of(dialect: Dialect) -> Endpoints {
    let spec = "{email: support@example.com, oauth2: {grant: RefreshToken, refreshTokenSecretRef: {name: s, key: k}, clientID: c, tokenURL: 'https://id.example.com/token'}}";
    let spec: EmailAssetSpec = serde_saphyr::from_str(spec).unwrap();
    let (name, url, scopes) = provider(dialect);
    let url = Url::parse(url).unwrap();
    Endpoints {
        display_name: name.to_owned(),
        token_url: url.clone(),
        refresh_url: url,
        rotation: match dialect {
            Dialect::Fastmail | Dialect::Keycloak => Rotation::Strict,
            _ => Rotation::None,
        },
        scopes: scopes.split(' ').map(str::to_owned).collect(),
        ..resolve(&spec, Catalogue::built_in().unwrap()).unwrap()
    }
}

pub(super) fn names(dialect: Dialect, source: &Source) -> Names {
    let (name, ..) = provider(dialect);
    let way = SignInWay {
        by: SignInBy::Browser,
        login: "support@example.com".to_owned(),
        page: Some("https://mail.example.com/sign-in/6f1d".to_owned()),
    };
    Names {
        asset: "helpdesk/support".to_owned(),
        email: "support@example.com".to_owned(),
        provider: name.to_owned(),
        seed: "helpdesk/support-seed, key refresh_token".to_owned(),
        client: "helpdesk/oauth-client".to_owned(),
        grant_secret: "helpdesk/support-grant".to_owned(),
        token_secret: "helpdesk/support-token".to_owned(),
        sign_in: matches!(source, Source::Grant).then_some(way),
    }
}

/// A server that sends these answers in turn, and a client for it.
struct Rig {
    server: Server,
    client: TokenClient,
    answers: Arc<Mutex<VecDeque<String>>>,
}

impl Rig {
    async fn start() -> Self {
        install_tls_provider();
        let answers = Arc::new(Mutex::new(VecDeque::<String>::new()));
        let next = Arc::clone(&answers);
        let server = Server::answering(move |_| next.lock().unwrap().pop_front().map(Step::Answer)).await;
        let settings = HttpSettings {
            timeout: Duration::from_secs(60),
            private_addresses: PrivateAddresses::Allow,
            proxy: ProxySetting::Direct,
            ..HttpSettings::default()
        };
        Self {
            server,
            client: TokenClient::new(settings).unwrap(),
            answers,
        }
    }

    async fn redeem(&self, status: u16, headers: &str, body: &str, situation: &Situation) -> Outcome {
        let answer = response(&format!("{status} Recorded"), headers, body);
        self.answers.lock().unwrap().push_back(answer);
        let redemption = Redemption {
            token_endpoint: self.server.url("localhost"),
            client: ClientCredentials {
                client_id: CLIENT_ID.to_owned(),
                client_secret: Some(SecretString::from(CLIENT_SECRET)),
                authentication: ClientAuthentication::ClientSecretPost,
            },
            refresh_token: SecretString::from(REFRESH_TOKEN),
            scopes: None,
            extra_parameters: Vec::new(),
            certificate_authority: Some(self.server.authority.clone()),
        };
        self.client.redeem(&redemption, situation).await
    }
}

const CLIENT_ID: &str = "6731de76-14a6-49ae-97bc-6eba6914391e";

/// What is shown for a refusal.
pub(super) fn shown_in(dialect: Dialect, when: &[Circumstance], history: History, refusal: &Refusal) -> Failure {
    let recorded = Recorded {
        status: refusal.status,
        headers: String::new(),
        body: String::new(),
        when: when.to_vec(),
        history: (history == History::AnswerLost).then(|| "AnswerLost".to_owned()),
        failed: 0,
        class: String::new(),
        reason: String::new(),
        wait: None,
    };
    shown(dialect, &recorded, &Outcome::Refused(refusal.clone()))
}

/// What is shown for an answer.
pub(in crate::controller) fn shown(dialect: Dialect, recorded: &Recorded, outcome: &Outcome) -> Failure {
    let source = if recorded.when.contains(&Circumstance::FirstUse) {
        Source::Seed(Fingerprint("a".to_owned()))
    } else {
        Source::Grant
    };
    let failed = FailureStatus {
        code: match outcome {
            Outcome::Refused(refusal) => Some(full_code(refusal)),
            _ => None,
        },
        class: Some(FailureClass::Retry.as_str().to_owned()),
        count: Some(recorded.failed),
        ..FailureStatus::default()
    };
    let question = Question {
        redeem: &Redeem {
            from: Generation(7),
            source: source.clone(),
            binding: Binding {
                token_endpoint: "https://id.example.com".to_owned(),
                client_id: CLIENT_ID.to_owned(),
                question: None,
            },
            history: if recorded.history.as_deref() == Some("AnswerLost") {
                History::AnswerLost
            } else {
                History::Clean
            },
            fencing: Fencing::Free,
        },
        names: &names(dialect, &source),
        endpoints: endpoints(dialect),
        past: &Past {
            granted: Some("2026-11-18T12:00:00Z".parse().unwrap()),
            used: Some("2026-08-20T10:00:00Z".parse().unwrap()),
            scopes: Vec::new(),
            failed: (recorded.failed > 0).then_some(failed),
        },
        situation: &situation(dialect, recorded),
        grant_lives: false,
    };
    match outcome {
        Outcome::Refused(refusal) => refused(&question, refusal),
        Outcome::Unknown(failure) => unknown(&question, failure),
        other => panic!("{other:?}"),
    }
}

fn situation(dialect: Dialect, recorded: &Recorded) -> Situation {
    Situation {
        dialect,
        circumstances: recorded.when.clone(),
    }
}

/// The clock of a recorded answer is read against a fixed one, so that messages stay the same.
fn at_noon(outcome: Outcome, headers: &str) -> Outcome {
    let noon: Timestamp = "2026-11-25T12:00:00Z".parse().unwrap();
    let date = headers.lines().find_map(|line| line.strip_prefix("Date: "));
    let sent = date.map(|date| Timestamp::try_from(httpdate::parse_http_date(date).unwrap()).unwrap());
    match outcome {
        Outcome::Refused(refusal) => Outcome::Refused(Refusal {
            clock_ahead: sent.map(|sent| noon.duration_since(sent)),
            ..refusal
        }),
        other => other,
    }
}

#[tokio::test]
async fn every_recorded_answer_has_its_class_reason_and_message() {
    let rig = Rig::start().await;
    let mut text = String::from(
        "# What people read after an answer of a provider. Made by the test every_recorded_answer_has_its_class_reason_and_message;\n# `UPDATE_SNAPSHOTS=1 cargo test --lib explain` writes it.\n",
    );
    let mut problems = Vec::new();
    for dialect in Dialect::ALL {
        let _ = write!(text, "\n# {}\n", provider(dialect).0);
        let answers = recorded(dialect);
        assert!(answers.len() >= 8, "{dialect:?} has {} answers", answers.len());
        for recorded in &answers {
            let outcome = rig
                .redeem(
                    recorded.status,
                    &recorded.headers,
                    &recorded.body,
                    &situation(dialect, recorded),
                )
                .await;
            let outcome = at_noon(outcome, &recorded.headers);
            let _ = write!(text, "\n## {} {}\n", recorded.status, recorded.body);
            if !recorded.when.is_empty() {
                let _ = writeln!(text, "  when {:?}", recorded.when);
            }
            if let Outcome::Answered(answer) = &outcome {
                assert_eq!(recorded.class, "TOKEN", "{recorded:?}");
                let _ = writeln!(text, "  a token that lives {:?}", answer.expires_in);
                continue;
            }
            let failure = shown(dialect, recorded, &outcome);
            let class = match &outcome {
                Outcome::Unknown(_) => "UNKNOWN",
                _ => failure.class.as_str(),
            };
            if (class, failure.reason.as_str()) != (&recorded.class, &recorded.reason) {
                problems.push(format!("{class} {}: {recorded:?}", failure.reason));
            }
            if failure.retry_after < recorded.wait.map(SignedDuration::from_secs) {
                problems.push(format!("waits {:?}: {recorded:?}", failure.retry_after));
            }
            problems.extend(reading_problem(&failure).map(|problem| format!("{problem}: {}", failure.message)));
            let _ = writeln!(
                text,
                "  {} {} ({})\n  {}",
                class, failure.reason, failure.code, failure.message
            );
            if let Some(id) = &failure.trace_id {
                let _ = writeln!(text, "  trace ID {id}");
            }
        }
    }
    assert_as_reviewed(&text);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

fn assert_as_reviewed(text: &str) {
    let path = folder().join("messages.txt");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == reviewed,
        "the messages differ from src/controller/explain/messages.txt; run with UPDATE_SNAPSHOTS=1 and read the difference. First new line: {:?}",
        text.lines()
            .zip(reviewed.lines().chain(std::iter::repeat("")))
            .find(|(new, old)| new != old)
    );
}

/// A person is asked to act only when a person can help, and whoever is asked is told how.
fn reading_problem(failure: &Failure) -> Option<&'static str> {
    let message = &failure.message;
    let has = |words: &[&str]| words.iter().any(|words| message.contains(words));
    let asks_person = has(&["kubectl emailasset authorize", "Put a new refresh token"]);
    let steps = [
        "kubectl ",
        "https://",
        "spec.",
        "console",
        "Entra (",
        "status.signIn",
        "nobody has to do anything",
        "goes on by itself",
        "Secret helpdesk/oauth-client",
        "Ask an admin",
        "Have an admin",
        "Have its admin",
        "network's admin",
        "Look into the log",
        "Entra >",
        "Switch DPoP off",
    ];
    [
        (
            asks_person != (failure.class == FailureClass::Reauthorize),
            "it asks the wrong one",
        ),
        (message.len() > 1300, "it is too long"),
        (
            has(&["..", "  ", "{provider", "{client", "{scopes", "{newGrant"]),
            "it reads badly",
        ),
        (has(&[REFRESH_TOKEN, CLIENT_SECRET]), "it repeats a secret"),
        (!has(&steps), "it has no next step"),
    ]
    .into_iter()
    .find_map(|(is_so, problem)| is_so.then_some(problem))
}

#[tokio::test]
async fn every_number_of_entra_has_its_class() {
    let text = std::fs::read_to_string(folder().join("answers/microsoft-numbers.yaml")).unwrap();
    let numbers: BTreeMap<String, Vec<u32>> = serde_saphyr::from_str(&text).unwrap();
    let rig = Rig::start().await;
    let situation = Situation::speaking(Dialect::Microsoft);
    for (class, numbers) in &numbers {
        for number in numbers {
            // As a member, and in the words alone.
            for body in [
                format!(r#"{{"error":"invalid_grant","error_codes":[{number}]}}"#),
                format!(r#"{{"error":"invalid_grant","error_description":"AADSTS{number}: Words change."}}"#),
            ] {
                match rig.redeem(400, "", &body, &situation).await {
                    Outcome::Refused(refusal) => {
                        assert_eq!(refusal.class.as_str(), class, "{body}");
                        assert_eq!(refusal.detail.unwrap().as_str(), format!("AADSTS{number}"));
                        assert!(refusal.row.is_some(), "{body}");
                    }
                    other => panic!("{body}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn every_row_of_the_dialects_is_met_by_a_recorded_answer() {
    for dialect in Dialect::ALL {
        let mut missing = Vec::new();
        let met: Vec<_> = recorded(dialect)
            .iter()
            .filter_map(|recorded| {
                crate::oauth::answer::tests::row_of(dialect, recorded.status, &recorded.body, &recorded.when)
            })
            .collect();
        for (row, ..) in Errors::built_in().rows_of(dialect.section()) {
            if !met.iter().any(|met| std::ptr::eq(*met, row)) {
                missing.push(format!("{row:?}"));
            }
        }
        assert!(
            missing.is_empty(),
            "no recorded answer of {dialect:?} meets\n{}",
            missing.join("\n")
        );
    }
}

#[tokio::test]
async fn a_sign_in_that_is_refused_says_who_must_act() {
    let rig = Rig::start().await;
    for dialect in Dialect::ALL {
        for recorded in recorded(dialect) {
            let outcome = rig
                .redeem(
                    recorded.status,
                    &recorded.headers,
                    &recorded.body,
                    &situation(dialect, &recorded),
                )
                .await;
            let Outcome::Refused(refusal) = outcome else { continue };
            let message = sign_in_refused(&names(dialect, &Source::Grant), endpoints(dialect), CLIENT_ID, &refusal);
            assert!(message.contains("Nothing was changed."), "{message}");
            assert!(!message.contains("stored grant"), "{message}");
            if refusal.class == Class::AdminConfig {
                assert!(!message.contains("Open the link"), "{message}");
            }
        }
    }
}

#[test]
fn a_clock_is_mentioned_when_it_is_off_by_minutes() {
    let refusal = |ahead: i64, status| {
        let body = br#"{"error":"invalid_client"}"#;
        let mut refusal = crate::oauth::answer::tests::refused_at(Dialect::Google, status, body);
        refusal.clock_ahead = Some(SignedDuration::from_secs(ahead));
        clock(endpoints(Dialect::Google), &refusal)
    };
    assert_eq!(refusal(30, 400), "");
    assert_eq!(refusal(-119, 400), "");
    assert_eq!(refusal(3600, 503), "");
    assert_eq!(
        refusal(430, 401),
        "The operator's clock is 7 minutes ahead of that of Google: set the clock of its node (NTP)."
    );
    assert!(refusal(-18_000, 400).contains("5 hours behind that of Google"));
    assert!(refusal(864_000, 400).contains("10 days ahead"));
}
