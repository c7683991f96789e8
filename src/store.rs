//! What the operator keeps: grant and token Secrets, and the spool of answers that are not stored yet.
//!
//! [`Index`] knows all Secrets without their contents, [`Secrets`] makes the calls, [`annotations`] is what our Secrets say about themselves, and [`spool`] is the
//! tmpfs directory where an answer waits until it is stored.

pub mod annotations;
pub mod grant;
mod index;
pub mod inputs;
pub mod keys;
mod secrets;
pub mod sign_in;
pub mod spool;
pub(crate) mod text;
pub mod token;

#[cfg(test)]
mod tests;

pub use index::{Change, Grant, Index, Key, Kind, Seen, Token, What};
pub use secrets::{Changes, Contents, Draft, METADATA_ONLY, OnWrite, Secrets, StoreError, Unusable};
