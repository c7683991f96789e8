//! `EmailProvider`s and the labels of namespaces, as their watches show them; and the status of each `EmailProvider`.
//!
//! ```text
//! EmailProvider, Namespace ──watch──> Providers ──> the spec that an asset stands under it, and whether it may
//!                                          └──> the assets that name it look again
//! ```
//!
//! Both are objects of the cluster. An operator for some namespaces may not be allowed to see them: then everything works but assets that name an
//! `EmailProvider`, and those say so. A provider that is missing or broken never takes a valid token from anybody (`ProviderNotReady`, see `lifecycle`).

mod status;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, ResourceExt,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{WatchStreamExt, watcher},
};
use tokio::sync::Notify;
use tracing::{debug, warn};

pub(super) use self::status::keep_statuses;
use super::{context::Context, discoveries::User, watch::Synced};
use crate::api::{EmailAsset, EmailAssetSpec, EmailProvider, Reason, allow::Applicant};

/// How long a watch waits that was refused: a right that is given later counts after this, or at the next start.
const WITHOUT_A_RIGHT: Duration = Duration::from_secs(300);

/// What an asset stands on besides its own spec.
#[derive(Clone)]
pub(super) enum Backing {
    /// Nothing: it names no `EmailProvider`.
    Own,
    /// This one.
    Shared(Arc<EmailProvider>),
    /// One that cannot be used, and what is said about it.
    Absent(String),
}

/// Why an asset gets nothing from an `EmailProvider`.
pub(super) struct Denied {
    pub(super) reason: Reason,
    pub(super) message: String,
}

/// What is known of all `EmailProvider`s.
#[derive(Default)]
pub(super) struct Providers {
    inner: Mutex<Inner>,
    /// A status may have to be written anew.
    changed: Notify,
}

#[derive(Default)]
struct Inner {
    listed: bool,
    providers: HashMap<String, Result<Arc<EmailProvider>, Unreadable>>,
    labelled: bool,
    labels: HashMap<String, BTreeMap<String, String>>,
}

/// An object that this version cannot read: written for another one, most likely.
#[derive(PartialEq)]
struct Unreadable(String);

impl Providers {
    /// The asset as if it had written everything itself, and what it stands on.
    pub(super) fn under(&self, written: &Arc<EmailAsset>) -> (Arc<EmailAsset>, Backing) {
        let Some(name) = written.spec.email_provider() else {
            return (Arc::clone(written), Backing::Own);
        };
        let inner = self.lock();
        let absent = |message| (Arc::clone(written), Backing::Absent(message));
        match inner.providers.get(name) {
            Some(Ok(provider)) => {
                let whole = EmailAsset {
                    spec: provider.spec.under(&written.spec),
                    ..EmailAsset::clone(written)
                };
                (Arc::new(whole), Backing::Shared(Arc::clone(provider)))
            }
            Some(Err(Unreadable(problem))) => absent(format!(
                "EmailProvider {name} cannot be read by this version of the operator ({problem}). Whoever runs it has to correct it."
            )),
            None if inner.listed => absent(format!(
                "EmailProvider {name} (spec.providerRef) does not exist. Name another one, or ask a cluster admin to make it: kubectl get emailproviders"
            )),
            None => absent(format!(
                "EmailProvider {name} (spec.providerRef) cannot be seen: the operator may not list emailproviders. A cluster admin gives it the right with deploy/kustomize/providers."
            )),
        }
    }

    /// Whether an asset may use this provider, by its rules.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn permits(
        &self,
        provider: &EmailProvider,
        namespace: &str,
        spec: &EmailAssetSpec,
        account: Option<&str>,
    ) -> Result<(), Denied> {
        let name = provider.name_any();
        let inner = self.lock();
        let applicant = Applicant {
            namespace,
            labels: inner.labels.get(namespace),
            spec,
            account,
        };
        match provider.spec.permits(&applicant) {
            Ok(()) => Ok(()),
            Err(_) if provider.spec.looks_at_labels() && !inner.labelled => Err(Denied {
                reason: Reason::ProviderNotReady,
                message: format!(
                    "EmailProvider {name} looks at the labels of namespaces, which the operator may not see. A cluster admin gives it the right with deploy/kustomize/providers."
                ),
            }),
            Err(not_covered) => Err(Denied {
                reason: Reason::ProviderNotAllowed,
                message: format!(
                    "EmailProvider {name} may not be used here: {not_covered}. Nothing is sent, and the token Secret stays as it is. If it should be allowed, a cluster admin adds a rule: kubectl edit emailprovider {name}"
                ),
            }),
        }
    }

    /// The providers whose client stands in this Secret of the operator's namespace.
    pub(super) fn with_client(&self, secret: &str) -> Vec<String> {
        let inner = self.lock();
        let uses = |provider: &EmailProvider| {
            let client = provider.spec.oauth2.client_credentials_ref.as_ref();
            client.is_some_and(|client| client.name == secret)
        };
        let readable = inner
            .providers
            .iter()
            .filter_map(|(name, provider)| Some((name, provider.as_ref().ok()?)));
        readable
            .filter(|(_, provider)| uses(provider))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Statuses may have to be written anew.
    pub(super) fn look_at_statuses(&self) {
        self.changed.notify_one();
    }

    /// Takes in a provider as the API server showed it; true if assets may fare differently now.
    fn take_in(&self, object: DeserializeGuard<EmailProvider>) -> (String, bool) {
        let (name, provider) = match object.0 {
            Ok(mut provider) => {
                provider.metadata.managed_fields = None;
                (provider.name_any(), Ok(Arc::new(provider)))
            }
            Err(invalid) => {
                let problem: String = invalid.error.chars().take(200).collect();
                (invalid.metadata.name.unwrap_or_default(), Err(Unreadable(problem)))
            }
        };
        let mut inner = self.lock();
        let same = match (inner.providers.get(&name), &provider) {
            (Some(Ok(before)), Ok(now)) => before.metadata.uid == now.metadata.uid && before.spec == now.spec,
            (Some(Err(before)), Err(now)) => before == now,
            _ => false,
        };
        inner.providers.insert(name.clone(), provider);
        (name, !same)
    }

    fn forget(&self, name: &str) {
        self.lock().providers.remove(name);
    }

    /// The names of those that are not among these any more, which are forgotten.
    fn keep_only(&self, listed: &HashSet<String>) -> Vec<String> {
        let mut inner = self.lock();
        inner.listed = true;
        let gone: Vec<String> = inner
            .providers
            .keys()
            .filter(|name| !listed.contains(*name))
            .cloned()
            .collect();
        for name in &gone {
            inner.providers.remove(name);
        }
        gone
    }

    fn take_in_labels(&self, namespace: &str, labels: Option<BTreeMap<String, String>>) -> bool {
        let mut inner = self.lock();
        let before = match labels {
            Some(labels) => {
                let same = inner.labels.get(namespace) == Some(&labels);
                inner.labels.insert(namespace.to_owned(), labels);
                return !same;
            }
            None => inner.labels.remove(namespace),
        };
        before.is_some()
    }

    fn keep_only_labels_of(&self, listed: &HashSet<String>) {
        let mut inner = self.lock();
        inner.labelled = true;
        inner.labels.retain(|namespace, _| listed.contains(namespace));
    }

    fn all(&self) -> Vec<Arc<EmailProvider>> {
        let inner = self.lock();
        inner
            .providers
            .values()
            .filter_map(|provider| provider.as_ref().ok().cloned())
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the providers until it is dropped.
pub(super) async fn watch(context: Arc<Context>, synced: Synced) {
    let api: Api<DeserializeGuard<EmailProvider>> = Api::all(context.client.clone());
    let mut events = watcher::watcher(api, watcher::Config::default())
        .default_backoff()
        .boxed();
    let mut listed = HashSet::new();
    let mut outage = Outage::new("EmailProviders", synced);
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(object)) => {
                let (name, changed) = context.providers.take_in(object);
                wake(&context, &name, changed);
                listed.insert(name);
            }
            Ok(watcher::Event::InitDone) => {
                for name in context.providers.keep_only(&listed) {
                    context.discoveries.forget(&User::Provider(name.clone()));
                    context.wake_users(&name);
                }
                if outage.is_over() {
                    context.wake_all_users();
                }
                context.providers.look_at_statuses();
            }
            Ok(watcher::Event::Apply(object)) => {
                let (name, changed) = context.providers.take_in(object);
                wake(&context, &name, changed);
            }
            Ok(watcher::Event::Delete(object)) => {
                let name = object.name_any();
                context.providers.forget(&name);
                context.wake_users(&name);
                context.discoveries.forget(&User::Provider(name));
            }
            Err(error) => outage.sit_out(&error).await,
        }
    }
}

fn wake(context: &Context, name: &str, changed: bool) {
    if changed {
        context.wake_users(name);
        context.providers.look_at_statuses();
    }
}

/// Keeps the labels of namespaces until it is dropped.
pub(super) async fn watch_namespaces(context: Arc<Context>, synced: Synced) {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(context.client.clone());
    let mut events = watcher::watcher(api, watcher::Config::default())
        .default_backoff()
        .boxed();
    let mut listed = HashSet::new();
    let mut outage = Outage::new("namespaces", synced);
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(namespace)) => {
                listed.insert(namespace.name_any());
                take_in_labels(&context, namespace.metadata);
            }
            Ok(watcher::Event::InitDone) => {
                context.providers.keep_only_labels_of(&listed);
                if outage.is_over() {
                    context.wake_all_users();
                }
            }
            Ok(watcher::Event::Apply(namespace)) => take_in_labels(&context, namespace.metadata),
            Ok(watcher::Event::Delete(namespace)) => {
                context.providers.take_in_labels(&namespace.name_any(), None);
            }
            Err(error) => outage.sit_out(&error).await,
        }
    }
}

fn take_in_labels(context: &Context, metadata: kube::core::ObjectMeta) {
    let name = metadata.name.unwrap_or_default();
    let labels = metadata.labels.unwrap_or_default();
    if context.providers.take_in_labels(&name, Some(labels)) {
        for asset in context.registry.users_in(&name) {
            context.wake(&asset);
        }
    }
}

/// What a watch of the cluster's objects does about its errors: one line for each outage. A right or a definition that is missing holds up nothing.
pub(super) struct Outage {
    of: &'static str,
    synced: Option<Synced>,
    told: bool,
}

impl Outage {
    pub(super) const fn new(of: &'static str, synced: Synced) -> Self {
        Self {
            of,
            synced: Some(synced),
            told: false,
        }
    }

    fn one_more(&mut self) {
        if let Some(synced) = self.synced.take() {
            synced.one_more();
        }
    }

    /// A whole list has come; true if it came after trouble.
    pub(super) fn is_over(&mut self) -> bool {
        self.one_more();
        std::mem::take(&mut self.told)
    }

    /// Tells of an error, and waits where only a person can help: whoever has no right does not ask for it all day. The watch waits by itself after others.
    pub(super) async fn sit_out(&mut self, error: &watcher::Error) {
        if self.tell(error) == Cause::Missing {
            tokio::time::sleep(WITHOUT_A_RIGHT).await;
        }
    }

    fn tell(&mut self, error: &watcher::Error) -> Cause {
        let of = self.of;
        let missing = is_missing(error);
        if missing {
            self.one_more();
        }
        if self.told {
            debug!(%error, of, "a watch still fails");
        } else if missing {
            warn!(%error, of, "a watch is not allowed; EmailProviders cannot be used until it is (deploy/kustomize/providers)");
        } else {
            warn!(%error, of, "a watch was interrupted; trying again");
        }
        self.told = true;
        if missing { Cause::Missing } else { Cause::Passing }
    }
}

/// Why a watch fails.
#[derive(PartialEq, Eq)]
enum Cause {
    /// A right, or the definition, is missing.
    Missing,
    /// Trouble that passes.
    Passing,
}

/// The right to see them is missing, or their definition.
fn is_missing(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => matches!(status.code, 403 | 404),
        _ => false,
    }
}
