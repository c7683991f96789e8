//! cert-manager for mailboxes: keeps OAuth 2.0 tokens for SMTP, IMAP and POP fresh in Kubernetes Secrets.
//!
//! The rooms and their one-way dependencies are drawn in `docs/architecture.md`.

pub mod cli;
pub mod leader;
pub mod store;
pub mod telemetry;
