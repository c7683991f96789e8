//! `EmailProvider`s and the labels of namespaces, as their watches show them; and the status of each `EmailProvider`.
//!
//! ```text
//! EmailProvider, Namespace ──watch──> Providers ──> the spec that an asset stands under it, and whether it may
//!                                          └──> the assets that name it look again
//! ```
//!
//! Both are objects of the cluster. An operator for some namespaces may not be allowed to see them: then everything works but assets that name an
//! `EmailProvider`, and those say so. A provider that is missing or broken never takes a valid token from anybody (`ProviderNotReady`, see `lifecycle`).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::{
    api::core::v1::Namespace,
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;
use tokio::sync::{Notify, watch as channel};
use tracing::{debug, warn};

use super::{context::Context, observe::now, redeem::Chain, watch::Synced};
use crate::{
    api::{
        self, ConditionType, EmailAsset, EmailAssetSpec, EmailProvider, EmailProviderStatus, EndpointsStatus, Grant,
        OAuth2, Reason, allow::Applicant, names,
    },
    leader::Leadership,
    provider,
    store::{Key, Kind, inputs},
};

/// After this a status that could not be written is tried again.
const AGAIN: Duration = Duration::from_secs(5);

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
            }
            Err(error) => outage.tell(&error),
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
            Err(error) => outage.tell(&error),
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

    pub(super) fn tell(&mut self, error: &watcher::Error) {
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
    }
}

/// The right to see them is missing, or their definition.
fn is_missing(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => matches!(status.code, 403 | 404),
        _ => false,
    }
}

/// Writes the status of each provider whenever it may have changed, while this replica leads.
pub(super) async fn keep_statuses(context: Arc<Context>, mut leadership: channel::Receiver<Leadership>) {
    context.caches_are_synced().await;
    let mut again = false;
    loop {
        if *leadership.borrow_and_update() == Leadership::Leading {
            again = false;
            for provider in context.providers.all() {
                again |= !write_status(&context, &provider).await;
            }
        }
        let pause = async {
            if again {
                tokio::time::sleep(AGAIN).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = context.providers.changed.notified() => {}
            changed = leadership.changed() => {
                if changed.is_err() {
                    // Without elections nobody tells: this replica leads for good.
                    context.providers.changed.notified().await;
                }
            }
            () = pause => {}
        }
    }
}

/// False: it could not be written, or the client not be read.
async fn write_status(context: &Context, provider: &EmailProvider) -> bool {
    let name = provider.name_any();
    let standing = match stands(context, provider).await {
        Ok(standing) => standing,
        Err(()) => return false,
    };
    let shown = provider.status.as_ref();
    let status = status(provider, standing);
    if shown == Some(&status) {
        return true;
    }
    let operations = json!([{"op": "add", "path": "/status", "value": status}]);
    let Ok(patch) = serde_json::from_value(operations) else {
        return true;
    };
    let parameters = PatchParams {
        field_manager: Some(names::FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let api: Api<EmailProvider> = Api::all(context.client.clone());
    let patch = Patch::<()>::Json(patch);
    let call = api.patch_status(&name, &parameters, &patch);
    match tokio::time::timeout(context.settings.api_timeout, call).await {
        Ok(Ok(written)) => {
            // The watch shows the same in a moment. Until then nobody shall write it a second time.
            let (name, changed) = context.providers.take_in(DeserializeGuard(Ok(written)));
            wake(context, &name, changed);
            true
        }
        Ok(Err(kube::Error::Api(answer))) if answer.code == 404 => true,
        Ok(Err(error)) => {
            warn!(provider = %name, error = %Chain(&error), "the status of an EmailProvider could not be written; trying again");
            false
        }
        Err(_) => false,
    }
}

/// How a provider stands.
struct Stands {
    reason: Reason,
    message: String,
    endpoints: Option<EndpointsStatus>,
}

/// An error: the API server did not answer.
async fn stands(context: &Context, provider: &EmailProvider) -> Result<Stands, ()> {
    let broken = |reason, message: String| {
        Ok(Stands {
            reason,
            message,
            endpoints: None,
        })
    };
    if let Err(violations) = api::validate_provider(provider) {
        let sentences: Vec<String> = violations.iter().map(ToString::to_string).collect();
        return broken(Reason::InvalidSpec, sentences.join(" "));
    }
    let spec = provider.spec.under(&probe(provider));
    let endpoints = match provider::resolve_under(&provider.name_any(), &spec, &context.catalogue) {
        Ok(endpoints) => endpoints,
        Err(error) => return broken(Reason::InvalidSpec, error.to_string()),
    };
    if let Some(client) = &provider.spec.oauth2.client_credentials_ref {
        let key = Key::new(&context.settings.own_namespace, &client.name);
        if let Some(complaint) = client_complaint(context, &key, &spec.oauth2).await? {
            return broken(Reason::ClientMissing, complaint);
        }
    }
    let mut shown = endpoints.to_status(None);
    for server in [&mut shown.smtp, &mut shown.imap, &mut shown.pop3]
        .into_iter()
        .flatten()
    {
        // The example's.
        server.username = None;
    }
    let message = if provider.spec.allow.is_empty() {
        "The client is there and the endpoints are known. Nobody may use it yet: spec.allow has no rule."
    } else {
        "The client is there and the endpoints are known. Assets that a rule of spec.allow covers may use it."
    };
    Ok(Stands {
        reason: Reason::Usable,
        message: message.to_owned(),
        endpoints: Some(shown),
    })
}

/// An asset as the first rule allows it.
fn probe(provider: &EmailProvider) -> EmailAssetSpec {
    let rule = provider.spec.allow.first();
    let grant = rule.and_then(|rule| rule.grants.first().copied());
    let mailbox = rule.and_then(|rule| rule.mailboxes.first());
    let mailbox = mailbox.map(|mailbox| mailbox.replacen('*', "mailbox", 1));
    EmailAssetSpec::of(
        mailbox.as_deref().unwrap_or("mailbox@example.com"),
        grant.unwrap_or(Grant::AuthorizationCode),
    )
}

/// What is wrong with the client's Secret.
async fn client_complaint(context: &Context, key: &Key, oauth2: &OAuth2) -> Result<Option<String>, ()> {
    const PURPOSE: &str = "the OAuth client, spec.oauth2.clientCredentialsRef, in the operator's namespace";
    let create = "--from-literal=client_id=… --from-literal=client_secret=…";
    let missing = || Ok(Some(inputs::missing(key, PURPOSE, create)));
    let Some(seen) = context.index.get(key) else {
        return missing();
    };
    if seen.kind() != Kind::Other {
        return Ok(Some(format!(
            "spec.oauth2.clientCredentialsRef names Secret {key}, which the operator itself writes; expected a Secret that you made. Name another Secret there."
        )));
    }
    let client = match context.clients.get(key, &seen.version()) {
        Some((_, client)) => client,
        None => match context.secrets.read(key).await {
            Ok(Some(contents)) => {
                let client = inputs::client(key, &contents);
                context
                    .clients
                    .keep(key.clone(), (contents.seen.version(), client.clone()));
                client
            }
            Ok(None) => return missing(),
            Err(error) => {
                warn!(secret = %key, error = %Chain(&error), "the client of an EmailProvider could not be read; trying again");
                return Err(());
            }
        },
    };
    Ok(client.and_then(|client| inputs::client_id(key, &client, oauth2)).err())
}

/// The status that says so. A condition's time changes with its status alone.
fn status(provider: &EmailProvider, stands: Stands) -> EmailProviderStatus {
    let said = if stands.reason == Reason::Usable {
        "True"
    } else {
        "False"
    };
    let generation = provider.metadata.generation;
    let before = provider.status.as_ref().and_then(|status| {
        let mut conditions = status.conditions.iter();
        conditions.find(|condition| condition.type_ == ConditionType::Ready.as_str() && condition.status == said)
    });
    EmailProviderStatus {
        observed_generation: generation,
        conditions: vec![Condition {
            type_: ConditionType::Ready.as_str().to_owned(),
            status: said.to_owned(),
            reason: stands.reason.as_str().to_owned(),
            message: stands.message,
            last_transition_time: before.map_or_else(|| Time(now()), |before| before.last_transition_time.clone()),
            observed_generation: generation,
        }],
        endpoints: stands.endpoints,
    }
}
