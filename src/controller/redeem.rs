//! One redemption, from the recorded attempt to the stored answer.
//!
//! From the moment an attempt is recorded a [`Job`] runs on its own task, which nothing cancels and shutdown waits for. Between the arrival of an answer and the
//! moment it is stored it does nothing but spool and store, for as long as that takes, with or without leadership (invariants 1 and 2).

use std::{sync::Arc, time::Duration};

use fail::fail_point;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::{consent, context::Context, observe::now};
use crate::{
    leader::Permit,
    lifecycle::{
        self, Attempt, Fencing, Lifetime, News, Record, Redeem, Retention, SeedRecord, Source, TokenAge, Verdict,
    },
    oauth::{Answer, Class, Outcome, Redemption, Refusal, Situation, TransportFailure},
    provider::KnownLife,
    store::{
        Key, Seen, StoreError,
        grant::{AttemptPlace, Belongs, End, NewGrant, Stored},
        inputs,
        sign_in::Unproven,
        spool::EntryId,
        token::AccessToken,
    },
};

/// The time that an attempt reserves besides the request itself: for recording it and for ending it.
const SLACK: Duration = Duration::from_secs(30);

/// A redemption that is ready to go.
pub(super) struct Job {
    pub(super) context: Arc<Context>,
    pub(super) key: Key,
    pub(super) belongs: Belongs,
    pub(super) redeem: Redeem,
    pub(super) redemption: Redemption,
    /// What is known that changes what the answer means.
    pub(super) situation: Situation,
    /// The grant Secret as it was seen.
    pub(super) known: Option<Seen>,
    /// What a grant Secret begins with, where there is none yet.
    pub(super) beginning: Record,
    /// The record that the answer will complete.
    pub(super) record: Record,
    /// How long an access token lives when the answer does not say.
    pub(super) default_lifetime: SignedDuration,
    /// How long refresh tokens live, where the answer does not say.
    pub(super) refresh_token_life: KnownLife,
    pub(super) permit: Permit,
    pub(super) last_try: LastTry,
}

/// Whether a candidate is given up if this try goes unanswered too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastTry {
    /// It is.
    Yes,
    /// It may be tried again.
    No,
}

/// How a redemption ended for the pass that waits for it.
pub(super) enum Ended {
    /// The answer is in the grant Secret.
    Stored { token: AccessToken, record: Record },
    /// The answer is here; nothing rotates, so only consumers need it.
    Fresh { token: AccessToken, record: Record },
    /// The server decided against it.
    Refused(Refusal),
    /// The request did not leave.
    NotSent(TransportFailure),
    /// No answer came.
    Unknown(TransportFailure),
    /// Somebody else was faster, or the world has changed: look again.
    Raced,
    /// Not our turn any more: nothing was sent.
    NotNow,
    /// The API server did not take the attempt: nothing was sent.
    Unrecorded(StoreError),
    /// The answer has no place any more, and why.
    Dropped(&'static str),
}

impl Job {
    /// Runs to its end. Never cancel it.
    pub(super) async fn run(self) -> Ended {
        match self.redeem.fencing {
            Fencing::Free => self.run_freely().await,
            Fencing::Recorded => Box::pin(self.run_recorded()).await,
        }
    }

    async fn run_freely(self) -> Ended {
        if !self.permit.holds() {
            return Ended::NotNow;
        }
        match self.send().await {
            Outcome::Answered(answer) => {
                let rotated = self.new_refresh_token(&answer).is_some();
                if rotated {
                    self.keep(answer, None).await
                } else {
                    self.fresh(&answer)
                }
            }
            Outcome::Refused(refusal) => Ended::Refused(refusal),
            Outcome::NotSent(failure) => Ended::NotSent(failure),
            Outcome::Unknown(failure) => Ended::Unknown(failure),
        }
    }

    async fn send(&self) -> Outcome {
        let started = Instant::now();
        let outcome = self
            .context
            .token_client
            .redeem(&self.redemption, &self.situation)
            .await;
        self.context.count_request(&outcome, started.elapsed());
        outcome
    }

    async fn run_recorded(self) -> Ended {
        let attempt = self.attempt();
        let opened = Instant::now();
        let place = self
            .known
            .as_ref()
            .map_or(AttemptPlace::Nowhere(&self.beginning), AttemptPlace::Grant);
        fail_point!("before-attempt", |_| std::process::abort());
        let seen = match self.context.secrets.open_attempt(&self.belongs, place, &attempt).await {
            Ok(seen) => seen,
            Err(StoreError::Conflict(_) | StoreError::Exists(_)) => return self.raced().await,
            Err(StoreError::NamespaceGone(_)) => return Ended::Dropped("the namespace is gone"),
            Err(error) => {
                // The write may have happened all the same: nothing is sent, and what stands there is taken back.
                self.end(&attempt, None, &End::Settled).await;
                return Ended::Unrecorded(error);
            }
        };
        self.context.index.take_in(self.belongs.grant_key(), seen.clone());
        fail_point!("after-attempt", |_| std::process::abort());
        if !self.permit.holds() || opened.elapsed() > SLACK {
            self.end(&attempt, Some(seen), &End::Settled).await;
            return Ended::NotNow;
        }
        debug!(asset = %self.key, generation = %self.redeem.from, attempt = %attempt.id, "redeeming");
        let outcome = self.send().await;
        fail_point!("after-answer", |_| std::process::abort());
        self.conclude(outcome, attempt, seen).await
    }

    async fn conclude(self, outcome: Outcome, attempt: Attempt, seen: Seen) -> Ended {
        match outcome {
            Outcome::Answered(answer) => self.keep(answer, Some(seen)).await,
            Outcome::Refused(refusal) => {
                let end = if refusal.class == Class::Reauthorize {
                    End::Refused
                } else {
                    End::Settled
                };
                // Read again before a grant is called dead: somebody may have stored a newer one (invariant 2).
                let known = (end == End::Settled).then_some(seen);
                if self.end(&attempt, known, &end).await {
                    Ended::Refused(refusal)
                } else {
                    Ended::Raced
                }
            }
            Outcome::NotSent(failure) => {
                self.end(&attempt, Some(seen), &End::Settled).await;
                Ended::NotSent(failure)
            }
            Outcome::Unknown(failure) => {
                let end = if self.last_try == LastTry::Yes {
                    End::Refused
                } else {
                    End::Unknown(now())
                };
                self.end(&attempt, Some(seen), &end).await;
                Ended::Unknown(failure)
            }
        }
    }

    fn attempt(&self) -> Attempt {
        let duration = self.context.settings.token_timeout + SLACK + SLACK;
        Attempt {
            id: EntryId::random().to_string(),
            generation: self.redeem.from,
            source: self.redeem.source.clone(),
            client_id: self.redeem.binding.client_id.clone(),
            holder: self.context.spool.holder().to_string(),
            duration_seconds: u32::try_from(duration.as_secs()).unwrap_or(u32::MAX),
        }
    }

    /// Takes the attempt off the grant Secret, trying until the API server has said what stands there. False: another attempt or a later generation does.
    async fn end(&self, attempt: &Attempt, known: Option<Seen>, end: &End) -> bool {
        let key = self.belongs.grant_key();
        let mut known = known;
        let mut pauses = Pauses::default();
        loop {
            match self.context.secrets.end_attempt(&key, known.take(), attempt, end).await {
                Ok(Some(seen)) => {
                    self.context.index.take_in(key, seen);
                    return true;
                }
                Ok(None) => {
                    self.context.refresh(&key).await;
                    return false;
                }
                Err(StoreError::NamespaceGone(_)) => return false,
                Err(StoreError::Conflict(_)) => {}
                Err(error) => {
                    self.context.registry.forget_sightings();
                    pauses.wait(&self.key, "ending an attempt", &error).await;
                }
            }
        }
    }

    /// Spools and stores the answer, trying until it is stored (invariant 1).
    async fn keep(self, answer: Answer, known: Option<Seen>) -> Ended {
        let new = self.new_grant(&answer);
        let entry = EntryId::random();
        fail_point!("before-spool", |_| std::process::abort());
        if let Err(error) = self.context.spool.keep(&entry, &new.to_spool()) {
            error!(asset = %self.key, error = %Chain(&error), "the answer could not be spooled; storing it at once");
        }
        self.context.count_spool();
        fail_point!("after-spool", |_| std::process::abort());
        let stored = store(&self.context, &self.key, &new, known).await;
        fail_point!("after-store", |_| std::process::abort());
        if let Err(error) = self.context.spool.forget(&entry) {
            warn!(asset = %self.key, error = %Chain(&error), "a stored answer stays in the spool; it is recognised as stored at the next start");
        }
        self.context.count_spool();
        match stored {
            Stored::Here(_) => {
                let token = AccessToken {
                    token: new.access_token,
                    token_type: new.token_type,
                };
                Ended::Stored {
                    token,
                    record: new.record,
                }
            }
            Stored::Superseded(_) => Ended::Raced,
            Stored::Dropped(why) => Ended::Dropped(why),
        }
    }

    fn fresh(self, answer: &Answer) -> Ended {
        let record = self.completed_record(answer);
        Ended::Fresh {
            token: access_token(answer),
            record,
        }
    }

    fn new_grant(&self, answer: &Answer) -> NewGrant {
        let refresh_token = self
            .new_refresh_token(answer)
            .unwrap_or_else(|| self.redemption.refresh_token.clone());
        let token = access_token(answer);
        NewGrant {
            belongs: self.belongs.clone(),
            from: self.redeem.from,
            source: self.redeem.source.clone(),
            spent: inputs::fingerprint(&self.redemption.refresh_token),
            record: self.completed_record(answer),
            refresh_token,
            access_token: token.token,
            token_type: token.token_type,
        }
    }

    fn new_refresh_token(&self, answer: &Answer) -> Option<SecretString> {
        let sent = self.redemption.refresh_token.expose_secret();
        answer
            .refresh_token
            .clone()
            .filter(|token| token.expose_secret() != sent)
    }

    fn completed_record(&self, answer: &Answer) -> Record {
        let now = now();
        let life = answer.expires_in.unwrap_or(self.default_lifetime);
        let mut record = self.record.clone();
        record.generation = self.redeem.from.next();
        record.binding = Some(self.redeem.binding.clone());
        record.lifetime = Some(Lifetime {
            issued: now,
            expires: now.checked_add(life).unwrap_or(Timestamp::MAX),
        });
        let news = News {
            stated: answer.refresh_token_life,
            token: match &self.redeem.source {
                _ if self.new_refresh_token(answer).is_some() => TokenAge::New,
                Source::Seed(_) | Source::Client => TokenAge::Unknown,
                Source::Grant => TokenAge::Kept,
            },
            known: self.refresh_token_life.in_an_answer(life),
        };
        record.ends = lifecycle::end_after(self.record.ends.as_ref(), news, now);
        if let Some(scopes) = &answer.scopes {
            record.scopes.clone_from(scopes);
        }
        if let Source::Seed(fingerprint) = &self.redeem.source {
            record.granted = Some(now);
            record.seeds = record.seeds.with(SeedRecord {
                fingerprint: fingerprint.clone(),
                verdict: Verdict::Taken,
                client_id: self.redeem.binding.client_id.clone(),
            });
        }
        record.granted = record.granted.or(Some(now));
        record
    }

    async fn raced(&self) -> Ended {
        self.context.refresh(&self.belongs.grant_key()).await;
        Ended::Raced
    }
}

fn access_token(answer: &Answer) -> AccessToken {
    AccessToken {
        token: answer.access_token.clone(),
        token_type: answer.token_type.clone(),
    }
}

/// Stores an answer, trying until the API server has taken it or there is no place for it any more.
pub(super) async fn store(context: &Context, asset: &Key, new: &NewGrant, known: Option<Seen>) -> Stored {
    let key = new.belongs.grant_key();
    let mut known = known;
    let mut pauses = Pauses::default();
    loop {
        match context.secrets.store(new, known.take().as_ref()).await {
            Ok(stored) => {
                match &stored {
                    Stored::Here(seen) | Stored::Superseded(seen) => {
                        context.index.take_in(key, (**seen).clone());
                    }
                    Stored::Dropped(why) => warn!(%asset, why, "an answer was dropped"),
                }
                return stored;
            }
            Err(StoreError::Conflict(_)) => {}
            Err(error) => {
                context.registry.forget_sightings();
                pauses.wait(asset, "storing an answer", &error).await;
            }
        }
    }
}

/// Puts what the spool holds into grant Secrets: the answers of a process that was killed before it could (invariant 1).
pub(super) fn heal(context: &Arc<Context>) {
    let entries = match context.spool.entries() {
        Ok(entries) => entries,
        Err(error) => return error!(error = %Chain(&error), "the spool cannot be read"),
    };
    for (id, content) in entries {
        match NewGrant::from_spool(&content) {
            Ok(new) => {
                let key = Key::new(&new.belongs.namespace, &new.belongs.name);
                context.registry.begin(&key);
                let context = Arc::clone(context);
                context.tracker.clone().spawn(async move {
                    let stored = store(&context, &key, &new, None).await;
                    info!(asset = %key, stored = matches!(stored, Stored::Here(_)), "healed an answer of an earlier process");
                    forget(&context, &id);
                    context.registry.finish(&key);
                    context.wake(&key);
                });
            }
            Err(error) => {
                if let Ok(unproven) = Unproven::from_spool(&content) {
                    heal_sign_in(context, id, unproven);
                } else {
                    error!(error = %Chain(&error), entry = %id, "dropping a spooled answer");
                    forget(context, &id);
                }
            }
        }
    }
}

/// Who signed in is proven when the caches know the asset.
fn heal_sign_in(context: &Arc<Context>, id: EntryId, unproven: Unproven) {
    let context = Arc::clone(context);
    context.tracker.clone().spawn(async move {
        context.caches_are_synced().await;
        Box::pin(consent::heal(&context, unproven)).await;
        forget(&context, &id);
    });
}

pub(super) fn forget(context: &Context, id: &EntryId) {
    if let Err(error) = context.spool.forget(id) {
        warn!(error = %Chain(&error), entry = %id, "a spooled answer could not be removed");
    }
}

/// Waits between tries of a write that must not be given up: 100 ms doubling to 5 s. The first failure is logged.
#[derive(Default)]
pub(super) struct Pauses(u32);

impl Pauses {
    pub(super) async fn wait(&mut self, asset: &Key, doing: &str, error: &StoreError) {
        if self.0 == 0 {
            warn!(%asset, error = %Chain(error), "{doing} failed; trying until it works");
        }
        let pause = Duration::from_millis(100)
            .saturating_mul(1 << self.0.min(6))
            .min(Duration::from_secs(5));
        self.0 = self.0.saturating_add(1);
        tokio::time::sleep(pause).await;
    }
}

/// An error with its causes, for logs.
pub(super) struct Chain<'a>(pub(super) &'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(formatter, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// [`Retention`] for the asset's grant.
pub(super) fn belongs(key: &Key, uid: &str, email: &str, retention: Retention) -> Belongs {
    Belongs {
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        uid: uid.to_owned(),
        email: email.to_owned(),
        retention: retention.into(),
    }
}
