//! A life in virtual time: [`Life`] plays controller, API server, watch and token server, and checks after every pass what must always hold.
//!
//! It carries out steps as the controller does, on the world alone. Rules that no life may break are asserted in [`Life::pass`] and [`Life::redeem`], so every
//! test that plays a life checks them too.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

use super::worlds::{failure, minute, row, start};
use crate::{
    api::{ConditionType, EmailAssetStatus, FailureClass, Reason, Rotation},
    lifecycle::{
        Attempt, Decision, Fencing, Fingerprint, Generation, GrantSecret, Heritage, History, Input, InputVersion,
        Lifetime, News, Origin, Redeem, SeedLedger, SeedRecord, Sight, Slot, Source, Stated, Step, TokenAge,
        TokenSecret, Verdict, World, condition, decide, end_after, gives_up, grant_is_dead, grant_lives, inputs_now,
        note_failure, note_success, record, record_to_begin_with, status,
    },
};

/// What the token server does with the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// An access token that lives so many seconds.
    Token(i64),
    /// The same, and the refresh token in use from now on lives so many seconds.
    Stated(i64, i64),
    /// `invalid_grant`.
    Refused,
    /// 503.
    Trouble,
    /// 429, with or without a wish for so many seconds.
    TooMany(Option<i64>),
    /// `invalid_client`.
    BadClient,
    /// Nothing: the connection broke after the request.
    Silence,
    /// Nothing comes back, and the process is killed before it can say so.
    Crash,
}

/// The passes of one asset.
pub(super) struct Life {
    pub(super) world: World,
    pub(super) now: Timestamp,
    /// What the token server says next; an hour's token when nothing is planned.
    pub(super) answers: VecDeque<Answer>,
    /// The requests that reached the token server.
    pub(super) sent: Vec<(Timestamp, Redeem)>,
    /// Rows that the status passed through, without repeats.
    pub(super) rows: Vec<String>,
    /// Writes of the status.
    pub(super) status_writes: usize,
    /// What the catalogue knows of how long refresh tokens live.
    pub(super) refresh_tokens_live: Option<SignedDuration>,
    /// What the input Secrets hold, for reading them.
    pub(super) client: Option<(InputVersion, String)>,
    pub(super) seed: Option<(InputVersion, Fingerprint)>,
    /// No routine refresh before this moment (invariant 3); none after the clock was set back.
    not_before: Option<Timestamp>,
    highest: Generation,
    shown: Option<Generation>,
}

impl Life {
    pub(super) fn of(world: World) -> Self {
        let client = match &world.client {
            Input::Read(version, id) => Some((version.clone(), id.clone())),
            _ => None,
        };
        let seed = match &world.seed {
            Input::Read(version, seed) => Some((version.clone(), seed.clone())),
            _ => None,
        };
        Self {
            world,
            now: start(),
            answers: VecDeque::new(),
            sent: Vec::new(),
            rows: Vec::new(),
            status_writes: 0,
            refresh_tokens_live: None,
            client,
            seed,
            not_before: None,
            highest: Generation::default(),
            shown: None,
        }
    }

    pub(super) fn answering(mut self, answers: &[Answer]) -> Self {
        self.answers.extend(answers);
        self
    }

    /// Changes what is known, as the watch would show it.
    pub(super) fn change(&mut self, change: impl FnOnce(World) -> World) -> &mut Self {
        self.world = change(self.world.clone());
        if let Input::Read(version, id) = &self.world.client {
            self.client = Some((version.clone(), id.clone()));
        }
        if let Input::Read(version, seed) = &self.world.seed {
            self.seed = Some((version.clone(), seed.clone()));
        }
        self
    }

    /// The process is killed and started again.
    pub(super) fn restart(&mut self) -> &mut Self {
        self.world = self.world.clone().restarted();
        self.world.attempt_holder = crate::lifecycle::AttemptHolder::Earlier;
        self
    }

    /// The clock is set to another time.
    pub(super) fn set_clock(&mut self, now: Timestamp) -> &mut Self {
        if now < self.now {
            self.forget_schedule();
        }
        self.now = now;
        self
    }

    /// What tells when the last token was issued is gone or means nothing any more.
    pub(super) fn forget_schedule(&mut self) {
        self.not_before = None;
    }

    /// Lives until this minute after the beginning: a pass now, one at each wake, one at the end.
    pub(super) fn until(&mut self, minutes: i64) -> &mut Self {
        self.until_moment(minute(minutes))
    }

    pub(super) fn until_moment(&mut self, end: Timestamp) -> &mut Self {
        for _ in 0..100_000 {
            let rest = self.pass();
            match rest.wake {
                Some(wake) if wake < end => self.now = wake,
                _ if self.now < end => self.now = end,
                _ => return self,
            }
        }
        panic!("woke 100,000 times before {end}: this spins");
    }

    /// One pass: decides and acts until it may rest, then reports.
    pub(super) fn pass(&mut self) -> Decision {
        self.world.grant_sight = Sight::Cached;
        let before = self.world.status.clone();
        let mut steps = Vec::new();
        let rest = loop {
            let decision = decide(&self.world, self.now);
            if decision.step == Step::Rest {
                break decision;
            }
            steps.push(decision.step.clone());
            assert!(steps.len() <= 12, "a pass must come to rest: {steps:#?}");
            self.act(decision.step);
        };
        assert!(
            rest.wake.is_none_or(|wake| wake > self.now),
            "a wake in the past would spin: {rest:?} at {}",
            self.now
        );
        if let Some(new) = status(&self.world, &rest.standing, self.now) {
            let new = round_trip(&new);
            if new != before {
                self.status_writes += 1;
            }
            self.world.status = new;
            let row = row(&self.world.status);
            if self.rows.last() != Some(&row) {
                self.rows.push(row);
            }
            self.check_row();
        }
        self.check_rest(&rest);
        rest
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Rest => {}
            Step::ReadInputs => self.read_inputs(),
            Step::ConfirmGrant => {
                assert_eq!(self.world.grant_sight, Sight::Cached, "once is enough");
                self.world.grant_sight = Sight::Live;
            }
            Step::OwnGrant => {
                let retention = self.world.plan.as_ref().unwrap().retention;
                let grant = self.grant_mut();
                grant.heritage = Heritage::Own;
                grant.retention = retention;
            }
            Step::Discover => panic!("the endpoints are known here"),
            Step::Hold | Step::LetGo | Step::Revoke(_) | Step::Part(_) => panic!("no asset is deleted here"),
            Step::ReplaceForeignGrant => self.world.grant = Slot::Free,
            Step::SettleUnknown => {
                let source = self.grant_mut().attempt.take().unwrap().source;
                self.note_silence(&source);
            }
            Step::Redeem(redeem) => self.redeem(&redeem),
            Step::Publish(origin) => self.publish(origin),
            Step::RecordInputs => {
                let known = inputs_now(&self.world, &record(&self.world).unwrap().inputs);
                match (&mut self.world.grant, &mut self.world.token) {
                    (Slot::Ours(grant), _) => grant.record.inputs = known,
                    (_, Slot::Ours(token)) => token.record.inputs = known,
                    _ => self.world.renamed.as_mut().unwrap().record.inputs = known,
                }
            }
            Step::DropRenamed => self.world.renamed = None,
            Step::BeginDevice(_) | Step::PollDevice(_) | Step::DropDevice => {
                unreachable!("nobody signs in here")
            }
        }
    }

    fn read_inputs(&mut self) {
        self.world.client = match &self.client {
            Some((version, id)) => Input::Read(version.clone(), id.clone()),
            None => Input::Unusable("No client.".to_owned()),
        };
        self.world.seed = match &self.seed {
            Some((version, seed)) => Input::Read(version.clone(), seed.clone()),
            None => Input::Unusable("No seed.".to_owned()),
        };
    }

    fn redeem(&mut self, redeem: &Redeem) {
        self.check_redeem(redeem);
        self.sent.push((self.now, redeem.clone()));
        let answer = self.answers.pop_front().unwrap_or(Answer::Token(3600));
        if redeem.fencing == Fencing::Recorded {
            self.open_attempt(redeem);
        }
        match answer {
            Answer::Token(seconds) => self.store(redeem, seconds, None),
            Answer::Stated(seconds, life) => {
                self.store(redeem, seconds, Some(Stated::In(SignedDuration::from_secs(life))));
            }
            Answer::Crash if redeem.fencing == Fencing::Recorded => {
                self.restart();
            }
            _ => {
                if let Slot::Ours(grant) = &mut self.world.grant {
                    grant.attempt = None;
                }
                self.note_answer(redeem, answer);
            }
        }
    }

    fn open_attempt(&mut self, redeem: &Redeem) {
        if matches!(self.world.grant, Slot::Free) {
            let record = record_to_begin_with(&self.world);
            assert_eq!(record.generation, redeem.from);
            let plan = self.world.plan.as_ref().unwrap();
            self.world.grant = Slot::Ours(GrantSecret {
                record,
                mailbox: plan.names.email.clone(),
                retention: plan.retention,
                ..GrantSecret::default()
            });
        }
        self.grant_mut().attempt = Some(Attempt {
            id: format!("attempt-{}", self.sent.len()),
            generation: redeem.from,
            source: redeem.source.clone(),
            client_id: redeem.binding.client_id.clone(),
            holder: "holder".to_owned(),
            duration_seconds: 90,
        });
    }

    fn store(&mut self, redeem: &Redeem, seconds: i64, stated: Option<Stated>) {
        let mut new = record(&self.world).cloned().unwrap_or_default();
        let expires = self.now.checked_add(SignedDuration::from_secs(seconds));
        new.generation = redeem.from.next();
        new.binding = Some(redeem.binding.clone());
        new.lifetime = Some(Lifetime {
            issued: self.now,
            expires: expires.unwrap_or(Timestamp::MAX),
        });
        let news = News {
            stated,
            token: match redeem.source {
                _ if redeem.fencing == Fencing::Recorded => TokenAge::New,
                Source::Seed(_) | Source::Client => TokenAge::Unknown,
                Source::Grant => TokenAge::Kept,
            },
            known: self.refresh_tokens_live,
        };
        new.ends = end_after(new.ends.as_ref(), news, self.now);
        new.inputs = inputs_now(&self.world, &new.inputs);
        new.request.clone_from(&self.world.refresh_request);
        if let Source::Seed(fingerprint) = &redeem.source {
            new.granted = Some(self.now);
            new.seeds = new.seeds.with(ledger_line(fingerprint, Verdict::Taken, redeem));
        }
        self.not_before = new.lifetime.map(|life| {
            self.now + (life.length() / 3).clamp(SignedDuration::from_secs(30), SignedDuration::from_hours(24))
        });
        if redeem.fencing == Fencing::Recorded {
            let grant = self.grant_mut();
            grant.record = new;
            grant.attempt = None;
            grant.unanswered = crate::lifecycle::UnansweredTries::default();
        } else {
            self.world.token = Slot::Ours(TokenSecret {
                record: new,
                rendering: self.world.plan.as_ref().unwrap().rendering.clone(),
            });
        }
        note_success(&mut self.world);
    }

    fn note_answer(&mut self, redeem: &Redeem, answer: Answer) {
        let grant_lives = grant_lives(&self.world);
        let failed = match (answer, &redeem.source) {
            (Answer::Refused, Source::Seed(fingerprint)) => {
                self.note_refused(ledger_line(fingerprint, Verdict::Refused, redeem));
                failure(FailureClass::Reauthorize, Reason::SeedRejected)
            }
            (Answer::Refused, Source::Grant) if redeem.history == History::AnswerLost => {
                failure(FailureClass::Reauthorize, Reason::GrantLost)
            }
            (Answer::Refused, Source::Grant) => failure(FailureClass::Reauthorize, Reason::GrantRevoked),
            (Answer::BadClient, Source::Seed(_)) if grant_lives => {
                failure(FailureClass::AdminConfig, Reason::SeedRejected)
            }
            (Answer::BadClient, _) => failure(FailureClass::AdminConfig, Reason::ClientRejected),
            (Answer::TooMany(wish), _) => crate::lifecycle::Failure {
                retry_after: wish.map(SignedDuration::from_secs),
                ..failure(FailureClass::Throttled, Reason::Throttled)
            },
            (Answer::Silence | Answer::Crash, source) if redeem.fencing == Fencing::Recorded => {
                return self.note_silence(&source.clone());
            }
            _ => failure(FailureClass::Retry, Reason::Retrying),
        };
        note_failure(&mut self.world, failed, self.now, 0.5);
    }

    fn note_silence(&mut self, source: &Source) {
        let settled = gives_up(&self.world, source);
        let now = self.now;
        let grant = self.grant_mut();
        grant.unanswered = std::mem::take(&mut grant.unanswered).with(source, now);
        let failed = match source {
            Source::Seed(fingerprint) if settled => {
                grant.unanswered = std::mem::take(&mut grant.unanswered).without(source);
                let record = SeedRecord {
                    fingerprint: fingerprint.clone(),
                    verdict: Verdict::Refused,
                    client_id: self
                        .client
                        .clone()
                        .unwrap_or_else(|| (InputVersion(String::new()), String::new()))
                        .1,
                };
                self.note_refused(record);
                failure(FailureClass::Reauthorize, Reason::SeedRejected)
            }
            _ => failure(FailureClass::Retry, Reason::OutcomeUnknown),
        };
        note_failure(&mut self.world, failed, self.now, 0.5);
    }

    fn note_refused(&mut self, line: SeedRecord) {
        if self.world.grant.ours().is_none() && self.world.token.ours().is_none() {
            let mailbox = self.world.plan.as_ref().unwrap().names.email.clone();
            self.world.grant = Slot::Ours(GrantSecret {
                mailbox,
                retention: self.world.plan.as_ref().unwrap().retention,
                ..GrantSecret::default()
            });
        }
        match (&mut self.world.grant, &mut self.world.token) {
            (Slot::Ours(grant), _) => grant.record.seeds = grant.record.seeds.clone().with(line),
            (_, Slot::Ours(token)) => token.record.seeds = token.record.seeds.clone().with(line),
            _ => unreachable!("the grant Secret was just made"),
        }
    }

    fn publish(&mut self, origin: Origin) {
        let source = match origin {
            Origin::Grant => &self.world.grant.ours().unwrap().record,
            Origin::Token => &self.world.token.ours().unwrap().record,
            Origin::Renamed => &self.world.renamed.as_ref().unwrap().record,
        };
        let mut record = source.clone();
        if self.world.grant.ours().is_some() {
            record.seeds = SeedLedger::default();
        }
        self.world.token = Slot::Ours(TokenSecret {
            record,
            rendering: self.world.plan.as_ref().unwrap().rendering.clone(),
        });
    }

    fn grant_mut(&mut self) -> &mut GrantSecret {
        match &mut self.world.grant {
            Slot::Ours(grant) => grant,
            other => panic!("no grant Secret of ours: {other:?}"),
        }
    }

    /// Rules for every request (invariants 1, 2, 3 and the design's section 3).
    fn check_redeem(&mut self, redeem: &Redeem) {
        let world = &self.world;
        assert!(redeem.from >= self.highest, "generation fell to {}", redeem.from);
        self.highest = redeem.from;
        if let Some(grant) = world.grant.ours() {
            assert_eq!(grant.attempt, None, "redeems while an attempt is open");
            assert_eq!(redeem.fencing, Fencing::Recorded);
        }
        let plan = world.plan.as_ref().expect("redeems with a refused spec");
        assert_eq!(redeem.binding.token_endpoint, plan.token_endpoint);
        let held = record(world).cloned().unwrap_or_default();
        match &redeem.source {
            Source::Grant => {
                assert_eq!(held.binding.as_ref(), Some(&redeem.binding), "a grant sent elsewhere");
                assert!(!grant_is_dead(&world.status), "a dead grant sent again");
                let asked = world.refresh_request.is_some()
                    && world
                        .status
                        .handled_requests
                        .as_ref()
                        .and_then(|handled| handled.refresh.as_ref())
                        != world.refresh_request.as_ref();
                if let Some(not_before) = self.not_before {
                    assert!(
                        asked || self.now >= not_before,
                        "refreshed too soon: {} < {not_before}",
                        self.now
                    );
                }
            }
            Source::Seed(seed) => {
                let verdict = held.seeds.verdict(seed, &redeem.binding.client_id);
                let harmless = verdict == Some(Verdict::Taken) && plan.rotation == Rotation::None;
                assert!(verdict.is_none() || harmless, "a settled seed sent again: {redeem:?}");
            }
            Source::Client => panic!("lives are played with refresh tokens alone"),
        }
    }

    /// Rules for every status (section 4).
    fn check_row(&mut self) {
        let status = &self.world.status;
        let says = |kind| condition(&status.conditions, kind).map(|condition| condition.status.as_str());
        for kind in ConditionType::ALL {
            let count = status
                .conditions
                .iter()
                .filter(|shown| shown.type_ == kind.as_str())
                .count();
            assert!(count <= 1, "{kind} is there {count} times");
        }
        let ready = says(ConditionType::Ready).expect("Ready is always there");
        if says(ConditionType::Stalled).is_some() || says(ConditionType::Reconciling).is_some() {
            assert_eq!(ready, "False", "{}", row(status));
        }
        assert!(
            says(ConditionType::Stalled).is_none() || says(ConditionType::Reconciling).is_none(),
            "{}",
            row(status)
        );
        assert_eq!(status.observed_generation, Some(self.world.asset_generation));
        let reason = &condition(&status.conditions, ConditionType::Ready).unwrap().reason;
        let secrets_are_ours = self.world.token.ours().is_some()
            && matches!(self.world.grant, Slot::Ours(_) | Slot::Free)
            && reason != "SecretConflict";
        if let (Ok(plan), Some(token)) = (&self.world.plan, self.world.token.ours())
            && secrets_are_ours
        {
            let bound = record(&self.world).and_then(|record| record.binding.clone());
            let client = match &self.world.client {
                Input::Read(_, id) | Input::NotNeeded(id) => Some(id.clone()),
                Input::Unread(_) => self.client.clone().map(|(_, id)| id),
                Input::Unusable(_) | Input::Unnamed => None,
            };
            let same = bound.as_ref().is_some_and(|bound| {
                bound.token_endpoint == plan.token_endpoint && client.is_none_or(|id| id == bound.client_id)
            });
            let valid = token.record.lifetime.is_some_and(|life| life.is_valid(self.now));
            if valid && same {
                assert_eq!(ready, "True", "a valid token is published: {}", row(status));
            }
            if same {
                assert_eq!(
                    says(ConditionType::Reconciling),
                    None,
                    "this is no first token: {}",
                    row(status)
                );
            }
        }
        let stored = record(&self.world)
            .filter(|record| record.binding.is_some())
            .map(|record| record.generation);
        let shown = status
            .grant
            .as_ref()
            .and_then(|grant| u64::try_from(grant.generation?).ok());
        assert!(shown.map(Generation) >= stored, "the status forgets a generation");
        assert!(shown.map(Generation) >= self.shown, "the shown generation fell");
        self.shown = shown.map(Generation);
    }

    /// Invariant 4: looking again changes nothing and asks for nothing.
    fn check_rest(&self, rest: &Decision) {
        let again = decide(&self.world, self.now);
        assert_eq!(again.step, Step::Rest, "{again:?} after {rest:?}");
        assert_eq!(again.standing, rest.standing, "the standing changed by being told");
        if let Some(shown) = status(&self.world, &again.standing, self.now) {
            assert_eq!(
                round_trip(&shown),
                self.world.status,
                "the same status would be written again"
            );
            assert_eq!(shown, self.world.status, "the status is finer than what the API keeps");
        }
    }
}

fn ledger_line(fingerprint: &Fingerprint, verdict: Verdict, redeem: &Redeem) -> SeedRecord {
    SeedRecord {
        fingerprint: fingerprint.clone(),
        verdict,
        client_id: redeem.binding.client_id.clone(),
    }
}

/// What comes back from the API server.
fn round_trip(status: &EmailAssetStatus) -> EmailAssetStatus {
    serde_json::from_value(serde_json::to_value(status).unwrap()).unwrap()
}
