//! Writing a status, and the Events that tell of its turns.

use std::sync::Arc;

use fail::fail_point;
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::{ObjectMeta, PartialObjectMeta},
    runtime::events::{Event, EventType},
};
use serde_json::json;
use tracing::{debug, warn};

use super::{context::Context, lean::Watched, redeem::Chain};
use crate::{
    api::{ConditionType, EmailAsset, EmailAssetStatus, Reason, names},
    lifecycle,
    store::Key,
    telemetry::metrics::{Resource as Written, WriteResult},
};

/// Longer notes are refused by the API server.
const LONGEST_NOTE: usize = 1000;

/// Which status may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// Any: this replica leads, and nobody else writes.
    Anything,
    /// The one that this pass has seen. This replica leads no more: what another has written since is newer.
    WhatWasSeen,
}

/// Writes the status, if it says anything new, and the Events of its turns. False when the API server did not take it.
pub(super) async fn write(
    context: &Arc<Context>,
    key: &Key,
    asset: &EmailAsset,
    status: &EmailAssetStatus,
    adopted: bool,
    over: Over,
) -> bool {
    let shown = context.registry.status(key, asset.status.as_ref());
    let owed = context.registry.owes_status(key);
    if *status == shown && !owed {
        return true;
    }
    // The watch may not show our last write yet, whose turns were told already.
    let turns = turns(if owed { asset.status.as_ref() } else { Some(&shown) }, status);
    drop(shown);
    let mut operations = vec![json!({"op": "add", "path": "/status", "value": status})];
    if over == Over::WhatWasSeen {
        let seen = asset.resource_version().unwrap_or_default();
        operations.insert(
            0,
            json!({"op": "test", "path": "/metadata/resourceVersion", "value": seen}),
        );
    }
    let Ok(patch) = serde_json::from_value::<json_patch::Patch>(operations.into()) else {
        return false;
    };
    let parameters = PatchParams {
        field_manager: Some(names::FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let request = kube::api::Request::new(EmailAsset::url_path(&(), Some(&key.namespace))).patch_subresource(
        "status",
        &key.name,
        &parameters,
        &Patch::<()>::Json(patch),
    );
    let Ok(mut request) = request else { return false };
    request
        .headers_mut()
        .insert(http::header::ACCEPT, crate::store::METADATA_ONLY);
    fail_point!("before-status", |_| std::process::abort());
    let call = context.client.request::<PartialObjectMeta<EmailAsset>>(request);
    match tokio::time::timeout(context.settings.api_timeout, call).await {
        Ok(Ok(written)) => {
            fail_point!("after-status", |_| std::process::abort());
            context.metrics.wrote(Written::Status, WriteResult::Written);
            context
                .registry
                .wrote_status(key, status.clone(), number(&written.metadata));
            tell(context, asset, turns, adopted).await;
            true
        }
        Ok(Err(kube::Error::Api(answer))) if answer.code == 404 => {
            debug!(asset = %key, "the asset is gone; its status goes with it");
            true
        }
        // A JSON Patch whose `test` fails is answered like this.
        Ok(Err(kube::Error::Api(answer))) if answer.code == 422 && over == Over::WhatWasSeen => {
            debug!(asset = %key, "another replica leads and has written a newer status");
            true
        }
        Ok(Err(error)) => {
            context.metrics.wrote(Written::Status, WriteResult::Failed);
            warn!(asset = %key, error = %Chain(&error), "the status could not be written; trying again");
            context.registry.could_not_write_status(key, status.clone());
            false
        }
        Err(_) => {
            context.metrics.wrote(Written::Status, WriteResult::Failed);
            warn!(asset = %key, "the API server did not take the status in time; trying again");
            context.registry.could_not_write_status(key, status.clone());
            false
        }
    }
}

fn number(metadata: &ObjectMeta) -> Option<u128> {
    metadata
        .resource_version
        .as_deref()
        .and_then(|version| version.parse().ok())
}

/// Makes Events of the turns between two statuses.
async fn tell(context: &Arc<Context>, asset: &EmailAsset, turns: Vec<Turn>, adopted: bool) {
    let mut events = turns;
    if adopted {
        let note = "Took up the grant that an earlier EmailAsset of this name and mailbox left.".to_owned();
        events.insert(0, (EventType::Normal, "GrantAdopted".to_owned(), note));
    }
    let reference = asset.object_ref(&());
    for (type_, reason, note) in events {
        let event = Event {
            type_,
            reason,
            note: Some(cut(note)),
            action: "Refresh".to_owned(),
            secondary: None,
        };
        let call = context.recorder.publish(&event, &reference);
        match tokio::time::timeout(context.settings.api_timeout, call).await {
            Ok(Ok(())) => context.metrics.wrote(Written::Event, WriteResult::Written),
            Ok(Err(error)) => {
                context.metrics.wrote(Written::Event, WriteResult::Failed);
                debug!(asset = %asset.name_any(), error = %Chain(&error), "an Event was not taken");
            }
            Err(_) => context.metrics.wrote(Written::Event, WriteResult::Failed),
        }
    }
}

/// Type, reason and note of an Event.
type Turn = (EventType, String, String);

/// Turns of Ready, Refreshed and Authorized. Repeats, routine refreshes and the first Ready are none.
fn turns(before: Option<&EmailAssetStatus>, now: &EmailAssetStatus) -> Vec<Turn> {
    let mut events: Vec<Turn> = Vec::new();
    for kind in [
        ConditionType::Ready,
        ConditionType::Refreshed,
        ConditionType::Authorized,
    ] {
        let Some(after) = lifecycle::condition(&now.conditions, kind) else {
            continue;
        };
        let earlier = before.and_then(|before| lifecycle::condition(&before.conditions, kind));
        if earlier.is_some_and(|earlier| earlier.status == after.status && earlier.reason == after.reason) {
            continue;
        }
        let silent = match after.status.as_str() {
            "True" => {
                earlier.is_none_or(|earlier| earlier.status != "False" || earlier.reason == Reason::Pending.as_str())
            }
            "False" => after.reason == Reason::Pending.as_str(),
            _ => true,
        };
        let told = events
            .iter()
            .any(|(_, reason, note)| *reason == after.reason || *note == after.message);
        if !silent && !told {
            let type_ = if after.status == "True" {
                EventType::Normal
            } else {
                EventType::Warning
            };
            let reason = if after.status == "True" {
                kind.as_str().to_owned()
            } else {
                after.reason.clone()
            };
            events.push((type_, reason, after.message.clone()));
        }
    }
    events
}

fn cut(note: String) -> String {
    if note.len() <= LONGEST_NOTE {
        return note;
    }
    let most = LONGEST_NOTE.saturating_sub('…'.len_utf8());
    let end = (0..=most).rev().find(|end| note.is_char_boundary(*end));
    let mut note = note;
    note.truncate(end.unwrap_or_default());
    note.push('…');
    note
}

/// Says of an asset that cannot be read what is wrong with it, once.
pub(super) async fn write_unreadable(context: &Arc<Context>, key: &Key, asset: &Watched) {
    let Err(problem) = &asset.0 else { return };
    let metadata = &problem.metadata;
    let message = format!(
        "This EmailAsset cannot be read by the operator that is running: {}. Correct the field, or run an operator that knows it.",
        problem.error.chars().take(300).collect::<String>()
    );
    let api: Api<kube::core::DynamicObject> = Api::namespaced_with(
        context.client.clone(),
        &key.namespace,
        &kube::core::ApiResource::erase::<EmailAsset>(&()),
    );
    let limit = context.settings.api_timeout;
    let Ok(Ok(raw)) = tokio::time::timeout(limit, api.get_status(&key.name)).await else {
        return;
    };
    let shown: Option<EmailAssetStatus> = raw
        .data
        .get("status")
        .and_then(|status| serde_json::from_value(status.clone()).ok());
    let said = |kind: ConditionType| {
        let shown = shown
            .as_ref()
            .and_then(|status| lifecycle::condition(&status.conditions, kind));
        shown.is_some_and(|shown| shown.message == message)
    };
    if said(ConditionType::Stalled) {
        return;
    }
    warn!(asset = %key, error = %problem.error, "an asset cannot be read");
    let mut status = shown.unwrap_or_default();
    status.observed_generation = metadata.generation;
    let kept = [ConditionType::Ready, ConditionType::Stalled, ConditionType::Reconciling].map(ConditionType::as_str);
    status
        .conditions
        .retain(|condition| !kept.contains(&condition.type_.as_str()));
    for (kind, is) in [(ConditionType::Ready, "False"), (ConditionType::Stalled, "True")] {
        status
            .conditions
            .push(k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition {
                type_: kind.as_str().to_owned(),
                status: is.to_owned(),
                reason: Reason::InvalidSpec.as_str().to_owned(),
                message: message.clone(),
                last_transition_time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(super::observe::now()),
                observed_generation: metadata.generation,
            });
    }
    let patch: Result<json_patch::Patch, _> =
        serde_json::from_value(json!([{"op": "add", "path": "/status", "value": status}]));
    let Ok(patch) = patch else { return };
    let parameters = PatchParams {
        field_manager: Some(names::FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::<()>::Json(patch);
    let call = api.patch_status(&key.name, &parameters, &patch);
    if let Ok(Err(error)) = tokio::time::timeout(limit, call).await {
        warn!(asset = %key, error = %Chain(&error), "the status of an unreadable asset could not be written");
    }
}
