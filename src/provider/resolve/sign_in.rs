//! How a person signs in, from a spec and the catalogue.
//!
//! Two rules keep a code with the provider that gave it. What the entry says about signing in holds only while the requests go to the entry's own hosts. And a code
//! (or device code) of a provider in the catalogue goes only to that provider's token endpoint, whoever wrote the URLs: an asset that names the real authorization
//! endpoint and a token endpoint of its author's would otherwise receive codes that are good at the real one (RFC 9700 §4.4).

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use url::Url;

use super::parameters::Values;
use super::{Provider, ResolveError, UrlProblem, parse_url};
use crate::api::{EmailAssetSpec, Grant, OAuth2};
use crate::provider::catalogue::{Catalogue, EntryIdentity, EntryTenancy, Place};
use crate::provider::discovered::Discovered;
use crate::provider::hosts::Authority;
use crate::provider::sign_in::{
    AccountClaim, CodeServer, Counts, Identity, LOOPBACK, NamesIssuer, OWN_PARAMETERS, SignIn, Tenancy, Tenant, is_uuid,
};

const AUTHORIZATION_URL: &str = "spec.oauth2.authorizationURL";
const DEVICE_AUTHORIZATION_URL: &str = "spec.oauth2.deviceAuthorizationURL";
const ISSUER: &str = "spec.oauth2.issuer";

/// What is known when the way to sign in is looked for.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) provider: Option<Provider<'a>>,
    /// The provider, if the token endpoints are its own.
    pub(super) at_home: Option<Provider<'a>>,
    /// What templates are filled with.
    pub(super) values: &'a Values<'a>,
    pub(super) token_url: &'a Url,
    pub(super) refresh_url: &'a Url,
    /// The scopes of the access token.
    pub(super) scopes: &'a [String],
    /// What the issuer's metadata tell.
    pub(super) discovered: Option<&'a Discovered>,
}

/// Puts together how a person signs in; empty for a grant that begins without one.
pub(super) fn sign_in(spec: &EmailAssetSpec, known: Known<'_>, catalogue: &Catalogue) -> Result<SignIn, ResolveError> {
    let oauth2 = &spec.oauth2;
    let (authorization_url, device_authorization_url) = match oauth2.grant {
        Grant::RefreshToken | Grant::ClientCredentials | Grant::JwtBearer => return Ok(SignIn::default()),
        Grant::AuthorizationCode => (Some(authorization_url(oauth2, known)?), None),
        Grant::DeviceCode => (None, Some(device_authorization_url(oauth2, known)?)),
    };
    for url in authorization_url.iter().chain(&device_authorization_url) {
        stays_with_its_provider(url, known.token_url, catalogue)?;
    }
    let identity = identity(oauth2, known, catalogue)?;
    let mut scopes = known.scopes.to_vec();
    let more = identity_scopes(oauth2, known, &identity);
    scopes.extend(more.into_iter().filter(|scope| !known.scopes.contains(scope)));
    let host = known.at_home.filter(|provider| {
        let own = provider.entry.place(known.values.words()).authorization_host();
        authorization_url.as_ref().map(Authority::of) == own
    });
    let device_code_without_secret = device_authorization_url
        .is_some()
        .then(|| known.at_home?.entry.device_code_without_secret.clone());
    Ok(SignIn {
        device_code_without_secret: device_code_without_secret.flatten(),
        parameters: parameters(oauth2, host, &scopes),
        scope_separator: host.map(|host| host.entry.scope_separator).unwrap_or_default(),
        names_issuer: names_issuer(host, authorization_url.as_ref(), known),
        code_server: host.and_then(|host| code_server(host, known.token_url)),
        loopback_host: host
            .and_then(|host| host.entry.loopback_host.clone())
            .unwrap_or_else(|| LOOPBACK.to_owned()),
        callback_key: authorization_url
            .as_ref()
            .map_or_else(String::new, |url| callback_key(url, known)),
        authorization_url,
        device_authorization_url,
        scopes,
        identity,
    })
}

fn code_server(host: Provider<'_>, token_url: &Url) -> Option<CodeServer> {
    let asked = Authority::of(token_url);
    let others = host.entry.token_hosts().into_iter().filter(|other| *other != asked);
    let others = others
        .filter_map(|other| {
            let (parameter, value) = host.entry.choice_of_host(&other)?;
            let setting = format!("spec.oauth2.parameters.{parameter} to {value}");
            Some((other, setting))
        })
        .collect();
    Some(CodeServer {
        parameter: host.entry.code_server.clone()?,
        asked,
        others,
    })
}

/// The spec's own, or the entry's while the code would go to the entry's own token endpoint.
fn authorization_url(oauth2: &OAuth2, known: Known<'_>) -> Result<Url, ResolveError> {
    if let Some(own) = &oauth2.authorization_url {
        let url = parse_url(AUTHORIZATION_URL, own)?;
        return without_our_parameters(url);
    }
    if let Some(found) = known.discovered {
        let url = found.authorization_url.clone();
        let url =
            url.ok_or_else(|| not_in_metadata(found, AUTHORIZATION_URL, oauth2.grant, "authorization endpoint"))?;
        return without_our_parameters(url);
    }
    let template = known
        .at_home
        .and_then(|provider| provider.entry.authorization_url.as_ref());
    match template {
        Some(template) => known.values.fill(AUTHORIZATION_URL, template),
        None => Err(ResolveError::NoSignInUrl {
            field: AUTHORIZATION_URL,
            grant: Grant::AuthorizationCode.as_str(),
            what: "authorization endpoint",
        }),
    }
}

/// An authorization endpoint may have a query, which the sign-in must not contradict.
fn without_our_parameters(url: Url) -> Result<Url, ResolveError> {
    let sets = |name: &str| OWN_PARAMETERS.iter().any(|own| own.eq_ignore_ascii_case(name));
    if url.query_pairs().any(|(name, _)| sets(&name)) {
        return Err(ResolveError::BadUrl {
            field: AUTHORIZATION_URL,
            problem: UrlProblem("its query has a parameter that the sign-in sets by itself"),
        });
    }
    Ok(url)
}

fn not_in_metadata(found: &Discovered, field: &'static str, grant: Grant, what: &'static str) -> ResolveError {
    ResolveError::NotInMetadata {
        field,
        grant: grant.as_str(),
        what,
        issuer: found.issuer.clone(),
    }
}

/// The entry's word while the person is sent to its own host; the issuer's while the person is sent where its metadata say.
fn names_issuer(host: Option<Provider<'_>>, authorization_url: Option<&Url>, known: Known<'_>) -> NamesIssuer {
    if let Some(host) = host {
        return host.entry.names_issuer;
    }
    let told = known
        .discovered
        .filter(|found| authorization_url.is_some() && found.authorization_url.as_ref() == authorization_url);
    told.map(|found| found.names_issuer).unwrap_or_default()
}

fn device_authorization_url(oauth2: &OAuth2, known: Known<'_>) -> Result<Url, ResolveError> {
    if let Some(own) = &oauth2.device_authorization_url {
        return parse_url(DEVICE_AUTHORIZATION_URL, own);
    }
    if let Some(found) = known.discovered {
        let url = found.device_authorization_url.clone();
        let what = "device authorization endpoint";
        return url.ok_or_else(|| not_in_metadata(found, DEVICE_AUTHORIZATION_URL, oauth2.grant, what));
    }
    let template = known
        .at_home
        .and_then(|provider| provider.entry.device_authorization_url.as_ref());
    match template {
        Some(template) => known.values.fill(DEVICE_AUTHORIZATION_URL, template),
        None => Err(ResolveError::NoSignInUrl {
            field: DEVICE_AUTHORIZATION_URL,
            grant: Grant::DeviceCode.as_str(),
            what: "device authorization endpoint",
        }),
    }
}

/// Where a provider has several places, what is got at one stays at that one.
fn stays_with_its_provider(from: &Url, token_url: &Url, catalogue: &Catalogue) -> Result<(), ResolveError> {
    let (from, to) = (Authority::of(from), Authority::of(token_url));
    for (key, entry) in catalogue.entries() {
        let leaves = |place: &Place<'_>| place.sign_in_hosts().contains(&from) && !place.token_hosts().contains(&to);
        if entry.places().iter().any(leaves) {
            return Err(ResolveError::CodeLeavesProvider {
                provider: key.to_owned(),
                host: token_url.host_str().unwrap_or_default().to_owned(),
            });
        }
    }
    Ok(())
}

fn identity(oauth2: &OAuth2, known: Known<'_>, catalogue: &Catalogue) -> Result<Identity, ResolveError> {
    let entry = known
        .at_home
        .and_then(|provider| Some((provider, provider.entry.identity.as_ref()?)));
    match (entry, &oauth2.issuer) {
        (Some((provider, entry)), given) => {
            let identity = entry_identity(entry, known.values)?;
            match (given, &identity.issuer) {
                (Some(given), Some(known)) if given != known => Err(ResolveError::IssuerIsKnown {
                    provider: provider.key.to_owned(),
                    known: known.clone(),
                }),
                _ => Ok(identity),
            }
        }
        (None, Some(given)) => own_identity(given, catalogue),
        (None, None) => Ok(Identity::default()),
    }
}

/// An issuer that may be asked about itself: one that is no provider's of the catalogue.
pub(super) fn check_issuer(issuer: &str, catalogue: &Catalogue) -> Result<(), ResolveError> {
    let url = parse_url(ISSUER, issuer)?;
    if url.query().is_some() {
        return Err(ResolveError::BadUrl {
            field: ISSUER,
            problem: UrlProblem("an issuer has no query (?)"),
        });
    }
    let host = Authority::of(&url);
    let is_its = |identity: &EntryIdentity| identity.hosts().contains(&host);
    if let Some((key, _)) = catalogue
        .entries()
        .find(|(_, entry)| entry.identity.as_ref().is_some_and(is_its))
    {
        return Err(ResolveError::IssuerOfProvider {
            provider: key.to_owned(),
        });
    }
    Ok(())
}

/// A server outside the catalogue, whose issuer the author of the spec vouches for.
fn own_identity(issuer: &str, catalogue: &Catalogue) -> Result<Identity, ResolveError> {
    check_issuer(issuer, catalogue)?;
    let claim = |claim: &str, when| AccountClaim {
        claim: claim.to_owned(),
        when,
    };
    Ok(Identity {
        issuer: Some(issuer.to_owned()),
        accounts: vec![
            claim("email", Counts::EmailVerified),
            claim("preferred_username", Counts::Address),
        ],
        ..Identity::default()
    })
}

fn entry_identity(entry: &EntryIdentity, values: &Values<'_>) -> Result<Identity, ResolveError> {
    const KEYS: &str = "the address of the issuer's keys";
    const USERINFO: &str = "the userinfo endpoint";
    let userinfo_url = entry
        .userinfo_url
        .as_ref()
        .map(|url| values.fill(USERINFO, url))
        .transpose()?;
    Ok(Identity {
        issuer: Some(values.fill_in(&entry.issuer)?),
        also_issuers: entry.also_issuers.clone(),
        keys_url: Some(values.fill(KEYS, &entry.keys_url)?),
        userinfo_alone: entry.userinfo_alone,
        hosts: userinfo_url.iter().map(Authority::of).collect(),
        userinfo_url,
        accounts: entry.accounts.clone(),
        tenancy: entry.tenancy.as_ref().map(|tenancy| Tenancy {
            tenant: tenant(tenancy, values.words().get(&tenancy.parameter).map(String::as_str)),
            metadata: tenancy.metadata_url.clone(),
            personal: tenancy.personal.id.clone(),
        }),
        dotless: entry.dotless.clone(),
    })
}

fn tenant(tenancy: &EntryTenancy, given: Option<&str>) -> Tenant {
    let given = given.unwrap_or_default().to_ascii_lowercase();
    match given {
        name if tenancy.any.contains(&name) => Tenant::Any,
        name if name == tenancy.personal.name => Tenant::Id(tenancy.personal.id.clone()),
        id if is_uuid(&id) => Tenant::Id(id),
        domain => Tenant::Domain(domain),
    }
}

/// What makes the provider say who signed in.
fn identity_scopes(oauth2: &OAuth2, known: Known<'_>, identity: &Identity) -> Vec<String> {
    let entry = known.at_home.and_then(|provider| provider.entry.identity.as_ref());
    match entry {
        Some(entry) => entry.scopes.clone(),
        None if identity.names_accounts() && !oauth2.scopes.iter().any(|scope| scope == "openid") => {
            vec!["openid".to_owned(), "email".to_owned()]
        }
        None => Vec::new(),
    }
}

/// The entry's while the person is sent to the entry's own host. Elsewhere a refresh token is asked for as OpenID Connect Core §11 has it: with
/// `prompt=consent`, without which servers drop `offline_access`.
fn parameters(oauth2: &OAuth2, host: Option<Provider<'_>>, scopes: &[String]) -> Vec<(String, String)> {
    let mut parameters = match host {
        Some(host) => host.entry.authorization_parameters.clone(),
        None if scopes.iter().any(|scope| scope == "offline_access") => {
            BTreeMap::from([("prompt".to_owned(), "consent".to_owned())])
        }
        None => BTreeMap::new(),
    };
    if let Some(prompt) = &oauth2.prompt {
        parameters.insert("prompt".to_owned(), prompt.clone());
    }
    parameters.into_iter().collect()
}

/// The entry's key only if all endpoints are as the entry has them. An endpoint that is written out as the entry has it is no override.
fn callback_key(authorization_url: &Url, known: Known<'_>) -> String {
    let as_in_entry = |provider: &Provider<'_>| {
        let entry = provider.entry;
        let same = |template: Option<&String>, url: &Url| {
            let own = template.and_then(|template| known.values.fill(AUTHORIZATION_URL, template).ok());
            own.as_ref() == Some(url)
        };
        same(entry.authorization_url.as_ref(), authorization_url)
            && same(entry.token_url.as_ref(), known.token_url)
            && same(
                entry.refresh_url.as_ref().or(entry.token_url.as_ref()),
                known.refresh_url,
            )
    };
    if let Some(provider) = known.provider.filter(as_in_entry) {
        return provider.key.to_owned();
    }
    let mut hash = Sha256::new();
    for url in [authorization_url, known.token_url] {
        hash.update(url.as_str());
        hash.update([0]);
    }
    format!("x-{:.32}", format!("{:x}", hash.finalize()))
}
