//! What the operator reports: [`EmailAssetStatus`].
//!
//! Every field may be absent: a status is written bit by bit, and an older one must stay readable. Times are instants in UTC. No secret ever stands here
//! (invariant 5), and what a server said is cut to a bounded length before it gets here (invariant 10).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::spec::{ClientAuthentication, Rotation, Security};

/// The state of an asset, as the operator last saw it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct EmailAssetStatus {
    /// The `metadata.generation` this status is about; -1 until the operator has looked at the asset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready, Authorized, Refreshed, and while they apply Stalled and Reconciling.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// Where the settings come from: an entry of the catalogue, such as `google`; an `EmailProvider`, as `emp/` and its name; or the host of a server of your own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,

    /// The published access token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenStatus>,

    /// The grant that access tokens are obtained with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantStatus>,

    /// How a person signs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sign_in: Option<SignInStatus>,

    /// The values in effect, after catalogue and overrides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<EndpointsStatus>,

    /// The last failure, until a refresh works again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureStatus>,

    /// The requests by annotation that were answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handled_requests: Option<HandledRequests>,
}

/// The published access token.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct TokenStatus {
    /// The Secret that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// When it was issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issue_time: Option<Time>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Time>,
    /// When it will be replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renewal_time: Option<Time>,
    /// What it is good for, as the provider said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// How many tokens were published for this asset so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_count: Option<i64>,
}

/// The grant that access tokens are obtained with.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct GrantStatus {
    /// Who signed in, as the provider says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// When it was given: when the seed was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_time: Option<Time>,
    /// When it ends, as far as that is known: because the provider says so, because its refresh tokens live no longer, or because it is not used while the asset is suspended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Time>,
    /// How many answers were stored. It never falls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}

/// How a person signs in. It is no credential: whoever may read the status may have it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct SignInStatus {
    /// The page where the person begins. A new value of `emailasset.dev/sign-in` makes a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Where the provider sends the person back to: to be registered there before anybody signs in, exactly as it stands here.
    #[serde(rename = "callbackURL", skip_serializing_if = "Option::is_none")]
    pub callback_url: Option<String>,
    /// The authorization request but for `redirect_uri`, `state`, `nonce` and the PKCE challenge, which `kubectl emailasset authorize` adds.
    #[serde(rename = "authorizationRequest", skip_serializing_if = "Option::is_none")]
    pub authorization_request: Option<String>,
    /// The last sign-in that changed nothing, until one works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_refusal: Option<SignInRefusalStatus>,
    /// Grant `DeviceCode`: the page where the code is entered.
    #[serde(rename = "verificationURL", skip_serializing_if = "Option::is_none")]
    pub verification_url: Option<String>,
    /// Grant `DeviceCode`: the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_code: Option<String>,
    /// Grant `DeviceCode`: until when the code is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Time>,
}

/// A sign-in that changed nothing.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct SignInRefusalStatus {
    /// The reason, as in the conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What happened and the next step, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
}

/// The values in effect, after catalogue and overrides.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct EndpointsStatus {
    /// The catalogue entry in use: the one that the spec names, or that of the mailbox's domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The issuer of ID tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Where a person signs in.
    #[serde(rename = "authorizationURL", skip_serializing_if = "Option::is_none")]
    pub authorization_url: Option<String>,
    /// Where a sign-in with a code begins.
    #[serde(rename = "deviceAuthorizationURL", skip_serializing_if = "Option::is_none")]
    pub device_authorization_url: Option<String>,
    /// Token endpoint.
    #[serde(rename = "tokenURL", skip_serializing_if = "Option::is_none")]
    pub token_url: Option<String>,
    /// Where a refresh token is given back, if there is such a place.
    #[serde(rename = "revocationURL", skip_serializing_if = "Option::is_none")]
    pub revocation_url: Option<String>,
    /// Where refresh tokens are redeemed, when that is not the token endpoint.
    #[serde(rename = "refreshURL", skip_serializing_if = "Option::is_none")]
    pub refresh_url: Option<String>,
    /// Scopes of the access token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// How the client proves itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_authentication: Option<ClientAuthentication>,
    /// Which of these the issuer's metadata told; `iss`: it names itself in each authorization response (RFC 9207). A restart need not ask it again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discovered: Vec<String>,
    /// What happens to the refresh token when it is redeemed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// The server that takes mail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp: Option<ServerStatus>,
    /// The IMAP server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imap: Option<ServerStatus>,
    /// The POP3 server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pop3: Option<ServerStatus>,
}

/// A mail server in effect.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ServerStatus {
    /// Host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// How the connection is encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security: Option<Security>,
    /// Login name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
}

/// The last failure, until a refresh works again. The count and the next attempt make backoff survive a restart (invariant 8).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct FailureStatus {
    /// What kind of failure: who can do something about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The reason, as in the conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The provider's error code, or the HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What happened, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it last happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure_time: Option<Time>,
    /// How many times in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<i64>,
    /// When the next attempt is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<Time>,
    /// The provider's own identifier of the failed request, to quote to its support.
    #[serde(rename = "traceID", skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

/// The values of request annotations that were answered last.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct HandledRequests {
    /// `emailasset.dev/refresh`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh: Option<String>,
    /// `emailasset.dev/sign-in`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sign_in: Option<String>,
}
