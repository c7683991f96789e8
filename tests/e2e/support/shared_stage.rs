//! One stage for all tests that can live beside others: each has assets, mailboxes and Secrets of its own names, and a
//! fault of the authorization server is meant for one mailbox.
//!
//! It saves a namespace, a server and an operator for each of some dozens of tests. A thread of its own keeps it until
//! the test process ends, because an operator dies with the thread that started it.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, OnceLock, mpsc};

use emailasset::api::{ConditionType, EmailAsset};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::stage::{CLIENT, Stage, condition, mailbox};
use super::{Fault, Match, Operator, Rotation, free_address, until, wait_for};

/// A stage and the operator on it, shared or not.
pub(crate) struct SharedStage {
    stage: Stage,
    /// It logs everything, so that the search for leaked secrets has something to search.
    pub(crate) operator: Arc<Operator>,
    listen: SocketAddr,
}

impl Deref for SharedStage {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
}

impl SharedStage {
    /// The stage of this run. Its operator logs at level `trace`.
    pub(crate) async fn join() -> Self {
        static KEPT: OnceLock<SharedStage> = OnceLock::new();
        KEPT.get_or_init(keep).for_this_test().await
    }

    async fn for_this_test(&self) -> Self {
        Self {
            stage: self.stage.for_this_test().await,
            operator: Arc::clone(&self.operator),
            listen: self.listen,
        }
    }

    /// A stage for one test, with an operator that has these arguments.
    pub(crate) async fn alone(prefix: &str, arguments: &[&str]) -> Self {
        Self::alone_in(prefix, arguments, &[]).await
    }

    /// The same, with these environment variables.
    pub(crate) async fn alone_in(prefix: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let stage = Stage::set(prefix).await;
        let listen = free_address();
        let address = listen.to_string();
        let arguments = [&["--listen", &address], arguments].concat();
        let operator = Arc::new(stage.operator_with(&arguments, environment).await);
        Self {
            stage,
            operator,
            listen,
        }
    }

    /// Ends this stage's operator and starts another.
    pub(crate) async fn restart(&mut self) {
        let operator = Arc::get_mut(&mut self.operator).expect("a stage that one test has for itself");
        operator.terminate();
        assert!(operator.wait().await.success());
        let listen = self.listen.to_string();
        self.operator = Arc::new(self.stage.operator_with(&["--listen", &listen], &[]).await);
    }

    /// What Prometheus would read.
    pub(crate) async fn metrics(&self) -> String {
        let answer = reqwest::get(format!("http://{}/metrics", self.listen)).await;
        answer
            .expect("the operator serves metrics")
            .text()
            .await
            .expect("metrics are text")
    }

    /// A seed in `<asset>-seed` whose grant rotates like this; the grant's ID at the server.
    pub(crate) async fn seed_rotating(&self, asset: &str, rotation: Rotation) -> String {
        let minted = self.server.mint_rotating(CLIENT, &mailbox(asset), rotation).await;
        let seed = json!({"refresh_token": minted.refresh_token});
        self.put_secret(&format!("{asset}-seed"), &seed).await;
        minted.grant_id
    }

    /// An asset that has its first token; the grant's ID at the server. `spec` is merged over the usual one.
    pub(crate) async fn settle(&self, asset: &str, rotation: Rotation, spec: &Value) -> String {
        let grant = self.seed_rotating(asset, rotation).await;
        self.apply(&self.manifest(asset, &format!("{rotation:?}"), spec)).await;
        self.wait_until_ready(asset).await;
        grant
    }

    /// Merges a patch over an asset's spec, as a person with kubectl does.
    pub(crate) async fn change_spec(&self, asset: &str, spec: &Value) -> EmailAsset {
        self.assets
            .patch(asset, &PatchParams::default(), &Patch::Merge(&json!({"spec": spec})))
            .await
            .expect("the change is accepted")
    }

    /// Asks for a refresh and waits until the status has answered.
    pub(crate) async fn refresh_answered(&self, asset: &str, value: &str) -> EmailAsset {
        self.request_refresh(asset, value).await;
        wait_for(&self.assets, asset, &format!("request {value} is answered"), |asset| {
            let handled = asset
                .status
                .as_ref()
                .and_then(|status| status.handled_requests.as_ref());
            handled.and_then(|handled| handled.refresh.as_deref()) == Some(value)
        })
        .await
    }

    /// Waits until whatever the operator was about to do for other assets before this call is done or was left: an
    /// asset that comes last gets its token.
    pub(crate) async fn wait_for_marker(&self, marker: &str) {
        self.settle(marker, Rotation::None, &json!({})).await;
    }

    /// How often the refresh tokens of a grant were sent to the server.
    pub(crate) async fn requests_of_grant(&self, grant: &str) -> u64 {
        self.server.counters_of(grant).await.requests
    }

    /// A fault for the next requests of one asset.
    pub(crate) fn fault(asset: &str) -> Fault {
        Fault {
            applies_to: Match {
                account: Some(mailbox(asset)),
                ..Match::default()
            },
            ..Fault::default()
        }
    }

    /// The message of a condition.
    pub(crate) async fn message(&self, asset: &str, kind: ConditionType) -> String {
        let asset = self.assets.get(asset).await.expect("the asset is there");
        condition(&asset, kind).expect("the condition is there").2
    }

    /// A Secret that must be there.
    pub(crate) async fn secret(&self, name: &str) -> Secret {
        self.secrets.get(name).await.expect("the Secret is there")
    }

    /// Runs the kubectl command that stands at the end of a message, as the person does who reads it.
    pub(crate) async fn run_command_of(&self, message: &str) {
        for command in commands(message) {
            let words: Vec<&str> = command.split_whitespace().skip(1).collect();
            self.cluster.kubectl(&words).await;
        }
    }

    /// Reason and note of the Events about an asset, of which there must be at least `least`.
    pub(crate) async fn events(&self, asset: &str, least: usize) -> Vec<(String, String)> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let uid = self.assets.get(asset).await.expect("the asset is there").metadata.uid;
        until("its Events are there", || async {
            let all = events.list(&ListParams::default()).await.expect("Events can be listed");
            let about = all
                .into_iter()
                .filter(|event| event.regarding.as_ref().is_some_and(|regarding| regarding.uid == uid));
            let told: Vec<_> = about
                .map(|event| (event.reason.unwrap_or_default(), event.note.unwrap_or_default()))
                .collect();
            (told.len() >= least).then_some(told)
        })
        .await
    }
}

/// The kubectl commands in a message. Each goes on to the next one, or to the end of its sentence.
pub(crate) fn commands(message: &str) -> Vec<&str> {
    message
        .match_indices("kubectl ")
        .map(|(at, _)| {
            let rest = message.split_at(at).1;
            rest.split_once(" The contents of ")
                .map_or(rest, |(command, _)| command)
                .trim()
        })
        .collect()
}

fn keep() -> SharedStage {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime starts").block_on(async {
            let stage = SharedStage::alone("shared", &["--log-level", "trace"]).await;
            let kept = stage.for_this_test().await;
            assert!(sender.send(kept).is_ok(), "the first test waits for it");
            // The stage is kept as long as the test process lives.
            std::future::pending::<()>().await;
            drop(stage);
        });
    });
    receiver
        .recv()
        .expect("the shared stage was set; its own thread says why not")
}
