//! The authorization server of `tests/authorization-server`, and the door by which tests change how it behaves.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Certificate, Client, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::certificates::Certificates;
use super::run::use_ring;

/// The longest that a start may take; it takes half a second on an idle machine.
const START_LIMIT: Duration = Duration::from_secs(45);

/// A running authorization server. It ends with this value, or with the test process.
#[derive(Debug)]
pub(crate) struct AuthorizationServer {
    /// The endpoints, as the server told them.
    pub(crate) endpoints: Endpoints,
    pub(super) http: Client,
    // Holding it holds its standard input: the server ends when that does, with the last of its doors.
    process: Arc<Child>,
}

/// Where the server is.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Endpoints {
    /// The issuer, `https://127.0.0.1:<port>`.
    pub(crate) url: String,
    /// The token endpoint.
    pub(crate) token_url: String,
    /// RFC 7009.
    pub(crate) revocation_url: String,
    /// RFC 8628.
    pub(crate) device_authorization_url: String,
    /// Where a person signs in.
    pub(crate) authorization_url: String,
    admin_url: String,
}

/// What happens to the old refresh token when a new access token is issued.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Rotation {
    /// It is also the new one.
    None,
    /// There is a new one, and the old one stays good.
    Soft,
    /// There is a new one; who shows the old one again kills the grant with all its tokens.
    Strict,
}

/// A client registered at the server.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RegisteredClient {
    pub(crate) client_id: String,
    /// None for a public client.
    pub(crate) client_secret: Option<String>,
}

/// A refresh token, as if somebody had signed in.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Minted {
    pub(crate) refresh_token: String,
    pub(crate) grant_id: String,
}

/// What the server knows of a token.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Introspection {
    /// Whether it is good now.
    pub(crate) active: bool,
    /// The mailbox that it opens.
    pub(crate) account: Option<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) grant_id: Option<String>,
    pub(crate) scope: Option<String>,
    /// Seconds since 1970.
    pub(crate) expires_at: Option<i64>,
}

/// Counts over all token requests.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Counters {
    /// Requests of any kind, from pages and JWKS to tokens.
    pub(crate) requests: u64,
    pub(crate) token_requests: u64,
    pub(crate) refresh_requests: u64,
    /// Requests whose answer was sent.
    pub(crate) answered: u64,
    /// Requests under way.
    pub(crate) open: u64,
    pub(crate) grants_killed_by_replay: u64,
    /// The most refreshes of one grant that were ever under way at the same time.
    pub(crate) max_overlapping: u64,
}

/// Counts over the refreshes of one grant.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GrantCounters {
    pub(crate) requests: u64,
    pub(crate) max_overlapping: u64,
    /// Requests that were answered with a token.
    #[serde(rename = "answered200")]
    pub(crate) answered_with_token: u64,
    pub(crate) killed_by_replay: u64,
}

/// One token request, as the server saw it. Credentials are `sha256:<hex>`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenRequest {
    pub(crate) number: u64,
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    pub(crate) client_id: Option<String>,
    pub(crate) grant_id: Option<String>,
    pub(crate) account: Option<String>,
    pub(crate) grant_type: Option<String>,
    pub(crate) headers: HashMap<String, Value>,
    pub(crate) parameters: HashMap<String, String>,
    /// The status of the answer; none while it is under way or when nobody got one.
    pub(crate) status: Option<u16>,
    /// Of a poll for a device code: whether it came before the interval was over.
    #[serde(default)]
    pub(crate) too_soon: bool,
}

/// What shall go wrong. Start from [`Fault::default`]: the next token request, of anybody, goes on as usual.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Fault {
    #[serde(rename = "match")]
    pub(crate) applies_to: Match,
    /// How many requests it strikes; `None` for all.
    pub(crate) times: Option<u32>,
    pub(crate) step: Step,
    /// Milliseconds to wait first.
    pub(crate) delay: u64,
    /// Wait until [`InjectedFault::release`].
    pub(crate) hang: bool,
    #[serde(flatten)]
    pub(crate) action: Action,
}

impl Default for Fault {
    fn default() -> Self {
        Self {
            applies_to: Match::default(),
            times: Some(1),
            step: Step::Before,
            delay: 0,
            hang: false,
            action: Action::Continue,
        }
    }
}

/// Which requests a fault is for; every `None` fits all.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Match {
    pub(crate) client_id: Option<String>,
    pub(crate) grant_id: Option<String>,
    pub(crate) account: Option<String>,
    pub(crate) refresh_token: Option<String>,
    pub(crate) grant_type: Option<&'static str>,
}

/// When a fault strikes.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Step {
    /// Before the server has done anything.
    Before,
    /// After it has rotated, with the answer ready.
    After,
}

/// What a fault does.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "action", rename_all = "lowercase")]
pub(crate) enum Action {
    /// Nothing more than to wait.
    Continue,
    /// Cut the connection.
    Drop,
    /// Send this instead, byte by byte as it stands.
    Answer {
        status: u16,
        headers: HashMap<&'static str, String>,
        body: String,
        /// The body is sent so many times.
        repeat: u32,
        /// Milliseconds between two times.
        trickle: u64,
    },
    /// Send the server's own answer with these members laid over it. Strikes [`Step::After`].
    Amend { fields: Value },
}

impl Action {
    /// An answer of some JSON.
    pub(crate) fn answer_json(status: u16, body: &Value) -> Self {
        Self::answer(status, "application/json", body.to_string())
    }

    /// An answer of any kind.
    pub(crate) fn answer(status: u16, content_type: &str, body: impl Into<String>) -> Self {
        let headers = HashMap::from([("content-type", content_type.to_owned())]);
        Self::Answer {
            status,
            headers,
            body: body.into(),
            repeat: 1,
            trickle: 0,
        }
    }
}

/// A fault that was injected. It stays when this value goes.
#[derive(Debug)]
pub(crate) struct InjectedFault<'server> {
    server: &'server AuthorizationServer,
    id: u64,
}

impl InjectedFault<'_> {
    /// Waits until it holds so many requests.
    pub(crate) async fn wait_until_held(&self, count: u32) {
        self.server.wait("held", json!({"id": self.id, "count": count})).await;
    }

    /// Lets the requests that it holds go on, and strikes no more.
    pub(crate) async fn release(self) {
        self.server.post::<Value>("faults/remove", json!({"id": self.id})).await;
    }

    /// How many requests it has struck.
    pub(crate) async fn hits(&self) -> u64 {
        let fault: Value = self.server.post("faults/get", json!({"id": self.id})).await;
        fault["hits"].as_u64().expect("a count")
    }
}

impl AuthorizationServer {
    /// Starts the certified server over TLS with a certificate of [`Certificates::shared`]. Its rotation is strict.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts the server that answers every refresh at once and keeps nothing, for benches.
    pub(crate) async fn start_plain() -> Self {
        Self::start_with(&["--plain"]).await
    }

    /// Now and then (twice in six whole runs so far) a node process said nothing after its start and a run stood still: such a one is replaced. The cause is not
    /// known yet; it is node that starts here, nothing that is tested.
    async fn start_with(flags: &[&str]) -> Self {
        for _ in 0..3 {
            if let Ok(server) = tokio::time::timeout(START_LIMIT, Self::launch(flags)).await {
                return server;
            }
        }
        panic!("no authorization server starts; see authorization-server.log")
    }

    async fn launch(flags: &[&str]) -> Self {
        use_ring();
        let certificates = Certificates::shared();
        let secrets = super::run::run_directory().join(super::run::SECRETS_FILE);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/authorization-server/server.mjs");
        let mut process = Command::new("node")
            // oidc-provider warns of each feature that is not for production.
            .arg("--no-warnings")
            .arg(script)
            .arg("--cert")
            .arg(&certificates.certificate)
            .arg("--key")
            .arg(&certificates.key)
            .arg("--secrets")
            .arg(secrets)
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log_file())
            .kill_on_drop(true)
            .spawn()
            .expect("node is installed (make setup)");
        let output = process.stdout.take().expect("standard output is piped");
        let hello = BufReader::new(output)
            .lines()
            .next_line()
            .await
            .expect("its standard output can be read");
        let hello = hello.expect("the authorization server starts; its complaint is in authorization-server.log");
        Self {
            endpoints: serde_json::from_str(&hello).expect("one line of JSON"),
            http: http_client(),
            process: Arc::new(process),
        }
    }

    /// The same server for another test: connections die with the runtime of the test that made them.
    pub(crate) fn for_this_test(&self) -> Self {
        Self {
            endpoints: self.endpoints.clone(),
            http: http_client(),
            process: Arc::clone(&self.process),
        }
    }

    pub(crate) async fn set_rotation(&self, rotation: Rotation) {
        self.post::<Value>("settings", json!({"rotation": rotation})).await;
    }

    /// In seconds; what `expires_in` says from now on.
    pub(crate) async fn set_access_token_lifetime(&self, seconds: u32) {
        self.post::<Value>("settings", json!({"accessTokenLifetime": seconds}))
            .await;
    }

    /// Keeps a log of requests on the plain server too.
    pub(crate) async fn log_requests(&self) {
        self.post::<Value>("settings", json!({"logRequests": true})).await;
    }

    /// In seconds, for refresh tokens that are issued from now on.
    pub(crate) async fn set_refresh_token_lifetime(&self, seconds: u32) {
        self.post::<Value>("settings", json!({"refreshTokenLifetime": seconds}))
            .await;
    }

    /// Registers a client, or changes it. `authentication` is a `token_endpoint_auth_method`: `client_secret_basic`,
    /// `client_secret_post`, `none`. A client with a secret gets a fresh one.
    pub(crate) async fn register(&self, client_id: &str, authentication: &str) -> RegisteredClient {
        self.post(
            "clients",
            json!({"clientId": client_id, "authentication": authentication}),
        )
        .await
    }

    /// Registers a client with a body of the admin door's own, such as a given secret.
    pub(crate) async fn register_with(&self, client: Value) -> RegisteredClient {
        self.post("clients", client).await
    }

    /// A key file of a service account, as Google's console downloads it: a new account, or one more key.
    pub(crate) async fn service_account_key(&self, email: &str) -> Value {
        self.post("service-accounts/keys", json!({"email": email})).await
    }

    /// What a service account may do for every mailbox, in place of what it could before.
    pub(crate) async fn delegate(&self, email: &str, scopes: &[&str]) {
        self.post::<Value>("service-accounts/delegate", json!({"email": email, "scopes": scopes}))
            .await;
    }

    /// Deletes a key of a service account.
    pub(crate) async fn delete_key(&self, file: &Value) {
        let key = json!({"email": file["client_email"], "keyId": file["private_key_id"]});
        self.post::<Value>("service-accounts/keys/delete", key).await;
    }

    /// A refresh token for an account, as if its owner had signed in.
    pub(crate) async fn mint(&self, client_id: &str, account: &str) -> Minted {
        self.post("refresh-tokens", json!({"clientId": client_id, "account": account}))
            .await
    }

    /// A refresh token whose grant rotates in its own way, whatever the server's setting is.
    pub(crate) async fn mint_rotating(&self, client_id: &str, account: &str, rotation: Rotation) -> Minted {
        self.post(
            "refresh-tokens",
            json!({"clientId": client_id, "account": account, "rotation": rotation}),
        )
        .await
    }

    /// Many, for the accounts that `account` names with `{}` for a number from 0.
    pub(crate) async fn mint_many(&self, client_id: &str, account: &str, count: usize) -> Vec<Minted> {
        self.post(
            "refresh-tokens/many",
            json!({"clientId": client_id, "account": account, "count": count}),
        )
        .await
    }

    /// Ends a grant with all its tokens, as its owner can in the account's settings.
    pub(crate) async fn revoke(&self, grant_id: &str) {
        self.post::<Value>("grants/revoke", json!({"grantId": grant_id})).await;
    }

    /// Whose token this is, and whether it is good now.
    pub(crate) async fn introspect(&self, token: &str) -> Introspection {
        self.post("introspect", json!({"token": token})).await
    }

    pub(crate) async fn inject(&self, fault: Fault) -> InjectedFault<'_> {
        let fault: Value = self.post("faults", json!(fault)).await;
        InjectedFault {
            server: self,
            id: fault["id"].as_u64().expect("a fault has an id"),
        }
    }

    /// Ends all faults, and lets all requests go on that one holds.
    /// Serves this page in place of what is there, whoever asks.
    pub(crate) async fn serve_page(&self, path: &str, page: &Action) {
        self.post::<Value>("pages", json!({"path": path, "page": page})).await;
    }

    /// How often a path was asked for.
    pub(crate) async fn asked(&self, path: &str) -> u64 {
        let asked: Value = self.post("asked", json!({"path": path})).await;
        asked["times"].as_u64().expect("a count")
    }

    /// Waits until a path was asked for so often.
    pub(crate) async fn wait_until_asked(&self, path: &str, times: u64) {
        self.wait("asked", json!({"path": path, "times": times})).await;
    }

    pub(crate) async fn clear_faults(&self) {
        self.post::<Value>("faults/clear", json!({})).await;
    }

    pub(crate) async fn counters(&self) -> Counters {
        self.get("counters").await
    }

    pub(crate) async fn counters_of(&self, grant_id: &str) -> GrantCounters {
        self.post("grants/get", json!({"grantId": grant_id})).await
    }

    /// The token requests after the first `since`. The plain server keeps no log.
    pub(crate) async fn requests_since(&self, since: u64) -> Vec<TokenRequest> {
        self.post("requests", json!({"since": since})).await
    }

    /// Every token that was ever issued and every client's secret: what no log may hold.
    pub(crate) async fn secrets(&self) -> Vec<String> {
        self.get("secrets").await
    }

    /// Waits until so many refreshes have arrived, of all grants, since the server started.
    pub(crate) async fn wait_for_refreshes(&self, count: u64) {
        self.wait("refreshes", json!({"count": count})).await;
    }

    /// Waits until so many refreshes of one grant have arrived.
    pub(crate) async fn wait_for_refreshes_of(&self, grant_id: &str, count: u64) {
        self.wait("refreshes", json!({"count": count, "grantId": grant_id}))
            .await;
    }

    /// Waits until no token request is under way.
    pub(crate) async fn wait_until_idle(&self) {
        self.wait("idle", json!({})).await;
    }

    /// Redeems a refresh token as a client would: the answer, or the error of a broken connection.
    pub(crate) async fn refresh(
        &self,
        client: &RegisteredClient,
        refresh_token: &str,
    ) -> Result<(StatusCode, Value), reqwest::Error> {
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        let request = self.http.post(&self.endpoints.token_url);
        let request = match &client.client_secret {
            Some(_) => request
                .basic_auth(&client.client_id, client.client_secret.as_ref())
                .form(&form),
            None => request.form(&[form[0], form[1], ("client_id", &client.client_id)]),
        };
        let answer = request.send().await?;
        Ok((answer.status(), answer.json().await?))
    }

    async fn wait(&self, what: &str, mut wish: Value) {
        wish["timeout"] = json!(60_000);
        let answer: Value = self.post(&format!("wait/{what}"), wish).await;
        assert_eq!(
            answer["reached"],
            json!(true),
            "the authorization server waited a minute for: {what}"
        );
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        read(self.http.get(format!("{}/{path}", self.endpoints.admin_url))).await
    }

    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: Value) -> T {
        read(
            self.http
                .post(format!("{}/{path}", self.endpoints.admin_url))
                .json(&body),
        )
        .await
    }
}

pub(super) fn http_client() -> Client {
    let authority = Certificate::from_pem(Certificates::shared().authority_pem.as_bytes()).expect("a certificate");
    Client::builder()
        .tls_certs_only([authority])
        .no_proxy()
        // Some questions wait for an event; none waits for ever.
        .timeout(Duration::from_secs(120))
        .build()
        .expect("a client")
}

async fn read<T: DeserializeOwned>(request: reqwest::RequestBuilder) -> T {
    let answer = request.send().await.expect("the authorization server runs");
    let good = answer.status().is_success();
    let body = answer.text().await.expect("an answer has a body");
    assert!(good, "the authorization server's admin door says: {body}");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

/// The complaints of all authorization servers of a run.
fn log_file() -> std::fs::File {
    let path = super::run::run_directory().join("authorization-server.log");
    std::fs::File::options()
        .create(true)
        .append(true)
        .open(path)
        .expect("a log can be made in the run's folder")
}
