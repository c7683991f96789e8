//! The certificates that people bring: `spec.oauth2.caBundleRef` names a `ConfigMap`, in the asset's namespace or, where an `EmailProvider` says it, in the
//! operator's.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;

use super::{context::Context, explain, observe::called};
use crate::{
    api::{EmailProvider, KeyRef},
    lifecycle::Failure,
    oauth::CaBundle,
};

/// Where such certificates are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Bundle {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) key: String,
    /// The `EmailProvider` that names it, as people call it: where it is, is nobody's business in an asset's namespace.
    pub(super) of: Option<String>,
}

impl Bundle {
    /// The one that an `EmailProvider` names.
    pub(super) fn of_provider(reference: &KeyRef, own_namespace: &str, provider: &EmailProvider) -> Self {
        Self {
            namespace: own_namespace.to_owned(),
            name: reference.name.clone(),
            key: reference.key.clone(),
            of: Some(called(provider)),
        }
    }

    /// Reads them.
    pub(super) async fn read(&self, context: &Context) -> Result<CaBundle, Failure> {
        let place = match &self.of {
            Some(provider) => format!("The CA bundle of {provider} (spec.oauth2.caBundleRef)"),
            None => format!(
                "ConfigMap {}/{}, key {} (spec.oauth2.caBundleRef)",
                self.namespace, self.name, self.key
            ),
        };
        let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), &self.namespace);
        let found = tokio::time::timeout(context.settings.api_timeout, api.get_opt(&self.name)).await;
        let map = match found {
            Ok(Ok(Some(map))) => map,
            Ok(Ok(None)) => {
                return Err(explain::no_ca_bundle(format!(
                    "{place} does not exist. Create it with the CA certificates in PEM form."
                )));
            }
            Ok(Err(_)) | Err(_) => {
                return Err(explain::no_ca_bundle(format!(
                    "{place} could not be read from the API server; it is tried again."
                )));
            }
        };
        let Some(pem) = map.data.and_then(|mut data| data.remove(&self.key)) else {
            return Err(explain::no_ca_bundle(format!(
                "{place} is not there: the ConfigMap has no such key."
            )));
        };
        CaBundle::from_pem(pem.as_bytes()).map_err(|error| explain::no_ca_bundle(format!("{place} {error}.")))
    }
}
