//! One pass over one asset: decide, act, decide again on what the acts returned, until nothing is left to do; then say how the asset stands.

mod device;
mod discover;
mod farewell;
mod issue;
mod obtain;
mod tidy;

pub(super) use discover::NoEndpoints;

use std::{sync::Arc, time::Duration};

use fail::fail_point;
use kube::runtime::controller::Action;
use secrecy::SecretString;
use tracing::{debug, warn};

use super::{
    clients::ClientRead,
    consent::{self, Signer},
    context::{Context, reference},
    gates::Place,
    observe::{Resolved, now, time_until},
    providers::Backing,
    redeem::{self, Chain},
    registry::{Age, Edition, Unpublished},
};
use crate::{
    api::{EmailAsset, EmailAssetStatus},
    lifecycle::{
        self, Circumstances, Decision, Discovery, Failure, InputVersion, Names, PlanRefusal, Record, Retention, Sight,
        SignInRefusal, Step, World,
    },
    store::{Key, Seen, StoreError, grant::Belongs},
    telemetry::metrics::PassOutcome,
};

/// More steps than any way through the state table has: a pass that needs more is a bug, and must not spin.
const MOST_STEPS: usize = 24;
/// More redemptions than one pass can need (a seed, and the grant it replaces).
const MOST_REDEMPTIONS: usize = 3;
/// When a write failed, the pass is repeated after this.
pub(super) const AFTER_TROUBLE: Duration = Duration::from_secs(5);

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
    /// The asset as it counts: with what its `EmailProvider` says.
    pub(super) asset: Arc<EmailAsset>,
    /// The asset as people wrote it.
    pub(super) written: Arc<EmailAsset>,
    pub(super) backing: Backing,
    pub(super) resolved: Result<Resolved, PlanRefusal>,
    /// Whether the endpoints wait for an issuer's metadata.
    pub(super) discovery: Discovery,
    pub(super) inputs: InputsRead,
    pub(super) grant_sight: Sight,
    pub(super) status: EmailAssetStatus,
    pub(super) failed_under: Option<Circumstances>,
    edition: Edition,
    in_hand: Option<Unpublished>,
    place: Option<Place>,
    /// It found no place and ends; another begins when there is one.
    queued: bool,
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
    /// A pass over this asset, with the place that was set aside for it.
    pub(super) fn new(context: Arc<Context>, key: Key, asset: Arc<EmailAsset>, place: Option<Place>) -> Self {
        let refusal = PlanRefusal {
            reason: crate::api::Reason::Pending,
            message: String::new(),
        };
        let (written, edition) = newest(&context, &key, asset);
        let (asset, backing) = context.providers.under(&written);
        let mut pass = Self {
            status: edition.status.clone(),
            failed_under: context.registry.failed_under(&key),
            in_hand: context.registry.unpublished(&key),
            uid: asset.metadata.uid.clone().unwrap_or_default(),
            resolved: Err(refusal),
            discovery: Discovery::Settled,
            inputs: InputsRead::default(),
            grant_sight: Sight::Cached,
            place,
            queued: false,
            adopted: false,
            redemptions: 0,
            context,
            key,
            asset,
            written,
            backing,
            edition,
        };
        pass.resolve();
        pass
    }

    /// Runs the pass to its end.
    pub(super) async fn run(mut self) -> (Action, PassOutcome) {
        let mut outcome = PassOutcome::Rested;
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
                return Box::pin(self.rest(&world, &decision, outcome)).await;
            }
            outcome = PassOutcome::Acted;
            debug!(asset = %self.key, step = ?decision.step, "acting");
            if let Flow::Stop(wait) = self.act(&world, &decision).await {
                return self.stop(wait);
            }
        }
        warn!(asset = %self.key, "a pass did not come to rest; please report this");
        self.stop(Some(AFTER_TROUBLE * 12))
    }

    /// Ends the pass before it came to rest. What it learnt of failures stays known (invariant 9).
    fn stop(self, wait: Option<Duration>) -> (Action, PassOutcome) {
        self.remember_circumstances();
        if self.status != self.edition.status {
            self.context.registry.could_not_write_status(&self.key, self.status);
        }
        let outcome = if self.queued {
            PassOutcome::Rested
        } else {
            PassOutcome::Failed
        };
        (wait.map_or_else(Action::await_change, Action::requeue), outcome)
    }

    /// Under what the last failure happened, while there is one.
    fn remember_circumstances(&self) {
        let circumstances = self.status.failure.as_ref().and(self.failed_under.clone());
        self.context.registry.note_failed_under(&self.key, circumstances);
    }

    async fn rest(self, world: &World, decision: &Decision, outcome: PassOutcome) -> (Action, PassOutcome) {
        // Tests make passes slow here, so that the watch shows their last write first.
        fail_point!("at-rest");
        self.remember_circumstances();
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
            status.provider = self.written.spec.settings_from(status.endpoints.as_ref());
            if !super::status::write(
                &self.context,
                &self.key,
                &self.asset,
                &self.edition,
                &status,
                self.adopted,
            )
            .await
            {
                return (Action::requeue(AFTER_TROUBLE), PassOutcome::Failed);
            }
        }
        let wake = decision
            .wake
            .map(time_until)
            .or_else(|| self.recheck(&decision.standing));
        (wake.map_or_else(Action::await_change, Action::requeue), outcome)
    }

    async fn act(&mut self, world: &World, decision: &Decision) -> Flow {
        if matches!(
            decision.step,
            Step::Redeem(_) | Step::BeginDevice(_) | Step::PollDevice(_) | Step::Revoke(_)
        ) {
            self.renew_discovery();
        }
        match &decision.step {
            Step::Rest => Flow::On,
            Step::Discover => self.discover(),
            Step::ReadInputs => {
                if world.token.ours().is_none()
                    && let Some(flow) = self.take_place()
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
            Step::BeginDevice(binding) => self.begin_device(world, binding).await,
            Step::PollDevice(binding) => self.poll_device(world, binding).await,
            Step::DropDevice => self.drop_device(world).await,
            Step::Hold => self.hold().await,
            Step::LetGo => self.let_go().await,
            Step::Revoke(source) => self.revoke(source).await,
            Step::Part(reason) => self.part(reason.as_deref()).await,
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

    pub(super) fn belongs(&self) -> Belongs {
        let retention = self
            .resolved
            .as_ref()
            .map_or(Retention::Stays, |resolved| resolved.plan.retention);
        redeem::belongs(&self.key, &self.uid, &self.asset.spec.email, retention)
    }

    /// The names for messages about this asset; none where its spec cannot be carried out.
    pub(super) fn resolve_alone(context: &Arc<Context>, key: &Key, asset: &Arc<EmailAsset>) -> Option<Names> {
        let pass = Self::new(Arc::clone(context), key.clone(), Arc::clone(asset), None);
        pass.resolved.ok().map(|resolved| resolved.plan.names)
    }

    /// All that an exchange with the token endpoint needs, if somebody may sign in for this asset now.
    pub(super) async fn into_signer(mut self) -> Result<Signer, SignInRefusal> {
        if matches!(self.read_inputs(Needed::Client).await, Flow::Stop(_)) {
            return Err(consent::failed(
                "The API server could not be asked. Nothing was changed; open the link again in a minute.",
            ));
        }
        let world = self.world();
        let binding = lifecycle::may_sign_in(&world).map_err(consent::not_possible)?;
        let bundle = self.ca_bundle().await;
        let bundle = bundle.map_err(|failure| consent::not_possible(failure.message))?;
        let client = self.client_credentials(&binding.client_id).await;
        let client = client.map_err(|failure| consent::not_possible(failure.message))?;
        Signer::new(self, world, binding, client, bundle)
    }

    fn note_failure(&mut self, failure: Failure) {
        warn!(asset = %self.key, reason = %failure.reason, code = %failure.code, class = failure.class.as_str(), "{}", failure.message);
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

/// The grant's record, empty where there is none yet.
fn record_of(world: &World) -> Record {
    lifecycle::record(world).cloned().unwrap_or_default()
}

/// The asset as the cache has it by now, if that is a later copy. The queue took its own a moment ago: a status of ours that the watch has shown since is in the cache, and no
/// longer remembered beside it.
fn newest(context: &Context, key: &Key, queued: Arc<EmailAsset>) -> (Arc<EmailAsset>, Edition) {
    let edition = context.registry.edition(key, &queued);
    if edition.age == Age::Outdated
        && let Some(newer) = context.assets.get(&reference(key))
        && let Ok(newer) = newer.asset()
    {
        let edition = context.registry.edition(key, &newer);
        return (newer, edition);
    }
    (queued, edition)
}
