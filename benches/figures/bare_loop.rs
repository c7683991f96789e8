//! The limit: what any controller must do for each object, and no logic at all.
//!
//! For each object one POST to the token server and one or three Secret writes, by server-side apply, and one status write, by merge patch; so many objects at a
//! time. It runs as a process of its own, so that its processor time and memory can be compared with the operator's.

use std::{
    path::PathBuf,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    ground::{Ground, NAMESPACE, Rotation, seed},
    meter::{Memory, processor_time},
    support::Certificates,
};

/// The first argument that makes this binary run the loop.
pub(crate) const ARGUMENT: &str = "bare-loop";

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    kubeconfig: PathBuf,
    authority: PathBuf,
    token_url: String,
    rotates: bool,
    width: usize,
}

/// How a run of the loop went.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ran {
    pub(crate) took: Duration,
    pub(crate) processor_time: Duration,
    pub(crate) peak_mib: f64,
}

/// Runs the loop over all assets in a process of its own.
pub(crate) async fn run(ground: &Ground, rotation: Rotation, width: usize) -> Ran {
    let order = Order {
        kubeconfig: ground.cluster.kubeconfig().to_owned(),
        authority: Certificates::shared().authority.clone(),
        token_url: ground.server.endpoints.token_url.clone(),
        rotates: rotation == Rotation::Strict,
        width,
    };
    let output = tokio::process::Command::new(std::env::current_exe().expect("this program is a file"))
        .arg(ARGUMENT)
        .arg(serde_json::to_string(&order).expect("JSON"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .expect("the loop runs");
    serde_json::from_slice(&output.stdout).expect("the loop says how it went")
}

struct Tools {
    order: Order,
    client: Client,
    http: reqwest::Client,
}

/// The process of the loop.
pub(crate) async fn main(order: &str) {
    let begun = Instant::now();
    let order: Order = serde_json::from_str(order).expect("an order");
    let config = Kubeconfig::read_from(&order.kubeconfig).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default())
        .await
        .expect("a config");
    let authority = std::fs::read(&order.authority).expect("a certificate");
    let http = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&authority).expect("a certificate")])
        .http1_only()
        .no_proxy()
        .build()
        .expect("a client");
    let tools = Arc::new(Tools {
        client: Client::try_from(config).expect("a client"),
        http,
        order,
    });
    let path = format!("/apis/emailasset.dev/v1alpha1/namespaces/{NAMESPACE}/emailassets");
    let list = http::Request::get(&path).header(
        "accept",
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
    );
    let list: Value = tools
        .client
        .request(list.body(Vec::new()).expect("a request"))
        .await
        .expect("a list");
    let assets: Vec<(usize, String, String)> = list["items"]
        .as_array()
        .expect("a list")
        .iter()
        .enumerate()
        .map(|(number, asset)| {
            (
                number,
                text(&asset["metadata"]["name"]),
                text(&asset["metadata"]["uid"]),
            )
        })
        .collect();
    stream::iter(assets)
        .for_each_concurrent(tools.order.width, |(number, name, uid)| {
            let tools = Arc::clone(&tools);
            async move {
                tokio::spawn(async move { tools.one(number, &name, &uid).await })
                    .await
                    .expect("no panic");
            }
        })
        .await;
    let process = i32::try_from(std::process::id()).expect("a process id");
    let ran = Ran {
        took: begun.elapsed(),
        processor_time: processor_time(process),
        peak_mib: Memory::of(process).peak,
    };
    println!("{}", serde_json::to_string(&ran).expect("JSON"));
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Tools {
    async fn one(&self, number: usize, name: &str, uid: &str) {
        if self.order.rotates {
            self.apply_secret(&format!("{name}-grant"), "emailasset.dev/grant", uid, name, None)
                .await;
        }
        let form = [("grant_type", "refresh_token"), ("refresh_token", &seed(number))];
        let request = self
            .http
            .post(&self.order.token_url)
            .basic_auth("bench", Some("only-for-the-bench"))
            .form(&form);
        let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
        if self.order.rotates {
            self.apply_secret(
                &format!("{name}-grant"),
                "emailasset.dev/grant",
                uid,
                name,
                Some(&answer),
            )
            .await;
        }
        self.apply_secret(
            &format!("{name}-token"),
            "emailasset.dev/token",
            uid,
            name,
            Some(&answer),
        )
        .await;
        self.write_status(name).await;
    }

    async fn apply_secret(&self, secret: &str, secret_type: &str, uid: &str, owner: &str, answer: Option<&Value>) {
        let data = answer.map(|answer| {
            json!({
                "access_token": answer["access_token"], "token_type": "Bearer", "email": format!("{owner}@example.com"),
                "username": format!("{owner}@example.com"), "expires_at": "2026-01-01T00:00:00Z",
            })
        });
        // About as much as the operator's own annotations hold.
        let annotation = |name: &str, length: usize| (format!("emailasset.dev/{name}"), json!("x".repeat(length)));
        let annotations: serde_json::Map<String, Value> = [
            annotation("binding", 80),
            annotation("inputs", 200),
            annotation("seeds", 120),
            annotation("generation", 1),
        ]
        .into_iter()
        .collect();
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "type": secret_type, "stringData": data.unwrap_or(json!({})),
            "metadata": {
                "name": secret, "labels": {"app.kubernetes.io/managed-by": "bare-loop"}, "annotations": annotations,
                "ownerReferences": [{"apiVersion": "emailasset.dev/v1alpha1", "kind": "EmailAsset", "name": owner, "uid": uid}],
            },
        });
        let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/{secret}?fieldManager=bare-loop&force=true");
        self.patch(&path, "application/apply-patch+yaml", &object).await;
    }

    async fn write_status(&self, name: &str) {
        let condition = |kind: &str| {
            json!({
                "type": kind, "status": "True", "reason": "Fresh", "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z",
                "message": "The token is valid until 2026-01-01T01:00:00Z and is renewed in time.",
            })
        };
        let conditions = ["Ready", "Authorized", "Refreshed"].map(condition);
        let status = json!({"status": {
            "observedGeneration": 1, "conditions": conditions,
            "token": {"secretName": format!("{name}-token"), "issueTime": "2026-01-01T00:00:00Z", "expirationTime": "2026-01-01T01:00:00Z",
                      "renewalTime": "2026-01-01T00:40:00Z", "refreshCount": 1},
            "grant": {"grantTime": "2026-01-01T00:00:00Z", "generation": 1},
            "endpoints": {"tokenURL": self.order.token_url, "clientAuthentication": "ClientSecretBasic", "rotation": "None"},
        }});
        let path = format!(
            "/apis/emailasset.dev/v1alpha1/namespaces/{NAMESPACE}/emailassets/{name}/status?fieldManager=bare-loop"
        );
        self.patch(&path, "application/merge-patch+json", &status).await;
    }

    async fn patch(&self, path: &str, content_type: &str, object: &Value) {
        let request = http::Request::patch(path)
            .header("content-type", content_type)
            .body(object.to_string().into_bytes())
            .expect("a request");
        self.client
            .request::<Value>(request)
            .await
            .expect("the API server takes it");
    }
}
