//! Which entry of the catalogue a spec means: the one that it names, else the one whose mailboxes are at the address's domain.
//!
//! The domain is asked only where the spec says nothing about servers at all. A domain that people own may be hosted anywhere, so such domains are in no entry, and
//! what is not certain is never guessed.

use super::{Provider, ResolveError};
use crate::api::{EmailAssetSpec, Grant, OAuth2};
use crate::provider::catalogue::{Catalogue, Host, WithoutOAuth};
use crate::provider::sign_in::split_address;

/// The entry, if there is one.
pub(super) fn find<'a>(
    spec: &'a EmailAssetSpec,
    catalogue: &'a Catalogue,
) -> Result<Option<Provider<'a>>, ResolveError> {
    let found = match &spec.provider {
        Some(key) => named(key, catalogue)?,
        None if names_a_server(&spec.oauth2) => return Ok(None),
        None => by_domain(spec, catalogue)?,
    };
    Ok(Some(for_grant(found, spec.oauth2.grant, catalogue)))
}

/// The entry that stands in for this one where the spec asks for a grant that is another entry's.
fn for_grant<'a>(found: Provider<'a>, grant: Grant, catalogue: &'a Catalogue) -> Provider<'a> {
    let mut others = found.entry.offered_by.iter();
    others
        .find(|(way, _)| way.is(grant))
        .and_then(|(_, key)| {
            Some(Provider {
                key,
                entry: catalogue.get(key)?,
            })
        })
        .unwrap_or(found)
}

/// The domain of the mailbox, in lower case; empty where the address has none.
pub(super) fn domain(spec: &EmailAssetSpec) -> String {
    split_address(&spec.email).map(|(_, domain)| domain).unwrap_or_default()
}

pub(super) fn known(catalogue: &Catalogue) -> String {
    catalogue.keys().collect::<Vec<_>>().join(", ")
}

fn named<'a>(key: &'a str, catalogue: &'a Catalogue) -> Result<Provider<'a>, ResolveError> {
    if let Some(entry) = catalogue.get(key) {
        return Ok(Provider { key, entry });
    }
    match catalogue.get_without_oauth(key) {
        Some(provider) => Err(without_oauth(format!("spec.provider is {key}"), provider)),
        None => Err(ResolveError::UnknownProvider {
            given: key.to_owned(),
            known: known(catalogue),
        }),
    }
}

fn names_a_server(oauth2: &OAuth2) -> bool {
    let said = [
        &oauth2.issuer,
        &oauth2.token_url,
        &oauth2.refresh_url,
        &oauth2.authorization_url,
        &oauth2.device_authorization_url,
    ];
    said.into_iter().any(Option::is_some)
}

fn by_domain<'a>(spec: &EmailAssetSpec, catalogue: &'a Catalogue) -> Result<Provider<'a>, ResolveError> {
    let domain = domain(spec);
    match catalogue.by_domain(&domain) {
        Some(Host::Provider { key, entry }) => Ok(Provider { key, entry }),
        Some(Host::WithoutOAuth { provider, .. }) => Err(without_oauth(format!("spec.email is at {domain}"), provider)),
        None => Err(ResolveError::UnknownDomain {
            domain,
            known: known(catalogue),
        }),
    }
}

fn without_oauth(said: String, provider: &WithoutOAuth) -> ResolveError {
    ResolveError::WithoutOAuth {
        said,
        provider: provider.display_name.clone(),
        instead: provider.instead.clone(),
    }
}
