//! cert-manager for mailboxes: keeps OAuth 2.0 tokens for SMTP, IMAP and POP fresh in Kubernetes Secrets.
//!
//! The rooms and their one-way dependencies are drawn in `docs/architecture.md`. A newcomer starts with [`api`] (what people write and read), goes on with
//! [`lifecycle`] (what should happen next, as pure functions) and then [`controller`] (how it is carried out).

pub mod api;
pub mod cli;
pub mod controller;
pub mod formats;
pub mod leader;
pub mod lifecycle;
mod listener;
pub mod mail;
pub mod oauth;
pub mod operator;
pub mod outbound;
pub mod plugin;
pub mod provider;
pub mod sasl;
pub mod signin;
pub mod store;
pub mod telemetry;
