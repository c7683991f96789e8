//! What holds for tokens that are issued to the client itself.

use url::Url;

use super::{ResolveError, is_own};
use crate::api::{Grant, OAuth2};
use crate::provider::catalogue::Catalogue;

/// Where each tenant issues its own tokens, a client gets its own from one tenant and never from "any" (Entra: AADSTS50059, and AADSTS53003 for personal accounts).
/// The URL is what counts, whoever wrote it.
pub(super) fn check_tenant(oauth2: &OAuth2, token_url: &Url, catalogue: &Catalogue) -> Result<(), ResolveError> {
    if oauth2.grant != Grant::ClientCredentials {
        return Ok(());
    }
    let entries = catalogue.entries().map(|(_, entry)| entry);
    let mut tenancies = entries
        .filter(|entry| is_own(&entry.token_hosts(), token_url))
        .filter_map(|entry| Some((entry, entry.identity.as_ref()?.tenancy.as_ref()?)));
    let Some((entry, tenancy)) = tenancies.next() else {
        return Ok(());
    };
    let tenant = token_url
        .path_segments()
        .and_then(|mut parts| parts.next())
        .unwrap_or_default();
    let mut unspecific = tenancy.any.iter().chain([&tenancy.personal.name]);
    if !unspecific.any(|name| name.eq_ignore_ascii_case(tenant)) {
        return Ok(());
    }
    let parameter = entry.parameters.get(&tenancy.parameter);
    Err(ResolveError::TenantNotSpecific {
        given: tenant.to_owned(),
        parameter: tenancy.parameter.clone(),
        example: parameter.map(|parameter| parameter.example.clone()).unwrap_or_default(),
    })
}
