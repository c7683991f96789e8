//! Steps that keep our Secrets in order: whose a grant is, what is published, what was looked at.

use fail::fail_point;
use secrecy::{ExposeSecret, SecretString};
use tracing::{info, warn};

use super::{Flow, Pass};
use crate::{
    api::names,
    controller::{explain, observe::now, registry::Unpublished},
    lifecycle::{self, Handover, Holder, Origin, Presence, Slot, TokenSecret, World},
    store::{
        Changes, Key, Kind, Seen, StoreError, What, annotations,
        grant::{self, End},
        token::{AccessToken, KeepsLedger, published_record},
    },
};

impl Pass {
    pub(super) async fn own_grant(&mut self) -> Flow {
        let key = self.grant_key();
        let Some(seen) = self.context.index.get(&key) else {
            return Flow::On;
        };
        let belongs = self.belongs();
        let retained = matches!(seen.what(), What::Grant(grant) if grant.asset != self.uid);
        let changes = Changes {
            annotations: [(names::ASSET.to_owned(), Some(self.uid.clone()))].into(),
            owners: Some(belongs.grant_owner().into_iter().collect()),
            ..Changes::default()
        };
        let written = self.context.secrets.change(&key, &seen, &changes).await;
        if retained && written.is_ok() {
            info!(asset = %self.key, "took up a retained grant");
            self.adopted = true;
        }
        self.after_write(&key, written).await
    }

    pub(super) async fn delete(&self, key: &Key) -> Flow {
        let Some(seen) = self.context.index.get(key) else {
            return Flow::On;
        };
        match self.context.secrets.delete(key, &seen).await {
            Ok(()) => {
                self.context.index.forget(key, &seen.uid);
                Flow::On
            }
            Err(StoreError::Conflict(_)) => self.after(self.context.look(key).await),
            Err(error) => self.trouble(&error),
        }
    }

    pub(super) async fn settle_unknown(&mut self, world: &World) -> Flow {
        let key = self.grant_key();
        let Some(seen) = self.context.index.get(&key) else {
            return Flow::On;
        };
        let What::Grant(grant) = seen.what() else {
            return Flow::On;
        };
        let Some(attempt) = &grant.attempt else { return Flow::On };
        let end = if lifecycle::gives_up(world, &attempt.source) {
            End::Refused
        } else {
            End::Unknown(now())
        };
        match self
            .context
            .secrets
            .end_attempt(&key, Some((*seen).clone()), attempt, &end)
            .await
        {
            Ok(Some(seen)) => {
                self.context.index.take_in(key, seen);
                if let Ok(resolved) = &self.resolved {
                    let failure = match end {
                        End::Refused => explain::abandoned_seed(&resolved.plan.names),
                        _ => explain::abandoned(&resolved.endpoints),
                    };
                    warn!(asset = %self.key, attempt = %attempt.id, "an earlier process left an attempt without an outcome");
                    self.note_failure(failure);
                }
                Flow::On
            }
            Ok(None) | Err(StoreError::Conflict(_)) => self.after(self.context.look(&key).await),
            Err(error) => self.trouble(&error),
        }
    }

    pub(super) async fn record_inputs(&self, world: &World) -> Flow {
        let key = match lifecycle::holder(world) {
            Some(Holder::Grant) => self.grant_key(),
            _ => self.token_key(),
        };
        let Some(seen) = self.context.index.get(&key) else {
            return Flow::On;
        };
        let noted = match seen.what() {
            What::Grant(grant) => grant.record.inputs,
            What::Token(token) => token.record.inputs,
            What::Response { .. } | What::Other { .. } => return Flow::On,
        };
        let known = lifecycle::inputs_now(world, &noted);
        let changes = Changes::of_annotations([(names::INPUTS, Some(annotations::write(&known)))].into());
        let written = self.context.secrets.change(&key, &seen, &changes).await;
        self.after_write(&key, written).await
    }

    /// Publishes a token from where it stands.
    pub(super) async fn republish(&mut self, origin: Origin) -> Flow {
        let key = match origin {
            Origin::Grant => self.grant_key(),
            Origin::Token => self.token_key(),
            Origin::Renamed => match self.renamed() {
                Some((key, _)) => key,
                None => return Flow::On,
            },
        };
        let contents = match self.context.secrets.read(&key).await {
            Ok(Some(contents)) => contents,
            Ok(None) => return self.after(self.context.look(&key).await),
            Err(error) => return self.trouble(&error),
        };
        self.context.index.take_in(key, contents.seen.clone());
        let record = match contents.seen.what() {
            What::Grant(grant) => grant.record,
            What::Token(token) => token.record,
            What::Response { .. } | What::Other { .. } => return Flow::On,
        };
        let token = contents.text(grant::keys::ACCESS_TOKEN);
        let token_type = contents.text(grant::keys::TOKEN_TYPE);
        match (token, token_type) {
            (Ok(token), token_type) if AccessToken::is_sayable(&token) => {
                let token_type = token_type.map_or_else(|_| "Bearer".to_owned(), |text| plain(&text));
                self.in_hand = Some(Unpublished {
                    token: AccessToken { token, token_type },
                    record,
                });
                Flow::On
            }
            _ => {
                warn!(asset = %self.key, "a Secret of ours has lost its access token; fetching a new one");
                self.forget_lifetime(&contents.seen).await
            }
        }
    }

    /// A Secret of ours whose contents somebody removed: its token counts as expired.
    pub(super) async fn forget_lifetime(&self, seen: &Seen) -> Flow {
        let key = if seen.kind() == Kind::Grant {
            self.grant_key()
        } else {
            self.token_key()
        };
        let changes = Changes::of_annotations([(names::EXPIRATION_TIME, Some(now().to_string()))].into());
        let written = self.context.secrets.change(&key, seen, &changes).await;
        self.after_write(&key, written).await
    }

    /// A token that was obtained comes first: it is published before anything is decided.
    pub(super) async fn publish_what_is_in_hand(&mut self, world: &World) -> Option<Flow> {
        let unpublished = self.in_hand.clone()?;
        let Ok(resolved) = &self.resolved else { return None };
        // Somebody else's Secret, or one that is about to go, is never written to (invariant 6).
        let free = match &world.token {
            Slot::Free | Slot::Ours(_) => true,
            Slot::Foreign { handover, .. } => *handover == Handover::Granted,
            Slot::Leaving => false,
        };
        if !free || matches!(world.presence, Presence::Leaving { .. }) {
            return None;
        }
        // Whoever leads by now may have published a later one while this process was frozen.
        let later = |token: &TokenSecret| token.record.generation > unpublished.record.generation;
        if world.token.ours().is_some_and(later) {
            self.in_hand = None;
            self.context.registry.keep_unpublished(&self.key, None);
            return None;
        }
        let key = self.token_key();
        let place = self.context.index.get(&key);
        let keeps = if world.grant.ours().is_some() {
            KeepsLedger::InGrant
        } else {
            KeepsLedger::Here
        };
        let record = published_record(&unpublished.record, keeps);
        fail_point!("before-publish", |_| std::process::abort());
        let published = self
            .context
            .secrets
            .publish(
                &key,
                place.as_deref(),
                &self.belongs(),
                &resolved.rendering,
                &record,
                &unpublished.token,
            )
            .await;
        fail_point!("after-publish", |_| std::process::abort());
        match published {
            Ok(seen) => {
                self.context.index.take_in(key, seen);
                self.in_hand = None;
                self.context.registry.keep_unpublished(&self.key, None);
                info!(
                    asset = %self.key, generation = %record.generation,
                    expires_at = record.lifetime.map(|life| life.expires.to_string()), "token published"
                );
                Some(Flow::On)
            }
            Err(error) => {
                self.context.registry.keep_unpublished(&self.key, Some(unpublished));
                Some(match error {
                    StoreError::Conflict(_) | StoreError::Exists(_) => self.after(self.context.look(&key).await),
                    StoreError::NamespaceGone(_) => Flow::Stop(None),
                    error => self.trouble(&error),
                })
            }
        }
    }
}

fn plain(text: &SecretString) -> String {
    text.expose_secret().to_owned()
}
