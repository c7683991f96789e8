//! What the sign-in pages may know of assets and do to them: [`Desk`] as the controller keeps it.
//!
//! Pages are asked for by anybody who has a link or guesses at one, so [`Desk::offer`] looks at caches only and makes no call.

use std::sync::Arc;

use url::Url;

use super::{
    consent,
    context::{Context, reference},
    pass::Pass,
};
use crate::{
    api::{ConditionType, Grant},
    lifecycle::{self, SignInRefusal},
    signin::{Consent, Desk, Offer, SignedIn},
    store::Key,
};

/// The sign-in desk of this replica. It answers whether the replica leads or not.
#[derive(Clone)]
pub struct Reception(pub(super) Arc<Context>);

impl Desk for Reception {
    fn offer(&self, namespace: &str, name: &str) -> Option<Offer> {
        let key = Key::new(namespace, name);
        let watched = self.0.assets.get(&reference(&key))?;
        let asset = watched.asset().ok()?;
        if asset.spec.oauth2.grant != Grant::AuthorizationCode {
            return None;
        }
        Some(Pass::new(Arc::clone(&self.0), key, asset, None).offer())
    }

    async fn complete(&self, consent: Consent) -> Result<SignedIn, SignInRefusal> {
        let key = Key::new(&consent.namespace, &consent.name);
        let ended = consent::complete(&self.0, consent).await;
        if let Err(refusal) = &ended {
            self.note(&key, refusal).await;
        }
        ended
    }

    async fn refused(&self, namespace: &str, name: &str, uid: &str, refusal: &SignInRefusal) {
        let key = Key::new(namespace, name);
        let watched = self.0.assets.get(&reference(&key));
        let same = watched
            .as_ref()
            .and_then(|watched| watched.asset().ok())
            .is_some_and(|asset| asset.metadata.uid.as_deref() == Some(uid));
        if same {
            self.0.count_sign_in::<SignedIn>(&Err(refusal.clone()));
            self.note(&key, refusal).await;
        }
    }
}

impl Reception {
    /// Notes a refusal that says something new.
    async fn note(&self, key: &Key, refusal: &SignInRefusal) {
        if self.0.noted.is_news(key, refusal) {
            consent::note_refusal(&self.0, key, refusal).await;
        }
    }
}

impl Pass {
    /// What a sign-in for this asset would be. The client is the one that was read last: nothing is read for a page.
    fn offer(&self) -> Offer {
        let spec = &self.asset.spec;
        let world = self.world();
        let grant = world.grant.ours().map(|grant| &grant.record);
        let endpoints = self.resolved.as_ref().ok().map(|resolved| &resolved.endpoints);
        let sign_in = endpoints.map(|endpoints| &endpoints.sign_in);
        let hosts = endpoints.map(|endpoints| {
            let urls = [
                endpoints.sign_in.authorization_url.as_ref(),
                Some(&endpoints.token_url),
                Some(&endpoints.refresh_url),
            ];
            let mut hosts: Vec<String> = urls
                .into_iter()
                .flatten()
                .filter_map(|url| url.host_str().map(str::to_owned))
                .collect();
            hosts.dedup();
            hosts
        });
        Offer {
            namespace: self.key.namespace.to_string(),
            name: self.key.name.to_string(),
            uid: self.uid.clone(),
            mailbox: spec.email.clone(),
            login: spec.login_email().to_owned(),
            provider: endpoints
                .map(|endpoints| endpoints.display_name.clone())
                .unwrap_or_default(),
            callback_key: sign_in.map(|sign_in| sign_in.callback_key.clone()).unwrap_or_default(),
            issuer: sign_in.and_then(|sign_in| sign_in.identity.fixed_issuer()),
            names_issuer: sign_in.map(|sign_in| sign_in.names_issuer).unwrap_or_default(),
            code_server: sign_in.and_then(|sign_in| sign_in.code_server.clone()),
            request: self.offered_request(),
            hosts: hosts.unwrap_or_default(),
            scopes: sign_in.map(|sign_in| sign_in.scopes.clone()).unwrap_or_default(),
            edition: world.sign_in_request.clone(),
            granted: grant.and_then(|grant| grant.granted),
            account: grant
                .and_then(|grant| grant.account.as_ref())
                .map(|account| account.name.clone()),
            registered_callbacks: self.registered_callbacks(),
        }
    }

    /// The request as the leader wrote it into the status: a replica on standby has not read the client.
    fn offered_request(&self) -> Result<Url, String> {
        let resolved = self.resolved.as_ref().map_err(|refusal| refusal.message.clone())?;
        if self.asset.spec.suspended() {
            return Err(
                "The asset is suspended (spec.suspend is true). Whoever runs it has to end that first.".to_owned(),
            );
        }
        let current = self.status.observed_generation == self.asset.metadata.generation;
        let written = self.status.sign_in.as_ref().filter(|_| current);
        let request = written.and_then(|sign_in| sign_in.authorization_request.as_deref());
        request.and_then(|request| Url::parse(request).ok()).ok_or_else(|| {
            let ready = lifecycle::condition(&self.status.conditions, ConditionType::Ready);
            let said = ready
                .filter(|ready| current && ready.status != "True")
                .map(|ready| ready.message.clone());
            said.unwrap_or_else(|| {
                format!(
                    "The sign-in at {} is being prepared. Reload this page in a moment.",
                    resolved.plan.names.provider
                )
            })
        })
    }
}
