//! How a person signs in at a provider, and what the provider asserts about who that was.
//!
//! Everything here is data and questions about it. The addresses and parameters come from the catalogue while the requests go to the provider's own hosts, else
//! from the spec; [`crate::oauth::identity`] uses [`Identity`] to prove an account.

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::catalogue::ScopeSeparator;
use super::hosts::Authority;

/// How a person signs in at a provider. Empty for grants that begin without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    /// Where a person signs in, in a browser. Set for grant `AuthorizationCode`.
    pub authorization_url: Option<Url>,
    /// Where a sign-in with a code begins (RFC 8628). Set for grant `DeviceCode`.
    pub device_authorization_url: Option<Url>,
    /// Why a sign-in with a code needs a client without a secret, if it does: the end of "With a secret …".
    pub device_code_without_secret: Option<String>,
    /// Parameters of the authorization request besides those of the protocol, such as `access_type=offline`.
    pub parameters: Vec<(String, String)>,
    /// What is asked for: the scopes of the access token and those that make the provider say who signed in.
    pub scopes: Vec<String>,
    /// What stands between them in the authorization request.
    pub scope_separator: ScopeSeparator,
    /// What proves who signed in.
    pub identity: Identity,
    /// Whether the provider names its issuer in each authorization response. Only discovery knows that of a server outside the catalogue.
    pub names_issuer: NamesIssuer,
    /// What the authorization response says about the server that takes the code, where the provider has several.
    pub code_server: Option<CodeServer>,
    /// The host of the loopback redirect that `kubectl emailasset authorize` opens: providers compare it as text.
    pub loopback_host: String,
    /// The last part of the callback URL (design section 7): the entry's key if nothing of it is overridden, else `x-` and a hash of the authorization and token
    /// endpoints. Letters, digits and hyphens.
    pub callback_key: String,
}

/// Where nothing else is known: an address needs no resolver and cannot mean another machine (RFC 8252 §8.3).
pub(super) const LOOPBACK: &str = "127.0.0.1";

impl Default for SignIn {
    fn default() -> Self {
        Self {
            authorization_url: None,
            device_authorization_url: None,
            device_code_without_secret: None,
            parameters: Vec::new(),
            scopes: Vec::new(),
            scope_separator: ScopeSeparator::Space,
            identity: Identity::default(),
            names_issuer: NamesIssuer::Perhaps,
            code_server: None,
            loopback_host: LOOPBACK.to_owned(),
            callback_key: String::new(),
        }
    }
}

/// The authorization response of a provider with several places names the one where the account lives. What it names is compared and never called: an answer that
/// somebody made up must not lead a client secret anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeServer {
    /// The parameter that names it, by its URL.
    pub parameter: String,
    /// The host of the token endpoint, which is the one that is asked.
    pub asked: Authority,
    /// The provider's other hosts, and what to set so that one of them is asked.
    pub others: Vec<(Authority, String)>,
}

/// The code is for another server than the one that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForAnother {
    /// One of the provider's: this has to be set.
    Place(String),
    /// None of the provider's.
    Stranger,
}

impl CodeServer {
    /// Whether the server that is asked takes the code of a response that names this one.
    ///
    /// # Errors
    /// [`ForAnother`].
    pub fn check(&self, named: &str) -> Result<(), ForAnother> {
        let url = Url::parse(named).ok().filter(|url| url.scheme() == "https");
        let Some(named) = url.map(|url| Authority::of(&url)) else {
            return Err(ForAnother::Stranger);
        };
        if named == self.asked {
            return Ok(());
        }
        let place = self.others.iter().find(|(host, _)| host.covers(&named));
        Err(place.map_or(ForAnother::Stranger, |(_, setting)| ForAnother::Place(setting.clone())))
    }
}

/// Whether a provider names its issuer in each authorization response (`authorization_response_iss_parameter_supported`, RFC 9207 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
pub enum NamesIssuer {
    /// It does: a response without `iss` is not its own.
    Always,
    /// It may.
    #[default]
    Perhaps,
}

/// What proves who signed in. The default: nobody asserts an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The issuer of ID tokens, exactly as they say it. Where each tenant is an issuer of its own, `{tid}` stands for the token's claim of that name. None: nobody
    /// asserts an account.
    pub issuer: Option<String>,
    /// Other spellings of the same issuer that are seen in its ID tokens.
    pub also_issuers: Vec<String>,
    /// The issuer's keys. None: by discovery.
    pub keys_url: Option<Url>,
    /// Where a bearer of the access token learns whose it is (OpenID Connect Core §5.3). None: by discovery, unless `keys_url` is known.
    pub userinfo_url: Option<Url>,
    /// Whether that alone, without an ID token, proves an account.
    pub userinfo_alone: UserinfoAlone,
    /// The hosts of the catalogue entry that may see an access token, besides those that may see credentials.
    pub hosts: Vec<Authority>,
    /// Which claims name the account, best first.
    pub accounts: Vec<AccountClaim>,
    /// Where each tenant is an issuer of its own.
    pub tenancy: Option<Tenancy>,
    /// Domains that are one and the same, and where dots in the local part mean nothing.
    pub dotless: Vec<String>,
}

/// Whether the userinfo endpoint alone proves an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
pub enum UserinfoAlone {
    /// It does: the answer can only be the provider's own and is about this very token.
    Proves,
    /// It does not.
    #[default]
    ProvesNothing,
}

/// A claim that may name the account.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccountClaim {
    /// Its name.
    pub claim: String,
    /// When it counts.
    pub when: Counts,
}

/// When a claim counts as the name of the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub enum Counts {
    /// When `email_verified` is true (OpenID Connect Core §5.1).
    EmailVerified,
    /// When it is an address, and not one that the issuer itself calls unverified (`email` of the same value without `email_verified`).
    Address,
    /// When it is an address and the account is a member of the tenant, no guest: a guest's name is asserted by somebody else's directory.
    Member,
}

/// Where each tenant is an issuer of its own, and anybody can have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenancy {
    /// The tenant that the spec names.
    pub tenant: Tenant,
    /// The address, with `{tenant}` in it, of the metadata that turn a tenant's domain into its ID.
    pub metadata: String,
    /// The ID of the tenant that all personal accounts are in.
    pub personal: String,
}

/// A tenant, as the spec names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenant {
    /// By its ID: a UUID, in lower case.
    Id(String),
    /// By one of its domains.
    Domain(String),
    /// Any tenant. Who runs one can write what he likes into the names of its accounts, so only a tenant that is shown to own the account's domain counts.
    Any,
}

/// Parameters of the authorization request that sign-in sets, here or where the request is sent.
pub(super) const OWN_PARAMETERS: &[&str] = &[
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "login_hint",
    "prompt",
    "response_mode",
    "request",
    "request_uri",
    "claims",
];

impl SignIn {
    /// The authorization request (RFC 6749 §4.1.1) without `redirect_uri`, `state`, `nonce` and the PKCE challenge. `login` is shown to the provider as
    /// `login_hint` (OpenID Connect Core §3.1.2.1). None: nobody signs in with a browser.
    #[must_use]
    pub fn authorization_request(&self, client_id: &str, login: &str) -> Option<Url> {
        let mut url = self.authorization_url.clone()?;
        let scopes = self.scopes.join(self.scope_separator.as_str());
        {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("response_type", "code")
                .append_pair("client_id", client_id);
            if !scopes.is_empty() {
                query.append_pair("scope", &scopes);
            }
            for (name, value) in &self.parameters {
                query.append_pair(name, value);
            }
            query.append_pair("login_hint", login);
        }
        Some(url)
    }
}

impl Identity {
    /// Whether an account can be proven at all.
    #[must_use]
    pub const fn names_accounts(&self) -> bool {
        self.issuer.is_some()
    }

    /// The issuer, where it is the same for all accounts: what `iss` in an authorization response must be (RFC 9207 §2.4). None where there is none, or where it
    /// depends on a tenant whose ID is not known; then the callback's own address keeps providers apart.
    #[must_use]
    pub fn fixed_issuer(&self) -> Option<String> {
        let issuer = self.issuer.as_ref()?;
        match &self.tenancy {
            None => Some(issuer.clone()),
            Some(Tenancy {
                tenant: Tenant::Id(id), ..
            }) => Some(issuer.replace("{tid}", id)),
            Some(_) => None,
        }
    }

    /// Whether two names are of the same account.
    ///
    /// | compared | how | why |
    /// |---|---|---|
    /// | domain | as DNS reads it: case, IDNA (UTS 46) | it is the same name |
    /// | local part | without regard to the case of ASCII letters | no provider of mailboxes tells them apart, though RFC 5321 §2.4 would let it |
    /// | letters outside ASCII in the local part | as they are | look-alikes must not match |
    /// | dots in the local part, `googlemail.com` for `gmail.com` | ignored only in the provider's [`dotless`](Identity::dotless) domains | Google gives both spellings to one account; elsewhere they are two people |
    /// | `+tag` | compared | it is part of an address, never of an account's name |
    ///
    /// Names that are no addresses are equal only when they are the same but for the case of ASCII letters.
    #[must_use]
    pub fn same_account(&self, wanted: &str, asserted: &str) -> bool {
        !asserted.is_empty() && self.normalised(wanted) == self.normalised(asserted)
    }

    fn normalised(&self, name: &str) -> (String, Option<String>) {
        let Some((local, domain)) = split_address(name) else {
            return (name.to_ascii_lowercase(), None);
        };
        let local = local.to_ascii_lowercase();
        let Some(first) = self.dotless.first().filter(|_| self.dotless.contains(&domain)) else {
            return (local, Some(domain));
        };
        (local.replace('.', ""), Some(first.clone()))
    }
}

/// Local part as written, and the domain as DNS reads it. None: it is no address.
pub(crate) fn split_address(name: &str) -> Option<(&str, String)> {
    let (local, domain) = name.rsplit_once('@')?;
    let plain = |letter: char| {
        !letter.is_control() && !letter.is_whitespace() && !matches!(letter, '%' | '<' | '>' | '"' | '@')
    };
    if local.is_empty() || !local.chars().all(plain) || !domain.chars().all(plain) || domain.ends_with('.') {
        return None;
    }
    match Host::parse(domain).ok()? {
        Host::Domain(domain) if domain.contains('.') => Some((local, domain)),
        _ => None,
    }
}

/// Whether this is a UUID as Microsoft writes the IDs of tenants: 8-4-4-4-12 hexadecimal digits in lower case.
pub(crate) fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let hexadecimal = |group: &str| group.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) && groups.into_iter().all(hexadecimal)
}
