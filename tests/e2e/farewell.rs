//! The end of an asset whose refresh token is given back (`grantDeletionPolicy: Revoke`).

use emailasset::api::EmailAsset;
use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::support::{Rotation, Stage, until, wait_for, wait_until_gone};

fn revoking(stage: &Stage, asset: &str, rotation: &str, revocation_url: &str) -> Value {
    let spec = json!({"oauth2": {"grantDeletionPolicy": "Revoke", "revocationURL": revocation_url}});
    stage.manifest(asset, rotation, &spec)
}

async fn delete(stage: &Stage, asset: &str) {
    let deleted = stage.assets.delete(asset, &DeleteParams::default()).await;
    deleted.expect("an asset can be deleted");
}

/// The note of the asset's Event with this reason.
async fn told(stage: &Stage, asset: &str, reason: &str) -> String {
    let events: Api<Event> = Api::namespaced(stage.client.clone(), &stage.namespace);
    until(&format!("an Event {reason}"), || async {
        let all = events.list(&ListParams::default()).await.ok()?;
        let of_asset = |event: &&Event| {
            event
                .regarding
                .as_ref()
                .is_some_and(|of| of.name.as_deref() == Some(asset))
        };
        let found = all
            .items
            .iter()
            .filter(of_asset)
            .find(|event| event.reason.as_deref() == Some(reason))?;
        found.note.clone()
    })
    .await
}

#[tokio::test]
async fn the_newest_refresh_token_is_given_back_before_the_asset_goes() {
    let stage = Stage::set("farewell").await;
    let _operator = stage.operator().await;
    stage.server.set_rotation(Rotation::Strict).await;
    stage.seed("leaving").await;
    let url = stage.server.endpoints.revocation_url.clone();
    stage.apply(&revoking(&stage, "leaving", "Strict", &url)).await;
    stage.wait_until_ready("leaving").await;
    stage.request_refresh("leaving", "once more").await;
    stage.wait_for_generation("leaving", 2).await;
    let access_token = stage.access_token("leaving").await;
    assert!(stage.server.introspect(&access_token).await.active);

    delete(&stage, "leaving").await;
    wait_until_gone::<EmailAsset>(&stage.assets, "leaving").await;
    assert!(
        !stage.server.introspect(&access_token).await.active,
        "the whole grant has ended"
    );
    assert!(
        told(&stage, "leaving", "Revoked")
            .await
            .contains("has taken the refresh token")
    );
    wait_until_gone::<Secret>(&stage.secrets, "leaving-grant").await;
}

#[tokio::test]
async fn a_refresh_token_that_does_not_rotate_is_given_back_too() {
    let stage = Stage::set("farewell").await;
    let _operator = stage.operator().await;
    stage.server.set_rotation(Rotation::None).await;
    stage.seed("plain").await;
    let url = stage.server.endpoints.revocation_url.clone();
    stage.apply(&revoking(&stage, "plain", "None", &url)).await;
    stage.wait_until_ready("plain").await;
    let access_token = stage.access_token("plain").await;

    delete(&stage, "plain").await;
    wait_until_gone::<EmailAsset>(&stage.assets, "plain").await;
    assert!(!stage.server.introspect(&access_token).await.active);
}

#[tokio::test]
async fn an_asset_that_is_deleted_while_no_operator_runs_waits_for_the_next_one() {
    let stage = Stage::set("farewell").await;
    let mut operator = stage.operator().await;
    stage.server.set_rotation(Rotation::Strict).await;
    stage.seed("later").await;
    let url = stage.server.endpoints.revocation_url.clone();
    stage.apply(&revoking(&stage, "later", "Strict", &url)).await;
    stage.wait_until_ready("later").await;
    let access_token = stage.access_token("later").await;
    operator.kill().await;
    delete(&stage, "later").await;
    assert!(
        stage
            .assets
            .get("later")
            .await
            .unwrap()
            .metadata
            .deletion_timestamp
            .is_some()
    );
    assert!(stage.server.introspect(&access_token).await.active);

    let _next = stage.operator().await;
    wait_until_gone::<EmailAsset>(&stage.assets, "later").await;
    assert!(!stage.server.introspect(&access_token).await.active);
}

#[tokio::test]
async fn a_refusal_that_stays_does_not_hold_the_asset_and_says_what_is_left_to_do() {
    let stage = Stage::set("farewell").await;
    let _operator = stage.operator().await;
    stage.server.set_rotation(Rotation::Strict).await;
    stage.seed("refused").await;
    let nowhere = format!("{}/no/such/endpoint", stage.server.endpoints.url);
    stage.apply(&revoking(&stage, "refused", "Strict", &nowhere)).await;
    stage.wait_until_ready("refused").await;

    delete(&stage, "refused").await;
    wait_until_gone::<EmailAsset>(&stage.assets, "refused").await;
    let note = told(&stage, "refused", "RevocationFailed").await;
    assert!(
        note.contains("was not given back") && note.contains("remove the app"),
        "{note}"
    );
}

#[tokio::test]
async fn another_policy_takes_the_finalizer_off_and_others_finalizers_stay() {
    let stage = Stage::set("farewell").await;
    let _operator = stage.operator().await;
    stage.server.set_rotation(Rotation::Strict).await;
    stage.seed("undecided").await;
    let url = stage.server.endpoints.revocation_url.clone();
    let mut manifest = revoking(&stage, "undecided", "Strict", &url);
    manifest["metadata"]["finalizers"] = json!(["example.com/theirs"]);
    stage.apply(&manifest).await;
    stage.wait_until_ready("undecided").await;
    let finalizers = |asset: &EmailAsset| asset.metadata.finalizers.clone().unwrap_or_default();
    let held = stage.assets.get("undecided").await.unwrap();
    assert_eq!(finalizers(&held), ["example.com/theirs", "emailasset.dev/revoke"]);

    manifest["spec"]["oauth2"]["grantDeletionPolicy"] = json!("Retain");
    stage.apply(&manifest).await;
    wait_for(&stage.assets, "undecided", "our finalizer is gone", |asset| {
        finalizers(asset) == ["example.com/theirs"]
    })
    .await;
    let none = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    stage
        .assets
        .patch("undecided", &PatchParams::default(), &none)
        .await
        .unwrap();
    delete(&stage, "undecided").await;
    wait_until_gone::<EmailAsset>(&stage.assets, "undecided").await;
    assert!(
        stage.secrets.get_opt("undecided-grant").await.unwrap().is_some(),
        "it was retained"
    );
}
