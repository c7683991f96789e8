//! How an asset stands, and the status that says so.
//!
//! [`Standing`] is the row of the state table in the design (section 4) that applies when a pass rests; [`status`] turns it into conditions and the other fields.
//! The rules that hold everywhere: Ready stays True while the published token is valid, Stalled is there only while Ready is False and a person or an admin must
//! act, Reconciling only while the first token is on its way, and `observedGeneration` always advances.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{
    decide, messages, schedule,
    world::{Activity, Binding, PlanRefusal, TokenSecret, World},
};
use crate::api::{ConditionType, EmailAssetStatus, GrantStatus, HandledRequests, Reason, TokenStatus};

/// How an asset stands when nothing is left to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// It is being deleted: nothing is reported.
    Leaving,
    /// The spec cannot be carried out.
    Refused(PlanRefusal),
    /// A Secret is in the way, or the seed is another asset's.
    Conflict(String),
    /// Something passes by itself and nothing can be done before.
    Waiting(String),
    /// The OAuth client is missing or unusable.
    ClientMissing(String),
    /// The grant belongs to another client or endpoint.
    ClientChanged(Binding),
    /// There is no refresh token that may be sent.
    SeedRequired(String),
    /// The provider has refused the grant.
    GrantRefused,
    /// The last try failed; the failure is in the status.
    Failing,
    /// A new seed was refused, and the grant in use goes on.
    SeedRejected,
    /// Nothing is wrong.
    Fine,
}

/// The status of an asset that stands like this; none when there is nothing to report.
#[must_use]
pub fn status(world: &World, standing: &Standing, now: Timestamp) -> Option<EmailAssetStatus> {
    if *standing == Standing::Leaving {
        return None;
    }
    let mut status = world.status.clone();
    status.observed_generation = Some(world.asset_generation);
    if standing_ends_failure(standing) {
        status.failure = None;
    }
    if let Ok(plan) = &world.plan
        && let Some(token) = world.token.ours()
    {
        let renewal = token
            .record
            .lifetime
            .map(|life| schedule::renewal_time(&life, plan.renew_before, world.jitter));
        status.token = Some(token_status(
            token,
            &plan.names.token_secret,
            renewal,
            status.token.as_ref(),
        ));
    }
    if let Some(record) = decide::record(world).filter(|record| record.binding.is_some()) {
        let known = status.grant.take().unwrap_or_default();
        let generation = i64::try_from(record.generation.0).unwrap_or(i64::MAX);
        status.grant = Some(GrantStatus {
            grant_time: record.granted.map(Time).or(known.grant_time),
            generation: Some(generation.max(known.generation.unwrap_or_default())),
            ..known
        });
    }
    if decide::refresh_requested(world) && answers_requests(standing) {
        status.handled_requests = Some(HandledRequests {
            refresh: world.refresh_request.clone(),
        });
    }
    status.conditions = conditions(world, standing, now);
    Some(status)
}

/// Whether the provider has refused the grant, and no other was stored since.
#[must_use]
pub fn grant_is_dead(status: &EmailAssetStatus) -> bool {
    let dead = |reason: &str| {
        matches!(
            Reason::parse(reason),
            Some(Reason::GrantRevoked | Reason::GrantExpired | Reason::GrantLost)
        )
    };
    let shown = condition(&status.conditions, ConditionType::Authorized);
    shown.is_some_and(|shown| shown.status == "False" && dead(&shown.reason))
        || status
            .failure
            .as_ref()
            .and_then(|failure| failure.reason.as_deref())
            .is_some_and(dead)
}

/// A request for a refresh is answered when the status says that none will come.
const fn answers_requests(standing: &Standing) -> bool {
    matches!(
        standing,
        Standing::GrantRefused | Standing::ClientChanged(_) | Standing::SeedRequired(_)
    )
}

/// A failure belongs to a try; when the question changed it is history.
const fn standing_ends_failure(standing: &Standing) -> bool {
    matches!(standing, Standing::ClientChanged(_) | Standing::ClientMissing(_))
}

fn token_status(
    token: &TokenSecret,
    secret: &str,
    renewal: Option<Timestamp>,
    known: Option<&TokenStatus>,
) -> TokenStatus {
    let name = secret.rsplit('/').next().unwrap_or(secret).to_owned();
    let issue_time = token.record.lifetime.map(|life| Time(life.issued));
    let counted = known.and_then(|known| known.refresh_count).unwrap_or_default();
    let same = known.is_some_and(|known| known.issue_time == issue_time);
    TokenStatus {
        secret_name: Some(name),
        expiration_time: token.record.lifetime.map(|life| Time(life.expires)),
        renewal_time: renewal.map(Time),
        scopes: token.record.scopes.clone(),
        refresh_count: Some(if same { counted } else { counted.saturating_add(1) }),
        issue_time,
    }
}

/// What a condition says.
struct Says {
    status: &'static str,
    reason: Reason,
    message: String,
}

fn is_true(reason: Reason, message: String) -> Option<Says> {
    Some(Says {
        status: "True",
        reason,
        message,
    })
}

fn is_false(reason: Reason, message: String) -> Option<Says> {
    Some(Says {
        status: "False",
        reason,
        message,
    })
}

fn is_unknown(reason: Reason, message: String) -> Option<Says> {
    Some(Says {
        status: "Unknown",
        reason,
        message,
    })
}

/// The conditions of one row of the state table; `keep` leaves what was said before.
struct Row {
    ready: Option<Says>,
    authorized: Kept,
    refreshed: Kept,
    stalled: bool,
    reconciling: bool,
}

enum Kept {
    Keep,
    Say(Option<Says>),
}

fn conditions(world: &World, standing: &Standing, now: Timestamp) -> Vec<Condition> {
    let row = row(world, standing, now);
    let old = &world.status.conditions;
    let ready = row.ready;
    let stalled = row
        .stalled
        .then(|| {
            ready
                .as_ref()
                .and_then(|ready| is_true(ready.reason, ready.message.clone()))
        })
        .flatten();
    let reconciling = row
        .reconciling
        .then(|| {
            ready
                .as_ref()
                .and_then(|ready| is_true(ready.reason, ready.message.clone()))
        })
        .flatten();
    let said = [
        (ConditionType::Ready, Kept::Say(ready)),
        (ConditionType::Authorized, row.authorized),
        (ConditionType::Refreshed, row.refreshed),
        (ConditionType::Stalled, Kept::Say(stalled)),
        (ConditionType::Reconciling, Kept::Say(reconciling)),
    ];
    let render = |(kind, kept): (ConditionType, Kept)| {
        let before = condition(old, kind);
        match kept {
            Kept::Keep => before.cloned(),
            Kept::Say(says) => says.map(|says| render(kind, says, before, world.asset_generation, now)),
        }
    };
    said.into_iter().filter_map(render).collect()
}

fn render(kind: ConditionType, says: Says, before: Option<&Condition>, generation: i64, now: Timestamp) -> Condition {
    let since = before
        .filter(|before| before.status == says.status)
        .map(|before| before.last_transition_time.clone());
    Condition {
        type_: kind.as_str().to_owned(),
        status: says.status.to_owned(),
        reason: says.reason.as_str().to_owned(),
        message: says.message,
        // Whole seconds are what the API keeps: a finer time would differ from itself after a round trip.
        last_transition_time: since.unwrap_or_else(|| Time(Timestamp::from_second(now.as_second()).unwrap_or(now))),
        observed_generation: Some(generation),
    }
}

/// One condition of a list.
#[must_use]
pub fn condition(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == kind.as_str())
}

fn row(world: &World, standing: &Standing, now: Timestamp) -> Row {
    let stopped = |reason: Reason, message: &str| Row {
        ready: is_false(reason, message.to_owned()),
        authorized: Kept::Keep,
        refreshed: Kept::Keep,
        stalled: true,
        reconciling: false,
    };
    match standing {
        Standing::Refused(refusal) => stopped(refusal.reason, &refusal.message),
        Standing::Conflict(message) => stopped(Reason::SecretConflict, message),
        Standing::Waiting(message) => Row {
            stalled: false,
            reconciling: true,
            ..stopped(Reason::Pending, message)
        },
        _ => tokens_row(world, standing, now),
    }
}

/// The rows that depend on whether a valid token is published.
fn tokens_row(world: &World, standing: &Standing, now: Timestamp) -> Row {
    let Ok(plan) = &world.plan else { return quiet() };
    let names = &plan.names;
    let valid = decide::published(world, plan, now);
    let had_token = decide::record(world).is_some_and(|record| record.binding.is_some());
    let authorized = authorized(world, standing, had_token);
    let refreshed = refreshed(world, standing, valid);
    let ready_message =
        |fallback: &str| refreshed_message(&refreshed).map_or_else(|| fallback.to_owned(), str::to_owned);
    let expired_or = |reason: Reason| if had_token { Reason::TokenExpired } else { reason };

    let (ready, stalled, reconciling) = if valid && !matches!(standing, Standing::ClientChanged(_)) {
        (is_true(Reason::Fresh, messages::token_is_valid(names)), false, false)
    } else {
        match standing {
            Standing::ClientChanged(binding) => (
                is_false(Reason::SeedRequired, messages::client_changed(binding, plan)),
                true,
                false,
            ),
            Standing::SeedRequired(message) => (is_false(Reason::SeedRequired, message.clone()), true, false),
            Standing::GrantRefused => (
                is_false(
                    Reason::SeedRequired,
                    messages::grant_is_refused(&failure_message(world), names),
                ),
                true,
                false,
            ),
            _ if world.activity == Activity::Suspended => {
                (is_false(Reason::Suspended, messages::suspended(names)), false, false)
            }
            Standing::ClientMissing(message) => (
                is_false(expired_or(Reason::ClientMissing), message.clone()),
                true,
                false,
            ),
            Standing::Failing => {
                let admin = failure_needs_admin(world);
                let reason = expired_or(failure_reason(world));
                let message = ready_message("");
                let message = if had_token {
                    messages::token_expired(&message, names)
                } else {
                    message
                };
                (is_false(reason, message), admin, !admin && !had_token)
            }
            _ => {
                let reason = expired_or(Reason::Pending);
                let message = if had_token {
                    messages::token_expired(messages::REFRESH_IS_DUE, names)
                } else {
                    messages::pending(names)
                };
                (is_false(reason, message), false, !had_token)
            }
        }
    };
    Row {
        ready,
        authorized,
        refreshed,
        stalled,
        reconciling,
    }
}

const fn quiet() -> Row {
    Row {
        ready: None,
        authorized: Kept::Keep,
        refreshed: Kept::Keep,
        stalled: false,
        reconciling: false,
    }
}

fn refreshed_message(refreshed: &Kept) -> Option<&str> {
    match refreshed {
        Kept::Say(Some(says)) => Some(&says.message),
        _ => None,
    }
}

fn authorized(world: &World, standing: &Standing, had_token: bool) -> Kept {
    let Ok(plan) = &world.plan else { return Kept::Keep };
    Kept::Say(match standing {
        Standing::ClientChanged(binding) => is_false(Reason::SeedRequired, messages::client_changed(binding, plan)),
        Standing::SeedRequired(message) => is_false(Reason::SeedRequired, message.clone()),
        Standing::GrantRefused => is_false(dead_reason(world), failure_message(world)),
        // A candidate for a grant that is dead: the old refusal stands until the new seed was taken.
        _ if grant_is_dead(&world.status) => return Kept::Keep,
        Standing::Failing if failure_reason(world) == Reason::OutcomeUnknown => {
            is_unknown(Reason::OutcomeUnknown, failure_message(world))
        }
        _ if had_token => is_true(Reason::Stored, messages::grant_is_stored(&plan.names)),
        _ => is_unknown(Reason::Pending, messages::grant_not_tried(&plan.names)),
    })
}

fn refreshed(world: &World, standing: &Standing, valid: bool) -> Kept {
    let Ok(plan) = &world.plan else { return Kept::Keep };
    let failed = world.status.failure.is_some();
    Kept::Say(match standing {
        Standing::ClientChanged(_) => None,
        Standing::ClientMissing(message) => is_false(Reason::ClientMissing, message.clone()),
        Standing::SeedRequired(_) if !failed => return Kept::Keep,
        Standing::GrantRefused if !failed => return Kept::Keep,
        Standing::Failing | Standing::GrantRefused | Standing::SeedRequired(_) => {
            is_false(failure_reason(world), failure_message(world))
        }
        Standing::SeedRejected if failed => is_false(failure_reason(world), failure_message(world)),
        Standing::SeedRejected => is_false(Reason::SeedRejected, messages::seed_rejected(&plan.names)),
        _ if valid => is_true(Reason::Refreshed, messages::REFRESHED.to_owned()),
        _ => return Kept::Keep,
    })
}

fn dead_reason(world: &World) -> Reason {
    let failed = failure_reason(world);
    if matches!(failed, Reason::GrantRevoked | Reason::GrantExpired | Reason::GrantLost) {
        return failed;
    }
    let shown = condition(&world.status.conditions, ConditionType::Authorized);
    shown
        .and_then(|shown| Reason::parse(&shown.reason))
        .unwrap_or(Reason::GrantRevoked)
}

fn failure_reason(world: &World) -> Reason {
    let reason = world
        .status
        .failure
        .as_ref()
        .and_then(|failure| failure.reason.as_deref());
    reason.and_then(Reason::parse).unwrap_or(Reason::Retrying)
}

fn failure_message(world: &World) -> String {
    let failure = world
        .status
        .failure
        .as_ref()
        .and_then(|failure| failure.message.clone());
    let shown = || condition(&world.status.conditions, ConditionType::Authorized).map(|shown| shown.message.clone());
    failure.or_else(shown).unwrap_or_default()
}

fn failure_needs_admin(world: &World) -> bool {
    let class = world
        .status
        .failure
        .as_ref()
        .and_then(|failure| failure.class.as_deref());
    matches!(class, Some("ADMIN_CONFIG" | "BUG" | "REAUTH"))
}
