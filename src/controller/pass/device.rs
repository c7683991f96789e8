//! Steps of a sign-in with a code (RFC 8628): asking for one, asking whether it was entered, and giving it up.

use jiff::Timestamp;
use tracing::{info, warn};

use super::{AFTER_TROUBLE, Flow, Needed, Pass, record_of};
use crate::{
    api::names,
    controller::{
        consent::{self, Signer},
        explain,
        observe::now,
        registry::Answered,
    },
    lifecycle::{self, Binding, DeviceAuthorization, Record, SignInRefusal, World},
    oauth::{DeviceFailure, DevicePoll, DevicePolled, DeviceRequest, Situation},
    store::{Changes, StoreError, annotations, grant},
};

/// What a server that wants to be asked less often adds to the interval (RFC 8628 section 3.5), in seconds.
const SLOWER: u32 = 5;

impl Pass {
    /// Asks for a code, and keeps it where a restart finds it.
    pub(super) async fn begin_device(&mut self, world: &World, binding: &Binding) -> Flow {
        if self.inputs_are_stale(Needed::Client) {
            return self.read_inputs(Needed::Client).await;
        }
        if self.context.fence.open().is_none() {
            return Flow::Stop(Some(AFTER_TROUBLE));
        }
        let Some(request) = world.sign_in_request.clone() else {
            return Flow::On;
        };
        let Ok(resolved) = &self.resolved else { return Flow::On };
        let Some(endpoint) = resolved.endpoints.sign_in.device_authorization_url.clone() else {
            self.refuse_sign_in(&consent::not_possible(
                "No endpoint for sign-ins with a code is known: set spec.oauth2.deviceAuthorizationURL.",
            ));
            return Flow::On;
        };
        let scopes = resolved.endpoints.sign_in.scopes.clone();
        let certificate_authority = match self.ca_bundle().await {
            Ok(bundle) => bundle,
            Err(failure) => {
                self.refuse_sign_in(&consent::not_possible(failure.message));
                return Flow::On;
            }
        };
        let client = match self.client_credentials(&binding.client_id).await {
            Ok(client) => client,
            Err(failure) => {
                self.refuse_sign_in(&consent::not_possible(failure.message));
                return Flow::On;
            }
        };
        let asked = self
            .context
            .token_client
            .begin_device(
                &DeviceRequest {
                    device_authorization_endpoint: endpoint,
                    client,
                    scopes,
                    certificate_authority,
                },
                &Situation::at(&resolved.endpoints),
            )
            .await;
        let authorization = match asked {
            Ok(authorization) => authorization,
            Err(failure) => {
                let why = match &failure {
                    DeviceFailure::Refused(refusal) => {
                        explain::sign_in_refused(&resolved.plan.names, &resolved.endpoints, &binding.client_id, refusal)
                    }
                    failure => format!("{failure}. No code was given."),
                };
                self.refuse_sign_in(&consent::failed(format!(
                    "{why} Then ask again with another value of {}.",
                    names::SIGN_IN
                )));
                return Flow::On;
            }
        };
        let now = now();
        let device = DeviceAuthorization {
            request: request.clone(),
            binding: binding.clone(),
            user_code: authorization.user_code,
            verification_url: authorization.verification_url.to_string(),
            expires: now.checked_add(authorization.expires_in).unwrap_or(Timestamp::MAX),
            interval_seconds: u32::try_from(authorization.interval.as_secs()).unwrap_or(SLOWER),
        };
        let begun = self
            .context
            .secrets
            .keep_device(
                &self.belongs(),
                &Record {
                    inputs: lifecycle::inputs_now(world, &record_of(world).inputs),
                    ..lifecycle::record_to_begin_with(world)
                },
                &device,
                authorization.device_code,
            )
            .await;
        if begun.is_ok() {
            info!(asset = %self.key, expires_at = %device.expires, "a code waits to be entered");
            self.context.registry.poll_device(&self.key, &request, Answered::Yes);
            self.forget_refusal();
        }
        let key = self.grant_key();
        self.after_write(&key, begun).await
    }

    /// Asks once whether the code was entered.
    pub(super) async fn poll_device(&mut self, world: &World, binding: &Binding) -> Flow {
        if self.inputs_are_stale(Needed::Client) {
            return self.read_inputs(Needed::Client).await;
        }
        if self.context.fence.open().is_none() {
            return Flow::Stop(Some(AFTER_TROUBLE));
        }
        let Some(device) = world.grant.ours().and_then(|grant| grant.device.clone()) else {
            return Flow::On;
        };
        let key = self.grant_key();
        let contents = match self.context.secrets.read(&key).await {
            Ok(Some(contents)) => contents,
            Ok(None) => return self.after(self.context.look(&key).await),
            Err(error) => return self.trouble(&error),
        };
        self.context.index.take_in(key.clone(), contents.seen.clone());
        let Ok(device_code) = contents.text(grant::keys::DEVICE_CODE) else {
            warn!(asset = %self.key, "the grant Secret has lost its device code");
            return self.forget_device().await;
        };
        let certificate_authority = self.ca_bundle().await.ok().flatten();
        let Ok(resolved) = &self.resolved else { return Flow::On };
        let client = match self.client_credentials(&binding.client_id).await {
            Ok(client) => client,
            Err(failure) => {
                warn!(asset = %self.key, "{}", failure.message);
                self.context
                    .registry
                    .poll_device(&self.key, &device.request, Answered::No);
                return Flow::On;
            }
        };
        let poll = DevicePoll {
            token_endpoint: resolved.endpoints.token_url.clone(),
            client,
            device_code,
            certificate_authority,
        };
        let polled = self
            .context
            .token_client
            .poll_device(&poll, &Situation::at(&resolved.endpoints))
            .await;
        let answered = match &polled {
            DevicePolled::NotSent(_) | DevicePolled::Unknown(_) => Answered::No,
            _ => Answered::Yes,
        };
        self.context.registry.poll_device(&self.key, &device.request, answered);
        match polled {
            DevicePolled::Pending | DevicePolled::NotSent(_) | DevicePolled::Unknown(_) => Flow::On,
            DevicePolled::SlowDown => self.ask_less_often(&contents.seen, device).await,
            DevicePolled::Answered(answer) => self.take_device_answer(world, binding, poll, &answer).await,
            DevicePolled::Declined => self.end_device(&SignInRefusal::ConsentDenied).await,
            DevicePolled::Expired => self.end_device(&SignInRefusal::CodeExpired).await,
            DevicePolled::Refused(refusal) => {
                let message = match &self.resolved {
                    Ok(resolved) => explain::sign_in_refused(
                        &resolved.plan.names,
                        &resolved.endpoints,
                        &binding.client_id,
                        &refusal,
                    ),
                    Err(_) => return Flow::On,
                };
                self.end_device(&consent::failed(message)).await
            }
        }
    }

    /// A code that has run out, or belongs to another client than the asset now names.
    pub(super) async fn drop_device(&mut self, world: &World) -> Flow {
        let expired = world
            .grant
            .ours()
            .and_then(|grant| grant.device.as_ref())
            .is_some_and(|device| device.expires <= now());
        if expired {
            self.end_device(&SignInRefusal::CodeExpired).await
        } else {
            self.forget_device().await
        }
    }

    async fn ask_less_often(&self, seen: &crate::store::Seen, device: DeviceAuthorization) -> Flow {
        let slower = DeviceAuthorization {
            interval_seconds: device.interval_seconds.saturating_add(SLOWER),
            ..device
        };
        let key = self.grant_key();
        let changes = Changes::of_annotations([(names::DEVICE, Some(annotations::write(&slower)))].into());
        let written = self.context.secrets.change(&key, seen, &changes).await;
        self.after_write(&key, written).await
    }

    /// From here on nothing may be lost: what the answer holds is spooled and stored on a task of its own.
    async fn take_device_answer(
        &mut self,
        world: &World,
        binding: &Binding,
        poll: DevicePoll,
        answer: &crate::oauth::Answer,
    ) -> Flow {
        let granted = lifecycle::record(world).and_then(|record| record.granted);
        let twin = Self::new(
            std::sync::Arc::clone(&self.context),
            self.key.clone(),
            std::sync::Arc::clone(&self.written),
            None,
        );
        let signer = Signer::new(
            twin,
            world.clone(),
            binding.clone(),
            poll.client,
            poll.certificate_authority,
        );
        let answer = answer.clone();
        let task = self.context.tracker.spawn(async move {
            match signer {
                Ok(signer) => signer.keep(&answer, None, granted).await,
                Err(refusal) => Err(refusal),
            }
        });
        match task.await {
            Ok(Ok(signed_in)) => {
                self.context.count_sign_in(&Ok(signed_in));
                self.forget_refusal();
                Flow::On
            }
            Ok(Err(refusal)) => self.end_device(&refusal).await,
            Err(error) => {
                warn!(asset = %self.key, %error, "a sign-in ended in a panic");
                Flow::Stop(Some(AFTER_TROUBLE))
            }
        }
    }

    async fn end_device(&mut self, refusal: &SignInRefusal) -> Flow {
        info!(asset = %self.key, reason = %refusal.reason(), "a sign-in with a code changed nothing");
        let flow = self.forget_device().await;
        if matches!(flow, Flow::On) {
            self.refuse_sign_in(refusal);
        }
        flow
    }

    async fn forget_device(&self) -> Flow {
        let key = self.grant_key();
        match self.context.secrets.drop_device(&key).await {
            Ok(Some(seen)) => {
                self.context.index.take_in(key, seen);
                Flow::On
            }
            Ok(None) | Err(StoreError::Conflict(_)) => self.after(self.context.look(&key).await),
            Err(error) => self.trouble(&error),
        }
    }

    fn refuse_sign_in(&mut self, refusal: &SignInRefusal) {
        self.context.count_sign_in::<()>(&Err(refusal.clone()));
        let mut world = self.world();
        lifecycle::note_refusal(&mut world, refusal, now());
        self.take_notes(world);
    }

    /// Another sign-in has begun or worked: what became of the one before is history.
    fn forget_refusal(&mut self) {
        if let Some(sign_in) = &mut self.status.sign_in {
            sign_in.last_refusal = None;
        }
    }
}
