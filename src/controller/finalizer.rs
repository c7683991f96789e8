//! Our finalizer on an asset: the only thing in an asset's metadata that we write (invariant 6).

use std::sync::Arc;

use kube::{
    Resource,
    api::{Patch, PatchParams},
    core::{ObjectMeta, PartialObjectMeta},
    runtime::controller::Action,
};
use serde_json::{Value, json};
use tracing::warn;

use super::{context::Context, pass::AFTER_TROUBLE, redeem::Chain};
use crate::{
    api::{EmailAsset, names},
    store::Key,
};

/// Whether the finalizer should be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Present,
    Absent,
}

/// Why the finalizer is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum FinalizerError {
    /// The API server did not answer in time.
    #[error("the API server did not answer in time")]
    TimedOut,
    /// The API server refused.
    #[error("the API server did not take it")]
    Call(#[source] kube::Error),
    /// The request cannot be put into words, which cannot be.
    #[error("the request cannot be written")]
    Request,
}

/// Whether our finalizer keeps this object.
pub(super) fn is_held(metadata: &ObjectMeta) -> bool {
    metadata
        .finalizers
        .iter()
        .flatten()
        .any(|name| name == names::FINALIZER)
}

/// Whether our finalizer is what keeps an object that was deleted.
pub(super) fn holds_back(metadata: &ObjectMeta) -> bool {
    metadata.deletion_timestamp.is_some() && is_held(metadata)
}

/// Lets an asset go that was deleted and cannot be read: where its grant is given back is not known, and nobody can correct what is deleted.
pub(super) async fn let_unreadable_go(
    context: &Arc<Context>,
    key: &Key,
    metadata: &ObjectMeta,
    problem: &str,
) -> Action {
    warn!(asset = %key, error = %problem, "a deleted asset cannot be read; it goes without its grant being given back");
    match set(
        context,
        key,
        metadata.uid.as_deref().unwrap_or_default(),
        Wanted::Absent,
    )
    .await
    {
        Ok(()) => Action::await_change(),
        Err(error) => {
            warn!(asset = %key, error = %Chain(&error), "the finalizer could not be taken off; trying again in a moment");
            Action::requeue(AFTER_TROUBLE)
        }
    }
}

/// Puts our finalizer on an asset or takes it off. Others' finalizers stay, and an asset that is gone needs nothing.
///
/// # Errors
/// [`FinalizerError`]; also when somebody changed the asset meanwhile: the next pass tries again.
pub(super) async fn set(context: &Arc<Context>, key: &Key, uid: &str, wanted: Wanted) -> Result<(), FinalizerError> {
    let of_namespace = kube::api::Request::new(EmailAsset::url_path(&(), Some(&key.namespace)));
    let request = of_namespace
        .get_subresource("status", &key.name)
        .map_err(|_| FinalizerError::Request)?;
    let Some(metadata) = call(context, request).await? else {
        return Ok(());
    };
    if metadata.uid.as_deref() != Some(uid) || is_held(&metadata) == (wanted == Wanted::Present) {
        return Ok(());
    }
    let patch: json_patch::Patch =
        serde_json::from_value(change(&metadata, wanted)).map_err(|_| FinalizerError::Request)?;
    let parameters = PatchParams {
        field_manager: Some(names::FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let request = of_namespace
        .patch(&key.name, &parameters, &Patch::<()>::Json(patch))
        .map_err(|_| FinalizerError::Request)?;
    call(context, request).await.map(drop)
}

/// The JSON Patch: over the edition that was seen, so that nobody else's finalizer is lost.
fn change(metadata: &ObjectMeta, wanted: Wanted) -> Value {
    let others = metadata
        .finalizers
        .iter()
        .flatten()
        .filter(|name| *name != names::FINALIZER);
    let mut finalizers: Vec<&str> = others.map(String::as_str).collect();
    if wanted == Wanted::Present {
        finalizers.push(names::FINALIZER);
    }
    json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": metadata.resource_version},
        {"op": "add", "path": "/metadata/finalizers", "value": finalizers},
    ])
}

/// The metadata that the API server answers with; none: there is no such object.
async fn call(context: &Context, mut request: http::Request<Vec<u8>>) -> Result<Option<ObjectMeta>, FinalizerError> {
    let accept = crate::store::METADATA_ONLY;
    request.headers_mut().insert(http::header::ACCEPT, accept);
    let call = context.client.request::<PartialObjectMeta<EmailAsset>>(request);
    match tokio::time::timeout(context.settings.api_timeout, call).await {
        Ok(Ok(object)) => Ok(Some(object.metadata)),
        Ok(Err(kube::Error::Api(answer))) if answer.code == 404 => Ok(None),
        Ok(Err(error)) => Err(FinalizerError::Call(error)),
        Err(_) => Err(FinalizerError::TimedOut),
    }
}
