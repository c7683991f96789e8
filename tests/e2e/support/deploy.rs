//! What `deploy/` installs: the objects as kustomize renders them, and the operator as its Deployment would start it.
//!
//! A control plane without nodes runs no pods. The Deployment is applied like everything else, and nothing comes of it; the test starts the process itself, with
//! the Deployment's arguments and variables and with the rights of its `ServiceAccount`. So no test gives the operator more than a cluster would.

use std::collections::HashMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};

use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::cluster::Cluster;
use super::operator::OperatorOptions;
use super::run::{free_address, random_suffix, run_directory};
use super::wait::until;

/// The folder that installs the operator for all namespaces.
const ALL_NAMESPACES: &str = "deploy/kustomize";

/// What was applied to one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Deployed {
    objects: Arc<Vec<Value>>,
}

/// Installs the operator for all namespaces, as its documentation says, and waits until its rights have arrived. Does it once for each cluster.
pub(crate) async fn apply_deployment(cluster: &Cluster) -> Deployed {
    static APPLIED: LazyLock<Mutex<HashMap<PathBuf, Arc<OnceCell<Deployed>>>>> = LazyLock::new(Mutex::default);
    let cell = {
        let mut applied = APPLIED.lock().expect("nobody panics with the list");
        Arc::clone(applied.entry(cluster.kubeconfig().to_owned()).or_default())
    };
    let applying = async {
        let deployed = Deployed::apply(cluster, ALL_NAMESPACES).await;
        deployed.wait_for_rights(cluster, "default").await;
        deployed
    };
    cell.get_or_init(|| applying).await.clone()
}

impl Deployed {
    /// Applies a folder with a kustomization, given from the top of the repository.
    pub(crate) async fn apply(cluster: &Cluster, folder: &str) -> Self {
        let folder = format!("{}/{folder}", env!("CARGO_MANIFEST_DIR"));
        let rendered = cluster.kubectl(&["kustomize", &folder]).await;
        cluster.kubectl(&["apply", "--server-side", "-k", &folder]).await;
        cluster
            .kubectl(&[
                "wait",
                "--for=condition=Established",
                "crd/emailassets.emailasset.dev",
                "crd/emailproviders.emailasset.dev",
            ])
            .await;
        Self::of(&rendered)
    }

    /// What kustomize has rendered, without applying it.
    pub(crate) fn of(rendered: &str) -> Self {
        Self {
            objects: Arc::new(serde_saphyr::from_multiple(rendered).expect("kustomize renders YAML")),
        }
    }

    /// Waits until the operator may elect a leader in its own namespace and list assets in `watched`. The API server takes a moment to learn of new roles.
    pub(crate) async fn wait_for_rights(&self, cluster: &Cluster, watched: &str) {
        let (own, account) = (self.namespace(), self.service_account());
        self.wait_for_rights_of(cluster, &format!("system:serviceaccount:{own}:{account}"), own, watched)
            .await;
    }

    /// As [`Deployed::wait_for_rights`], for a user that was given the same rights elsewhere.
    pub(crate) async fn wait_for_rights_of(&self, cluster: &Cluster, user: &str, own: &str, watched: &str) {
        for (verb, resource, namespace) in [("create", "leases", own), ("list", "emailassets", watched)] {
            let question = ["auth", "can-i", verb, resource, "-n", namespace, "--as", user];
            until("the operator's rights arrive", || async {
                cluster.try_kubectl(&question).await.ok()
            })
            .await;
        }
    }

    /// What the operator may do with Leases in its own namespace.
    pub(crate) fn lease_rules(&self) -> Option<Vec<PolicyRule>> {
        let role = self
            .objects
            .iter()
            .filter(|object| object["kind"] == "Role" && object["metadata"]["namespace"] == self.namespace())
            .find(|object| object["metadata"]["name"] == "emailasset-operator");
        serde_json::from_value(role.expect("there is a Role")["rules"].clone()).expect("a Role has rules")
    }

    /// The operator's own namespace.
    pub(crate) fn namespace(&self) -> &str {
        text(&self.deployment()["metadata"]["namespace"])
    }

    /// Whose rights the operator has.
    pub(crate) fn service_account(&self) -> &str {
        text(&self.deployment()["spec"]["template"]["spec"]["serviceAccountName"])
    }

    /// The operator's arguments, subcommand first.
    pub(crate) fn operator_args(&self) -> Vec<String> {
        let arguments = self.container()["args"]
            .as_array()
            .expect("the container has arguments");
        arguments.iter().map(|argument| text(argument).to_owned()).collect()
    }

    /// The operator's variables, in a pod of this name.
    pub(crate) fn operator_env(&self, pod: &str) -> Vec<(String, OsString)> {
        let variables = self.container()["env"].as_array().expect("the container has variables");
        let variable = |entry: &Value| {
            let value = match &entry["valueFrom"]["fieldRef"]["fieldPath"] {
                Value::Null => text(&entry["value"]),
                path if path == "metadata.name" => pod,
                path if path == "metadata.namespace" => self.namespace(),
                path => panic!("a variable from {path}: teach tests/e2e/support/deploy.rs what that is"),
            };
            (text(&entry["name"]).to_owned(), value.into())
        };
        variables.iter().map(variable).collect()
    }

    /// All that starts the operator in a pod of this name, and the address of its health and metrics.
    ///
    /// Address and spool are the test's own; in a pod they are the defaults. The spool stays the same for the same `pod` in the same test run, as the volume of a
    /// pod whose container is restarted.
    pub(crate) async fn operator(&self, cluster: &Cluster, pod: &str) -> (OperatorOptions, SocketAddr) {
        let address = free_address();
        let mut env = self.operator_env(pod);
        let spool = run_directory().join(format!("run-{pod}")).join("emailasset-operator");
        env.push(("EMAILASSET_LISTEN".into(), address.to_string().into()));
        env.push(("EMAILASSET_SPOOL_DIR".into(), spool.into()));
        let options = OperatorOptions {
            args: self.operator_args().into_iter().map(OsString::from).collect(),
            env,
            kubeconfig: cluster
                .kubeconfig_of_service_account(self.namespace(), self.service_account())
                .await,
        };
        (options, address)
    }

    /// A pod of the Deployment, as its controller would make it.
    pub(crate) fn pod(&self) -> Value {
        let template = &self.deployment()["spec"]["template"];
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": format!("emailasset-operator-{}", random_suffix()),
                "namespace": self.namespace(),
                "labels": template["metadata"]["labels"],
            },
            "spec": template["spec"],
        })
    }

    fn deployment(&self) -> &Value {
        let found = self.objects.iter().find(|object| object["kind"] == "Deployment");
        found.expect("a Deployment is installed")
    }

    fn container(&self) -> &Value {
        &self.deployment()["spec"]["template"]["spec"]["containers"][0]
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}
