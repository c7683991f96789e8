//! A Kubernetes control plane for tests (`tests/cluster`).

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde::Deserialize;
use serde_json::json;

use super::run::{random_suffix, run_directory, use_ring};
use super::wait::wait_for;

/// The longest that one call of a test may take. No call of a test that works comes near it.
const LIMIT: Duration = Duration::from_secs(120);

/// A running control plane. It ends with this value, or with the test process.
#[derive(Debug)]
pub(crate) struct Cluster {
    directory: PathBuf,
    kubeconfig: PathBuf,
    server: String,
    process: Child,
    // Behind a lock and an Arc, because a command is a line out and a line back, on a thread that may block.
    talk: Arc<Mutex<Talk>>,
}

#[derive(Debug)]
struct Talk {
    commands: ChildStdin,
    answers: mpsc::Receiver<String>,
}

/// Whether every request of a service account is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audit {
    On,
    Off,
}

/// One request of a service account, as the API server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` …
    pub(crate) verb: String,
    /// `secrets`, `emailassets/status`, `leases` …
    pub(crate) resource: String,
    /// Empty for requests about the whole cluster.
    pub(crate) namespace: String,
    /// Empty for lists, watches and creations.
    pub(crate) name: String,
    /// The HTTP status of the answer.
    pub(crate) code: u64,
}

impl Request {
    /// Whether the request was to change something.
    pub(crate) fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

impl Cluster {
    /// The cluster that all tests of this run share. A test keeps to its own namespace and never stops this one.
    pub(crate) fn shared() -> &'static Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(|| Self::start("cluster", Audit::On))
    }

    /// A cluster for one test, which may pause or kill its API server.
    pub(crate) async fn own() -> Self {
        Self::start_own(Audit::On).await
    }

    /// A cluster for one measurement: writing the audit log would cost the API server time, so [`Cluster::requests_of`] knows nothing.
    pub(crate) async fn without_audit() -> Self {
        Self::start_own(Audit::Off).await
    }

    async fn start_own(audit: Audit) -> Self {
        let name = format!("cluster-{}", random_suffix());
        tokio::task::spawn_blocking(move || Self::start(&name, audit))
            .await
            .expect("a cluster starts")
    }

    /// Blocks until the cluster is usable, about two seconds. The first build of the binary takes minutes.
    fn start(name: &str, audit: Audit) -> Self {
        use_ring();
        let directory = run_directory().join(name);
        let mut command = Command::new(binary());
        command.arg("up").arg("--dir").arg(&directory);
        if audit == Audit::On {
            command.arg("--audit");
        }
        let resources = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
        if resources.exists() {
            command.arg("--crds").arg(resources);
        }
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the cluster's binary runs");
        let talk = Talk {
            commands: process.stdin.take().expect("standard input is piped"),
            answers: lines(process.stdout.take().expect("standard output is piped")),
        };
        // Empty when it failed; its reason is on standard error.
        let hello: Hello = serde_json::from_str(&talk.answer())
            .unwrap_or_else(|_| panic!("the cluster did not start; its logs are in {}", directory.display()));
        Self {
            server: hello.server,
            kubeconfig: hello.kubeconfig,
            directory,
            process,
            talk: Arc::new(Mutex::new(talk)),
        }
    }

    /// Where the cluster's files and logs are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The admin's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client of the admin, of the runtime that calls: connections die with the runtime that made them.
    pub(crate) async fn client(&self) -> Client {
        client_from(&self.kubeconfig).await
    }

    /// Makes a namespace named after `prefix` and waits for its default service account.
    pub(crate) async fn namespace(&self, prefix: &str) -> String {
        let client = self.client().await;
        let name = format!("{prefix}-{}", random_suffix());
        let namespace = Namespace {
            metadata: named(&name),
            ..Namespace::default()
        };
        let all: Api<Namespace> = Api::all(client.clone());
        all.create(&PostParams::default(), &namespace)
            .await
            .expect("the admin makes a namespace");
        let accounts: Api<ServiceAccount> = Api::namespaced(client, &name);
        wait_for(&accounts, "default", "exists", |_| true).await;
        name
    }

    /// A client with exactly the rights of a service account, which is made if there is none.
    pub(crate) async fn client_as_service_account(&self, namespace: &str, name: &str) -> Client {
        client_from(&self.kubeconfig_of_service_account(namespace, name).await).await
    }

    /// A kubeconfig with exactly the rights of a service account (made if there is none), for a process.
    pub(crate) async fn kubeconfig_of_service_account(&self, namespace: &str, name: &str) -> PathBuf {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await, namespace);
        let account = ServiceAccount {
            metadata: named(name),
            ..ServiceAccount::default()
        };
        match accounts.create(&PostParams::default(), &account).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            made => drop(made.expect("the admin makes a ServiceAccount")),
        }
        let wish = TokenRequest {
            spec: Some(TokenRequestSpec {
                expiration_seconds: Some(24 * 3600),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let answer = accounts.create_token_request(name, &PostParams::default(), &wish).await;
        let token = answer
            .expect("the API server issues a token")
            .status
            .expect("an issued token")
            .token;

        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.server, "certificate-authority": self.directory.join("ca.crt")}}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name, "namespace": namespace}}],
        });
        let path = self
            .directory
            .join(format!("kubeconfig-{namespace}-{name}-{}", random_suffix()));
        fs::write(&path, config.to_string()).expect("a kubeconfig can be written");
        path
    }

    /// Runs kubectl as the admin and returns what it prints.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.try_kubectl(arguments).await;
        output.unwrap_or_else(|complaint| panic!("kubectl {}: {complaint}", arguments.join(" ")))
    }

    /// Runs kubectl as the admin: what it prints, or what it complains of.
    pub(crate) async fn try_kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let running = tokio::process::Command::new(binary())
            .args(["kubectl", "--kubeconfig"])
            .arg(&self.kubeconfig)
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(LIMIT, running).await;
        let output = output.unwrap_or_else(|_| panic!("kubectl {} did not end within {LIMIT:?}", arguments.join(" ")));
        let output = output.expect("kubectl runs");
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }

    /// What a service account has asked of the API server so far, answered requests only, oldest first.
    ///
    /// A watch appears when it ends.
    pub(crate) fn requests_of(&self, namespace: &str, service_account: &str) -> Vec<Request> {
        let user = format!("system:serviceaccount:{namespace}:{service_account}");
        let Ok(log) = fs::read_to_string(self.directory.join("audit.log")) else {
            return Vec::new();
        };
        // The last line may still be in the writing.
        log.lines()
            .filter_map(|line| serde_json::from_str::<AuditEvent>(line).ok())
            .filter_map(|event| event.by(&user))
            .collect()
    }

    /// Kills the API server (SIGKILL). Its data and port stay.
    pub(crate) async fn stop_api_server(&self) {
        self.command("stop-apiserver").await;
    }

    /// Starts the API server again and waits until it is ready.
    pub(crate) async fn start_api_server(&self) {
        self.command("start-apiserver").await;
    }

    /// Freezes the API server (SIGSTOP): connections stay open, nothing answers.
    pub(crate) async fn pause_api_server(&self) {
        self.command("pause-apiserver").await;
    }

    /// Lets a frozen API server go on.
    pub(crate) async fn resume_api_server(&self) {
        self.command("resume-apiserver").await;
    }

    async fn command(&self, command: &'static str) {
        let talk = Arc::clone(&self.talk);
        let answer = tokio::task::spawn_blocking(move || {
            let mut talk = talk.lock().expect("no command has panicked");
            writeln!(talk.commands, "{command}").expect("the cluster runs");
            talk.answer()
        });
        assert_eq!(answer.await.expect("a command is answered").trim(), "ok", "{command}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // SIGKILL takes the children along: the kernel kills them with their parent.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Talk {
    /// The next line; empty when the process has ended, or says nothing for too long.
    fn answer(&self) -> String {
        self.answers.recv_timeout(LIMIT).unwrap_or_default()
    }
}

/// The lines of a process, read by a thread of their own: a pipe cannot be read with a limit.
fn lines(output: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// What the cluster prints once it is usable.
#[derive(Deserialize)]
struct Hello {
    kubeconfig: PathBuf,
    server: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuditEvent {
    verb: String,
    user: AuditUser,
    object_ref: Option<AuditObject>,
    response_status: Option<AuditStatus>,
}

#[derive(Deserialize)]
struct AuditUser {
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AuditObject {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct AuditStatus {
    code: u64,
}

impl AuditEvent {
    fn by(self, user: &str) -> Option<Request> {
        let object = self.object_ref.unwrap_or_default();
        let resource = match object.subresource.as_str() {
            "" => object.resource,
            subresource => format!("{}/{subresource}", object.resource),
        };
        (self.user.username == user).then_some(Request {
            verb: self.verb,
            resource,
            namespace: object.namespace,
            name: object.name,
            code: self.response_status.map_or(0, |status| status.code),
        })
    }
}

/// Builds the cluster's binary unless it is there, and returns where it is.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/build");
        let output = Command::new(&build)
            .stderr(Stdio::inherit())
            .output()
            .expect("tests/cluster/build runs");
        assert!(output.status.success(), "{} failed", build.display());
        PathBuf::from(String::from_utf8(output.stdout).expect("a path in UTF-8").trim())
    })
}

async fn client_from(kubeconfig: &Path) -> Client {
    let config = Kubeconfig::read_from(kubeconfig).expect("the kubeconfig can be read");
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await;
    let mut config = config.expect("the kubeconfig is whole");
    // An API server that hangs fails a test instead of hanging it too.
    config.read_timeout = Some(LIMIT);
    Client::try_from(config).expect("the kubeconfig makes a client")
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}
