//! The status of each `EmailProvider`: whether assets can use it, and the values in effect. The leader writes it.

use std::{sync::Arc, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
    core::DeserializeGuard,
};
use serde_json::json;
use tokio::sync::watch as channel;
use tracing::warn;

use super::wake;
use crate::{
    api::{
        self, ConditionType, EmailAssetSpec, EmailProvider, EmailProviderStatus, EndpointsStatus, Grant, OAuth2,
        Reason, names,
    },
    controller::{
        bundle::Bundle,
        context::Context,
        discoveries::{self, Asked, FRESH_FOR, Missing, Need, User, Wish},
        observe::now,
        redeem::Chain,
    },
    leader::Leadership,
    lifecycle::Discovery,
    provider::{self, Discovered, Endpoints, ResolveError},
    store::{Key, Kind, inputs},
};

/// After this a status that could not be written is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// Writes the status of each provider whenever it may have changed, while this replica leads.
pub(in crate::controller) async fn keep_statuses(context: Arc<Context>, mut leadership: channel::Receiver<Leadership>) {
    context.caches_are_synced().await;
    let mut again = false;
    loop {
        if *leadership.borrow_and_update() == Leadership::Leading {
            again = false;
            for provider in context.providers.all() {
                again |= !write_status(&context, &provider).await;
            }
        }
        let pause = async {
            if again {
                tokio::time::sleep(AGAIN).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = context.providers.changed.notified() => {}
            changed = leadership.changed() => {
                if changed.is_err() {
                    // Without elections nobody tells: this replica leads for good.
                    context.providers.changed.notified().await;
                }
            }
            () = pause => {}
        }
    }
}

/// False: it could not be written, the client not be read, or the issuer not be asked.
async fn write_status(context: &Arc<Context>, provider: &EmailProvider) -> bool {
    let name = provider.name_any();
    let standing = match stands(context, provider).await {
        Ok(standing) => standing,
        Err(NotNow::Trouble) => return false,
        Err(NotNow::Asking) => return true,
    };
    let shown = provider.status.as_ref();
    let passes = standing.passes;
    let status = status(provider, standing);
    if shown == Some(&status) {
        return !passes;
    }
    let operations = json!([{"op": "add", "path": "/status", "value": status}]);
    let Ok(patch) = serde_json::from_value(operations) else {
        return true;
    };
    let parameters = PatchParams {
        field_manager: Some(names::FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let api: Api<EmailProvider> = Api::all(context.client.clone());
    let patch = Patch::<()>::Json(patch);
    let call = api.patch_status(&name, &parameters, &patch);
    match tokio::time::timeout(context.settings.api_timeout, call).await {
        Ok(Ok(written)) => {
            // The watch shows the same in a moment. Until then nobody shall write it a second time.
            let (name, changed) = context.providers.take_in(DeserializeGuard(Ok(written)));
            wake(context, &name, changed);
            !passes
        }
        Ok(Err(kube::Error::Api(answer))) if answer.code == 404 => true,
        Ok(Err(error)) => {
            warn!(provider = %name, error = %Chain(&error), "the status of an EmailProvider could not be written; trying again");
            false
        }
        Err(_) => false,
    }
}

/// How a provider stands.
struct Stands {
    reason: Reason,
    message: String,
    endpoints: Option<EndpointsStatus>,
    /// It may be another answer soon, and nobody tells.
    passes: bool,
}

/// Why it cannot be said now.
enum NotNow {
    /// The API server did not answer.
    Trouble,
    /// The issuer is being asked; there is another look when it has answered.
    Asking,
}

async fn stands(context: &Arc<Context>, provider: &EmailProvider) -> Result<Stands, NotNow> {
    let broken = |reason, message: String| {
        Ok(Stands {
            reason,
            message,
            endpoints: None,
            passes: false,
        })
    };
    if let Err(violations) = api::validate_provider(provider) {
        let sentences: Vec<String> = violations.iter().map(ToString::to_string).collect();
        return broken(Reason::InvalidSpec, sentences.join(" "));
    }
    let spec = provider.spec.under(&probe(provider));
    let endpoints = match endpoints(context, provider, &spec) {
        Ok(endpoints) => endpoints,
        Err(Missing::Unresolved(error)) => return broken(Reason::InvalidSpec, error.to_string()),
        Err(Missing::Undiscovered(_, Some(failed))) => {
            return Ok(Stands {
                reason: failed.reason,
                message: failed.message,
                endpoints: None,
                passes: true,
            });
        }
        Err(Missing::Undiscovered(_, None)) => return Err(NotNow::Asking),
    };
    if let Some(client) = &provider.spec.oauth2.client_credentials_ref {
        let key = Key::new(&context.settings.own_namespace, &client.name);
        if let Some(complaint) = client_complaint(context, &key, &spec.oauth2).await? {
            return broken(Reason::ClientMissing, complaint);
        }
    }
    let mut shown = endpoints.to_status(None);
    for server in [&mut shown.smtp, &mut shown.imap, &mut shown.pop3]
        .into_iter()
        .flatten()
    {
        // The example's.
        server.username = None;
    }
    let message = if provider.spec.allow.is_empty() {
        "The client is there and the endpoints are known. Nobody may use it yet: spec.allow has no rule."
    } else {
        "The client is there and the endpoints are known. Assets that a rule of spec.allow covers may use it."
    };
    Ok(Stands {
        reason: Reason::Usable,
        message: message.to_owned(),
        endpoints: Some(shown),
        passes: false,
    })
}

/// The values in effect. An issuer that is to be asked for them is asked.
fn endpoints(context: &Arc<Context>, provider: &EmailProvider, spec: &EmailAssetSpec) -> Result<Endpoints, Missing> {
    let name = provider.name_any();
    let resolve = |found: Option<&Discovered>| provider::resolve_under(&name, spec, &context.catalogue, found);
    let user = User::Provider(name.clone());
    let issuer = match resolve(None) {
        Err(ResolveError::Undiscovered { issuer }) => issuer,
        settled => {
            context.discoveries.forget(&user);
            return settled.map_err(Missing::Unresolved);
        }
    };
    let bundle = provider.spec.oauth2.ca_bundle_ref.as_ref();
    let need = Need {
        user,
        asked: Asked {
            issuer,
            bundle: bundle.map(|bundle| Bundle::of_provider(bundle, &context.settings.own_namespace, provider)),
        },
        wish: Wish {
            generation: provider.metadata.generation,
            refresh: None,
        },
        shown: provider.status.as_ref().and_then(|status| status.endpoints.as_ref()),
    };
    let found = context.discoveries.endpoints(&need, resolve);
    if matches!(
        &found,
        Err(Missing::Undiscovered(Discovery::Due | Discovery::Failed { .. }, _))
    ) {
        discoveries::ask(context, &need.asked, FRESH_FOR);
    }
    found
}

/// An asset as the first rule allows it.
fn probe(provider: &EmailProvider) -> EmailAssetSpec {
    let rule = provider.spec.allow.first();
    let grant = rule.and_then(|rule| rule.grants.first().copied());
    let mailbox = rule.and_then(|rule| rule.mailboxes.first());
    let mailbox = mailbox.map(|mailbox| mailbox.replacen('*', "mailbox", 1));
    EmailAssetSpec::of(
        mailbox.as_deref().unwrap_or("mailbox@example.com"),
        grant.unwrap_or(Grant::AuthorizationCode),
    )
}

/// What is wrong with the client's Secret.
async fn client_complaint(context: &Context, key: &Key, oauth2: &OAuth2) -> Result<Option<String>, NotNow> {
    const PURPOSE: &str = "the OAuth client, spec.oauth2.clientCredentialsRef, in the operator's namespace";
    let create = "--from-literal=client_id=… --from-literal=client_secret=…";
    let missing = || Ok(Some(inputs::missing(key, PURPOSE, create)));
    let Some(seen) = context.index.get(key) else {
        return missing();
    };
    if seen.kind() != Kind::Other {
        return Ok(Some(format!(
            "spec.oauth2.clientCredentialsRef names Secret {key}, which the operator itself writes; expected a Secret that you made. Name another Secret there."
        )));
    }
    let client = match context.clients.get(key, &seen.version()) {
        Some((_, client)) => client,
        None => match context.secrets.read(key).await {
            Ok(Some(contents)) => {
                let client = inputs::client(key, &contents);
                context
                    .clients
                    .keep(key.clone(), (contents.seen.version(), client.clone()));
                client
            }
            Ok(None) => return missing(),
            Err(error) => {
                warn!(secret = %key, error = %Chain(&error), "the client of an EmailProvider could not be read; trying again");
                return Err(NotNow::Trouble);
            }
        },
    };
    Ok(client.and_then(|client| inputs::client_id(key, &client, oauth2)).err())
}

/// The status that says so. A condition's time changes with its status alone.
fn status(provider: &EmailProvider, stands: Stands) -> EmailProviderStatus {
    let said = if stands.reason == Reason::Usable {
        "True"
    } else {
        "False"
    };
    let generation = provider.metadata.generation;
    let before = provider.status.as_ref().and_then(|status| {
        let mut conditions = status.conditions.iter();
        conditions.find(|condition| condition.type_ == ConditionType::Ready.as_str() && condition.status == said)
    });
    EmailProviderStatus {
        observed_generation: generation,
        conditions: vec![Condition {
            type_: ConditionType::Ready.as_str().to_owned(),
            status: said.to_owned(),
            reason: stands.reason.as_str().to_owned(),
            message: stands.message,
            last_transition_time: before.map_or_else(|| Time(now()), |before| before.last_transition_time.clone()),
            observed_generation: generation,
        }],
        endpoints: stands.endpoints,
    }
}
