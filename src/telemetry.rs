//! What the operator tells about itself: logs, metrics, health.
//!
//! Everything here leaves the process, so everything here obeys invariant 5: no secret goes out by this door. [`logs`] silences what other crates would print of
//! requests and answers, [`panics`] drops what a panic carries, and [`metrics`] has closed sets of labels.

pub mod health;
pub mod logs;
pub mod metrics;
pub mod panics;
