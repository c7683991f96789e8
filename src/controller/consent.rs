//! From a person's consent to a stored grant: redeem the code, prove who signed in, store.
//!
//! Three ways lead here: the callback of the sign-in pages, a Secret from `kubectl emailasset authorize`, and a device code that was entered. A code exchange is no
//! attempt (design section 7): any replica may do it, leading or not. What it brings is spooled before anything else is done with it, and a process that is killed
//! in between goes on with it when it comes back (invariant 1). Until the right account is proven nothing is stored, so a sign-in that fails changes nothing.

use std::sync::Arc;

use fail::fail_point;
use jiff::Timestamp;
use kube::{
    Api, Resource,
    api::{Patch, PatchParams},
    runtime::events::{Event, EventType},
};
use secrecy::SecretString;
use serde_json::json;
use tracing::{error, info, warn};

use super::{
    context::{Context, reference},
    explain,
    observe::{Resolved, now},
    pass::Pass,
    redeem::{self, Chain, Pauses},
};
use crate::{
    api::{EmailAsset, Rotation, names},
    lifecycle::{self, Binding, Lifetime, Names, News, Record, SignInRefusal, TokenAge, Upkeep, World},
    oauth::{
        self, Answer, Class, CodeExchange, Outcome, Situation,
        identity::{self, Account, Question},
    },
    provider::{HostPolicy, NamesIssuer, SignIn},
    signin::{Consent, SignedIn},
    store::{
        Key, StoreError, What,
        grant::Belongs,
        sign_in::{SignedInGrant, Taken, Unproven},
        spool::EntryId,
    },
};

/// Redeems an authorization code for this asset. Runs on a task of its own: a browser that goes away cancels nothing. A refusal is for the caller to note.
pub(super) async fn complete(context: &Arc<Context>, consent: Consent) -> Result<SignedIn, SignInRefusal> {
    let key = Key::new(&consent.namespace, &consent.name);
    let (task_context, task_key) = (Arc::clone(context), key.clone());
    let task = context
        .tracker
        .spawn(async move { Box::pin(exchange(&task_context, &task_key, consent)).await });
    let ended = task.await.unwrap_or_else(|error| {
        warn!(asset = %key, %error, "a sign-in ended in a panic");
        Err(failed(
            "The operator made a mistake; please report it. Open the link again.",
        ))
    });
    context.count_sign_in(&ended);
    match &ended {
        Ok(signed_in) => {
            context.noted.forget(&key);
            info!(asset = %key, account = %signed_in.account, "somebody signed in");
        }
        Err(refusal) => info!(asset = %key, reason = %refusal.reason(), "a sign-in changed nothing"),
    }
    ended
}

async fn exchange(context: &Arc<Context>, key: &Key, consent: Consent) -> Result<SignedIn, SignInRefusal> {
    let signer = Signer::of(context, key, &consent.uid).await?;
    if signer.resolved.endpoints.sign_in.callback_key != consent.callback_key {
        return Err(failed(
            "The asset names another provider than when the sign-in began. Open the link again.",
        ));
    }
    if consent.issuer.is_none() {
        signer.may_leave_issuer_out().await?;
    }
    let request = CodeExchange {
        token_endpoint: signer.resolved.endpoints.token_url.clone(),
        client: signer.client.clone(),
        code: consent.code,
        verifier: consent.verifier,
        redirect_uri: consent.redirect_uri,
        certificate_authority: signer.certificate_authority.clone(),
    };
    let started = tokio::time::Instant::now();
    let situation = Situation::at(&signer.resolved.endpoints);
    let outcome = context.token_client.exchange(&request, &situation).await;
    context.count_request(&outcome, started.elapsed());
    let answer = signer.answered(outcome)?;
    signer.keep(&answer, Some(consent.nonce), consent.granted).await
}

/// An asset that a person signs in for, with all that an exchange needs.
pub(super) struct Signer {
    context: Arc<Context>,
    key: Key,
    asset: Arc<EmailAsset>,
    resolved: Resolved,
    world: World,
    binding: Binding,
    pub(super) client: oauth::ClientCredentials,
    pub(super) certificate_authority: Option<oauth::CaBundle>,
    belongs: Belongs,
    /// The hosts that the client's Secret names.
    client_hosts: Option<String>,
}

impl Signer {
    /// The asset as it is now.
    async fn of(context: &Arc<Context>, key: &Key, uid: &str) -> Result<Self, SignInRefusal> {
        let watched = context.assets.get(&reference(key));
        let asset = watched.and_then(|watched| watched.asset().ok());
        let asset = asset.filter(|asset| asset.metadata.uid.as_deref() == Some(uid));
        let Some(asset) = asset else {
            return Err(not_possible(format!(
                "EmailAsset {key} is not there any more, or was made anew. Open the link that its status shows now."
            )));
        };
        let pass = Pass::new(Arc::clone(context), key.clone(), asset, None);
        Box::pin(pass.into_signer()).await
    }

    pub(super) fn new(
        pass: Pass,
        world: World,
        binding: Binding,
        client: oauth::ClientCredentials,
        certificate_authority: Option<oauth::CaBundle>,
    ) -> Result<Self, SignInRefusal> {
        let (belongs, client_hosts) = (pass.belongs(), pass.client_hosts());
        let Pass {
            context,
            key,
            asset,
            resolved,
            ..
        } = pass;
        let resolved = resolved.map_err(|refusal| not_possible(refusal.message))?;
        Ok(Self {
            context,
            key,
            asset,
            resolved,
            world,
            binding,
            client,
            certificate_authority,
            belongs,
            client_hosts,
        })
    }

    /// Whether an answer that names no issuer may be the provider's own (RFC 9207 section 2.4). Outside the catalogue its metadata alone say so.
    async fn may_leave_issuer_out(&self) -> Result<(), SignInRefusal> {
        let identity = &self.resolved.endpoints.sign_in.identity;
        let (Some(issuer), None) = (&identity.issuer, &identity.keys_url) else {
            return Ok(());
        };
        let authority = self.certificate_authority.as_ref();
        match identity::discover(&self.context.token_client, issuer, authority).await {
            Ok(metadata) => check_named(metadata.names_issuer, issuer, None),
            Err(problem) => Err(SignInRefusal::IdentityUnproven {
                why: identity::Unproven::Undiscovered {
                    issuer: issuer.clone(),
                    problem,
                }
                .to_string(),
            }),
        }
    }

    fn names(&self) -> &Names {
        &self.resolved.plan.names
    }

    /// What a token endpoint's answer to a code means.
    fn answered(&self, outcome: Outcome) -> Result<Answer, SignInRefusal> {
        match outcome {
            Outcome::Answered(answer) => Ok(answer),
            Outcome::Refused(refusal) => {
                let message =
                    explain::sign_in_refused(self.names(), &self.resolved.endpoints, &self.client.client_id, &refusal);
                Err(match refusal.class {
                    Class::Reauthorize => SignInRefusal::CodeRefused { message },
                    _ => failed(message),
                })
            }
            Outcome::NotSent(failure) => Err(failed(format!("{failure}. Nothing was changed; open the link again."))),
            Outcome::Unknown(failure) => Err(failed(format!(
                "{failure}, and a code can be used once only. Nothing was changed; open the link again."
            ))),
        }
    }

    /// Spools what a sign-in brought, proves whose it is, and stores it.
    pub(super) async fn keep(
        &self,
        answer: &Answer,
        nonce: Option<String>,
        granted_before: Option<Timestamp>,
    ) -> Result<SignedIn, SignInRefusal> {
        let unproven = self.unproven(answer, nonce, granted_before);
        let entry = EntryId::random();
        if let Err(error) = self.context.spool.keep(&entry, &unproven.to_spool()) {
            error!(asset = %self.key, error = %Chain(&error), "a sign-in could not be spooled; going on at once");
        }
        self.context.count_spool();
        fail_point!("sign-in-spooled", |_| std::process::abort());
        let ended = self.prove_and_store(&unproven).await;
        fail_point!("sign-in-stored", |_| std::process::abort());
        redeem::forget(&self.context, &entry);
        self.context.count_spool();
        ended
    }

    fn unproven(&self, answer: &Answer, nonce: Option<String>, granted_before: Option<Timestamp>) -> Unproven {
        let now = now();
        let life = answer.expires_in.unwrap_or(self.resolved.endpoints.default_lifetime);
        let news = News {
            stated: answer.refresh_token_life,
            token: TokenAge::New,
            known: self.resolved.endpoints.limits.lifetime.in_an_answer(life),
        };
        Unproven {
            belongs: self.belongs.clone(),
            binding: self.binding.clone(),
            nonce,
            granted_before,
            lifetime: Lifetime {
                issued: now,
                expires: now.checked_add(life).unwrap_or(Timestamp::MAX),
            },
            ends: lifecycle::end_after(None, news, now),
            scopes: answer.scopes.clone(),
            access_token: answer.access_token.clone(),
            token_type: answer.token_type.clone(),
            refresh_token: answer.refresh_token.clone(),
            id_token: answer.id_token.clone(),
        }
    }

    async fn prove_and_store(&self, unproven: &Unproven) -> Result<SignedIn, SignInRefusal> {
        let account = self.prove(unproven).await?;
        let missing = missing_scopes(&self.resolved.endpoints.scopes, unproven.scopes.as_deref());
        if !missing.is_empty() {
            return Err(SignInRefusal::ScopeNotGranted { missing });
        }
        if !unproven.token_type.eq_ignore_ascii_case("bearer") {
            return Err(failed(format!(
                "{} gave a token of a type that mail servers do not take; expected Bearer. Register the OAuth client without sender-constrained tokens.",
                self.names().provider
            )));
        }
        let Some(refresh_token) = unproven.refresh_token.clone() else {
            return Err(SignInRefusal::NoRefreshToken);
        };
        let name = account.name.clone();
        let new = self.grant(unproven, account, refresh_token);
        match store(&self.context, &self.key, &new).await {
            Taken::Here(seen) => {
                self.context.index.take_in(self.belongs.grant_key(), *seen);
                self.context.wake(&self.key);
                Ok(SignedIn { account: name })
            }
            Taken::Superseded => Err(SignInRefusal::Superseded),
            Taken::OtherSubject => Err(SignInRefusal::OtherSubject { signed_in: name }),
            Taken::Dropped(why) => Err(not_possible(format!("The sign-in has no place: {why}."))),
        }
    }

    /// Who signed in, if that is the account that the asset is for.
    async fn prove(&self, unproven: &Unproven) -> Result<Account, SignInRefusal> {
        let endpoints = &self.resolved.endpoints;
        let question = Question {
            identity: endpoints.sign_in.identity.clone(),
            client_id: unproven.binding.client_id.clone(),
            nonce: unproven.nonce.clone(),
            allowed: HostPolicy::for_access_token(endpoints, self.client_hosts.as_deref()),
            certificate_authority: self.certificate_authority.clone(),
        };
        let answer = Answer {
            access_token: unproven.access_token.clone(),
            refresh_token: unproven.refresh_token.clone(),
            id_token: unproven.id_token.clone(),
            expires_in: None,
            refresh_token_life: None,
            token_type: unproven.token_type.clone(),
            scopes: unproven.scopes.clone(),
            date: None,
        };
        let account = identity::prove(&self.context.token_client, &question, &answer)
            .await
            .map_err(|unproven| SignInRefusal::IdentityUnproven {
                why: unproven.to_string(),
            })?;
        let wanted = self.asset.spec.login_email();
        if identity::account_matches(&endpoints.sign_in.identity, wanted, &account.name) {
            Ok(account)
        } else {
            Err(SignInRefusal::WrongAccount {
                signed_in: account.name,
                wanted: wanted.to_owned(),
            })
        }
    }

    fn grant(&self, unproven: &Unproven, account: Account, refresh_token: SecretString) -> SignedInGrant {
        let endpoints = &self.resolved.endpoints;
        let noted = lifecycle::record(&self.world).cloned().unwrap_or_default();
        SignedInGrant {
            belongs: self.belongs.clone(),
            record: Record {
                binding: Some(unproven.binding.clone()),
                lifetime: Some(unproven.lifetime),
                scopes: unproven.scopes.clone().unwrap_or_else(|| endpoints.scopes.clone()),
                granted: Some(unproven.lifetime.issued),
                inputs: lifecycle::inputs_now(&self.world, &noted.inputs),
                account: Some(lifecycle::Account {
                    issuer: account.issuer,
                    subject: account.subject,
                    name: account.name,
                }),
                upkeep: match endpoints.rotation {
                    Rotation::None => Upkeep::Standing,
                    Rotation::Soft | Rotation::Strict => Upkeep::Rotating,
                },
                request: self.world.refresh_request.clone(),
                ends: unproven.ends.clone(),
                ..Record::default()
            },
            newest: lifecycle::newest_generation(&self.world),
            granted_before: unproven.granted_before,
            refresh_token,
            access_token: unproven.access_token.clone(),
            token_type: unproven.token_type.clone(),
        }
    }
}

/// What was asked for and not granted. A provider that does not say has granted all (RFC 6749 section 5.1). Scopes that are not about the mailbox may be missing.
fn missing_scopes(wanted: &[String], granted: Option<&[String]>) -> Vec<String> {
    let Some(granted) = granted else { return Vec::new() };
    // Servers consume this one instead of granting it, Microsoft among them.
    let matters = |scope: &&String| scope.as_str() != "offline_access";
    // Microsoft may leave out the resource: `IMAP.AccessAsUser.All` for `https://outlook.office.com/IMAP.AccessAsUser.All`.
    let last = |scope: &str| scope.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let same = |given: &str, scope: &str| {
        let short = !given.contains('/') && !given.is_empty() && given.to_ascii_lowercase() == last(scope);
        short || given.eq_ignore_ascii_case(scope)
    };
    let given = |scope: &str| granted.iter().any(|given| same(given, scope));
    wanted
        .iter()
        .filter(matters)
        .filter(|scope| !given(scope))
        .cloned()
        .collect()
}

async fn store(context: &Context, asset: &Key, new: &SignedInGrant) -> Taken {
    let mut pauses = Pauses::default();
    loop {
        match context.secrets.store_sign_in(new).await {
            Ok(taken) => return taken,
            Err(StoreError::Conflict(_) | StoreError::Exists(_)) => {}
            Err(StoreError::NamespaceGone(_)) => return Taken::Dropped("the namespace is gone"),
            Err(error) => pauses.wait(asset, "storing a sign-in", &error).await,
        }
    }
}

/// Goes on with a sign-in that a killed process left in the spool.
pub(super) async fn heal(context: &Arc<Context>, unproven: Unproven) {
    let key = Key::new(&unproven.belongs.namespace, &unproven.belongs.name);
    let ended = match Signer::of(context, &key, &unproven.belongs.uid).await {
        Ok(signer) => signer.prove_and_store(&unproven).await,
        Err(refusal) => Err(refusal),
    };
    context.count_sign_in(&ended);
    match ended {
        Ok(signed_in) => info!(asset = %key, account = %signed_in.account, "healed a sign-in of an earlier process"),
        Err(refusal) => note_refusal(context, &key, &refusal).await,
    }
}

/// Puts into the status, and into an Event, that a sign-in changed nothing. The leader's next pass makes the conditions from it.
pub(super) async fn note_refusal(context: &Arc<Context>, key: &Key, refusal: &SignInRefusal) {
    let Some(watched) = context.assets.get(&reference(key)) else {
        return;
    };
    let Ok(asset) = watched.asset() else { return };
    let message = match Pass::resolve_alone(context, key, &asset) {
        Some(names) => refusal.message(&names),
        None => return,
    };
    let limit = context.settings.api_timeout;
    let refused = json!({"status": {"signIn": {"lastRefusal": {
        "reason": refusal.reason().as_str(), "message": message, "time": now().to_string(),
    }}}});
    let api: Api<EmailAsset> = Api::namespaced(context.client.clone(), &key.namespace);
    let parameters = PatchParams {
        field_manager: Some(names::FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(&refused);
    let call = api.patch_status(&key.name, &parameters, &patch);
    match tokio::time::timeout(limit, call).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => warn!(asset = %key, error = %Chain(&error), "a refused sign-in could not be noted"),
        Err(_) => warn!(asset = %key, "the API server did not take the note of a refused sign-in in time"),
    }
    let event = Event {
        type_: EventType::Warning,
        reason: refusal.reason().as_str().to_owned(),
        note: Some(super::status::cut(message)),
        action: "SignIn".to_owned(),
        secondary: None,
    };
    let reference = asset.object_ref(&());
    let call = context.recorder.publish(&event, &reference);
    let _ = tokio::time::timeout(limit, call).await;
}

pub(super) fn failed(message: impl Into<String>) -> SignInRefusal {
    SignInRefusal::Failed {
        message: message.into(),
    }
}

pub(super) fn not_possible(message: impl Into<String>) -> SignInRefusal {
    SignInRefusal::NotPossible {
        message: message.into(),
    }
}

/// How a person signs in for this asset, as its spec says now.
pub(super) fn sign_in_of(context: &Arc<Context>, key: &Key) -> Result<SignIn, SignInRefusal> {
    let watched = context.assets.get(&reference(key));
    let asset = watched.and_then(|watched| watched.asset().ok());
    let asset = asset.ok_or_else(|| not_possible(format!("EmailAsset {key} is not there or cannot be read.")))?;
    let pass = Pass::new(Arc::clone(context), key.clone(), asset, None);
    let resolved = pass.resolved.map_err(|refusal| not_possible(refusal.message))?;
    Ok(resolved.endpoints.sign_in)
}

/// Whether the answer to an authorization request comes from the provider that was asked (RFC 9207 section 2.4).
pub(super) fn check_issuer(sign_in: &SignIn, named: Option<&str>) -> Result<(), SignInRefusal> {
    match sign_in.identity.fixed_issuer() {
        Some(expected) => check_named(sign_in.names_issuer, &expected, named),
        None => Ok(()),
    }
}

fn check_named(names_issuer: NamesIssuer, expected: &str, named: Option<&str>) -> Result<(), SignInRefusal> {
    match named {
        Some(named) if named != expected => Err(failed(format!(
            "The answer to the sign-in comes from another provider than the one that was asked; expected {expected}. Nothing was changed. Open the link again, and if it happens once more, tell your admin."
        ))),
        None if names_issuer == NamesIssuer::Always => Err(failed(format!(
            "The answer to the sign-in does not say which provider it comes from, and {expected} always says so (RFC 9207): the code was not used. Nothing was changed. Open the link again, and if it happens once more, tell your admin."
        ))),
        _ => Ok(()),
    }
}

/// When somebody signed in for the grant that is in use.
pub(super) fn granted_now(context: &Context, key: &Key) -> Option<Timestamp> {
    let grant = Key::new(&key.namespace, &names::grant_secret(&key.name));
    let seen = context.index.get(&grant)?;
    match seen.what() {
        What::Grant(grant) => grant.record.account.as_ref().and(grant.record.granted),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(wanted: &[&str], granted: Option<&[&str]>) -> Vec<String> {
        let owned = |scopes: &[&str]| scopes.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>();
        missing_scopes(&owned(wanted), granted.map(owned).as_deref())
    }

    #[test]
    fn what_the_provider_does_not_say_is_granted() {
        assert!(missing(&["https://mail.google.com/"], None).is_empty());
    }

    #[test]
    fn a_box_that_was_not_ticked_is_missed() {
        let granted = ["openid", "https://www.googleapis.com/auth/userinfo.email"];
        assert_eq!(
            missing(&["https://mail.google.com/"], Some(&granted)),
            ["https://mail.google.com/"]
        );
    }

    #[test]
    fn scopes_without_their_resource_and_offline_access_count_as_granted() {
        let wanted = [
            "https://outlook.office.com/IMAP.AccessAsUser.All",
            "https://outlook.office.com/SMTP.Send",
            "offline_access",
        ];
        assert!(missing(&wanted, Some(&["imap.accessasuser.all", "SMTP.Send"])).is_empty());
        assert_eq!(missing(&wanted, Some(&["SMTP.Send"])), [wanted[0]]);
    }
}
