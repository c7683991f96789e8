//! What a sign-in brought, on its way into the grant Secret.
//!
//! Tokens that a person's sign-in bought exist nowhere else. They are spooled at once, before it is known whose they are ([`Unproven`]), and stored once the right
//! account is proven ([`Secrets::store_sign_in`]). Storing is a compare-and-set on the time of the grant: whoever signed in later wins, and no sign-in replaces one
//! that began after it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{
    annotations,
    grant::{Belongs, Unreadable, grant_draft, keys},
    index::{Grant, Key, Seen, What},
    secrets::{Changes, Secrets, StoreError},
};
use crate::{
    api::names,
    lifecycle::{Account, Binding, DeviceAuthorization, Generation, GrantEnd, Lifetime, Record, Upkeep},
};

/// Tokens of a person who signed in, before it is proven who that was. It cannot be printed.
pub struct Unproven {
    /// The asset that the person signed in for.
    pub belongs: Belongs,
    /// What the grant will belong to.
    pub binding: Binding,
    /// The nonce of the request; none for a sign-in with a code.
    pub nonce: Option<String>,
    /// When the grant was given that was in use when the sign-in began.
    pub granted_before: Option<Timestamp>,
    /// The access token's lifetime.
    pub lifetime: Lifetime,
    /// When the refresh token ends.
    pub ends: Option<GrantEnd>,
    /// What was granted, where the provider said so.
    pub scopes: Option<Vec<String>>,
    /// The access token.
    pub access_token: SecretString,
    /// Its type.
    pub token_type: String,
    /// The refresh token, if there was one.
    pub refresh_token: Option<SecretString>,
    /// The ID token, if there was one.
    pub id_token: Option<SecretString>,
}

/// [`Unproven`] as it stands in the spool. The field names tell it from a refresh's answer.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spooled {
    signed_in_for: Belongs,
    binding: Binding,
    nonce: Option<String>,
    granted_before: Option<Timestamp>,
    issued: Timestamp,
    expires: Timestamp,
    #[serde(default)]
    ends: Option<GrantEnd>,
    scopes: Option<Vec<String>>,
    access_token: String,
    token_type: String,
    refresh_token: Option<String>,
    id_token: Option<String>,
}

impl Unproven {
    /// The answer as text, for the spool.
    #[must_use]
    pub fn to_spool(&self) -> SecretString {
        let text = |secret: &SecretString| secret.expose_secret().to_owned();
        SecretString::from(annotations::write(&Spooled {
            signed_in_for: self.belongs.clone(),
            binding: self.binding.clone(),
            nonce: self.nonce.clone(),
            granted_before: self.granted_before,
            issued: self.lifetime.issued,
            expires: self.lifetime.expires,
            ends: self.ends.clone(),
            scopes: self.scopes.clone(),
            access_token: text(&self.access_token),
            token_type: self.token_type.clone(),
            refresh_token: self.refresh_token.as_ref().map(text),
            id_token: self.id_token.as_ref().map(text),
        }))
    }

    /// The answer that [`Self::to_spool`] wrote.
    ///
    /// # Errors
    /// [`Unreadable`]; the text is in no error.
    pub fn from_spool(text: &SecretString) -> Result<Self, Unreadable> {
        let spooled: Spooled = serde_json::from_str(text.expose_secret()).map_err(|_| Unreadable)?;
        Ok(Self {
            belongs: spooled.signed_in_for,
            binding: spooled.binding,
            nonce: spooled.nonce,
            granted_before: spooled.granted_before,
            lifetime: Lifetime {
                issued: spooled.issued,
                expires: spooled.expires,
            },
            ends: spooled.ends,
            scopes: spooled.scopes,
            access_token: SecretString::from(spooled.access_token),
            token_type: spooled.token_type,
            refresh_token: spooled.refresh_token.map(SecretString::from),
            id_token: spooled.id_token.map(SecretString::from),
        })
    }
}

/// A grant from a sign-in whose account is proven. It cannot be printed.
pub struct SignedInGrant {
    /// Whose it is.
    pub belongs: Belongs,
    /// What the annotations should say; the generation is counted when it is stored.
    pub record: Record,
    /// The newest generation that left a trace outside the grant Secret.
    pub newest: Generation,
    /// When the grant was given that was in use when the sign-in began.
    pub granted_before: Option<Timestamp>,
    /// The refresh token.
    pub refresh_token: SecretString,
    /// The access token.
    pub access_token: SecretString,
    /// Its type.
    pub token_type: String,
}

/// What became of a sign-in.
pub enum Taken {
    /// It is in the grant Secret.
    Here(Box<Seen>),
    /// Somebody else has signed in since it began.
    Superseded,
    /// Another account signed in before: the issuer and its identifier for the account are pinned.
    OtherSubject,
    /// There is no place for it, and why.
    Dropped(&'static str),
}

impl SignedInGrant {
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

    /// The record to write over what the Secret says now. Generations never fall, and the ledger of seeds stays.
    fn record_over(&self, known: Option<&Record>) -> Record {
        let newest = known.map_or(self.newest, |known| self.newest.max(known.generation));
        Record {
            generation: newest.next(),
            seeds: known.map(|known| known.seeds.clone()).unwrap_or_default(),
            upkeep: match known {
                // A provider that once replaced a refresh token may do so again.
                Some(known) if known.binding == self.record.binding && known.upkeep == Upkeep::Rotating => {
                    Upkeep::Rotating
                }
                _ => self.record.upkeep,
            },
            ..self.record.clone()
        }
    }

    /// Whether this very sign-in is stored already: the answer to an earlier try was lost, or its process was killed before it could forget the spooled copy.
    fn is_stored_in(&self, known: &Record) -> bool {
        known.account.is_some() && known.account == self.record.account && known.granted == self.record.granted
    }

    fn is_superseded_by(&self, known: &Record) -> bool {
        known.account.is_some() && known.granted > self.granted_before
    }

    fn is_of_another_subject(&self, known: &Record) -> bool {
        let pin = |account: &Account| (account.issuer.clone(), account.subject.clone());
        match (&known.account, &self.record.account) {
            (Some(before), Some(now)) => before.issuer == now.issuer && pin(before) != pin(now),
            _ => false,
        }
    }
}

impl Secrets {
    /// Keeps the code of a sign-in that is under way beside the grant in use, or in a grant Secret that is made for it and begins with `record`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn keep_device(
        &self,
        belongs: &Belongs,
        record: &Record,
        device: &DeviceAuthorization,
        code: SecretString,
    ) -> Result<Seen, StoreError> {
        let key = belongs.grant_key();
        let written = annotations::write(device);
        let Some(contents) = self.read(&key).await? else {
            let data = [(keys::DEVICE_CODE.to_owned(), code)].into();
            let mut draft = grant_draft(belongs, record, None, data);
            draft.annotations.insert(names::DEVICE.to_owned(), written);
            return self.create(&key, draft).await;
        };
        let mut data = contents.all();
        data.insert(keys::DEVICE_CODE.to_owned(), code);
        let changes = Changes {
            data: Some(data),
            ..Changes::of_annotations([(names::DEVICE, Some(written))].into())
        };
        self.change(&key, &contents.seen, &changes).await
    }

    /// Forgets the code of a sign-in. None when there is no grant Secret any more.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn drop_device(&self, key: &Key) -> Result<Option<Seen>, StoreError> {
        let Some(contents) = self.read(key).await? else {
            return Ok(None);
        };
        let mut data = contents.all();
        data.remove(keys::DEVICE_CODE);
        let changes = Changes {
            data: Some(data),
            ..Changes::of_annotations([(names::DEVICE, None)].into())
        };
        self.change(key, &contents.seen, &changes).await.map(Some)
    }

    /// Stores what a sign-in brought. Both tokens are replaced or neither, and an attempt that is open ends with it. Call it again until it succeeds (invariant 1).
    ///
    /// # Errors
    /// [`StoreError`] when the API server could not be asked, or somebody wrote at the same time.
    pub async fn store_sign_in(&self, new: &SignedInGrant) -> Result<Taken, StoreError> {
        let key = new.belongs.grant_key();
        let Some(contents) = self.read(&key).await? else {
            return self.sign_in_anew(new, &key).await;
        };
        let What::Grant(grant) = contents.seen.what() else {
            return Ok(Taken::Dropped("a Secret that is not ours has the grant Secret's name"));
        };
        if grant.email != new.belongs.email {
            return Ok(Taken::Dropped("the grant Secret belongs to another mailbox"));
        }
        if new.is_stored_in(&grant.record) {
            return Ok(Taken::Here(Box::new(contents.seen)));
        }
        if new.is_superseded_by(&grant.record) {
            return Ok(Taken::Superseded);
        }
        if new.is_of_another_subject(&grant.record) {
            return Ok(Taken::OtherSubject);
        }
        let changes = changes(new, &grant);
        let seen = self.change(&key, &contents.seen, &changes).await?;
        Ok(Taken::Here(Box::new(seen)))
    }

    async fn sign_in_anew(&self, new: &SignedInGrant, key: &Key) -> Result<Taken, StoreError> {
        let draft = grant_draft(&new.belongs, &new.record_over(None), None, new.data());
        match self.create(key, draft).await {
            Ok(seen) => Ok(Taken::Here(Box::new(seen))),
            Err(StoreError::NamespaceGone(_)) => Ok(Taken::Dropped("the namespace is gone")),
            Err(error) => Err(error),
        }
    }
}

fn changes(new: &SignedInGrant, grant: &Grant) -> Changes {
    let record = new.record_over(Some(&grant.record));
    let mut written = annotations::of_record(&record);
    for ended in [names::ATTEMPT, names::UNANSWERED, names::DEVICE] {
        written.insert(ended, None);
    }
    if grant.record.upkeep != record.upkeep {
        written.entry(names::STANDING).or_insert(None);
    }
    // The asset that the person signed in for has it from now on.
    written.insert(names::ASSET, Some(new.belongs.uid.clone()));
    Changes {
        data: Some(new.data()),
        ..Changes::of_annotations(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::grant::StoredRetention;

    fn record(subject: &str, granted: i64) -> Record {
        Record {
            account: Some(Account {
                issuer: "https://id.example.com".to_owned(),
                subject: subject.to_owned(),
                name: "support@example.com".to_owned(),
            }),
            granted: Some(Timestamp::from_second(granted).unwrap()),
            ..Record::default()
        }
    }

    fn signed_in_at(granted: i64) -> SignedInGrant {
        SignedInGrant {
            belongs: Belongs {
                namespace: "helpdesk".to_owned(),
                name: "support".to_owned(),
                uid: "uid".to_owned(),
                email: "support@example.com".to_owned(),
                retention: StoredRetention::Stays,
            },
            record: record("42", granted),
            newest: Generation::default(),
            granted_before: None,
            refresh_token: SecretString::from("refresh"),
            access_token: SecretString::from("access"),
            token_type: "Bearer".to_owned(),
        }
    }

    #[test]
    fn a_sign_in_that_is_stored_already_is_not_called_superseded_by_itself() {
        let sign_in = signed_in_at(100);
        assert!(sign_in.is_stored_in(&record("42", 100)));
        assert!(!sign_in.is_stored_in(&record("42", 90)));
        assert!(!sign_in.is_stored_in(&record("7", 100)));
        assert!(sign_in.is_superseded_by(&record("42", 90)));
    }
}
