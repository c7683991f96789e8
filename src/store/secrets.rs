//! Calls to the API server about Secrets, each with a time limit, and none that touches what is not ours.
//!
//! Writes are a POST, or a JSON Patch that tests the resourceVersion, so that each is a compare-and-set (design section 3). Answers are asked for as metadata
//! only: contents that we have just sent need not come back.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{
    ByteString,
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{
    Api, Client,
    api::{DeleteParams, PatchParams, PostParams, Preconditions, Request},
    core::PartialObjectMeta,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::index::{AnnotationChanges, Key, Kind, Seen};
use crate::api::names;

/// Asks for metadata instead of the whole object.
pub const METADATA_ONLY: http::HeaderValue =
    http::HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");

/// Why a call about a Secret failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody wrote in between, or the object is not the one we saw.
    #[error("Secret {0} was changed by somebody else in the meantime")]
    Conflict(Key),
    /// It should be created, and it is there.
    #[error("Secret {0} exists already")]
    Exists(Key),
    /// The namespace is gone or going.
    #[error("namespace {0} is gone or is being deleted")]
    NamespaceGone(String),
    /// No answer in time: the write may have happened or not.
    #[error("the API server did not answer within {} s about Secret {secret}", limit.as_secs())]
    Timeout {
        /// Which Secret.
        secret: Key,
        /// The limit.
        limit: Duration,
    },
    /// Everything else.
    #[error("the API server refused or failed a call about Secret {secret}")]
    Call {
        /// Which Secret.
        secret: Key,
        /// What it said.
        #[source]
        source: Box<kube::Error>,
    },
}

/// The contents of a Secret. It cannot be printed.
pub struct Contents {
    /// What is known of it besides.
    pub seen: Seen,
    data: BTreeMap<String, ByteString>,
}

/// Why a value cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// There is no such key.
    Absent,
    /// It is empty, or white space.
    Empty,
    /// It is not text, or has control characters inside.
    NotText,
}

impl Contents {
    #[cfg(test)]
    pub(super) fn for_tests(seen: Seen, data: &[(&str, &[u8])]) -> Self {
        let data = data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), ByteString(value.to_vec())))
            .collect();
        Self { seen, data }
    }

    /// A text value, trimmed of white space and line ends: people write `echo token | base64`.
    ///
    /// # Errors
    /// [`Unusable`] when there is no text under this key.
    pub fn text(&self, key: &str) -> Result<SecretString, Unusable> {
        let bytes = &self.data.get(key).ok_or(Unusable::Absent)?.0;
        let text = std::str::from_utf8(bytes).map_err(|_| Unusable::NotText)?.trim();
        if text.is_empty() {
            return Err(Unusable::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(Unusable::NotText);
        }
        Ok(SecretString::from(text))
    }

    /// The text of a key that may have several lines.
    ///
    /// # Errors
    /// [`Unusable`] when there is no text under this key.
    pub fn text_file(&self, key: &str) -> Result<SecretString, Unusable> {
        let bytes = &self.data.get(key).ok_or(Unusable::Absent)?.0;
        let text = std::str::from_utf8(bytes).map_err(|_| Unusable::NotText)?.trim();
        if text.is_empty() {
            Err(Unusable::Empty)
        } else {
            Ok(SecretString::from(text))
        }
    }

    /// All text values. Only our own Secrets hold nothing else.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, SecretString> {
        let texts = self
            .data
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), std::str::from_utf8(&value.0).ok()?)));
        texts.map(|(key, text)| (key, SecretString::from(text))).collect()
    }

    /// The keys that are there, for messages.
    #[must_use]
    pub fn keys(&self) -> Vec<&str> {
        self.data.keys().map(String::as_str).collect()
    }
}

/// What a Secret of ours is created with.
pub struct Draft {
    /// Grant or token.
    pub kind: Kind,
    /// Annotations, ours and those that the spec asks for.
    pub annotations: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The owner, if the garbage collector should remove it with its asset.
    pub owner: Option<OwnerReference>,
    /// Contents.
    pub data: BTreeMap<String, SecretString>,
}

/// What is changed in a Secret of ours.
#[derive(Default)]
pub struct Changes {
    /// New contents, whole; none: they stay.
    pub data: Option<BTreeMap<String, SecretString>>,
    /// Our annotations.
    pub annotations: BTreeMap<String, Option<String>>,
    /// Labels.
    pub labels: BTreeMap<String, Option<String>>,
    /// The ownerReferences, whole; none: they stay.
    pub owners: Option<Vec<OwnerReference>>,
}

impl Changes {
    /// Changes annotations only.
    #[must_use]
    pub fn of_annotations(changes: AnnotationChanges) -> Self {
        Self {
            annotations: changes
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
            ..Self::default()
        }
    }
}

/// Is told of each write and how it ended.
pub type OnWrite = Arc<dyn Fn(Kind, Result<(), &StoreError>) + Send + Sync>;

/// Calls to the API server about Secrets.
#[derive(Clone)]
pub struct Secrets {
    client: Client,
    limit: Duration,
    on_write: OnWrite,
}

impl Secrets {
    /// Calls through this client, each within `limit`.
    #[must_use]
    pub const fn new(client: Client, limit: Duration, on_write: OnWrite) -> Self {
        Self {
            client,
            limit,
            on_write,
        }
    }

    /// Reads a Secret with its contents; none when there is no such Secret.
    pub async fn read(&self, key: &Key) -> Result<Option<Contents>, StoreError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &key.namespace);
        let Some(secret) = self.within(key, api.get_opt(&key.name)).await? else {
            return Ok(None);
        };
        let kind = Kind::of(secret.type_.as_deref());
        Ok(Some(Contents {
            seen: Seen::new(kind, secret.metadata),
            data: secret.data.unwrap_or_default(),
        }))
    }

    /// Creates a Secret.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the name is taken, [`StoreError::NamespaceGone`] when nothing can be created there any more.
    pub async fn create(&self, key: &Key, draft: Draft) -> Result<Seen, StoreError> {
        let kind = draft.kind;
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(key.name.to_string()),
                namespace: Some(key.namespace.to_string()),
                annotations: Some(draft.annotations),
                labels: Some(draft.labels),
                owner_references: draft.owner.map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            type_: Some(secret_type(kind).to_owned()),
            data: Some(
                draft
                    .data
                    .iter()
                    .map(|(key, value)| (key.clone(), bytes(value)))
                    .collect(),
            ),
            ..Secret::default()
        };
        let parameters = PostParams {
            field_manager: Some(names::FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let body = serde_json::to_vec(&secret).map_err(|error| self.call(key, kube::Error::SerdeError(error)))?;
        let request = Request::new(url(&key.namespace)).create(&parameters, body);
        let meta = self.written(key, kind, request).await?;
        Ok(Seen::new(kind, meta))
    }

    /// Changes a Secret, if it is still the edition that was seen.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is not, or is gone.
    pub async fn change(&self, key: &Key, seen: &Seen, changes: &Changes) -> Result<Seen, StoreError> {
        let patch: json_patch::Patch = serde_json::from_value(operations(seen, changes))
            .map_err(|error| self.call(key, kube::Error::SerdeError(error)))?;
        let parameters = PatchParams {
            field_manager: Some(names::FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = kube::api::Patch::<()>::Json(patch);
        let request = Request::new(url(&key.namespace)).patch_metadata(&key.name, &parameters, &patch);
        let meta = self.written(key, seen.kind(), request).await?;
        Ok(Seen::new(seen.kind(), meta))
    }

    /// Deletes the very object that was seen. One that is gone already counts as deleted.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another object has its name now.
    pub async fn delete(&self, key: &Key, seen: &Seen) -> Result<(), StoreError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &key.namespace);
        let same = Preconditions {
            uid: Some(seen.uid.clone()),
            resource_version: None,
        };
        let parameters = DeleteParams {
            preconditions: Some(same),
            ..DeleteParams::default()
        };
        let deletion = async {
            match api.delete(&key.name, &parameters).await {
                Ok(_) => Ok(()),
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                Err(error) => Err(error),
            }
        };
        self.within(key, deletion).await
    }

    /// Deletes the very edition that was read, so that of several who would use what it holds one may: whoever gets `Ok`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when somebody else has deleted it, or it has changed: somebody put a finalizer on it and it is going already.
    pub async fn claim(&self, key: &Key, seen: &Seen) -> Result<(), StoreError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &key.namespace);
        let same = Preconditions {
            uid: Some(seen.uid.clone()),
            resource_version: Some(seen.resource_version.clone()),
        };
        let parameters = DeleteParams {
            preconditions: Some(same),
            ..DeleteParams::default()
        };
        self.within(key, api.delete(&key.name, &parameters)).await.map(drop)
    }

    async fn written(
        &self,
        key: &Key,
        kind: Kind,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<ObjectMeta, StoreError> {
        let written = self.metadata(key, request).await;
        (self.on_write)(kind, written.as_ref().map(|_| ()));
        written
    }

    async fn metadata(
        &self,
        key: &Key,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<ObjectMeta, StoreError> {
        let mut request = request.map_err(|error| self.call(key, kube::Error::BuildRequest(error)))?;
        request.headers_mut().insert(http::header::ACCEPT, METADATA_ONLY);
        let answer = self
            .within(key, self.client.request::<PartialObjectMeta<Secret>>(request))
            .await?;
        Ok(answer.metadata)
    }

    async fn within<T>(&self, key: &Key, call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, StoreError> {
        match tokio::time::timeout(self.limit, call).await {
            Ok(answer) => answer.map_err(|error| self.call(key, error)),
            Err(_) => Err(StoreError::Timeout {
                secret: key.clone(),
                limit: self.limit,
            }),
        }
    }

    /// What an error of the API server means here.
    #[expect(clippy::unused_self, reason = "reads as a step of the calls above")]
    fn call(&self, key: &Key, error: kube::Error) -> StoreError {
        if let kube::Error::Api(status) = &error {
            let terminating = status.details.as_ref().is_some_and(|details| {
                details
                    .causes
                    .iter()
                    .any(|cause| cause.reason == "NamespaceTerminating")
            });
            let of_namespace = status
                .details
                .as_ref()
                .is_some_and(|details| details.kind == "namespaces");
            // Such as data of a Secret that somebody made immutable: to try again at once would not help.
            let invalid = status
                .details
                .as_ref()
                .is_some_and(|details| !details.causes.is_empty());
            match status.code {
                404 if of_namespace => return StoreError::NamespaceGone(key.namespace.to_string()),
                403 if terminating => return StoreError::NamespaceGone(key.namespace.to_string()),
                409 if status.reason == "AlreadyExists" => return StoreError::Exists(key.clone()),
                // A JSON Patch whose `test` fails is answered like this, and so is one whose path is gone.
                404 | 409 => return StoreError::Conflict(key.clone()),
                422 if !invalid => return StoreError::Conflict(key.clone()),
                _ => {}
            }
        }
        StoreError::Call {
            secret: key.clone(),
            source: Box::new(error),
        }
    }
}

fn url(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/secrets")
}

const fn secret_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Grant => names::GRANT_SECRET_TYPE,
        Kind::Token => names::TOKEN_SECRET_TYPE,
        Kind::Response => names::RESPONSE_SECRET_TYPE,
        Kind::Other => "Opaque",
    }
}

fn bytes(value: &SecretString) -> ByteString {
    ByteString(value.expose_secret().as_bytes().to_vec())
}

/// The JSON Patch: first the test that makes it a compare-and-set, then what changes.
pub(super) fn operations(seen: &Seen, changes: &Changes) -> Value {
    let mut operations =
        vec![json!({"op": "test", "path": "/metadata/resourceVersion", "value": seen.resource_version})];
    if let Some(data) = &changes.data {
        let data: BTreeMap<&String, ByteString> = data.iter().map(|(key, value)| (key, bytes(value))).collect();
        operations.push(json!({"op": "add", "path": "/data", "value": data}));
    }
    operations.extend(map_operations(
        "annotations",
        &changes.annotations,
        MapState::of(seen.annotated),
    ));
    operations.extend(map_operations("labels", &changes.labels, MapState::of(seen.labelled)));
    if let Some(owners) = &changes.owners {
        operations.push(json!({"op": "add", "path": "/metadata/ownerReferences", "value": owners}));
    }
    Value::Array(operations)
}

/// Whether the map that a patch changes is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MapState {
    Present,
    Absent,
}

impl MapState {
    const fn of(has_entries: bool) -> Self {
        if has_entries { Self::Present } else { Self::Absent }
    }
}

fn map_operations(map: &str, changes: &BTreeMap<String, Option<String>>, state: MapState) -> Vec<Value> {
    if state == MapState::Absent {
        let kept: BTreeMap<&String, &String> = changes
            .iter()
            .filter_map(|(key, value)| Some((key, value.as_ref()?)))
            .collect();
        let path = format!("/metadata/{map}");
        return if kept.is_empty() {
            vec![]
        } else {
            vec![json!({"op": "add", "path": path, "value": kept})]
        };
    }
    let operation = |(key, value): (&String, &Option<String>)| {
        let path = format!("/metadata/{map}/{}", key.replace('~', "~0").replace('/', "~1"));
        match value {
            Some(value) => vec![json!({"op": "add", "path": path, "value": value})],
            // A removal fails where there is nothing to remove: written first, then removed, it never does.
            None => vec![
                json!({"op": "add", "path": path, "value": ""}),
                json!({"op": "remove", "path": path}),
            ],
        }
    };
    changes.iter().flat_map(operation).collect()
}
