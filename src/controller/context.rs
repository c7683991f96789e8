//! What all passes share: clients, caches, gates and the fence.

use std::{sync::Arc, time::Duration};

use kube::{
    Client,
    runtime::{
        events::{Recorder, Reporter},
        reflector::{ObjectRef, Store},
    },
};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    clients::Clients, discoveries::Discoveries, federation::Federation, gates::Gates, lean::Watched, noted::Noted,
    providers::Providers, registry::Registry, watch::Synced,
};
use crate::{
    api::{AllowedKeys, names},
    leader::Fence,
    lifecycle::SignInRefusal,
    oauth::{Class, Outcome, TokenClient},
    provider::Catalogue,
    signin::Links,
    store::{Index, Key, Kind, OnWrite, Secrets, StoreError, spool::Spool},
    telemetry::metrics::{Metrics, RequestClass, RequestOutcome, Resource, SignInResult, WriteResult},
};

/// How the controller works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which namespaces are watched; empty: all.
    pub namespaces: Vec<String>,
    /// The operator's own namespace, where the clients of `EmailProvider`s are.
    pub own_namespace: String,
    /// The pod's name, for Events.
    pub instance: String,
    /// The longest that one call to the API server may take.
    pub api_timeout: Duration,
    /// The longest that one request to a token endpoint may take.
    pub token_timeout: Duration,
    /// How many requests one token endpoint gets at a time.
    pub requests_per_host: usize,
    /// Label and annotation keys that assets may put on token Secrets.
    pub allowed_keys: AllowedKeys,
    /// The operator's own identity at token endpoints.
    pub federation: Federation,
}

/// What all passes share.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) settings: Settings,
    pub(super) secrets: Secrets,
    pub(super) index: Index,
    pub(super) registry: Registry,
    pub(super) clients: Clients,
    pub(super) providers: Providers,
    pub(super) assets: Store<Watched>,
    pub(super) catalogue: Catalogue,
    pub(super) token_client: TokenClient,
    pub(super) spool: Arc<Spool>,
    pub(super) fence: Fence,
    pub(super) gates: Gates,
    /// What issuers say about their endpoints.
    pub(super) discoveries: Discoveries,
    pub(super) metrics: Arc<Metrics>,
    /// Refused sign-ins that were noted lately.
    pub(super) noted: Noted,
    pub(super) recorder: Recorder,
    /// Tasks that shutdown waits for.
    pub(super) tracker: TaskTracker,
    /// Set on SIGTERM: nothing new is opened.
    pub(super) stopping: CancellationToken,
    pub(super) waker: mpsc::UnboundedSender<ObjectRef<Watched>>,
    /// Links to sign-in pages; none: the operator has no public address.
    pub(super) links: Option<Links>,
    /// How many watches have delivered their first list, and how many there are.
    pub(super) synced: (Synced, usize),
}

impl Context {
    /// Returns when all watches have delivered their first list.
    pub(super) async fn caches_are_synced(&self) {
        let (synced, wanted) = &self.synced;
        synced.reached(*wanted).await;
    }

    /// Has the asset looked at again.
    pub(super) fn wake(&self, asset: &Key) {
        // The receiver is gone only when the controller is shutting down.
        let _ = self.waker.send(reference(asset));
    }

    /// Has all assets that name this Secret looked at again.
    pub(super) fn wake_dependents(&self, secret: &Key) {
        for asset in self.registry.dependents(secret) {
            self.wake(&asset);
        }
        if *secret.namespace == *self.settings.own_namespace {
            let providers = self.providers.with_client(&secret.name);
            for provider in &providers {
                self.wake_users(provider);
            }
            if !providers.is_empty() {
                self.providers.look_at_statuses();
            }
        }
    }

    /// Has all assets that name this `EmailProvider` looked at again.
    pub(super) fn wake_users(&self, provider: &str) {
        for asset in self.registry.users(provider) {
            self.wake(&asset);
        }
    }

    /// Has all assets that name any `EmailProvider` looked at again.
    pub(super) fn wake_all_users(&self) {
        for asset in self.registry.all_users() {
            self.wake(&asset);
        }
    }

    /// Asks the API server for a Secret, so that the index knows it as it is now.
    pub(super) async fn look(&self, key: &Key) -> Result<(), StoreError> {
        match self.secrets.read(key).await? {
            Some(contents) => {
                self.index.take_in(key.clone(), contents.seen);
            }
            None => {
                if let Some(seen) = self.index.get(key) {
                    self.index.forget(key, &seen.uid);
                }
            }
        }
        Ok(())
    }

    /// As [`Self::look`], where a failure only means that the watch will tell later.
    pub(super) async fn refresh(&self, key: &Key) {
        if let Err(error) = self.look(key).await {
            tracing::debug!(secret = %key, %error, "could not look at a Secret; the watch will tell");
        }
    }

    /// Shows how many answers wait in the spool.
    pub(super) fn count_spool(&self) {
        if let Ok(entries) = self.spool.entries() {
            self.metrics.spool_has(entries.len());
        }
    }

    pub(super) fn count_request(&self, outcome: &Outcome, took: Duration) {
        let (outcome, class) = match outcome {
            Outcome::Answered(_) => (RequestOutcome::Answered, RequestClass::None),
            Outcome::Refused(refusal) => (RequestOutcome::Refused, request_class(refusal.class)),
            Outcome::NotSent(_) => (RequestOutcome::NotSent, RequestClass::Retry),
            Outcome::Unknown(_) => (RequestOutcome::Unknown, RequestClass::Retry),
        };
        self.metrics.token_requested(outcome, class, took);
    }

    /// Counts a sign-in by what became of it.
    pub(super) fn count_sign_in<T>(&self, ended: &Result<T, SignInRefusal>) {
        self.metrics.signed_in(match ended {
            Ok(_) => SignInResult::Stored,
            Err(refusal) => sign_in_result(refusal),
        });
    }
}

const fn sign_in_result(refusal: &SignInRefusal) -> SignInResult {
    match refusal {
        SignInRefusal::WrongAccount { .. } | SignInRefusal::OtherSubject { .. } => SignInResult::WrongAccount,
        SignInRefusal::IdentityUnproven { .. } => SignInResult::IdentityUnproven,
        SignInRefusal::ScopeNotGranted { .. } => SignInResult::ScopeNotGranted,
        SignInRefusal::NoRefreshToken => SignInResult::NoRefreshToken,
        SignInRefusal::ConsentDenied => SignInResult::ConsentDenied,
        SignInRefusal::AdminConsentRequired => SignInResult::AdminConsentRequired,
        SignInRefusal::CodeExpired | SignInRefusal::CodeRefused { .. } => SignInResult::CodeExpired,
        SignInRefusal::Superseded => SignInResult::Superseded,
        SignInRefusal::NotPossible { .. } => SignInResult::NotPossible,
        SignInRefusal::Failed { .. } => SignInResult::Failed,
    }
}

const fn request_class(class: Class) -> RequestClass {
    match class {
        Class::Retry => RequestClass::Retry,
        Class::Throttled => RequestClass::Throttled,
        Class::Reauthorize => RequestClass::Reauth,
        Class::AdminConfig => RequestClass::AdminConfig,
        Class::Bug => RequestClass::Bug,
    }
}

/// Counts writes of Secrets.
pub(super) fn writes_counted_by(metrics: &Arc<Metrics>) -> OnWrite {
    let metrics = Arc::clone(metrics);
    Arc::new(move |kind, ended| {
        let resource = if kind == Kind::Grant {
            Resource::GrantSecret
        } else {
            Resource::TokenSecret
        };
        let result = match ended {
            Ok(()) => WriteResult::Written,
            Err(StoreError::Conflict(_) | StoreError::Exists(_)) => WriteResult::Conflict,
            Err(_) => WriteResult::Failed,
        };
        metrics.wrote(resource, result);
    })
}

/// An asset's reference, as the controller's queue wants it.
pub(super) fn reference(asset: &Key) -> ObjectRef<Watched> {
    ObjectRef::new(&asset.name).within(&asset.namespace)
}

/// A recorder of Events in the operator's name.
pub(super) fn recorder(client: Client, instance: &str) -> Recorder {
    let reporter = Reporter {
        controller: names::FIELD_MANAGER.to_owned(),
        instance: Some(instance.to_owned()),
    };
    Recorder::new(client, reporter)
}
