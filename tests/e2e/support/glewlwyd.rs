//! Debian's glewlwyd over TLS: a server in C with `SQLite` that says nothing of its errors but the status.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use super::authorization_server::http_client;
use super::certificates::Certificates;
use super::guarded;
use super::run::{free_address, note_secret, random_suffix, run_directory};
use super::until;

/// The client that may use this server.
const CLIENT: &str = "emailasset";
/// What the package's own database gives the admin. The server lives on loopback for one test.
const ADMIN_PASSWORD: &str = "password";

/// Which refresh tokens are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// The same one, until it ends.
    Allowed,
    /// Each once.
    Forbidden,
}

/// A running glewlwyd with one client and one user. It ends with this value, or with the test process.
pub(crate) struct Glewlwyd {
    url: String,
    http: Client,
    cookie: String,
    secret: String,
    // Holding it holds the standard input that keeps it alive.
    _process: Child,
}

impl Glewlwyd {
    pub(crate) async fn start(account: &str, reuse: Reuse) -> Self {
        let folder = guarded::folder_of("glewlwyd");
        let port = free_address().port();
        let directory = run_directory().join(format!("glewlwyd-{port}"));
        std::fs::create_dir_all(&directory).expect("a folder can be made in the run's folder");
        make_database(&folder, &directory);
        let settings = directory.join("glewlwyd.conf");
        std::fs::write(&settings, configuration(&folder, &directory, port)).expect("a file can be written");
        let libraries = folder.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
        let process = guarded::start(
            &folder.join("usr/bin/glewlwyd"),
            &[format!("--config-file={}", settings.display())],
            &[("LD_LIBRARY_PATH", libraries.to_str().expect("a path is text"))],
            &format!("glewlwyd-{port}/output.log"),
        );
        let http = http_client();
        let url = format!("https://127.0.0.1:{port}");
        let cookie = until("glewlwyd lets its admin in (see output.log in its folder)", || async {
            let login = json!({"username": "admin", "password": ADMIN_PASSWORD});
            let answer = http.post(format!("{url}/api/auth/")).json(&login).send().await.ok()?;
            let cookie = answer.headers().get("set-cookie")?.to_str().ok()?;
            Some(cookie.split(';').next()?.to_owned())
        })
        .await;
        let server = Self {
            url,
            http,
            cookie,
            secret: random_suffix() + &random_suffix(),
            _process: process,
        };
        note_secret(&server.secret);
        note_secret(&server.cookie);
        server.furnish(account, reuse).await;
        server
    }

    async fn furnish(&self, account: &str, reuse: Reuse) {
        let scope = json!({"name": "mail", "display_name": "mail", "password_required": true, "scheme": {}});
        self.admin("scope/", &scope).await;
        let user = json!({"username": account, "name": account, "email": account, "password": account, "enabled": true, "scope": ["mail"]});
        self.admin("user/", &user).await;
        let client = json!({
            "client_id": CLIENT, "name": CLIENT, "confidential": true, "client_secret": self.secret, "enabled": true,
            "token_endpoint_auth_method": ["client_secret_basic"],
            "authorization_type": ["password", "refresh_token"], "redirect_uri": ["https://127.0.0.1/"], "scope": [],
        });
        self.admin("client/", &client).await;
        let one_use = match reuse {
            Reuse::Allowed => "never",
            Reuse::Forbidden => "always",
        };
        let protocol = json!({
            "module": "oidc", "name": "mail", "display_name": "mail", "enabled": true,
            "parameters": {
                "iss": self.url, "jwt-type": "sha", "jwt-key-size": "256", "key": random_suffix(),
                "access-token-duration": 3600, "refresh-token-duration": 1_209_600, "code-duration": 600,
                "refresh-token-rolling": true, "refresh-token-one-use": one_use, "allow-non-oidc": true,
                "auth-type-code-enabled": true, "auth-type-token-enabled": false, "auth-type-id-token-enabled": false, "auth-type-none-enabled": false,
                "auth-type-password-enabled": true, "auth-type-client-enabled": false, "auth-type-refresh-enabled": true,
                "auth-type-device-enabled": false,
            },
        });
        self.admin("mod/plugin/", &protocol).await;
    }

    /// Host and port, as the annotation `emailasset.dev/hosts` wants them.
    pub(crate) fn host(&self) -> &str {
        self.url.trim_start_matches("https://")
    }

    pub(crate) fn token_url(&self) -> String {
        format!("{}/api/mail/token", self.url)
    }

    /// ID and secret of the client, as its Secret in the cluster has them.
    pub(crate) fn client(&self) -> Value {
        json!({"client_id": CLIENT, "client_secret": self.secret})
    }

    /// A refresh token for the account.
    pub(crate) async fn sign_in(&self, account: &str) -> String {
        let form = [
            ("grant_type", "password"),
            ("username", account),
            ("password", account),
            ("scope", "mail"),
        ];
        let (status, body) = self.token_request(&form).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let answer: Value = serde_json::from_str(&body).expect("JSON");
        let token = answer["refresh_token"].as_str().expect("a refresh token").to_owned();
        note_secret(&token);
        token
    }

    /// What another holder of a refresh token gets for it.
    pub(crate) async fn redeem(&self, refresh_token: &str) -> (StatusCode, String) {
        self.token_request(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token)])
            .await
    }

    async fn token_request(&self, form: &[(&str, &str)]) -> (StatusCode, String) {
        let request = self.http.post(self.token_url()).basic_auth(CLIENT, Some(&self.secret));
        let answer = request.form(form).send().await.expect("glewlwyd runs");
        (answer.status(), answer.text().await.expect("an answer has a body"))
    }

    async fn admin(&self, path: &str, body: &Value) {
        let request = self
            .http
            .post(format!("{}/api/{path}", self.url))
            .header("cookie", &self.cookie);
        let answer = request.json(body).send().await.expect("glewlwyd runs");
        let (status, said) = (answer.status(), answer.text().await.expect("an answer has a body"));
        assert!(status.is_success(), "{path}: {status} {said}");
    }
}

/// The database as the package would make it.
fn make_database(folder: &Path, directory: &Path) {
    let script = folder.join("usr/share/dbconfig-common/data/glewlwyd/install/sqlite3");
    let script = std::fs::File::open(script).expect("the package brings a script for SQLite");
    let path = format!(
        "{}:{}",
        folder.join("usr/bin").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let made = Command::new("sqlite3")
        .arg(directory.join("glewlwyd.db"))
        .env("PATH", path)
        .stdin(Stdio::from(script))
        .status();
    assert!(made.expect("sqlite3 runs").success(), "no database for glewlwyd");
}

fn configuration(folder: &Path, directory: &Path, port: u16) -> String {
    let certificates = Certificates::shared();
    let modules = folder.join("usr/lib/glewlwyd");
    let modules = modules.display();
    format!(
        r#"port = {port}
bind_address = "127.0.0.1"
external_url = "https://127.0.0.1:{port}"
api_prefix = "api"
static_files_path = "{folder}/usr/share/glewlwyd/webapp"
log_mode = "console"
log_level = "WARNING"
session_expiration = 86400
session_key = "GLEWLWYD2_SESSION_ID"
admin_scope = "g_admin"
profile_scope = "g_profile"
user_module_path = "{modules}/user"
user_middleware_module_path = "{modules}/user_middleware"
client_module_path = "{modules}/client"
user_auth_scheme_module_path = "{modules}/scheme"
plugin_module_path = "{modules}/plugin"
use_secure_connection = true
secure_connection_key_file = "{key}"
secure_connection_pem_file = "{certificate}"
hash_algorithm = "SHA256"
database = {{ type = "sqlite3"; path = "{directory}/glewlwyd.db"; }};
"#,
        folder = folder.display(),
        directory = directory.display(),
        key = certificates.key.display(),
        certificate = certificates.certificate.display(),
    )
}
