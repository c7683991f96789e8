//! Steps towards a new token: reading the inputs, redeeming, and taking in how that ended.

use std::{collections::BTreeMap, sync::Arc};

use secrecy::SecretString;
use tracing::{info, warn};

use super::{AFTER_TROUBLE, Flow, MOST_REDEMPTIONS, Needed, Pass, record_of};
use crate::{
    api::{ClientAuthentication, Grant, names},
    controller::{
        bundle::Bundle,
        context::reference,
        explain::{self, Question},
        observe::{Resolved, now},
        providers::Backing,
        redeem::{Ended, Job, LastTry},
        registry::Unpublished,
        situation::{self, Past},
    },
    lifecycle::{self, Failure, Fencing, Record, Redeem, SeedRecord, Source, Verdict, World},
    oauth::{self, CaBundle, Class, Redemption, Situation},
    provider::ClientOwns,
    store::{Changes, Contents, Key, Kind, Seen, StoreError, annotations, grant, inputs},
};

impl Pass {
    /// Takes a place at the token endpoint. If there is none the pass ends, and another begins when there is.
    pub(super) fn take_place(&mut self) -> Option<Flow> {
        let Ok(resolved) = &self.resolved else {
            return Some(Flow::On);
        };
        let endpoint = &resolved.endpoints.refresh_url;
        let host = format!(
            "{}:{}",
            endpoint.host_str().unwrap_or_default(),
            endpoint.port_or_known_default().unwrap_or_default()
        );
        if self.place.as_ref().is_some_and(|place| place.is_at(&host)) {
            return None;
        }
        self.place = self.context.gates.enter(&self.key, &host);
        if self.place.is_some() {
            return None;
        }
        self.queued = true;
        // Deleted in the meantime: nobody would come for the place.
        if self.context.assets.get(&reference(&self.key)).is_none() {
            self.context.gates.forget(&self.key);
        }
        Some(Flow::Stop(None))
    }

    pub(super) async fn read_inputs(&mut self, needed: Needed) -> Flow {
        if let Err(error) = self.read_client().await {
            return self.trouble(&error);
        }
        if needed == Needed::ClientAndSeed
            && let Err(error) = self.read_seed().await
        {
            return self.trouble(&error);
        }
        // The hosts that the Secrets name were read with them.
        self.resolve();
        Flow::On
    }

    async fn read_client(&mut self) -> Result<(), StoreError> {
        let Some(key) = self.client_key() else { return Ok(()) };
        let known = self.context.index.get(&key).and_then(|seen| {
            let (_, client) = self.context.clients.get(&key, &seen.version())?;
            Some((self.client_edition(&seen), client))
        });
        if known.is_some() {
            self.inputs.client = known;
            return Ok(());
        }
        let contents = self.context.secrets.read(&key).await?;
        self.take_in(&key, contents.as_ref());
        self.inputs.client = contents.map(|contents| {
            let client = inputs::client(&key, &contents);
            self.context
                .clients
                .keep(key, (contents.seen.version(), client.clone()));
            (self.client_edition(&contents.seen), client)
        });
        Ok(())
    }

    async fn read_seed(&mut self) -> Result<(), StoreError> {
        let Some((key, data_key)) = self.seed_place() else {
            return Ok(());
        };
        let data_key = data_key.to_owned();
        let contents = self.context.secrets.read(&key).await?;
        self.take_in(&key, contents.as_ref());
        self.inputs.seed = contents.map(|contents| {
            (
                self.seed_edition(&contents.seen),
                inputs::seed(&key, &contents, &data_key),
            )
        });
        Ok(())
    }

    pub(super) fn take_in(&self, key: &Key, contents: Option<&Contents>) {
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

    pub(super) async fn redeem(&mut self, world: &World, redeem: &Redeem) -> Flow {
        if let Some(flow) = self.take_place() {
            return flow;
        }
        let Some(permit) = self
            .context
            .fence
            .open()
            .filter(|_| !self.context.stopping.is_cancelled())
        else {
            // The fence may open again without a change of leadership: nothing else would wake this asset then.
            return Flow::Stop(Some(AFTER_TROUBLE));
        };
        self.redemptions = self.redemptions.saturating_add(1);
        if self.redemptions > MOST_REDEMPTIONS {
            warn!(asset = %self.key, "a pass asked for too many redemptions; please report this");
            return Flow::Stop(Some(AFTER_TROUBLE * 12));
        }
        if redeem.source == Source::Client {
            return self.issue(world, redeem, permit).await;
        }
        let redemption = match self.redemption(world, redeem).await {
            Ok(redemption) => redemption,
            Err(flow) => return flow,
        };
        let Ok(resolved) = &self.resolved else { return Flow::On };
        let noted = record_of(world);
        let request = situation::Request {
            grant: self.asset.spec.oauth2.grant,
            source: &redeem.source,
            refresh_token: &redemption.refresh_token,
            client_secret: redemption.client.client_secret.as_ref(),
        };
        let situation = situation::of(&request, &Past::of(world), &resolved.endpoints, now());
        let job = Job {
            context: Arc::clone(&self.context),
            key: self.key.clone(),
            belongs: self.belongs(),
            redeem: redeem.clone(),
            redemption,
            situation,
            known: self
                .context
                .index
                .get(&self.grant_key())
                .filter(|seen| seen.kind() == Kind::Grant)
                .map(|seen| (*seen).clone()),
            beginning: lifecycle::record_to_begin_with(world),
            record: Record {
                inputs: lifecycle::inputs_now(world, &noted.inputs),
                scopes: resolved.endpoints.scopes.clone(),
                request: world.refresh_request.clone(),
                ..noted
            },
            default_lifetime: resolved.endpoints.default_lifetime,
            refresh_token_life: resolved.endpoints.limits.lifetime,
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
            let ended = Box::pin(job.run()).await;
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

    pub(super) async fn take_end(&mut self, world: &World, redeem: &Redeem, ended: Ended) -> Flow {
        let Ok(resolved) = &self.resolved else { return Flow::On };
        let question = Question {
            redeem,
            names: &resolved.plan.names,
            endpoints: &resolved.endpoints,
            past: &Past::of(world),
            situation: &Situation::at(&resolved.endpoints).with(situation::person(self.asset.spec.oauth2.grant)),
            grant_lives: lifecycle::grant_lives(world),
        };
        match ended {
            Ended::Stored { token, record } | Ended::Fresh { token, record } => {
                self.in_hand = Some(Unpublished { token, record });
                self.context.registry.keep_unpublished(&self.key, self.in_hand.clone());
                self.note_success();
                Flow::On
            }
            Ended::Refused(refusal) if redeem.source == Source::Client => {
                let failure = self.not_issued(world, &question, &refusal);
                self.note_failure(failure);
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
            Ended::NotNow => Flow::Stop(Some(AFTER_TROUBLE)),
            Ended::Unrecorded(error) => self.trouble(&error),
            Ended::Dropped(why) => {
                info!(asset = %self.key, why, "nothing can be stored for this asset any more");
                Flow::Stop(None)
            }
        }
    }

    /// Where nothing rotates, a refused seed goes on record in the token Secret, or, before the first token, in a grant Secret without contents.
    pub(super) async fn record_refusal(&self, redeem: &Redeem) -> Flow {
        let Source::Seed(fingerprint) = &redeem.source else {
            return Flow::On;
        };
        let refused = SeedRecord {
            fingerprint: fingerprint.clone(),
            verdict: Verdict::Refused,
            client_id: redeem.binding.client_id.clone(),
        };
        let world = self.world();
        let mut record = record_of(&world);
        record.inputs = lifecycle::inputs_now(&world, &record.inputs);
        record.seeds = record.seeds.with(refused);
        let key = self.token_key();
        let Some(seen) = self.context.index.get(&key).filter(|seen| seen.kind() == Kind::Token) else {
            let created = self.context.secrets.create_ledger(&self.belongs(), &record).await;
            return self.after_write(&self.grant_key(), created).await;
        };
        let changes = Changes::of_annotations(BTreeMap::from([
            (names::SEEDS, Some(annotations::write(&record.seeds))),
            (names::INPUTS, Some(annotations::write(&record.inputs))),
        ]));
        let written = self.context.secrets.change(&key, &seen, &changes).await;
        self.after_write(&key, written).await
    }

    /// Puts the request together. Contents are read now if this pass has not read them, and must be the ones that the decision was made about.
    pub(super) async fn redemption(&mut self, world: &World, redeem: &Redeem) -> Result<Redemption, Flow> {
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
        if self.resolved.is_err() {
            return Err(Flow::On);
        }
        let refresh_token = match needed {
            Needed::Client => self.stored_refresh_token().await?,
            Needed::ClientAndSeed => match &self.inputs.seed {
                Some((_, Ok(seed))) => seed.clone(),
                _ => return Err(Flow::On),
            },
        };
        let certificate_authority = match self.ca_bundle().await {
            Ok(bundle) => bundle,
            Err(failure) => {
                self.note_failure(failure);
                return Err(Flow::On);
            }
        };
        let client = match self.client_credentials(&redeem.binding.client_id).await {
            Ok(client) => client,
            Err(failure) => {
                self.note_failure(failure);
                return Err(Flow::On);
            }
        };
        let Ok(resolved) = &self.resolved else {
            return Err(Flow::On);
        };
        Ok(Redemption::at(
            &resolved.endpoints,
            client,
            refresh_token,
            certificate_authority,
        ))
    }

    /// Who we are at the provider's endpoints, as far as this pass has read it. What comes from a file of the operator's is read now, for this one request.
    pub(super) async fn client_credentials(&self, client_id: &str) -> Result<oauth::ClientCredentials, Failure> {
        let client = self.inputs.client.as_ref().and_then(|(_, client)| client.as_ref().ok());
        let resolved = self.resolved.as_ref().ok();
        let authentication = resolved.and_then(|resolved| self.authentication(resolved));
        let authentication = match authentication.unwrap_or(ClientAuthentication::None) {
            ClientAuthentication::ClientSecretBasic => oauth::ClientAuthentication::ClientSecretBasic,
            ClientAuthentication::ClientSecretPost => oauth::ClientAuthentication::ClientSecretPost,
            ClientAuthentication::None => oauth::ClientAuthentication::None,
            ClientAuthentication::FederatedToken => {
                let federation = &self.context.settings.federation;
                let token = federation.token(self.namespace_of_client(), client_id).await;
                oauth::ClientAuthentication::Federated(token.map_err(explain::no_federated_token)?)
            }
            ClientAuthentication::PrivateKeyJwt => {
                let key = client.and_then(|client| client.key.clone());
                match (key, resolved) {
                    (Some(key), Some(resolved)) => oauth::ClientAuthentication::PrivateKeyJwt(oauth::ClientKey {
                        key,
                        audience: resolved.endpoints.token_url.clone(),
                    }),
                    // The inputs were checked before: the next look says what is missing.
                    _ => oauth::ClientAuthentication::None,
                }
            }
        };
        Ok(oauth::ClientCredentials {
            client_id: client_id.to_owned(),
            client_secret: client.and_then(|client| client.secret.clone()),
            authentication,
        })
    }

    pub(super) fn inputs_are_stale(&self, needed: Needed) -> bool {
        let current = |key: &Key| self.context.index.get(key);
        let client = self.client_key().is_some_and(|key| {
            let read = self.inputs.client.as_ref().map(|(version, _)| version.clone());
            read != current(&key).map(|seen| self.client_edition(&seen))
        });
        let read = self.inputs.seed.as_ref().map(|(version, _)| version.clone());
        let seed = needed == Needed::ClientAndSeed
            && self
                .seed_place()
                .and_then(|(secret, _)| current(&secret))
                .is_some_and(|current| read != Some(self.seed_edition(&current)));
        client || seed
    }

    pub(super) async fn stored_refresh_token(&self) -> Result<SecretString, Flow> {
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
    pub(super) async fn forget_grant(&self, seen: &Seen) -> Flow {
        let key = self.grant_key();
        let changes = Changes::of_annotations([(names::BINDING, None)].into());
        let written = self.context.secrets.change(&key, seen, &changes).await;
        self.after_write(&key, written).await
    }

    /// How the client proves itself: as the spec says; else as the provider wants it where there is a secret, and with its key where there is only that. None: not
    /// known yet, or a service account, which has no such thing.
    pub(super) fn authentication(&self, resolved: &Resolved) -> Option<ClientAuthentication> {
        if self.asset.spec.oauth2.grant == Grant::JwtBearer {
            return None;
        }
        let owns = match (&self.inputs.client, self.client_key()) {
            (Some((_, Ok(client))), _) if client.secret.is_some() => ClientOwns::Secret,
            (Some((_, Ok(client))), _) if client.key.is_some() => ClientOwns::Key,
            (Some((_, Ok(_))), _) | (_, None) => ClientOwns::Nothing,
            _ => return resolved.endpoints.client_authentication,
        };
        Some(resolved.endpoints.authentication(owns))
    }

    /// The certificates that `spec.oauth2.caBundleRef` names.
    pub(super) async fn ca_bundle(&self) -> Result<Option<CaBundle>, Failure> {
        match self.bundle() {
            Some(bundle) => bundle.read(&self.context).await.map(Some),
            None => Ok(None),
        }
    }

    /// Where those certificates are.
    pub(super) fn bundle(&self) -> Option<Bundle> {
        let reference = self.asset.spec.oauth2.ca_bundle_ref.as_ref()?;
        let namespace = self.namespace_of_client();
        Some(match &self.backing {
            Backing::Shared(provider) => Bundle::of_provider(reference, namespace, provider),
            Backing::Own | Backing::Absent(_) => Bundle {
                namespace: namespace.to_owned(),
                name: reference.name.clone(),
                key: reference.key.clone(),
                of: None,
            },
        })
    }
}
