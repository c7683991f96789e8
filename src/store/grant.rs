//! The grant Secret: attempts, and answers that must not be lost.
//!
//! An attempt is opened by compare-and-set before the request. The answer is stored by a compare-and-set on the *generation*: it goes in while the Secret holds
//! the generation that it was redeemed from, whatever attempt was opened or called lost since, and a Secret that is gone is created again (invariant 1). None of
//! this needs leadership.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{
    annotations,
    index::{Grant, Key, Kind, Seen, What},
    inputs,
    secrets::{Changes, Contents, Draft, Secrets, StoreError},
};
use crate::{
    api::names,
    lifecycle::{Attempt, Fingerprint, Generation, Record, Retention, SeedRecord, Source, Verdict},
};

/// Keys of a grant Secret's data.
pub mod keys {
    /// The newest refresh token.
    pub const REFRESH_TOKEN: &str = "refresh_token";
    /// The newest access token.
    pub const ACCESS_TOKEN: &str = "access_token";
    /// Its type.
    pub const TOKEN_TYPE: &str = "token_type";
    /// The device code of a sign-in that is under way (RFC 8628 section 3.2).
    pub const DEVICE_CODE: &str = "device_code";
}

/// The asset that a grant belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Belongs {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its mailbox.
    pub email: String,
    /// Whether the grant goes with it.
    pub retention: StoredRetention,
}

/// [`Retention`], as the spool keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoredRetention {
    /// The grant Secret outlives the asset.
    Stays,
    /// It goes with the asset.
    GoesWithAsset,
}

impl From<Retention> for StoredRetention {
    fn from(retention: Retention) -> Self {
        match retention {
            Retention::Stays => Self::Stays,
            Retention::GoesWithAsset => Self::GoesWithAsset,
        }
    }
}

impl Belongs {
    /// The grant Secret's place.
    #[must_use]
    pub fn grant_key(&self) -> Key {
        Key::new(&self.namespace, &names::grant_secret(&self.name))
    }

    /// The ownerReference, if the grant goes with the asset.
    #[must_use]
    pub fn grant_owner(&self) -> Option<OwnerReference> {
        (self.retention == StoredRetention::GoesWithAsset).then(|| self.owner())
    }

    /// An ownerReference to the asset. `blockOwnerDeletion` is left out: it would need a right on finalizers.
    #[must_use]
    pub fn owner(&self) -> OwnerReference {
        OwnerReference {
            api_version: "emailasset.dev/v1alpha1".to_owned(),
            kind: "EmailAsset".to_owned(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            controller: Some(true),
            block_owner_deletion: None,
        }
    }
}

/// An answer of a token endpoint on its way into the grant Secret. It cannot be printed.
pub struct NewGrant {
    /// Whose it is.
    pub belongs: Belongs,
    /// The generation whose refresh token was sent.
    pub from: Generation,
    /// Which refresh token was sent.
    pub source: Source,
    /// The digest of the refresh token that was sent: an answer goes only over the grant that bought it.
    pub spent: Fingerprint,
    /// What the annotations should say once it is stored.
    pub record: Record,
    /// The refresh token to use from now on.
    pub refresh_token: SecretString,
    /// The access token.
    pub access_token: SecretString,
    /// Its type.
    pub token_type: String,
}

/// [`NewGrant`] as it stands in the spool.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spooled {
    belongs: Belongs,
    from: Generation,
    source: Source,
    spent: Fingerprint,
    annotations: BTreeMap<String, String>,
    refresh_token: String,
    access_token: String,
    token_type: String,
}

/// What stands in the spool is not an answer of ours.
#[derive(Debug, thiserror::Error)]
#[error("the spooled answer cannot be read: it was cut off, or an operator of another version wrote it")]
pub struct Unreadable;

impl NewGrant {
    /// The answer as text, for the spool.
    #[must_use]
    pub fn to_spool(&self) -> SecretString {
        let annotations = annotations::of_record(&self.record).into_iter();
        let spooled = Spooled {
            belongs: self.belongs.clone(),
            from: self.from,
            source: self.source.clone(),
            spent: self.spent.clone(),
            annotations: annotations
                .filter_map(|(key, value)| Some((key.to_owned(), value?)))
                .collect(),
            refresh_token: self.refresh_token.expose_secret().to_owned(),
            access_token: self.access_token.expose_secret().to_owned(),
            token_type: self.token_type.clone(),
        };
        SecretString::from(annotations::write(&spooled))
    }

    /// The answer that [`Self::to_spool`] wrote.
    ///
    /// # Errors
    /// [`Unreadable`]; the text is in no error.
    pub fn from_spool(text: &SecretString) -> Result<Self, Unreadable> {
        let spooled: Spooled = serde_json::from_str(text.expose_secret()).map_err(|_| Unreadable)?;
        Ok(Self {
            belongs: spooled.belongs,
            from: spooled.from,
            source: spooled.source,
            spent: spooled.spent,
            record: annotations::record(&spooled.annotations),
            refresh_token: SecretString::from(spooled.refresh_token),
            access_token: SecretString::from(spooled.access_token),
            token_type: spooled.token_type,
        })
    }

    /// Generations are counted from what is known, so after a loss two grants could have the same number: the refresh token that stands there must be the one that
    /// bought this answer. A seed's answer replaces any grant of its generation.
    fn is_superseded_by(&self, contents: &Contents) -> bool {
        let stored = contents
            .text(keys::REFRESH_TOKEN)
            .map(|token| inputs::fingerprint(&token));
        self.source == Source::Grant && stored.is_ok_and(|stored| stored != self.spent)
    }

    fn data(&self) -> BTreeMap<String, SecretString> {
        BTreeMap::from([
            (keys::REFRESH_TOKEN.to_owned(), self.refresh_token.clone()),
            (keys::ACCESS_TOKEN.to_owned(), self.access_token.clone()),
            (
                keys::TOKEN_TYPE.to_owned(),
                SecretString::from(self.token_type.as_str()),
            ),
        ])
    }

    /// The record to write over what the Secret says now: seeds that were tried in the meantime stay in the ledger.
    fn record_over(&self, known: Option<&Record>) -> Record {
        let mut record = self.record.clone();
        if let Some(known) = known {
            // What a refresh knows comes from the token Secret, which does not say who signed in.
            record.account = record.account.or_else(|| known.account.clone());
            record.seeds = match &self.source {
                Source::Grant | Source::Client => known.seeds.clone(),
                Source::Seed(fingerprint) => known.seeds.clone().with(SeedRecord {
                    fingerprint: fingerprint.clone(),
                    verdict: Verdict::Taken,
                    client_id: record
                        .binding
                        .as_ref()
                        .map(|binding| binding.client_id.clone())
                        .unwrap_or_default(),
                }),
            };
        }
        record
    }
}

/// What became of an answer.
pub enum Stored {
    /// It is in the grant Secret.
    Here(Box<Seen>),
    /// The grant Secret holds a later answer.
    Superseded(Box<Seen>),
    /// There is no place for it any more, and why: the namespace is gone, or the asset's name now stands for another mailbox.
    Dropped(&'static str),
}

impl Secrets {
    /// Stores an answer, starting from what is known of the grant Secret. Call it again, without `known`, until it succeeds (invariant 1).
    ///
    /// # Errors
    /// [`StoreError`] when the API server could not be asked; whether the write happened is then unknown, and asking again finds out.
    pub async fn store(&self, answer: &NewGrant, known: Option<&Seen>) -> Result<Stored, StoreError> {
        let key = answer.belongs.grant_key();
        if let Some(seen) = known
            && let Some(stored) = self.store_over(answer, &key, seen).await?
        {
            return Ok(stored);
        }
        let stored = match self.read(&key).await? {
            Some(contents) if answer.is_superseded_by(&contents) => Some(Stored::Superseded(Box::new(contents.seen))),
            Some(contents) => self.store_over(answer, &key, &contents.seen).await?,
            None => self.store_anew(answer, &key).await?,
        };
        stored.ok_or(StoreError::Conflict(key))
    }

    /// Stores over a Secret that is there; none when it changed in between.
    async fn store_over(&self, answer: &NewGrant, key: &Key, seen: &Seen) -> Result<Option<Stored>, StoreError> {
        let What::Grant(grant) = seen.what() else {
            return Ok(Some(Stored::Dropped(
                "a Secret that is not ours has the grant Secret's name",
            )));
        };
        if grant.record.generation > answer.from {
            return Ok(Some(Stored::Superseded(Box::new(seen.clone()))));
        }
        if grant.email != answer.belongs.email {
            return Ok(Some(Stored::Dropped("the grant Secret now belongs to another mailbox")));
        }
        let mut written = annotations::of_record(&answer.record_over(Some(&grant.record)));
        // Whatever attempt stands there, this answer ends it: the refresh token that it sent is not the newest any more.
        written.insert(names::ATTEMPT, None);
        written.insert(names::UNANSWERED, None);
        if grant.record.upkeep != answer.record.upkeep {
            written.entry(names::STANDING).or_insert(None);
        }
        let changes = Changes {
            data: Some(answer.data()),
            ..Changes::of_annotations(written)
        };
        match self.change(key, seen, &changes).await {
            Ok(seen) => Ok(Some(Stored::Here(Box::new(seen)))),
            Err(StoreError::Conflict(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn store_anew(&self, answer: &NewGrant, key: &Key) -> Result<Option<Stored>, StoreError> {
        let draft = grant_draft(&answer.belongs, &answer.record_over(None), None, answer.data());
        match self.create(key, draft).await {
            Ok(seen) => Ok(Some(Stored::Here(Box::new(seen)))),
            Err(StoreError::Exists(_)) => Ok(None),
            Err(StoreError::NamespaceGone(_)) => Ok(Some(Stored::Dropped("the namespace is gone"))),
            Err(error) => Err(error),
        }
    }

    /// Records an attempt before its request is sent (invariant 2). Where there is no grant Secret yet, one is created that begins with `record`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] or [`StoreError::Exists`] when somebody else was faster: nothing may be sent.
    pub async fn open_attempt(
        &self,
        belongs: &Belongs,
        place: AttemptPlace<'_>,
        attempt: &Attempt,
    ) -> Result<Seen, StoreError> {
        let key = belongs.grant_key();
        match place {
            AttemptPlace::Grant(seen) => {
                let changes = BTreeMap::from([(names::ATTEMPT, Some(annotations::write(attempt)))]);
                self.change(&key, seen, &Changes::of_annotations(changes)).await
            }
            AttemptPlace::Nowhere(record) => {
                self.create(&key, grant_draft(belongs, record, Some(attempt), BTreeMap::new()))
                    .await
            }
        }
    }

    /// Ends an attempt that brought no new token. `None` when the Secret is gone or holds another attempt: there is nothing to end.
    ///
    /// # Errors
    /// [`StoreError`] when the API server could not be asked: the attempt may still stand there.
    pub async fn end_attempt(
        &self,
        key: &Key,
        known: Option<Seen>,
        attempt: &Attempt,
        end: &End,
    ) -> Result<Option<Seen>, StoreError> {
        let seen = match known {
            Some(seen) => seen,
            None => match self.read(key).await? {
                Some(contents) => contents.seen,
                None => return Ok(None),
            },
        };
        let What::Grant(grant) = seen.what() else {
            return Ok(None);
        };
        if grant.attempt.as_ref().is_none_or(|open| open.id != attempt.id) {
            return Ok(None);
        }
        self.change(key, &seen, &Changes::of_annotations(end.changes(&grant, attempt)))
            .await
            .map(Some)
    }

    /// Puts a refused first seed on record where there is no Secret of ours yet (nothing rotates, and no token was ever published).
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn create_ledger(&self, belongs: &Belongs, record: &Record) -> Result<Seen, StoreError> {
        self.create(
            &belongs.grant_key(),
            grant_draft(belongs, record, None, BTreeMap::new()),
        )
        .await
    }
}

/// Where an attempt is recorded.
#[derive(Clone, Copy)]
pub enum AttemptPlace<'a> {
    /// In the grant Secret, as it was seen.
    Grant(&'a Seen),
    /// There is none yet: it is created with this record.
    Nowhere(&'a Record),
}

/// How an attempt ended without a new token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Nothing was sent, or the server decided against it in a way that says nothing about the refresh token.
    Settled,
    /// The server refused the refresh token, or a candidate went unanswered so often that it is given up.
    Refused,
    /// No answer came.
    Unknown(Timestamp),
}

impl End {
    fn changes(&self, grant: &Grant, attempt: &Attempt) -> super::index::AnnotationChanges {
        let mut changes = BTreeMap::from([(names::ATTEMPT, None)]);
        match self {
            Self::Settled => {}
            Self::Refused => {
                let tries = grant.unanswered.clone().without(&attempt.source);
                changes.insert(names::UNANSWERED, annotations::of_unanswered(&tries));
                if let Source::Seed(fingerprint) = &attempt.source {
                    let refused = SeedRecord {
                        fingerprint: fingerprint.clone(),
                        verdict: Verdict::Refused,
                        client_id: attempt.client_id.clone(),
                    };
                    changes.insert(
                        names::SEEDS,
                        Some(annotations::write(&grant.record.seeds.clone().with(refused))),
                    );
                }
            }
            Self::Unknown(since) => {
                let tries = grant.unanswered.clone().with(&attempt.source, *since);
                changes.insert(names::UNANSWERED, annotations::of_unanswered(&tries));
            }
        }
        changes
    }
}

pub(super) fn grant_draft(
    belongs: &Belongs,
    record: &Record,
    attempt: Option<&Attempt>,
    data: BTreeMap<String, SecretString>,
) -> Draft {
    let mut written = annotations::of_record(record);
    written.insert(names::ASSET, Some(belongs.uid.clone()));
    written.insert(names::EMAIL, Some(belongs.email.clone()));
    written.insert(names::ATTEMPT, attempt.map(annotations::write));
    Draft {
        kind: Kind::Grant,
        annotations: written
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .collect(),
        labels: super::token::own_labels(),
        owner: belongs.grant_owner(),
        data,
    }
}
