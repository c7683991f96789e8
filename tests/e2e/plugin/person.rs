//! A person with a laptop, who runs the built plugin with rights in one namespace only.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use k8s_openapi::api::rbac::v1::Role;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use url::Url;

use crate::support::{Cluster, note_secret, until};

/// No command of a test that works takes this long.
pub(super) const LIMIT: Duration = Duration::from_secs(120);

/// A person with a laptop: a kubeconfig whose user has the rights of a Role in one namespace.
pub(super) struct Person {
    kubeconfig: PathBuf,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) output: String,
    pub(super) errors: String,
    pub(super) code: i32,
}

impl Person {
    /// Rules as (resources of the API group, verbs).
    pub(super) async fn with(
        cluster: &Cluster,
        namespace: &str,
        name: &str,
        rules: &[(&str, &[&str], &[&str])],
    ) -> Self {
        let kubeconfig = cluster.kubeconfig_of_service_account(namespace, name).await;
        let api: Api<Role> = Api::namespaced(cluster.client().await, namespace);
        let allowed = rules.iter().map(|(group, resources, verbs)| {
            serde_json::from_value(json!({"apiGroups": [group], "resources": resources, "verbs": verbs})).unwrap()
        });
        let role = Role {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            rules: Some(allowed.collect()),
        };
        api.create(&PostParams::default(), &role).await.unwrap();
        let account = format!("{namespace}:{name}");
        let binding = [
            "create",
            "rolebinding",
            name,
            "-n",
            namespace,
            "--role",
            name,
            "--serviceaccount",
            &account,
        ];
        cluster.kubectl(&binding).await;
        Self { kubeconfig }
    }

    /// The rights that the documentation names for signing in and looking.
    pub(super) async fn who_signs_in(cluster: &Cluster, namespace: &str) -> Self {
        let person = Self::with(
            cluster,
            namespace,
            "person",
            &[
                ("emailasset.dev", &["emailassets"], &["get", "list", "patch"]),
                ("", &["secrets"], &["get", "create", "delete"]),
                ("", &["events"], &["list"]),
            ],
        )
        .await;
        until("the rights have arrived", || async {
            (person.run(&["status", "-o", "json"]).await.code == 0).then_some(())
        })
        .await;
        person
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-emailasset"));
        command
            .args(arguments)
            .env_clear()
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    pub(super) async fn run(&self, arguments: &[&str]) -> Said {
        self.run_with_input(arguments, "").await
    }

    pub(super) async fn run_with_input(&self, arguments: &[&str], input: &str) -> Said {
        let mut child = self.command(arguments).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        let ended = tokio::time::timeout(LIMIT, child.wait_with_output()).await;
        said(ended.expect("the command ends").unwrap())
    }

    /// The same on a terminal, whose lines are read as they come.
    pub(super) fn command_on_a_terminal(&self, arguments: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_kubectl-emailasset");
        let mut command = Command::new("script");
        command
            .args([
                "--quiet",
                "--return",
                "--command",
                &format!("{program} {}", arguments.join(" ")),
                "/dev/null",
            ])
            .env_clear()
            .env("KUBECONFIG", &self.kubeconfig)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("TERM", "xterm-256color")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Begins a sign-in and reads the link that is printed.
    pub(super) async fn begin(&self, asset: &str) -> SigningIn {
        let mut child = self.command(&["authorize", asset, "--no-browser"]).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut told = String::new();
        let link = loop {
            let read = tokio::time::timeout(LIMIT, errors.read_line(&mut told)).await;
            assert_ne!(read.expect("a link is printed").unwrap(), 0, "no link: {told}");
            let line = told.lines().last().unwrap().trim();
            if let Some(link) = line.strip_prefix("https://") {
                break Url::parse(&format!("https://{link}")).unwrap();
            }
        };
        SigningIn { child, errors, link }
    }
}

/// A sign-in that waits for the browser.
pub(super) struct SigningIn {
    child: Child,
    errors: BufReader<ChildStderr>,
    pub(super) link: Url,
}

impl SigningIn {
    pub(super) fn parameter(&self, name: &str) -> String {
        let found = self.link.query_pairs().find(|(known, _)| known == name);
        found
            .unwrap_or_else(|| panic!("the link has no {name}: {}", self.link))
            .1
            .into_owned()
    }

    /// The provider sends the browser back with these parameters.
    pub(super) async fn sent_back(&self, parameters: &[(&str, &str)]) -> (u16, String) {
        let mut url = Url::parse(&self.parameter("redirect_uri")).unwrap();
        url.query_pairs_mut().extend_pairs(parameters);
        let answer = reqwest::get(url).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    pub(super) async fn consented(&self, code: &str) {
        note_secret(code);
        let (status, page) = self
            .sent_back(&[
                ("code", code),
                ("state", &self.parameter("state")),
                ("iss", "https://id.example.com"),
            ])
            .await;
        assert_eq!(status, 200, "{page}");
        assert!(page.contains("You can close this window"), "{page}");
    }

    /// Ctrl-C at its terminal.
    pub(super) fn press_ctrl_c(&self) {
        let process = self.child.id().expect("it runs");
        kill(Pid::from_raw(i32::try_from(process).unwrap()), Signal::SIGINT).unwrap();
    }

    pub(super) async fn ended(mut self) -> Said {
        let mut rest = String::new();
        tokio::time::timeout(LIMIT, self.errors.read_to_string(&mut rest))
            .await
            .expect("the command ends")
            .unwrap();
        let mut output = said(self.child.wait_with_output().await.unwrap());
        output.errors = rest;
        output
    }
}

fn said(output: Output) -> Said {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said {
        output: text(output.stdout),
        errors: text(output.stderr),
        code: output.status.code().expect("it ends by itself"),
    }
}
