//! From a spec and the catalogue to the values in effect.
//!
//! The spec's own value wins; then the catalogue entry's. Facts about a provider's server (how it rotates, how clients prove themselves) hold only while the
//! request really goes to the provider's own hosts. [`crate::api::validate()`] comes first and gives better messages for what is wrong with a value alone; what is
//! refused here needs the catalogue, or would be unsafe.

mod direct;
mod find;
mod parameters;
mod sign_in;

use std::fmt;

use jiff::SignedDuration;
use url::Url;

use self::parameters::Values;
use self::sign_in::Known;
use super::catalogue::{
    Assertion, Catalogue, Entry, EntryServer, ErrorDialect, LivesAs, Mechanism, Period, RateLimit, SendScope,
    WayToToken,
};
use super::discovered::Discovered;
use super::hosts::Authority;
use super::servers::{IMAP, POP3, Protocol, SMTP, Server, is_offered, server};
use super::sign_in::SignIn;
use crate::api::{
    ClientAuthentication, EmailAssetSpec, EndpointsStatus, Grant, GrantDeletionPolicy, MailServer, OAuth2, Rotation,
};

/// How long an access token is taken to live when a server outside the catalogue does not say: short, so that nobody is handed a dead token. It is the default
/// lifetime of Keycloak and authentik.
const LIFETIME_AT_UNKNOWN_SERVERS: SignedDuration = SignedDuration::from_mins(5);

/// The values in effect for one asset. All URLs are https, with a host and without user, password and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// The catalogue entry that is in use: the one that the spec names, or that of the mailbox's domain.
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
    /// Parameters to send with a refresh besides those of the protocol.
    pub refresh_parameters: Vec<(String, String)>,
    /// Where a token is given back (RFC 7009), if the provider has such an endpoint. The entry's own is at one of
    /// [`own_hosts`](Self::own_hosts).
    pub revocation_url: Option<Url>,
    /// Error codes with which that endpoint says that it does not know the token any more.
    pub revocation_gone: Vec<String>,
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
    /// What limits refreshes, and what ends a grant by itself.
    pub limits: Limits,
    /// In which words the token endpoint refuses.
    pub errors: ErrorDialect,
    /// For how long after a change in the provider's console a refusal may pass by itself.
    pub propagation_grace: Option<SignedDuration>,
    /// What an assertion of grant `JWTBearer` looks like; none: as RFC 7523 has it, for the token endpoint.
    pub assertion: Option<Assertion>,
    /// The server that takes mail.
    pub smtp: Option<Server>,
    /// The IMAP server.
    pub imap: Option<Server>,
    /// The POP3 server.
    pub pop3: Option<Server>,
    /// What the provider's mail servers offer for logging in with a token, best first. Empty: nobody knows.
    pub mechanisms: Vec<Mechanism>,
    /// How a person signs in.
    pub sign_in: SignIn,
    /// What the issuer's metadata told, where the endpoints come from there.
    pub discovered: Option<Discovered>,
    /// The catalogue entry's own hosts: they may receive credentials without being named by the Secret.
    pub own_hosts: Vec<Authority>,
}

/// What limits refreshes, and what ends a grant by itself. Nothing is known about servers outside the catalogue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// The time between two redemptions of one refresh token that the provider never minds.
    pub refresh_interval: Option<SignedDuration>,
    /// How long to wait when it asks for fewer requests and does not say how long.
    pub throttled_for: Option<SignedDuration>,
    /// A refresh token that is not redeemed for this long is dead.
    pub max_idle: Option<SignedDuration>,
    /// It should be redeemed by then even where nobody needs the access token.
    pub keep_alive: Option<SignedDuration>,
    /// It ends then, used or not.
    pub lifetime: KnownLife,
    /// The same while the app is in testing at the provider, which it does not say.
    pub while_testing: Option<SignedDuration>,
}

/// How long a refresh token lives from the answer on that brought it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KnownLife {
    /// Nobody says, or it has no end.
    #[default]
    Unknown,
    /// So long.
    For(SignedDuration),
    /// As long as the access token that came with it.
    AsAccessToken,
}

impl KnownLife {
    /// How long the refresh token of an answer lives whose access token lives for `access`.
    #[must_use]
    pub const fn in_an_answer(self, access: SignedDuration) -> Option<SignedDuration> {
        match self {
            Self::Unknown => None,
            Self::For(life) => Some(life),
            Self::AsAccessToken => Some(access),
        }
    }
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
    /// The provider lets no mail program in with OAuth.
    #[error(
        "{said}, and {provider} has no OAuth for mail programs: {instead}. This version keeps OAuth tokens alone; passwords come with spec.password in a later one"
    )]
    WithoutOAuth {
        /// What in the spec says so.
        said: String,
        /// The provider.
        provider: String,
        /// What to do there.
        instead: String,
    },
    /// Nothing is said about servers, and the mailbox's domain is in no entry.
    #[error(
        "spec.provider is missing, and who runs the mailboxes of {domain} is not known: set it to one of {known}, or set spec.oauth2.tokenURL. The domain's MX record names its provider: dig +short MX {domain}"
    )]
    UnknownDomain {
        /// The domain.
        domain: String,
        /// The keys there are, comma-separated.
        known: String,
    },
    /// The endpoints are at a server of one's own, and the spec does not name it.
    #[error(
        "spec.oauth2.issuer is missing: the endpoints of provider {provider} are at a server of your own, whose issuer tells them; or set tokenURL, and where a person signs in authorizationURL too"
    )]
    NoTokenUrl {
        /// The entry's key.
        provider: String,
    },
    /// The provider does not offer this way to a token.
    #[error(
        "spec.oauth2.grant is {given}, which provider {provider} does not offer for mailboxes{reason}; use {offered}"
    )]
    GrantNotOffered {
        /// What the spec says.
        given: &'static str,
        /// The entry's key.
        provider: String,
        /// Why, with the colon before it; empty where nobody knows.
        reason: String,
        /// What it offers.
        offered: String,
    },
    /// A parameter has a value that is none of its choices.
    #[error(
        "spec.oauth2.parameters.{name} is {given:?}, which provider {provider} does not know: use one of {accepted}"
    )]
    UnknownChoice {
        /// The entry's key.
        provider: String,
        /// The parameter.
        name: String,
        /// What the spec says.
        given: String,
        /// What could be given.
        accepted: String,
    },
    /// Neither a provider nor a token endpoint, but something else about the server.
    #[error(
        "spec needs a provider or a token endpoint: set spec.provider to one of {known}, or spec.oauth2.issuer to the server's issuer, or tokenURL to its token endpoint"
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
        problem: UrlProblem,
    },
    /// The endpoints are in the metadata of an issuer that has not been asked yet.
    #[error(
        "the endpoints of {issuer} are not known yet: its metadata tell them (OpenID Connect Discovery, RFC 8414); or set spec.oauth2.tokenURL, and where a person signs in authorizationURL"
    )]
    Undiscovered {
        /// The issuer.
        issuer: String,
    },
    /// The issuer has no such endpoint.
    #[error(
        "grant {grant} needs the server's {what}, and the metadata of the issuer {issuer} name none: turn it on at the server, use another grant, or set {field}"
    )]
    NotInMetadata {
        /// The field that could say it.
        field: &'static str,
        /// The grant.
        grant: &'static str,
        /// What the field is.
        what: &'static str,
        /// The issuer.
        issuer: String,
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
    /// The refresh token cannot be given back.
    #[error(
        "spec.oauth2.grantDeletionPolicy is Revoke, but {server} has no known revocation endpoint: use Delete and remove the app at the provider when the mailbox is given up, or set spec.oauth2.revocationURL"
    )]
    NoRevocationUrl {
        /// The provider, or the token endpoint's host.
        server: String,
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

/// What is wrong with a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UrlProblem(pub(super) &'static str);

impl fmt::Display for UrlProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

/// A catalogue entry under its key.
#[derive(Clone, Copy)]
struct Provider<'a> {
    key: &'a str,
    entry: &'a Entry,
}

/// The issuer whose metadata name the endpoints, where neither spec nor catalogue knows the token endpoint.
#[must_use]
pub fn issuer_to_ask<'a>(spec: &'a EmailAssetSpec, catalogue: &Catalogue) -> Option<&'a str> {
    let issuer = spec.oauth2.issuer.as_deref()?;
    let provider = find::find(spec, catalogue).ok()?;
    is_to_be_asked(&spec.oauth2, provider).then_some(issuer)
}

fn is_to_be_asked(oauth2: &OAuth2, provider: Option<Provider<'_>>) -> bool {
    let has_no_endpoint = provider.is_none_or(|provider| provider.entry.is_of_ones_own());
    oauth2.token_url.is_none() && has_no_endpoint
}

/// Puts a spec and the catalogue together, where nothing is known from an issuer.
pub fn resolve(spec: &EmailAssetSpec, catalogue: &Catalogue) -> Result<Endpoints, ResolveError> {
    resolve_discovered(spec, catalogue, None)
}

/// Puts a spec, the catalogue and what the issuer's metadata tell together. What the spec writes out wins.
pub fn resolve_discovered(
    spec: &EmailAssetSpec,
    catalogue: &Catalogue,
    discovered: Option<&Discovered>,
) -> Result<Endpoints, ResolveError> {
    let provider = find::find(spec, catalogue)?;
    let domain = find::domain(spec);
    let values = Values::of(provider, &spec.oauth2.parameters, &domain)?;
    let discovered = match &spec.oauth2.issuer {
        Some(issuer) if is_to_be_asked(&spec.oauth2, provider) => {
            sign_in::check_issuer(issuer, catalogue)?;
            let found = discovered.filter(|found| found.issuer == *issuer);
            Some(found.ok_or_else(|| ResolveError::Undiscovered { issuer: issuer.clone() })?)
        }
        _ => None,
    };
    let (token_url, refresh_url) = urls(&spec.oauth2, provider, discovered, &values, catalogue)?;
    let own_hosts = provider
        .map(|provider| provider.entry.place(values.words()).token_hosts())
        .unwrap_or_default();
    let at_home = provider.filter(|_| is_own(&own_hosts, &token_url) && is_own(&own_hosts, &refresh_url));
    check_grant(spec.oauth2.grant, at_home)?;
    direct::check_tenant(&spec.oauth2, &token_url, catalogue)?;
    let scopes = scopes(spec, provider);
    let username = spec.username.clone().unwrap_or_else(|| spec.email.clone());
    let known = Known {
        provider,
        at_home,
        values: &values,
        token_url: &token_url,
        refresh_url: &refresh_url,
        scopes: &scopes,
        discovered,
    };
    let sign_in = sign_in::sign_in(spec, known, catalogue)?;
    let mail_server = |protocol: &Protocol, named: Option<&MailServer>, offer: fn(&Entry) -> Option<&EntryServer>| {
        let offer = provider.and_then(|provider| offer(provider.entry));
        let offer = offer.filter(|offer| is_offered(offer, named));
        let offer = offer.map(|offer| values.server(offer, &domain)).transpose()?;
        server(protocol, named, offer.as_ref(), &username)
    };
    // Where the entry has no hosts of its own, what it knows holds at the server that the spec names.
    let facts = at_home.or_else(|| provider.filter(|provider| provider.entry.is_of_ones_own()));
    let home = at_home.map(|provider| provider.entry);
    Ok(Endpoints {
        provider: provider.map(|provider| provider.key.to_owned()),
        display_name: home.map_or_else(
            || token_url.host_str().unwrap_or_default().to_owned(),
            |entry| entry.display_name.clone(),
        ),
        email: spec.email.clone(),
        client_authentication: client_authentication(&spec.oauth2, at_home)?,
        authentication_with_secret: authentication_with_secret(provider, discovered),
        rotation: if spec.oauth2.grant.is_direct() {
            Rotation::None
        } else {
            rotation(&spec.oauth2, at_home)?
        },
        reuse_grace: home.and_then(|entry| length(entry.refresh.reuse_grace)),
        default_lifetime: facts.map_or(LIFETIME_AT_UNKNOWN_SERVERS, |provider| {
            provider.entry.access_token_lifetime.0
        }),
        limits: facts.map(|provider| limits(provider.entry)).unwrap_or_default(),
        errors: facts.map(|provider| provider.entry.errors).unwrap_or_default(),
        propagation_grace: home.and_then(|entry| length(entry.propagation_grace)),
        assertion: home.and_then(|entry| entry.assertion.clone()),
        revocation_gone: home.map(|entry| entry.revocation_gone.clone()).unwrap_or_default(),
        revocation_url: revocation_url(&spec.oauth2, home, discovered, &values, &token_url)?,
        smtp: mail_server(&SMTP, spec.smtp.as_ref(), |entry| entry.smtp.as_ref())?,
        imap: mail_server(&IMAP, spec.imap.as_ref(), |entry| entry.imap.as_ref())?,
        pop3: mail_server(&POP3, spec.pop3.as_ref(), |entry| entry.pop3.as_ref())?,
        mechanisms: provider
            .map(|provider| provider.entry.mechanisms.clone())
            .unwrap_or_default(),
        refresh_scopes: match provider.map(|provider| provider.entry.refresh.send_scope) {
            Some(SendScope::Never) => Vec::new(),
            Some(SendScope::Requested) | None => scopes.clone(),
        },
        refresh_parameters: home
            .map(|entry| entry.refresh.parameters.clone().into_iter().collect())
            .unwrap_or_default(),
        scopes,
        username,
        sign_in,
        token_url,
        refresh_url,
        discovered: discovered.cloned(),
        own_hosts,
    })
}

/// As [`resolve_discovered`], for a spec that stands under the `EmailProvider` of this name: a cluster admin has written its URLs, so their hosts are the provider's own
/// (invariant 11), and people are sent back to a callback of its own.
pub fn resolve_under(
    provider: &str,
    spec: &EmailAssetSpec,
    catalogue: &Catalogue,
    discovered: Option<&Discovered>,
) -> Result<Endpoints, ResolveError> {
    let mut endpoints = resolve_discovered(spec, catalogue, discovered)?;
    let oauth2 = &spec.oauth2;
    let written = [
        &oauth2.issuer,
        &oauth2.token_url,
        &oauth2.refresh_url,
        &oauth2.revocation_url,
        &oauth2.device_authorization_url,
    ];
    let hosts = written
        .into_iter()
        .flatten()
        .filter_map(|url| Url::parse(url).ok())
        .map(|url| Authority::of(&url));
    endpoints.own_hosts.extend(hosts);
    if endpoints.sign_in.authorization_url.is_some() {
        endpoints.sign_in.callback_key = format!("p-{provider}");
    }
    Ok(endpoints)
}

fn length(period: Option<Period>) -> Option<SignedDuration> {
    period.map(|period| period.0)
}

fn limits(entry: &Entry) -> Limits {
    let life = &entry.refresh_token;
    Limits {
        refresh_interval: entry.refresh.rate_limit.map(RateLimit::interval),
        throttled_for: length(entry.refresh.throttled_for),
        max_idle: length(life.max_idle),
        keep_alive: length(life.keep_alive),
        lifetime: match (life.lifetime, life.lives_as) {
            (Some(period), _) => KnownLife::For(period.0),
            (None, Some(LivesAs::AccessToken)) => KnownLife::AsAccessToken,
            (None, None) => KnownLife::Unknown,
        },
        while_testing: length(life.while_testing),
    }
}

/// What the provider does not offer for mailboxes would only fail later, in words that nobody understands.
fn check_grant(grant: Grant, at_home: Option<Provider<'_>>) -> Result<(), ResolveError> {
    let Some(provider) = at_home else { return Ok(()) };
    let ways = provider.entry.ways();
    if ways.iter().any(|way| way.is(grant)) {
        return Ok(());
    }
    let mut reasons = provider.entry.not_offered.iter();
    let reason = reasons.find(|(way, _)| way.is(grant));
    Err(ResolveError::GrantNotOffered {
        given: grant.as_str(),
        provider: provider.key.to_owned(),
        reason: reason.map(|(_, reason)| format!(": {reason}")).unwrap_or_default(),
        offered: ways
            .into_iter()
            .map(WayToToken::as_str)
            .collect::<Vec<_>>()
            .join(" or "),
    })
}

impl ResolveError {
    /// Whether it is about the way that the asset itself has chosen: its grant, or what becomes of that in the end.
    #[must_use]
    pub const fn is_about_the_way(&self) -> bool {
        matches!(self, Self::GrantNotOffered { .. } | Self::NoRevocationUrl { .. })
    }
}

/// What a client has to prove itself with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientOwns {
    /// A client secret.
    Secret,
    /// A private key, and no secret.
    Key,
    /// Neither.
    Nothing,
}

impl Endpoints {
    /// How a client proves itself: as the spec says; else as the provider wants it where there is a secret, and with its key where there is only that.
    #[must_use]
    pub fn authentication(&self, owns: ClientOwns) -> ClientAuthentication {
        self.client_authentication.unwrap_or(match owns {
            ClientOwns::Secret => self.authentication_with_secret,
            ClientOwns::Key => ClientAuthentication::PrivateKeyJwt,
            ClientOwns::Nothing => ClientAuthentication::None,
        })
    }

    /// As it stands in `status.endpoints`, with the client authentication in use once that is known.
    #[must_use]
    pub fn to_status(&self, client_authentication: Option<ClientAuthentication>) -> EndpointsStatus {
        let asked = || self.discovered.as_ref().map(|found| found.issuer.clone());
        let mut status = EndpointsStatus {
            issuer: self
                .sign_in
                .identity
                .fixed_issuer()
                .or_else(|| self.sign_in.identity.issuer.clone())
                .or_else(asked),
            authorization_url: self.sign_in.authorization_url.as_ref().map(Url::to_string),
            device_authorization_url: self.sign_in.device_authorization_url.as_ref().map(Url::to_string),
            provider: self.provider.clone(),
            token_url: Some(self.token_url.to_string()),
            refresh_url: (self.refresh_url != self.token_url).then(|| self.refresh_url.to_string()),
            revocation_url: self.revocation_url.as_ref().map(Url::to_string),
            scopes: self.scopes.clone(),
            client_authentication: client_authentication.or(self.client_authentication),
            rotation: Some(self.rotation),
            smtp: self.smtp.as_ref().map(Server::to_status),
            imap: self.imap.as_ref().map(Server::to_status),
            pop3: self.pop3.as_ref().map(Server::to_status),
            discovered: Vec::new(),
        };
        if let Some(found) = &self.discovered {
            status.discovered = found.names_in(&status);
            if self.client_authentication.is_some() {
                status.discovered.retain(|name| name != "clientAuthentication");
            }
        }
        status
    }
}

const TOKEN_URL: &str = "spec.oauth2.tokenURL";
const REFRESH_URL: &str = "spec.oauth2.refreshURL";
const REVOCATION_URL: &str = "spec.oauth2.revocationURL";

/// Where a token is given back: the spec's own endpoint, that of the issuer's metadata, or the entry's while tokens come from there.
fn revocation_url(
    oauth2: &OAuth2,
    home: Option<&Entry>,
    discovered: Option<&Discovered>,
    values: &Values<'_>,
    token_url: &Url,
) -> Result<Option<Url>, ResolveError> {
    if let Some(own) = &oauth2.revocation_url {
        return parse_url(REVOCATION_URL, own).map(Some);
    }
    // One at another host is no reason to refuse an asset that will never call it.
    let wanted = |url: &&Url| {
        oauth2.grant_deletion_policy() == GrantDeletionPolicy::Revoke || url.origin() == token_url.origin()
    };
    if let Some(found) = discovered
        .and_then(|found| found.revocation_url.as_ref())
        .filter(wanted)
    {
        return Ok(Some(found.clone()));
    }
    let known = home.and_then(|entry| entry.revocation_url.as_ref());
    if known.is_none() && oauth2.grant_deletion_policy() == GrantDeletionPolicy::Revoke {
        let host = || token_url.host_str().unwrap_or_default().to_owned();
        return Err(ResolveError::NoRevocationUrl {
            server: home.map_or_else(host, |entry| entry.display_name.clone()),
        });
    }
    known
        .map(|template| values.fill("the revocation endpoint", template))
        .transpose()
}

/// Token and refresh endpoint. A token endpoint of the spec's own also takes the place of the entry's refresh endpoint.
fn urls(
    oauth2: &OAuth2,
    provider: Option<Provider<'_>>,
    discovered: Option<&Discovered>,
    values: &Values<'_>,
    catalogue: &Catalogue,
) -> Result<(Url, Url), ResolveError> {
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
    if let Some(token) = own_token.or_else(|| discovered.map(|found| found.token_url.clone())) {
        let refresh = own_refresh.unwrap_or_else(|| token.clone());
        return Ok((token, refresh));
    }
    let Some(provider) = provider else {
        return Err(ResolveError::NoServer {
            known: find::known(catalogue),
        });
    };
    let Some(template) = &provider.entry.token_url else {
        return Err(ResolveError::NoTokenUrl {
            provider: provider.key.to_owned(),
        });
    };
    let token = values.fill(TOKEN_URL, template)?;
    let refresh = match (own_refresh, &provider.entry.refresh_url) {
        (Some(url), _) => url,
        (None, Some(template)) => values.fill(REFRESH_URL, template)?,
        (None, None) => token.clone(),
    };
    Ok((token, refresh))
}

fn parse_url(field: &'static str, text: &str) -> Result<Url, ResolveError> {
    read_url(text).map_err(|problem| ResolveError::BadUrl { field, problem })
}

/// Reads a URL that may be called: https, a host, and nothing that a person would read otherwise than the parser does.
pub(super) fn read_url(text: &str) -> Result<Url, UrlProblem> {
    let bad = UrlProblem;
    // The parser would drop line ends, turn backslashes round and rewrite other scripts: what a person reads would not be what is called.
    if text.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'\\') {
        return Err(bad("it has spaces, backslashes or characters outside ASCII"));
    }
    let url = Url::parse(text).map_err(|_| bad("it is no URL"))?;
    if url.scheme() != "https" {
        return Err(bad("it is not https"));
    }
    // The parser would find a host in `https:///here/not` too.
    let authority = text
        .strip_prefix("https://")
        .and_then(|rest| rest.split(['/', '?', '#']).next());
    let Some(authority) = authority.filter(|authority| !authority.is_empty()) else {
        return Err(bad("it does not begin with https:// and a host"));
    };
    if authority.contains('@') {
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

/// The entry's favourite of the ways that a secret can be sent; elsewhere what every server must take (RFC 6749 §2.3.1). Unless the server says that it takes
/// something else.
fn authentication_with_secret(provider: Option<Provider<'_>>, discovered: Option<&Discovered>) -> ClientAuthentication {
    use ClientAuthentication::{ClientSecretBasic, ClientSecretPost};
    let mut taken = provider
        .into_iter()
        .flat_map(|provider| provider.entry.client_authentication.iter().copied());
    let favourite = taken
        .find(|method| matches!(method, ClientSecretBasic | ClientSecretPost))
        .unwrap_or(ClientSecretBasic);
    let said = discovered.map_or(&[][..], |found| &found.authentication_with_secret);
    match said.first() {
        Some(first) if !said.contains(&favourite) => *first,
        _ => favourite,
    }
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
