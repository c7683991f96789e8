//! A stage for one test: a namespace of its own, an authorization server of its own, and an operator that watches only this namespace.

use std::{path::PathBuf, time::Duration};

use emailasset::api::{ConditionType, EmailAsset};
use k8s_openapi::api::{core::v1::Secret, rbac::v1::Role};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    AuthorizationServer, Certificates, Cluster, Operator, OperatorOptions, apply_deployment, free_address, note_secret,
    random_suffix, run_directory, until, wait_for,
};

/// The client that stages use, and its secret.
pub(crate) const CLIENT: &str = "stage-client";

/// How long an operator may take until it is ready, on a machine that does much else.
const START_LIMIT: Duration = Duration::from_secs(180);

/// How long one question whether it is ready may take.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// Everything that a test needs to play a user.
pub(crate) struct Stage {
    pub(crate) cluster: &'static Cluster,
    pub(crate) namespace: String,
    pub(crate) server: AuthorizationServer,
    pub(crate) client: Client,
    pub(crate) assets: Api<EmailAsset>,
    pub(crate) secrets: Api<Secret>,
    pub(crate) spool: PathBuf,
    kubeconfig: PathBuf,
}

impl Stage {
    /// A stage without an operator yet.
    pub(crate) async fn set(prefix: &str) -> Self {
        let cluster = Cluster::shared();
        Self::set_in(cluster, prefix).await
    }

    /// A stage in a cluster of its own, for tests that break the cluster.
    pub(crate) async fn set_in(cluster: &'static Cluster, prefix: &str) -> Self {
        let namespace = cluster.namespace(prefix).await;
        let server = AuthorizationServer::start().await;
        let registered = server.register(CLIENT, "client_secret_basic").await;
        let client = cluster.client().await;
        let kubeconfig = cluster.kubeconfig_of_service_account(&namespace, "operator").await;
        grant_rights(cluster, &namespace).await;
        let stage = Self {
            assets: Api::namespaced(client.clone(), &namespace),
            secrets: Api::namespaced(client.clone(), &namespace),
            spool: run_directory().join(format!("spool-{}", random_suffix())),
            cluster,
            namespace,
            server,
            client,
            kubeconfig,
        };
        let secret = registered.client_secret.unwrap_or_default();
        stage
            .put_secret("oauth-client", &json!({"client_id": CLIENT, "client_secret": secret}))
            .await;
        stage
    }

    /// The same stage for another test: connections die with the runtime of the test that made them.
    pub(crate) async fn for_this_test(&self) -> Self {
        let client = self.cluster.client().await;
        Self {
            cluster: self.cluster,
            namespace: self.namespace.clone(),
            server: self.server.for_this_test(),
            assets: Api::namespaced(client.clone(), &self.namespace),
            secrets: Api::namespaced(client.clone(), &self.namespace),
            client,
            spool: self.spool.clone(),
            kubeconfig: self.kubeconfig.clone(),
        }
    }

    /// The same stage for objects of another namespace; operators are this stage's own business.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Self {
        Self {
            cluster: self.cluster,
            namespace: namespace.to_owned(),
            server: self.server.for_this_test(),
            assets: Api::namespaced(self.client.clone(), namespace),
            secrets: Api::namespaced(self.client.clone(), namespace),
            client: self.client.clone(),
            spool: self.spool.clone(),
            kubeconfig: self.kubeconfig.clone(),
        }
    }

    /// An operator with this stage's spool.
    pub(crate) async fn operator(&self) -> Operator {
        self.operator_with(&[], &[]).await
    }

    /// An operator with more arguments and environment variables.
    pub(crate) async fn operator_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Operator {
        self.replica(&self.spool.clone(), arguments, environment).await
    }

    /// One more operator, with a spool of its own as in a pod of its own.
    pub(crate) async fn other_replica(&self, arguments: &[&str]) -> Operator {
        self.replica(
            &run_directory().join(format!("spool-{}", random_suffix())),
            arguments,
            &[],
        )
        .await
    }

    async fn replica(&self, spool: &std::path::Path, arguments: &[&str], environment: &[(&str, &str)]) -> Operator {
        let asked = arguments.iter().skip_while(|argument| **argument != "--listen").nth(1);
        let listen = asked.map_or_else(|| free_address().to_string(), |asked| (*asked).to_owned());
        let mut args: Vec<std::ffi::OsString> = Vec::new();
        for (flag, value) in [
            ("--namespace", self.namespace.as_str().as_ref()),
            ("--watch-namespace", self.namespace.as_str().as_ref()),
            ("--listen", listen.as_str().as_ref()),
            ("--log-level", "info,emailasset=debug".as_ref()),
            ("--identity", "test".as_ref()),
            ("--spool-dir", spool.as_os_str()),
            ("--ca-bundle", Certificates::shared().authority.as_os_str()),
        ] {
            // What a test asks for wins.
            if !arguments.contains(&flag) {
                args.extend([flag.into(), value.to_owned()]);
            }
        }
        args.push("--allow-private-addresses".into());
        args.extend(arguments.iter().map(Into::into));
        let operator = Operator::start(OperatorOptions {
            args,
            env: environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.into()))
                .collect(),
            kubeconfig: self.kubeconfig.clone(),
        });
        let url = format!("http://{listen}/readyz");
        let probe = reqwest::Client::builder()
            .timeout(PROBE_LIMIT)
            .build()
            .expect("a client for probes");
        let ready = until("the operator is ready", || async {
            let answer = probe.get(&url).send().await.ok()?;
            answer.status().is_success().then_some(())
        });
        let ready = tokio::time::timeout(START_LIMIT, ready).await;
        ready.unwrap_or_else(|_| panic!("not ready within {START_LIMIT:?}: {}", operator.whereabouts()));
        operator
    }

    /// Makes or changes a Secret that people write, for this stage's authorization server.
    pub(crate) async fn put_secret(&self, name: &str, data: &Value) {
        self.put_secret_for(&self.host(), name, data).await;
    }

    /// The same, for another server.
    pub(crate) async fn put_secret_for(&self, hosts: &str, name: &str, data: &Value) {
        for secret in ["refresh_token", "client_secret"]
            .iter()
            .filter_map(|key| data[key].as_str())
        {
            note_secret(secret);
        }
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "annotations": {"emailasset.dev/hosts": hosts}},
            "stringData": data,
        });
        self.secrets
            .patch(name, &PatchParams::apply("person").force(), &Patch::Apply(&secret))
            .await
            .expect("a Secret can be made");
    }

    /// Host and port of the authorization server, as the annotation wants it.
    pub(crate) fn host(&self) -> String {
        self.server.endpoints.url.trim_start_matches("https://").to_owned()
    }

    /// A seed for this account in the Secret `<asset>-seed`; the grant's ID at the server.
    pub(crate) async fn seed(&self, asset: &str) -> String {
        let minted = self.server.mint(CLIENT, &mailbox(asset)).await;
        self.put_secret(
            &format!("{asset}-seed"),
            &json!({"refresh_token": minted.refresh_token}),
        )
        .await;
        minted.grant_id
    }

    /// The manifest of an asset with explicit endpoints; `spec` is merged over it.
    pub(crate) fn manifest(&self, asset: &str, rotation: &str, spec: &Value) -> Value {
        let mut manifest = json!({
            "apiVersion": "emailasset.dev/v1alpha1", "kind": "EmailAsset",
            "metadata": {"name": asset},
            "spec": {
                "email": mailbox(asset),
                "oauth2": {
                    "grant": "RefreshToken",
                    "clientCredentialsRef": {"name": "oauth-client"},
                    "refreshTokenSecretRef": {"name": format!("{asset}-seed"), "key": "refresh_token"},
                    "tokenURL": self.server.endpoints.token_url,
                    "rotation": rotation,
                },
            },
        });
        merge(&mut manifest["spec"], spec);
        manifest
    }

    /// Applies an asset as a GitOps pipeline would.
    pub(crate) async fn apply(&self, manifest: &Value) -> EmailAsset {
        let name = manifest["metadata"]["name"].as_str().expect("a manifest has a name");
        self.assets
            .patch(name, &PatchParams::apply("person").force(), &Patch::Apply(manifest))
            .await
            .expect("the asset is accepted")
    }

    /// Asks for a refresh by annotation.
    pub(crate) async fn request_refresh(&self, asset: &str, value: &str) {
        let patch = json!({"metadata": {"annotations": {"emailasset.dev/refresh": value}}});
        self.assets
            .patch(asset, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .expect("an annotation can be set");
    }

    /// Waits until a condition has this status and reason.
    pub(crate) async fn wait_for_condition(
        &self,
        asset: &str,
        kind: ConditionType,
        status: &str,
        reason: &str,
    ) -> EmailAsset {
        let what = format!("{kind} is {status} ({reason})");
        wait_for(&self.assets, asset, &what, |asset| {
            condition(asset, kind).is_some_and(|said| said.0 == status && said.1 == reason)
        })
        .await
    }

    /// Waits until the asset is Ready.
    pub(crate) async fn wait_until_ready(&self, asset: &str) -> EmailAsset {
        self.wait_for_condition(asset, ConditionType::Ready, "True", "Fresh")
            .await
    }

    /// Waits until the published token has this generation.
    pub(crate) async fn wait_for_generation(&self, asset: &str, generation: u64) -> Secret {
        let name = format!("{asset}-token");
        wait_for(&self.secrets, &name, &format!("generation {generation}"), |secret| {
            generation_of(secret) == Some(generation)
        })
        .await
    }

    /// The access token that consumers see.
    pub(crate) async fn access_token(&self, asset: &str) -> String {
        let secret = self
            .secrets
            .get(&format!("{asset}-token"))
            .await
            .expect("the token Secret is there");
        text(&secret, "access_token")
    }

    /// Asserts that the published token opens the mailbox now.
    pub(crate) async fn assert_token_works(&self, asset: &str) {
        let seen = self.server.introspect(&self.access_token(asset).await).await;
        assert!(seen.active, "the published token is not active: {seen:?}");
        assert_eq!(seen.account.as_deref(), Some(mailbox(asset).as_str()));
    }
}

/// The mailbox of an asset in tests.
pub(crate) fn mailbox(asset: &str) -> String {
    format!("{asset}@example.com")
}

/// Status and reason of a condition.
pub(crate) fn condition(asset: &EmailAsset, kind: ConditionType) -> Option<(String, String, String)> {
    let conditions = &asset.status.as_ref()?.conditions;
    let found = conditions.iter().find(|condition| condition.type_ == kind.as_str())?;
    Some((found.status.clone(), found.reason.clone(), found.message.clone()))
}

/// The generation that a Secret of ours says it has.
pub(crate) fn generation_of(secret: &Secret) -> Option<u64> {
    secret
        .metadata
        .annotations
        .as_ref()?
        .get("emailasset.dev/generation")?
        .parse()
        .ok()
}

/// A text value of a Secret.
pub(crate) fn text(secret: &Secret, key: &str) -> String {
    let data = secret.data.as_ref().and_then(|data| data.get(key));
    let bytes = data.unwrap_or_else(|| panic!("the Secret has no key {key}"));
    String::from_utf8(bytes.0.clone()).expect("it is text")
}

pub(super) fn merge(into: &mut Value, over: &Value) {
    match (into, over) {
        (Value::Object(into), Value::Object(over)) => {
            for (key, value) in over {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, over) => *into = over.clone(),
    }
}

/// Installs the CRD in a cluster.
pub(crate) async fn install_crds(cluster: &Cluster) {
    cluster.kubectl(&["apply", "--server-side", "-f", "crds"]).await;
    cluster
        .kubectl(&[
            "wait",
            "--for=condition=Established",
            "crd/emailassets.emailasset.dev",
            "crd/emailproviders.emailasset.dev",
            "--timeout=30s",
        ])
        .await;
}

/// Gives the service account `operator` of a namespace the rights that `deploy/` gives the operator, for this namespace only.
async fn grant_rights(cluster: &Cluster, namespace: &str) {
    let deployed = apply_deployment(cluster).await;
    let account = format!("{namespace}:operator");
    let rights = [
        "create",
        "rolebinding",
        "operator",
        "-n",
        namespace,
        "--clusterrole=emailasset-operator",
    ];
    cluster
        .kubectl(&[rights.as_slice(), &["--serviceaccount", &account]].concat())
        .await;
    let client = cluster.client().await;
    let roles: Api<Role> = Api::namespaced(client.clone(), namespace);
    let role = Role {
        metadata: ObjectMeta {
            name: Some("leases".to_owned()),
            ..ObjectMeta::default()
        },
        rules: deployed.lease_rules(),
    };
    roles
        .create(&PostParams::default(), &role)
        .await
        .expect("a Role can be made");
    let leases = [
        "create",
        "rolebinding",
        "leases",
        "-n",
        namespace,
        "--role=leases",
        "--serviceaccount",
        &account,
    ];
    cluster.kubectl(&leases).await;
    deployed
        .wait_for_rights_of(
            cluster,
            &format!("system:serviceaccount:{account}"),
            namespace,
            namespace,
        )
        .await;
}
