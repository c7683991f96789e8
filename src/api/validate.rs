//! The rules for a spec, in code.

use super::EmailAsset;

/// One thing that is wrong with a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field, such as `spec.email`.
    pub field: String,
    /// What is wrong, what was given and what is accepted.
    pub message: String,
}

/// Which label and annotation keys people may put on token Secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedKeys(Vec<String>);

/// Checks.
pub fn validate(_asset: &EmailAsset, _allowed: &AllowedKeys) -> Result<(), Vec<Violation>> {
    Ok(())
}
