//! The resources that people write and read: [`EmailAsset`] and [`EmailProvider`], their specs, statuses, conditions and validation.
//!
//! This room imports no other room and makes no call. What the YAML means is decided here: field names and docs (they become the CRD's schema and
//! `kubectl explain`), the rules that the API server enforces (CEL) and the same rules in code ([`validate()`]), the names on Secrets ([`names`]) and the closed
//! sets of condition types and reasons ([`ConditionType`], [`Reason`]).
//!
//! Nothing has a default in the schema except the status object: a default that the API server fills in would look like drift to GitOps tools. Defaults are
//! resolved in code and shown in `status.endpoints`.

pub mod allow;
mod conditions;
mod crd;
pub mod duration;
pub mod names;
#[allow(
    unreachable_pub,
    reason = "KubeSchema derives a hidden copy of each public struct inside a function"
)]
mod provider;
mod rules;
#[allow(
    unreachable_pub,
    reason = "KubeSchema derives a hidden copy of each public struct inside a function"
)]
mod spec;
#[allow(
    unreachable_pub,
    reason = "KubeSchema derives a hidden copy of each public struct inside a function"
)]
mod status;
pub mod validate;

pub use conditions::{ConditionType, FailureClass, Reason};
pub use crd::{crd, crd_yaml, provider_crd, provider_crd_yaml};
pub use provider::{
    AllowRule, AllowedNamespaces, AppWideToken, EmailProvider, EmailProviderSpec, EmailProviderStatus,
    NamespaceSelector, ProviderOAuth2,
};
pub use spec::{
    ClientAuthentication, EmailAsset, EmailAssetSpec, Format, Grant, GrantDeletionPolicy, KeyRef, MailServer, NameRef,
    OAuth2, Rotation, Security, TokenSecret,
};
pub use status::{
    EmailAssetStatus, EndpointsStatus, FailureStatus, GrantStatus, HandledRequests, ServerStatus, SignInRefusalStatus,
    SignInStatus, TokenStatus,
};
pub use validate::{AllowedKeys, Violation, validate, validate_provider};

#[cfg(test)]
mod tests;
