//! The life of a token, as pure functions: what to do next, when, and what to say.
//!
//! Start with [`decide()`]: it looks at a [`World`] and answers with a [`Decision`]. The controller carries the step out, takes what came of it into the world
//! ([`note_failure`], [`note_success`]) and asks again, until the answer is [`Step::Rest`]; then [`status`] says how the asset stands. Nothing in this room reads
//! a clock, makes a call or awaits anything, so every row of the design's state table and every way between two rows is a plain unit test.

mod conditions;
mod decide;
mod device;
mod facts;
mod failure;
mod farewell;
mod foresight;
mod messages;
mod report;
mod schedule;
mod sign_in;
mod step;
mod turn;
mod world;

#[cfg(test)]
mod tests;

pub use decide::{HOLDER_GRACE, decide, inputs_now, may_sign_in};
pub use facts::{
    Holder, gives_up, grant_lives, holder, known_client, newest_generation, record, record_to_begin_with, was_issued,
};
pub use failure::{Failure, note_failure, note_success};
pub use farewell::PATIENCE as REVOCATION_PATIENCE;
pub use foresight::{News, Stated, TokenAge, end_after};
pub use messages::{new_grant, not_revoked, revoked, seed_place, suspended_undiscovered};
pub use report::{Standing, condition, grant_is_dead, status};
pub use schedule::{Pace, backoff, renewal_time};
pub use sign_in::{SignInRefusal, note_refusal};
pub use step::{Decision, Fencing, Origin, Redeem, Step};
pub use world::{
    Account, Activity, Attempt, AttemptHolder, Binding, Circumstances, DeviceAuthorization, Discovery, EndToldBy,
    Farewell, Fingerprint, Generation, GrantEnd, GrantSecret, Handover, Heritage, History, Hold, Input, InputVersion,
    InputsSeen, Lifetime, Limits, Names, Plan, PlanRefusal, Presence, Record, Retention, SeedClaim, SeedLedger,
    SeedRecord, Sight, SignInBy, SignInWay, Slot, Source, TokenSecret, Unanswered, UnansweredTries, Upkeep, Verdict,
    World,
};
