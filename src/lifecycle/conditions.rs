//! The state table of the design (section 4): what each condition says in each row.
//!
//! The rules that hold everywhere: Ready stays True while the published token is valid, Stalled is there only while Ready is False and a person or an admin must
//! act, Reconciling only while the first token is on its way, and a condition's time changes with its status alone.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{
    facts, foresight, messages,
    report::{self, Standing, condition},
    turn,
    world::{Activity, Discovery, Plan, PlanRefusal, Source, World},
};
use crate::api::{ConditionType, FailureStatus, Reason, SignInRefusalStatus};

/// What the conditions are made from.
pub(super) struct View<'a> {
    pub(super) world: &'a World,
    /// The failure that still means something.
    pub(super) failure: Option<&'a FailureStatus>,
    pub(super) now: Timestamp,
}

/// The conditions of an asset that stands like this.
pub(super) fn of(view: &View<'_>, standing: &Standing) -> Vec<Condition> {
    let row = match (&view.world.plan, standing) {
        (Err(refusal), _) if view.world.discovery != Discovery::Settled => undiscovered(view, refusal),
        (Err(refusal), _) if refusal.reason == Reason::ProviderNotReady => unavailable(view, refusal),
        (Err(refusal), _) | (_, Standing::Refused(refusal)) => stopped(refusal.reason, &refusal.message),
        (_, Standing::Conflict(message)) => stopped(Reason::SecretConflict, message),
        (_, Standing::Waiting(message)) => Row {
            phase: Phase::Beginning,
            ..stopped(Reason::Pending, message)
        },
        (Ok(plan), _) => usual(view, plan, standing),
    };
    let ready = || Says {
        status: "True",
        ..row.ready.clone()
    };
    let shown_in = |phase: Phase| Kept::Say((row.phase == phase).then(ready));
    let said = [
        (ConditionType::Stalled, shown_in(Phase::Stalled)),
        (ConditionType::Reconciling, shown_in(Phase::Beginning)),
        (ConditionType::Ready, Kept::Say(Some(row.ready))),
        (ConditionType::Authorized, row.authorized),
        (ConditionType::Refreshed, row.refreshed),
    ];
    let mut conditions: Vec<Condition> = said
        .into_iter()
        .filter_map(|(kind, kept)| {
            let before = condition(&view.world.status.conditions, kind);
            match kept {
                Kept::Keep => before.cloned(),
                Kept::Say(says) => Some(render(kind, says?, before, view.world.asset_generation, view.now)),
            }
        })
        .collect();
    conditions.sort_by_key(|condition| ConditionType::parse(&condition.type_));
    conditions
}

/// A condition that says this.
pub(super) fn render(
    kind: ConditionType,
    says: Says,
    before: Option<&Condition>,
    generation: i64,
    now: Timestamp,
) -> Condition {
    let since = before
        .filter(|before| before.status == says.status)
        .map(|before| before.last_transition_time.clone());
    Condition {
        type_: kind.as_str().to_owned(),
        status: says.status.to_owned(),
        reason: says.reason.as_str().to_owned(),
        message: says.message,
        last_transition_time: since.unwrap_or_else(|| report::whole_second(now)),
        observed_generation: Some(generation),
    }
}

/// What a condition says.
#[derive(Clone)]
pub(super) struct Says {
    status: &'static str,
    reason: Reason,
    message: String,
}

impl Says {
    pub(super) const fn yes(reason: Reason, message: String) -> Self {
        Self {
            status: "True",
            reason,
            message,
        }
    }

    pub(super) const fn no(reason: Reason, message: String) -> Self {
        Self {
            status: "False",
            reason,
            message,
        }
    }

    const fn unknown(reason: Reason, message: String) -> Self {
        Self {
            status: "Unknown",
            reason,
            message,
        }
    }
}

/// One row of the state table.
struct Row {
    ready: Says,
    authorized: Kept,
    refreshed: Kept,
    phase: Phase,
}

/// Which of the two conditions is there that say more about Ready being False.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Stalled: a person or an admin must act.
    Stalled,
    /// Reconciling: the first token is on its way.
    Beginning,
    /// Neither.
    Usual,
}

/// A condition that is said anew (or left out), or left as it was.
enum Kept {
    Keep,
    Say(Option<Says>),
}

impl From<Says> for Kept {
    fn from(says: Says) -> Self {
        Self::Say(Some(says))
    }
}

/// Nothing is done before somebody changes something; what was said about the grant stays.
fn stopped(reason: Reason, message: &str) -> Row {
    Row {
        ready: Says::no(reason, message.to_owned()),
        authorized: Kept::Keep,
        refreshed: Kept::Keep,
        phase: Phase::Stalled,
    }
}

/// The `EmailProvider` is missing or broken.
fn unavailable(view: &View<'_>, refusal: &PlanRefusal) -> Row {
    let refreshed = || Says::no(refusal.reason, refusal.message.clone()).into();
    still_good(view, refreshed()).unwrap_or_else(|| Row {
        refreshed: refreshed(),
        ..stopped(refusal.reason, &refusal.message)
    })
}

/// Only an issuer's metadata are missing.
fn undiscovered(view: &View<'_>, refusal: &PlanRefusal) -> Row {
    let refreshed = || match refusal.reason {
        Reason::Pending | Reason::Suspended => Kept::Keep,
        reason => Says::no(reason, refusal.message.clone()).into(),
    };
    still_good(view, refreshed()).unwrap_or_else(|| {
        let published = facts::published(view.world);
        let ready = match published {
            Some(_) if refusal.reason != Reason::Suspended => Says::no(
                Reason::TokenExpired,
                format!("The published access token is not valid any more. {}", refusal.message),
            ),
            _ => Says::no(refusal.reason, refusal.message.clone()),
        };
        Row {
            ready,
            authorized: Kept::Keep,
            refreshed: refreshed(),
            phase: match refusal.reason {
                Reason::Suspended => Phase::Usual,
                Reason::Pending | Reason::Retrying | Reason::Throttled if published.is_some() => Phase::Usual,
                Reason::Pending | Reason::Retrying | Reason::Throttled => Phase::Beginning,
                _ => Phase::Stalled,
            },
        }
    })
}

/// What keeps an asset from being carried out is nobody's decision about it: what was good stays good until the token ends.
fn still_good(view: &View<'_>, refreshed: Kept) -> Option<Row> {
    let token = facts::published(view.world);
    let shown = condition(&view.world.status.conditions, ConditionType::Ready);
    let good = shown.filter(|shown| token.is_some_and(|token| token.is_valid(view.now)) && shown.status == "True")?;
    Some(Row {
        ready: Says::yes(Reason::Fresh, good.message.clone()),
        authorized: Kept::Keep,
        refreshed,
        phase: Phase::Usual,
    })
}

/// The rows that depend on the token, the grant and the last try.
fn usual(view: &View<'_>, plan: &Plan, standing: &Standing) -> Row {
    let world = view.world;
    let token = facts::published(world).filter(|_| !facts::bound_elsewhere(world, plan));
    let valid = token.is_some_and(|token| token.is_valid(view.now));
    let (ready, phase) = if valid {
        (
            Says::yes(Reason::Fresh, messages::token_is_valid(&plan.names)),
            Phase::Usual,
        )
    } else {
        not_ready(view, plan, standing)
    };
    Row {
        ready,
        authorized: authorized(view, plan, standing),
        refreshed: refreshed(view, plan, standing, valid),
        phase,
    }
}

/// No valid token is published.
fn not_ready(view: &View<'_>, plan: &Plan, standing: &Standing) -> (Says, Phase) {
    let names = &plan.names;
    let had_token = facts::had_token(view.world, plan);
    let lacking = |reason: Reason, why: &str| {
        if had_token {
            Says::no(Reason::TokenExpired, messages::token_expired(why, names))
        } else {
            Says::no(reason, why.to_owned())
        }
    };
    let on_its_way = if had_token { Phase::Usual } else { Phase::Beginning };
    match standing {
        Standing::ClientChanged(binding) => (
            Says::no(plan.wants(), messages::client_changed(binding, plan)),
            Phase::Stalled,
        ),
        Standing::SeedRequired(message) | Standing::SignInRequired(message) => {
            (Says::no(plan.wants(), view.with_last_refusal(message)), Phase::Stalled)
        }
        Standing::DevicePending(message) => (Says::no(plan.wants(), message.clone()), Phase::Beginning),
        Standing::GrantRefused => (
            Says::no(
                plan.wants(),
                view.with_last_refusal(&messages::grant_is_refused(&why_refused(view), names)),
            ),
            Phase::Stalled,
        ),
        _ if view.world.activity == Activity::Suspended => {
            (Says::no(Reason::Suspended, messages::suspended(names)), Phase::Usual)
        }
        Standing::ClientMissing(message) => (lacking(Reason::ClientMissing, message), Phase::Stalled),
        Standing::Failing => {
            let phase = if view.needs_somebody() {
                Phase::Stalled
            } else {
                on_its_way
            };
            (lacking(view.reason(), view.message()), phase)
        }
        _ if had_token => (lacking(Reason::TokenExpired, messages::NEXT_IS_DUE), Phase::Usual),
        _ => (Says::no(Reason::Pending, messages::pending(names)), Phase::Beginning),
    }
}

fn authorized(view: &View<'_>, plan: &Plan, standing: &Standing) -> Kept {
    let (world, names) = (view.world, &plan.names);
    let had_token = facts::had_token(world, plan);
    match standing {
        _ if plan.is_direct() && had_token => Says::yes(Reason::Stored, messages::token_was_issued(names)).into(),
        _ if plan.is_direct() => Says::unknown(Reason::Pending, messages::nothing_issued(names)).into(),
        Standing::ClientChanged(binding) => Says::no(plan.wants(), messages::client_changed(binding, plan)).into(),
        Standing::SeedRequired(message) => Says::no(Reason::SeedRequired, message.clone()).into(),
        Standing::DevicePending(message) => Says::no(Reason::SignInRequired, message.clone()).into(),
        Standing::SignInRequired(message) => {
            let reason = view
                .last_refusal()
                .and_then(reason_of)
                .unwrap_or(Reason::SignInRequired);
            Says::no(reason, view.with_last_refusal(message)).into()
        }
        _ if facts::grant_is_dead(world) => match view.failure.and_then(report::end_of_grant) {
            Some(reason) => Says::no(reason, view.message().to_owned()).into(),
            // The old refusal stands until a new seed was taken.
            None => Kept::Keep,
        },
        _ if facts::grant_is_behind(world, plan) => {
            Says::unknown(Reason::Pending, messages::grant_is_behind(names)).into()
        }
        _ if facts::unanswered(world, &Source::Grant).is_some() => {
            Says::unknown(Reason::OutcomeUnknown, messages::answer_was_lost(names)).into()
        }
        _ if had_token => match foresight::notice(world, plan, view.now) {
            Some(notice) => Says::yes(Reason::GrantEnding, notice).into(),
            None => Says::yes(Reason::Stored, messages::grant_is_stored(names)).into(),
        },
        Standing::Failing if view.reason() == Reason::OutcomeUnknown => {
            Says::unknown(Reason::OutcomeUnknown, view.message().to_owned()).into()
        }
        _ => Says::unknown(Reason::Pending, messages::grant_not_tried(names)).into(),
    }
}

fn refreshed(view: &View<'_>, plan: &Plan, standing: &Standing, valid: bool) -> Kept {
    match standing {
        Standing::ClientChanged(_) => Kept::Say(None),
        Standing::ClientMissing(message) => Says::no(Reason::ClientMissing, message.clone()).into(),
        _ if view.failure.is_some() => Says::no(view.reason(), view.with_request(plan, view.message())).into(),
        Standing::SeedRequired(_)
        | Standing::SignInRequired(_)
        | Standing::DevicePending(_)
        | Standing::GrantRefused => Kept::Keep,
        Standing::SeedRejected => Says::no(Reason::SeedRejected, messages::seed_rejected(&plan.names)).into(),
        _ if facts::unanswered(view.world, &Source::Grant).is_some() => {
            Says::no(Reason::OutcomeUnknown, messages::answer_was_lost(&plan.names)).into()
        }
        _ if valid => {
            let message = view.with_request(plan, &messages::refreshed(&plan.names));
            Says::yes(Reason::Refreshed, message).into()
        }
        _ => Kept::Keep,
    }
}

impl View<'_> {
    /// The last sign-in that changed nothing, if it was for want of a grant.
    fn last_refusal(&self) -> Option<&SignInRefusalStatus> {
        self.world.status.sign_in.as_ref()?.last_refusal.as_ref()
    }

    /// What became of the last sign-in comes before what to do.
    fn with_last_refusal(&self, message: &str) -> String {
        match self.last_refusal().and_then(|refusal| refusal.message.as_deref()) {
            Some(refusal) => format!("{refusal} {message}"),
            None => message.to_owned(),
        }
    }

    /// A refresh that somebody asked for and that has to wait is said to.
    fn with_request(&self, plan: &Plan, message: &str) -> String {
        match turn::request_waits(self.world, plan, self.now) {
            Some(wait) => format!("{message} {}", messages::request_waits(&wait, &plan.names)),
            None => message.to_owned(),
        }
    }

    /// Why the last try failed.
    fn reason(&self) -> Reason {
        let reason = self.failure.and_then(|failure| failure.reason.as_deref());
        reason.and_then(Reason::parse).unwrap_or(Reason::Retrying)
    }

    /// What is said about the last failure.
    fn message(&self) -> &str {
        let message = self.failure.and_then(|failure| failure.message.as_deref());
        message.unwrap_or_default()
    }

    /// Whether the last failure does not pass by itself.
    fn needs_somebody(&self) -> bool {
        let class = self.failure.and_then(|failure| failure.class.as_deref());
        matches!(class, Some("ADMIN_CONFIG" | "BUG" | "REAUTH"))
    }
}

fn reason_of(refusal: &SignInRefusalStatus) -> Option<Reason> {
    refusal.reason.as_deref().and_then(Reason::parse)
}

/// What the provider said when it refused the grant, or the seed that was to replace it.
fn why_refused(view: &View<'_>) -> String {
    let shown = condition(&view.world.status.conditions, ConditionType::Authorized);
    let shown = shown.map(|shown| shown.message.clone());
    let failed = view.failure.and_then(|failure| failure.message.clone());
    failed.or(shown).unwrap_or_default()
}
