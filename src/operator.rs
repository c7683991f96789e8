//! One operator process, from its settings to its end.
//!
//! What can be refused at start is refused here, with a message that names the flag. After that the process runs until SIGTERM or SIGINT: then it opens nothing
//! new, hands the Lease over and finishes what is open (invariant 1).

use std::{future::Future, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use kube::{
    Client, Config,
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig},
};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::limit::ConcurrencyLimitLayer;
use tracing::{info, warn};

use crate::{
    api::AllowedKeys,
    cli::{Cluster, Network, Run},
    controller::{self, Federation, Parts, Settings},
    leader::{self, Election, Fence, Leadership},
    oauth::{CaBundle, HttpSettings, PrivateAddresses, TokenClient},
    provider::Catalogue,
    signin::{self, Links, keys::Keys},
    store::{
        Secrets,
        spool::{Spool, Whose},
    },
    telemetry::{
        health::{Readiness, Server},
        logs, panics,
    },
};

/// A watch that says nothing for so long is dead: the API server ends each before that.
const WATCH_SILENCE: Duration = Duration::from_secs(330);

/// Runs the operator until it is told to stop.
///
/// # Errors
/// When a setting cannot be used or the cluster cannot be reached at start. No secret is in any message.
pub async fn run(settings: Run) -> Result<()> {
    logs::init(settings.telemetry.log_format, &settings.telemetry.log_level)?;
    panics::log_without_values();
    if fail::has_failpoints() {
        warn!("this build was made for tests: it can be told to kill itself (FAILPOINTS)");
    }
    let stopping = CancellationToken::new();
    let client = api_client(&settings.cluster, settings.limits.concurrency.get()).await?;
    let spool = Arc::new(Spool::open(&settings.replicas.spool_dir)?);
    let token_client =
        TokenClient::new(http_settings(&settings.network)?).context("no client for token endpoints can be made")?;
    let readiness = Readiness::default();
    let instance = settings.replicas.identity.clone().unwrap_or_else(host_name);
    let shutdown_grace = settings.replicas.shutdown_grace;
    info!(version = env!("CARGO_PKG_VERSION"), %instance, namespace = %settings.cluster.namespace, "starting");

    let links = links(&client, &settings).await?;
    let (fence, leadership, election) = elect(&client, &settings, &spool, &instance, &stopping);
    let parts = Parts {
        client,
        token_client,
        catalogue: Catalogue::built_in()?.clone(),
        spool,
        fence,
        leadership,
        readiness: readiness.clone(),
        links: links.clone(),
        stopping: stopping.clone(),
    };
    let listen = settings.telemetry.listen;
    let (announce, announced) = tokio::sync::oneshot::channel();
    let replica = tokio::spawn(controller::run(
        parts,
        controller_settings(&settings, instance),
        |metrics, reception| {
            // The receiver waits right below.
            let _ = announce.send((metrics, reception));
        },
    ));
    let (metrics, reception) = announced.await?;
    let server = Server::bind(listen, metrics, readiness).await?;
    let server = tokio::spawn(server.run(stopping.clone()));
    let pages = match links {
        Some(links) => {
            let pages = signin::Server::bind(settings.sign_in.sign_in_listen, links, Arc::new(reception)).await?;
            Some(tokio::spawn(pages.run(stopping.clone())))
        }
        None => None,
    };

    stop_signal().await?;
    info!("stopping: nothing new is opened");
    stopping.cancel();
    let finish = async {
        let _ = election.await;
        if let Some(pages) = pages {
            let _ = pages.await;
        }
        replica.await
    };
    match tokio::time::timeout(shutdown_grace, finish).await {
        Ok(finished) => finished.context("the controller ended in a panic")?,
        Err(_) => {
            warn!(
                "not everything that was open could be finished in time; what is spooled is stored at the next start"
            );
        }
    }
    server.abort();
    Ok(())
}

fn controller_settings(settings: &Run, instance: String) -> Settings {
    Settings {
        namespaces: settings.cluster.watch_namespace.clone(),
        own_namespace: settings.cluster.namespace.clone(),
        instance,
        api_timeout: controller::API_TIMEOUT,
        token_timeout: settings.network.token_timeout,
        requests_per_host: settings.limits.requests_per_host.get().into(),
        allowed_keys: AllowedKeys::new(
            settings
                .cluster
                .allow_label
                .iter()
                .map(|prefix| format!("{}*", prefix.trim_end_matches('*'))),
        ),
        federation: Federation {
            file: settings.identity.federated_token_file.clone(),
            clients: settings.identity.federated_client.clone(),
            hosts: settings.identity.federated_host.clone(),
        },
    }
}

/// Links to sign-in pages, made with the operator's own keys; none without a public address.
async fn links(client: &Client, settings: &Run) -> Result<Option<Links>> {
    let Some(public_url) = settings.sign_in.public_url.clone() else {
        return Ok(None);
    };
    let namespace = &settings.cluster.namespace;
    let secrets = Secrets::new(client.clone(), controller::API_TIMEOUT, Arc::new(|_, _| {}));
    let fresh = SecretString::from(hexadecimal(Keys::generate()?.expose_secret()));
    let own = secrets.own_keys(namespace, &fresh).await.with_context(|| {
        format!(
            "--public-url needs the operator's own keys; check that it may get and create secrets in namespace {namespace} (deploy/kustomize has the Role)"
        )
    })?;
    let bytes = SecretSlice::from(bytes(own.expose_secret()));
    let keys = Keys::new(bytes.expose_secret())?;
    Ok(Some(Links::new(&public_url, Arc::new(keys))?))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// The bytes that hexadecimal digits stand for; digits that are none are left out.
fn bytes(digits: &str) -> Vec<u8> {
    let values: Vec<u8> = digits
        .chars()
        .filter_map(|digit| u8::try_from(digit.to_digit(16)?).ok())
        .collect();
    values
        .chunks_exact(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
        .collect()
}

/// A client for the API server that makes so many requests at a time and never retries by itself: the controller knows better when.
async fn api_client(cluster: &Cluster, concurrency: u16) -> Result<Client> {
    let mut config = match &cluster.kubeconfig {
        Some(file) => kubeconfig(file).await?,
        None => Config::infer()
            .await
            .context("no cluster: neither a kubeconfig nor a pod's ServiceAccount was found; set --kubeconfig")?,
    };
    config.default_retry = false;
    config.read_timeout = Some(WATCH_SILENCE);
    let builder =
        ClientBuilder::try_from(config).context("the cluster's certificates or credentials cannot be used")?;
    Ok(builder
        .with_layer(&ConcurrencyLimitLayer::new(concurrency.into()))
        .build())
}

async fn kubeconfig(file: &Path) -> Result<Config> {
    let found =
        Kubeconfig::read_from(file).with_context(|| format!("--kubeconfig {} cannot be read", file.display()))?;
    Config::from_custom_kubeconfig(found, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("--kubeconfig {} names no usable cluster", file.display()))
}

fn http_settings(network: &Network) -> Result<HttpSettings> {
    let ca_bundle = match &network.ca_bundle {
        Some(file) => {
            let pem = std::fs::read(file).with_context(|| format!("--ca-bundle {} cannot be read", file.display()))?;
            let bundle = CaBundle::from_pem(&pem);
            Some(bundle.with_context(|| format!("--ca-bundle {} cannot be used", file.display()))?)
        }
        None => None,
    };
    Ok(HttpSettings {
        timeout: network.token_timeout,
        private_addresses: if network.allow_private_addresses {
            PrivateAddresses::Allow
        } else {
            PrivateAddresses::Refuse
        },
        ca_bundle,
        ..HttpSettings::default()
    })
}

type Elected = (Fence, watch::Receiver<Leadership>, tokio::task::JoinHandle<()>);

fn elect(client: &Client, settings: &Run, spool: &Arc<Spool>, instance: &str, stopping: &CancellationToken) -> Elected {
    if !settings.replicas.leader_election {
        let (_, leadership) = watch::channel(Leadership::Leading);
        return (Fence::always(), leadership, tokio::spawn(async {}));
    }
    let identity = format!("{instance}_{}", spool.holder());
    let mut election = leader::Settings::new(&settings.cluster.namespace, identity);
    // A restarted container need not wait for the Lease of the process before it: the spool's lock proves that it is gone.
    let spool = Arc::clone(spool);
    election.ended = Arc::new(move |identity| {
        let holder = identity.rsplit('_').next().and_then(|holder| holder.parse().ok());
        holder.is_some_and(|holder| spool.whose(&holder) == Whose::Earlier)
    });
    Election::start(client.clone(), election, stopping.clone())
}

/// Returns on SIGTERM or SIGINT.
async fn stop_signal() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("no handler for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("no handler for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// The machine's name: a pod's is its own.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() {
        "emailasset-operator".to_owned()
    } else {
        name.to_owned()
    }
}

/// Runs a future on a runtime made for this process, with its one TLS provider.
///
/// # Errors
/// When the runtime cannot be made, or the future fails.
pub fn block_on<T>(operator: impl Future<Output = Result<T>>) -> Result<T> {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        bail!("a TLS provider was installed twice; please report this");
    }
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no runtime can be made")?
        .block_on(operator)
}
