//! A fresh cluster with so many assets, an authorization server that answers at once, and the operator on request.

use std::{
    ffi::OsString,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Client,
    api::{Request, WatchEvent, WatchParams},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    meter::{ByName, ControlPlane},
    support::{
        AuthorizationServer, Certificates, Cluster, Operator, OperatorOptions, free_address, random_suffix,
        run_directory,
    },
};

/// The namespace of all assets.
pub(crate) const NAMESPACE: &str = "bench";
/// The namespace of the Lease.
pub(crate) const HOME: &str = "emailasset-system";
/// How many requests prepare the ground at a time.
const WIDTH: usize = 32;
/// No figure takes this long; a hang shall not last for ever.
const LIMIT: Duration = Duration::from_secs(900);

/// What happens to refresh tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rotation {
    None,
    Strict,
}

impl Rotation {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Strict => "Strict",
        }
    }
}

/// A cluster with assets that no operator has seen yet.
pub(crate) struct Ground {
    pub(crate) cluster: Cluster,
    pub(crate) server: AuthorizationServer,
    pub(crate) client: Client,
    spool: PathBuf,
}

impl Ground {
    /// A fresh cluster with so many assets. Of each asset the token endpoint is that of `server`.
    pub(crate) async fn with_assets(count: usize, rotation: Rotation) -> Self {
        let ground = Self::empty(rotation).await;
        let endpoint = ground.server.endpoints.token_url.clone();
        ground.add_assets(0..count, rotation, &endpoint).await;
        ground
    }

    /// A fresh cluster without assets.
    pub(crate) async fn empty(rotation: Rotation) -> Self {
        let cluster = Cluster::without_audit().await;
        let server = AuthorizationServer::start_plain().await;
        server
            .set_rotation(match rotation {
                Rotation::None => crate::support::Rotation::None,
                Rotation::Strict => crate::support::Rotation::Strict,
            })
            .await;
        let client = cluster.client().await;
        let ground = Self {
            cluster,
            server,
            client,
            spool: run_directory().join(format!("spool-{}", random_suffix())),
        };
        for namespace in [NAMESPACE, HOME] {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            ground.post("/api/v1/namespaces", &namespace).await;
        }
        ground
    }

    /// Adds assets with these numbers, each with a seed of its own, and the OAuth client that they share.
    pub(crate) async fn add_assets(&self, numbers: std::ops::Range<usize>, rotation: Rotation, token_url: &str) {
        let host = token_url
            .trim_start_matches("https://")
            .split('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        let client = format!("client-{}", numbers.start);
        let secret = |name: &str, data: Value| {
            json!({
                "apiVersion": "v1", "kind": "Secret", "stringData": data,
                "metadata": {"name": name, "annotations": {"emailasset.dev/hosts": host}},
            })
        };
        let secrets = format!("/api/v1/namespaces/{NAMESPACE}/secrets");
        let credentials = json!({"client_id": "bench", "client_secret": "only-for-the-bench"});
        self.post(&secrets, &secret(&client, credentials)).await;
        let assets = format!("/apis/emailasset.dev/v1alpha1/namespaces/{NAMESPACE}/emailassets");
        stream::iter(numbers)
            .for_each_concurrent(WIDTH, |number| {
                let name = name(number);
                let seed = secret(&format!("{name}-seed"), json!({"refresh_token": seed(number)}));
                let asset = json!({
                    "apiVersion": "emailasset.dev/v1alpha1", "kind": "EmailAsset", "metadata": {"name": name},
                    "spec": {
                        "email": format!("{name}@example.com"),
                        "oauth2": {
                            "grant": "RefreshToken", "tokenURL": token_url, "rotation": rotation.name(),
                            "clientCredentialsRef": {"name": client},
                            "refreshTokenSecretRef": {"name": format!("{name}-seed"), "key": "refresh_token"},
                        },
                    },
                });
                let (secrets, assets) = (&secrets, &assets);
                async move {
                    self.post(secrets, &seed).await;
                    self.post(assets, &asset).await;
                }
            })
            .await;
    }

    async fn post(&self, path: &str, object: &Value) {
        let request = http::Request::post(path)
            .header("content-type", "application/json")
            .body(object.to_string().into_bytes())
            .expect("a request");
        self.client
            .request::<Value>(request)
            .await
            .expect("the API server takes it");
    }

    /// The operator of this build, with the flags that a deployment sets and what loopback needs besides.
    pub(crate) fn operator(&self) -> Operator {
        let mut args: Vec<OsString> = ["--namespace", HOME, "--identity", "bench", "--allow-private-addresses"]
            .map(Into::into)
            .to_vec();
        args.extend(["--listen".into(), free_address().to_string().into()]);
        args.extend(["--spool-dir".into(), self.spool.clone().into()]);
        args.extend(["--ca-bundle".into(), Certificates::shared().authority.clone().into()]);
        let more = crate::meter::setting("OPERATOR_FLAGS", "");
        args.extend(more.split_whitespace().map(Into::into));
        let options = OperatorOptions {
            args,
            env: Vec::new(),
            kubeconfig: self.cluster.kubeconfig().to_owned(),
        };
        match std::env::var_os("OPERATOR") {
            Some(program) => Operator::start_program(program.as_ref(), options),
            None => Operator::start(options),
        }
    }

    pub(crate) fn control_plane(&self) -> ControlPlane {
        ControlPlane::of(self.cluster.directory())
    }

    /// Starts to follow the assets' statuses.
    pub(crate) async fn follow(&self) -> Progress {
        Progress::start(self.client.clone()).await
    }

    /// Asks all these assets for a refresh.
    pub(crate) async fn request_refreshes(&self, numbers: std::ops::Range<usize>, value: &str) {
        let wish = json!({"metadata": {"annotations": {"emailasset.dev/refresh": value}}}).to_string();
        stream::iter(numbers)
            .for_each_concurrent(WIDTH, |number| {
                let path = format!(
                    "/apis/emailasset.dev/v1alpha1/namespaces/{NAMESPACE}/emailassets/{}",
                    name(number)
                );
                let request = http::Request::patch(path)
                    .header("content-type", "application/merge-patch+json")
                    .body(wish.clone().into_bytes())
                    .expect("a request");
                async move {
                    self.client
                        .request::<Value>(request)
                        .await
                        .expect("the API server takes it");
                }
            })
            .await;
    }
}

/// The name of the asset with this number.
pub(crate) fn name(number: usize) -> String {
    format!("mailbox-{number:05}")
}

/// The refresh token that the asset with this number begins with.
pub(crate) fn seed(number: usize) -> String {
    format!("seed-of-{number:05}-{}", "x".repeat(80))
}

/// What was last seen of one asset.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// Since when it is Ready.
    pub(crate) ready: Option<Instant>,
    /// How many tokens were published.
    pub(crate) tokens: i64,
    /// All renewal times that it ever announced, in seconds since 1970.
    pub(crate) renewals: Vec<i64>,
}

/// The statuses of all assets, as a watch shows them.
pub(crate) struct Progress {
    views: Arc<Mutex<ByName<View>>>,
    watch: tokio::task::JoinHandle<()>,
}

#[derive(Clone, Debug, Deserialize)]
struct Thin {
    metadata: ThinMeta,
    status: Option<ThinStatus>,
}

#[derive(Clone, Debug, Deserialize)]
struct ThinMeta {
    name: String,
}

#[derive(Clone, Debug, Deserialize)]
struct ThinStatus {
    #[serde(default)]
    conditions: Vec<ThinCondition>,
    token: Option<ThinToken>,
}

#[derive(Clone, Debug, Deserialize)]
struct ThinCondition {
    r#type: String,
    status: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ThinToken {
    refresh_count: Option<i64>,
    renewal_time: Option<jiff::Timestamp>,
}

impl Progress {
    async fn start(client: Client) -> Self {
        let path = "/apis/emailasset.dev/v1alpha1/emailassets";
        let list = http::Request::get(format!("{path}?limit=1"))
            .body(Vec::new())
            .expect("a request");
        let list: Value = client.request(list).await.expect("a list");
        let mut version = list["metadata"]["resourceVersion"].as_str().unwrap_or("0").to_owned();
        let views: Arc<Mutex<ByName<View>>> = Arc::default();
        let seen = Arc::clone(&views);
        let watch = tokio::spawn(async move {
            loop {
                let request = Request::new(path)
                    .watch(&WatchParams::default().timeout(290), &version)
                    .expect("a request");
                let mut events = client.request_events::<Thin>(request).await.expect("a watch").boxed();
                while let Ok(Some(event)) = events.try_next().await {
                    match event {
                        WatchEvent::Added(asset) | WatchEvent::Modified(asset) => take_in(&seen, asset),
                        WatchEvent::Bookmark(bookmark) => version = bookmark.metadata.resource_version,
                        _ => {}
                    }
                }
            }
        });
        Self { views, watch }
    }

    /// How many satisfy this.
    pub(crate) fn count(&self, condition: impl Fn(&View) -> bool) -> usize {
        let views = self.views.lock().expect("nobody panics with it");
        views.values().filter(|view| condition(view)).count()
    }

    /// Waits until so many satisfy this.
    pub(crate) async fn reach(&self, count: usize, what: &str, condition: impl Fn(&View) -> bool) {
        let asking = async {
            let mut pause = tokio::time::interval(Duration::from_millis(50));
            while self.count(&condition) < count {
                pause.tick().await;
            }
        };
        let reached = tokio::time::timeout(LIMIT, asking).await.is_ok();
        assert!(
            reached,
            "only {} of {count} {what} within {LIMIT:?}",
            self.count(&condition)
        );
    }

    /// When the last of so many became Ready.
    pub(crate) async fn all_ready(&self, count: usize) -> Instant {
        self.reach(count, "became Ready", |view| view.ready.is_some()).await;
        let views = self.views.lock().expect("nobody panics with it");
        views
            .values()
            .filter_map(|view| view.ready)
            .max()
            .expect("there are assets")
    }

    /// All that was seen.
    pub(crate) fn views(&self) -> ByName<View> {
        self.views.lock().expect("nobody panics with it").clone()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

fn take_in(views: &Mutex<ByName<View>>, asset: Thin) {
    let ready = |condition: &ThinCondition| condition.r#type == "Ready" && condition.status == "True";
    let status = asset.status;
    let is_ready = status
        .as_ref()
        .is_some_and(|status| status.conditions.iter().any(ready));
    let token = status.and_then(|status| status.token);
    let mut views = views.lock().expect("nobody panics with it");
    let view = views.entry(asset.metadata.name).or_insert(View {
        ready: None,
        tokens: 0,
        renewals: Vec::new(),
    });
    view.ready = is_ready.then(|| view.ready.unwrap_or_else(Instant::now));
    if let Some(token) = token {
        view.tokens = token.refresh_count.unwrap_or_default();
        let renewal = token.renewal_time.map(jiff::Timestamp::as_second);
        if renewal != view.renewals.last().copied() {
            view.renewals.extend(renewal);
        }
    }
}
