//! Objects as the watches deliver them: what nobody reads is skipped while it is parsed, and an asset that cannot be read stops nothing.
//!
//! At a restart the lists of all assets and Secrets are nearly all that there is to do, and `managedFields` is about half of them. `DeserializeGuard` of kube
//! 5.0 would build each object three times over (a buffer, its copy, the object) so as to find the metadata of one that is wrong; here metadata, spec and status are
//! parsed apart from each other, once.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time},
};
use kube::{Resource, core::NamespaceResourceScope};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::api::EmailAsset;

/// An asset, or why it cannot be read. A pass shares the asset with the cache.
#[derive(Debug, Clone)]
pub(super) struct Watched(pub(super) Result<Arc<EmailAsset>, Unreadable>);

/// An asset that this operator cannot read.
#[derive(Debug, Clone)]
pub(super) struct Unreadable {
    /// What is wrong, for people.
    pub(super) error: String,
    /// Its metadata.
    pub(super) metadata: ObjectMeta,
}

/// The metadata of a Secret. As a type of a watch it asks the API server for metadata only.
#[derive(Debug, Clone)]
pub(super) struct SecretMeta(pub(super) ObjectMeta);

/// The metadata that somebody reads.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LeanMeta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    annotations: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
}

impl From<LeanMeta> for ObjectMeta {
    fn from(lean: LeanMeta) -> Self {
        Self {
            name: lean.name,
            namespace: lean.namespace,
            uid: lean.uid,
            resource_version: lean.resource_version,
            generation: lean.generation,
            creation_timestamp: lean.creation_timestamp,
            deletion_timestamp: lean.deletion_timestamp,
            annotations: lean.annotations,
            labels: lean.labels,
            owner_references: lean.owner_references,
            ..Self::default()
        }
    }
}

impl<'de> Deserialize<'de> for Watched {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Parts {
            metadata: LeanMeta,
            spec: Option<Box<RawValue>>,
            status: Option<Box<RawValue>>,
        }
        let parts = Parts::deserialize(deserializer)?;
        let metadata = ObjectMeta::from(parts.metadata);
        let asset = part("spec", parts.spec.as_deref().unwrap_or(RawValue::NULL))
            .and_then(|spec| Ok((spec, parts.status.map(|status| part("status", &status)).transpose()?)));
        Ok(Self(match asset {
            Ok((spec, status)) => Ok(Arc::new(EmailAsset { metadata, spec, status })),
            Err(error) => Err(Unreadable { error, metadata }),
        }))
    }
}

/// Parses one part of an asset.
fn part<T: DeserializeOwned>(name: &str, text: &RawValue) -> Result<T, String> {
    serde_json::from_str(text.get()).map_err(|error| {
        let error = error.to_string();
        // The place is in a text that nobody else sees.
        let what = error.split(" at line ").next().unwrap_or_default();
        format!("{name}: {what}")
    })
}

impl<'de> Deserialize<'de> for SecretMeta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Parts {
            metadata: LeanMeta,
        }
        Ok(Self(Parts::deserialize(deserializer)?.metadata.into()))
    }
}

impl Resource for Watched {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        EmailAsset::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        EmailAsset::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        EmailAsset::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        EmailAsset::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(asset) => &asset.metadata,
            Err(unreadable) => &unreadable.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(asset) => &mut Arc::make_mut(asset).metadata,
            Err(unreadable) => &mut unreadable.metadata,
        }
    }
}

impl Resource for SecretMeta {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn metadata_api() -> bool {
        true
    }

    fn kind((): &()) -> Cow<'_, str> {
        Secret::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        Secret::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        Secret::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        Secret::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.0
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use kube::core::WatchEvent;
    use serde_json::json;

    use super::*;

    fn event(spec: &serde_json::Value) -> String {
        json!({"type": "ADDED", "object": {
            "apiVersion": "emailasset.dev/v1alpha1", "kind": "EmailAsset",
            "metadata": {
                "name": "one", "namespace": "here", "uid": "u", "generation": 3, "managedFields": [{"manager": "m"}],
                "annotations": {"emailasset.dev/refresh": "now"},
            },
            "spec": spec, "status": {"observedGeneration": 2},
        }})
        .to_string()
        // As the API server writes it: the type comes first.
        .replace("{\"object\":", "{\"type\":\"ADDED\",\"object\":")
        .replace(",\"type\":\"ADDED\"}", "}")
    }

    fn watched(spec: &serde_json::Value) -> Watched {
        match serde_json::from_str(&event(spec)).unwrap() {
            WatchEvent::Added(asset) => asset,
            _ => panic!("it was added"),
        }
    }

    #[test]
    fn an_asset_is_read_without_its_managed_fields() {
        let spec = json!({"email": "a@example.com", "oauth2": {
            "grant": "RefreshToken", "refreshTokenSecretRef": {"name": "seed", "key": "refresh_token"},
        }});
        let asset = watched(&spec).0.unwrap();
        assert_eq!(asset.spec.email, "a@example.com");
        assert_eq!(asset.status.as_ref().unwrap().observed_generation, Some(2));
        assert_eq!(
            asset.metadata.annotations.as_ref().unwrap()["emailasset.dev/refresh"],
            "now"
        );
        assert_eq!(asset.metadata.managed_fields, None);
    }

    #[test]
    fn an_asset_that_cannot_be_read_keeps_its_metadata_and_says_what_is_wrong() {
        let unreadable = watched(&json!({"email": 7})).0.unwrap_err();
        assert_eq!(unreadable.metadata.generation, Some(3));
        assert_eq!(unreadable.error, "spec: invalid type: integer `7`, expected a string");
    }

    #[test]
    fn an_asset_without_a_spec_is_one_that_cannot_be_read() {
        assert!(watched(&json!(null)).0.unwrap_err().error.starts_with("spec: "));
    }
}
