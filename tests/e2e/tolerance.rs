//! Bad input never stops the operator: not a resource that it cannot read, not a status of a megabyte. Each gets a
//! condition that says so, and all other assets go on.

use emailasset::api::ConditionType::{Ready, Stalled};
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use crate::support::{Cluster, Rotation, Stage, condition, run_directory, until, wait_for};

#[tokio::test]
async fn what_cannot_be_read_is_said_on_the_asset_itself_and_the_others_go_on() {
    // A cluster of its own, whose resource definition accepts what ours would not: one of a later version, perhaps.
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::own().await));
    let stage = Stage::set_in(cluster, "tolerance").await;
    loosen_the_crd(cluster).await;
    let raw = raw_api(&stage);
    stage.server.set_rotation(Rotation::None).await;
    for asset in ["sane", "wizard", "texty", "garbled", "bloated"] {
        stage.seed(asset).await;
    }
    let mut operator = stage.operator().await;
    stage.apply(&stage.manifest("sane", "None", &json!({}))).await;
    stage.wait_until_ready("sane").await;

    // A value of an enum that this version does not know, and a value of another type.
    for (asset, spec) in [
        ("wizard", json!({"oauth2": {"grant": "Wizardry"}})),
        ("texty", json!({"suspend": "perhaps"})),
    ] {
        put(&raw, &stage.manifest(asset, "None", &spec)).await;
        let said = wait_for(&raw, asset, "it is said to be unreadable", |asset| {
            reason(asset, "Ready").is_some_and(|(_, reason, _)| reason == "InvalidSpec")
        })
        .await;
        let (status, _, message) = reason(&said, "Ready").unwrap();
        assert_eq!(status, "False");
        assert!(
            message.contains("cannot be read") && message.contains("Correct"),
            "{message}"
        );
        assert!(reason(&said, "Stalled").is_some());
        assert_eq!(said.data["status"]["observedGeneration"], json!(1));
    }
    // Nobody can correct what is deleted: it is let go.
    let mut parting = stage.manifest("parting", "None", &json!({"oauth2": {"grant": "Wizardry"}}));
    parting["metadata"]["finalizers"] = json!(["emailasset.dev/revoke"]);
    put(&raw, &parting).await;
    raw.delete("parting", &DeleteParams::default()).await.unwrap();
    until("the unreadable asset is gone", || async {
        raw.get_opt("parting").await.unwrap().is_none().then_some(())
    })
    .await;
    // A value that can be read and that the loose definition let through: the rules are in the code as well.
    put(
        &raw,
        &stage.manifest("garbled", "None", &json!({"email": "garbled@example.com\nand more"})),
    )
    .await;
    let said = stage.wait_for_condition("garbled", Ready, "False", "InvalidSpec").await;
    assert!(condition(&said, Ready).unwrap().2.contains("spec.email"));
    assert!(condition(&said, Stalled).is_some());

    // Statuses that somebody else wrote: one of a megabyte, and one of another shape.
    put(&raw, &stage.manifest("bloated", "None", &json!({}))).await;
    stage.wait_until_ready("bloated").await;
    let huge = json!({"status": {"failure": {"message": "x".repeat(1_000_000)}}});
    write_status(&raw, "bloated", &huge).await;
    stage.request_refresh("bloated", "after-huge").await;
    stage.wait_for_generation("bloated", 2).await;
    wait_for(&raw, "bloated", "the huge status is gone", |asset| {
        asset.data.to_string().len() < 10_000
    })
    .await;
    write_status(&raw, "bloated", &json!({"status": {"conditions": "none", "token": 7}})).await;
    wait_for(&raw, "bloated", "the status is mended", |asset| {
        asset.data["status"]["conditions"].is_array()
    })
    .await;
    stage.wait_until_ready("bloated").await;

    goes_on(&stage, 2).await;
    // Also with all of them there from the start.
    operator.terminate();
    assert!(operator.wait().await.success());
    let operator = stage.operator().await;
    goes_on(&stage, 3).await;
    assert!(
        !operator.log().contains("panicked"),
        "{}",
        operator.log_file().display()
    );

    // What was corrected comes to life.
    put(&raw, &stage.manifest("wizard", "None", &json!({}))).await;
    stage.wait_until_ready("wizard").await;
    stage.assert_token_works("wizard").await;
}

async fn goes_on(stage: &Stage, generation: u64) {
    stage.request_refresh("sane", &format!("generation-{generation}")).await;
    stage.wait_for_generation("sane", generation).await;
    stage.assert_token_works("sane").await;
}

/// Takes all bounds off the spec's surprises and the whole shape off the status.
async fn loosen_the_crd(cluster: &Cluster) {
    let name = "emailassets.emailasset.dev";
    let text = cluster.kubectl(&["get", "crd", name, "-o", "json"]).await;
    let mut crd: Value = serde_json::from_str(&text).unwrap();
    let schema = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    without_rules(schema);
    let anything = json!({"x-kubernetes-preserve-unknown-fields": true});
    for path in [
        "/properties/spec/properties/oauth2/properties/grant",
        "/properties/spec/properties/suspend",
        "/properties/status",
    ] {
        *schema.pointer_mut(path).expect("the schema has this field") = anything.clone();
    }
    let file = run_directory().join("loose-crd.json");
    std::fs::write(&file, crd.to_string()).unwrap();
    cluster.kubectl(&["replace", "-f", file.to_str().unwrap()]).await;
}

fn without_rules(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.remove("x-kubernetes-validations");
            fields.values_mut().for_each(without_rules);
        }
        Value::Array(items) => items.iter_mut().for_each(without_rules),
        _ => {}
    }
}

fn raw_api(stage: &Stage) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("emailasset.dev", "v1alpha1", "EmailAsset");
    let resource = ApiResource::from_gvk_with_plural(&kind, "emailassets");
    Api::namespaced_with(stage.client.clone(), &stage.namespace, &resource)
}

/// Applies it as soon as the API server has taken in the loose definition.
async fn put(raw: &Api<DynamicObject>, manifest: &Value) {
    let name = manifest["metadata"]["name"].as_str().unwrap();
    let parameters = PatchParams::apply("person").force();
    until("the loose definition lets it in", || async {
        raw.patch(name, &parameters, &Patch::Apply(manifest)).await.ok()
    })
    .await;
}

async fn write_status(raw: &Api<DynamicObject>, name: &str, status: &Value) {
    let parameters = PatchParams::default();
    raw.patch_status(name, &parameters, &Patch::Merge(status))
        .await
        .expect("an admin may write a status");
}

fn reason(asset: &DynamicObject, kind: &str) -> Option<(String, String, String)> {
    let conditions = asset.data["status"]["conditions"].as_array()?;
    let said = conditions.iter().find(|condition| condition["type"] == kind)?;
    let text = |field: &str| said[field].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason"), text("message")))
}
