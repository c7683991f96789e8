//! Keycloak over TLS, and its admin API by which tests change how it behaves.

use std::process::Child;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use super::authorization_server::http_client;
use super::certificates::Certificates;
use super::guarded;
use super::run::{free_address, note_secret, random_suffix};
use super::wait::{until, until_within};

/// The longest that a start may take. It takes fifteen seconds on an idle machine, and four minutes were seen on one with twenty times its work.
const START_LIMIT: Duration = Duration::from_secs(600);

/// The client that each realm has.
const CLIENT: &str = "emailasset";

/// The Keycloak of this run, which ends with the test process.
struct Running {
    url: String,
    password: String,
    // Holding it holds the standard input that keeps it alive.
    _process: Child,
}

impl Running {
    fn start() -> Self {
        let folder = guarded::folder_of("keycloak");
        let certificates = Certificates::shared();
        let port = free_address().port();
        let password = random_suffix();
        note_secret(&password);
        let arguments = [
            "start".to_owned(),
            "--optimized".to_owned(),
            "--cache=local".to_owned(),
            "--hostname-strict=false".to_owned(),
            "--http-host=127.0.0.1".to_owned(),
            format!("--https-port={port}"),
            format!("--https-certificate-file={}", certificates.certificate.display()),
            format!("--https-certificate-key-file={}", certificates.key.display()),
        ];
        let environment = [
            ("KC_BOOTSTRAP_ADMIN_USERNAME", "admin"),
            ("KC_BOOTSTRAP_ADMIN_PASSWORD", password.as_str()),
            ("JAVA_OPTS_KC_HEAP", "-Xms64m -Xmx512m"),
        ];
        let process = guarded::start(&folder.join("bin/kc.sh"), &arguments, &environment, "keycloak.log");
        Self {
            url: format!("https://127.0.0.1:{port}"),
            password,
            _process: process,
        }
    }
}

/// A realm of one test at the Keycloak that all tests of a run share, with one client that may ask for tokens with a password, as no client of people should.
pub(crate) struct Realm {
    running: &'static Running,
    http: Client,
    name: String,
    secret: String,
}

impl Realm {
    /// A new realm. `settings` are members of Keycloak's `RealmRepresentation`; what they do not name is as Keycloak makes it. The first call starts Keycloak, which
    /// takes fifteen seconds on an idle machine.
    pub(crate) async fn with(settings: &Value) -> Self {
        static RUNNING: OnceLock<Running> = OnceLock::new();
        let running = RUNNING.get_or_init(Running::start);
        let http = http_client();
        let answers = until_within(
            START_LIMIT,
            "Keycloak answers (see keycloak.log in the run's folder)",
            || async {
                let answer = http.get(format!("{}/realms/master", running.url)).send().await.ok()?;
                answer.status().is_success().then_some(())
            },
        );
        answers.await;
        let realm = Self {
            running,
            http,
            name: format!("mail-{}", random_suffix()),
            secret: random_suffix() + &random_suffix(),
        };
        note_secret(&realm.secret);
        let mut representation = json!({"realm": realm.name, "enabled": true});
        for (name, value) in settings.as_object().expect("settings are an object") {
            representation[name] = value.clone();
        }
        realm.admin(Method::POST, "/admin/realms", &representation).await;
        let client = json!({"clientId": CLIENT, "secret": realm.secret, "directAccessGrantsEnabled": true});
        realm.admin(Method::POST, &realm.path("clients"), &client).await;
        realm
    }

    /// Host and port, as the annotation `emailasset.dev/hosts` wants them.
    pub(crate) fn host(&self) -> &str {
        self.running.url.trim_start_matches("https://")
    }

    pub(crate) fn token_url(&self) -> String {
        format!(
            "{}/realms/{}/protocol/openid-connect/token",
            self.running.url, self.name
        )
    }

    /// ID and secret of the client, as its Secret in the cluster has them.
    pub(crate) fn client(&self) -> Value {
        json!({"client_id": CLIENT, "client_secret": self.secret})
    }

    /// A user who may sign in.
    pub(crate) async fn add_user(&self, email: &str) {
        let user = json!({
            "username": email, "email": email, "emailVerified": true, "enabled": true, "firstName": "Test", "lastName": "User",
            "credentials": [{"type": "password", "value": email, "temporary": false}],
        });
        self.admin(Method::POST, &self.path("users"), &user).await;
    }

    /// A refresh token of a new session of this user.
    pub(crate) async fn sign_in(&self, email: &str, scope: &str) -> String {
        let form = [
            ("grant_type", "password"),
            ("username", email),
            ("password", email),
            ("scope", scope),
        ];
        let (status, answer) = self.token_request(&form).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        issued(&answer)
    }

    /// What another holder of a refresh token gets for it.
    pub(crate) async fn redeem(&self, refresh_token: &str) -> (StatusCode, Value) {
        let (status, answer) = self
            .token_request(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token)])
            .await;
        if status.is_success() {
            issued(&answer);
        }
        (status, answer)
    }

    /// Whether an access token is good now.
    pub(crate) async fn is_active(&self, access_token: &str) -> bool {
        let request = self
            .http
            .post(format!("{}/introspect", self.token_url()))
            .basic_auth(CLIENT, Some(&self.secret))
            .form(&[("token", access_token)]);
        let answer: Value = request.send().await.expect("Keycloak runs").json().await.expect("JSON");
        answer["active"] == json!(true)
    }

    /// Changes some of the realm's settings.
    pub(crate) async fn set(&self, settings: &Value) {
        self.admin(Method::PUT, &self.path(""), settings).await;
    }

    /// Changes the user.
    pub(crate) async fn set_user(&self, email: &str, settings: &Value) {
        let mut user = self.find(&format!("users?exact=true&email={email}")).await;
        for (name, value) in settings.as_object().expect("settings are an object") {
            user[name] = value.clone();
        }
        self.admin(Method::PUT, &self.path(&format!("users/{}", id(&user))), &user)
            .await;
    }

    /// Deletes the user.
    pub(crate) async fn delete_user(&self, email: &str) {
        let user = self.find(&format!("users?exact=true&email={email}")).await;
        self.delete(&format!("users/{}", id(&user))).await;
    }

    /// Ends the sessions of the user's browsers one by one, as a person does in the account console.
    pub(crate) async fn end_sessions(&self, email: &str) {
        let user = self.find(&format!("users?exact=true&email={email}")).await;
        let path = self.path(&format!("users/{}/sessions", id(&user)));
        let sessions: Value = self.get(&path).await;
        for session in sessions.as_array().expect("a list") {
            self.delete(&format!("sessions/{}", id(session))).await;
        }
    }

    /// Waits until no offline session of the user is left.
    pub(crate) async fn wait_until_no_offline_session(&self, email: &str) {
        let user = self.find(&format!("users?exact=true&email={email}")).await;
        let client = self.find(&format!("clients?clientId={CLIENT}")).await;
        let path = self.path(&format!("users/{}/offline-sessions/{}", id(&user), id(&client)));
        until("the offline session is over", || async {
            (self.get(&path).await == json!([])).then_some(())
        })
        .await;
    }

    /// Takes the role `offline_access` from everybody in the realm.
    pub(crate) async fn take_offline_role(&self) {
        self.change_offline_role(Method::DELETE).await;
    }

    /// Gives it back.
    pub(crate) async fn give_offline_role(&self) {
        self.change_offline_role(Method::POST).await;
    }

    async fn change_offline_role(&self, method: Method) {
        let role = self.get(&self.path("roles/offline_access")).await;
        let defaults = format!("roles/default-roles-{}/composites", self.name);
        self.admin(method, &self.path(&defaults), &json!([role])).await;
    }

    /// Ends all sessions of the user, offline ones too, as *Sign out* in the admin console does.
    pub(crate) async fn sign_out(&self, email: &str) {
        let user = self.find(&format!("users?exact=true&email={email}")).await;
        self.admin(
            Method::POST,
            &self.path(&format!("users/{}/logout", id(&user))),
            &json!({}),
        )
        .await;
    }

    /// Takes back what the user has granted to the client, offline tokens too.
    pub(crate) async fn revoke_consent(&self, email: &str) {
        let user = self.find(&format!("users?exact=true&email={email}")).await;
        self.delete(&format!("users/{}/consents/{CLIENT}", id(&user))).await;
    }

    /// Changes the client.
    pub(crate) async fn set_client(&self, settings: &Value) {
        let mut client = self.find(&format!("clients?clientId={CLIENT}")).await;
        for (name, value) in settings.as_object().expect("settings are an object") {
            client[name] = value.clone();
        }
        self.admin(Method::PUT, &self.path(&format!("clients/{}", id(&client))), &client)
            .await;
    }

    /// Gives the client a new secret.
    pub(crate) async fn renew_client_secret(&mut self) {
        self.secret = random_suffix() + &random_suffix();
        note_secret(&self.secret);
        self.set_client(&json!({"secret": self.secret})).await;
    }

    /// Deletes the client.
    pub(crate) async fn delete_client(&self) {
        let client = self.find(&format!("clients?clientId={CLIENT}")).await;
        self.delete(&format!("clients/{}", id(&client))).await;
    }

    /// Deletes the realm with all that is in it.
    pub(crate) async fn delete_realm(&self) {
        self.delete("").await;
    }

    fn path(&self, rest: &str) -> String {
        let path = format!("/admin/realms/{}/{rest}", self.name);
        path.trim_end_matches('/').to_owned()
    }

    async fn find(&self, query: &str) -> Value {
        let found = self.get(&self.path(query)).await;
        assert_eq!(found.as_array().map(Vec::len), Some(1), "{query}: {found}");
        found[0].clone()
    }

    async fn get(&self, path: &str) -> Value {
        let found = self.admin(Method::GET, path, &Value::Null).await;
        serde_json::from_str(&found).expect("JSON")
    }

    async fn delete(&self, rest: &str) {
        self.admin(Method::DELETE, &self.path(rest), &Value::Null).await;
    }

    async fn token_request(&self, form: &[(&str, &str)]) -> (StatusCode, Value) {
        let request = self.http.post(self.token_url()).basic_auth(CLIENT, Some(&self.secret));
        let answer = request.form(form).send().await.expect("Keycloak runs");
        (answer.status(), answer.json().await.expect("JSON"))
    }

    /// One call of the admin API, which must go well; the body of the answer.
    async fn admin(&self, method: Method, path: &str, body: &Value) -> String {
        let request = self
            .http
            .request(method.clone(), format!("{}{path}", self.running.url))
            .bearer_auth(self.admin_token().await);
        let request = if body.is_null() { request } else { request.json(body) };
        let answer = request.send().await.expect("Keycloak runs");
        let status = answer.status();
        let body = answer.text().await.expect("an answer has a body");
        assert!(status.is_success(), "{method} {path}: {status} {body}");
        body
    }

    /// A token for one call: it lives for a minute, which on a loaded machine is not long.
    async fn admin_token(&self) -> String {
        let url = format!("{}/realms/master/protocol/openid-connect/token", self.running.url);
        let form = [
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", "admin"),
            ("password", &self.running.password),
        ];
        let answer = self.http.post(url).form(&form).send().await.expect("Keycloak runs");
        let answer: Value = answer.json().await.expect("JSON");
        let token = answer["access_token"].as_str();
        token
            .unwrap_or_else(|| panic!("no token for the admin: {answer}"))
            .to_owned()
    }
}

fn id(object: &Value) -> &str {
    object["id"].as_str().expect("it has an ID")
}

/// The refresh token of an answer, whose tokens are noted for the search over all logs.
fn issued(answer: &Value) -> String {
    for token in ["access_token", "id_token"]
        .iter()
        .filter_map(|name| answer[name].as_str())
    {
        note_secret(token);
    }
    let refresh_token = answer["refresh_token"].as_str().expect("a refresh token").to_owned();
    note_secret(&refresh_token);
    refresh_token
}
