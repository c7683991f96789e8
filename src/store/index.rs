//! What is known of all Secrets without their contents: the projection that one metadata watch for each kind keeps.
//!
//! An object of the watch is reduced to what decisions need ([`Seen`]) and dropped. Our own writes are taken in at once ([`Index::take_in`]), so that a pass goes
//! on with what it has written and the watch's later copy of it wakes nobody.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::{
    annotations::{self, Annotations, Rendered},
    text::Text,
};
use crate::{
    api::names,
    lifecycle::{Attempt, DeviceAuthorization, InputVersion, Record, UnansweredTries},
};

/// Namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl Key {
    /// A key of these two.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// The kinds of Secrets, told apart by their immutable type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `emailasset.dev/grant`.
    Grant,
    /// `emailasset.dev/token`.
    Token,
    /// `emailasset.dev/authorization-response`: what `kubectl emailasset authorize` hands over.
    Response,
    /// Anything else: inputs, and strangers.
    Other,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Grant, Self::Token, Self::Response, Self::Other];

    /// The kind of a Secret with this `type`.
    #[must_use]
    pub fn of(secret_type: Option<&str>) -> Self {
        match secret_type {
            Some(names::GRANT_SECRET_TYPE) => Self::Grant,
            Some(names::TOKEN_SECRET_TYPE) => Self::Token,
            Some(names::RESPONSE_SECRET_TYPE) => Self::Response,
            _ => Self::Other,
        }
    }

    /// The field selector of a watch for this kind: a metadata watch does not carry the type, but it can be selected by it.
    #[must_use]
    pub fn field_selector(self) -> String {
        let (grant, token) = (names::GRANT_SECRET_TYPE, names::TOKEN_SECRET_TYPE);
        let response = names::RESPONSE_SECRET_TYPE;
        match self {
            Self::Grant => format!("type={grant}"),
            Self::Token => format!("type={token}"),
            Self::Response => format!("type={response}"),
            Self::Other => format!("type!={grant},type!={token},type!={response}"),
        }
    }
}

/// What is known of one Secret.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Its UID.
    pub uid: String,
    /// Its resourceVersion.
    pub resource_version: String,
    /// The EmailAsset that owns it: UID and name.
    pub owner: Option<(String, String)>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether it has any label: a JSON Patch cannot add one to a map that is not there.
    pub labelled: bool,
    /// Whether it has any annotation, for the same reason: somebody may have removed ours.
    pub annotated: bool,
    kind: Kind,
    /// Our annotations, packed; none where there are none. Passes look at them now and then, and there are some for each asset.
    notes: Option<Text>,
}

/// What our annotations say of a Secret of each kind.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A grant Secret.
    Grant(Box<Grant>),
    /// A token Secret.
    Token(Box<Token>),
    /// What a person's sign-in was answered with.
    Response {
        /// The name of the asset that it is for.
        asset: Option<String>,
    },
    /// Another Secret.
    Other {
        /// The value of `emailasset.dev/hosts`.
        hosts: Option<String>,
        /// The value of `emailasset.dev/adopt`.
        adopt: Option<String>,
    },
}

/// A grant Secret's annotations.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Grant {
    /// The grant's record.
    pub record: Record,
    /// The open attempt.
    pub attempt: Option<Attempt>,
    /// Tries without an answer.
    pub unanswered: UnansweredTries,
    /// A sign-in with a code that is under way.
    pub device: Option<DeviceAuthorization>,
    /// UID of the asset that it belongs or belonged to.
    pub asset: String,
    /// The mailbox.
    pub email: String,
}

/// A token Secret's annotations.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Token {
    /// The record.
    pub record: Record,
    /// How it was rendered.
    pub rendered: Rendered,
}

impl Seen {
    /// Reduces an object's metadata to what matters.
    #[must_use]
    pub fn new(kind: Kind, meta: ObjectMeta) -> Self {
        let annotations = meta.annotations.unwrap_or_default();
        let owner = meta.owner_references.unwrap_or_default().into_iter().find(is_asset);
        Self {
            uid: meta.uid.unwrap_or_default(),
            resource_version: meta.resource_version.unwrap_or_default(),
            owner: owner.map(|owner| (owner.uid, owner.name)),
            deleting: meta.deletion_timestamp.is_some(),
            annotated: !annotations.is_empty(),
            labelled: meta.labels.is_some_and(|labels| !labels.is_empty()),
            kind,
            notes: packed(annotations),
        }
    }

    /// The kind of the Secret.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// What our annotations say, which is read anew each time.
    #[must_use]
    pub fn what(&self) -> What {
        let text = self.notes.as_ref().and_then(Text::unpack).unwrap_or_default();
        // What we have written ourselves can be read; and nothing at all counts as no annotations.
        What::new(self.kind, &serde_json::from_str(&text).unwrap_or_default())
    }

    /// Its edition: UID and resourceVersion.
    #[must_use]
    pub fn version(&self) -> InputVersion {
        InputVersion(format!("{}/{}", self.uid, self.resource_version))
    }

    /// Whether this version is an edition of this very Secret, earlier or later.
    #[must_use]
    pub fn is_edition(&self, version: &InputVersion) -> bool {
        version.0.split('/').next() == Some(self.uid.as_str())
    }

    /// Whether this is a later or equal edition of the same object. resourceVersions of one resource can be compared as numbers (KEP-5504).
    fn supersedes(&self, other: &Self) -> bool {
        let number = |seen: &Self| seen.resource_version.parse::<u128>().ok();
        match (number(self), number(other)) {
            (Some(this), Some(that)) => this >= that,
            _ => true,
        }
    }
}

impl What {
    fn new(kind: Kind, annotations: &Annotations) -> Self {
        let text = |key: &str| annotations.get(key).cloned();
        match kind {
            Kind::Grant => Self::Grant(Box::new(Grant {
                record: annotations::record(annotations),
                attempt: annotations::attempt(annotations),
                unanswered: annotations::unanswered(annotations),
                device: annotations::device(annotations),
                asset: text(names::ASSET).unwrap_or_default(),
                email: text(names::EMAIL).unwrap_or_default(),
            })),
            Kind::Token => Self::Token(Box::new(Token {
                record: annotations::record(annotations),
                rendered: annotations::rendered(annotations),
            })),
            Kind::Response => Self::Response {
                asset: text(names::RESPONSE_FOR),
            },
            Kind::Other => Self::Other {
                hosts: text(names::HOSTS),
                adopt: text(names::ADOPT),
            },
        }
    }
}

/// Our annotations among these.
fn packed(mut annotations: Annotations) -> Option<Text> {
    annotations.retain(|key, _| key.starts_with(names::PREFIX));
    (!annotations.is_empty()).then(|| Text::pack(&annotations::write(&annotations)))
}

fn is_asset(owner: &OwnerReference) -> bool {
    owner.kind == "EmailAsset" && owner.api_version.starts_with("emailasset.dev/")
}

/// Whether anything changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It did.
    Changed,
    /// It was known already.
    Known,
}

/// All Secrets, as far as they matter.
#[derive(Debug, Default)]
pub struct Index {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    secrets: HashMap<Key, Arc<Seen>>,
    /// By the owner's UID. Nearly always one, which is where a list is smaller than a set.
    tokens: HashMap<String, Vec<Key>>,
}

impl Index {
    /// What is known of a Secret.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Arc<Seen>> {
        self.lock().secrets.get(key).cloned()
    }

    /// The token Secrets that an asset owns, by its UID.
    #[must_use]
    pub fn tokens_of(&self, owner: &str) -> Vec<Key> {
        self.lock().tokens.get(owner).cloned().unwrap_or_default()
    }

    /// The places of all Secrets of one kind.
    #[must_use]
    pub fn of_kind(&self, kind: Kind) -> Vec<Key> {
        let inner = self.lock();
        let of_kind = inner.secrets.iter().filter(|(_, seen)| seen.kind() == kind);
        of_kind.map(|(key, _)| key.clone()).collect()
    }

    /// Takes in an object as the API server showed it, unless a later edition is known.
    pub fn take_in(&self, key: Key, seen: Seen) -> Change {
        let mut inner = self.lock();
        if let Some(known) = inner.secrets.get(&key) {
            let same = known.uid == seen.uid;
            if same && (known.resource_version == seen.resource_version || !seen.supersedes(known)) {
                return Change::Known;
            }
            // Another object of this name whose creation we saw already: the watch of another kind lags behind.
            if !same && !seen.supersedes(known) {
                return Change::Known;
            }
        }
        inner.insert(key, seen);
        Change::Changed
    }

    /// Forgets an object, if it is still the one with this UID.
    pub fn forget(&self, key: &Key, uid: &str) -> Change {
        let mut inner = self.lock();
        if inner.secrets.get(key).is_some_and(|known| known.uid == uid) {
            inner.remove(key)
        } else {
            Change::Known
        }
    }

    /// After a fresh list of one kind in one namespace (or all): forgets what it did not contain, and says what that was.
    pub fn keep_only(&self, kind: Kind, namespace: Option<&str>, listed: &HashSet<Key>) -> Vec<Key> {
        let mut inner = self.lock();
        let here = |key: &Key| namespace.is_none_or(|namespace| *key.namespace == *namespace);
        let of_kind = inner.secrets.iter().filter(|(_, seen)| seen.kind == kind);
        let gone: Vec<Key> = of_kind
            .map(|(key, _)| key.clone())
            .filter(|key| here(key) && !listed.contains(key))
            .collect();
        for key in &gone {
            inner.remove(key);
        }
        gone
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // A panic while holding the lock leaves the map whole: each change is one insert or remove.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn insert(&mut self, key: Key, seen: Seen) {
        self.remove(&key);
        if let (Kind::Token, Some((owner, _))) = (seen.kind, &seen.owner) {
            self.tokens.entry(owner.clone()).or_default().push(key.clone());
        }
        self.secrets.insert(key, Arc::new(seen));
    }

    fn remove(&mut self, key: &Key) -> Change {
        let Some(seen) = self.secrets.remove(key) else {
            return Change::Known;
        };
        if let Some((owner, _)) = &seen.owner
            && let Some(keys) = self.tokens.get_mut(owner)
        {
            keys.retain(|other| other != key);
            if keys.is_empty() {
                self.tokens.remove(owner);
            }
        }
        Change::Changed
    }
}

/// Our annotations of an object, for a patch: `None` removes.
pub(super) type AnnotationChanges = BTreeMap<&'static str, Option<String>>;
