//! Signing in: a person's browser, the operator's pages, the authorization server's pages, and what becomes of the asset.
//!
//! [`rig`] proves the parts without the operator; everything else has it in the middle, and most of it on one stage ([`SignInStage`]) that the tests of a run share.
//!
//! [`SignInStage`]: crate::support::SignInStage

mod attacks;
mod device;
mod flood;
mod habits;
mod port;
mod raw;
mod refusals;
pub(crate) mod responses;
mod restarts;
mod rig;
mod waiting;
mod walk;
