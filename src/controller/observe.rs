//! From caches to a [`World`]: everything that is known of one asset, without a call.

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sha2::{Digest, Sha256};
use url::Url;

use super::{
    finalizer::is_held,
    pass::{NoEndpoints, Pass},
    providers::Backing,
};
use crate::{
    api::{
        self, EmailAsset, EmailAssetSpec, EmailProvider, GrantDeletionPolicy, Reason, SignInStatus, duration, names,
    },
    formats::{self, Mailbox, Outline},
    lifecycle::{
        self, Activity, AttemptHolder, Discovery, Farewell, GrantSecret, Handover, Heritage, Hold, Input, InputVersion,
        Limits, Names, Plan, PlanRefusal, Presence, Retention, SeedClaim, SeedRecord, SignInBy, SignInWay, Slot,
        Source, TokenSecret, Verdict, World,
    },
    oauth::identity::account_matches,
    provider::{self, Endpoints, HostNotAllowed, InputSecret, Server, SignIn},
    store::{Key, Kind, Seen, What, inputs, spool::Whose, token::Rendering},
};

/// What a spec means, or why it cannot be carried out.
pub(super) struct Resolved {
    pub(super) endpoints: Endpoints,
    pub(super) rendering: Rendering,
    pub(super) plan: Plan,
}

fn invalid(message: String) -> PlanRefusal {
    PlanRefusal {
        reason: Reason::InvalidSpec,
        message,
    }
}

fn host_not_allowed(message: String) -> PlanRefusal {
    PlanRefusal {
        reason: Reason::HostNotAllowed,
        message,
    }
}

impl Pass {
    /// Resolves the spec and checks where its credentials may go (invariant 11).
    pub(super) fn resolve(&mut self) {
        let (discovery, resolved) = match self.try_to_resolve() {
            Ok(resolved) => (Discovery::Settled, Ok(resolved)),
            Err((discovery, refusal)) => (discovery, Err(refusal)),
        };
        self.discovery = discovery;
        self.resolved = resolved;
    }

    fn try_to_resolve(&self) -> Result<Resolved, (Discovery, PlanRefusal)> {
        let settled = |refusal| (Discovery::Settled, refusal);
        api::validate(&self.written, &self.context.settings.allowed_keys).map_err(|violations| {
            let sentences: Vec<String> = violations.iter().map(ToString::to_string).collect();
            settled(invalid(sentences.join(" ")))
        })?;
        self.check_inputs_are_not_ours().map_err(settled)?;
        let catalogue = &self.context.catalogue;
        let endpoints = match &self.backing {
            Backing::Own => self
                .endpoints(|found| provider::resolve_discovered(&self.asset.spec, catalogue, found))
                .map_err(|none| match none {
                    NoEndpoints::Unresolved(error) => settled(invalid(error.to_string())),
                    NoEndpoints::Refused(discovery, refusal) => (discovery, refusal),
                })?,
            Backing::Shared(provider) => self.resolve_under(provider)?,
            Backing::Absent(message) => {
                return Err(settled(PlanRefusal {
                    reason: Reason::ProviderNotReady,
                    message: message.clone(),
                }));
            }
        };
        self.check_hosts(&endpoints).map_err(settled)?;
        let formats = self.formats(&endpoints);
        let formats = formats.map_err(|refusal| settled(invalid(refusal.to_string())))?;
        let rendering = rendering(&self.asset.spec, &endpoints, formats);
        let plan = self.plan(&endpoints, &rendering);
        Ok(Resolved {
            endpoints,
            rendering,
            plan,
        })
    }

    /// The ready-made keys that the spec asks for.
    fn formats(&self, endpoints: &Endpoints) -> Result<Option<Outline>, formats::Refusal> {
        let secret = &self.asset.token_secret_name();
        let wanted = self
            .asset
            .spec
            .secret
            .as_ref()
            .map_or(&[][..], |secret| &secret.formats);
        Outline::new(wanted, &Mailbox::of(secret, endpoints))
    }

    /// What the spec means under an `EmailProvider`, if its rules cover the asset. They are asked first: whoever may not use it learns nothing else about it.
    fn resolve_under(&self, provider: &EmailProvider) -> Result<Endpoints, (Discovery, PlanRefusal)> {
        let spec = &self.asset.spec;
        let name = provider.metadata.name.as_deref().unwrap_or_default();
        let not_ready = |problem: String| {
            let refusal = PlanRefusal {
                reason: Reason::ProviderNotReady,
                message: format!(
                    "EmailProvider {name} cannot be used as it is written: {problem} What is named there is a field of the EmailProvider; a cluster admin corrects it: kubectl edit emailprovider {name}"
                ),
            };
            (Discovery::Settled, refusal)
        };
        let permits = |account: Option<&str>| {
            let permitted = self
                .context
                .providers
                .permits(provider, &self.key.namespace, spec, account);
            permitted.map_err(|denied| {
                let refusal = PlanRefusal {
                    reason: denied.reason,
                    message: denied.message,
                };
                (Discovery::Settled, refusal)
            })
        };
        permits(None)?;
        api::validate_provider(provider).map_err(|violations| {
            let sentences: Vec<String> = violations.iter().map(ToString::to_string).collect();
            not_ready(sentences.join(" "))
        })?;
        let catalogue = &self.context.catalogue;
        let endpoints = self
            .endpoints(|found| provider::resolve_under(name, spec, catalogue, found))
            .map_err(|none| match none {
                NoEndpoints::Unresolved(error) if error.is_about_the_way() => {
                    (Discovery::Settled, does_not_fit(name, &error))
                }
                NoEndpoints::Unresolved(error) => not_ready(format!("{error}.")),
                NoEndpoints::Refused(discovery, refusal) => {
                    let message = format!("EmailProvider {name}: {}", refusal.message);
                    (discovery, PlanRefusal { message, ..refusal })
                }
            })?;
        // A grant may be older than the asset's way to this provider.
        if let Slot::Ours(grant) = self.grant_slot()
            && let Some(account) = &grant.record.account
            && !account_matches(&endpoints.sign_in.identity, spec.login_email(), &account.name)
        {
            permits(Some(&account.name))?;
        }
        Ok(endpoints)
    }

    fn plan(&self, endpoints: &Endpoints, rendering: &Rendering) -> Plan {
        let oauth2 = &self.asset.spec.oauth2;
        let retention = match oauth2.grant_deletion_policy() {
            GrantDeletionPolicy::Retain => Retention::Stays,
            GrantDeletionPolicy::Delete | GrantDeletionPolicy::Revoke => Retention::GoesWithAsset,
        };
        let farewell = match oauth2.grant_deletion_policy() {
            GrantDeletionPolicy::Revoke => Farewell::Revoke,
            GrantDeletionPolicy::Retain | GrantDeletionPolicy::Delete => Farewell::Silent,
        };
        Plan {
            // Where refresh tokens go is what a grant is bound to: another refresh endpoint beside the old token endpoint must not get it.
            token_endpoint: endpoints.refresh_url.origin().ascii_serialization(),
            question: oauth2.grant.is_direct().then(|| self.question(endpoints)),
            rotation: endpoints.rotation,
            reuse_grace: endpoints.reuse_grace,
            limits: limits(&endpoints.limits),
            renew_before: self
                .asset
                .spec
                .renew_before
                .as_deref()
                .and_then(|text| duration::parse(text).ok()),
            retention,
            farewell,
            sign_in: self.sign_in_status(&endpoints.sign_in),
            rendering: rendering.digest(),
            names: self.names(&endpoints.display_name),
        }
    }

    pub(super) fn names(&self, provider: &str) -> Names {
        let client = self.client_key();
        Names {
            asset: self.key.to_string(),
            email: self.asset.spec.email.clone(),
            provider: provider.to_owned(),
            seed: self
                .seed_place()
                .map(|(secret, key)| format!("{secret}, key {key}"))
                .unwrap_or_default(),
            client: match (&self.backing, client) {
                // Its name is nobody's business in the asset's namespace.
                (Backing::Shared(provider), Some(_)) => format!("of {}", called(provider)),
                (_, client) => client.map(|key| key.to_string()).unwrap_or_default(),
            },
            grant_secret: self.grant_key().to_string(),
            token_secret: self.token_key().to_string(),
            sign_in: self.sign_in_way(),
        }
    }

    /// What is asked for where tokens are issued without a refresh token, as a digest: another endpoint, account or scope means another token.
    fn question(&self, endpoints: &Endpoints) -> String {
        let account = match self.asset.spec.oauth2.grant {
            api::Grant::JwtBearer => self.asset.spec.login_email(),
            _ => "",
        };
        let mut hash = Sha256::new();
        let scopes = endpoints.scopes.iter().map(String::as_str);
        for part in [endpoints.token_url.as_str(), account].into_iter().chain(scopes) {
            hash.update(format!("|{}|{part}", part.len()));
        }
        format!("{:x}", hash.finalize()).chars().take(32).collect()
    }

    /// How a person signs in, if the grant begins so.
    fn sign_in_way(&self) -> Option<SignInWay> {
        let by = match self.asset.spec.oauth2.grant {
            api::Grant::AuthorizationCode => SignInBy::Browser,
            api::Grant::DeviceCode => SignInBy::Device,
            api::Grant::RefreshToken | api::Grant::ClientCredentials | api::Grant::JwtBearer => return None,
        };
        Some(SignInWay {
            by,
            login: self.asset.spec.login_email().to_owned(),
            page: self.page_url(),
        })
    }

    /// The page of this asset; none where the operator has no public address, or nobody signs in in a browser.
    fn page_url(&self) -> Option<String> {
        let links = self.context.links.as_ref()?;
        let in_browser = self.asset.spec.oauth2.grant == api::Grant::AuthorizationCode;
        let (namespace, name) = (&self.key.namespace, &self.key.name);
        let edition = self.annotation(names::SIGN_IN);
        in_browser.then(|| {
            links
                .page_url(namespace, name, &self.uid, edition.as_deref())
                .to_string()
        })
    }

    /// How a person signs in, as far as it does not depend on the client.
    fn sign_in_status(&self, sign_in: &SignIn) -> SignInStatus {
        let in_browser = self.asset.spec.oauth2.grant == api::Grant::AuthorizationCode;
        let links = self.context.links.as_ref().filter(|_| in_browser);
        SignInStatus {
            url: self.page_url(),
            callback_url: links.map(|links| links.callback_url(&sign_in.callback_key).to_string()),
            ..SignInStatus::default()
        }
    }

    /// The authorization request, as far as it can be written before a person comes: once the client is known.
    fn authorization_request(&self, world: &World) -> Option<Url> {
        let sign_in = &self.resolved.as_ref().ok()?.endpoints.sign_in;
        let in_browser = self.asset.spec.oauth2.grant == api::Grant::AuthorizationCode;
        let client = lifecycle::known_client(world).filter(|_| in_browser)?;
        sign_in.authorization_request(client, self.asset.spec.login_email())
    }

    /// The hosts that the client's Secret names.
    pub(super) fn client_hosts(&self) -> Option<String> {
        let seen = self.context.index.get(&self.client_key()?)?;
        named_hosts(&seen)
    }

    /// Redirect URIs that the client's own file lists, if it was read and lists any.
    pub(super) fn registered_callbacks(&self) -> Option<Vec<String>> {
        let key = self.client_key()?;
        let seen = self.context.index.get(&key)?;
        let (_, client) = self.context.clients.get(&key, &seen.version())?;
        let registration = client.ok()?.registration?;
        Some(registration.redirect_uris)
    }

    /// Our own Secrets hold other assets' tokens: a person who may edit assets but not read Secrets must not get at them by naming one as an input.
    fn check_inputs_are_not_ours(&self) -> Result<(), PlanRefusal> {
        let client = self.client_key().map(|key| ("spec.oauth2.clientCredentialsRef", key));
        let seed = self
            .seed_place()
            .map(|(secret, _)| ("spec.oauth2.refreshTokenSecretRef", secret));
        for (field, key) in client.into_iter().chain(seed) {
            let kind = self.context.index.get(&key).map(|seen| seen.kind());
            if !matches!(kind, Some(Kind::Grant | Kind::Token | Kind::Response)) {
                continue;
            }
            return Err(match &self.backing {
                Backing::Shared(provider) if self.client_key().as_ref() == Some(&key) => PlanRefusal {
                    reason: Reason::ProviderNotReady,
                    message: without_client(provider),
                },
                _ => PlanRefusal {
                    reason: Reason::InvalidSpec,
                    message: format!(
                        "{field} names Secret {key}, which the operator itself writes; expected a Secret that you made. Name another Secret there."
                    ),
                },
            });
        }
        Ok(())
    }

    fn check_hosts(&self, endpoints: &Endpoints) -> Result<(), PlanRefusal> {
        self.with_inputs(|secrets| provider::check_hosts(endpoints, secrets))?;
        if self.gives_a_grant_back() {
            provider::check_giving_back(endpoints).map_err(|error| host_not_allowed(format!("{error}.")))?;
        }
        if endpoints.client_authentication != Some(api::ClientAuthentication::FederatedToken) {
            return Ok(());
        }
        let federation = &self.context.settings.federation;
        let asked = [&endpoints.token_url, &endpoints.refresh_url].into_iter();
        asked
            .chain(&endpoints.sign_in.device_authorization_url)
            .chain(&endpoints.revocation_url)
            .try_for_each(|url| federation.check_host(&endpoints.own_hosts, url))
            .map_err(host_not_allowed)
    }

    /// Whether this issuer may say where credentials go. One that an `EmailProvider` names was chosen by a cluster admin.
    pub(super) fn check_issuer_host(&self, issuer: &str) -> Result<(), PlanRefusal> {
        match self.backing {
            Backing::Own => self.with_inputs(|secrets| provider::check_issuer_host(issuer, secrets)),
            Backing::Shared(_) | Backing::Absent(_) => Ok(()),
        }
    }

    /// Holds something against what the input Secrets say about hosts.
    fn with_inputs(
        &self,
        check: impl FnOnce(&[InputSecret<'_>]) -> Result<(), HostNotAllowed>,
    ) -> Result<(), PlanRefusal> {
        let seed = self.seed_place().map(|(secret, _)| secret);
        let keys: Vec<Key> = self.client_key().into_iter().chain(seed).collect();
        let known: Vec<_> = keys
            .iter()
            .filter_map(|key| Some((key, named_hosts(&*self.context.index.get(key)?))))
            .collect();
        let secrets: Vec<InputSecret<'_>> = known
            .iter()
            .map(|(key, hosts)| InputSecret {
                namespace: &key.namespace,
                name: &key.name,
                hosts: hosts.as_deref(),
            })
            .collect();
        check(&secrets).map_err(|error| match &self.backing {
            Backing::Shared(provider) => host_not_allowed(named_by_issuer(&error, provider)),
            Backing::Own | Backing::Absent(_) => host_not_allowed(error.to_string()),
        })
    }

    /// Whether a refresh token that we keep, or will keep once somebody has signed in, is to be given back at the end.
    fn gives_a_grant_back(&self) -> bool {
        use api::Grant::{AuthorizationCode, ClientCredentials, DeviceCode, JwtBearer, RefreshToken};
        let oauth2 = &self.asset.spec.oauth2;
        let keeps = match oauth2.grant {
            AuthorizationCode | DeviceCode => true,
            RefreshToken => matches!(self.grant_slot(), Slot::Ours(grant) if grant.record.binding.is_some()),
            ClientCredentials | JwtBearer => false,
        };
        keeps && oauth2.grant_deletion_policy() == GrantDeletionPolicy::Revoke
    }

    /// Everything that is known.
    pub(super) fn world(&self) -> World {
        let token = self.token_slot();
        let renamed = if token.ours().is_some() || matches!(token, Slot::Free) {
            self.renamed().map(|(_, token)| token)
        } else {
            None
        };
        let grant = match &self.resolved {
            // A Secret with an earlier grant is left alone, and a stranger's of that name is not in the way.
            Ok(resolved) if resolved.plan.is_direct() => Slot::Free,
            _ => self.grant_slot(),
        };
        let mut world = World {
            asset_generation: self.asset.metadata.generation.unwrap_or_default(),
            presence: match &self.asset.metadata.deletion_timestamp {
                Some(Time(since)) => Presence::Leaving { since: *since },
                None => Presence::Staying,
            },
            hold: if is_held(&self.asset.metadata) {
                Hold::Held
            } else {
                Hold::Free
            },
            activity: if self.asset.spec.suspended() {
                Activity::Suspended
            } else {
                Activity::Active
            },
            refresh_request: self.annotation(names::REFRESH),
            sign_in_request: self.annotation(names::SIGN_IN),
            jitter: jitter(&self.uid),
            plan: self
                .resolved
                .as_ref()
                .map(|resolved| resolved.plan.clone())
                .map_err(Clone::clone),
            client: self.client_input(),
            seed: self.seed_input(),
            seed_claim: self.seed_claim(),
            attempt_holder: self.attempt_holder(&grant),
            discovery: self.discovery,
            device_due: self.device_due(&grant),
            grant,
            grant_sight: self.grant_sight,
            token,
            renamed,
            failed_under: self.failed_under.clone(),
            status: self.status.clone(),
        };
        let request = self.authorization_request(&world);
        if let Ok(plan) = &mut world.plan {
            plan.sign_in.authorization_request = request.map(String::from);
        }
        world
    }

    pub(super) fn annotation(&self, key: &str) -> Option<String> {
        self.asset.metadata.annotations.as_ref()?.get(key).cloned()
    }

    fn seed_claim(&self) -> SeedClaim {
        let Some((seed, _)) = self.seed_place() else {
            return SeedClaim::This;
        };
        let owner = self
            .context
            .registry
            .owner_of_seed(&self.key, |rival| self.has_sent(rival, &seed));
        owner.map_or(SeedClaim::This, |owner| SeedClaim::Older(owner.to_string()))
    }

    /// Whether this asset's grant grew from what the Secret holds, or is about to.
    fn has_sent(&self, asset: &Key, seed: &Key) -> bool {
        let grant_key = Key::new(&asset.namespace, &names::grant_secret(&asset.name));
        let Some(grant) = self.context.index.get(&grant_key) else {
            return false;
        };
        let What::Grant(grant) = grant.what() else { return false };
        if matches!(&grant.attempt, Some(attempt) if matches!(attempt.source, Source::Seed(_))) {
            return true;
        }
        let Some((version, fingerprint)) = &grant.record.inputs.seed else {
            return false;
        };
        let same_secret = self
            .context
            .index
            .get(seed)
            .is_some_and(|seed| seed.is_edition(version));
        let taken = |record: &SeedRecord| record.fingerprint == *fingerprint && record.verdict == Verdict::Taken;
        same_secret && grant.record.seeds.0.iter().any(taken)
    }

    /// From when on the server may be asked whether a code was entered: an interval after the last time, and more where it does not answer (RFC 8628 section 3.5).
    fn device_due(&self, grant: &Slot<GrantSecret>) -> Timestamp {
        let Some(device) = grant.ours().and_then(|grant| grant.device.as_ref()) else {
            return now();
        };
        let (since, unanswered) = self.context.registry.device_polled(&self.key, &device.request);
        let interval = Duration::from_secs(device.interval_seconds.into());
        let wanted = interval.saturating_mul(1 << unanswered.min(5));
        let left = wanted.saturating_sub(since);
        // Times of a world are whole seconds: a moment late rather than early.
        let seconds = i64::try_from(left.as_millis().div_ceil(1000)).unwrap_or(i64::MAX);
        now()
            .checked_add(SignedDuration::from_secs(seconds))
            .unwrap_or(Timestamp::MAX)
    }

    fn attempt_holder(&self, grant: &Slot<GrantSecret>) -> AttemptHolder {
        let Some(attempt) = grant.ours().and_then(|grant| grant.attempt.as_ref()) else {
            return AttemptHolder::This;
        };
        let whose = attempt
            .holder
            .parse()
            .map_or(Whose::Other, |holder| self.context.spool.whose(&holder));
        match whose {
            Whose::This => AttemptHolder::This,
            Whose::Earlier => AttemptHolder::Earlier,
            Whose::Other => AttemptHolder::Other {
                watched: self.context.registry.watched(&self.key, attempt),
            },
        }
    }

    fn client_input(&self) -> Input<String> {
        let oauth2 = &self.asset.spec.oauth2;
        let Some(key) = self.client_key() else {
            return match &oauth2.client_id {
                Some(id) => Input::NotNeeded(id.clone()),
                None => Input::Unusable("The spec names no OAuth client: set spec.oauth2.clientCredentialsRef or, for a public client, clientID.".to_owned()),
            };
        };
        let input = self.own_client_input(&key);
        match (&self.backing, input) {
            (Backing::Shared(provider), Input::Unusable(_)) => Input::Unusable(without_client(provider)),
            (_, input) => input,
        }
    }

    fn own_client_input(&self, key: &Key) -> Input<String> {
        let oauth2 = &self.asset.spec.oauth2;
        let Some(seen) = self.context.index.get(key) else {
            let (what, create) = match oauth2.grant {
                api::Grant::JwtBearer => ("the service account", "--from-file=key.json"),
                _ => (
                    "the OAuth client",
                    "--from-literal=client_id=… --from-literal=client_secret=…",
                ),
            };
            let purpose = format!("{what}, spec.oauth2.clientCredentialsRef");
            return Input::Unusable(inputs::missing(key, &purpose, create));
        };
        let read = self
            .inputs
            .client
            .as_ref()
            .filter(|(version, _)| *version == self.client_edition(&seen));
        match read {
            Some((_, Err(complaint))) => Input::Unusable(complaint.clone()),
            Some((version, Ok(client))) => match inputs::client_id(key, client, oauth2) {
                Ok(id) => Input::Read(version.clone(), id),
                Err(complaint) => Input::Unusable(complaint),
            },
            None => Input::Unread(self.client_edition(&seen)),
        }
    }

    /// The edition of the seed Secret together with the key that the spec names in it.
    pub(super) fn seed_edition(&self, seen: &Seen) -> InputVersion {
        let InputVersion(secret) = seen.version();
        let key = self.seed_place().map(|(_, key)| key).unwrap_or_default();
        InputVersion(format!("{secret}/{key}"))
    }

    /// The edition of the client Secret together with what the spec, or its `EmailProvider`, puts over its contents: each can change the client.
    pub(super) fn client_edition(&self, seen: &Seen) -> InputVersion {
        let InputVersion(mut edition) = seen.version();
        let oauth2 = &self.asset.spec.oauth2;
        if let Backing::Shared(provider) = &self.backing {
            edition = format!("{edition}/{}", edition_of(provider));
        }
        if let Some(id) = &oauth2.client_id {
            edition = format!("{edition}/{id}");
        }
        // What is looked for in the Secret depends on these two.
        if oauth2.grant.is_direct() || oauth2.client_authentication == Some(api::ClientAuthentication::PrivateKeyJwt) {
            let method = oauth2
                .client_authentication
                .map_or("", api::ClientAuthentication::as_str);
            edition = format!("{edition}/{}/{method}", oauth2.grant.as_str());
        }
        InputVersion(edition)
    }

    fn seed_input(&self) -> Input<crate::lifecycle::Fingerprint> {
        let Some((key, data_key)) = self.seed_place() else {
            return Input::Unnamed;
        };
        let Some(seen) = self.context.index.get(&key) else {
            let create = format!("--from-literal={data_key}=…");
            return Input::Unusable(inputs::missing(
                &key,
                "the refresh token, spec.oauth2.refreshTokenSecretRef",
                &create,
            ));
        };
        match self
            .inputs
            .seed
            .as_ref()
            .filter(|(version, _)| *version == self.seed_edition(&seen))
        {
            Some((version, Ok(token))) => Input::Read(version.clone(), inputs::fingerprint(token)),
            Some((_, Err(complaint))) => Input::Unusable(complaint.clone()),
            None => Input::Unread(self.seed_edition(&seen)),
        }
    }

    fn grant_slot(&self) -> Slot<GrantSecret> {
        let Some(seen) = self.context.index.get(&self.grant_key()) else {
            return Slot::Free;
        };
        let What::Grant(grant) = seen.what() else {
            return self.foreign(&seen);
        };
        if seen.deleting {
            return Slot::Leaving;
        }
        let retention = match &seen.owner {
            Some((uid, _)) if *uid == self.uid => Retention::GoesWithAsset,
            // An earlier asset's, under Delete: the garbage collector removes it.
            Some(_) => return Slot::Leaving,
            None => Retention::Stays,
        };
        let heritage = if grant.asset == self.uid {
            Heritage::Own
        } else {
            Heritage::Retained
        };
        Slot::Ours(GrantSecret {
            record: grant.record,
            attempt: grant.attempt,
            device: grant.device,
            unanswered: grant.unanswered,
            retention,
            heritage,
            mailbox: grant.email,
        })
    }

    fn token_slot(&self) -> Slot<TokenSecret> {
        let Some(seen) = self.context.index.get(&self.token_key()) else {
            return Slot::Free;
        };
        let What::Token(token) = seen.what() else {
            return self.foreign(&seen);
        };
        match &seen.owner {
            Some((uid, _)) if *uid == self.uid && !seen.deleting => Slot::Ours(self.counting(TokenSecret {
                record: token.record,
                rendering: token.rendered.digest,
            })),
            Some((uid, name)) if *uid == self.uid || **name == *self.key.name => Slot::Leaving,
            _ => self.foreign(&seen),
        }
    }

    /// The token Secret of an earlier `spec.secret.name`.
    pub(super) fn renamed(&self) -> Option<(Key, TokenSecret)> {
        let current = self.token_key();
        let earlier = self
            .context
            .index
            .tokens_of(&self.uid)
            .into_iter()
            .filter(|key| *key != current);
        let known = earlier.filter_map(|key| {
            let seen = self.context.index.get(&key)?;
            match seen.what() {
                What::Token(token) if !seen.deleting => {
                    let token = TokenSecret {
                        record: token.record,
                        rendering: token.rendered.digest,
                    };
                    Some((key, self.counting(token)))
                }
                _ => None,
            }
        });
        known.max_by_key(|(_, token)| token.record.generation)
    }

    /// A token Secret as it counts for what the spec asks for.
    fn counting(&self, token: TokenSecret) -> TokenSecret {
        match &self.resolved {
            Ok(resolved) => token.under(&resolved.plan),
            Err(_) => token,
        }
    }

    fn foreign<T>(&self, seen: &Seen) -> Slot<T> {
        let (found, adopt) = match seen.what() {
            What::Other { adopt, .. } => ("another type".to_owned(), adopt),
            What::Response { .. } => ("an authorization response".to_owned(), None),
            What::Token(_) => (of_owner("a token Secret", seen), None),
            What::Grant(_) => (of_owner("a grant Secret", seen), None),
        };
        let granted = adopt.is_some_and(|name| *name == *self.key.name || name == "true");
        Slot::Foreign {
            found,
            handover: if granted { Handover::Granted } else { Handover::None },
        }
    }

    pub(super) fn client_key(&self) -> Option<Key> {
        self.asset
            .spec
            .oauth2
            .client_credentials_ref
            .as_ref()
            .map(|client| Key::new(self.namespace_of_client(), &client.name))
    }

    /// Where the client's Secret and the CA bundle are.
    pub(super) fn namespace_of_client(&self) -> &str {
        match self.backing {
            Backing::Own => &self.key.namespace,
            Backing::Shared(_) | Backing::Absent(_) => &self.context.settings.own_namespace,
        }
    }

    /// The seed's Secret and the key in it; none where a person signs in.
    pub(super) fn seed_place(&self) -> Option<(Key, &str)> {
        let seed = self.asset.spec.oauth2.refresh_token_secret_ref.as_ref()?;
        Some((Key::new(&self.key.namespace, &seed.name), &seed.key))
    }

    pub(super) fn grant_key(&self) -> Key {
        Key::new(&self.key.namespace, &self.asset.grant_secret_name())
    }

    pub(super) fn token_key(&self) -> Key {
        Key::new(&self.key.namespace, &self.asset.token_secret_name())
    }
}

/// What tells two editions of an `EmailProvider` apart as far as a request depends on it: a mistake that is corrected there ends the wait of its assets. Its rules are
/// no part of it, so a change of them is nothing to note in each asset's Secrets.
fn edition_of(provider: &EmailProvider) -> String {
    let spec = &provider.spec;
    let text = serde_json::to_string(&(&spec.provider, &spec.oauth2)).unwrap_or_default();
    format!("{:x}", Sha256::digest(text)).chars().take(12).collect()
}

/// An `EmailProvider` in a sentence.
/// All hosts that an `EmailProvider` writes are its own, so only its issuer can have named another. The name of its client's Secret is nobody's business here.
fn named_by_issuer(error: &HostNotAllowed, provider: &EmailProvider) -> String {
    let hosts = error.0.iter().flat_map(|refusal| &refusal.hosts);
    let hosts: BTreeSet<String> = hosts.map(ToString::to_string).collect();
    let hosts = hosts.into_iter().collect::<Vec<_>>().join(" and ");
    let provider = called(provider);
    let name = provider.rsplit(' ').next().unwrap_or_default();
    format!(
        "The issuer of {provider} names an endpoint at {hosts}, which is no host that the EmailProvider writes: nothing is sent there. If the host is right, a cluster admin writes that endpoint into the EmailProvider: kubectl edit emailprovider {name}"
    )
}

pub(super) fn called(provider: &EmailProvider) -> String {
    format!(
        "EmailProvider {}",
        provider.metadata.name.as_deref().unwrap_or_default()
    )
}

/// What is wrong with the client's Secret is told to those who may read it: in the status of the `EmailProvider`.
fn without_client(provider: &EmailProvider) -> String {
    let name = provider.metadata.name.as_deref().unwrap_or_default();
    format!(
        "The OAuth client of EmailProvider {name} is missing or cannot be used. A cluster admin sees why: kubectl get emailprovider {name} -o wide"
    )
}

/// The asset asks for a way that its `EmailProvider` does not have. Either of them may have changed, so it takes no valid token away.
fn does_not_fit(provider: &str, error: &provider::ResolveError) -> PlanRefusal {
    PlanRefusal {
        reason: Reason::ProviderNotReady,
        message: format!(
            "EmailProvider {provider} does not have what this asset asks for: {error}. The first field named is this asset's; name another way there, or ask a cluster admin to change the EmailProvider: kubectl edit emailprovider {provider}"
        ),
    }
}

fn of_owner(what: &str, seen: &Seen) -> String {
    match &seen.owner {
        Some((_, name)) => format!("{what} of EmailAsset {name}"),
        None => format!("{what} without an owner"),
    }
}

fn named_hosts(seen: &Seen) -> Option<String> {
    match seen.what() {
        What::Other { hosts, .. } => hosts,
        _ => None,
    }
}

/// The limits that the lifecycle keeps to. How long refresh tokens live is told with each answer.
fn limits(of: &provider::Limits) -> Limits {
    Limits {
        refresh_interval: of.refresh_interval,
        throttled_for: of.throttled_for,
        max_idle: of.max_idle,
        keep_alive: of.keep_alive,
        while_testing: of.while_testing,
    }
}

/// What surrounds the token in the Secret.
fn rendering(spec: &EmailAssetSpec, endpoints: &Endpoints, formats: Option<Outline>) -> Rendering {
    let mut rendering = Rendering {
        formats,
        ..Rendering::default()
    };
    rendering.settings.insert("email".to_owned(), endpoints.email.clone());
    rendering
        .settings
        .insert("username".to_owned(), endpoints.username.clone());
    for (protocol, server) in [
        ("smtp", &endpoints.smtp),
        ("imap", &endpoints.imap),
        ("pop3", &endpoints.pop3),
    ] {
        if let Some(server) = server {
            add_server(&mut rendering, protocol, server, &endpoints.username);
        }
    }
    if let Some(secret) = &spec.secret {
        rendering.labels.clone_from(&secret.labels);
        rendering.annotations.clone_from(&secret.annotations);
    }
    rendering
}

fn add_server(rendering: &mut Rendering, protocol: &str, server: &Server, username: &str) {
    let mut set = |key: &str, value: String| rendering.settings.insert(format!("{protocol}_{key}"), value);
    set("host", server.host.clone());
    set("port", server.port.to_string());
    set("security", server.security.as_str().to_owned());
    if server.username != username {
        set("username", server.username.clone());
    }
}

/// A number in `0.0..1.0` that is the same for an asset as long as it lives.
fn jitter(uid: &str) -> f64 {
    let digest = Sha256::digest(uid);
    let number = digest
        .iter()
        .take(4)
        .fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    f64::from(number) / (f64::from(u32::MAX) + 1.0)
}

/// The moment by the wall clock, in whole seconds: that is what the API keeps, and a finer time would differ from itself after a round trip.
pub(super) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// How long it is until [`now`] is this moment or later: a moment late rather than early, because a pass before its time would find nothing due and come again.
pub(super) fn time_until(moment: Timestamp) -> Duration {
    let since = Timestamp::now();
    let whole = moment.as_second() + i64::from(moment.subsec_nanosecond() > 0);
    let left = Timestamp::from_second(whole).unwrap_or(moment).duration_since(since);
    Duration::try_from(left).unwrap_or_default() + Duration::from_millis(20)
}

/// Namespace and name of an asset.
pub(super) fn key_of(asset: &EmailAsset) -> Key {
    let metadata = &asset.metadata;
    Key::new(
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    )
}
