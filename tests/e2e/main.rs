//! Tests against real parts: a Kubernetes API server, a certified authorization server, the operator's own process.
//!
//! All of them are one binary, because linking is what costs. [`support`] starts the parts; a test reads like what a
//! person does: apply, wait for a condition, read the Secret, use the token. `make setup` installs what is needed.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking, in helpers too"
)]

mod crash;
mod deploy;
mod direct;
mod discovery;
mod endpoints;
mod errors;
mod farewell;
mod foresight;
mod harness;
mod hosts;
mod inputs;
mod life;
mod plugin;
mod providers;
mod quiet;
mod replicas;
mod resource;
mod secrecy;
mod secrets;
mod servers;
mod signin;
mod slow_host;
mod support;
mod tolerance;
