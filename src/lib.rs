//! cert-manager for mailboxes: keeps OAuth 2.0 tokens for SMTP, IMAP and POP fresh in Kubernetes Secrets.
//!
//! The rooms and their one-way dependencies are drawn in `docs/architecture.md`.

pub mod api;
pub mod controller;
pub mod cli;
pub mod leader;
pub mod lifecycle;
pub mod oauth;
pub mod provider;
pub mod store;
pub mod telemetry;
