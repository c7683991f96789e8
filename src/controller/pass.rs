//! One pass over one asset: decide, act, decide again on what the acts returned, until nothing is left to do; then say how the asset stands.

use std::{sync::Arc, time::Duration};

use kube::runtime::controller::Action;
use secrecy::SecretString;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{debug, info, warn};

use super::{
    clients::ClientRead,
    context::{Context, reference},
    explain::{self, Question},
    observe::{Resolved, now},
    redeem::{self, Chain, Ended, Job, LastTry},
    registry::Unpublished,
};
use crate::{
    api::{EmailAsset, EmailAssetStatus, names},
    lifecycle::{
        self, Circumstances, Decision, Failure, Fencing, Handover, InputVersion, Origin, PlanRefusal, Presence, Record,
        Redeem, Retention, SeedRecord, Sight, Slot, Source, Step, Verdict, World,
    },
    oauth::{self, CaBundle, Class, Redemption},
    store::{
        Changes, Contents, Key, Kind, Seen, StoreError, What, annotations,
        grant::{self, Belongs, End},
        inputs,
        token::{AccessToken, KeepsLedger, published_record},
    },
};

/// More steps than any way through the state table has: a pass that needs more is a bug, and must not spin.
const MOST_STEPS: usize = 24;
/// More redemptions than one pass can need (a seed, and the grant it replaces).
const MOST_REDEMPTIONS: usize = 3;
/// When a write failed, the pass is repeated after this.
const AFTER_TROUBLE: Duration = Duration::from_secs(5);

/// What this pass has read of the inputs.
#[derive(Default)]
pub(super) struct InputsRead {
    pub(super) client: Option<ClientRead>,
    pub(super) seed: Option<(InputVersion, Result<SecretString, String>)>,
}

/// One pass.
pub(super) struct Pass {
    pub(super) context: Arc<Context>,
    pub(super) key: Key,
    pub(super) uid: String,
    pub(super) asset: EmailAsset,
    pub(super) resolved: Result<Resolved, PlanRefusal>,
    pub(super) inputs: InputsRead,
    pub(super) grant_sight: Sight,
    pub(super) status: EmailAssetStatus,
    pub(super) failed_under: Option<Circumstances>,
    in_hand: Option<Unpublished>,
    place: Option<OwnedSemaphorePermit>,
    adopted: bool,
    redemptions: usize,
}

/// Which inputs are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needed {
    /// The client: the refresh token to send stands in the grant Secret.
    Client,
    /// The client and the seed.
    ClientAndSeed,
}

/// How a step went.
enum Flow {
    /// Decide again.
    On,
    /// Stop here; something else will wake the asset, or this much later.
    Stop(Option<Duration>),
}

impl Pass {
    /// A pass over this asset.
    pub(super) fn new(context: Arc<Context>, key: Key, asset: EmailAsset) -> Self {
        let refusal = PlanRefusal {
            reason: crate::api::Reason::Pending,
            message: String::new(),
        };
        let mut pass = Self {
            status: context.registry.status(&key, asset.status.as_ref()),
            failed_under: context.registry.failed_under(&key),
            in_hand: context.registry.unpublished(&key),
            uid: asset.metadata.uid.clone().unwrap_or_default(),
            resolved: Err(refusal),
            inputs: InputsRead::default(),
            grant_sight: Sight::Cached,
            place: None,
            adopted: false,
            redemptions: 0,
            context,
            key,
            asset,
        };
        pass.resolved = pass.resolve();
        pass
    }

    /// Runs the pass to its end.
    pub(super) async fn run(mut self) -> Action {
        for _ in 0..MOST_STEPS {
            let world = self.world();
            if let Some(flow) = self.publish_what_is_in_hand(&world).await {
                match flow {
                    Flow::On => continue,
                    Flow::Stop(wait) => return self.stop(wait),
                }
            }
            let decision = lifecycle::decide(&world, now());
            if decision.step == Step::Rest {
                return self.rest(&world, &decision).await;
            }
            debug!(asset = %self.key, step = ?decision.step, "acting");
            if let Flow::Stop(wait) = self.act(&world, &decision).await {
                return self.stop(wait);
            }
        }
        warn!(asset = %self.key, "a pass did not come to rest; please report this");
        self.stop(Some(AFTER_TROUBLE * 12))
    }

    /// Ends the pass before it came to rest. What it learnt of failures stays known (invariant 9).
    fn stop(self, wait: Option<Duration>) -> Action {
        self.context.registry.note_failed_under(&self.key, self.failed_under);
        if Some(&self.status) != self.asset.status.as_ref() && self.status != EmailAssetStatus::default() {
            self.context.registry.could_not_write_status(&self.key, self.status);
        }
        wait.map_or_else(Action::await_change, Action::requeue)
    }

    async fn rest(self, world: &World, decision: &Decision) -> Action {
        self.context
            .registry
            .note_failed_under(&self.key, self.failed_under.clone());
        if let Some(mut status) = lifecycle::status(world, &decision.standing, now()) {
            if let Ok(resolved) = &self.resolved {
                let authentication = self.authentication(resolved).or_else(|| {
                    self.status
                        .endpoints
                        .as_ref()
                        .and_then(|endpoints| endpoints.client_authentication)
                });
                status.endpoints = Some(resolved.endpoints.to_status(authentication));
            }
            if !super::status::write(&self.context, &self.key, &self.asset, &status, self.adopted).await {
                return Action::requeue(AFTER_TROUBLE);
            }
        }
        match decision.wake {
            Some(at) => {
                let wait = at.duration_since(now());
                // A moment late rather than early: a pass before its time would find nothing due and come again.
                Action::requeue(Duration::try_from(wait).unwrap_or_default() + Duration::from_millis(20))
            }
            None => Action::await_change(),
        }
    }

    async fn act(&mut self, world: &World, decision: &Decision) -> Flow {
        match &decision.step {
            Step::Rest => Flow::On,
            Step::ReadInputs => {
                if world.token.ours().is_none()
                    && let Some(flow) = self.take_place().await
                {
                    return flow;
                }
                self.read_inputs(Needed::ClientAndSeed).await
            }
            Step::ConfirmGrant => {
                let looked = self.context.look(&self.grant_key()).await;
                self.grant_sight = Sight::Live;
                self.after(looked)
            }
            Step::OwnGrant => self.own_grant().await,
            Step::ReplaceForeignGrant => self.delete(&self.grant_key()).await,
            Step::DropRenamed => match self.renamed() {
                Some((key, _)) => self.delete(&key).await,
                None => Flow::On,
            },
            Step::SettleUnknown => self.settle_unknown(world).await,
            Step::RecordInputs => self.record_inputs(world).await,
            Step::Publish(origin) => self.republish(*origin).await,
            Step::Redeem(redeem) => self.redeem(world, redeem).await,
        }
    }

    fn after<T>(&self, result: Result<T, StoreError>) -> Flow {
        match result {
            Ok(_) => Flow::On,
            Err(error) => self.trouble(&error),
        }
    }

    fn trouble(&self, error: &StoreError) -> Flow {
        self.context.registry.forget_sightings();
        warn!(asset = %self.key, error = %Chain(error), "a step failed; the asset is looked at again in a moment");
        Flow::Stop(Some(AFTER_TROUBLE))
    }

    /// A write that may have met somebody else's: look again, then decide anew.
    async fn after_write(&self, key: &Key, written: Result<Seen, StoreError>) -> Flow {
        match written {
            Ok(seen) => {
                self.context.index.take_in(key.clone(), seen);
                Flow::On
            }
            Err(StoreError::Conflict(_) | StoreError::Exists(_)) => self.after(self.context.look(key).await),
            Err(StoreError::NamespaceGone(_)) => Flow::Stop(None),
            Err(error) => self.trouble(&error),
        }
    }

    /// Waits for a place at the token endpoint. While waiting, the asset may have changed: then another pass is on its way.
    async fn take_place(&mut self) -> Option<Flow> {
        if self.place.is_some() {
            return None;
        }
        let Ok(resolved) = &self.resolved else {
            return Some(Flow::Stop(None));
        };
        let endpoint = &resolved.endpoints.refresh_url;
        let host = format!(
            "{}:{}",
            endpoint.host_str().unwrap_or_default(),
            endpoint.port_or_known_default().unwrap_or_default()
        );
        let Some(place) = self.context.gates.enter(&host, &self.context.stopping).await else {
            return Some(Flow::Stop(None));
        };
        self.place = Some(place);
        self.resolved = self.resolve();
        let current = self.context.assets.get(&reference(&self.key));
        let generation = current.and_then(|asset| {
            asset
                .0
                .as_ref()
                .ok()
                .map(|asset| (asset.metadata.uid.clone(), asset.metadata.generation))
        });
        let ours = (self.asset.metadata.uid.clone(), self.asset.metadata.generation);
        if generation == Some(ours) {
            None
        } else {
            Some(Flow::Stop(Some(Duration::ZERO)))
        }
    }

    async fn read_inputs(&mut self, needed: Needed) -> Flow {
        if let Err(error) = self.read_client().await {
            return self.trouble(&error);
        }
        if needed == Needed::ClientAndSeed
            && let Err(error) = self.read_seed().await
        {
            return self.trouble(&error);
        }
        // The hosts that the Secrets name were read with them.
        self.resolved = self.resolve();
        Flow::On
    }

    async fn read_client(&mut self) -> Result<(), StoreError> {
        let Some(key) = self.client_key() else { return Ok(()) };
        let known = self.version_of(&key);
        self.inputs.client = known.and_then(|edition| self.context.clients.get(&key, &edition));
        if self.inputs.client.is_none() {
            let contents = self.context.secrets.read(&key).await?;
            self.take_in(&key, contents.as_ref());
            self.inputs.client = contents.map(|contents| (contents.seen.version(), inputs::client(&key, &contents)));
            if let Some(read) = &self.inputs.client {
                self.context.clients.keep(key, read.clone());
            }
        }
        Ok(())
    }

    async fn read_seed(&mut self) -> Result<(), StoreError> {
        let (key, data_key) = (
            self.seed_key(),
            self.asset.spec.oauth2.refresh_token_secret_ref.key.clone(),
        );
        let contents = self.context.secrets.read(&key).await?;
        self.take_in(&key, contents.as_ref());
        self.inputs.seed = contents.map(|contents| (contents.seen.version(), inputs::seed(&key, &contents, &data_key)));
        Ok(())
    }

    fn take_in(&self, key: &Key, contents: Option<&Contents>) {
        match contents {
            Some(contents) => {
                self.context.index.take_in(key.clone(), contents.seen.clone());
            }
            None => {
                if let Some(seen) = self.context.index.get(key) {
                    self.context.index.forget(key, &seen.uid);
                }
            }
        }
    }

    fn belongs(&self) -> Belongs {
        let retention = self
            .resolved
            .as_ref()
            .map_or(Retention::Stays, |resolved| resolved.plan.retention);
        redeem::belongs(&self.key, &self.uid, &self.asset.spec.email, retention)
    }

    async fn own_grant(&mut self) -> Flow {
        let key = self.grant_key();
        let Some(seen) = self.context.index.get(&key) else {
            return Flow::On;
        };
        let belongs = self.belongs();
        let retained = matches!(&seen.what, What::Grant(grant) if grant.asset != self.uid);
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

    async fn delete(&self, key: &Key) -> Flow {
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

    async fn settle_unknown(&mut self, world: &World) -> Flow {
        let key = self.grant_key();
        let Some(seen) = self.context.index.get(&key) else {
            return Flow::On;
        };
        let What::Grant(grant) = &seen.what else {
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
                    let failure = explain::abandoned(&resolved.endpoints);
                    warn!(asset = %self.key, attempt = %attempt.id, "an earlier process left an attempt without an outcome");
                    self.note_failure(failure);
                }
                Flow::On
            }
            Ok(None) | Err(StoreError::Conflict(_)) => self.after(self.context.look(&key).await),
            Err(error) => self.trouble(&error),
        }
    }

    async fn record_inputs(&self, world: &World) -> Flow {
        let key = match self.context.index.get(&self.grant_key()) {
            Some(seen) if seen.kind() == Kind::Grant => self.grant_key(),
            _ => self.token_key(),
        };
        let Some(seen) = self.context.index.get(&key) else {
            return Flow::On;
        };
        let noted = match &seen.what {
            What::Grant(grant) => &grant.record.inputs,
            What::Token(token) => &token.record.inputs,
            What::Other { .. } => return Flow::On,
        };
        let known = lifecycle::inputs_now(world, noted);
        let changes = Changes::of_annotations([(names::INPUTS, Some(annotations::write(&known)))].into());
        let written = self.context.secrets.change(&key, &seen, &changes).await;
        self.after_write(&key, written).await
    }

    /// Publishes a token from where it stands.
    async fn republish(&mut self, origin: Origin) -> Flow {
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
        let record = match &contents.seen.what {
            What::Grant(grant) => grant.record.clone(),
            What::Token(token) => token.record.clone(),
            What::Other { .. } => return Flow::On,
        };
        let token = contents.text(grant::keys::ACCESS_TOKEN);
        let token_type = contents.text(grant::keys::TOKEN_TYPE);
        match (token, token_type) {
            (Ok(token), token_type) => {
                let token_type = token_type.map_or_else(|_| "Bearer".to_owned(), |text| plain(&text));
                self.in_hand = Some(Unpublished {
                    token: AccessToken { token, token_type },
                    record,
                });
                Flow::On
            }
            (Err(_), _) => {
                warn!(asset = %self.key, "a Secret of ours has lost its access token; fetching a new one");
                self.forget_lifetime(&contents.seen).await
            }
        }
    }

    /// A Secret of ours whose contents somebody removed: its token counts as expired.
    async fn forget_lifetime(&self, seen: &Seen) -> Flow {
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
    async fn publish_what_is_in_hand(&mut self, world: &World) -> Option<Flow> {
        let unpublished = self.in_hand.clone()?;
        let Ok(resolved) = &self.resolved else { return None };
        // Somebody else's Secret, or one that is about to go, is never written to (invariant 6).
        let free = match &world.token {
            Slot::Free | Slot::Ours(_) => true,
            Slot::Foreign { handover, .. } => *handover == Handover::Granted,
            Slot::Leaving => false,
        };
        if !free || world.presence == Presence::Leaving {
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

    async fn redeem(&mut self, world: &World, redeem: &Redeem) -> Flow {
        if self.place.is_none() {
            // Others may have been faster while this pass waited: decide again with what is known then.
            return self.take_place().await.unwrap_or(Flow::On);
        }
        let Some(permit) = self
            .context
            .fence
            .open()
            .filter(|_| !self.context.stopping.is_cancelled())
        else {
            return Flow::Stop(None);
        };
        self.redemptions = self.redemptions.saturating_add(1);
        if self.redemptions > MOST_REDEMPTIONS {
            warn!(asset = %self.key, "a pass asked for too many redemptions; please report this");
            return Flow::Stop(Some(AFTER_TROUBLE * 12));
        }
        let redemption = match self.redemption(world, redeem).await {
            Ok(redemption) => redemption,
            Err(flow) => return flow,
        };
        let Ok(resolved) = &self.resolved else { return Flow::On };
        let noted = lifecycle_record(world);
        let job = Job {
            context: Arc::clone(&self.context),
            key: self.key.clone(),
            belongs: self.belongs(),
            redeem: redeem.clone(),
            redemption,
            known: self
                .context
                .index
                .get(&self.grant_key())
                .filter(|seen| seen.kind() == Kind::Grant)
                .map(|seen| (*seen).clone()),
            record: Record {
                inputs: lifecycle::inputs_now(world, &noted.inputs),
                scopes: resolved.endpoints.scopes.clone(),
                ..noted
            },
            default_lifetime: resolved.endpoints.default_lifetime,
            permit,
            last_try: if lifecycle::gives_up(world, &redeem.source) {
                LastTry::Yes
            } else {
                LastTry::No
            },
        };
        let key = self.key.clone();
        let context = Arc::clone(&self.context);
        context.registry.begin(&key);
        let task = self.context.tracker.spawn(async move {
            let ended = job.run().await;
            context.registry.finish(&key);
            ended
        });
        match task.await {
            Ok(ended) => self.take_end(world, redeem, ended).await,
            Err(error) => {
                self.context.registry.finish(&self.key);
                warn!(asset = %self.key, %error, "a redemption ended in a panic");
                Flow::Stop(Some(AFTER_TROUBLE))
            }
        }
    }

    async fn take_end(&mut self, world: &World, redeem: &Redeem, ended: Ended) -> Flow {
        let Ok(resolved) = &self.resolved else { return Flow::On };
        let question = Question {
            redeem,
            names: &resolved.plan.names,
            endpoints: &resolved.endpoints,
            grant_lives: lifecycle_record(world).binding.as_ref() == Some(&redeem.binding)
                && !lifecycle::grant_is_dead(&world.status),
        };
        match ended {
            Ended::Stored { token, record } | Ended::Fresh { token, record } => {
                self.in_hand = Some(Unpublished { token, record });
                self.context.registry.keep_unpublished(&self.key, self.in_hand.clone());
                self.note_success();
                Flow::On
            }
            Ended::Refused(refusal) => {
                let failure = explain::refused(&question, &refusal);
                let dead = refusal.class == Class::Reauthorize;
                if dead && redeem.fencing == Fencing::Free {
                    match self.record_refusal(redeem).await {
                        Flow::On => {}
                        stop @ Flow::Stop(_) => {
                            self.note_failure(failure);
                            return stop;
                        }
                    }
                }
                self.note_failure(failure);
                Flow::On
            }
            Ended::NotSent(failure) => {
                let failure = explain::not_sent(&failure);
                self.note_failure(failure);
                Flow::On
            }
            Ended::Unknown(failure) => {
                let given_up = lifecycle::gives_up(world, &redeem.source);
                let failure = if given_up {
                    explain::given_up(&question, &failure)
                } else {
                    explain::unknown(&question, &failure)
                };
                self.note_failure(failure);
                Flow::On
            }
            Ended::Raced => Flow::On,
            Ended::NotNow => Flow::Stop(None),
            Ended::Unrecorded(error) => self.trouble(&error),
            Ended::Dropped(why) => {
                info!(asset = %self.key, why, "nothing can be stored for this asset any more");
                Flow::Stop(None)
            }
        }
    }

    /// Where nothing rotates, a refused seed goes on record in the token Secret, or, before the first token, in a grant Secret without contents.
    async fn record_refusal(&self, redeem: &Redeem) -> Flow {
        let Source::Seed(fingerprint) = &redeem.source else {
            return Flow::On;
        };
        let refused = SeedRecord {
            fingerprint: fingerprint.clone(),
            verdict: Verdict::Refused,
            client_id: redeem.binding.client_id.clone(),
        };
        let world = self.world();
        let mut record = lifecycle_record(&world);
        record.inputs = lifecycle::inputs_now(&world, &record.inputs);
        record.seeds = record.seeds.with(refused);
        let key = self.token_key();
        match self.context.index.get(&key).filter(|seen| seen.kind() == Kind::Token) {
            Some(seen) => {
                let changes = Changes::of_annotations(
                    [
                        (names::SEEDS, Some(annotations::write(&record.seeds))),
                        (names::INPUTS, Some(annotations::write(&record.inputs))),
                    ]
                    .into(),
                );
                let written = self.context.secrets.change(&key, &seen, &changes).await;
                self.after_write(&key, written).await
            }
            None => {
                let created = self.context.secrets.create_ledger(&self.belongs(), &record).await;
                self.after_write(&self.grant_key(), created).await
            }
        }
    }

    /// Puts the request together. Contents are read now if this pass has not read them, and must be the ones that the decision was made about.
    async fn redemption(&mut self, world: &World, redeem: &Redeem) -> Result<Redemption, Flow> {
        let needed = match (&redeem.source, world.grant.ours()) {
            (Source::Grant, Some(_)) => Needed::Client,
            _ => Needed::ClientAndSeed,
        };
        if self.inputs_are_stale(needed) {
            return match self.read_inputs(needed).await {
                Flow::On => Err(Flow::On),
                stop @ Flow::Stop(_) => Err(stop),
            };
        }
        let Ok(resolved) = &self.resolved else {
            return Err(Flow::On);
        };
        let refresh_token = match needed {
            Needed::Client => self.stored_refresh_token().await?,
            Needed::ClientAndSeed => match &self.inputs.seed {
                Some((_, Ok(seed))) => seed.clone(),
                _ => return Err(Flow::On),
            },
        };
        let client = self.inputs.client.as_ref().and_then(|(_, client)| client.as_ref().ok());
        let endpoints = &resolved.endpoints;
        let certificate_authority = match self.ca_bundle().await {
            Ok(bundle) => bundle,
            Err(failure) => {
                self.note_failure(failure);
                return Err(Flow::On);
            }
        };
        Ok(Redemption {
            token_endpoint: endpoints.refresh_url.clone(),
            client: oauth::ClientCredentials {
                client_id: redeem.binding.client_id.clone(),
                client_secret: client.and_then(|client| client.secret.clone()),
                authentication: self
                    .authentication(resolved)
                    .map_or(oauth::ClientAuthentication::None, wire_authentication),
            },
            refresh_token,
            scopes: (!endpoints.refresh_scopes.is_empty()).then(|| endpoints.refresh_scopes.clone()),
            extra_parameters: Vec::new(),
            certificate_authority,
        })
    }

    fn inputs_are_stale(&self, needed: Needed) -> bool {
        let stale = |read: Option<&InputVersion>, key: &Key| read != self.version_of(key).as_ref();
        let client = self
            .client_key()
            .is_some_and(|key| stale(self.inputs.client.as_ref().map(|(version, _)| version), &key));
        let key = self.seed_key();
        let seed = needed == Needed::ClientAndSeed
            && self.version_of(&key).is_some()
            && stale(self.inputs.seed.as_ref().map(|(version, _)| version), &key);
        client || seed
    }

    async fn stored_refresh_token(&self) -> Result<SecretString, Flow> {
        let key = self.grant_key();
        let known = self.context.index.get(&key);
        match self.context.secrets.read(&key).await {
            Ok(Some(contents)) => {
                let same = known.is_some_and(|known| known.resource_version == contents.seen.resource_version);
                self.context.index.take_in(key, contents.seen.clone());
                match contents.text(grant::keys::REFRESH_TOKEN) {
                    Ok(token) if same => Ok(token),
                    Ok(_) => Err(Flow::On),
                    Err(_) => {
                        warn!(asset = %self.key, "the grant Secret has lost its refresh token");
                        Err(self.forget_grant(&contents.seen).await)
                    }
                }
            }
            Ok(None) => Err(self.after(self.context.look(&key).await)),
            Err(error) => Err(self.trouble(&error)),
        }
    }

    /// A grant Secret without a refresh token holds no grant: it counts as never redeemed, and a new seed is asked for.
    async fn forget_grant(&self, seen: &Seen) -> Flow {
        let key = self.grant_key();
        let changes = Changes::of_annotations([(names::BINDING, None)].into());
        let written = self.context.secrets.change(&key, seen, &changes).await;
        self.after_write(&key, written).await
    }

    /// How the client proves itself: as the spec says, else as the provider wants it where there is a secret.
    fn authentication(&self, resolved: &Resolved) -> Option<crate::api::ClientAuthentication> {
        let has_secret = match (&self.inputs.client, self.client_key()) {
            (Some((_, Ok(client))), _) => client.secret.is_some(),
            (_, None) => false,
            _ => return resolved.endpoints.client_authentication,
        };
        let usual = if has_secret {
            resolved.endpoints.authentication_with_secret
        } else {
            crate::api::ClientAuthentication::None
        };
        Some(resolved.endpoints.client_authentication.unwrap_or(usual))
    }

    /// The certificates that `spec.oauth2.caBundleRef` names.
    async fn ca_bundle(&self) -> Result<Option<CaBundle>, Failure> {
        let Some(reference) = &self.asset.spec.oauth2.ca_bundle_ref else {
            return Ok(None);
        };
        let place = format!(
            "ConfigMap {}/{}, key {} (spec.oauth2.caBundleRef)",
            self.key.namespace, reference.name, reference.key
        );
        let api: kube::Api<k8s_openapi::api::core::v1::ConfigMap> =
            kube::Api::namespaced(self.context.client.clone(), &self.key.namespace);
        let found = tokio::time::timeout(self.context.settings.api_timeout, api.get_opt(&reference.name)).await;
        let map = match found {
            Ok(Ok(Some(map))) => map,
            Ok(Ok(None)) => {
                return Err(explain::no_ca_bundle(format!(
                    "{place} does not exist. Create it with the CA certificates in PEM form."
                )));
            }
            Ok(Err(_)) | Err(_) => {
                return Err(explain::no_ca_bundle(format!(
                    "{place} could not be read from the API server; it is tried again."
                )));
            }
        };
        let Some(pem) = map.data.and_then(|mut data| data.remove(&reference.key)) else {
            return Err(explain::no_ca_bundle(format!(
                "{place} is not there: the ConfigMap has no such key."
            )));
        };
        CaBundle::from_pem(pem.as_bytes())
            .map(Some)
            .map_err(|error| explain::no_ca_bundle(format!("{place} {error}.")))
    }

    fn note_failure(&mut self, failure: Failure) {
        warn!(asset = %self.key, reason = %failure.reason, code = %failure.code, class = failure.blame.as_str(), "{}", failure.message);
        let mut world = self.world();
        lifecycle::note_failure(&mut world, failure, now(), rand::random());
        self.take_notes(world);
    }

    fn note_success(&mut self) {
        let mut world = self.world();
        lifecycle::note_success(&mut world);
        self.take_notes(world);
    }

    fn take_notes(&mut self, world: World) {
        self.status = world.status;
        self.failed_under = world.failed_under;
    }
}

fn lifecycle_record(world: &World) -> Record {
    lifecycle::record(world).cloned().unwrap_or_default()
}

fn plain(text: &SecretString) -> String {
    use secrecy::ExposeSecret;
    text.expose_secret().to_owned()
}

const fn wire_authentication(authentication: crate::api::ClientAuthentication) -> oauth::ClientAuthentication {
    match authentication {
        crate::api::ClientAuthentication::ClientSecretBasic => oauth::ClientAuthentication::ClientSecretBasic,
        crate::api::ClientAuthentication::ClientSecretPost => oauth::ClientAuthentication::ClientSecretPost,
        crate::api::ClientAuthentication::None => oauth::ClientAuthentication::None,
    }
}
