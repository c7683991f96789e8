//! What the process remembers about assets besides the watch's cache: which Secrets wake which asset, and what was done and not yet seen again.
//!
//! All of it may be forgotten at any time: a restart loses nothing but comfort (invariant 8 keeps what matters in the status).

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::time::Instant;

use super::finalizer::is_held;
use crate::{
    api::{EmailAsset, EmailAssetStatus, names},
    lifecycle::{Attempt, Circumstances, Record},
    store::{Change, Key, token::AccessToken},
};

/// An access token that was obtained and could not be published yet (nothing rotates, so it stands nowhere else).
#[derive(Clone)]
pub(super) struct Unpublished {
    pub(super) token: AccessToken,
    pub(super) record: Record,
}

/// What is remembered of one asset. What is rarely there is boxed: of thousands, each would have room for it.
#[derive(Default)]
struct Memory {
    /// What a pass depends on: a change of anything else (the status above all) wakes nobody.
    wakes: Option<Wakes>,
    /// The resourceVersion that the watch showed last.
    version: Option<u128>,
    secrets: Vec<Key>,
    /// The `EmailProvider` that it names.
    provider: Option<Box<str>>,
    seed: Option<SeedRef>,
    status: Option<Overlay>,
    failed_under: Option<Box<Circumstances>>,
    attempt: Option<(String, Instant)>,
    unpublished: Option<Box<Unpublished>>,
    device: Option<Box<DevicePolls>>,
}

/// When a sign-in with a code was asked about last.
struct DevicePolls {
    request: String,
    last: Instant,
    /// Questions in a row that were not answered.
    unanswered: u32,
}

impl DevicePolls {
    fn first(request: &str, now: Instant) -> Self {
        Self {
            request: request.to_owned(),
            last: now,
            unanswered: 0,
        }
    }
}

/// Whether a server answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answered {
    /// It did.
    Yes,
    /// It could not be reached, or said nothing.
    No,
}

#[derive(Clone, PartialEq, Eq)]
struct Wakes {
    uid: String,
    generation: i64,
    refresh: Option<String>,
    sign_in: Option<String>,
    /// A sign-in that changed nothing is written into the status by the replica that the person came to.
    refused: Option<Time>,
    deleting: bool,
    /// Whether our finalizer is on it.
    held: bool,
}

/// A Secret, a key in it, and who names them: the oldest asset first.
#[derive(Clone, PartialEq, Eq)]
struct SeedRef {
    secret: Key,
    key: String,
    seniority: Seniority,
}

type Seniority = (i64, String);

/// A status that is newer than the watch's: what we wrote, or could not write yet.
#[derive(Clone)]
struct Overlay {
    status: Box<EmailAssetStatus>,
    /// The resourceVersion that the write answered with; none: it was not written.
    written: Option<u128>,
}

/// The edition of an asset that a pass goes by: what the watch showed, and what we made of it since.
///
/// It is taken once, when the pass begins. While it runs the watch may show our last write, and what was remembered over the pass's copy of the asset is forgotten then:
/// a pass that asked again at its end would find the status of before that write, and write its own over it in vain.
pub(super) struct Edition {
    /// The status that counts: ours, where the watch does not show it yet.
    pub(super) status: EmailAssetStatus,
    /// The resourceVersion that the next status is written over: the one that was seen, or the one that our own last write made.
    pub(super) version: Option<u128>,
    pub(super) debt: Debt,
    pub(super) age: Age,
}

/// Whether a status waits to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Debt {
    /// The status that counts was not taken by the API server yet.
    Owed,
    /// It was.
    None,
}

/// Whether the watch has shown a later copy of the asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// It has. What was remembered over this one may be forgotten already.
    Outdated,
    /// It has not.
    Newest,
}

/// What is remembered of all assets.
#[derive(Default)]
pub(super) struct Registry {
    inner: Mutex<Inner>,
}

/// The assets that name one Secret: nearly always one, and for a shared OAuth client thousands.
enum Dependents {
    One(Key),
    Many(HashSet<Key>),
}

impl Dependents {
    fn add(&mut self, asset: &Key) {
        match self {
            Self::One(only) if only == asset => {}
            Self::One(only) => *self = Self::Many(HashSet::from([only.clone(), asset.clone()])),
            Self::Many(assets) => {
                assets.insert(asset.clone());
            }
        }
    }

    /// Whether none is left.
    fn remove(&mut self, asset: &Key) -> bool {
        match self {
            Self::One(only) => only == asset,
            Self::Many(assets) => {
                assets.remove(asset);
                assets.is_empty()
            }
        }
    }

    fn all(&self) -> Vec<Key> {
        match self {
            Self::One(only) => vec![only.clone()],
            Self::Many(assets) => assets.iter().cloned().collect(),
        }
    }
}

#[derive(Default)]
struct Inner {
    /// Boxed: a map has room for up to twice as many as it holds.
    assets: HashMap<Key, Box<Memory>>,
    dependents: HashMap<Key, Dependents>,
    /// The assets that name an `EmailProvider`, by its name.
    users: HashMap<Box<str>, Dependents>,
    seeds: HashMap<(Key, String), Vec<(Key, Seniority)>>,
    busy: HashSet<Key>,
}

impl Registry {
    /// Takes in an asset as the watch showed it, and says whether a pass could come to another result.
    pub(super) fn take_in(&self, key: &Key, asset: &EmailAsset) -> Change {
        let annotation = |key: &str| asset.metadata.annotations.as_ref()?.get(key).cloned();
        let sign_in = asset.status.as_ref().and_then(|status| status.sign_in.as_ref());
        let wakes = Wakes {
            uid: asset.metadata.uid.clone().unwrap_or_default(),
            generation: asset.metadata.generation.unwrap_or_default(),
            refresh: annotation(names::REFRESH),
            sign_in: annotation(names::SIGN_IN),
            refused: sign_in
                .and_then(|sign_in| sign_in.last_refusal.as_ref())
                .and_then(|refusal| refusal.time.clone()),
            deleting: asset.metadata.deletion_timestamp.is_some(),
            held: is_held(&asset.metadata),
        };
        let mut inner = self.lock();
        let memory = inner.assets.entry(key.clone()).or_default();
        let version = version(asset);
        memory.version = version;
        if memory
            .status
            .as_ref()
            .is_some_and(|overlay| overlay.written.is_some_and(|written| version >= Some(written)))
        {
            memory.status = None;
        }
        if memory.wakes.as_ref() == Some(&wakes) {
            return Change::Known;
        }
        if memory.wakes.as_ref().is_some_and(|before| before.uid != wakes.uid) {
            inner.forget(key);
        }
        inner.index(key, asset, wakes);
        Change::Changed
    }

    /// The asset could not be read. When it can be again it is looked at, even if nothing but its status was mended.
    pub(super) fn could_not_read(&self, key: &Key) {
        self.with(key, |memory| memory.wakes = None);
    }

    /// Forgets an asset that is gone.
    pub(super) fn forget(&self, key: &Key) {
        self.lock().forget(key);
    }

    /// The assets that name this Secret.
    pub(super) fn dependents(&self, secret: &Key) -> Vec<Key> {
        self.lock()
            .dependents
            .get(secret)
            .map(Dependents::all)
            .unwrap_or_default()
    }

    /// The assets that name this `EmailProvider`.
    pub(super) fn users(&self, provider: &str) -> Vec<Key> {
        self.lock().users.get(provider).map(Dependents::all).unwrap_or_default()
    }

    /// The assets that name any `EmailProvider`.
    pub(super) fn all_users(&self) -> Vec<Key> {
        self.lock().users.values().flat_map(Dependents::all).collect()
    }

    /// Those of one namespace.
    pub(super) fn users_in(&self, namespace: &str) -> Vec<Key> {
        let mut users = self.all_users();
        users.retain(|asset| *asset.namespace == *namespace);
        users
    }

    /// The other assets that name the same seed, by Secret and key.
    pub(super) fn rivals(&self, key: &Key) -> Vec<Key> {
        let inner = self.lock();
        let place = inner.assets.get(key).and_then(|memory| memory.seed.as_ref());
        let claims = place.and_then(|seed| inner.seeds.get(&(seed.secret.clone(), seed.key.clone())));
        claims.map_or_else(Vec::new, |claims| {
            let rivals = claims.iter().map(|(rival, _)| rival);
            rivals.filter(|rival| *rival != key).cloned().collect()
        })
    }

    /// Whose the seed is that this asset names, if not its own: of those that have sent it already (`has_sent`) the oldest, else the oldest of all.
    ///
    /// Age alone would not do: it is known to the second, and an older asset can come to name a seed that a younger one has redeemed long ago.
    pub(super) fn owner_of_seed(&self, key: &Key, has_sent: impl Fn(&Key) -> bool) -> Option<Key> {
        let inner = self.lock();
        let seed = inner.assets.get(key)?.seed.as_ref()?;
        let claims = inner.seeds.get(&(seed.secret.clone(), seed.key.clone()))?;
        let sent = |rival: &Key| inner.busy.contains(rival) || has_sent(rival);
        let owner = claims
            .iter()
            .min_by(|(one, elder), (other, younger)| (!sent(one), elder).cmp(&(!sent(other), younger)));
        owner.map(|(owner, _)| owner).filter(|owner| *owner != key).cloned()
    }

    /// What a pass over this asset, as the watch showed it, goes by.
    pub(super) fn edition(&self, key: &Key, asset: &EmailAsset) -> Edition {
        let inner = self.lock();
        let memory = inner.assets.get(key);
        let overlay = memory.and_then(|memory| memory.status.as_ref());
        let status = overlay.map(|overlay| &*overlay.status).or(asset.status.as_ref());
        Edition {
            status: status.cloned().unwrap_or_default(),
            version: version(asset).max(overlay.and_then(|overlay| overlay.written)),
            debt: match overlay {
                Some(Overlay { written: None, .. }) => Debt::Owed,
                _ => Debt::None,
            },
            age: match memory {
                Some(memory) if memory.version > version(asset) => Age::Outdated,
                _ => Age::Newest,
            },
        }
    }

    /// Remembers a status that was written, until the watch shows it.
    pub(super) fn wrote_status(&self, key: &Key, status: EmailAssetStatus, resource_version: Option<u128>) {
        self.with(key, |memory| {
            // The watch may have been faster than the answer.
            let seen = resource_version.is_some_and(|written| memory.version >= Some(written));
            memory.status = (!seen).then(|| Overlay {
                status: Box::new(status),
                written: resource_version.or(Some(0)),
            });
        });
    }

    /// Remembers a status that could not be written: passes go by it meanwhile, so that a failing write causes no second request (invariant 9).
    pub(super) fn could_not_write_status(&self, key: &Key, status: EmailAssetStatus) {
        let status = Box::new(status);
        self.with(key, |memory| memory.status = Some(Overlay { status, written: None }));
    }

    pub(super) fn failed_under(&self, key: &Key) -> Option<Circumstances> {
        self.lock()
            .assets
            .get(key)
            .and_then(|memory| memory.failed_under.as_deref().cloned())
    }

    pub(super) fn note_failed_under(&self, key: &Key, circumstances: Option<Circumstances>) {
        self.with(key, |memory| memory.failed_under = circumstances.map(Box::new));
    }

    /// For how long this attempt has been in sight, on our own clock (invariant 2).
    pub(super) fn watched(&self, key: &Key, attempt: &Attempt) -> SignedDuration {
        let now = Instant::now();
        let mut since = now;
        self.with(key, |memory| match &memory.attempt {
            Some((id, first)) if *id == attempt.id => since = *first,
            _ => memory.attempt = Some((attempt.id.clone(), now)),
        });
        SignedDuration::try_from(now.duration_since(since)).unwrap_or(SignedDuration::MAX)
    }

    /// How long ago the server was asked about this sign-in with a code, and how many questions in a row it has not answered. A process that has not asked yet counts
    /// from when it first saw it: the one before may have asked a moment ago.
    pub(super) fn device_polled(&self, key: &Key, request: &str) -> (Duration, u32) {
        let now = Instant::now();
        let mut seen = (Duration::ZERO, 0);
        self.with(key, |memory| match &memory.device {
            Some(polls) if polls.request == request => seen = (now.duration_since(polls.last), polls.unanswered),
            _ => memory.device = Some(Box::new(DevicePolls::first(request, now))),
        });
        seen
    }

    /// The server was asked about this sign-in with a code just now.
    pub(super) fn poll_device(&self, key: &Key, request: &str, answered: Answered) {
        self.with(key, |memory| {
            let now = Instant::now();
            let mut polls = memory
                .device
                .take()
                .filter(|polls| polls.request == request)
                .unwrap_or_else(|| Box::new(DevicePolls::first(request, now)));
            polls.last = now;
            polls.unanswered = match answered {
                Answered::Yes => 0,
                Answered::No => polls.unanswered.saturating_add(1),
            };
            memory.device = Some(polls);
        });
    }

    /// The API server was out of reach: another process may have been unable to store its answer meanwhile, so the wait for it starts anew (invariant 2).
    pub(super) fn forget_sightings(&self) {
        for memory in self.lock().assets.values_mut() {
            memory.attempt = None;
        }
    }

    pub(super) fn unpublished(&self, key: &Key) -> Option<Unpublished> {
        self.lock()
            .assets
            .get(key)
            .and_then(|memory| memory.unpublished.as_deref().cloned())
    }

    pub(super) fn keep_unpublished(&self, key: &Key, unpublished: Option<Unpublished>) {
        self.with(key, |memory| memory.unpublished = unpublished.map(Box::new));
    }

    /// Marks an asset whose grant is in the hands of a task that no pass waits for.
    pub(super) fn begin(&self, key: &Key) {
        self.lock().busy.insert(key.clone());
    }

    pub(super) fn finish(&self, key: &Key) {
        self.lock().busy.remove(key);
    }

    pub(super) fn is_busy(&self, key: &Key) -> bool {
        self.lock().busy.contains(key)
    }

    fn with(&self, key: &Key, change: impl FnOnce(&mut Memory)) {
        if let Some(memory) = self.lock().assets.get_mut(key) {
            change(memory);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn index(&mut self, key: &Key, asset: &EmailAsset, wakes: Wakes) {
        self.drop_links(key);
        let seniority = (
            asset
                .metadata
                .creation_timestamp
                .as_ref()
                .map_or(i64::MAX, |time| time.0.as_second()),
            wakes.uid.clone(),
        );
        let of_namespace = |name: &str| Key {
            namespace: Arc::clone(&key.namespace),
            name: name.into(),
        };
        let oauth2 = &asset.spec.oauth2;
        let seed = oauth2.refresh_token_secret_ref.as_ref().map(|seed| SeedRef {
            secret: of_namespace(&seed.name),
            key: seed.key.clone(),
            seniority,
        });
        let mut secrets = vec![
            of_namespace(&asset.token_secret_name()),
            of_namespace(&asset.grant_secret_name()),
        ];
        secrets.extend(seed.as_ref().map(|seed| seed.secret.clone()));
        secrets.extend(
            oauth2
                .client_credentials_ref
                .as_ref()
                .map(|client| of_namespace(&client.name)),
        );
        for secret in &secrets {
            self.dependents
                .entry(secret.clone())
                .and_modify(|assets| assets.add(key))
                .or_insert_with(|| Dependents::One(key.clone()));
        }
        let provider: Option<Box<str>> = asset.spec.email_provider().map(Into::into);
        if let Some(provider) = &provider {
            self.users
                .entry(provider.clone())
                .and_modify(|assets| assets.add(key))
                .or_insert_with(|| Dependents::One(key.clone()));
        }
        if let Some(seed) = &seed {
            let place = (seed.secret.clone(), seed.key.clone());
            // Nearly always one.
            let claims = self.seeds.entry(place).or_insert_with(|| Vec::with_capacity(1));
            claims.push((key.clone(), seed.seniority.clone()));
        }
        let memory = self.assets.entry(key.clone()).or_default();
        memory.wakes = Some(wakes);
        memory.secrets = secrets;
        memory.provider = provider;
        memory.seed = seed;
    }

    fn forget(&mut self, key: &Key) {
        self.drop_links(key);
        self.assets.remove(key);
    }

    fn drop_links(&mut self, key: &Key) {
        let Some(memory) = self.assets.get_mut(key) else { return };
        let (secrets, seed) = (std::mem::take(&mut memory.secrets), memory.seed.take());
        if let Some(provider) = memory.provider.take()
            && self.users.get_mut(&provider).is_some_and(|assets| assets.remove(key))
        {
            self.users.remove(&provider);
        }
        for secret in secrets {
            if self
                .dependents
                .get_mut(&secret)
                .is_some_and(|assets| assets.remove(key))
            {
                self.dependents.remove(&secret);
            }
        }
        if let Some(seed) = seed {
            let place = (seed.secret, seed.key);
            if let Some(claims) = self.seeds.get_mut(&place) {
                claims.retain(|(asset, _)| asset != key);
                if claims.is_empty() {
                    self.seeds.remove(&place);
                }
            }
        }
    }
}

/// The resourceVersion as a number: those of one resource can be compared (KEP-5504).
pub(super) fn version(asset: &EmailAsset) -> Option<u128> {
    asset
        .metadata
        .resource_version
        .as_deref()
        .and_then(|version| version.parse().ok())
}

#[cfg(test)]
mod tests;
