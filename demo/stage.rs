//! Sets the stage: a cluster (ours or the user's), an authorization server, the operator's rights, the operator.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::process::Command;

use super::kubectl::{self, Kubectl};
use super::say::Voice;
use super::server::{Certificates, Server};
use super::workshop::{Guest, OperatorSettings, Workshop};

/// Where the demo's asset lives.
pub(crate) const NAMESPACE: &str = "emailasset-demo";

/// Whose cluster it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground {
    /// One that the demo starts and throws away.
    Ours,
    /// The one that `KUBECONFIG` names.
    Theirs,
}

/// Everything that the story needs.
pub(crate) struct Stage<'a> {
    pub(crate) workshop: &'a mut Workshop,
    pub(crate) kubectl: Kubectl,
    pub(crate) server: Arc<Server>,
    pub(crate) ground: Ground,
    /// The API server's process, in a cluster of ours.
    pub(crate) api_server: Option<i32>,
    pub(crate) http: reqwest::Client,
    operator: OperatorSettings,
}

impl<'a> Stage<'a> {
    /// Starts everything, and tells of it.
    pub(crate) async fn set(workshop: &'a mut Workshop, ground: Ground, voice: Voice) -> Result<Stage<'a>> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let certificates = Certificates::make(workshop)?;
        let (kubectl, api_server) = match ground {
            Ground::Ours => own_cluster(workshop, voice).await?,
            Ground::Theirs => (their_cluster(workshop, voice).await?, None),
        };
        let started = Instant::now();
        let hello = start_server(workshop, &certificates).await?;
        let server = Arc::new(Server::from_hello(&hello, http.clone())?);
        voice.good(&format!(
            "an authorization server (oidc-provider, a certified one) at {}, {:.1} s",
            server.host,
            started.elapsed().as_secs_f32()
        ));
        let namespace = install(workshop, &kubectl, ground, voice).await?;
        let operator = OperatorSettings {
            arguments: arguments(ground),
            namespace,
            kubeconfig: service_account(workshop, &kubectl, namespace).await?,
            authority: certificates.authority,
        };
        let mut stage = Stage {
            workshop,
            kubectl,
            server,
            ground,
            api_server,
            http,
            operator,
        };
        let started = Instant::now();
        stage.start_operator().await?;
        voice.good(&format!(
            "the operator, with the rights of its ServiceAccount and no others, {:.1} s",
            started.elapsed().as_secs_f32()
        ));
        Ok(stage)
    }

    /// Starts the operator, again after it was killed.
    pub(crate) async fn start_operator(&mut self) -> Result<()> {
        self.workshop.start_operator(&self.operator, &self.http).await
    }
}

async fn own_cluster(workshop: &mut Workshop, voice: Voice) -> Result<(Kubectl, Option<i32>)> {
    let started = Instant::now();
    let binary = cluster_binary().await?;
    let mut command = Command::new(&binary);
    command.arg("up").arg("--dir").arg(workshop.folder.join("cluster"));
    let hello = workshop.start_with_hello("cluster", command, "--stay").await?;
    let kubeconfig = hello["kubeconfig"].as_str().context("the cluster's first line")?;
    let kubectl = Kubectl {
        program: vec![binary.into_os_string(), "kubectl".into()],
        kubeconfig: kubeconfig.into(),
    };
    let version = kubectl.json(&["version"]).await?;
    voice.good(&format!(
        "a Kubernetes {} control plane (etcd, API server, controllers), {:.1} s",
        version["serverVersion"]["gitVersion"].as_str().unwrap_or_default(),
        started.elapsed().as_secs_f32()
    ));
    let pid = hello["apiserverPid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    Ok((kubectl, pid))
}

async fn their_cluster(workshop: &mut Workshop, voice: Voice) -> Result<Kubectl> {
    let program = match kubectl::installed() {
        Some(program) => vec![program.into_os_string()],
        None => vec![cluster_binary().await?.into_os_string(), "kubectl".into()],
    };
    let kubectl = Kubectl {
        program,
        kubeconfig: env::var_os("KUBECONFIG").unwrap_or_default(),
    };
    let view = kubectl.json(&["config", "view", "--minify"]).await?;
    let name = view["current-context"].as_str().unwrap_or("?");
    let server = view["clusters"][0]["cluster"]["server"].as_str().unwrap_or("?");
    voice.tell(&format!(
        "KUBECONFIG is set, so this uses your cluster: context {name} at {server}. The demo makes the namespace {NAMESPACE}, in it everything else, and the \
         EmailAsset CRD if it is not there yet. At the end it removes what it made (with KEEP=1: `make demo-stop` does). The operator runs on this machine. For a \
         cluster of the demo's own: env -u KUBECONFIG make demo"
    ));
    voice.gap();
    if voice.is_heard_by_a_person() {
        voice.tell("Press Enter to go on, Ctrl-C to leave your cluster alone.");
        let (answered, answer) = tokio::sync::oneshot::channel();
        // A thread that nobody waits for: Ctrl-C must not wait for Enter.
        std::thread::spawn(move || answered.send(std::io::stdin().read_line(&mut String::new())));
        answer.await??;
    }
    let namespace = kubectl.run(&["get", "namespace", NAMESPACE, "--ignore-not-found", "-o", "name"]);
    if !namespace.await?.is_empty() {
        bail!(
            "your cluster has a namespace {NAMESPACE} already: kubectl delete namespace {NAMESPACE}, or run `make demo-stop`"
        );
    }
    let selector = "app.kubernetes.io/name=emailasset-operator";
    let others = kubectl
        .run(&["get", "deployments", "-A", "-l", selector, "-o", "name"])
        .await?;
    if !others.is_empty() {
        bail!(
            "your cluster has an emailasset-operator already ({}): two would get in each other's way",
            others.trim()
        );
    }
    workshop.guest = Some(Guest::of(&kubectl));
    voice.good(&format!("your cluster answers: {server}"));
    Ok(kubectl)
}

async fn start_server(workshop: &mut Workshop, certificates: &Certificates) -> Result<Value> {
    let mut command = Command::new("node");
    command
        .arg("--no-warnings")
        .arg(repository().join("tests/authorization-server/server.mjs"))
        .arg("--cert")
        .arg(&certificates.certificate)
        .arg("--key")
        .arg(&certificates.key);
    workshop
        .start_with_hello("authorization-server", command, "--stay")
        .await
}

/// Installs CRD and rights as a user would; the operator's own namespace.
async fn install(workshop: &mut Workshop, kubectl: &Kubectl, ground: Ground, voice: Voice) -> Result<&'static str> {
    let folder = |name: &str| repository().join(name).to_string_lossy().into_owned();
    match ground {
        Ground::Ours => {
            kubectl
                .run(&["apply", "--server-side", "-k", &folder("deploy/kustomize")])
                .await?;
            established(kubectl).await?;
            kubectl.run(&["create", "namespace", NAMESPACE]).await?;
            voice.good("kubectl apply --server-side -k deploy/kustomize: CRD, rights, Deployment");
            Ok("emailasset-system")
        }
        Ground::Theirs => {
            let guest = workshop.guest.get_or_insert_with(|| Guest::of(kubectl));
            let crd = "crd/emailassets.emailasset.dev";
            if kubectl
                .run(&["get", crd, "--ignore-not-found", "-o", "name"])
                .await?
                .is_empty()
            {
                guest.objects.push(crd.to_owned());
                guest.objects.push("crd/emailproviders.emailasset.dev".to_owned());
                kubectl.run(&["apply", "--server-side", "-f", &folder("crds")]).await?;
            }
            established(kubectl).await?;
            guest.objects.push(format!("namespace/{NAMESPACE}"));
            kubectl.run(&["create", "namespace", NAMESPACE]).await?;
            kubectl
                .run(&["apply", "--server-side", "-k", &folder("demo/own-cluster")])
                .await?;
            voice.good(&format!("kubectl apply: CRD, namespace {NAMESPACE}, rights in it"));
            Ok(NAMESPACE)
        }
    }
}

async fn established(kubectl: &Kubectl) -> Result<()> {
    let wait = [
        "wait",
        "--for=condition=Established",
        "crd/emailassets.emailasset.dev",
        "--timeout=60s",
    ];
    kubectl.run(&wait).await.map(drop)
}

fn arguments(ground: Ground) -> Vec<String> {
    let mut arguments = vec!["run".to_owned(), "--log-format=json".to_owned()];
    if ground == Ground::Theirs {
        arguments.push(format!("--watch-namespace={NAMESPACE}"));
    }
    arguments
}

/// A kubeconfig with the rights of the operator's service account alone.
async fn service_account(workshop: &Workshop, kubectl: &Kubectl, namespace: &str) -> Result<PathBuf> {
    let issue = [
        "create",
        "token",
        "emailasset-operator",
        "-n",
        namespace,
        "--duration=24h",
    ];
    let token = kubectl.run(&issue).await?;
    let mut config = kubectl
        .json(&["config", "view", "--raw", "--minify", "--flatten"])
        .await?;
    let cluster = config["clusters"][0]["name"].take();
    config["clusters"][0]["name"] = cluster.clone();
    config["users"] = json!([{"name": "operator", "user": {"token": token.trim()}}]);
    config["contexts"] =
        json!([{"name": "demo", "context": {"cluster": cluster, "user": "operator", "namespace": namespace}}]);
    config["current-context"] = json!("demo");
    workshop.write("operator.kubeconfig", &config.to_string())
}

/// The control plane's binary; `tests/setup` has built it.
async fn cluster_binary() -> Result<PathBuf> {
    let build = repository().join("tests/cluster/build");
    let output = Command::new(&build)
        .stderr(std::process::Stdio::inherit())
        .output()
        .await?;
    if !output.status.success() {
        bail!("{} failed", build.display());
    }
    Ok(PathBuf::from(OsString::from(String::from_utf8(output.stdout)?.trim())))
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
