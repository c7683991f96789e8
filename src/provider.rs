//! What is known about mail providers, and what that makes of an asset's spec.
//!
//! ```text
//! EmailAssetSpec + Catalogue (+ Discovered) ──resolve──> Endpoints ──check_hosts(input Secrets)──> may be called, or HostNotAllowed
//! ```
//!
//! [`Catalogue`] is data: one entry for each provider in `provider/catalogue.yaml`, each fact with its source. Adding a provider is an edit of that file alone.
//! [`resolve`] puts the entry and the spec's overrides together into [`Endpoints`], the values in effect. [`check_hosts`] keeps credentials where they belong
//! (invariant 11). Everything here is pure.

mod catalogue;
mod discovered;
mod hosts;
mod resolve;
mod servers;
mod sign_in;

pub use catalogue::{
    Assertion, Catalogue, CatalogueError, Choice, Confidence, Entry, EntryIdentity, EntryServer, EntryTenancy,
    ErrorDialect, Evidence, Fact, Host, LivesAs, Mechanism, Offer, Parameter, Period, PersonalTenant, RateLimit,
    Refresh, RefreshTokenLife, ScopeSeparator, SendScope, WayToToken, WithoutOAuth, facts, manifest,
};
pub use discovered::{Discovered, UnusableMetadata};
pub use hosts::{
    Authority, HostNotAllowed, HostPolicy, InputSecret, Refusal, check_giving_back, check_hosts, check_issuer_host,
};
pub use resolve::{
    ClientOwns, Endpoints, KnownLife, Limits, ResolveError, UrlProblem, issuer_to_ask, resolve, resolve_discovered,
    resolve_under,
};
pub use servers::Server;
pub use sign_in::{
    AccountClaim, CodeServer, Counts, ForAnother, Identity, NamesIssuer, SignIn, Tenancy, Tenant, UserinfoAlone,
};

pub(crate) use sign_in::{is_uuid, split_address};

#[cfg(test)]
mod tests;
