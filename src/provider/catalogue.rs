//! The catalogue: facts about providers, read once from `catalogue.yaml`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, de};
use url::Url;

use super::hosts::Authority;
use super::sign_in::{AccountClaim, NamesIssuer, UserinfoAlone, is_uuid};
use crate::api::{ClientAuthentication, Rotation, Security, duration};

const BUILT_IN: &str = include_str!("catalogue.yaml");

static CATALOGUE: LazyLock<Result<Catalogue, CatalogueError>> = LazyLock::new(|| Catalogue::parse(BUILT_IN));

/// Providers by key, as people write it in `spec.provider`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Catalogue(BTreeMap<String, Entry>);

/// Why a catalogue cannot be used. Not seen with the built-in one: a test reads it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// The YAML does not have the expected shape.
    #[error("the catalogue cannot be read: {0}")]
    Shape(String),
    /// An entry contradicts itself.
    #[error("catalogue entry {key}: {problem}")]
    Entry {
        /// The entry's key.
        key: String,
        /// What is wrong.
        problem: String,
    },
}

/// The facts about one provider. What each means, and where it comes from, is said in `catalogue.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// How people call it.
    pub display_name: String,
    /// What a person may or must give in `spec.oauth2.parameters`.
    #[serde(default)]
    pub parameters: BTreeMap<String, Parameter>,
    /// Token endpoint, with `{parameter}`s in its path.
    #[serde(rename = "tokenURL")]
    pub token_url: String,
    /// Where refresh tokens are redeemed, if that is not the token endpoint.
    #[serde(rename = "refreshURL", default)]
    pub refresh_url: Option<String>,
    /// Where a person signs in, with `{parameter}`s in its path.
    #[serde(rename = "authorizationURL", default)]
    pub authorization_url: Option<String>,
    /// Where a sign-in with a code begins, with `{parameter}`s in its path.
    #[serde(rename = "deviceAuthorizationURL", default)]
    pub device_authorization_url: Option<String>,
    /// Why there is no sign-in with a code.
    #[serde(default)]
    pub no_device_code: Option<String>,
    /// Why a sign-in with a code needs a client without a secret, if it does.
    #[serde(default)]
    pub device_code_without_secret: Option<String>,
    /// Parameters of the authorization request besides those of the protocol.
    #[serde(default)]
    pub authorization_parameters: BTreeMap<String, String>,
    /// Whether each authorization response names the issuer.
    #[serde(default)]
    pub names_issuer: NamesIssuer,
    /// The host of a loopback redirect.
    #[serde(default)]
    pub loopback_host: Option<String>,
    /// Who asserts which account signed in.
    #[serde(default)]
    pub identity: Option<EntryIdentity>,
    /// Hosts, besides those of the URLs above, that may receive client secrets and refresh tokens.
    #[serde(default)]
    pub more_token_hosts: Vec<String>,
    /// What the token endpoint takes; the first is used where there is a client secret and nothing else is said.
    pub client_authentication: Vec<ClientAuthentication>,
    /// What a refresh looks like.
    pub refresh: Refresh,
    /// How long an access token lives when the answer does not say.
    pub access_token_lifetime: AccessTokenLifetime,
    /// Scopes asked for whatever the protocol.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The server that takes mail.
    #[serde(default)]
    pub smtp: Option<EntryServer>,
    /// The IMAP server.
    #[serde(default)]
    pub imap: Option<EntryServer>,
    /// The POP3 server.
    #[serde(default)]
    pub pop3: Option<EntryServer>,
}

/// Who asserts which account signed in at a provider.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EntryIdentity {
    /// The issuer of ID tokens, with `{tid}` in its path where each tenant is one.
    pub issuer: String,
    /// Other spellings of it.
    #[serde(default)]
    pub also_issuers: Vec<String>,
    /// The issuer's keys, with `{parameter}`s in the path.
    #[serde(rename = "keysURL")]
    pub keys_url: String,
    /// The userinfo endpoint, where the access token opens it.
    #[serde(rename = "userinfoURL", default)]
    pub userinfo_url: Option<String>,
    /// Whether that alone proves an account.
    #[serde(default)]
    pub userinfo_alone: UserinfoAlone,
    /// The scopes that make the provider say who signed in.
    pub scopes: Vec<String>,
    /// Which claims name the account, best first.
    pub accounts: Vec<AccountClaim>,
    /// Where each tenant is an issuer.
    #[serde(default)]
    pub tenancy: Option<EntryTenancy>,
    /// Domains that are one and the same, and where dots in the local part mean nothing.
    #[serde(default)]
    pub dotless: Vec<String>,
}

/// How the tenant of an account is found.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EntryTenancy {
    /// The parameter that names the tenant.
    pub parameter: String,
    /// Its values that mean any tenant.
    pub any: Vec<String>,
    /// The tenant of personal accounts.
    pub personal: PersonalTenant,
    /// The metadata of a tenant, with `{tenant}` in the path for its ID or domain.
    #[serde(rename = "metadataURL")]
    pub metadata_url: String,
}

/// The tenant of personal accounts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PersonalTenant {
    /// The value of the parameter that means it.
    pub name: String,
    /// Its ID.
    pub id: String,
}

/// Something a provider needs to know, such as the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Parameter {
    /// What it is, for messages.
    pub description: String,
    /// A value to show.
    pub example: String,
    /// The value when none is given. Without one, it must be given.
    #[serde(default)]
    pub default: Option<String>,
}

/// What a refresh looks like at a provider.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refresh {
    /// What happens to the refresh token.
    pub rotation: Rotation,
    /// Whether the request names scopes.
    pub send_scope: SendScope,
    /// For how long the old refresh token is still taken after a redemption.
    #[serde(default, deserialize_with = "optional_duration")]
    pub reuse_grace: Option<SignedDuration>,
}

/// Whether a refresh names scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum SendScope {
    /// It does not: the scopes stay as granted (RFC 6749 §6).
    Never,
    /// It names those that the asset asks for.
    Requested,
}

/// How long an access token lives when the answer does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessTokenLifetime(pub SignedDuration);

/// A provider's mail server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EntryServer {
    /// Host name.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How the connection is encrypted.
    pub security: Security,
    /// The scopes that open this protocol.
    pub scopes: Vec<String>,
    /// Whether an asset gets it without naming the protocol.
    #[serde(default)]
    pub offer: Offer,
}

/// Whether an asset gets a protocol, and its scopes, without naming it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Offer {
    /// Always.
    #[default]
    Always,
    /// Only if the spec has a block for the protocol.
    WhenNamed,
}

impl Catalogue {
    /// The catalogue that is compiled in, read at the first call.
    pub fn built_in() -> Result<&'static Self, &'static CatalogueError> {
        CATALOGUE.as_ref()
    }

    /// Reads a catalogue and checks that its entries can be used.
    pub fn parse(yaml: &str) -> Result<Self, CatalogueError> {
        let catalogue: Self = serde_saphyr::from_str(yaml).map_err(|error| CatalogueError::Shape(error.to_string()))?;
        for (key, entry) in &catalogue.0 {
            entry.check().map_err(|problem| CatalogueError::Entry {
                key: key.clone(),
                problem,
            })?;
        }
        Ok(catalogue)
    }

    /// The entry of this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.0.get(key)
    }

    /// All entries with their keys, in alphabetical order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.0.iter().map(|(key, entry)| (key.as_str(), entry))
    }

    /// The keys of all entries, in alphabetical order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl Entry {
    /// The hosts that may receive client secrets and refresh tokens because they are the provider's own. Port 443 only.
    #[must_use]
    pub fn token_hosts(&self) -> Vec<Authority> {
        let urls = [
            Some(&self.token_url),
            self.refresh_url.as_ref(),
            self.device_authorization_url.as_ref(),
        ];
        let urls = urls.into_iter().flatten();
        let of_urls = urls.filter_map(|template| Some(Authority::of(&example_url(template)?)));
        let named = self.more_token_hosts.iter().filter_map(|host| Authority::parse(host));
        let mut hosts: Vec<_> = of_urls.chain(named).map(Authority::on_https).collect();
        hosts.sort();
        hosts.dedup();
        hosts
    }

    fn check(&self) -> Result<(), String> {
        let identity = self.identity.as_ref();
        let templates = [
            Some(&self.token_url),
            self.refresh_url.as_ref(),
            self.authorization_url.as_ref(),
            self.device_authorization_url.as_ref(),
            identity.map(|identity| &identity.keys_url),
            identity.and_then(|identity| identity.userinfo_url.as_ref()),
        ];
        for template in templates.into_iter().flatten() {
            self.check_template(template, None)?;
        }
        if self.device_authorization_url.is_some() && self.no_device_code.is_some() {
            return Err("it has both deviceAuthorizationURL and noDeviceCode".into());
        }
        if let Some(identity) = identity {
            self.check_identity(identity)?;
        }
        if let Some(host) = self
            .more_token_hosts
            .iter()
            .find(|host| Authority::parse(host).is_none())
        {
            return Err(format!("moreTokenHosts has {host:?}, which is no host name"));
        }
        if self.client_authentication.is_empty() {
            return Err("clientAuthentication is empty".into());
        }
        Ok(())
    }

    fn check_identity(&self, identity: &EntryIdentity) -> Result<(), String> {
        let Some(tenancy) = &identity.tenancy else {
            return self.check_template(&identity.issuer, None);
        };
        self.check_template(&identity.issuer, Some("tid"))?;
        self.check_template(&tenancy.metadata_url, Some("tenant"))?;
        if !identity.issuer.contains("{tid}") {
            return Err("each tenant is an issuer, but the issuer has no {tid}".into());
        }
        if !self.parameters.contains_key(&tenancy.parameter) {
            return Err(format!(
                "tenancy uses {}, which is not among the parameters",
                tenancy.parameter
            ));
        }
        if !is_uuid(&tenancy.personal.id) {
            return Err("the ID of the tenant of personal accounts is no UUID in lower case".into());
        }
        Ok(())
    }

    fn check_template(&self, template: &str, besides: Option<&str>) -> Result<(), String> {
        let url = example_url(template).ok_or_else(|| format!("{template:?} is no URL"))?;
        let host = template
            .strip_prefix("https://")
            .and_then(|rest| rest.split('/').next());
        if host != url.host_str() {
            return Err(format!(
                "{template:?} must be https, with a host that is written out in lower case, and no port"
            ));
        }
        let known = |name: &str| Some(name) == besides || self.parameters.contains_key(name);
        match placeholders(template).find(|name| !known(name)) {
            Some(name) => Err(format!(
                "{template:?} uses {{{name}}}, which is not among the parameters"
            )),
            None => Ok(()),
        }
    }
}

impl EntryIdentity {
    /// The hosts whose issuers are this provider's.
    pub(super) fn hosts(&self) -> Vec<Authority> {
        let url = example_url(&self.issuer);
        url.map(|url| Authority::of(&url)).into_iter().collect()
    }
}

/// The names in braces.
pub(super) fn placeholders(template: &str) -> impl Iterator<Item = &str> {
    template
        .split('{')
        .skip(1)
        .filter_map(|part| Some(part.split_once('}')?.0))
}

/// The template's URL with a harmless word for each parameter.
pub(super) fn example_url(template: &str) -> Option<Url> {
    let filled = placeholders(template).fold(template.to_owned(), |url, name| {
        url.replace(&format!("{{{name}}}"), "x")
    });
    Url::parse(&filled).ok()
}

impl<'de> Deserialize<'de> for AccessTokenLifetime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        duration::parse(&text).map(Self).map_err(de::Error::custom)
    }
}

fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SignedDuration>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| duration::parse(&text).map_err(de::Error::custom))
        .transpose()
}
