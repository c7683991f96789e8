//! How an asset stands, and the status that says so.
//!
//! [`Standing`] is the row of the state table in the design (section 4) that applies when a pass rests; [`status`] turns it into the fields of the status. What
//! the conditions of each row are is in [`super::conditions`].

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{
    conditions::{self, Says, View},
    device, facts, foresight, schedule,
    world::{Binding, Generation, Plan, PlanRefusal, SignInBy, Slot, TokenSecret, World},
};
use crate::api::{
    ConditionType, EmailAssetStatus, FailureStatus, GrantStatus, HandledRequests, Reason, SignInStatus, TokenStatus,
};

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
    /// Nobody has signed in yet.
    SignInRequired(String),
    /// A code waits to be entered.
    DevicePending(String),
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
    if ends_failure(standing) || facts::failure_is_history(world) {
        status.failure = None;
    }
    if facts::signed_in_since(world) {
        status.failure = None;
        forget_authorized(&mut status);
        forget_refusal(&mut status);
    }
    if world.sign_in_request.is_some() && answers_sign_in_request(world) {
        status.handled_requests = Some(HandledRequests {
            sign_in: world.sign_in_request.clone(),
            ..status.handled_requests.take().unwrap_or_default()
        });
    }
    if let Ok(plan) = &world.plan {
        status.token = token_status(world, plan);
        status.sign_in = sign_in_status(world, plan, status.sign_in.take());
    }
    let newest = facts::newest_generation(world);
    if world.plan.as_ref().is_ok_and(Plan::is_direct) {
        // Nobody gave a grant. What an earlier one had counted must not be forgotten: its Secret may still be there.
        let counted = status.grant.take().and_then(|grant| grant.generation);
        status.grant = counted.map(|generation| GrantStatus {
            generation: Some(generation),
            ..GrantStatus::default()
        });
    } else if facts::binding(world).is_some() || newest > Generation::default() {
        let granted = facts::record(world).and_then(|record| record.granted);
        let known = status.grant.take().unwrap_or_default();
        let account = facts::account(world).map(|account| account.name.clone());
        status.grant = Some(GrantStatus {
            account: account.or(known.account.clone()),
            grant_time: granted.map(whole_second).or(known.grant_time),
            generation: Some(i64::try_from(newest.0).unwrap_or(i64::MAX)),
            expiration_time: match &world.plan {
                Ok(plan) => foresight::end(world, plan, now).map(|end| whole_second(end.at)),
                Err(_) => known.expiration_time,
            },
        });
    }
    let will_not_be_met = facts::refresh_requested(world) && answers_requests(standing);
    if facts::request_is_met(world) || will_not_be_met {
        answer_request(&mut status, world.refresh_request.as_ref());
    }
    let view = View {
        world,
        failure: status.failure.as_ref(),
        now,
    };
    status.conditions = conditions::of(&view, standing);
    Some(status)
}

/// A request for a refresh is answered when the status says that none will come.
const fn answers_requests(standing: &Standing) -> bool {
    matches!(
        standing,
        Standing::GrantRefused
            | Standing::ClientChanged(_)
            | Standing::SeedRequired(_)
            | Standing::SignInRequired(_)
            | Standing::DevicePending(_)
    )
}

/// How a person signs in, with the code that is under way.
fn sign_in_status(world: &World, plan: &Plan, known: Option<SignInStatus>) -> Option<SignInStatus> {
    let mut shown = SignInStatus {
        last_refusal: known.and_then(|known| known.last_refusal),
        ..plan.sign_in.clone()
    };
    if let Some(device) = device::pending(world, plan) {
        shown.user_code = Some(device.user_code.clone());
        shown.verification_url = Some(device.verification_url.clone());
        shown.expiration_time = Some(whole_second(device.expires));
    }
    (plan.begins_with_sign_in() && shown != SignInStatus::default()).then_some(shown)
}

/// A new link is made at once: it follows from the request's value. A code is asked for first.
fn answers_sign_in_request(world: &World) -> bool {
    let way = world.plan.as_ref().ok().and_then(|plan| plan.names.sign_in.as_ref());
    let device = world.grant.ours().and_then(|grant| grant.device.as_ref());
    let begun = device.map(|device| &device.request) == world.sign_in_request.as_ref();
    way.is_none_or(|way| way.by == SignInBy::Browser || begun)
}

fn forget_refusal(status: &mut EmailAssetStatus) {
    if let Some(sign_in) = &mut status.sign_in {
        sign_in.last_refusal = None;
    }
}

/// A failure belongs to a try; when the question changed it is history.
const fn ends_failure(standing: &Standing) -> bool {
    matches!(standing, Standing::ClientChanged(_) | Standing::ClientMissing(_))
}

/// Notes that the request with this value was answered.
pub(super) fn answer_request(status: &mut EmailAssetStatus, request: Option<&String>) {
    if request.is_some() {
        status.handled_requests = Some(HandledRequests {
            refresh: request.cloned(),
            ..status.handled_requests.take().unwrap_or_default()
        });
    }
}

fn token_status(world: &World, plan: &Plan) -> Option<TokenStatus> {
    let known = world.status.token.as_ref();
    match &world.token {
        Slot::Ours(token) => Some(of_published(token, plan, world)),
        // What was said of a token that is gone would mislead; when it was issued keeps us from fetching one as often as somebody deletes it.
        Slot::Free => known.map(|known| TokenStatus {
            issue_time: known.issue_time.clone(),
            refresh_count: known.refresh_count,
            ..TokenStatus::default()
        }),
        Slot::Leaving | Slot::Foreign { .. } => known.cloned(),
    }
}

fn of_published(token: &TokenSecret, plan: &Plan, world: &World) -> TokenStatus {
    let (jitter, known) = (world.jitter, world.status.token.as_ref());
    let secret = &plan.names.token_secret;
    let life = token.record.lifetime;
    let issue_time = life.map(|life| whole_second(life.issued));
    let counted = known.and_then(|known| known.refresh_count).unwrap_or_default();
    // Two tokens can be of the same second: a generation that was not shown yet tells them apart.
    let generation = i64::try_from(token.record.generation.0).unwrap_or(i64::MAX);
    let shown = world.status.grant.as_ref().filter(|_| !plan.is_direct());
    let shown = shown.and_then(|grant| grant.generation);
    let same =
        known.is_some_and(|known| known.issue_time == issue_time) && shown.is_none_or(|shown| generation <= shown);
    TokenStatus {
        secret_name: Some(secret.rsplit('/').next().unwrap_or(secret).to_owned()),
        issue_time,
        expiration_time: life.map(|life| whole_second(life.expires)),
        // No pass looks between two seconds.
        renewal_time: life.map(|life| next_second(foresight::due(&life, token.record.ends.as_ref(), plan, jitter))),
        scopes: token.record.scopes.clone(),
        refresh_count: Some(if same { counted } else { counted.saturating_add(1) }),
    }
}

/// Whether the provider has refused the grant, and no other was stored since.
#[must_use]
pub fn grant_is_dead(status: &EmailAssetStatus) -> bool {
    let shown = condition(&status.conditions, ConditionType::Authorized);
    let remembered = shown.is_some_and(|shown| {
        shown.status == "False" && Reason::parse(&shown.reason).is_some_and(|reason| ENDS.contains(&reason))
    });
    remembered || status.failure.as_ref().and_then(end_of_grant).is_some()
}

/// Reasons for which a grant that once worked is not redeemed again.
const ENDS: [Reason; 4] = [
    Reason::GrantRevoked,
    Reason::GrantExpired,
    Reason::GrantLost,
    Reason::ScopeNotGranted,
];

/// Why the grant has ended, if this failure means that. What only a person can mend is the end, except where it was a candidate that was refused.
pub(super) fn end_of_grant(failure: &FailureStatus) -> Option<Reason> {
    let reason = failure.reason.as_deref().and_then(Reason::parse);
    if failure.class.as_deref() != Some(crate::api::FailureClass::Reauthorize.as_str())
        || reason == Some(Reason::SeedRejected)
    {
        return None;
    }
    Some(
        reason
            .filter(|reason| ENDS.contains(reason))
            .unwrap_or(Reason::GrantRevoked),
    )
}

/// Shows the end of the grant, if this failure means that. The condition is also the memory of it: failures of a new seed come and go.
pub(super) fn remember_end_of_grant(
    status: &mut EmailAssetStatus,
    failure: &FailureStatus,
    generation: i64,
    now: Timestamp,
) {
    let Some(reason) = end_of_grant(failure) else { return };
    let says = Says::no(reason, failure.message.clone().unwrap_or_default());
    let before = condition(&status.conditions, ConditionType::Authorized);
    let condition = conditions::render(ConditionType::Authorized, says, before, generation, now);
    forget_authorized(status);
    status.conditions.push(condition);
}

/// A grant was stored: what was said of the end of an earlier one is history.
pub(super) fn forget_end_of_grant(status: &mut EmailAssetStatus) {
    if grant_is_dead(status) {
        forget_authorized(status);
    }
}

fn forget_authorized(status: &mut EmailAssetStatus) {
    status
        .conditions
        .retain(|condition| condition.type_ != ConditionType::Authorized.as_str());
}

/// One condition of a list.
#[must_use]
pub fn condition(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == kind.as_str())
}

/// A moment as the status shows it. Whole seconds are what the API keeps: a finer time would differ from itself after a round trip, and be written again.
pub(super) fn whole_second(moment: Timestamp) -> Time {
    Time(Timestamp::from_second(moment.as_second()).unwrap_or(moment))
}

/// The first whole second that is not before this moment.
pub(super) fn next_second(moment: Timestamp) -> Time {
    let almost = SignedDuration::from_nanos(999_999_999);
    whole_second(schedule::ahead(moment, almost))
}
