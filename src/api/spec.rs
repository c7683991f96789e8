//! What a person writes: [`EmailAssetSpec`].
//!
//! Doc comments on fields become descriptions in the CRD, so they speak to the person who writes YAML. The CEL rules beside the fields are what the API server
//! checks; [`super::validate()`] holds the same rules in code. Every string and list has a bound, because the API server refuses a CRD whose rules might be
//! expensive. For an optional enum it is the enum's own comment that becomes the description. Unknown fields are ignored when reading: a resource written for a newer operator must not stop the watch.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use url::Url;

use super::status::{EmailAssetStatus, EndpointsStatus};
use super::{names, rules};

/// A mailbox whose OAuth 2.0 access token is kept fresh in a Secret.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "emailasset.dev",
    version = "v1alpha1",
    kind = "EmailAsset",
    plural = "emailassets",
    shortname = "ea",
    namespaced,
    status = "EmailAssetStatus",
    derive = "PartialEq",
    doc = "A mailbox whose OAuth 2.0 access token is kept fresh in a Secret.",
    printcolumn(name = "Email", type_ = "string", json_path = ".spec.email"),
    printcolumn(name = "Provider", type_ = "string", json_path = ".status.provider"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.token.expirationTime"),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.token.secretName", priority = 1),
    printcolumn(name = "Account", type_ = "string", json_path = ".status.grant.account", priority = 1),
    printcolumn(name = "Failure", type_ = "string", json_path = ".status.failure.reason", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new(rules::ASSET_NAME).message(rules::ASSET_NAME_MESSAGE),
    validation = Rule::new(rules::SEED_NOT_OURS).message(rules::NOT_OURS_MESSAGE).field_path(".spec.oauth2.refreshTokenSecretRef.name"),
    validation = Rule::new(rules::CLIENT_NOT_OURS).message(rules::NOT_OURS_MESSAGE).field_path(".spec.oauth2.clientCredentialsRef.name")
)]
#[x_kube(validation = Rule::new(rules::ONE_PROVIDER).message(rules::ONE_PROVIDER_MESSAGE).field_path(".providerRef"))]
#[x_kube(validation = Rule::new(rules::SHARED_OAUTH2).message(rules::SHARED_OAUTH2_MESSAGE).field_path(".oauth2"))]
#[x_kube(validation = Rule::new(rules::SHARED_SERVERS).message(rules::SHARED_SERVERS_MESSAGE).field_path(".providerRef"))]
#[x_kube(validation = Rule::new(rules::CLIENT_NAMED).message(rules::CLIENT_NAMED_MESSAGE).field_path(".oauth2.clientCredentialsRef"))]
#[x_kube(validation = Rule::new(rules::CLIENT_PROVES_ITSELF).message(rules::CLIENT_PROVES_ITSELF_MESSAGE).field_path(".oauth2.clientAuthentication"))]
#[x_kube(validation = Rule::new(rules::ACCOUNT_NAMED).message(rules::ACCOUNT_NAMED_MESSAGE).field_path(".oauth2.clientCredentialsRef"))]
#[x_kube(validation = Rule::new(rules::SERVER_KNOWN).message(rules::SERVER_KNOWN_MESSAGE).field_path(".provider"))]
#[x_kube(validation = Rule::new(rules::SMTP_HOST).message(rules::MAIL_HOST_MESSAGE).field_path(".smtp"))]
#[x_kube(validation = Rule::new(rules::IMAP_HOST).message(rules::MAIL_HOST_MESSAGE).field_path(".imap"))]
#[x_kube(validation = Rule::new(rules::POP3_HOST).message(rules::MAIL_HOST_MESSAGE).field_path(".pop3"))]
#[serde(rename_all = "camelCase")]
pub struct EmailAssetSpec {
    /// The address of the mailbox. It cannot be changed later.
    #[schemars(length(min = 1, max = rules::MAX_EMAIL))]
    #[x_kube(validation = Rule::new(rules::EMAIL).message(rules::EMAIL_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::EMAIL_FIXED).message(rules::EMAIL_FIXED_MESSAGE))]
    pub email: String,

    /// An entry of the operator's catalogue, such as `google` or `microsoft`: it knows the endpoints, scopes and mail servers.
    /// Default: the entry that the mailbox's domain belongs to, as gmail.com to google, shown in `status.endpoints.provider`; a domain of your own belongs to none.
    /// Leave it out and set `oauth2.tokenURL` for a server that the catalogue does not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = rules::MAX_PROVIDER))]
    #[x_kube(validation = Rule::new(rules::PROVIDER).message(rules::PROVIDER_MESSAGE))]
    pub provider: Option<String>,

    /// An `EmailProvider` of this cluster: an OAuth client, endpoints and servers that a cluster admin has set up for many namespaces. Beside it an asset sets only
    /// `email`, `username`, `secret`, `renewBefore`, `suspend`, and of `oauth2` only `grant`, `refreshTokenSecretRef`, `loginEmail` and `grantDeletionPolicy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_ref: Option<NameRef>,

    /// How an access token for the mailbox is obtained.
    pub oauth2: OAuth2,

    /// Login name at the mail servers, when it is not the email address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = rules::MAX_USERNAME))]
    #[x_kube(validation = Rule::new(rules::USERNAME).message(rules::USERNAME_MESSAGE))]
    pub username: Option<String>,

    /// The server that takes mail from this mailbox. Default: the provider's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp: Option<MailServer>,

    /// The server to read this mailbox with IMAP. Default: the provider's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imap: Option<MailServer>,

    /// The server to read this mailbox with POP3. Default: the provider's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pop3: Option<MailServer>,

    /// The Secret that consumers mount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<TokenSecret>,

    /// How long before its end a token is replaced, as a duration such as `20m`. At most half of the token's life is used.
    /// Default: a third of the token's life, and not less than 10 minutes where its life allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = rules::MAX_DURATION))]
    #[x_kube(validation = Rule::new(rules::RENEW_BEFORE).message(rules::RENEW_BEFORE_MESSAGE))]
    pub renew_before: Option<String>,

    /// True: no call to the provider or the mail servers is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// How an access token is obtained.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(validation = Rule::new(rules::CLIENT_HAS_SECRET).message(rules::CLIENT_HAS_SECRET_MESSAGE).field_path(".clientCredentialsRef"))]
#[x_kube(validation = Rule::new(rules::CLIENT_ID_USED).message(rules::CLIENT_ID_USED_MESSAGE).field_path(".clientID"))]
#[x_kube(validation = Rule::new(rules::AUTHENTICATION_USED).message(rules::AUTHENTICATION_USED_MESSAGE).field_path(".clientAuthentication"))]
#[x_kube(validation = Rule::new(rules::REFRESH_USED).message(rules::REFRESH_USED_MESSAGE).field_path(".refreshURL"))]
#[x_kube(validation = Rule::new(rules::ROTATION_USED).message(rules::ROTATION_USED_MESSAGE).field_path(".rotation"))]
#[x_kube(validation = Rule::new(rules::ROTATION_IS_KNOWN).message(rules::ROTATION_IS_KNOWN_MESSAGE).field_path(".rotation"))]
#[x_kube(validation = Rule::new(rules::SEED_NAMED).message(rules::SEED_NAMED_MESSAGE).field_path(".refreshTokenSecretRef"))]
#[x_kube(validation = Rule::new(rules::SEED_UNUSED).message(rules::SEED_UNUSED_MESSAGE).field_path(".refreshTokenSecretRef"))]
#[x_kube(validation = Rule::new(rules::PROMPT_USED).message(rules::PROMPT_USED_MESSAGE).field_path(".prompt"))]
#[serde(rename_all = "camelCase")]
pub struct OAuth2 {
    /// `AuthorizationCode`: a person signs in once, in a browser. `DeviceCode`: a person signs in once on any device, with a code. `RefreshToken`: redeem the
    /// refresh token that `refreshTokenSecretRef` names. `ClientCredentials`: the client itself gets the token, as Exchange's app-only access wants it; nobody signs
    /// in. `JWTBearer`: a service account gets it for the mailbox, as Google's domain-wide delegation wants it; nobody signs in.
    pub grant: Grant,

    /// Secret of this namespace with the OAuth client: keys `client_id` and, unless it is a public client, `client_secret`; or `client_secret.json` as Google's
    /// console downloads it; or `tls.key` and `tls.crt`, with which the client signs (`PrivateKeyJWT`). Grant `JWTBearer`: the service account's key file as Google's
    /// console downloads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_credentials_ref: Option<NameRef>,

    /// Grant `RefreshToken`: Secret of this namespace with the first refresh token (the seed). It is read, never written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token_secret_ref: Option<KeyRef>,

    /// Client ID, when it is not in the Secret that `clientCredentialsRef` names.
    #[serde(rename = "clientID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = rules::MAX_CLIENT_ID))]
    #[x_kube(validation = Rule::new(rules::CLIENT_ID).message(rules::CLIENT_ID_MESSAGE))]
    pub client_id: Option<String>,

    /// How the client proves itself at the token endpoint. Default: as the provider wants it where there is a client secret; with a key alone: `PrivateKeyJWT`; else `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_authentication: Option<ClientAuthentication>,

    /// What the provider asks for, such as `tenant` at `microsoft` or `region` at `zoho`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "parameters_schema")]
    pub parameters: BTreeMap<String, String>,

    /// The server's issuer identifier, exactly as the server writes it (OpenID Connect Discovery, RFC 8414). It tells the endpoints that are not set below, and
    /// asserts which account signed in. Only for servers outside the catalogue; default: the provider's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = rules::MAX_URL))]
    #[x_kube(validation = Rule::new(rules::URL).message(rules::URL_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::URL_QUERY).message(rules::URL_QUERY_MESSAGE))]
    pub issuer: Option<String>,

    /// Where a person signs in. Default: the provider's.
    #[serde(rename = "authorizationURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = rules::MAX_URL))]
    #[x_kube(validation = Rule::new(rules::URL).message(rules::URL_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::URL_QUERY).message(rules::URL_QUERY_MESSAGE))]
    pub authorization_url: Option<String>,

    /// Where a sign-in with a code begins (RFC 8628). Default: the provider's.
    #[serde(rename = "deviceAuthorizationURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = rules::MAX_URL))]
    #[x_kube(validation = Rule::new(rules::URL).message(rules::URL_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::URL_QUERY).message(rules::URL_QUERY_MESSAGE))]
    pub device_authorization_url: Option<String>,

    /// Token endpoint. Default: the provider's.
    #[serde(rename = "tokenURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = rules::MAX_URL))]
    #[x_kube(validation = Rule::new(rules::URL).message(rules::URL_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::URL_QUERY).message(rules::URL_QUERY_MESSAGE))]
    pub token_url: Option<String>,

    /// Where refresh tokens are redeemed, when that is not the token endpoint.
    #[serde(rename = "refreshURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = rules::MAX_URL))]
    #[x_kube(validation = Rule::new(rules::URL).message(rules::URL_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::URL_QUERY).message(rules::URL_QUERY_MESSAGE))]
    pub refresh_url: Option<String>,

    /// Where a refresh token is given back (RFC 7009). Default: the provider's. Needed for `grantDeletionPolicy: Revoke` at a server outside the catalogue.
    #[serde(rename = "revocationURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = rules::MAX_URL))]
    #[x_kube(validation = Rule::new(rules::URL).message(rules::URL_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::URL_QUERY).message(rules::URL_QUERY_MESSAGE))]
    pub revocation_url: Option<String>,

    /// Scopes of the access token. Default: the provider's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "scopes_schema")]
    pub scopes: Vec<String>,

    /// What happens to the refresh token when it is redeemed. Only for servers outside the catalogue; default: Strict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,

    /// What the provider asks of a person who signs in, such as `consent` or `select_account`; the `prompt` parameter of OpenID Connect. Default: as the provider
    /// needs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = rules::MAX_PARAMETER))]
    #[x_kube(validation = Rule::new(rules::PROMPT).message(rules::PROMPT_MESSAGE))]
    pub prompt: Option<String>,

    /// The account that signs in, when that is not the mailbox itself, as for a shared mailbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = rules::MAX_USERNAME))]
    #[x_kube(validation = Rule::new(rules::USERNAME).message(rules::USERNAME_MESSAGE))]
    pub login_email: Option<String>,

    /// `ConfigMap` of this namespace with certificates (PEM) to trust at the token endpoint, on top of the usual ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<KeyRef>,

    /// What becomes of the stored grant when this resource is deleted. Default: Retain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_deletion_policy: Option<GrantDeletionPolicy>,
}

/// The way to an access token.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[schemars(inline)]
pub enum Grant {
    /// A person signs in once, in a browser (RFC 6749 §4.1).
    AuthorizationCode,
    /// A person signs in once on any device, with a code (RFC 8628).
    DeviceCode,
    /// Redeem a refresh token that somebody obtained elsewhere (RFC 6749 §6).
    RefreshToken,
    /// The client itself gets the token: no person, no refresh token (RFC 6749 §4.4).
    ClientCredentials,
    /// A service account gets the token for the mailbox: no person, no refresh token (RFC 7523 §2.1).
    #[serde(rename = "JWTBearer")]
    JwtBearer,
}

/// How the client proves itself at the token endpoint (RFC 6749 §2.3). `PrivateKeyJWT`: with the key `tls.key` of its Secret. `FederatedToken`: by the operator's own
/// identity, where the operator's settings allow it. Default: as the provider wants it where there is a client secret; `PrivateKeyJWT` where there is a key; else `None`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[schemars(inline)]
pub enum ClientAuthentication {
    /// Client ID and secret in the Authorization header.
    ClientSecretBasic,
    /// Client ID and secret in the request's body.
    ClientSecretPost,
    /// The client signs each request with the key `tls.key` of its Secret (RFC 7523 §2.2).
    #[serde(rename = "PrivateKeyJWT")]
    PrivateKeyJwt,
    /// The operator's own identity, a projected `ServiceAccount` token, stands for the client. The operator's settings say which clients it may stand for.
    FederatedToken,
    /// A public client: the client ID alone.
    None,
}

/// What a server does with a refresh token when it is redeemed. `None`: it stays. `Soft`: a new one comes, the old one goes on working. `Strict`: a new one comes,
/// the old one is dead. Set it only for servers outside the catalogue; default: `Strict`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[schemars(inline)]
pub enum Rotation {
    /// The refresh token stays the same.
    None,
    /// A new one comes with each answer; the old one goes on working.
    Soft,
    /// A new one comes with each answer; the old one is dead, and using it again may kill the whole grant.
    Strict,
}

/// What becomes of the stored grant when the asset is deleted. `Retain`, the default: it stays, and a new asset of the same name and mailbox takes it up.
/// `Delete`: it goes with the asset. `Revoke`: it goes with the asset, and the refresh token is given back to the provider first.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
#[schemars(inline)]
pub enum GrantDeletionPolicy {
    /// The grant Secret stays. A new asset of the same name and mailbox takes it up again.
    #[default]
    Retain,
    /// The grant Secret goes with the asset.
    Delete,
    /// The grant Secret goes with the asset, whose deletion waits until the refresh token was given back to the provider, for five minutes at most.
    Revoke,
}

/// An object of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct NameRef {
    /// Its name.
    #[schemars(length(min = 1, max = rules::MAX_NAME))]
    #[x_kube(validation = Rule::new(rules::OBJECT_NAME).message(rules::OBJECT_NAME_MESSAGE))]
    pub name: String,
}

/// A key of an object of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct KeyRef {
    /// The object's name.
    #[schemars(length(min = 1, max = rules::MAX_NAME))]
    #[x_kube(validation = Rule::new(rules::OBJECT_NAME).message(rules::OBJECT_NAME_MESSAGE))]
    pub name: String,
    /// The key in its data.
    #[schemars(length(min = 1, max = rules::MAX_NAME))]
    #[x_kube(validation = Rule::new(rules::OBJECT_KEY).message(rules::OBJECT_KEY_MESSAGE))]
    pub key: String,
}

/// Corrections to the provider's mail server, or a whole server where the provider is not in the catalogue.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct MailServer {
    /// Host name. Required where no provider is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = rules::MAX_NAME))]
    #[x_kube(validation = Rule::new(rules::HOST).message(rules::HOST_MESSAGE))]
    pub host: Option<String>,
    /// Port. Default: the provider's; for a host of your own the protocol's port for TLS (SMTP 465, IMAP 993, POP3 995).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// `TLS`: encrypted from the first byte. `StartTLS`: the connection is upgraded before login. `None`: not encrypted, and no token is ever sent.
    /// Default: what the port is known for, else the provider's, else TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security: Option<Security>,
    /// Login name at this server, when it is not `spec.username` or the email address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = rules::MAX_USERNAME))]
    #[x_kube(validation = Rule::new(rules::USERNAME).message(rules::USERNAME_MESSAGE))]
    pub username: Option<String>,
}

/// How a connection to a mail server is encrypted. `TLS`: from the first byte. `StartTLS`: upgraded before login. `None`: not at all, and no token is ever sent.
/// Default: what the port is known for, else the provider's, else `TLS`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[schemars(inline)]
pub enum Security {
    /// TLS from the first byte (RFC 8314).
    #[serde(rename = "TLS")]
    Tls,
    /// Upgraded with STARTTLS or STLS before login.
    #[serde(rename = "StartTLS")]
    StartTls,
    /// Not encrypted. Nothing authenticates over it (invariant 11).
    None,
}

/// The Secret that consumers mount.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct TokenSecret {
    /// Its name. Default: the asset's name followed by `-token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = rules::MAX_NAME))]
    #[x_kube(validation = Rule::new(rules::OBJECT_NAME).message(rules::OBJECT_NAME_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::SECRET_NOT_GRANT).message(rules::SECRET_NOT_GRANT_MESSAGE))]
    pub name: Option<String>,
    /// Labels to put on it. The operator's settings say which keys are allowed; by default those under `app.kubernetes.io/`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels_schema")]
    #[x_kube(validation = Rule::new(rules::OWN_KEYS).message(rules::OWN_KEYS_MESSAGE))]
    pub labels: BTreeMap<String, String>,
    /// Annotations to put on it; the same keys are allowed as for labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "annotations_schema")]
    #[x_kube(validation = Rule::new(rules::OWN_KEYS).message(rules::OWN_KEYS_MESSAGE))]
    pub annotations: BTreeMap<String, String>,
    /// Ready-made keys for mail clients, on top of the default ones, all made from the same token: `XOAuth2` and `OAuthBearer` (`imap_xoauth2` and so on: what a
    /// client sends to log in, in base64), `Msmtp` (`msmtprc`), `Mbsync` (`mbsyncrc`), `Exim` (`exim_authenticator.conf`, `exim_transport.conf`,
    /// `exim_router.conf`), `Postfix` (`postfix_main.cf`, `postfix_sasl_passwd`, `sasl_xoauth2.json`), `SaslXOAuth2` (`sasl_xoauth2.json`), `JSON` (`token.json`),
    /// `Env` (`token.env`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "formats_schema")]
    #[x_kube(validation = Rule::new(rules::FORMATS_ONCE).message(rules::FORMATS_ONCE_MESSAGE))]
    pub formats: Vec<Format>,
}

/// Ready-made keys of a token Secret, for a kind of consumer.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[schemars(inline)]
pub enum Format {
    /// The SASL initial response of XOAUTH2, for each mail server.
    XOAuth2,
    /// The SASL initial response of OAUTHBEARER (RFC 7628), for each mail server.
    OAuthBearer,
    /// The configuration of msmtp.
    Msmtp,
    /// The configuration of mbsync (isync).
    Mbsync,
    /// Pieces of a configuration of Exim as a sending service.
    Exim,
    /// Pieces of a configuration of Postfix with the plugin sasl-xoauth2.
    Postfix,
    /// The token file of the plugin sasl-xoauth2.
    SaslXOAuth2,
    /// Everything as one JSON object.
    #[serde(rename = "JSON")]
    Json,
    /// Everything as variables, for a shell or an env file.
    Env,
}

impl EmailAsset {
    /// The Secret that consumers mount: `spec.secret.name`, else the asset's name followed by `-token`.
    #[must_use]
    pub fn token_secret_name(&self) -> String {
        let asset = self.metadata.name.as_deref().unwrap_or_default();
        let chosen = self.spec.secret.as_ref().and_then(|secret| secret.name.clone());
        chosen.unwrap_or_else(|| names::default_token_secret(asset))
    }

    /// The Secret that holds the grant, for the operator alone.
    #[must_use]
    pub fn grant_secret_name(&self) -> String {
        names::grant_secret(self.metadata.name.as_deref().unwrap_or_default())
    }
}

impl EmailAssetSpec {
    /// The shortest spec: a mailbox and a grant.
    #[must_use]
    pub fn of(email: &str, grant: Grant) -> Self {
        Self {
            email: email.to_owned(),
            provider: None,
            provider_ref: None,
            oauth2: OAuth2 {
                grant,
                client_credentials_ref: None,
                refresh_token_secret_ref: None,
                client_id: None,
                client_authentication: None,
                parameters: BTreeMap::new(),
                issuer: None,
                authorization_url: None,
                device_authorization_url: None,
                token_url: None,
                refresh_url: None,
                revocation_url: None,
                scopes: Vec::new(),
                rotation: None,
                prompt: None,
                login_email: None,
                ca_bundle_ref: None,
                grant_deletion_policy: None,
            },
            username: None,
            smtp: None,
            imap: None,
            pop3: None,
            secret: None,
            renew_before: None,
            suspend: None,
        }
    }

    /// The name of the `EmailProvider` that it uses.
    #[must_use]
    pub fn email_provider(&self) -> Option<&str> {
        self.provider_ref.as_ref().map(|provider| provider.name.as_str())
    }

    /// Where the settings come from, in a word that people know: an entry of the catalogue, `emp/` and the name of an `EmailProvider`, or the host of a server of one's
    /// own. `endpoints` are the values in effect, as far as they are known.
    #[must_use]
    pub fn settings_from(&self, endpoints: Option<&EndpointsStatus>) -> Option<String> {
        let host = |url: &String| Some(Url::parse(url).ok()?.host_str()?.to_owned());
        let named = self.provider.clone();
        let shared = || self.email_provider().map(|name| format!("emp/{name}"));
        let found = || endpoints?.provider.clone();
        let own = || self.oauth2.token_url.as_ref().or(self.oauth2.issuer.as_ref());
        named.or_else(shared).or_else(found).or_else(|| own().and_then(host))
    }

    /// Whether no call may be made for this asset.
    #[must_use]
    pub fn suspended(&self) -> bool {
        self.suspend.unwrap_or_default()
    }
}

impl Grant {
    /// Whether a person begins it by signing in.
    #[must_use]
    pub const fn needs_sign_in(self) -> bool {
        matches!(self, Self::AuthorizationCode | Self::DeviceCode)
    }

    /// Whether tokens are issued to the client itself or its service account: there is no person and no refresh token.
    #[must_use]
    pub const fn is_direct(self) -> bool {
        matches!(self, Self::ClientCredentials | Self::JwtBearer)
    }

    /// The name in YAML.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "AuthorizationCode",
            Self::DeviceCode => "DeviceCode",
            Self::RefreshToken => "RefreshToken",
            Self::ClientCredentials => "ClientCredentials",
            Self::JwtBearer => "JWTBearer",
        }
    }
}

impl EmailAssetSpec {
    /// The account that must sign in: `spec.oauth2.loginEmail`, else the mailbox.
    #[must_use]
    pub fn login_email(&self) -> &str {
        self.oauth2.login_email.as_deref().unwrap_or(&self.email)
    }
}

impl OAuth2 {
    /// What becomes of the stored grant when the asset is deleted.
    #[must_use]
    pub fn grant_deletion_policy(&self) -> GrantDeletionPolicy {
        self.grant_deletion_policy.unwrap_or_default()
    }
}

impl Format {
    /// All of them, in the order of the documents.
    pub const ALL: [Self; 9] = [
        Self::XOAuth2,
        Self::OAuthBearer,
        Self::Msmtp,
        Self::Mbsync,
        Self::Exim,
        Self::Postfix,
        Self::SaslXOAuth2,
        Self::Json,
        Self::Env,
    ];

    /// The name in YAML.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::XOAuth2 => "XOAuth2",
            Self::OAuthBearer => "OAuthBearer",
            Self::Msmtp => "Msmtp",
            Self::Mbsync => "Mbsync",
            Self::Exim => "Exim",
            Self::Postfix => "Postfix",
            Self::SaslXOAuth2 => "SaslXOAuth2",
            Self::Json => "JSON",
            Self::Env => "Env",
        }
    }
}

impl Security {
    /// The name in YAML.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "TLS",
            Self::StartTls => "StartTLS",
            Self::None => "None",
        }
    }
}

impl ClientAuthentication {
    /// The name in YAML.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "ClientSecretBasic",
            Self::ClientSecretPost => "ClientSecretPost",
            Self::PrivateKeyJwt => "PrivateKeyJWT",
            Self::FederatedToken => "FederatedToken",
            Self::None => "None",
        }
    }
}

pub(super) fn scopes_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": rules::MAX_SCOPES,
        "items": {
            "type": "string",
            "minLength": 1,
            "maxLength": rules::MAX_SCOPE,
            "x-kubernetes-validations": [{ "rule": rules::SCOPE, "message": rules::SCOPE_MESSAGE }],
        },
    })
}

pub(super) fn parameters_schema(_: &mut SchemaGenerator) -> Schema {
    let value = json!({
        "type": "string",
        "maxLength": rules::MAX_PARAMETER,
        "x-kubernetes-validations": [{ "rule": rules::PARAMETER, "message": rules::PARAMETER_MESSAGE }],
    });
    text_map(rules::MAX_PARAMETERS, &value)
}

fn formats_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": Format::ALL.len(),
        "items": { "type": "string", "enum": Format::ALL.map(Format::as_str) },
    })
}

fn labels_schema(_: &mut SchemaGenerator) -> Schema {
    let value = json!({
        "type": "string",
        "maxLength": rules::MAX_LABEL,
        "x-kubernetes-validations": [{ "rule": rules::LABEL_VALUE, "message": rules::LABEL_VALUE_MESSAGE }],
    });
    text_map(rules::MAX_KEYS, &value)
}

fn annotations_schema(_: &mut SchemaGenerator) -> Schema {
    text_map(
        rules::MAX_KEYS,
        &json!({ "type": "string", "maxLength": rules::MAX_ANNOTATION }),
    )
}

/// A bounded map, which schemars has no attributes for. A rule on the value, not on the map, makes the API server print the key and the value.
fn text_map(entries: usize, value: &Value) -> Schema {
    json_schema!({ "type": "object", "maxProperties": entries, "additionalProperties": value })
}
