//! What the Secrets, the spool and the authorization server say about one grant.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::{Stage, generation_of, wait_for};

const ATTEMPT: &str = "emailasset.dev/attempt";
const UNANSWERED: &str = "emailasset.dev/unanswered";
const TIMES: [&str; 2] = ["emailasset.dev/issue-time", "emailasset.dev/expiration-time"];

/// One grant, as the cluster and the server know it.
#[derive(Debug)]
pub(crate) struct Evidence {
    /// Answers that were stored.
    pub(crate) generation: u64,
    /// The stored refresh token was not redeemed yet, and the server accepts it.
    pub(crate) alive: bool,
    /// The grant Secret says that an answer is lost.
    pub(crate) unanswered: bool,
    /// The grant Secret says that somebody is at it.
    pub(crate) attempted: bool,
    /// Requests that reached the server.
    pub(crate) requests: u64,
    /// Tokens that the server has sent. They may not have been read.
    pub(crate) sent: u64,
    /// The most of them that were under way at a time.
    pub(crate) max_overlapping: u64,
    /// Whether the server ended the grant because a spent token came back.
    pub(crate) killed_by_replay: bool,
}

impl Evidence {
    /// Collects it for an asset whose first answer was stored.
    pub(crate) async fn of(stage: &Stage, asset: &str, grant: &str) -> Self {
        let secret = stage
            .secrets
            .get(&format!("{asset}-grant"))
            .await
            .expect("there is a grant Secret");
        let counters = stage.server.counters_of(grant).await;
        let stored = crate::support::text(&secret, "refresh_token");
        Self {
            generation: generation_of(&secret).expect("a grant Secret has a generation"),
            alive: stage.server.introspect(&stored).await.active,
            unanswered: annotation(&secret, UNANSWERED).is_some(),
            attempted: annotation(&secret, ATTEMPT).is_some(),
            requests: counters.requests,
            sent: counters.answered_with_token,
            max_overlapping: counters.max_overlapping,
            killed_by_replay: counters.killed_by_replay > 0,
        }
    }

    /// Asserts what no failure excuses: requests of one grant never overlap, and no spent token is shown to the server.
    pub(crate) fn assert_never_redeemed_twice(&self, asset: &str) {
        assert!(self.max_overlapping <= 1, "{asset}: two requests at a time: {self:?}");
        assert!(!self.killed_by_replay, "{asset}: a spent token was sent: {self:?}");
    }
}

/// The process that has an attempt open, as its attempt names it.
pub(crate) fn holder(secret: &Secret) -> Option<String> {
    let attempt: Value = serde_json::from_str(annotation(secret, ATTEMPT)?).expect("JSON");
    Some(attempt["holder"].as_str().expect("an attempt has a holder").to_owned())
}

/// An annotation of a Secret.
pub(crate) fn annotation<'a>(secret: &'a Secret, key: &str) -> Option<&'a str> {
    secret.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// Waits until no attempt is open for an asset that was redeemed before.
pub(crate) async fn wait_until_no_attempt_is_open(stage: &Stage, asset: &str) {
    wait_for(
        &stage.secrets,
        &format!("{asset}-grant"),
        "has no open attempt",
        |secret| annotation(secret, ATTEMPT).is_none(),
    )
    .await;
}

/// Waits until the asset's status says that its request for a refresh, if there was one, was answered.
pub(crate) async fn wait_until_request_is_answered(stage: &Stage, asset: &str) {
    wait_for(&stage.assets, asset, "has an answer to its request", |asset| {
        let annotations = asset.metadata.annotations.as_ref();
        let asked = annotations.and_then(|all| all.get("emailasset.dev/refresh"));
        let status = asset.status.as_ref();
        let handled = status.and_then(|status| status.handled_requests.as_ref());
        handled.and_then(|handled| handled.refresh.as_ref()) == asked
    })
    .await;
}

/// The assets whose answers wait in a spool directory. No operator may be running on it, or names may be missing.
pub(crate) fn spooled(spool: &Path) -> Vec<String> {
    let files = std::fs::read_dir(spool).expect("the spool is a directory").flatten();
    let entries = files.filter(|file| {
        let name = file.file_name().to_string_lossy().into_owned();
        name.contains("answer")
    });
    let contents = entries.filter_map(|file| std::fs::read(file.path()).ok());
    contents
        .filter_map(|content| {
            let content = String::from_utf8_lossy(&content).into_owned();
            // A file that was cut off by the kill holds no answer yet.
            let (_, name) = content.split_once("\"name\":\"")?;
            Some(name.split_once('"')?.0.to_owned())
        })
        .collect()
}

/// Moves what the cluster says about an asset's times into the past, as if so much time had gone by. No operator may be running.
pub(crate) async fn let_time_pass(stage: &Stage, asset: &str, time: SignedDuration) {
    let earlier = |text: &str| {
        let moment: Timestamp = text.parse().expect("a time in RFC 3339");
        (moment - time).to_string()
    };
    for name in [format!("{asset}-grant"), format!("{asset}-token")] {
        let Some(secret) = stage.secrets.get_opt(&name).await.expect("a Secret can be read") else {
            continue;
        };
        let mut changes = serde_json::Map::new();
        for key in TIMES {
            changes.extend(annotation(&secret, key).map(|text| (key.to_owned(), json!(earlier(text)))));
        }
        if let Some(text) = annotation(&secret, UNANSWERED) {
            let mut tries: Value = serde_json::from_str(text).expect("JSON");
            for tried in tries.as_array_mut().expect("a list") {
                tried["since"] = json!(earlier(tried["since"].as_str().expect("a time")));
            }
            changes.insert(UNANSWERED.to_owned(), json!(tries.to_string()));
        }
        let patch = json!({"metadata": {"annotations": changes}});
        let patched = stage
            .secrets
            .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await;
        patched.expect("a Secret can be changed");
    }
    let status = stage
        .assets
        .get(asset)
        .await
        .expect("the asset is there")
        .status
        .unwrap_or_default();
    let Some(failure) = status.failure else { return };
    let mut times = serde_json::to_value(failure).expect("JSON");
    times
        .as_object_mut()
        .expect("an object")
        .retain(|key, _| key.ends_with("Time"));
    for moment in times.as_object_mut().expect("an object").values_mut() {
        *moment = json!(earlier(moment.as_str().expect("a time")));
    }
    let patch = json!({"status": {"failure": times}});
    let patched = stage
        .assets
        .patch_status(asset, &PatchParams::default(), &Patch::Merge(&patch))
        .await;
    patched.expect("a status can be changed");
}
