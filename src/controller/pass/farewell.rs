//! Steps around the end of an asset under `grantDeletionPolicy: Revoke`: holding it, giving its refresh token back, and letting it go.

use std::time::Duration;

use kube::runtime::events::EventType;
use secrecy::SecretString;
use tracing::{info, warn};

use super::{Flow, Needed, Pass};
use crate::{
    controller::{finalizer, redeem::Chain, status},
    lifecycle::{self, Source},
    oauth::{Revocation, Situation},
    provider,
    store::grant,
};

/// Between two tries to give a token back.
const AGAIN: Duration = Duration::from_secs(20);

impl Pass {
    /// Puts our finalizer on the asset.
    pub(super) async fn hold(&self) -> Flow {
        self.finalize(finalizer::Wanted::Present).await
    }

    /// Takes our finalizer off the asset.
    pub(super) async fn let_go(&self) -> Flow {
        self.finalize(finalizer::Wanted::Absent).await
    }

    /// The watch shows what became of it, and that begins a new pass.
    async fn finalize(&self, wanted: finalizer::Wanted) -> Flow {
        match finalizer::set(&self.context, &self.key, &self.uid, wanted).await {
            Ok(()) => Flow::Stop(None),
            Err(error) => {
                warn!(asset = %self.key, error = %Chain(&error), "the finalizer could not be changed; trying again in a moment");
                Flow::Stop(Some(super::AFTER_TROUBLE))
            }
        }
    }

    /// Gives the refresh token back, and lets the asset go unless another try may help.
    pub(super) async fn revoke(&mut self, source: &Source) -> Flow {
        let needed = match source {
            Source::Grant | Source::Client => Needed::Client,
            Source::Seed(_) => Needed::ClientAndSeed,
        };
        if self.inputs_are_stale(needed) {
            return self.read_inputs(needed).await;
        }
        if self.context.fence.open().is_none() {
            return Flow::Stop(Some(super::AFTER_TROUBLE));
        }
        let revocation = match self.revocation(source).await {
            Ok(revocation) => revocation,
            Err(flow) => return flow,
        };
        let situation = match &self.resolved {
            Ok(resolved) => Situation::at(&resolved.endpoints),
            Err(_) => Situation::default(),
        };
        match self.context.token_client.revoke(&revocation, &situation).await {
            Ok(()) => {
                info!(asset = %self.key, "the refresh token was given back");
                self.say_goodbye(EventType::Normal, "Revoked", lifecycle::revoked).await;
                self.let_go().await
            }
            Err(error) if error.may_pass() => {
                warn!(asset = %self.key, %error, "trying again until five minutes after the deletion");
                Flow::Stop(Some(AGAIN))
            }
            Err(error) => self.part(Some(&format!("Why: {error}."))).await,
        }
    }

    /// Lets the asset go though its refresh token was not given back.
    pub(super) async fn part(&self, reason: Option<&str>) -> Flow {
        if let Some(reason) = reason {
            warn!(asset = %self.key, reason, "the refresh token was not given back");
            self.say_goodbye(EventType::Warning, "RevocationFailed", |names| {
                lifecycle::not_revoked(reason, names)
            })
            .await;
        }
        self.let_go().await
    }

    async fn say_goodbye(&self, type_: EventType, reason: &str, note: impl FnOnce(&lifecycle::Names) -> String) {
        let names = match &self.resolved {
            Ok(resolved) => resolved.plan.names.clone(),
            Err(_) => self.names("the provider"),
        };
        status::announce(&self.context, &self.asset, (type_, reason.to_owned(), note(&names))).await;
    }

    async fn revocation(&self, source: &Source) -> Result<Revocation, Flow> {
        let Ok(resolved) = &self.resolved else {
            return Err(Flow::On);
        };
        let world = self.world();
        let (Some(endpoint), Some(client)) = (
            resolved.endpoints.revocation_url.clone(),
            lifecycle::known_client(&world),
        ) else {
            return Err(Flow::On);
        };
        let is_kept = !matches!(source, Source::Seed(_));
        if is_kept && let Err(stranger) = provider::check_giving_back(&resolved.endpoints) {
            // The spec was looked at when this pass began. The grant may have come since.
            return Err(self.part(Some(&format!("{stranger}."))).await);
        }
        let refresh_token = match source {
            Source::Grant | Source::Client => self.newest_refresh_token().await?,
            Source::Seed(_) => match &self.inputs.seed {
                Some((_, Ok(seed))) => seed.clone(),
                _ => return Err(Flow::On),
            },
        };
        let certificate_authority = match self.ca_bundle().await {
            Ok(bundle) => bundle,
            Err(failure) => return Err(self.part(Some(&failure.message)).await),
        };
        let client = match self.client_credentials(client).await {
            Ok(client) => client,
            Err(failure) => return Err(self.part(Some(&failure.message)).await),
        };
        Ok(Revocation {
            endpoint,
            client,
            refresh_token,
            gone: resolved.endpoints.revocation_gone.clone(),
            certificate_authority,
        })
    }

    async fn newest_refresh_token(&self) -> Result<SecretString, Flow> {
        let key = self.grant_key();
        match self.context.secrets.read(&key).await {
            Ok(Some(contents)) => match contents.text(grant::keys::REFRESH_TOKEN) {
                Ok(token) => Ok(token),
                Err(_) => Err(self
                    .part(Some(&format!("Secret {key} holds no refresh token any more.")))
                    .await),
            },
            Ok(None) => Err(self.after(self.context.look(&key).await)),
            Err(error) => Err(self.trouble(&error)),
        }
    }
}
