//! The resource as people meet it: what is refused and with which words, the columns, the explanations.

use emailasset::api::EmailAsset;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{Cluster, Rotation, SharedStage};

#[derive(Deserialize)]
struct BadManifests {
    good: Value,
    bad: Vec<Bad>,
}

#[derive(Deserialize)]
struct Bad {
    name: String,
    change: Value,
    field: String,
    message: String,
    #[serde(default)]
    update: bool,
}

#[tokio::test]
async fn the_api_server_refuses_every_bad_manifest_with_a_message_that_helps() {
    let (_, assets) = quiet_namespace().await;
    let manifests: BadManifests = serde_saphyr::from_str(include_str!("../bad_manifests.yaml")).unwrap();
    assert!(manifests.bad.len() >= 25);
    let only_try = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let good: EmailAsset = serde_json::from_value(manifests.good.clone()).unwrap();
    assets
        .create(&PostParams::default(), &good)
        .await
        .expect("the good manifest is good");

    let mut wrong = Vec::new();
    for bad in &manifests.bad {
        let mut manifest = manifests.good.clone();
        merge(&mut manifest, &bad.change);
        let refusal = if bad.update {
            let parameters = PatchParams {
                dry_run: true,
                ..PatchParams::default()
            };
            assets
                .patch("support", &parameters, &Patch::Merge(&manifest))
                .await
                .map(drop)
        } else {
            // Another name, where the name is not the point; some bad values are not even readable as an EmailAsset.
            create_raw(&assets, &manifest, &only_try).await
        };
        match refusal {
            Ok(()) => wrong.push(format!("{}: accepted", bad.name)),
            Err(kube::Error::Api(status)) => {
                let field = bad.field.split('[').next().unwrap_or_default();
                if !status.message.contains(&bad.message) || !status.message.contains(field) {
                    wrong.push(format!("{}: {}", bad.name, status.message));
                }
            }
            Err(error) => panic!("{}: {error}", bad.name),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn an_asset_that_nobody_looked_at_yet_shows_generation_minus_one() {
    let (_, assets) = quiet_namespace().await;
    let made = assets.create(&PostParams::default(), &good()).await.unwrap();
    assert_eq!(made.status.unwrap().observed_generation, Some(-1));
}

#[tokio::test]
async fn the_columns_say_which_mailbox_is_ready_until_when() {
    let stage = SharedStage::join().await;
    stage.settle("columns", Rotation::None, &json!({})).await;
    let namespace = stage.namespace.as_str();
    let table = stage.cluster.kubectl(&["get", "ea", "-n", namespace, "columns"]).await;
    let (header, row) = header_and_row(&table);
    assert_eq!(
        header,
        ["NAME", "EMAIL", "PROVIDER", "READY", "REASON", "EXPIRES", "AGE"]
    );
    let host = stage.host();
    let host = host.split(':').next().unwrap();
    assert_eq!(row[..5], ["columns", "columns@example.com", host, "True", "Fresh"]);
    let expires: jiff::Timestamp = row[5].parse().expect("EXPIRES is a time in RFC 3339");
    assert!(expires > jiff::Timestamp::now());

    let table = stage
        .cluster
        .kubectl(&["get", "ea", "-n", namespace, "columns", "-o", "wide"])
        .await;
    let (header, row) = header_and_row(&table);
    assert_eq!(
        header,
        [
            "NAME", "EMAIL", "PROVIDER", "READY", "REASON", "EXPIRES", "SECRET", "ACCOUNT", "FAILURE", "AGE"
        ]
    );
    assert_eq!(row[6], "columns-token");
}

#[tokio::test]
async fn applying_a_manifest_again_changes_nothing() {
    let stage = SharedStage::join().await;
    stage
        .settle("drift", Rotation::Strict, &json!({"renewBefore": "20m"}))
        .await;
    let manifest = stage.manifest("drift", "Strict", &json!({"renewBefore": "20m"}));
    let before = stage.assets.get("drift").await.unwrap();
    let after = stage.apply(&manifest).await;
    assert_eq!(after.metadata.resource_version, before.metadata.resource_version);

    let file = crate::support::run_directory().join("drift.json");
    std::fs::write(&file, manifest.to_string()).unwrap();
    let file = file.to_str().unwrap();
    let namespace = stage.namespace.as_str();
    stage.cluster.kubectl(&["apply", "-n", namespace, "-f", file]).await;
    let second = stage.cluster.kubectl(&["apply", "-n", namespace, "-f", file]).await;
    assert!(second.ends_with("unchanged\n"), "{second}");
    // It fails when there is a difference.
    let difference = stage.cluster.kubectl(&["diff", "-n", namespace, "-f", file]).await;
    assert_eq!(difference, "");
}

#[tokio::test]
async fn kubectl_explains_every_field() {
    let (cluster, _) = quiet_namespace().await;
    let mut unexplained = Vec::new();
    let mut fields = vec!["emailasset".to_owned()];
    while let Some(field) = fields.pop() {
        let text = cluster.kubectl(&["explain", &field]).await;
        let (_, rest) = text.split_once("DESCRIPTION:").unwrap_or(("", ""));
        let (description, below) = rest.split_once("FIELDS:").unwrap_or((rest, ""));
        if description.contains("<empty>") || description.trim().len() < 10 {
            unexplained.push(field.clone());
        }
        for line in below.lines() {
            // Only objects of our own are looked into; the others are explained on this page.
            let Some((name, rest)) = line.strip_prefix("  ").and_then(|line| line.split_once('\t')) else {
                continue;
            };
            let ours = rest.starts_with("<Object>") || rest.starts_with("<[]Object>");
            if ours && !["metadata"].contains(&name) && !name.starts_with(' ') {
                fields.push(format!("{field}.{}", name.trim()));
            }
        }
        assert!(!below.contains("<no description>"), "{text}");
    }
    assert!(unexplained.is_empty(), "{unexplained:?}");
    let text = cluster
        .kubectl(&["explain", "emailasset.spec.oauth2.refreshTokenSecretRef"])
        .await;
    assert!(text.contains("-required-"), "{text}");
}

/// A namespace that no operator watches.
async fn quiet_namespace() -> (&'static Cluster, Api<EmailAsset>) {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("resource").await;
    (cluster, Api::namespaced(cluster.client().await, &namespace))
}

fn good() -> EmailAsset {
    let manifests: BadManifests = serde_saphyr::from_str(include_str!("../bad_manifests.yaml")).unwrap();
    serde_json::from_value(manifests.good).unwrap()
}

async fn create_raw(assets: &Api<EmailAsset>, manifest: &Value, parameters: &PostParams) -> Result<(), kube::Error> {
    let request = kube::api::Request::new(assets.resource_url());
    let body = serde_json::to_vec(manifest).unwrap();
    let request = request.create(parameters, body).unwrap();
    let client = assets.clone().into_client();
    client.request::<Value>(request).await.map(drop)
}

fn header_and_row(table: &str) -> (Vec<&str>, Vec<&str>) {
    let mut lines = table.lines().map(|line| line.split_whitespace().collect());
    (lines.next().unwrap(), lines.next().unwrap())
}

/// As a JSON merge patch does it: null takes a field away.
fn merge(into: &mut Value, over: &Value) {
    let (Value::Object(into), Value::Object(over)) = (&mut *into, over) else {
        *into = over.clone();
        return;
    };
    for (key, value) in over {
        if value.is_null() {
            into.remove(key);
        } else {
            merge(into.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}
