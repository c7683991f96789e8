//! From a spec and the catalogue to the values in effect.
//!
//! The spec's own value wins; then the catalogue entry's. Facts about a provider's server (how it rotates, how clients prove themselves) hold only while the
//! request really goes to the provider's own hosts. [`crate::api::validate()`] comes first and gives better messages for what is wrong with a value alone; what is
//! refused here needs the catalogue, or would be unsafe.

mod direct;
mod sign_in;

use std::collections::BTreeMap;

use jiff::SignedDuration;
use url::Url;

use self::sign_in::Known;
use super::catalogue::{Catalogue, Entry, SendScope, placeholders};
use super::hosts::Authority;
use super::servers::{IMAP, POP3, SMTP, Server, is_offered, server};
use super::sign_in::SignIn;
use crate::api::{ClientAuthentication, EmailAssetSpec, EndpointsStatus, OAuth2, Rotation};

/// How long an access token is taken to live when a server outside the catalogue does not say: short, so that nobody is handed a dead token. It is the default
/// lifetime of Keycloak and authentik.
const LIFETIME_AT_UNKNOWN_SERVERS: SignedDuration = SignedDuration::from_mins(5);

/// The values in effect for one asset. All URLs are https, with a host and without user, password and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// The catalogue entry, if the spec names one.
    pub provider: Option<String>,
    /// How people call the server: the entry's name, else the token endpoint's host.
    pub display_name: String,
    /// The mailbox.
    pub email: String,
    /// Login name at the mail servers, unless a server has its own.
    pub username: String,
    /// Token endpoint. A grant is bound to its origin.
    pub token_url: Url,
    /// Where refresh tokens are redeemed; the token endpoint, unless provider or spec say otherwise.
    pub refresh_url: Url,
    /// Scopes that the access token should have. Empty: as the grant has them.
    pub scopes: Vec<String>,
    /// The scopes to send with a refresh, exactly these. Empty: send no scope (RFC 6749 §6: they stay as granted).
    pub refresh_scopes: Vec<String>,
    /// How the client proves itself, if the spec says so.
    pub client_authentication: Option<ClientAuthentication>,
    /// How it proves itself if the spec does not say and there is a client secret. Without a secret: [`ClientAuthentication::None`].
    pub authentication_with_secret: ClientAuthentication,
    /// What the server does with a refresh token when it is redeemed.
    pub rotation: Rotation,
    /// For how long after a redemption the server still takes the old refresh token, if it promises that.
    pub reuse_grace: Option<SignedDuration>,
    /// How long an access token lives when the answer does not say.
    pub default_lifetime: SignedDuration,
    /// The server that takes mail.
    pub smtp: Option<Server>,
    /// The IMAP server.
    pub imap: Option<Server>,
    /// The POP3 server.
    pub pop3: Option<Server>,
    /// How a person signs in.
    pub sign_in: SignIn,
    /// The catalogue entry's own hosts: they may receive credentials without being named by the Secret.
    pub own_hosts: Vec<Authority>,
}

/// Why a spec cannot be carried out as written. Each message names the field, what was found and what is accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// `spec.provider` is not in the catalogue.
    #[error(
        "spec.provider is {given:?}, which is not in the catalogue: use one of {known}, or leave it out and set spec.oauth2.tokenURL"
    )]
    UnknownProvider {
        /// What the spec says.
        given: String,
        /// The keys there are, comma-separated.
        known: String,
    },
    /// Neither a provider nor a token endpoint.
    #[error(
        "spec needs a provider or a token endpoint: set spec.provider to one of {known}, or spec.oauth2.tokenURL to the server's token endpoint"
    )]
    NoServer {
        /// The keys there are, comma-separated.
        known: String,
    },
    /// The provider needs a parameter.
    #[error(
        "spec.oauth2.parameters.{name} is missing: provider {provider} needs it ({description}), for example {example}"
    )]
    MissingParameter {
        /// The entry's key.
        provider: String,
        /// The parameter.
        name: String,
        /// What it is.
        description: String,
        /// A value to show.
        example: String,
    },
    /// The provider knows no such parameter.
    #[error("spec.oauth2.parameters.{name} is not known to {provider}: {accepted}")]
    UnknownParameter {
        /// The entry's key, or words for none.
        provider: String,
        /// The parameter.
        name: String,
        /// What could be given.
        accepted: String,
    },
    /// A parameter would change more of the URL than its place.
    #[error(
        "spec.oauth2.parameters.{name} has a value that cannot stand in a URL: letters, digits, dots, hyphens and underscores are accepted"
    )]
    UnsafeParameter {
        /// The parameter.
        name: String,
    },
    /// A URL cannot be used. The URL itself may hold a password and is not repeated.
    #[error("{field} cannot be used: {problem}; an https URL such as https://id.example.com/oauth2/token is accepted")]
    BadUrl {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The provider does not take this kind of client authentication.
    #[error(
        "spec.oauth2.clientAuthentication is {given}, which provider {provider} does not take: use one of {accepted}, or leave it out"
    )]
    ClientAuthentication {
        /// What the spec says.
        given: &'static str,
        /// The entry's key.
        provider: String,
        /// What could be given.
        accepted: String,
    },
    /// The rotation of the provider's own server is the catalogue's fact.
    #[error(
        "spec.oauth2.rotation is {given:?}, but how the servers of provider {provider} rotate is known ({known:?}): leave it out"
    )]
    RotationIsKnown {
        /// What the spec says.
        given: Rotation,
        /// The entry's key.
        provider: String,
        /// What the catalogue says.
        known: Rotation,
    },
    /// Nobody knows where a person signs in.
    #[error(
        "{field} is missing: grant {grant} needs the server's {what}, and no provider is in use at whose own hosts it would be known"
    )]
    NoSignInUrl {
        /// The field.
        field: &'static str,
        /// The grant.
        grant: &'static str,
        /// What the field is.
        what: &'static str,
    },
    /// The provider gives no device codes for mail.
    #[error(
        "spec.oauth2.grant is DeviceCode, which provider {provider} does not offer for mailboxes: {reason}; use AuthorizationCode"
    )]
    NoDeviceCode {
        /// The entry's key.
        provider: String,
        /// Why.
        reason: String,
    },
    /// A code of one provider would be sent to another server.
    #[error(
        "spec.oauth2.tokenURL is at {host}, but people would sign in at provider {provider}: what they get there goes only to a token endpoint of {provider}; leave tokenURL out, or set authorizationURL and deviceAuthorizationURL to endpoints of the same server"
    )]
    CodeLeavesProvider {
        /// The key of the entry where people would sign in.
        provider: String,
        /// The host of the token endpoint.
        host: String,
    },
    /// A client's own token comes from one tenant.
    #[error(
        "the token endpoint is that of any tenant ({given}), and grant ClientCredentials needs one of its own: set spec.oauth2.parameters.{parameter} to the tenant's ID, or to a domain of it, for example {example}"
    )]
    TenantNotSpecific {
        /// What stands for any tenant.
        given: String,
        /// The parameter that names a tenant.
        parameter: String,
        /// A value to show.
        example: String,
    },
    /// Who asserts accounts at the provider is the catalogue's fact.
    #[error("spec.oauth2.issuer: the issuer of provider {provider} is known ({known}): leave it out")]
    IssuerIsKnown {
        /// The entry's key.
        provider: String,
        /// What the catalogue says.
        known: String,
    },
    /// The issuer is a provider's, whose claims have traps that only its entry knows.
    #[error(
        "spec.oauth2.issuer belongs to provider {provider}, whose entry knows which of its claims can be trusted: set spec.provider to {provider} and leave the issuer out"
    )]
    IssuerOfProvider {
        /// The entry's key.
        provider: String,
    },
    /// A mail server without a host.
    #[error(
        "{field}.host is missing, and no provider is named that would know the server: set it to the server's host name"
    )]
    NoMailHost {
        /// The server's field.
        field: &'static str,
    },
    /// A port out of range.
    #[error("{field}.port is {given}: a port from 1 to 65535 is accepted")]
    BadPort {
        /// The server's field.
        field: &'static str,
        /// What the spec says.
        given: i32,
    },
}

/// A catalogue entry under its key.
#[derive(Clone, Copy)]
struct Provider<'a> {
    key: &'a str,
    entry: &'a Entry,
}

/// Puts a spec and the catalogue together.
pub fn resolve(spec: &EmailAssetSpec, catalogue: &Catalogue) -> Result<Endpoints, ResolveError> {
    let provider = find_provider(spec.provider.as_deref(), catalogue)?;
    check_parameters(provider, &spec.oauth2.parameters)?;
    let (token_url, refresh_url) = urls(&spec.oauth2, provider, catalogue)?;
    direct::check_tenant(&spec.oauth2, &token_url, catalogue)?;
    let own_hosts = provider
        .map(|provider| provider.entry.token_hosts())
        .unwrap_or_default();
    let at_home = provider.filter(|_| is_own(&own_hosts, &token_url) && is_own(&own_hosts, &refresh_url));
    let scopes = scopes(spec, provider);
    let username = spec.username.clone().unwrap_or_else(|| spec.email.clone());
    let known = Known {
        provider,
        at_home,
        token_url: &token_url,
        refresh_url: &refresh_url,
        scopes: &scopes,
    };
    let sign_in = sign_in::sign_in(spec, known, catalogue)?;
    Ok(Endpoints {
        provider: provider.map(|provider| provider.key.to_owned()),
        display_name: at_home.map_or_else(
            || token_url.host_str().unwrap_or_default().to_owned(),
            |provider| provider.entry.display_name.clone(),
        ),
        email: spec.email.clone(),
        client_authentication: client_authentication(&spec.oauth2, at_home)?,
        authentication_with_secret: authentication_with_secret(provider),
        rotation: if spec.oauth2.grant.is_direct() {
            Rotation::None
        } else {
            rotation(&spec.oauth2, at_home)?
        },
        reuse_grace: at_home.and_then(|provider| provider.entry.refresh.reuse_grace),
        default_lifetime: at_home.map_or(LIFETIME_AT_UNKNOWN_SERVERS, |provider| {
            provider.entry.access_token_lifetime.0
        }),
        smtp: server(
            &SMTP,
            spec.smtp.as_ref(),
            provider.and_then(|found| found.entry.smtp.as_ref()),
            &username,
        )?,
        imap: server(
            &IMAP,
            spec.imap.as_ref(),
            provider.and_then(|found| found.entry.imap.as_ref()),
            &username,
        )?,
        pop3: server(
            &POP3,
            spec.pop3.as_ref(),
            provider.and_then(|found| found.entry.pop3.as_ref()),
            &username,
        )?,
        refresh_scopes: match provider.map(|provider| provider.entry.refresh.send_scope) {
            Some(SendScope::Never) => Vec::new(),
            Some(SendScope::Requested) | None => scopes.clone(),
        },
        scopes,
        username,
        sign_in,
        token_url,
        refresh_url,
        own_hosts,
    })
}

impl Endpoints {
    /// As it stands in `status.endpoints`, with the client authentication in use once that is known.
    #[must_use]
    pub fn to_status(&self, client_authentication: Option<ClientAuthentication>) -> EndpointsStatus {
        EndpointsStatus {
            issuer: self
                .sign_in
                .identity
                .fixed_issuer()
                .or_else(|| self.sign_in.identity.issuer.clone()),
            authorization_url: self.sign_in.authorization_url.as_ref().map(Url::to_string),
            device_authorization_url: self.sign_in.device_authorization_url.as_ref().map(Url::to_string),
            token_url: Some(self.token_url.to_string()),
            refresh_url: (self.refresh_url != self.token_url).then(|| self.refresh_url.to_string()),
            scopes: self.scopes.clone(),
            client_authentication: client_authentication.or(self.client_authentication),
            rotation: Some(self.rotation),
            smtp: self.smtp.as_ref().map(Server::to_status),
            imap: self.imap.as_ref().map(Server::to_status),
            pop3: self.pop3.as_ref().map(Server::to_status),
        }
    }
}

fn find_provider<'a>(key: Option<&'a str>, catalogue: &'a Catalogue) -> Result<Option<Provider<'a>>, ResolveError> {
    let Some(key) = key else { return Ok(None) };
    match catalogue.get(key) {
        Some(entry) => Ok(Some(Provider { key, entry })),
        None => Err(ResolveError::UnknownProvider {
            given: key.to_owned(),
            known: known(catalogue),
        }),
    }
}

fn known(catalogue: &Catalogue) -> String {
    catalogue.keys().collect::<Vec<_>>().join(", ")
}

fn check_parameters(provider: Option<Provider<'_>>, given: &BTreeMap<String, String>) -> Result<(), ResolveError> {
    let accepted = |name: &String| provider.is_some_and(|provider| provider.entry.parameters.contains_key(name));
    for (name, value) in given {
        if !accepted(name) {
            return Err(unknown_parameter(provider, name));
        }
        let plain = value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !plain || value.trim_matches('.').is_empty() {
            return Err(ResolveError::UnsafeParameter { name: name.clone() });
        }
    }
    Ok(())
}

fn unknown_parameter(provider: Option<Provider<'_>>, name: &str) -> ResolveError {
    let names = |provider: Provider<'_>| provider.entry.parameters.keys().cloned().collect::<Vec<_>>().join(", ");
    let accepted = match provider.map(names).unwrap_or_default() {
        none if none.is_empty() => "it takes no parameters, so leave it out".to_owned(),
        names => format!("it takes {names}"),
    };
    let provider = provider.map_or_else(
        || "a server without a provider".to_owned(),
        |found| found.key.to_owned(),
    );
    ResolveError::UnknownParameter {
        provider,
        name: name.to_owned(),
        accepted,
    }
}

const TOKEN_URL: &str = "spec.oauth2.tokenURL";
const REFRESH_URL: &str = "spec.oauth2.refreshURL";

/// Token and refresh endpoint. A token endpoint of the spec's own also takes the place of the entry's refresh endpoint.
fn urls(oauth2: &OAuth2, provider: Option<Provider<'_>>, catalogue: &Catalogue) -> Result<(Url, Url), ResolveError> {
    let own_token = oauth2
        .token_url
        .as_deref()
        .map(|url| parse_url(TOKEN_URL, url))
        .transpose()?;
    let own_refresh = oauth2
        .refresh_url
        .as_deref()
        .map(|url| parse_url(REFRESH_URL, url))
        .transpose()?;
    match (own_token, provider) {
        (Some(token), _) => {
            let refresh = own_refresh.unwrap_or_else(|| token.clone());
            Ok((token, refresh))
        }
        (None, Some(provider)) => {
            let token = fill(provider, TOKEN_URL, &provider.entry.token_url, &oauth2.parameters)?;
            let refresh = match (own_refresh, &provider.entry.refresh_url) {
                (Some(url), _) => url,
                (None, Some(template)) => fill(provider, REFRESH_URL, template, &oauth2.parameters)?,
                (None, None) => token.clone(),
            };
            Ok((token, refresh))
        }
        (None, None) => Err(ResolveError::NoServer {
            known: known(catalogue),
        }),
    }
}

fn fill(
    provider: Provider<'_>,
    field: &'static str,
    template: &str,
    given: &BTreeMap<String, String>,
) -> Result<Url, ResolveError> {
    parse_url(field, &fill_in(provider, template, given)?)
}

/// The template with the values of its parameters. Names that are no parameters stay.
fn fill_in(provider: Provider<'_>, template: &str, given: &BTreeMap<String, String>) -> Result<String, ResolveError> {
    let mut filled = template.to_owned();
    for name in placeholders(template) {
        let Some(parameter) = provider.entry.parameters.get(name) else {
            continue;
        };
        let value = given
            .get(name)
            .or(parameter.default.as_ref())
            .ok_or_else(|| ResolveError::MissingParameter {
                provider: provider.key.to_owned(),
                name: name.to_owned(),
                description: parameter.description.clone(),
                example: parameter.example.clone(),
            })?;
        filled = filled.replace(&format!("{{{name}}}"), value);
    }
    Ok(filled)
}

fn parse_url(field: &'static str, text: &str) -> Result<Url, ResolveError> {
    let bad = |problem| ResolveError::BadUrl { field, problem };
    // The parser would drop line ends, turn backslashes round and rewrite other scripts: what a person reads would not be what is called.
    if text.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'\\') {
        return Err(bad("it has spaces, backslashes or characters outside ASCII"));
    }
    let url = Url::parse(text).map_err(|_| bad("it is no URL"))?;
    if url.scheme() != "https" {
        return Err(bad("it is not https"));
    }
    let authority = text
        .split("//")
        .nth(1)
        .and_then(|rest| rest.split(['/', '?', '#']).next());
    if authority.is_some_and(|authority| authority.contains('@')) {
        return Err(bad("it has a user name or password"));
    }
    if url.fragment().is_some() {
        return Err(bad("it has a fragment (#)"));
    }
    match url.host_str() {
        Some(host) if !host.is_empty() => Ok(url),
        _ => Err(bad("it has no host")),
    }
}

fn is_own(own_hosts: &[Authority], url: &Url) -> bool {
    own_hosts.contains(&Authority::of(url))
}

fn client_authentication(
    oauth2: &OAuth2,
    at_home: Option<Provider<'_>>,
) -> Result<Option<ClientAuthentication>, ResolveError> {
    match (oauth2.client_authentication, at_home) {
        (Some(given), Some(provider)) if !provider.entry.client_authentication.contains(&given) => {
            let accepted = provider
                .entry
                .client_authentication
                .iter()
                .map(|method| method.as_str());
            Err(ResolveError::ClientAuthentication {
                given: given.as_str(),
                provider: provider.key.to_owned(),
                accepted: accepted.collect::<Vec<_>>().join(", "),
            })
        }
        (given, _) => Ok(given),
    }
}

/// The entry's favourite of the ways that a secret can be sent; elsewhere what every server must take (RFC 6749 §2.3.1).
fn authentication_with_secret(provider: Option<Provider<'_>>) -> ClientAuthentication {
    use ClientAuthentication::{ClientSecretBasic, ClientSecretPost};
    let mut taken = provider
        .into_iter()
        .flat_map(|provider| provider.entry.client_authentication.iter().copied());
    taken
        .find(|method| matches!(method, ClientSecretBasic | ClientSecretPost))
        .unwrap_or(ClientSecretBasic)
}

/// Strict is the safe guess: it never redeems a refresh token twice.
fn rotation(oauth2: &OAuth2, at_home: Option<Provider<'_>>) -> Result<Rotation, ResolveError> {
    match (oauth2.rotation, at_home) {
        (Some(given), Some(provider)) => Err(ResolveError::RotationIsKnown {
            given,
            provider: provider.key.to_owned(),
            known: provider.entry.refresh.rotation,
        }),
        (None, Some(provider)) => Ok(provider.entry.refresh.rotation),
        (given, None) => Ok(given.unwrap_or(Rotation::Strict)),
    }
}

/// The spec's scopes, else those of the entry for all protocols that the asset gets, each once.
fn scopes(spec: &EmailAssetSpec, provider: Option<Provider<'_>>) -> Vec<String> {
    let Some(provider) = provider.filter(|_| spec.oauth2.scopes.is_empty()) else {
        return spec.oauth2.scopes.clone();
    };
    let entry = provider.entry;
    let protocols = [
        (&spec.smtp, &entry.smtp),
        (&spec.imap, &entry.imap),
        (&spec.pop3, &entry.pop3),
    ];
    let offered = protocols
        .into_iter()
        .filter_map(|(named, offer)| offer.as_ref().filter(|offer| is_offered(offer, named.as_ref())));
    let mut scopes: Vec<String> = Vec::new();
    for scope in offered.flat_map(|server| &server.scopes).chain(&entry.scopes) {
        if !scopes.contains(scope) {
            scopes.push(scope.clone());
        }
    }
    scopes
}
