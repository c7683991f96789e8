//! What goes over the wire at each provider, byte for byte, and what comes back.
//!
//! `wire/` has a file for each entry of the catalogue: which requests go out there, where that stands in the provider's documentation, and answers with what
//! becomes of them. A server with a certificate for the provider's own hosts sits at the end of a proxy on this machine, compares each request with the file to the
//! last byte, and sends the recorded answer. What is compared is made as the operator makes it: from a spec, the catalogue and a client, by the real
//! [`TokenClient`]. Every answer in `explain/answers/` is sent as well, to each provider that has its dialect.
//!
//! A file is read from the top: `pages` are where a reader can check it. Of each exchange `body` holds the parameters as they are sent, one a line. All requests begin
//! with [`head`]; `headers` are what comes besides. `says` is what [`told`] makes of an answer.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::explain::tests::{Recorded, recorded, shown};
use super::situation::person;
use crate::api::{ClientAuthentication, EmailAssetSpec, Grant};
use crate::lifecycle::Stated;
use crate::oauth::assertion::tests::{parts, rsa_pem, rsa_signed};
use crate::oauth::tests::server::{Proxy, Server, Step, install_tls_provider};
use crate::oauth::{
    self, Answer, CaBundle, Circumstance, ClientCredentials, ClientKey, CodeExchange, DeviceAuthorization,
    DeviceFailure, DevicePoll, DevicePolled, DeviceRequest, Dialect, HttpSettings, Issuance, IssuedTo,
    MailboxAssertion, NotRevoked, Outcome, PrivateAddresses, ProxySetting, Redemption, Refusal, Revocation,
    ServiceAccount, SigningKey, Situation, TokenClient,
};
use crate::provider::{Catalogue, ClientOwns, Endpoints, Entry, WayToToken, resolve};

const USER_AGENT: &str = "emailasset-operator/test";
/// The one of RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CODE: &str = "4/0Ab+code=";
const DEVICE_CODE: &str = "the-device/code+1=";
const FEDERATED: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJjbHVzdGVyIn0.c2ln";
/// Stands in a body for an assertion, which is another one each time.
const ASSERTION: &str = "{assertion}";
/// How far a time in an assertion may lie from the one in the file, in seconds.
const SLOW: i64 = 300;

/// What one file holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Wire {
    /// Where a reader can check it.
    pages: Vec<String>,
    mailbox: String,
    client: Registered,
    refresh_token: Option<String>,
    /// Laid over the spec of all exchanges.
    #[serde(default)]
    spec: Value,
    exchanges: Vec<Exchange>,
}

/// The client at the provider.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Registered {
    id: String,
    secret: Option<String>,
}

/// A request and answers to it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exchange {
    ask: Ask,
    /// Laid over the file's spec.
    #[serde(default)]
    spec: Value,
    /// What the client proves itself with, where it is not its secret.
    #[serde(default)]
    with: Proof,
    source: String,
    /// For a sign-in: where the person is sent.
    to: Url,
    #[serde(default)]
    headers: Vec<String>,
    #[serde(default)]
    body: Vec<String>,
    /// Of the assertion.
    #[serde(default)]
    header: Map<String, Value>,
    #[serde(default)]
    claims: Map<String, Value>,
    #[serde(default)]
    answers: Vec<Reply>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Ask {
    Authorize,
    Code,
    Refresh,
    Device,
    Poll,
    Issue,
    Revoke,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Proof {
    #[default]
    Secret,
    Key,
    Certificate,
    Federation,
    Nothing,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reply {
    /// Where it was seen; none: as the exchange.
    #[serde(default)]
    source: Option<String>,
    status: u16,
    #[serde(default)]
    headers: String,
    body: String,
    says: String,
}

impl Wire {
    fn of(key: &str) -> Self {
        let path = format!("{}/src/controller/wire/{key}.yaml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let wire: Self = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(!wire.pages.is_empty(), "{path} says where nothing stands");
        wire
    }

    fn endpoints(&self, key: &str, entry: &Entry, exchange: &Exchange) -> Endpoints {
        let grant = exchange.ask.grant(entry);
        let mut spec = json!({"email": self.mailbox, "provider": key, "oauth2": {
            "grant": grant.as_str(), "clientCredentialsRef": {"name": "client"},
        }});
        if grant == Grant::RefreshToken {
            spec["oauth2"]["refreshTokenSecretRef"] = json!({"name": "seed", "key": "refresh_token"});
        }
        for more in [&self.spec, &exchange.spec] {
            if more.is_object() {
                json_patch::merge(&mut spec, more);
            }
        }
        let spec: EmailAssetSpec = serde_json::from_value(spec).unwrap();
        resolve(&spec, Catalogue::built_in().unwrap()).unwrap_or_else(|error| panic!("{key}: {error}"))
    }

    fn credentials(&self, exchange: &Exchange, endpoints: &Endpoints) -> ClientCredentials {
        let owns = match exchange.with {
            Proof::Secret if self.client.secret.is_some() => ClientOwns::Secret,
            Proof::Key | Proof::Certificate => ClientOwns::Key,
            Proof::Secret | Proof::Federation | Proof::Nothing => ClientOwns::Nothing,
        };
        ClientCredentials {
            client_id: self.client.id.clone(),
            client_secret: (owns == ClientOwns::Secret)
                .then(|| self.client.secret.clone().map(SecretString::from))
                .flatten(),
            authentication: match endpoints.authentication(owns) {
                ClientAuthentication::ClientSecretBasic => oauth::ClientAuthentication::ClientSecretBasic,
                ClientAuthentication::ClientSecretPost => oauth::ClientAuthentication::ClientSecretPost,
                ClientAuthentication::None => oauth::ClientAuthentication::None,
                ClientAuthentication::FederatedToken => oauth::ClientAuthentication::Federated(FEDERATED.into()),
                ClientAuthentication::PrivateKeyJwt => oauth::ClientAuthentication::PrivateKeyJwt(ClientKey {
                    key: key(exchange.with),
                    audience: endpoints.token_url.clone(),
                }),
            },
        }
    }
}

fn key(proof: Proof) -> SigningKey {
    let key = SigningKey::from_pem(&rsa_pem()).unwrap();
    match proof {
        Proof::Certificate => key.with_certificate(include_str!("wire/certificate.pem")).unwrap(),
        _ => key,
    }
}

impl Ask {
    fn grant(self, entry: &Entry) -> Grant {
        match self {
            Self::Authorize | Self::Code => Grant::AuthorizationCode,
            Self::Device | Self::Poll => Grant::DeviceCode,
            Self::Refresh | Self::Revoke => Grant::RefreshToken,
            Self::Issue if entry.ways().contains(&WayToToken::JWTBearer) => Grant::JwtBearer,
            Self::Issue => Grant::ClientCredentials,
        }
    }

    /// The requests that a provider takes.
    fn all(entry: &Entry) -> BTreeSet<Self> {
        let ways = entry.ways();
        let asks = |way: &WayToToken| match way {
            WayToToken::AuthorizationCode => vec![Self::Authorize, Self::Code],
            WayToToken::DeviceCode => vec![Self::Device, Self::Poll],
            WayToToken::RefreshToken => vec![Self::Refresh],
            WayToToken::ClientCredentials | WayToToken::JWTBearer => vec![Self::Issue],
        };
        let revoke = ways.contains(&WayToToken::RefreshToken) && entry.revocation_url.is_some();
        ways.iter()
            .flat_map(asks)
            .chain(revoke.then_some(Self::Revoke))
            .collect()
    }
}

/// The first bytes of each request; a Basic header comes before the name of the agent.
fn head(to: &Url, headers: &[String], length: usize) -> String {
    let more: String = headers.iter().map(|header| encoded(header) + "\r\n").collect();
    format!(
        "POST {} HTTP/1.1\r\naccept: application/json\r\ncontent-type: application/x-www-form-urlencoded\r\n{more}user-agent: {USER_AGENT}\r\nhost: {}\r\ncontent-length: {length}\r\n\r\n",
        &to[url::Position::BeforePath..],
        to.host_str().unwrap(),
    )
}

/// A header whose `base64(…)` is written out.
fn encoded(header: &str) -> String {
    match header.split_once("base64(") {
        Some((name, rest)) => name.to_owned() + &STANDARD.encode(rest.strip_suffix(')').unwrap()),
        None => header.to_owned(),
    }
}

/// A request to come, and the answer to it.
struct Scene {
    to: Url,
    headers: Vec<String>,
    body: String,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    answer: String,
}

impl Scene {
    fn new(exchange: &Exchange, status: u16, headers: &str, body: &str) -> Self {
        Self {
            to: exchange.to.clone(),
            headers: exchange.headers.clone(),
            body: exchange.body.join("&"),
            header: exchange.header.clone(),
            claims: exchange.claims.clone(),
            answer: format!(
                "HTTP/1.1 {status} Recorded\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{headers}\r\n{body}",
                body.len()
            ),
        }
    }

    /// What is wrong with a request, if something is.
    fn compare(&self, request: &str) -> Option<String> {
        let sent = request.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        let (body, problem) = match self.body.split_once(ASSERTION) {
            None => (self.body.clone(), None),
            Some((before, after)) => {
                let assertion = sent.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
                let assertion = assertion.unwrap_or_default();
                (
                    self.body.replace(ASSERTION, assertion),
                    self.compare_assertion(assertion),
                )
            }
        };
        let expected = format!("{}{body}", head(&self.to, &self.headers, body.len()));
        if expected == request {
            return problem;
        }
        Some(format!("expected\n{expected}\nand got\n{request}\n"))
    }

    fn compare_assertion(&self, assertion: &str) -> Option<String> {
        if !rsa_signed(assertion) {
            return Some(format!("{assertion:?} is not signed with the client's key"));
        }
        let [header, claims] = parts(assertion).map(|part| serde_json::from_str::<Map<String, Value>>(&part).unwrap());
        let same = is_as_written(&header, &self.header) && is_as_written(&claims, &self.claims);
        (!same).then(|| {
            format!(
                "expected an assertion {:?} {:?}, and got {header:?} {claims:?}",
                self.header, self.claims
            )
        })
    }
}

/// The same members with the same values, where `now` means a time and `fresh` any text.
fn is_as_written(sent: &Map<String, Value>, written: &Map<String, Value>) -> bool {
    let same = |(name, written): (&String, &Value)| match (written.as_str(), sent.get(name)) {
        (Some("fresh"), Some(Value::String(sent))) => sent.len() >= 16,
        (Some(time), Some(sent)) if time.starts_with("now") => {
            let after: i64 = time.trim_start_matches("now").trim_start_matches('+').parse().unwrap();
            let wanted = Timestamp::now().as_second() + after;
            sent.as_i64()
                .is_some_and(|sent| (wanted - SLOW..=wanted).contains(&sent))
        }
        (_, sent) => sent == Some(written),
    };
    sent.len() == written.len() && written.iter().all(same)
}

/// A server that plays scenes, at the end of a proxy that takes every host for it.
struct Stage {
    client: TokenClient,
    authority: CaBundle,
    scenes: Arc<Mutex<VecDeque<Scene>>>,
    problems: Arc<Mutex<Vec<String>>>,
    proxy: Proxy,
    _server: Server,
}

impl Stage {
    async fn set(hosts: &BTreeSet<String>) -> Self {
        install_tls_provider();
        let scenes = Arc::new(Mutex::new(VecDeque::<Scene>::new()));
        let problems = Arc::new(Mutex::new(Vec::new()));
        let (next, log) = (Arc::clone(&scenes), Arc::clone(&problems));
        let names: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let server = Server::named(&names, move |request| {
            let Some(scene) = next.lock().unwrap().pop_front() else {
                log.lock().unwrap().push(format!("nobody waits for\n{request}"));
                return None;
            };
            log.lock().unwrap().extend(scene.compare(request));
            Some(Step::Answer(scene.answer))
        })
        .await;
        let proxy = Proxy::start(server.port).await;
        let client = TokenClient::new(HttpSettings {
            timeout: Duration::from_secs(60),
            private_addresses: PrivateAddresses::Allow,
            proxy: ProxySetting::Through(proxy.url.clone()),
            user_agent: USER_AGENT.to_owned(),
            ..HttpSettings::default()
        });
        Self {
            client: client.unwrap(),
            authority: server.authority.clone(),
            scenes,
            problems,
            proxy,
            _server: server,
        }
    }

    /// Sends the exchange's request once.
    async fn play(&self, wire: &Wire, exchange: &Exchange, endpoints: &Endpoints, situation: &Situation) -> Ended {
        let client = wire.credentials(exchange, endpoints);
        let certificate_authority = Some(self.authority.clone());
        let refresh_token = || SecretString::from(wire.refresh_token.clone().unwrap());
        let token_endpoint = endpoints.token_url.clone();
        match exchange.ask {
            Ask::Authorize => unreachable!("a browser sends that"),
            Ask::Refresh => {
                let redemption = Redemption::at(endpoints, client, refresh_token(), certificate_authority);
                Ended::Token(self.client.redeem(&redemption, situation).await)
            }
            Ask::Code => {
                let exchange = CodeExchange {
                    token_endpoint,
                    client,
                    code: CODE.into(),
                    verifier: VERIFIER.into(),
                    redirect_uri: "https://mail.example.com/callback".to_owned(),
                    certificate_authority,
                };
                Ended::Token(self.client.exchange(&exchange, situation).await)
            }
            Ask::Issue => {
                let to = match exchange.ask.grant(
                    Catalogue::built_in()
                        .unwrap()
                        .get(endpoints.provider.as_ref().unwrap())
                        .unwrap(),
                ) {
                    Grant::JwtBearer => IssuedTo::Delegate {
                        account: ServiceAccount {
                            email: wire.client.id.clone(),
                            key: key(Proof::Key).with_key_id("0a1b2c"),
                        },
                        mailbox: wire.mailbox.clone(),
                        form: MailboxAssertion::at(endpoints),
                    },
                    _ => IssuedTo::Client(client),
                };
                let issuance = Issuance {
                    token_endpoint,
                    to,
                    scopes: endpoints.scopes.clone(),
                    certificate_authority,
                };
                Ended::Token(self.client.issue(&issuance, situation).await)
            }
            Ask::Device => {
                let request = DeviceRequest {
                    device_authorization_endpoint: endpoints.sign_in.device_authorization_url.clone().unwrap(),
                    client,
                    scopes: endpoints.sign_in.scopes.clone(),
                    certificate_authority,
                };
                Ended::Device(self.client.begin_device(&request, situation).await)
            }
            Ask::Poll => {
                let poll = DevicePoll {
                    token_endpoint,
                    client,
                    device_code: DEVICE_CODE.into(),
                    certificate_authority,
                };
                Ended::Poll(self.client.poll_device(&poll, situation).await)
            }
            Ask::Revoke => {
                let revocation = Revocation {
                    endpoint: endpoints.revocation_url.clone().unwrap(),
                    client,
                    refresh_token: refresh_token(),
                    gone: endpoints.revocation_gone.clone(),
                    certificate_authority,
                };
                Ended::Revocation(self.client.revoke(&revocation, situation).await)
            }
        }
    }

    /// What the server complained about since the last time.
    fn problems(&self) -> Vec<String> {
        self.scenes.lock().unwrap().clear();
        std::mem::take(&mut *self.problems.lock().unwrap())
    }
}

enum Ended {
    Token(Outcome),
    Device(Result<DeviceAuthorization, DeviceFailure>),
    Poll(DevicePolled),
    Revocation(Result<(), NotRevoked>),
}

/// An ending in a line.
fn told(ended: &Ended) -> String {
    match ended {
        Ended::Token(Outcome::Answered(answer)) | Ended::Poll(DevicePolled::Answered(answer)) => told_of_token(answer),
        Ended::Revocation(Err(no)) if no.may_pass() => "not now".to_owned(),
        Ended::Token(Outcome::Refused(refusal))
        | Ended::Device(Err(DeviceFailure::Refused(refusal)))
        | Ended::Poll(DevicePolled::Refused(refusal))
        | Ended::Revocation(Err(NotRevoked::Refused(refusal))) => told_of_refusal(refusal),
        Ended::Token(Outcome::NotSent(failure)) | Ended::Poll(DevicePolled::NotSent(failure)) => {
            format!("not sent: {failure}")
        }
        Ended::Token(Outcome::Unknown(failure)) => format!("nobody knows: {}", failure.kind),
        Ended::Device(Ok(given)) => format!(
            "{} at {} for {}s, ask every {}s",
            given.user_code,
            given.verification_url,
            given.expires_in.as_secs(),
            given.interval.as_secs()
        ),
        Ended::Device(Err(failure)) => failure.to_string(),
        Ended::Poll(DevicePolled::Pending) => "not yet".to_owned(),
        Ended::Poll(DevicePolled::SlowDown) => "less often".to_owned(),
        Ended::Poll(DevicePolled::Declined) => "declined".to_owned(),
        Ended::Poll(DevicePolled::Expired) => "over".to_owned(),
        Ended::Poll(DevicePolled::Unknown(failure)) => format!("ask again: {}", failure.kind),
        Ended::Revocation(Ok(())) => "given back".to_owned(),
        Ended::Revocation(Err(no)) => no.to_string(),
    }
}

fn told_of_token(answer: &Answer) -> String {
    let life = answer.expires_in.map(|life| format!(" for {}s", life.as_secs()));
    let refresh = answer
        .refresh_token
        .as_ref()
        .map(|token| format!(", refresh token {}", token.expose_secret()));
    let end = answer.refresh_token_life.map(|life| match life {
        Stated::Never => ", refresh token never ends".to_owned(),
        Stated::In(life) => format!(", refresh token ends in {}s", life.as_secs()),
    });
    let scopes = answer
        .scopes
        .as_ref()
        .map(|scopes| format!(", for {}", scopes.join(" ")));
    let parts = [life, refresh, end, scopes].map(Option::unwrap_or_default);
    format!("token {}{}", answer.access_token.expose_secret(), parts.join(""))
}

fn told_of_refusal(refusal: &Refusal) -> String {
    let wait = refusal
        .retry_after
        .map(|wait| format!(", not before {}s", wait.as_secs()));
    format!(
        "{} {}{}",
        refusal.class.as_str(),
        refusal.reason.as_str(),
        wait.unwrap_or_default()
    )
}

/// The answers of the provider's dialect that this request could get: those for grants without a person, or the others.
fn of_dialect(exchange: &Exchange, dialect: Dialect) -> Vec<Recorded> {
    let alone = exchange.ask == Ask::Issue;
    let mut answers = recorded(dialect);
    answers.retain(|recorded| recorded.when.contains(&Circumstance::NoPerson) == alone);
    answers
}

/// The answer's class and reason, if they are not as recorded.
fn misjudged(recorded: &Recorded, dialect: Dialect, outcome: &Outcome) -> Option<String> {
    let found = match outcome {
        Outcome::Answered(_) => ("TOKEN", String::new()),
        Outcome::Unknown(_) => ("UNKNOWN", shown(dialect, recorded, outcome).reason.as_str().to_owned()),
        Outcome::Refused(_) => {
            let failure = shown(dialect, recorded, outcome);
            (failure.class.as_str(), failure.reason.as_str().to_owned())
        }
        Outcome::NotSent(failure) => return Some(failure.to_string()),
    };
    let wanted = (recorded.class.as_str(), recorded.reason.clone());
    (found != wanted).then(|| format!("expected {wanted:?}, and got {found:?}: {}", recorded.body))
}

async fn problems_of(key: &str, entry: &Entry) -> Vec<String> {
    let wire = Wire::of(key);
    let hosts = wire.exchanges.iter().filter_map(|exchange| exchange.to.host_str());
    let stage = Stage::set(&hosts.map(str::to_owned).collect()).await;
    let (mut problems, mut answers) = (Vec::new(), 0);
    let mut repeated = BTreeSet::new();
    for exchange in &wire.exchanges {
        let name = format!("{key}, {:?} ({})", exchange.ask, exchange.source);
        let endpoints = wire.endpoints(key, entry, exchange);
        if exchange.ask == Ask::Authorize {
            problems.extend(authorize_problem(&wire, exchange, &endpoints).map(|problem| format!("{name}: {problem}")));
            continue;
        }
        if exchange.answers.is_empty() {
            problems.push(format!("{name}: no answer"));
        }
        let plain = Situation::at(&endpoints).with(person(exchange.ask.grant(entry)));
        for reply in &exchange.answers {
            let scene = Scene::new(exchange, reply.status, &reply.headers, &reply.body);
            stage.scenes.lock().unwrap().push_back(scene);
            let says = told(&stage.play(&wire, exchange, &endpoints, &plain).await);
            if says != reply.says {
                let source = reply.source.as_deref().unwrap_or_default();
                problems.push(format!(
                    "{name}: {source} {} should say {:?}, and says {says:?}",
                    reply.body, reply.says
                ));
            }
            problems.extend(stage.problems().into_iter().map(|problem| format!("{name}: {problem}")));
            answers += usize::from(matches!(exchange.ask, Ask::Refresh | Ask::Issue));
        }
        if !matches!(exchange.ask, Ask::Refresh | Ask::Issue) || !repeated.insert(exchange.ask) {
            continue;
        }
        for recorded in of_dialect(exchange, plain.dialect) {
            let situation = Situation {
                dialect: plain.dialect,
                circumstances: recorded.when.clone(),
            };
            let scene = Scene::new(exchange, recorded.status, &recorded.headers, &recorded.body);
            stage.scenes.lock().unwrap().push_back(scene);
            if let Ended::Token(outcome) = stage.play(&wire, exchange, &endpoints, &situation).await {
                problems
                    .extend(misjudged(&recorded, plain.dialect, &outcome).map(|problem| format!("{name}: {problem}")));
            }
            problems.extend(stage.problems().into_iter().map(|problem| format!("{name}: {problem}")));
            answers += 1;
        }
    }
    let asked: BTreeSet<Ask> = wire.exchanges.iter().map(|exchange| exchange.ask).collect();
    let missing: Vec<Ask> = Ask::all(entry).difference(&asked).copied().collect();
    if !missing.is_empty() {
        problems.push(format!("{key}: {missing:?} is missing"));
    }
    if answers < 8 {
        problems.push(format!("{key}: {answers} answers"));
    }
    problems
}

/// The address that a person is sent to, without what belongs to one sign-in: the pages and the plugin add it (`signin/routes.rs`, `plugin/authorize/request.rs`).
fn authorize_problem(wire: &Wire, exchange: &Exchange, endpoints: &Endpoints) -> Option<String> {
    let found = endpoints
        .sign_in
        .authorization_request(&wire.client.id, &wire.mailbox)
        .unwrap();
    let wanted = format!("{}?{}", exchange.to, exchange.body.join("&"));
    (found.as_str() != wanted).then(|| format!("expected {wanted}\nand got  {found}"))
}

#[tokio::test]
async fn every_request_is_as_the_provider_wants_it_and_every_answer_is_understood() {
    let mut problems = Vec::new();
    for (key, entry) in Catalogue::built_in().unwrap().entries() {
        problems.extend(problems_of(key, entry).await);
    }
    assert!(
        problems.is_empty(),
        "{} problems\n{}",
        problems.len(),
        problems.join("\n\n")
    );
}

/// Invariant 10: an endpoint that may get a credential does not lead it to one that may not.
#[tokio::test]
async fn no_redirect_is_followed_from_any_endpoint() {
    let catalogue = Catalogue::built_in().unwrap();
    let (key, entry) = ("oidc", catalogue.get("oidc").unwrap());
    let wire = Wire::of(key);
    let stage = Stage::set(&["id.example.com", "elsewhere.example.com"].map(str::to_owned).into()).await;
    let mut asked = BTreeSet::new();
    let sent = wire.exchanges.iter().filter(|exchange| exchange.ask != Ask::Authorize);
    for exchange in sent.filter(|exchange| asked.insert(exchange.ask)) {
        let endpoints = wire.endpoints(key, entry, exchange);
        for status in [301, 302, 303, 307, 308] {
            let location = format!("Location: https://elsewhere.example.com{}\r\n", exchange.to.path());
            let scene = Scene::new(exchange, status, &location, "");
            stage.scenes.lock().unwrap().push_back(scene);
            let ended = stage
                .play(&wire, exchange, &endpoints, &Situation::at(&endpoints))
                .await;
            assert_eq!(
                told(&ended),
                "ADMIN_CONFIG EndpointUnusable",
                "{:?} {status}",
                exchange.ask
            );
            assert_eq!(stage.problems(), Vec::<String>::new(), "{:?} {status}", exchange.ask);
        }
    }
    assert_eq!(asked.len(), 6);
    let hosts: BTreeSet<String> = stage.proxy.asked.lock().unwrap().iter().cloned().collect();
    assert_eq!(hosts, ["CONNECT id.example.com:443 HTTP/1.1".to_owned()].into());
}
