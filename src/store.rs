//! What the operator keeps: the spool of answers that are not stored yet, and the grant and token Secrets.

pub mod spool;
