//! What a cluster admin writes so that many teams share one OAuth client: [`EmailProviderSpec`].
//!
//! An `EmailProvider` is to an `EmailAsset` what a `ClusterIssuer` is to a `Certificate`. It may begin with an entry of the catalogue, corrects or completes it,
//! and names a client whose Secret stands in the operator's own namespace, where no team can read it. Who may use it is said by [`AllowRule`]s
//! ([`super::allow`]); an asset that names it says little more than which mailbox it is for.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{
    rules,
    spec::{
        ClientAuthentication, EmailAssetSpec, Grant, KeyRef, MailServer, NameRef, OAuth2, Rotation, parameters_schema,
        scopes_schema,
    },
    status::EndpointsStatus,
};

/// A provider, or an OAuth client at one, that assets of many namespaces may use without seeing the client's secret.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "emailasset.dev",
    version = "v1alpha1",
    kind = "EmailProvider",
    plural = "emailproviders",
    shortname = "emp",
    status = "EmailProviderStatus",
    derive = "PartialEq",
    doc = "A provider, or an OAuth client at one, that assets of many namespaces may use without seeing the client's secret.",
    printcolumn(name = "Provider", type_ = "string", json_path = ".spec.provider"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new(rules::PROVIDER_NAME).message(rules::PROVIDER_NAME_MESSAGE)
)]
#[x_kube(validation = Rule::new(rules::SERVER_NAMED).message(rules::SERVER_NAMED_MESSAGE).field_path(".provider"))]
#[x_kube(validation = Rule::new(rules::SMTP_HOST).message(rules::MAIL_HOST_MESSAGE).field_path(".smtp"))]
#[x_kube(validation = Rule::new(rules::IMAP_HOST).message(rules::MAIL_HOST_MESSAGE).field_path(".imap"))]
#[x_kube(validation = Rule::new(rules::POP3_HOST).message(rules::MAIL_HOST_MESSAGE).field_path(".pop3"))]
#[serde(rename_all = "camelCase")]
pub struct EmailProviderSpec {
    /// An entry of the operator's catalogue to begin with, such as `google` or `microsoft`. Leave it out and set `oauth2.issuer` or `oauth2.tokenURL` for a
    /// server that the catalogue does not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = rules::MAX_PROVIDER))]
    #[x_kube(validation = Rule::new(rules::PROVIDER).message(rules::PROVIDER_MESSAGE))]
    pub provider: Option<String>,

    /// The OAuth client, and what is different from the entry.
    pub oauth2: ProviderOAuth2,

    /// The server that takes mail. Default: the entry's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp: Option<MailServer>,

    /// The IMAP server. Default: the entry's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imap: Option<MailServer>,

    /// The POP3 server. Default: the entry's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pop3: Option<MailServer>,

    /// Who may use it: an asset needs one rule that covers its namespace, its grant and all of its names. No rule: nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = rules::MAX_ALLOW_RULES))]
    pub allow: Vec<AllowRule>,

    /// Needed for grant `ClientCredentials`: each of its tokens opens every mailbox that the app may open, whatever mailbox the asset names, and so does whoever
    /// can read the token Secret. `Acknowledged` says that you know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_wide_token: Option<AppWideToken>,
}

/// `Acknowledged`: the app's tokens may open more than the one mailbox of the asset, and that is meant.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[schemars(inline)]
pub enum AppWideToken {
    /// It is known and meant.
    Acknowledged,
}

/// The OAuth client of an `EmailProvider`, and what is different from the catalogue's entry.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[x_kube(validation = Rule::new(rules::SHARED_CLIENT_NAMED).message(rules::CLIENT_NAMED_MESSAGE).field_path(".clientCredentialsRef"))]
#[x_kube(validation = Rule::new(rules::CLIENT_HAS_SECRET).message(rules::CLIENT_HAS_SECRET_MESSAGE).field_path(".clientCredentialsRef"))]
#[x_kube(validation = Rule::new(rules::ROTATION_IS_KNOWN).message(rules::ROTATION_IS_KNOWN_MESSAGE).field_path(".rotation"))]
#[serde(rename_all = "camelCase")]
pub struct ProviderOAuth2 {
    /// Secret of the operator's own namespace with the OAuth client: keys `client_id` and, unless it is a public client, `client_secret`; or `client_secret.json`
    /// as Google's console downloads it; or `tls.key` and `tls.crt`, with which the client signs (`PrivateKeyJWT`); or a service account's key file, for grant
    /// `JWTBearer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_credentials_ref: Option<NameRef>,

    /// Client ID, when it is not in the Secret that `clientCredentialsRef` names.
    #[serde(rename = "clientID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = rules::MAX_CLIENT_ID))]
    #[x_kube(validation = Rule::new(rules::CLIENT_ID).message(rules::CLIENT_ID_MESSAGE))]
    pub client_id: Option<String>,

    /// How the client proves itself at the token endpoint. Default: as the provider wants it where there is a client secret; with a key alone: `PrivateKeyJWT`; else
    /// `None`. `FederatedToken` needs the operator's word for its own namespace and this client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_authentication: Option<ClientAuthentication>,

    /// What the entry asks for, such as `tenant` at `microsoft` or `region` at `zoho`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "parameters_schema")]
    pub parameters: BTreeMap<String, String>,

    /// The server's issuer identifier, exactly as the server writes it (OpenID Connect Discovery, RFC 8414). It tells the endpoints that are not set below, and
    /// asserts which account signed in. Only for servers outside the catalogue; default: the entry's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = rules::MAX_URL))]
    #[x_kube(validation = Rule::new(rules::URL).message(rules::URL_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::URL_QUERY).message(rules::URL_QUERY_MESSAGE))]
    pub issuer: Option<String>,

    /// Where a person signs in. Default: the entry's.
    #[serde(rename = "authorizationURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = rules::MAX_URL))]
    #[x_kube(validation = Rule::new(rules::URL).message(rules::URL_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::URL_QUERY).message(rules::URL_QUERY_MESSAGE))]
    pub authorization_url: Option<String>,

    /// Where a sign-in with a code begins (RFC 8628). Default: the entry's.
    #[serde(rename = "deviceAuthorizationURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = rules::MAX_URL))]
    #[x_kube(validation = Rule::new(rules::URL).message(rules::URL_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::URL_QUERY).message(rules::URL_QUERY_MESSAGE))]
    pub device_authorization_url: Option<String>,

    /// Token endpoint. Default: the entry's.
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

    /// Where a refresh token is given back (RFC 7009). Default: the entry's.
    #[serde(rename = "revocationURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = rules::MAX_URL))]
    #[x_kube(validation = Rule::new(rules::URL).message(rules::URL_MESSAGE))]
    #[x_kube(validation = Rule::new(rules::URL_QUERY).message(rules::URL_QUERY_MESSAGE))]
    pub revocation_url: Option<String>,

    /// Scopes of the access token. Default: the entry's.
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

    /// `ConfigMap` of the operator's own namespace with certificates (PEM) to trust at the token endpoint, on top of the usual ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<KeyRef>,
}

/// Which assets may use an `EmailProvider`. All that is said here must hold.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AllowRule {
    /// The namespaces of the assets.
    pub namespaces: AllowedNamespaces,

    /// The mailboxes: addresses, or `*@` and a domain for all of that domain. They are held against the asset's email, username and loginEmail, and so against
    /// the account that signs in. A grant without a person needs the address itself, since no sign-in proves whose mailbox it is.
    #[schemars(schema_with = "mailboxes_schema")]
    pub mailboxes: Vec<String>,

    /// The grants. Default: those in which a person signs in, `AuthorizationCode` and `DeviceCode`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = rules::MAX_GRANTS))]
    pub grants: Vec<Grant>,
}

/// Namespaces by name or by their labels. Where both are set, both must fit.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[x_kube(validation = Rule::new(rules::NAMESPACES_NAMED).message(rules::NAMESPACES_NAMED_MESSAGE))]
#[serde(rename_all = "camelCase")]
pub struct AllowedNamespaces {
    /// Their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "namespace_names_schema")]
    pub names: Vec<String>,

    /// Their labels. An empty selector fits every namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<NamespaceSelector>,
}

/// Labels that a namespace must have.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// Each with this value. Whoever may label namespaces decides with it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "match_labels_schema")]
    pub match_labels: BTreeMap<String, String>,
}

/// How an `EmailProvider` stands.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct EmailProviderStatus {
    /// The generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: whether assets can use it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The values in effect, after catalogue and overrides, for a mailbox of the first rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<EndpointsStatus>,
}

impl EmailProviderSpec {
    /// The spec of an asset that uses this provider, as if it had written everything itself. Names of objects in it are those of the operator's namespace.
    #[must_use]
    pub fn under(&self, asset: &EmailAssetSpec) -> EmailAssetSpec {
        // Every field by name, here and below: one that is added must not come from an asset unseen.
        let ProviderOAuth2 {
            client_credentials_ref,
            client_id,
            client_authentication,
            parameters,
            issuer,
            authorization_url,
            device_authorization_url,
            token_url,
            refresh_url,
            revocation_url,
            scopes,
            rotation,
            prompt,
            ca_bundle_ref,
        } = self.oauth2.clone();
        let mut spec = asset.clone();
        spec.provider.clone_from(&self.provider);
        spec.smtp.clone_from(&self.smtp);
        spec.imap.clone_from(&self.imap);
        spec.pop3.clone_from(&self.pop3);
        let grant = asset.oauth2.grant;
        // What a grant has no use for is no contradiction here: the provider serves several grants.
        let for_client = grant != Grant::JwtBearer;
        spec.oauth2 = OAuth2 {
            grant,
            refresh_token_secret_ref: spec.oauth2.refresh_token_secret_ref,
            login_email: spec.oauth2.login_email,
            grant_deletion_policy: spec.oauth2.grant_deletion_policy,
            client_credentials_ref,
            client_id: client_id.filter(|_| for_client),
            client_authentication: client_authentication.filter(|_| for_client),
            parameters,
            issuer,
            authorization_url,
            device_authorization_url,
            token_url,
            refresh_url: refresh_url.filter(|_| !grant.is_direct()),
            revocation_url,
            scopes,
            rotation: rotation.filter(|_| !grant.is_direct()),
            prompt: prompt.filter(|_| grant == Grant::AuthorizationCode),
            ca_bundle_ref,
        };
        spec
    }
}

fn mailboxes_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": rules::MAX_MAILBOXES,
        "items": {
            "type": "string",
            "minLength": 1,
            "maxLength": rules::MAX_USERNAME,
            "x-kubernetes-validations": [{ "rule": rules::MAILBOX, "message": rules::MAILBOX_MESSAGE }],
        },
    })
}

fn namespace_names_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": rules::MAX_NAMESPACES,
        "items": {
            "type": "string",
            "minLength": 1,
            "maxLength": rules::MAX_LABEL,
            "x-kubernetes-validations": [{ "rule": rules::OBJECT_NAME, "message": rules::OBJECT_NAME_MESSAGE }],
        },
    })
}

fn match_labels_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": rules::MAX_KEYS,
        "additionalProperties": {
            "type": "string",
            "maxLength": rules::MAX_LABEL,
            "x-kubernetes-validations": [{ "rule": rules::LABEL_VALUE, "message": rules::LABEL_VALUE_MESSAGE }],
        },
    })
}
