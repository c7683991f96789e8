//! Wires the rooms together: watches, passes, redemptions, statuses.
//!
//! ```text
//! watch ──> observe ──> decide ──> act ──┐
//!              ▲        pure      one    │   a pass loops until nothing is due, on the objects that its own writes returned;
//!              └─────────────────────────┘   its own writes do not wake it again
//! ```
//!
//! [`run`] is the whole life of a replica. It keeps its caches warm whether it leads or not, so that it can act at once when it does; only the leader's passes do
//! anything. What must never be interrupted (`redeem`) runs on tasks of its own, which the end of leadership does not touch and shutdown waits for.

mod bundle;
mod clients;
mod consent;
mod context;
mod desk;
mod discoveries;
mod explain;
mod federation;
mod finalizer;
mod gates;
mod lean;
mod noted;
mod observe;
mod pass;
mod providers;
mod redeem;
mod registry;
mod responses;
mod situation;
mod status;
mod watch;
#[cfg(test)]
mod wire;

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, stream};
use kube::{
    Client, Resource, ResourceExt,
    runtime::{
        Controller,
        controller::{Action, Config},
        reflector::{self, ObjectRef},
    },
};
use tokio::sync::{mpsc, watch as channel};
use tokio_stream::wrappers::{UnboundedReceiverStream, WatchStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info};

use self::{context::Context, gates::Gates, lean::Watched, pass::Pass, registry::Registry, watch::Synced};
pub use self::{context::Settings, desk::Reception, federation::Federation};
use crate::{
    leader::{Fence, Leadership},
    oauth::TokenClient,
    provider::Catalogue,
    signin::Links,
    store::{Index, Key, Kind, Secrets, spool::Spool},
    telemetry::{
        health::Readiness,
        metrics::{AssetSample, Metrics, Ready},
    },
};

/// What a replica works with.
pub struct Parts {
    /// The API server.
    pub client: Client,
    /// Token endpoints.
    pub token_client: TokenClient,
    /// What is known about providers.
    pub catalogue: Catalogue,
    /// Where answers wait until they are stored.
    pub spool: Arc<Spool>,
    /// Whether this replica may open attempts.
    pub fence: Fence,
    /// Whether this replica leads.
    pub leadership: channel::Receiver<Leadership>,
    /// Told when the caches are in sync.
    pub readiness: Readiness,
    /// Links to sign-in pages; none: nobody can sign in in a browser.
    pub links: Option<Links>,
    /// Set on SIGTERM.
    pub stopping: CancellationToken,
}

/// Runs a replica until it is told to stop, and everything that is open is finished.
///
/// `announce` receives the metrics and the sign-in desk, which need the caches of this run.
pub async fn run(parts: Parts, settings: Settings, announce: impl FnOnce(Arc<Metrics>, Reception)) {
    let (assets, writer) = reflector::store();
    let (waker, woken) = mpsc::unbounded_channel();
    let metrics = Arc::new(metrics(&assets));
    let tracker = TaskTracker::new();
    let namespaces = settings.namespaces.clone();
    let synced = Synced::new();
    let scopes = watch::scopes(&namespaces);
    let at_home = watch::outside(&scopes, &settings.own_namespace);
    // The kinds of Secrets and the assets of each namespace, the providers and the namespaces, and the operator's own Secrets.
    let wanted = scopes
        .len()
        .saturating_mul(Kind::ALL.len().saturating_add(1))
        .saturating_add(2)
        .saturating_add(at_home.iter().len());
    let context = Arc::new(Context {
        links: parts.links,
        synced: (synced.clone(), wanted),
        secrets: Secrets::new(
            parts.client.clone(),
            settings.api_timeout,
            context::writes_counted_by(&metrics),
        ),
        recorder: context::recorder(parts.client.clone(), &settings.instance),
        client: parts.client,
        index: Index::default(),
        registry: Registry::default(),
        clients: clients::Clients::default(),
        providers: providers::Providers::default(),
        assets,
        catalogue: parts.catalogue,
        token_client: parts.token_client,
        spool: parts.spool,
        fence: parts.fence,
        noted: noted::Noted::default(),
        discoveries: discoveries::Discoveries::default(),
        gates: gates(settings.requests_per_host, waker.clone()),
        metrics,
        tracker: tracker.clone(),
        stopping: parts.stopping.clone(),
        waker,
        settings,
    });

    announce(Arc::clone(&context.metrics), Reception(Arc::clone(&context)));
    redeem::heal(&context);
    watch_secrets(&context, &scopes, &synced);
    watch_providers(&context, at_home, &synced, parts.leadership.clone());
    let synced_now = synced.clone();
    let leadership = parts.leadership.clone();
    let leader = Arc::clone(&context);
    let reconsider = stream::once(async move { synced_now.reached(wanted).await })
        .filter_map(|()| std::future::ready(None))
        .chain(WatchStream::new(parts.leadership).filter_map(move |now| {
            leader.metrics.leadership_is(now);
            if now == Leadership::Leading {
                responses::take_all(&leader);
            }
            // A replica on standby does nothing with an asset: looking at all of them would be in vain.
            std::future::ready((now == Leadership::Leading).then_some(()))
        }));
    let readiness = parts.readiness;
    let all_synced = synced.clone();
    tracker.spawn(until(parts.stopping.clone(), async move {
        all_synced.reached(wanted).await;
        readiness.caches_are_synced();
    }));

    let stopped = parts.stopping.clone();
    let changed = watch::assets(Arc::clone(&context), writer, &namespaces, &synced);
    let turn = Turn {
        synced,
        wanted,
        leadership,
    };
    Controller::for_stream(changed, context.assets.clone())
        .with_config(Config::default().concurrency(0))
        .reconcile_on(UnboundedReceiverStream::new(woken))
        .reconcile_all_on(reconsider)
        .graceful_shutdown_on(async move { stopped.cancelled().await })
        .run(
            move |asset, context| {
                let turn = turn.clone();
                async move { Ok::<_, Infallible>(reconcile(asset, context, &turn).await) }
            },
            |_, never: &Infallible, _| match *never {},
            Arc::clone(&context),
        )
        .for_each(|passed| {
            if let Err(error) = passed {
                debug!(error = %redeem::Chain(&error), "the controller's queue");
            }
            std::future::ready(())
        })
        .await;

    tracker.close();
    tracker.wait().await;
    info!("everything that was open is finished");
}

/// Whether it is this replica's turn to act.
#[derive(Clone)]
struct Turn {
    synced: Synced,
    wanted: usize,
    leadership: channel::Receiver<Leadership>,
}

impl Turn {
    /// The caches are in sync and this replica leads. When that becomes true, all assets are looked at again.
    fn is_ours(&self) -> bool {
        self.synced.is_at(self.wanted) && *self.leadership.borrow() == Leadership::Leading
    }
}

async fn reconcile(asset: Arc<Watched>, context: Arc<Context>, turn: &Turn) -> Action {
    let key = Key::new(&asset.namespace().unwrap_or_default(), &asset.name_any());
    // Whatever becomes of this pass, a place that was set aside for it is taken and given back.
    let place = context.gates.claim(&key);
    if !turn.is_ours() || context.stopping.is_cancelled() || context.registry.is_busy(&key) {
        return Action::await_change();
    }
    let readable = match asset.asset() {
        Ok(readable) => readable,
        Err(problem) if finalizer::holds_back(asset.meta()) => {
            return finalizer::let_unreadable_go(&context, &key, asset.meta(), &problem).await;
        }
        Err(problem) => {
            status::write_unreadable(&context, &key, asset.meta(), &problem).await;
            return Action::await_change();
        }
    };
    let pass = Pass::new(Arc::clone(&context), key, readable, place);
    let (action, outcome) = Box::pin(pass.run()).await;
    context.metrics.reconciled(outcome);
    action
}

/// Gates that wake an asset when it is its turn.
fn gates(width: usize, waker: mpsc::UnboundedSender<ObjectRef<Watched>>) -> Gates {
    Gates::new(width, move |asset| {
        // The receiver is gone only when the controller is shutting down.
        let _ = waker.send(context::reference(asset));
    })
}

/// Starts the watches on Secrets.
fn watch_secrets(context: &Arc<Context>, scopes: &[Option<String>], synced: &Synced) {
    for scope in scopes {
        for kind in Kind::ALL {
            let watch = watch::secrets(Arc::clone(context), scope.clone(), kind, synced.clone());
            context.tracker.spawn(until(context.stopping.clone(), watch));
        }
    }
}

/// Starts what is there for `EmailProvider`s: the watches, also on their clients' Secrets where these are in no namespace of an asset, and their statuses.
fn watch_providers(
    context: &Arc<Context>,
    at_home: Option<String>,
    synced: &Synced,
    leadership: channel::Receiver<Leadership>,
) {
    let spawn = |task| context.tracker.spawn(until(context.stopping.clone(), task));
    spawn(providers::watch(Arc::clone(context), synced.clone()).boxed());
    spawn(providers::watch_namespaces(Arc::clone(context), synced.clone()).boxed());
    spawn(providers::keep_statuses(Arc::clone(context), leadership).boxed());
    if let Some(namespace) = at_home {
        spawn(watch::clients(Arc::clone(context), namespace, synced.clone()).boxed());
    }
}

async fn until(stopping: CancellationToken, task: impl Future<Output = ()>) {
    let _ = stopping.run_until_cancelled(task).await;
}

/// Metrics whose series of assets are read from the cache at each scrape: they cost no memory and never outlive an asset.
fn metrics(assets: &reflector::Store<Watched>) -> Metrics {
    let assets = assets.clone();
    Metrics::new(move || assets.state().iter().map(|asset| sample(asset)).collect())
}

fn sample(asset: &Watched) -> AssetSample {
    let sample = asset.sample();
    AssetSample {
        namespace: asset.namespace().unwrap_or_default(),
        name: asset.name_any(),
        ready: if sample.ready { Ready::Yes } else { Ready::No },
        expiration: sample.expiration,
    }
}

/// How long one call to the API server may take.
pub const API_TIMEOUT: Duration = Duration::from_secs(20);
