//! Watches: Secrets into the index, assets into the queue. Only what could change a pass's result wakes an asset.

use std::{collections::HashSet, sync::Arc};

use futures::{Stream, StreamExt, TryStreamExt, future, stream};
use kube::{
    Api, Client, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::{self, store::Writer},
        watcher,
    },
};
use tokio::sync::watch;
use tracing::{debug, warn};

use super::{
    context::Context,
    discoveries::User,
    lean::{SecretMeta, Watched},
    observe::key_of,
    providers::Outage,
    responses,
};
use crate::store::{Change, Index, Key, Kind, Seen};

/// Pages of this size bound the memory of a list of many objects.
const PAGE: u32 = 500;

/// How many of the Secret watches have delivered their first list.
#[derive(Clone)]
pub(super) struct Synced(watch::Sender<usize>);

impl Synced {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    pub(super) fn one_more(&self) {
        self.0.send_modify(|count| *count = count.saturating_add(1));
    }

    pub(super) fn is_at(&self, wanted: usize) -> bool {
        *self.0.borrow() >= wanted
    }

    /// Returns when this many watches are in sync.
    pub(super) async fn reached(&self, wanted: usize) {
        let mut receiver = self.0.subscribe();
        // The sender lives in `self`.
        let _ = receiver.wait_for(|count| *count >= wanted).await;
    }
}

/// Keeps the index of one kind of Secrets in one namespace (or all) until it is dropped.
pub(super) async fn secrets(context: Arc<Context>, namespace: Option<String>, kind: Kind, synced: Synced) {
    let api: Api<SecretMeta> = scoped(context.client.clone(), namespace.as_deref());
    let config = watcher::Config::default()
        .fields(&kind.field_selector())
        .page_size(PAGE);
    let mut events = watcher::watcher(api, config).default_backoff().boxed();
    let mut listed: HashSet<Key> = HashSet::new();
    let mut first = true;
    let mut troubled = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                // A new list begins before each try, also before one that fails.
                troubled &= matches!(event, watcher::Event::Init);
                if let Some(()) = take_in(&context, namespace.as_deref(), kind, event, &mut listed)
                    && first
                {
                    first = false;
                    synced.one_more();
                }
            }
            Err(error) => {
                context.registry.forget_sightings();
                // The watcher tries again by itself; one line for each outage is enough.
                if troubled {
                    debug!(%error, ?kind, "the watch on Secrets still fails");
                } else {
                    warn!(%error, ?kind, "the watch on Secrets was interrupted; trying again");
                    troubled = true;
                }
            }
        }
    }
}

/// The operator's own namespace, if none of these watches covers it.
pub(super) fn outside(scopes: &[Option<String>], own: &str) -> Option<String> {
    let covers = |scope: &Option<String>| scope.as_deref().is_none_or(|namespace| namespace == own);
    (!scopes.iter().any(covers)).then(|| own.to_owned())
}

/// Keeps the index of the operator's own namespace, where the clients of `EmailProvider`s are, until it is dropped. An operator for some namespaces may have no
/// right to it.
pub(super) async fn clients(context: Arc<Context>, namespace: String, synced: Synced) {
    let api: Api<SecretMeta> = Api::namespaced(context.client.clone(), &namespace);
    let config = watcher::Config::default()
        .fields(&Kind::Other.field_selector())
        .page_size(PAGE);
    let mut events = watcher::watcher(api, config).default_backoff().boxed();
    let mut listed: HashSet<Key> = HashSet::new();
    let mut outage = Outage::new("Secrets of the operator's own namespace", synced);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if take_in(&context, Some(&namespace), Kind::Other, event, &mut listed).is_some() {
                    outage.is_over();
                }
            }
            Err(error) => outage.sit_out(&error).await,
        }
    }
}

/// Takes one event into the index; `Some` after a whole list.
fn take_in(
    context: &Arc<Context>,
    namespace: Option<&str>,
    kind: Kind,
    event: watcher::Event<SecretMeta>,
    listed: &mut HashSet<Key>,
) -> Option<()> {
    let index: &Index = &context.index;
    let (key, change) = match event {
        watcher::Event::Init => {
            listed.clear();
            return None;
        }
        watcher::Event::InitApply(object) => {
            let key = secret_key(&object);
            listed.insert(key.clone());
            (key.clone(), index.take_in(key, Seen::new(kind, object.0)))
        }
        watcher::Event::Apply(object) => {
            let key = secret_key(&object);
            (key.clone(), index.take_in(key, Seen::new(kind, object.0)))
        }
        watcher::Event::Delete(object) => {
            let key = secret_key(&object);
            let uid = object.0.uid.unwrap_or_default();
            let owner = index.get(&key).and_then(|seen| seen.owner.clone());
            let change = index.forget(&key, &uid);
            wake_owner(context, &key, owner);
            (key, change)
        }
        watcher::Event::InitDone => {
            for key in index.keep_only(kind, namespace, listed) {
                context.wake_dependents(&key);
            }
            listed.clear();
            listed.shrink_to_fit();
            return Some(());
        }
    };
    if change == Change::Changed {
        context.wake_dependents(&key);
        if kind == Kind::Response && index.get(&key).is_some() {
            responses::take(context, key);
        }
    }
    None
}

/// A token Secret of an earlier name is no asset's dependency any more, but its owner wants to know.
fn wake_owner(context: &Context, secret: &Key, owner: Option<(String, String)>) {
    if let Some((_, name)) = owner {
        context.wake(&Key::new(&secret.namespace, &name));
    }
}

fn secret_key(object: &SecretMeta) -> Key {
    Key::new(
        object.0.namespace.as_deref().unwrap_or_default(),
        object.0.name.as_deref().unwrap_or_default(),
    )
}

/// The assets whose passes could come to another result, as they come. Keeps the store that `writer` writes.
///
/// The store counts as ready from the start and fills as lists arrive; [`Synced`] says when all have. Several watches (one for each namespace) so share one store,
/// and nobody needs the store's own signal, which wakes only the last of those who wait for it (kube-runtime 5.0, `delayed_init`).
pub(super) fn assets(
    context: Arc<Context>,
    writer: Writer<Watched>,
    namespaces: &[String],
    synced: &Synced,
) -> impl Stream<Item = Result<Watched, watcher::Error>> + use<> {
    let scopes = scopes(namespaces);
    let watches = scopes.into_iter().map(|namespace| {
        let api: Api<Watched> = scoped(context.client.clone(), namespace.as_deref());
        let events = watcher::watcher(api, watcher::Config::default().page_size(PAGE)).default_backoff();
        let mut lists = Lists {
            assets: context.assets.clone(),
            namespace,
            listed: HashSet::new(),
            synced: Some(synced.clone()),
        };
        events
            .map_ok(move |event| stream::iter(lists.changes(event)).map(Ok))
            .try_flatten()
            .boxed()
    });
    let ready = stream::iter([Ok(watcher::Event::Init), Ok(watcher::Event::InitDone)]);
    let events = ready.chain(stream::select_all(watches));
    reflector::reflector(writer, events).try_filter_map(move |event| future::ok(woken(&context, event)))
}

/// The namespaces to watch, each by itself, or all at once.
pub(super) fn scopes(namespaces: &[String]) -> Vec<Option<String>> {
    if namespaces.is_empty() {
        vec![None]
    } else {
        namespaces.iter().cloned().map(Some).collect()
    }
}

/// Turns the lists of one watch into single changes.
struct Lists {
    assets: reflector::Store<Watched>,
    namespace: Option<String>,
    listed: HashSet<Key>,
    /// Told once, after the first list.
    synced: Option<Synced>,
}

impl Lists {
    fn changes(&mut self, event: watcher::Event<Watched>) -> Vec<watcher::Event<Watched>> {
        match event {
            watcher::Event::Init => {
                self.listed.clear();
                vec![]
            }
            watcher::Event::InitApply(asset) => {
                self.listed.insert(asset_key(&asset));
                vec![watcher::Event::Apply(asset)]
            }
            watcher::Event::InitDone => {
                let gone = self.gone();
                self.listed = HashSet::new();
                if let Some(synced) = self.synced.take() {
                    synced.one_more();
                }
                gone
            }
            change => vec![change],
        }
    }

    /// What was deleted while nobody watched.
    fn gone(&self) -> Vec<watcher::Event<Watched>> {
        let here = |key: &Key| {
            self.namespace
                .as_deref()
                .is_none_or(|namespace| namespace == &*key.namespace)
        };
        let known = self.assets.state().into_iter().map(|asset| (asset_key(&asset), asset));
        let gone = known.filter(|(key, _)| here(key) && !self.listed.contains(key));
        gone.map(|(_, asset)| watcher::Event::Delete((*asset).clone()))
            .collect()
    }
}

fn asset_key(asset: &Watched) -> Key {
    Key::new(&asset.namespace().unwrap_or_default(), &asset.name_any())
}

fn woken(context: &Context, event: watcher::Event<Watched>) -> Option<Watched> {
    match event {
        watcher::Event::Apply(asset) | watcher::Event::InitApply(asset) => {
            let Ok(readable) = asset.asset() else {
                context.registry.could_not_read(&asset_key(&asset));
                return Some(asset);
            };
            let key = key_of(&readable);
            let rivals = context.registry.rivals(&key);
            let change = context.registry.take_in(&key, &readable);
            asset.pack();
            (change == Change::Changed).then(|| {
                wake_all(context, &rivals);
                asset
            })
        }
        watcher::Event::Delete(asset) => {
            let key = asset_key(&asset);
            let rivals = context.registry.rivals(&key);
            context.registry.forget(&key);
            context.gates.forget(&key);
            context.discoveries.forget(&User::Asset(key));
            wake_all(context, &rivals);
            None
        }
        watcher::Event::Init | watcher::Event::InitDone => None,
    }
}

/// Assets that name the same seed as one that changed or went: it may be theirs now.
fn wake_all(context: &Context, assets: &[Key]) {
    for asset in assets {
        context.wake(asset);
    }
}

fn scoped<K>(client: Client, namespace: Option<&str>) -> Api<K>
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    }
}
