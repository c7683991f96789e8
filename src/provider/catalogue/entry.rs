//! The facts about one provider. What each means, and where it comes from, is said in `catalogue.yaml`.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::evidence::Evidence;
use crate::api::{ClientAuthentication, Grant, Rotation, Security, duration};
use crate::provider::sign_in::{AccountClaim, NamesIssuer, UserinfoAlone};

/// The facts about one provider.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// The entry that this one is laid over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<String>,
    /// How people call it.
    pub display_name: String,
    /// Domains whose mailboxes belong to this provider.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,
    /// The ways to an access token. Empty: as the URLs have it; see [`Entry::ways`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<WayToToken>,
    /// Why others are not among them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub not_offered: BTreeMap<WayToToken, String>,
    /// The entries that are used instead for other ways.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub offered_by: BTreeMap<WayToToken, String>,
    /// What a person may or must give in `spec.oauth2.parameters`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Parameter>,
    /// Token endpoint, with `{parameter}`s in its path and words of a choice in its host. None: it is at a server of one's own, which the spec names.
    #[serde(rename = "tokenURL", default, skip_serializing_if = "Option::is_none")]
    pub token_url: Option<String>,
    /// Where refresh tokens are redeemed, if that is not the token endpoint.
    #[serde(rename = "refreshURL", default, skip_serializing_if = "Option::is_none")]
    pub refresh_url: Option<String>,
    /// Where a person signs in.
    #[serde(rename = "authorizationURL", default, skip_serializing_if = "Option::is_none")]
    pub authorization_url: Option<String>,
    /// Where a sign-in with a code begins.
    #[serde(rename = "deviceAuthorizationURL", default, skip_serializing_if = "Option::is_none")]
    pub device_authorization_url: Option<String>,
    /// Why a sign-in with a code needs a client without a secret, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_code_without_secret: Option<String>,
    /// Where a token is given back (RFC 7009); its host is one of the token endpoints'.
    #[serde(rename = "revocationURL", default, skip_serializing_if = "Option::is_none")]
    pub revocation_url: Option<String>,
    /// With which error codes it says there that it does not know the token any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revocation_gone: Vec<String>,
    /// Parameters of the authorization request besides those of the protocol.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub authorization_parameters: BTreeMap<String, String>,
    /// What stands between scopes in the authorization request.
    #[serde(default)]
    pub scope_separator: ScopeSeparator,
    /// Whether each authorization response names the issuer.
    #[serde(default)]
    pub names_issuer: NamesIssuer,
    /// The parameter of the authorization response that names the server which takes the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_server: Option<String>,
    /// The host of a loopback redirect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loopback_host: Option<String>,
    /// Who asserts which account signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<EntryIdentity>,
    /// What an assertion of grant `JWTBearer` looks like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assertion: Option<Assertion>,
    /// Hosts, besides those of the URLs above, that may receive client secrets and refresh tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more_token_hosts: Vec<String>,
    /// What the token endpoint takes; the first is used where there is a client secret and nothing else is said.
    pub client_authentication: Vec<ClientAuthentication>,
    /// What a refresh looks like.
    pub refresh: Refresh,
    /// How long refresh tokens live.
    #[serde(default)]
    pub refresh_token: RefreshTokenLife,
    /// How long an access token lives when the answer does not say.
    pub access_token_lifetime: Period,
    /// In which words it refuses.
    #[serde(default)]
    pub errors: ErrorDialect,
    /// For how long after a change in its console a refusal may pass by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub propagation_grace: Option<Period>,
    /// Scopes asked for whatever the protocol.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// The server that takes mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp: Option<EntryServer>,
    /// The IMAP server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imap: Option<EntryServer>,
    /// The POP3 server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pop3: Option<EntryServer>,
    /// How tokens are shown to the mail servers, best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mechanisms: Vec<Mechanism>,
    /// What to register at the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register: Option<String>,
    /// What else one should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Where the facts stand, and how sure they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
}

/// A way to an access token: the grants of the API by name, and those that this version does not carry out yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
pub enum WayToToken {
    /// A person signs in, in a browser.
    AuthorizationCode,
    /// A person signs in on any device, with a code.
    DeviceCode,
    /// A refresh token is there already.
    RefreshToken,
    /// The client by itself (RFC 6749 §4.4).
    ClientCredentials,
    /// An assertion in the mailbox's name (RFC 7523 §2.1).
    JWTBearer,
}

impl WayToToken {
    /// The name in YAML, here and in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "AuthorizationCode",
            Self::DeviceCode => "DeviceCode",
            Self::RefreshToken => "RefreshToken",
            Self::ClientCredentials => "ClientCredentials",
            Self::JWTBearer => "JWTBearer",
        }
    }

    /// Whether it is this grant of the API.
    #[must_use]
    pub fn is(self, grant: Grant) -> bool {
        self.as_str() == grant.as_str()
    }
}

/// What stands between scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
pub enum ScopeSeparator {
    /// As RFC 6749 §3.3 has it.
    #[default]
    Space,
    /// A comma.
    Comma,
}

impl ScopeSeparator {
    /// The character.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Space => " ",
            Self::Comma => ",",
        }
    }
}

/// In which words a provider refuses: which codes it has besides those of the RFCs, and what they mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Deserialize, Serialize)]
pub enum ErrorDialect {
    /// Google's.
    Google,
    /// Microsoft's, in all clouds: AADSTS numbers.
    Microsoft,
    /// Yahoo's and AOL's.
    Yahoo,
    /// Zoho's: also in answers of HTTP 200.
    Zoho,
    /// Fastmail's.
    Fastmail,
    /// Yandex's.
    Yandex,
    /// Mail.ru's.
    MailRu,
    /// Keycloak's, and that of every server that nothing is known about: Keycloak's words are unmistakable, and elsewhere they never occur.
    #[default]
    Keycloak,
}

/// A SASL mechanism that carries an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub enum Mechanism {
    /// Google's own, which others took over.
    #[serde(rename = "XOAUTH2")]
    XOAuth2,
    /// RFC 7628.
    #[serde(rename = "OAUTHBEARER")]
    OAuthBearer,
}

impl Mechanism {
    /// The name in capabilities.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::XOAuth2 => "XOAUTH2",
            Self::OAuthBearer => "OAUTHBEARER",
        }
    }
}

/// Who asserts which account signed in at a provider.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EntryIdentity {
    /// The issuer of ID tokens, with `{tid}` in its path where each tenant is one.
    pub issuer: String,
    /// Other spellings of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_issuers: Vec<String>,
    /// The issuer's keys, with `{parameter}`s in the path.
    #[serde(rename = "keysURL")]
    pub keys_url: String,
    /// The userinfo endpoint, where the access token opens it.
    #[serde(rename = "userinfoURL", default, skip_serializing_if = "Option::is_none")]
    pub userinfo_url: Option<String>,
    /// Whether that alone proves an account.
    #[serde(default)]
    pub userinfo_alone: UserinfoAlone,
    /// The scopes that make the provider say who signed in.
    pub scopes: Vec<String>,
    /// Which claims name the account, best first.
    pub accounts: Vec<AccountClaim>,
    /// Where each tenant is an issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenancy: Option<EntryTenancy>,
    /// Domains that are one and the same, and where dots in the local part mean nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dotless: Vec<String>,
}

/// How the tenant of an account is found.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PersonalTenant {
    /// The value of the parameter that means it.
    pub name: String,
    /// Its ID.
    pub id: String,
}

/// An assertion of grant `JWTBearer` (RFC 7523 §3).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Assertion {
    /// `aud`.
    pub audience: String,
    /// The longest time from `iat` to `exp`.
    pub lifetime: Period,
    /// How far `iat` is set back, for clocks that differ.
    pub backdate: Period,
}

/// Something a provider needs to know, such as the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Parameter {
    /// What it is, for messages.
    pub description: String,
    /// A value to show.
    pub example: String,
    /// The value when none is given. Without one, it must be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// The value that cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<String>,
    /// The only values that there are; empty: any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub choices: BTreeMap<String, Choice>,
}

/// A value that a parameter may have, where these are a closed list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Choice {
    /// What templates may use, in hosts too: nobody but the catalogue writes them.
    pub words: BTreeMap<String, String>,
    /// Domains of mailboxes that this is the right choice for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,
}

/// What a refresh looks like at a provider.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refresh {
    /// What happens to the refresh token.
    pub rotation: Rotation,
    /// Whether the request names scopes.
    pub send_scope: SendScope,
    /// For how long the old refresh token is still taken after a redemption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse_grace: Option<Period>,
    /// Parameters besides those of the protocol.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// How many redemptions one refresh token has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// How long to wait when the provider asks for fewer and does not say how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled_for: Option<Period>,
}

/// So many requests in so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimit {
    /// How many.
    pub max: u32,
    /// In how long.
    pub per: Period,
}

impl RateLimit {
    /// The time between two requests that stays below the limit whatever happens.
    #[must_use]
    pub fn interval(self) -> SignedDuration {
        self.per.0 / i32::try_from(self.max.max(1)).unwrap_or(i32::MAX)
    }
}

/// Whether a refresh names scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub enum SendScope {
    /// It does not: the scopes stay as granted (RFC 6749 §6).
    Never,
    /// It names those that the asset asks for.
    Requested,
}

/// How long refresh tokens live, and what ends them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RefreshTokenLife {
    /// One that is not redeemed for this long is dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_idle: Option<Period>,
    /// It should be redeemed by then even where nobody needs the access token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<Period>,
    /// It ends then, used or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Period>,
    /// It ends with another token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lives_as: Option<LivesAs>,
    /// The same while the app is in testing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub while_testing: Option<Period>,
    /// How many are alive for one account and client; the oldest is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_account: Option<u32>,
    /// What else ends one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ends_with: Vec<String>,
}

/// Another token that lives as long as a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub enum LivesAs {
    /// The access token of the same answer.
    AccessToken,
}

/// A provider's mail server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EntryServer {
    /// Host name, which may hold words of a choice.
    pub host: String,
    /// The host for mailboxes at domains that are not the provider's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_of_own_domains: Option<String>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
pub enum Offer {
    /// Always.
    #[default]
    Always,
    /// Only if the spec has a block for the protocol.
    WhenNamed,
}

/// A length of time, written as in Go, or in days: `90s`, `1h`, `150d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub SignedDuration);

/// Longest number of days that is read: a century.
const MOST_DAYS: i64 = 36_525;
const HOURS_A_DAY: i64 = 24;

impl std::fmt::Display for Period {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hours = self.0.as_hours();
        if hours >= 2 * HOURS_A_DAY && hours % HOURS_A_DAY == 0 && SignedDuration::from_hours(hours) == self.0 {
            write!(formatter, "{}d", hours / HOURS_A_DAY)
        } else {
            formatter.write_str(&duration::format(self.0))
        }
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let days = text.strip_suffix('d').map(|days| {
            let days = days.parse().ok().filter(|days| (0..=MOST_DAYS).contains(days));
            days.map(|days: i64| SignedDuration::from_hours(days * HOURS_A_DAY))
                .ok_or_else(|| de::Error::custom("a number of days such as 90d was expected"))
        });
        days.unwrap_or_else(|| duration::parse(&text).map_err(de::Error::custom))
            .map(Self)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Entry {
    /// The ways to an access token that the provider offers for mailboxes.
    #[must_use]
    pub fn ways(&self) -> Vec<WayToToken> {
        if !self.grants.is_empty() {
            return self.grants.clone();
        }
        let by_url = [
            (self.authorization_url.is_some(), WayToToken::AuthorizationCode),
            (self.device_authorization_url.is_some(), WayToToken::DeviceCode),
            (true, WayToToken::RefreshToken),
        ];
        by_url
            .into_iter()
            .filter_map(|(there, way)| there.then_some(way))
            .collect()
    }

    /// Whether its endpoints are at a server of one's own.
    #[must_use]
    pub const fn is_of_ones_own(&self) -> bool {
        self.token_url.is_none()
    }

    /// The domains of its mailboxes, those of single choices included.
    pub fn all_domains(&self) -> impl Iterator<Item = &str> {
        let of_choices = self
            .parameters
            .values()
            .flat_map(|parameter| parameter.choices.values());
        self.domains
            .iter()
            .chain(of_choices.flat_map(|choice| &choice.domains))
            .map(String::as_str)
    }
}
