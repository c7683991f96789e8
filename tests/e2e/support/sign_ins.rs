//! People at the authorization server, and what shall be out of the ordinary when they sign in.

use std::collections::HashMap;

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use url::Url;

use super::authorization_server::{AuthorizationServer, RegisteredClient};
use super::until;

/// What shall be out of the ordinary in the next sign-in of a client, or of one account.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Twist<'a> {
    /// The provider refuses although the person consents.
    Refuse { error: &'a str, description: &'a str },
    /// The person leaves these unticked.
    LeaveOut(&'a [&'a str]),
    /// The authorization response names this issuer (RFC 9207), or none.
    ResponseIssuer(Option<&'a str>),
    /// The answer of the token endpoint holds no refresh token.
    NoRefreshToken,
    /// Claims laid over those of the ID token; `null` leaves one out. A JSON object.
    IdTokenClaims(&'a Value),
    /// The ID token is signed by a key whose name is not in the JWKS.
    UnknownKey,
    /// The ID token is signed by another key than the one that it names.
    ForgedSignature,
    /// Claims laid over those that the userinfo endpoint tells.
    UserinfoClaims(&'a Value),
    /// The userinfo endpoint answers with this status.
    UserinfoDown(u16),
}

/// An account that can sign in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Person {
    /// The subject identifier.
    pub(crate) sub: String,
    pub(crate) email: String,
}

/// An authorization request that a browser brought.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct AuthorizationRequest {
    pub(crate) parameters: HashMap<String, String>,
}

/// What the server answers to a request for a device code (RFC 8628 section 3.2).
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DeviceAuthorization {
    pub(crate) device_code: String,
    pub(crate) user_code: String,
    pub(crate) verification_uri: String,
    pub(crate) interval: Option<u64>,
}

impl AuthorizationServer {
    /// Registers an account, which can sign in from now on by its address.
    pub(crate) async fn add_person(&self, email: &str) -> Person {
        self.post("people", json!({"email": email})).await
    }

    /// Registers an account with a body of the admin door's own, such as a given subject or an unverified address.
    pub(crate) async fn add_person_with(&self, person: Value) -> Person {
        self.post("people", person).await
    }

    /// Twists the next sign-in of a client.
    pub(crate) async fn twist(&self, client_id: &str, twist: Twist<'_>) {
        self.add_twist(json!({"clientId": client_id}), twist).await;
    }

    /// Twists the next sign-in of an account, for stages that several tests share.
    pub(crate) async fn twist_for(&self, account: &str, twist: Twist<'_>) {
        self.add_twist(json!({"account": account}), twist).await;
    }

    async fn add_twist(&self, applies_to: Value, twist: Twist<'_>) {
        let mut body = match twist {
            Twist::Refuse { error, description } => {
                json!({"kind": "refuse", "error": error, "description": description})
            }
            Twist::LeaveOut(scopes) => json!({"kind": "leave-out", "scopes": scopes}),
            Twist::ResponseIssuer(issuer) => json!({"kind": "answer", "issuer": issuer}),
            Twist::NoRefreshToken => json!({"kind": "no-refresh-token"}),
            Twist::IdTokenClaims(claims) => json!({"kind": "id-token", "claims": claims}),
            Twist::UnknownKey => json!({"kind": "id-token", "key": "unknown"}),
            Twist::ForgedSignature => json!({"kind": "id-token", "key": "forged"}),
            Twist::UserinfoClaims(claims) => json!({"kind": "userinfo", "claims": claims}),
            Twist::UserinfoDown(status) => json!({"kind": "userinfo", "status": status}),
        };
        body["match"] = applies_to;
        self.post::<Value>("twists", body).await;
    }

    /// In seconds: what `interval` says in answers to device authorization requests, and who polls sooner is told to slow down. 0: neither.
    pub(crate) async fn set_device_interval(&self, seconds: u32) {
        self.post::<Value>("settings", json!({"deviceInterval": seconds})).await;
    }

    /// In seconds, for device codes that are asked for from now on.
    pub(crate) async fn set_device_code_lifetime(&self, seconds: u32) {
        self.post::<Value>("settings", json!({"deviceCodeLifetime": seconds}))
            .await;
    }

    /// The authorization requests that browsers have brought so far.
    pub(crate) async fn authorization_requests(&self) -> Vec<AuthorizationRequest> {
        self.post("authorizations", json!({})).await
    }

    /// Where the browser with this `state` is sent back to, with the code; waits until that is so.
    pub(crate) async fn wait_for_response(&self, state: &str) -> Url {
        until("the provider has sent the browser back", || async {
            let all: Vec<String> = self.get("responses").await;
            let all = all.iter().filter_map(|url| Url::parse(url).ok());
            all.into_iter()
                .find(|url| url.query_pairs().any(|(name, value)| name == "state" && value == state))
        })
        .await
    }

    /// Sends a form to the token endpoint as a client does.
    pub(crate) async fn exchange(&self, client: &RegisteredClient, form: &[(&str, &str)]) -> (StatusCode, Value) {
        self.send_form(client, &self.endpoints.token_url, form).await
    }

    /// Asks for a device code as a client does.
    pub(crate) async fn device_authorization(&self, client: &RegisteredClient, scope: &str) -> DeviceAuthorization {
        let url = &self.endpoints.device_authorization_url;
        let (status, answer) = self.send_form(client, url, &[("scope", scope)]).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        serde_json::from_value(answer).expect("RFC 8628 section 3.2")
    }

    /// What the userinfo endpoint tells about an access token's account, or the status that it answers with.
    pub(crate) async fn userinfo(&self, access_token: &str) -> Result<Value, u16> {
        let url = format!("{}/me", self.endpoints.url);
        let answer = self.http.get(url).bearer_auth(access_token).send().await;
        let answer = answer.expect("the authorization server runs");
        match answer.status() {
            StatusCode::OK => Ok(answer.json().await.expect("JSON")),
            status => Err(status.as_u16()),
        }
    }

    async fn send_form(&self, client: &RegisteredClient, url: &str, form: &[(&str, &str)]) -> (StatusCode, Value) {
        let request = self.http.post(url);
        let request = match &client.client_secret {
            Some(_) => request
                .basic_auth(&client.client_id, client.client_secret.as_ref())
                .form(form),
            None => request.form(&[form, &[("client_id", client.client_id.as_str())]].concat()),
        };
        let answer = request.send().await.expect("the authorization server runs");
        (answer.status(), answer.json().await.expect("JSON"))
    }
}
