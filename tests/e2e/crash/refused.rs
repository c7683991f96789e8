//! The API server takes everything but the status.

use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::evidence::{Evidence, wait_until_request_is_answered};
use crate::support::{Stage, until};

#[tokio::test]
async fn a_status_that_cannot_be_written_causes_no_second_request() {
    let stage = Stage::set("refused").await;
    let mut operator = stage.operator().await;
    let grant = stage.seed("mute").await;
    stage.apply(&stage.manifest("mute", "Strict", &json!({}))).await;
    stage.wait_until_ready("mute").await;

    refuse_statuses(&stage).await;
    stage.request_refresh("mute", "now").await;
    stage.wait_for_generation("mute", 2).await;
    wait_for_refused_statuses(&stage, 2).await;
    operator.kill().await;
    // The next process has only the Secrets to tell it that the request was met.
    let refused = refused_statuses(&stage);
    let _operator = stage.operator().await;
    wait_for_refused_statuses(&stage, refused + 2).await;
    assert_eq!(stage.server.counters_of(&grant).await.requests, 2);

    take_statuses_again(&stage).await;
    wait_until_request_is_answered(&stage, "mute").await;
    let evidence = Evidence::of(&stage, "mute", &grant).await;
    assert_eq!((evidence.generation, evidence.requests), (2, 2), "{evidence:?}");
    stage.assert_token_works("mute").await;
}

/// Statuses that the operator wanted to write, in vain.
fn refused_statuses(stage: &Stage) -> usize {
    let requests = stage.cluster.requests_of(&stage.namespace, "operator");
    let refused = requests
        .iter()
        .filter(|request| request.resource == "emailassets/status" && request.code >= 400);
    refused.count()
}

async fn wait_for_refused_statuses(stage: &Stage, count: usize) {
    until("the operator tries to write the status", || async {
        (refused_statuses(stage) >= count).then_some(())
    })
    .await;
}

async fn refuse_statuses(stage: &Stage) {
    let name = format!("no-status-{}", stage.namespace);
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(stage.client.clone());
    let policy = json!({
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": stage.namespace}},
                "resourceRules": [{
                    "apiGroups": ["emailasset.dev"], "apiVersions": ["*"], "operations": ["UPDATE"],
                    "resources": ["emailassets/status"],
                }],
            },
            "validations": [{"expression": "false", "message": "not now"}],
        },
    });
    let policy = serde_json::from_value(policy).unwrap();
    policies.create(&PostParams::default(), &policy).await.unwrap();
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(stage.client.clone());
    let binding = json!({"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}});
    let binding = serde_json::from_value(binding).unwrap();
    bindings.create(&PostParams::default(), &binding).await.unwrap();
    until("statuses are refused", || async {
        statuses_are_refused(stage).await.then_some(())
    })
    .await;
}

async fn take_statuses_again(stage: &Stage) {
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(stage.client.clone());
    let name = format!("no-status-{}", stage.namespace);
    bindings.delete(&name, &DeleteParams::default()).await.unwrap();
    until("statuses are taken", || async {
        (!statuses_are_refused(stage).await).then_some(())
    })
    .await;
}

async fn statuses_are_refused(stage: &Stage) -> bool {
    let parameters = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let patch = json!({"status": {"observedGeneration": 77}});
    stage
        .assets
        .patch_status("mute", &parameters, &Patch::Merge(&patch))
        .await
        .is_err()
}
