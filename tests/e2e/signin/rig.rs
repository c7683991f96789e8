//! The parts by themselves: a browser walks through the authorization server's pages, and a test plays the client.

use std::collections::HashMap;
use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use url::Url;

use crate::support::{
    AuthorizationServer, Browser, Fault, Match, RegisteredClient, Step, Twist, note_secret, random_suffix, until,
};

const SCOPE: &str = "openid email profile offline_access mail";

#[tokio::test]
async fn a_browser_signs_in_and_the_code_is_good_for_tokens_once() {
    let client = TestClient::start("client_secret_basic", json!({})).await;
    let person = client.server.add_person("jane@example.com").await;
    let browser = Browser::open().await;
    let flow = client.begin();

    browser.goto(flow.url.as_str()).await;
    browser.screenshot_of_others("rig-login").await;
    browser.sign_in_as("jane@example.com").await;
    browser.screenshot_of_others("rig-consent").await;
    browser.consent().await;
    let answer = client.answer().await;
    assert_eq!(answer["state"], flow.state);
    assert_eq!(answer["iss"], client.server.endpoints.url, "RFC 9207");

    let tokens = client.redeem(&flow, &answer["code"]).await;
    let claims = claims(&tokens);
    assert_eq!(claims["header"]["alg"], "RS256");
    assert_eq!(claims["aud"], client.registered.client_id.as_str());
    assert_eq!(claims["iss"], client.server.endpoints.url.as_str());
    assert_eq!(claims["nonce"], flow.nonce.as_str());
    assert_eq!(claims["sub"], person.sub.as_str());
    assert_eq!(claims["email"], "jane@example.com");
    assert_eq!(claims["email_verified"], true);
    assert_eq!(claims["preferred_username"], "jane@example.com");
    let told = client.userinfo(&tokens).await.expect("userinfo answers");
    assert_eq!(
        (&told["email"], &told["sub"]),
        (&json!("jane@example.com"), &claims["sub"])
    );

    let token = tokens["access_token"].as_str().unwrap();
    assert_eq!(
        client.server.introspect(token).await.account.as_deref(),
        Some("jane@example.com")
    );
    let again = client.try_redeem(&flow, &answer["code"]).await;
    assert_eq!(
        again,
        (
            400,
            json!({"error": "invalid_grant", "error_description": "grant request is invalid"})
        )
    );
    assert!(
        !client.server.introspect(token).await.active,
        "a replayed code ends the grant"
    );
    let secrets = client.server.secrets().await;
    for secret in [&answer["code"], &flow.verifier] {
        assert!(
            secrets.contains(secret),
            "codes and verifiers are in the list of secrets"
        );
    }
}

#[tokio::test]
async fn without_pkce_or_with_another_verifier_there_is_no_token() {
    let client = TestClient::start("client_secret_basic", json!({})).await;
    client.server.add_person("jane@example.com").await;
    let browser = Browser::open().await;

    let flow = client.begin();
    browser
        .goto(flow.url.as_str().split("&code_challenge").next().unwrap())
        .await;
    assert_eq!(client.answer().await["error"], "invalid_request");

    let mut flow = client.begin();
    browser.goto(flow.url.as_str()).await;
    browser.sign_in_as("jane@example.com").await;
    browser.consent().await;
    let code = &client.answer().await["code"];
    flow.verifier = "another-verifier-that-is-long-enough-to-be-one".to_owned();
    assert_eq!(client.try_redeem(&flow, code).await.0, 400);
}

#[tokio::test]
async fn whoever_is_registered_can_sign_in_and_whoever_is_not_cannot() {
    let client = TestClient::start("client_secret_post", json!({"id_token_signed_response_alg": "ES256"})).await;
    client.server.add_person("jane@example.com").await;
    client.server.add_person("joe@example.com").await;
    let browser = Browser::open().await;

    let flow = client.begin_for("jane@example.com");
    browser.goto(flow.url.as_str()).await;
    browser.log_in_as("nobody@example.com").await;
    browser.wait_for_text("There is no such account").await;
    browser.goto(flow.url.as_str()).await;
    browser.sign_in_as("joe@example.com").await;
    browser.consent().await;
    let tokens = client.redeem(&flow, &client.answer().await["code"]).await;
    let claims = claims(&tokens);
    assert_eq!(
        (&claims["email"], &claims["header"]["alg"]),
        (&json!("joe@example.com"), &json!("ES256"))
    );
}

#[tokio::test]
async fn a_person_or_the_provider_can_say_no() {
    let client = TestClient::start("client_secret_basic", json!({})).await;
    client.server.add_person("jane@example.com").await;
    let browser = Browser::open().await;

    browser.goto(client.begin().url.as_str()).await;
    browser.sign_in_as("jane@example.com").await;
    browser.cancel().await;
    assert_eq!(client.answer().await["error"], "access_denied");

    let description = "AADSTS90094: The grant requires admin permission.";
    let refusal = Twist::Refuse {
        error: "access_denied",
        description,
    };
    client.server.twist(&client.registered.client_id, refusal).await;
    // Logged in a moment ago, so the consent page comes at once.
    browser.goto(client.begin().url.as_str()).await;
    browser.consent().await;
    let answer = client.answer().await;
    assert_eq!(
        (answer["error"].as_str(), answer["error_description"].as_str()),
        ("access_denied", description)
    );
}

#[tokio::test]
async fn the_next_sign_in_can_be_twisted() {
    let client = TestClient::start("client_secret_basic", json!({})).await;
    client.server.add_person("jane@example.com").await;
    let browser = Browser::open().await;
    let id = client.registered.client_id.as_str();

    let plain = client.sign_in(&browser).await;
    assert!(plain["refresh_token"].is_string());
    assert_eq!(scopes(&plain), ["email", "mail", "offline_access", "openid", "profile"]);

    client.server.twist(id, Twist::NoRefreshToken).await;
    assert!(client.sign_in(&browser).await.get("refresh_token").is_none());

    client.server.twist(id, Twist::LeaveOut(&["mail"])).await;
    assert_eq!(
        scopes(&client.sign_in(&browser).await),
        ["email", "offline_access", "openid", "profile"]
    );

    let over = json!({"email_verified": false, "nonce": "another", "aud": "another", "name": null});
    client.server.twist(id, Twist::IdTokenClaims(&over)).await;
    let twisted = claims(&client.sign_in(&browser).await);
    assert_eq!(twisted["email_verified"], false);
    assert_eq!(
        (&twisted["nonce"], &twisted["aud"]),
        (&json!("another"), &json!("another"))
    );
    assert!(twisted.get("name").is_none());

    client.server.twist(id, Twist::UnknownKey).await;
    assert_eq!(claims(&client.sign_in(&browser).await)["header"]["kid"], "nobody-knows");

    client.server.twist(id, Twist::UserinfoDown(503)).await;
    let tokens = client.sign_in(&browser).await;
    assert_eq!(client.userinfo(&tokens).await, Err(503));
    client
        .server
        .twist(id, Twist::UserinfoClaims(&json!({"email": null})))
        .await;
    assert!(client.userinfo(&tokens).await.unwrap().get("email").is_none());

    client
        .server
        .twist(id, Twist::ResponseIssuer(Some("https://evil.example")))
        .await;
    assert_eq!(client.consent_again(&browser).await["iss"], "https://evil.example");
    client.server.twist(id, Twist::ResponseIssuer(None)).await;
    assert!(!client.consent_again(&browser).await.contains_key("iss"));
}

#[tokio::test]
async fn a_public_client_may_use_any_loopback_port_and_a_web_client_only_its_own() {
    let client = TestClient::start("none", json!({"redirectUris": ["http://127.0.0.1/callback"]})).await;
    client.server.add_person("jane@example.com").await;
    let browser = Browser::open().await;
    assert!(client.sign_in(&browser).await["access_token"].is_string());

    let registered =
        json!({"clientId": "web", "application_type": "web", "redirectUris": ["http://127.0.0.1:1/callback"]});
    client.server.register_with(registered).await;
    let url = client.begin().url.as_str().replace(&client.registered.client_id, "web");
    browser.goto(&url).await;
    browser.wait_for_text("invalid_redirect_uri").await;
}

#[tokio::test]
async fn a_device_code_is_pending_until_it_was_entered() {
    let client = TestClient::start("client_secret_basic", json!({})).await;
    client.server.add_person("jane@example.com").await;
    let browser = Browser::open().await;
    let device = client.server.device_authorization(&client.registered, SCOPE).await;
    assert_eq!(
        client.poll(&device.device_code).await,
        (400, "authorization_pending".to_owned())
    );

    browser
        .enter_device_code(&device.verification_uri, &device.user_code)
        .await;
    browser.screenshot_of_others("rig-device").await;
    browser.sign_in_as("jane@example.com").await;
    browser.consent().await;
    browser.wait_for_text("Sign-in Success").await;
    assert_eq!(client.poll(&device.device_code).await.0, 200);
    assert!(client.server.secrets().await.contains(&device.device_code));

    let device = client.server.device_authorization(&client.registered, SCOPE).await;
    browser
        .decline_device_code(&device.verification_uri, &device.user_code)
        .await;
    browser.wait_for_text("interrupted").await;
    assert_eq!(
        client.poll(&device.device_code).await,
        (400, "access_denied".to_owned())
    );

    client.server.set_device_code_lifetime(1).await;
    let device = client.server.device_authorization(&client.registered, SCOPE).await;
    until("the code has run out", || async {
        (client.poll(&device.device_code).await.1 == "expired_token").then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_polls_too_soon_is_told_to_slow_down() {
    let client = TestClient::start("client_secret_basic", json!({})).await;
    client.server.set_device_interval(5).await;
    let device = client.server.device_authorization(&client.registered, SCOPE).await;
    assert_eq!(device.interval, Some(5));
    assert_eq!(client.poll(&device.device_code).await.1, "authorization_pending");
    assert_eq!(client.poll(&device.device_code).await.1, "slow_down");
    let polls = client.server.requests_since(0).await;
    assert_eq!(
        polls.iter().map(|poll| poll.too_soon).collect::<Vec<_>>(),
        [false, true]
    );
}

#[tokio::test]
async fn a_fault_can_be_meant_for_the_exchange_of_a_code_alone() {
    let client = TestClient::start("client_secret_basic", json!({})).await;
    client.server.add_person("jane@example.com").await;
    let browser = Browser::open().await;
    let applies_to = Match {
        grant_type: Some("authorization_code"),
        ..Match::default()
    };
    let fault = Fault {
        applies_to,
        step: Step::After,
        delay: 50,
        ..Fault::default()
    };
    let slow = client.server.inject(fault).await;
    client.sign_in(&browser).await;
    assert_eq!(slow.hits().await, 1);
    let last = client.server.requests_since(0).await.pop().unwrap();
    assert_eq!(
        (last.account.as_deref(), last.status),
        (Some("jane@example.com"), Some(200))
    );
}

#[tokio::test]
async fn a_browser_ends_with_its_value_and_shares_nothing_with_the_next() {
    let client = TestClient::start("client_secret_basic", json!({})).await;
    client.server.add_person("jane@example.com").await;
    let browser = Browser::open().await;
    client.sign_in(&browser).await;
    let process = browser.process();
    drop(browser);
    until("its process is gone", || async {
        (!std::path::Path::new(&format!("/proc/{process}/exe")).exists()).then_some(())
    })
    .await;
    let other = Browser::open().await;
    other.goto(client.begin().url.as_str()).await;
    assert!(other.has("input[name=login]").await, "nobody is logged in there");
}

#[tokio::test]
async fn a_browser_reaches_nothing_but_this_machine() {
    let browser = Browser::open().await;
    let refused = browser.driver().goto("https://example.com/").await;
    assert!(refused.unwrap_err().to_string().contains("ERR_NAME_NOT_RESOLVED"));
}

/// A client of the authorization server, played by the test: it serves its redirect URI and redeems codes.
struct TestClient {
    server: AuthorizationServer,
    registered: RegisteredClient,
    answers: Mutex<UnboundedReceiver<HashMap<String, String>>>,
    redirect_uri: String,
}

/// One authorization request.
struct Flow {
    url: Url,
    state: String,
    nonce: String,
    verifier: String,
}

impl TestClient {
    async fn start(authentication: &str, more: Value) -> Self {
        let server = AuthorizationServer::start().await;
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let redirect_uri = format!("http://127.0.0.1:{}/callback", listener.local_addr().unwrap().port());
        let mut client = json!({"clientId": "test", "authentication": authentication, "redirectUris": [redirect_uri]});
        client
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let registered = server.register_with(client).await;
        let (told, answers) = unbounded_channel();
        tokio::spawn(serve(listener, told));
        Self {
            server,
            registered,
            answers: Mutex::new(answers),
            redirect_uri,
        }
    }

    fn begin(&self) -> Flow {
        self.begin_for("")
    }

    fn begin_for(&self, login_hint: &str) -> Flow {
        let [state, nonce] = [random_suffix(), random_suffix()];
        let verifier: String = std::iter::repeat_with(random_suffix).take(6).collect();
        note_secret(&verifier);
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
        let mut url = Url::parse(&self.server.endpoints.authorization_url).unwrap();
        url.query_pairs_mut()
            .append_pair("client_id", &self.registered.client_id)
            .append_pair("response_type", "code")
            .append_pair("scope", SCOPE)
            .append_pair("prompt", "consent")
            .append_pair("redirect_uri", &self.redirect_uri)
            .append_pair("state", &state)
            .append_pair("nonce", &nonce)
            .append_pair("login_hint", login_hint)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Flow {
            url,
            state,
            nonce,
            verifier,
        }
    }

    /// What the browser brings to the redirect URI next.
    async fn answer(&self) -> HashMap<String, String> {
        self.answers
            .lock()
            .await
            .recv()
            .await
            .expect("the redirect URI is served as long as the test runs")
    }

    /// Signs in, at the first time with the login page; the tokens.
    async fn sign_in(&self, browser: &Browser) -> Value {
        let flow = self.begin();
        let answer = self.walk(browser, &flow).await;
        self.redeem(&flow, &answer["code"]).await
    }

    async fn consent_again(&self, browser: &Browser) -> HashMap<String, String> {
        self.walk(browser, &self.begin()).await
    }

    async fn walk(&self, browser: &Browser, flow: &Flow) -> HashMap<String, String> {
        browser.goto(flow.url.as_str()).await;
        if browser.has("input[name=login]").await {
            browser.sign_in_as("jane@example.com").await;
        }
        browser.consent().await;
        self.answer().await
    }

    async fn redeem(&self, flow: &Flow, code: &str) -> Value {
        let (status, tokens) = self.try_redeem(flow, code).await;
        assert_eq!(status, 200, "{tokens}");
        tokens
    }

    async fn try_redeem(&self, flow: &Flow, code: &str) -> (u16, Value) {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", &flow.verifier),
        ];
        let (status, answer) = self.server.exchange(&self.registered, &form).await;
        (status.as_u16(), answer)
    }

    async fn poll(&self, device_code: &str) -> (u16, String) {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", device_code),
        ];
        let (status, answer) = self.server.exchange(&self.registered, &form).await;
        (status.as_u16(), answer["error"].as_str().unwrap_or_default().to_owned())
    }

    async fn userinfo(&self, tokens: &Value) -> Result<Value, u16> {
        self.server.userinfo(tokens["access_token"].as_str().unwrap()).await
    }
}

/// Serves the redirect URI; a browser waits for its page before it does anything else.
async fn serve(listener: TcpListener, told: UnboundedSender<HashMap<String, String>>) {
    while let Ok((mut connection, _)) = listener.accept().await {
        let told = told.clone();
        // Chromium opens connections that it may need later.
        tokio::spawn(async move {
            let mut lines = BufReader::new(&mut connection).lines();
            let Ok(Some(first)) = lines.next_line().await else {
                return;
            };
            while lines
                .next_line()
                .await
                .is_ok_and(|line| line.is_some_and(|line| !line.is_empty()))
            {}
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nDone.";
            let _ = connection.write_all(answer.as_bytes()).await;
            let path = first.split(' ').nth(1).unwrap_or_default();
            if path.starts_with("/callback?") {
                let url = Url::parse(&format!("http://127.0.0.1{path}")).unwrap();
                let _ = told.send(url.query_pairs().into_owned().collect());
            }
        });
    }
}

/// The claims of the ID token, and its header in `header`.
fn claims(tokens: &Value) -> Value {
    let token = tokens["id_token"].as_str().expect("an ID token");
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let header: Value = serde_json::from_slice(&parts.next().unwrap()).unwrap();
    let mut claims: Value = serde_json::from_slice(&parts.next().unwrap()).unwrap();
    claims["header"] = header;
    claims
}

fn scopes(tokens: &Value) -> Vec<&str> {
    let mut scopes: Vec<_> = tokens["scope"].as_str().unwrap().split(' ').collect();
    scopes.sort_unstable();
    scopes
}
