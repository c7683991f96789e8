//! What a refusal means for us: who has to do what next.
//!
//! [`by_status`] and [`by_error`] map what a server said to a [`Class`] (the next step) and a [`Cause`] (for messages and
//! metrics). The order of the questions is fixed in [`super::answer::parse`]; what is known about error codes is data, in the
//! [`Rule`] tables, so that a provider's habits become rows, never branches.

use std::fmt;

use jiff::SignedDuration;

/// What has to happen after a refusal.
pub use crate::api::FailureClass as Class;

/// Why the server refused, as a closed set: the key to a message for people, and a label for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// Why, from a closed set.
    pub cause: Cause,
    /// The server's own code, or one of ours.
    pub code: ErrorCode,
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
}

/// One known error code.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// The `error` value, compared without regard to case (Yahoo shouts).
    pub error: &'static str,
    /// Words that the description must contain (lower case), where the code alone says too little.
    pub says: Option<&'static str>,
    /// What has to happen next.
    pub class: Class,
    /// Why.
    pub cause: Cause,
    /// Wait at least this long: a known habit of a server that sends no Retry-After.
    pub wait: Option<SignedDuration>,
}

const fn rule(error: &'static str, class: Class, cause: Cause) -> Rule {
    Rule {
        error,
        says: None,
        class,
        cause,
        wait: None,
    }
}

/// The codes of RFC 6749 section 5.2, OpenID Connect Core section 3.1.2.6, RFC 8628 section 3.5, RFC 8707 and RFC 9449, and
/// the spellings of the same that were seen in the field.
///
/// `invalid_token` and `insufficient_scope` (RFC 6750) are missing on purpose: a token endpoint has no use for them.
#[rustfmt::skip]
pub const RFC: &[Rule] = &[
    rule("invalid_request",            Class::Bug,         Cause::InvalidRequest),
    rule("invalid_client",             Class::AdminConfig, Cause::InvalidClient),
    rule("invalid_grant",              Class::Reauthorize, Cause::InvalidGrant),
    rule("unauthorized_client",        Class::AdminConfig, Cause::UnauthorizedClient),
    rule("unsupported_grant_type",     Class::AdminConfig, Cause::UnsupportedGrantType),
    rule("invalid_scope",              Class::AdminConfig, Cause::InvalidScope),
    rule("invalid_target",             Class::AdminConfig, Cause::InvalidTarget),
    rule("invalid_resource",           Class::AdminConfig, Cause::InvalidTarget),
    rule("access_denied",              Class::Reauthorize, Cause::AccessDenied),
    rule("authorization_declined",     Class::Reauthorize, Cause::AccessDenied),
    rule("server_error",               Class::Retry,       Cause::ServerError),
    rule("temporarily_unavailable",    Class::Retry,       Cause::ServerError),
    rule("internal_failure",           Class::Retry,       Cause::ServerError),
    rule("backend error",              Class::Retry,       Cause::ServerError),
    rule("interaction_required",       Class::Reauthorize, Cause::InteractionRequired),
    rule("login_required",             Class::Reauthorize, Cause::InteractionRequired),
    rule("consent_required",           Class::Reauthorize, Cause::InteractionRequired),
    rule("account_selection_required", Class::Reauthorize, Cause::InteractionRequired),
    rule("authorization_pending",      Class::Retry,       Cause::AuthorizationPending),
    rule("slow_down",                  Class::Throttled,   Cause::RateLimited),
    rule("expired_token",              Class::Reauthorize, Cause::ExpiredCode),
    rule("bad_verification_code",      Class::Bug,         Cause::InvalidRequest),
    rule("use_dpop_nonce",             Class::AdminConfig, Cause::DpopRequired),
    rule("invalid_dpop_proof",         Class::AdminConfig, Cause::DpopRequired),
];

/// Habits of single providers, asked before [`RFC`]. The catalogue will bring its own rows.
pub const FIELD: &[Rule] = &[
    // Zoho, with HTTP 400. `Access Denied` has a space and is no `access_denied`: a person could do nothing about it. Every
    // further try extends the lockout of ten minutes.
    Rule {
        error: "access denied",
        says: Some("too many requests"),
        class: Class::Throttled,
        cause: Cause::RateLimited,
        wait: Some(SignedDuration::from_secs(600)),
    },
    // Google's device endpoint, with HTTP 403.
    rule("rate_limit_exceeded", Class::Throttled, Cause::RateLimited),
];

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

/// The rule for an `error`, if any table has one.
#[must_use]
pub fn known(error: &str, description: &str) -> Option<&'static Rule> {
    let description = description.to_ascii_lowercase();
    let applies = |rule: &&Rule| {
        rule.error.eq_ignore_ascii_case(error.trim()) && rule.says.is_none_or(|words| description.contains(words))
    };
    FIELD.iter().chain(RFC).find(applies)
}

/// What an `error` means. A code that no table knows is an admin's matter.
#[must_use]
pub fn by_error(status: u16, error: &str, description: &str) -> (Class, Cause, Option<SignedDuration>) {
    known(error, description).map_or_else(
        || match status {
            404 | 405 | 410 | 415 => (Class::AdminConfig, Cause::NotFound, None),
            _ => (Class::AdminConfig, Cause::Other, None),
        },
        |rule| (rule.class, rule.cause, rule.wait),
    )
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
