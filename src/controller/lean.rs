//! Objects as the watches deliver them: what nobody reads is skipped while it is parsed, and an asset that cannot be read stops nothing.
//!
//! At a restart the lists of all assets and Secrets are nearly all that there is to do, and `managedFields` is about half of them. `DeserializeGuard` of kube
//! 5.0 would build each object three times over (a buffer, its copy, the object) so as to find the metadata of one that is wrong; here metadata, spec and status are
//! parsed apart from each other, once.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time},
};
use kube::{Resource, core::NamespaceResourceScope};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::finalizer::is_held;
use crate::{
    api::{ConditionType, EmailAsset, EmailAssetStatus, names},
    lifecycle,
    store::text::Text,
};

/// An asset as the cache keeps it: as the text that the API server sent, packed, without what nobody reads. Of thousands, each would need many times the memory as
/// an [`EmailAsset`], and most are looked at twice an hour.
#[derive(Debug, Clone)]
pub(super) struct Watched(Arc<Packed>);

#[derive(Debug, Clone)]
struct Packed {
    metadata: ObjectMeta,
    /// Annotations of ours: a map of one entry would be larger than all the rest.
    annotations: Box<[(String, String)]>,
    sample: Sample,
    body: Result<Body, String>,
}

/// Spec and status, which can be read: that was tried when they came.
#[derive(Debug)]
struct Body {
    /// Both, as the two elements of a JSON array.
    text: Text,
    /// The asset itself, for those who look at it right when it comes.
    fresh: Mutex<Option<Arc<EmailAsset>>>,
}

/// What a scrape of metrics asks of each asset.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sample {
    /// Whether Ready is True.
    pub(super) ready: bool,
    /// When the published token ends.
    pub(super) expiration: Option<Timestamp>,
}

impl Watched {
    /// The asset itself, or what is wrong with it.
    pub(super) fn asset(&self) -> Result<Arc<EmailAsset>, String> {
        let body = self.0.body.as_ref().map_err(Clone::clone)?;
        if let Some(fresh) = &*body.fresh() {
            return Ok(Arc::clone(fresh));
        }
        let mut metadata = self.0.metadata.clone();
        let annotations = self.0.annotations.iter().cloned().collect::<BTreeMap<_, _>>();
        metadata.annotations = (!annotations.is_empty()).then_some(annotations);
        let damaged = || "what the cache holds is damaged; restart the operator".to_owned();
        let text = body.text.unpack().ok_or_else(damaged)?;
        let (spec, status) = serde_json::from_str(&text).map_err(|_| damaged())?;
        Ok(Arc::new(EmailAsset { metadata, spec, status }))
    }

    /// Everybody has looked who looks at it when it comes: from now on it is parsed again for those who ask.
    pub(super) fn pack(&self) {
        if let Ok(body) = &self.0.body {
            *body.fresh() = None;
        }
    }

    /// What a scrape asks.
    pub(super) fn sample(&self) -> Sample {
        self.0.sample
    }
}

impl Body {
    fn fresh(&self) -> MutexGuard<'_, Option<Arc<EmailAsset>>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for Body {
    fn clone(&self) -> Self {
        Self {
            text: self.text.clone(),
            fresh: Mutex::new(self.fresh().clone()),
        }
    }
}

impl Sample {
    fn of(status: Option<&EmailAssetStatus>) -> Self {
        let ready = status.and_then(|status| lifecycle::condition(&status.conditions, ConditionType::Ready));
        let token = status.and_then(|status| status.token.as_ref());
        Self {
            ready: ready.is_some_and(|ready| ready.status == "True"),
            expiration: token.and_then(|token| Some(token.expiration_time.as_ref()?.0)),
        }
    }
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
    finalizers: Option<Vec<String>>,
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
            finalizers: lean.finalizers,
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
        let mut metadata = ObjectMeta::from(parts.metadata);
        metadata.labels = None;
        metadata.owner_references = None;
        metadata.finalizers = is_held(&metadata).then(|| vec![names::FINALIZER.to_owned()]);
        if let Some(annotations) = &mut metadata.annotations {
            annotations.retain(|key, _| key.starts_with(names::PREFIX));
        }
        let spec = parts.spec.as_deref().map_or("null", RawValue::get);
        let status = parts.status.as_deref().map(RawValue::get);
        let fresh = read(&metadata, spec, status);
        let sample = Sample::of(fresh.as_ref().ok().and_then(|asset| asset.status.as_ref()));
        let body = fresh.map(|fresh| Body {
            text: Text::pack(&format!("[{spec},{}]", status.unwrap_or("null"))),
            fresh: Mutex::new(Some(Arc::new(fresh))),
        });
        Ok(Self(Arc::new(Packed {
            annotations: metadata.annotations.take().unwrap_or_default().into_iter().collect(),
            metadata,
            sample,
            body,
        })))
    }
}

fn read(metadata: &ObjectMeta, spec: &str, status: Option<&str>) -> Result<EmailAsset, String> {
    Ok(EmailAsset {
        metadata: metadata.clone(),
        spec: part("spec", spec)?,
        status: status.map(|status| part("status", status)).transpose()?,
    })
}

/// Parses one part of an asset.
fn part<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| {
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
        &self.0.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut Arc::make_mut(&mut self.0).metadata
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
        let asset = watched(&spec).asset().unwrap();
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
        let unreadable = watched(&json!({"email": 7}));
        assert_eq!(unreadable.meta().generation, Some(3));
        let problem = unreadable.asset().unwrap_err();
        assert_eq!(problem, "spec: invalid type: integer `7`, expected a string");
    }

    #[test]
    fn a_packed_asset_is_the_same_asset() {
        let spec = json!({"email": "a@example.com", "oauth2": {"grant": "AuthorizationCode", "clientID": "public"}});
        let asset = watched(&spec);
        let before = asset.asset().unwrap();
        let copy = asset.clone();
        asset.pack();
        assert!(copy.0.body.as_ref().unwrap().fresh().is_none());
        assert_eq!(*copy.asset().unwrap(), *before);
    }

    #[test]
    fn an_asset_without_a_spec_is_one_that_cannot_be_read() {
        assert!(watched(&json!(null)).asset().unwrap_err().starts_with("spec: "));
    }
}
