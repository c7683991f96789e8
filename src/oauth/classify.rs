//! What a refusal means for us: who has to do what next.
//!
//! A [`Refusal`] has a [`Class`] (the next step), a [`Reason`] (for the condition) and a [`Cause`] (for metrics). The order of the questions is fixed in
//! [`super::answer::parse`]; what is known about error codes is data, in `errors.yaml`, so that a provider's habits become rows, never branches. What is left here
//! is what a status or the form of a body says by itself.

use std::fmt;

use jiff::SignedDuration;
use serde::Deserialize;

use super::errors::Row;
use crate::api::Reason;

/// What has to happen after a refusal.
pub use crate::api::FailureClass as Class;

/// Why the server refused, as a closed set: a label for logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The refresh token is revoked, expired or belongs to another client (RFC 6749 section 5.2).
    InvalidGrant,
    /// Client ID or secret is wrong, expired or deleted.
    InvalidClient,
    /// This client may not use this grant.
    UnauthorizedClient,
    /// The server does not know this grant type.
    UnsupportedGrantType,
    /// The scopes are not accepted.
    InvalidScope,
    /// The resource does not exist or is not licensed (RFC 8707).
    InvalidTarget,
    /// The request is malformed.
    InvalidRequest,
    /// A person or a policy said no.
    AccessDenied,
    /// A person has to do something at the provider: second factor, consent, login (OpenID Connect Core section 3.1.2.6).
    InteractionRequired,
    /// The device flow still waits for the person (RFC 8628 section 3.5).
    AuthorizationPending,
    /// The device code ran out.
    ExpiredCode,
    /// The server wants proof of possession of a key (RFC 9449), which mail protocols cannot give.
    DpopRequired,
    /// The account is disabled, unknown or elsewhere.
    AccountUnusable,
    /// A clock is wrong: what we signed is of another time than the server's.
    Clock,
    /// A refresh token came back that was used before: two programs redeem one grant, or we do so twice.
    Replayed,
    /// The server sees the same request again and again.
    LoopDetected,
    /// Temporary trouble at the server.
    ServerError,
    /// Too many requests.
    RateLimited,
    /// The endpoint points elsewhere. Credentials do not follow.
    Redirect,
    /// There is no token endpoint at this address.
    NotFound,
    /// The answer is not a JSON object.
    NotJson,
    /// A JSON object with neither an error nor a usable access token.
    NoAccessToken,
    /// The answer is larger than the limit.
    TooLarge,
    /// The answer broke off, or did not end in time.
    Incomplete,
    /// An error code that no table knows.
    Other,
}

impl Cause {
    /// The label in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidClient => "invalid_client",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidRequest => "invalid_request",
            Self::AccessDenied => "access_denied",
            Self::InteractionRequired => "interaction_required",
            Self::AuthorizationPending => "authorization_pending",
            Self::ExpiredCode => "expired_code",
            Self::DpopRequired => "dpop_required",
            Self::AccountUnusable => "account_unusable",
            Self::Clock => "clock",
            Self::Replayed => "replayed",
            Self::LoopDetected => "loop_detected",
            Self::ServerError => "server_error",
            Self::RateLimited => "rate_limited",
            Self::Redirect => "redirect",
            Self::NotFound => "not_found",
            Self::NotJson => "not_json",
            Self::NoAccessToken => "no_access_token",
            Self::TooLarge => "too_large",
            Self::Incomplete => "incomplete",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What a refusal rests on. It decides between *answered* and *unknown* for a 5xx (invariant 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// The server named an error in a JSON object: it has decided. With a 5xx only a code of the tables counts, because
    /// gateways and frameworks write `"error": "Internal Server Error"` as well.
    ErrorCode,
    /// There is only the HTTP status, or a body that cannot be read.
    Status,
}

/// A short name for what went wrong: the server's `error`, or one of ours such as `http_503`, `html`, `empty`, `not_json`.
///
/// At most [`ErrorCode::LIMIT`] characters, printable ASCII without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ErrorCode(String);

impl ErrorCode {
    /// Longer codes are cut. The longest known (`account_selection_required`) has 26 characters.
    pub const LIMIT: usize = 64;

    /// Keeps what is printable ASCII and replaces the rest by `_`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let clean = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '_' };
        Self(text.trim().chars().take(Self::LIMIT).map(clean).collect())
    }

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A token endpoint said no, or something that cannot be read as yes. Safe to print: bounded, and without any secret that was
/// sent or received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What has to happen next.
    pub class: Class,
    /// Why, from a closed set, for metrics.
    pub cause: Cause,
    /// Why, as conditions say it.
    pub reason: Reason,
    /// What is known about this very error.
    pub row: Option<&'static Row>,
    /// The server's own code, or one of ours.
    pub code: ErrorCode,
    /// What the server says more exactly than by `code`: a number such as `AADSTS7000222`, or a subtype such as `invalid_rapt`.
    pub detail: Option<ErrorCode>,
    /// The server's own words: at most 300 characters, no control characters; `None` if it repeated a secret.
    pub description: Option<String>,
    /// The HTTP status.
    pub status: u16,
    /// How long the server (or a known habit of it) asks us to wait, 0 s to 24 h.
    pub retry_after: Option<SignedDuration>,
    /// What the provider's support asks for.
    pub trace_id: Option<String>,
    /// What the refusal rests on.
    pub evidence: Evidence,
    /// How far our clock was ahead of the server's (behind it: negative), to about a second and the time of the answer's way.
    pub clock_ahead: Option<SignedDuration>,
}

/// What a status means by itself, before anybody looks at the body. `None`: look at the body.
#[must_use]
pub const fn by_status(status: u16) -> Option<(Class, Cause)> {
    match status {
        // 999 is Yahoo's "Request denied".
        429 | 999 => Some((Class::Throttled, Cause::RateLimited)),
        408 | 425 | 500.. => Some((Class::Retry, Cause::ServerError)),
        300..=399 => Some((Class::AdminConfig, Cause::Redirect)),
        _ => None,
    }
}

/// What an `error` means that no row knows: an admin's matter, never a person's.
#[must_use]
pub const fn by_unknown_error(status: u16) -> (Class, Cause) {
    match status {
        404 | 405 | 410 | 415 => (Class::AdminConfig, Cause::NotFound),
        _ => (Class::AdminConfig, Cause::Other),
    }
}

/// What an answer means that names no error and holds no token; `cause` says what is wrong with its body.
#[must_use]
pub const fn by_form(status: u16, cause: Cause) -> (Class, Cause) {
    match status {
        404 | 405 | 410 | 415 => (Class::AdminConfig, Cause::NotFound),
        403 => (Class::AdminConfig, Cause::AccessDenied),
        // Google has answered 400 with HTML for a while and then recovered; the caller counts, and escalates.
        ..=399 | 400 | 401 => (Class::Retry, cause),
        _ => (Class::AdminConfig, cause),
    }
}

/// The reason of the condition, where no row names one.
#[must_use]
pub const fn plain_reason(class: Class, cause: Cause) -> Reason {
    match (class, cause) {
        (Class::Retry, _) => Reason::Retrying,
        (Class::Throttled, _) => Reason::Throttled,
        (Class::Reauthorize, _) => Reason::GrantRevoked,
        (Class::Bug, _) => Reason::RequestRejected,
        (Class::AdminConfig, Cause::AccessDenied) => Reason::PolicyBlocked,
        (Class::AdminConfig, Cause::Redirect | Cause::NotFound) => Reason::EndpointUnusable,
        (Class::AdminConfig, Cause::InvalidScope | Cause::InvalidTarget) => Reason::ScopeNotGranted,
        (Class::AdminConfig, _) => Reason::ClientRejected,
    }
}
