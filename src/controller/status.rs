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

use super::{
    context::Context,
    redeem::Chain,
    registry::{Debt, Edition},
};
use crate::{
    api::{ConditionType, EmailAsset, EmailAssetStatus, Reason, names},
    lifecycle,
    store::Key,
    telemetry::metrics::{Resource as Written, WriteResult},
};

/// Longer notes are refused by the API server.
const LONGEST_NOTE: usize = 1000;

/// Tries of one write, when others change the asset at the same time.
const MOST_TRIES: usize = 4;

/// Writes the status, if it says anything new, and the Events of its turns. False when the API server did not take it.
///
/// The write is refused when anybody has changed the asset since this pass saw it. That may be a new leader: of a process that was frozen in the middle of a pass
/// nothing may come later than what its successor wrote. Whoever still leads looks again and repeats the write.
pub(super) async fn write(
    context: &Arc<Context>,
    key: &Key,
    asset: &EmailAsset,
    edition: &Edition,
    status: &EmailAssetStatus,
    adopted: bool,
) -> bool {
    let told = match edition.debt {
        Debt::Owed => asset.status.as_ref(),
        Debt::None if *status == edition.status => return true,
        // The watch may not show our last write yet, whose turns were told already.
        Debt::None => Some(&edition.status),
    };
    let turns = turns(told, status);
    let mut over = edition.version;
    for _ in 0..MOST_TRIES {
        fail_point!("before-status", |_| std::process::abort());
        match replace(context, key, over, status).await {
            Replaced::Written(version) => {
                fail_point!("after-status", |_| std::process::abort());
                context.metrics.wrote(Written::Status, WriteResult::Written);
                context.registry.wrote_status(key, status.clone(), version);
                tell(context, asset, turns, adopted).await;
                return true;
            }
            Replaced::AssetIsGone => {
                debug!(asset = %key, "the asset is gone; its status goes with it");
                return true;
            }
            Replaced::Changed => context.metrics.wrote(Written::Status, WriteResult::Conflict),
            Replaced::Failed => break,
        }
        if context.fence.open().is_none() {
            debug!(asset = %key, "this replica leads no more, and the asset has changed since");
            return true;
        }
        match version_now(context, key).await {
            Some(now) if Some(now) != over => over = Some(now),
            // Nobody has changed it: the status itself is not taken, which is ours to mend.
            Some(_) => {
                warn!(asset = %key, "the API server refuses the status; please report this");
                break;
            }
            None => break,
        }
    }
    context.metrics.wrote(Written::Status, WriteResult::Failed);
    context.registry.could_not_write_status(key, status.clone());
    false
}

/// How a try to replace the status ended.
enum Replaced {
    /// The asset now has this version.
    Written(Option<u128>),
    /// The asset is not the one that was seen.
    Changed,
    AssetIsGone,
    Failed,
}

async fn replace(context: &Context, key: &Key, over: Option<u128>, status: &EmailAssetStatus) -> Replaced {
    let Some(request) = request(key, over, status) else {
        return Replaced::Failed;
    };
    let call = context.client.request::<PartialObjectMeta<EmailAsset>>(request);
    match tokio::time::timeout(context.settings.api_timeout, call).await {
        Ok(Ok(written)) => Replaced::Written(number(&written.metadata)),
        Ok(Err(kube::Error::Api(answer))) if answer.code == 404 => Replaced::AssetIsGone,
        // A JSON Patch whose `test` fails is answered with 422, one that met another write with 409.
        Ok(Err(kube::Error::Api(answer))) if over.is_some() && matches!(answer.code, 409 | 422) => Replaced::Changed,
        Ok(Err(error)) => {
            warn!(asset = %key, error = %Chain(&error), "the status could not be written; trying again");
            Replaced::Failed
        }
        Err(_) => {
            warn!(asset = %key, "the API server did not take the status in time; trying again");
            Replaced::Failed
        }
    }
}

async fn version_now(context: &Context, key: &Key) -> Option<u128> {
    let of_namespace = kube::api::Request::new(EmailAsset::url_path(&(), Some(&key.namespace)));
    let request = of_namespace.get_subresource("status", &key.name).ok()?;
    let call = context
        .client
        .request::<PartialObjectMeta<EmailAsset>>(metadata_only(request));
    let found = tokio::time::timeout(context.settings.api_timeout, call).await;
    number(&found.ok()?.ok()?.metadata)
}

/// The request that replaces the status; none where it cannot be put into words, which cannot be.
fn request(key: &Key, over: Option<u128>, status: &EmailAssetStatus) -> Option<http::Request<Vec<u8>>> {
    let mut operations = vec![json!({"op": "add", "path": "/status", "value": status})];
    if let Some(seen) = over {
        let test = json!({"op": "test", "path": "/metadata/resourceVersion", "value": seen.to_string()});
        operations.insert(0, test);
    }
    let patch: json_patch::Patch = serde_json::from_value(operations.into()).ok()?;
    let parameters = PatchParams {
        field_manager: Some(names::FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let of_namespace = kube::api::Request::new(EmailAsset::url_path(&(), Some(&key.namespace)));
    let patch = Patch::<()>::Json(patch);
    let request = of_namespace.patch_subresource("status", &key.name, &parameters, &patch);
    Some(metadata_only(request.ok()?))
}

/// Asks for metadata in the answer: what was sent need not come back.
fn metadata_only(mut request: http::Request<Vec<u8>>) -> http::Request<Vec<u8>> {
    let accept = crate::store::METADATA_ONLY;
    request.headers_mut().insert(http::header::ACCEPT, accept);
    request
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
    for turn in events {
        announce(context, asset, turn).await;
    }
}

/// Makes one Event.
pub(super) async fn announce(context: &Arc<Context>, asset: &EmailAsset, (type_, reason, note): Turn) {
    let event = Event {
        type_,
        reason,
        note: Some(cut(note)),
        action: "Refresh".to_owned(),
        secondary: None,
    };
    let reference = asset.object_ref(&());
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

/// Type, reason and note of an Event.
pub(super) type Turn = (EventType, String, String);

/// Turns of Ready, Refreshed and Authorized, and the notice that a grant will end. Repeats, routine refreshes and the first Ready are none.
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
        let warns = after.status != "True" || after.reason == Reason::GrantEnding.as_str();
        let silent = match after.status.as_str() {
            "True" if warns => false,
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
            let (type_, reason) = if warns {
                (EventType::Warning, after.reason.clone())
            } else {
                (EventType::Normal, kind.as_str().to_owned())
            };
            events.push((type_, reason, after.message.clone()));
        }
    }
    events
}

pub(super) fn cut(note: String) -> String {
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
pub(super) async fn write_unreadable(context: &Arc<Context>, key: &Key, metadata: &ObjectMeta, problem: &str) {
    let message = format!(
        "This EmailAsset cannot be read by the operator that is running: {}. Correct the field, or run an operator that knows it.",
        problem.chars().take(300).collect::<String>()
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
    warn!(asset = %key, error = %problem, "an asset cannot be read");
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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

    use super::*;

    fn authorized(status: &str, reason: Reason) -> EmailAssetStatus {
        EmailAssetStatus {
            conditions: vec![Condition {
                type_: ConditionType::Authorized.as_str().to_owned(),
                status: status.to_owned(),
                reason: reason.as_str().to_owned(),
                message: format!("{reason}."),
                last_transition_time: Time(Timestamp::UNIX_EPOCH),
                observed_generation: None,
            }],
            ..EmailAssetStatus::default()
        }
    }

    fn told(before: Option<&EmailAssetStatus>, now: &EmailAssetStatus) -> Vec<String> {
        let name = |type_: EventType| {
            if type_ == EventType::Warning {
                "Warning"
            } else {
                "Normal"
            }
        };
        let turns = turns(before, now).into_iter();
        turns
            .map(|(type_, reason, _)| format!("{} {reason}", name(type_)))
            .collect()
    }

    #[test]
    fn that_a_grant_will_end_is_a_warning_once_though_it_still_works() {
        let stored = authorized("True", Reason::Stored);
        let ending = authorized("True", Reason::GrantEnding);
        assert_eq!(told(Some(&stored), &ending), ["Warning GrantEnding"]);
        assert_eq!(told(None, &ending), ["Warning GrantEnding"]);
        assert!(told(Some(&ending), &ending).is_empty());
        assert!(told(Some(&ending), &stored).is_empty());
        assert_eq!(
            told(Some(&authorized("False", Reason::GrantRevoked)), &stored),
            ["Normal Authorized"]
        );
    }
}
