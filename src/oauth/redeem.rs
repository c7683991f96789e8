//! Redeeming a refresh token: one request, and how it ended.
//!
//! [`TokenClient::redeem`] never retries and always ends within the time limit. The three ends *not sent*, *answered* and
//! *unknown* (invariant 2) are told apart by the table in [`super`].

use std::error::Error as StdError;
use std::fmt;
use std::io;

use jiff::Timestamp;
use oauth2::HttpRequest;
use url::Url;

use super::answer::{self, Answer, Completeness, Received, SecretsInPlay};
use super::classify::{Class, Evidence, Refusal};
use super::identity::documents::Documents;
use super::request::{self, Redemption, RequestError};
use super::situation::Situation;
use super::transport::{HttpError, HttpSettings, NoResponse, Reason, Response, Sent, Transport};
use crate::outbound::CaBundle;
use crate::outbound::address::ResolveError;

/// How a redemption ended.
#[derive(Debug, Clone)]
#[must_use = "an answer may hold the only copy of a refresh token"]
pub enum Outcome {
    /// The server issued a token. If it holds a refresh token, that exists nowhere else until it is stored (invariant 1).
    Answered(Answer),
    /// The server decided against it.
    Refused(Refusal),
    /// The refresh token has not left: trying again is safe.
    NotSent(TransportFailure),
    /// The server may have redeemed the token and rotated it.
    Unknown(TransportFailure),
}

/// An exchange that brought no readable answer. Safe to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportFailure {
    /// What failed.
    pub kind: FailureKind,
    /// The host of the token endpoint.
    pub host: String,
    /// More words, at most 300 characters and without secrets.
    pub detail: Option<String>,
    /// What did arrive, where the outcome is unknown although something arrived.
    pub answer: Option<Refusal>,
}

/// What failed on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The endpoint is not `https`, or holds a user name.
    Endpoint,
    /// The host has only loopback, link-local or metadata addresses.
    BlockedAddress,
    /// The request could not be written.
    Request,
    /// No HTTP client could be made for the CA bundle.
    Client,
    /// The name cannot be resolved.
    Dns,
    /// No connection: refused, unreachable, reset before the request.
    Connect,
    /// No connection within the limit.
    ConnectTimeout,
    /// The server's certificate is not trusted, expired or for another name.
    Certificate,
    /// TLS failed otherwise.
    Tls,
    /// The time was up after the request was handed to a connection.
    Timeout,
    /// The connection broke after the request was handed to it, before an answer.
    Reset,
    /// A 2xx whose body broke off or did not end in time.
    Incomplete,
    /// A 2xx whose body is larger than the limit.
    TooLarge,
    /// A 2xx without a token and without an error.
    Unreadable,
    /// A 5xx other than 503 that names no OAuth error.
    ServerError,
}

impl FailureKind {
    /// The label in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::BlockedAddress => "blocked_address",
            Self::Request => "request",
            Self::Client => "client",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Certificate => "certificate",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Incomplete => "incomplete",
            Self::TooLarge => "too_large",
            Self::Unreadable => "unreadable",
            Self::ServerError => "server_error",
        }
    }

    /// What has to happen next.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::Endpoint | Self::BlockedAddress | Self::Client | Self::Certificate => Class::AdminConfig,
            Self::Request => Class::Bug,
            _ => Class::Retry,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Endpoint => "is not a token endpoint that credentials may be sent to",
            Self::BlockedAddress => "has only addresses that are off limits (loopback, link-local or metadata)",
            Self::Request => "was sent nothing: the request could not be written",
            Self::Client => "was sent nothing: no HTTP client could be made",
            Self::Dns => "cannot be resolved",
            Self::Connect => "cannot be connected to",
            Self::ConnectTimeout => "did not take a connection in time",
            Self::Certificate => "shows a certificate that is not trusted: check the host and the CA bundle",
            Self::Tls => "failed to set up TLS",
            Self::Timeout => "did not answer in time",
            Self::Reset => "broke the connection before it answered",
            Self::Incomplete => "said yes, but its answer broke off",
            Self::TooLarge => "said yes, but its answer is larger than the limit",
            Self::Unreadable => "said yes, but its answer holds no usable token",
            Self::ServerError => "failed while it worked on the request",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl TransportFailure {
    /// What has to happen next.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.kind.class()
    }

    pub(super) fn new(kind: FailureKind, endpoint: &Url) -> Self {
        let host = endpoint.host_str().unwrap_or_default().chars().take(253).collect();
        Self {
            kind,
            host,
            detail: None,
            answer: None,
        }
    }

    fn detail(mut self, secrets: &SecretsInPlay, words: &str) -> Self {
        self.detail = answer::quotable(words).filter(|words| !secrets.leak_into(words));
        self
    }
}

impl fmt::Display for TransportFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.host, self.kind.words())?;
        match (&self.detail, &self.answer) {
            (Some(detail), _) => write!(formatter, " ({detail})"),
            (None, Some(answer)) => write!(formatter, " (HTTP {}, {})", answer.status, answer.code),
            (None, None) => Ok(()),
        }
    }
}

impl StdError for TransportFailure {}

/// Talks to authorization servers. Cheap to share behind an `Arc`; one per process.
#[derive(Debug)]
pub struct TokenClient {
    transport: Transport,
    documents: Documents,
}

impl TokenClient {
    /// A client with these settings. The TLS provider of the process must be installed.
    ///
    /// # Errors
    /// See [`HttpError`].
    pub fn new(settings: HttpSettings) -> Result<Self, HttpError> {
        Ok(Self {
            transport: Transport::new(settings)?,
            documents: Documents::default(),
        })
    }

    /// What issuers said about themselves in the last minutes.
    pub(super) const fn documents(&self) -> &Documents {
        &self.documents
    }

    /// Redeems a refresh token once. Dropping the future after the request was sent loses the answer: run it where nothing
    /// cancels it.
    pub async fn redeem(&self, redemption: &Redemption, situation: &Situation) -> Outcome {
        let written = request::write(redemption);
        let secrets = request::hide_assertions(&written, redemption.secrets());
        let authority = redemption.certificate_authority.as_ref();
        self.ask_for_token(&redemption.token_endpoint, written, &secrets, authority, situation)
            .await
    }

    /// Sends one token request and reads the answer.
    pub(super) async fn ask_for_token(
        &self,
        endpoint: &Url,
        request: Result<HttpRequest, RequestError>,
        secrets: &SecretsInPlay,
        authority: Option<&CaBundle>,
        situation: &Situation,
    ) -> Outcome {
        match self.ask(endpoint, request, secrets, authority).await {
            Ok(response) => answered(&response, endpoint, secrets, situation),
            Err(Unanswered {
                sent: Sent::No,
                failure,
            }) => Outcome::NotSent(failure),
            Err(Unanswered {
                sent: Sent::Maybe,
                failure,
            }) => Outcome::Unknown(failure),
        }
    }

    /// Sends one request, written or not, and says why nothing came back.
    pub(super) async fn ask(
        &self,
        endpoint: &Url,
        request: Result<HttpRequest, RequestError>,
        secrets: &SecretsInPlay,
        authority: Option<&CaBundle>,
    ) -> Result<Response, Unanswered> {
        let request = request.map_err(|error| Unanswered {
            sent: Sent::No,
            failure: TransportFailure::new(FailureKind::Request, endpoint).detail(secrets, &error.to_string()),
        })?;
        self.transport
            .send(endpoint, request, authority)
            .await
            .map_err(|nothing| unanswered(&nothing, endpoint, secrets))
    }
}

/// Nothing came back.
pub(super) struct Unanswered {
    /// Whether the server may have read the request.
    sent: Sent,
    pub(super) failure: TransportFailure,
}

fn answered(response: &Response, endpoint: &Url, secrets: &SecretsInPlay, situation: &Situation) -> Outcome {
    match answer::parse(&received(response), secrets, situation) {
        Ok(answer) => Outcome::Answered(answer),
        Err(refusal) => match without_doubt(*refusal, response.completeness, endpoint) {
            Ok(refusal) => Outcome::Refused(refusal),
            Err(doubt) => Outcome::Unknown(*doubt),
        },
    }
}

/// What the server decided, for an answer that is no yes; or why that is in doubt.
pub(super) fn decided(
    response: &Response,
    endpoint: &Url,
    secrets: &SecretsInPlay,
    situation: &Situation,
) -> Result<Refusal, Box<TransportFailure>> {
    let refusal = answer::refuse(&received(response), secrets, situation);
    without_doubt(refusal, response.completeness, endpoint)
}

fn received(response: &Response) -> Received<'_> {
    Received {
        status: response.status,
        headers: &response.headers,
        body: &response.body,
        completeness: response.completeness,
        now: Timestamp::now(),
    }
}

fn without_doubt(
    refusal: Refusal,
    completeness: Completeness,
    endpoint: &Url,
) -> Result<Refusal, Box<TransportFailure>> {
    match doubt(&refusal, completeness) {
        None => Ok(refusal),
        Some(kind) => {
            let failure = TransportFailure::new(kind, endpoint);
            Err(Box::new(TransportFailure {
                answer: Some(refusal),
                ..failure
            }))
        }
    }
}

/// Why a refusal leaves it open whether the token was redeemed; `None` if it does not.
fn doubt(refusal: &Refusal, completeness: Completeness) -> Option<FailureKind> {
    match (refusal.evidence, refusal.status, completeness) {
        (Evidence::ErrorCode, ..) | (_, 300..=499 | 503 | 999, _) => None,
        (_, 500.., _) => Some(FailureKind::ServerError),
        (_, _, Completeness::TooLarge) => Some(FailureKind::TooLarge),
        (_, _, Completeness::CutOff | Completeness::TimedOut) => Some(FailureKind::Incomplete),
        (_, _, Completeness::Whole) => Some(FailureKind::Unreadable),
    }
}

fn unanswered(nothing: &NoResponse, endpoint: &Url, secrets: &SecretsInPlay) -> Unanswered {
    let failure = |kind| TransportFailure::new(kind, endpoint);
    let NoResponse { sent, reason } = nothing;
    let failure = match reason {
        Reason::Endpoint(rule) => failure(FailureKind::Endpoint).detail(secrets, rule),
        Reason::OffLimits => failure(FailureKind::BlockedAddress),
        Reason::Client(error) => failure(FailureKind::Client).detail(secrets, &error.to_string()),
        Reason::TimedOut if *sent == Sent::No => failure(FailureKind::ConnectTimeout),
        Reason::TimedOut => failure(FailureKind::Timeout),
        Reason::Failed(error) => {
            let (kind, words) = why(error, *sent);
            words
                .into_iter()
                .fold(failure(kind), |failure, words| failure.detail(secrets, &words))
        }
    };
    Unanswered { sent: *sent, failure }
}

/// What reqwest's chain of errors means, and the words of the innermost.
fn why(error: &reqwest::Error, sent: Sent) -> (FailureKind, Option<String>) {
    let kind = match (sent, error.is_timeout()) {
        (Sent::No, true) => FailureKind::ConnectTimeout,
        (Sent::No, false) => FailureKind::Connect,
        (Sent::Maybe, true) => FailureKind::Timeout,
        (Sent::Maybe, false) => FailureKind::Reset,
    };
    let mut innermost: &(dyn StdError + 'static) = error;
    while let Some(cause) = cause_of(innermost) {
        innermost = cause;
        if let Some(error) = innermost.downcast_ref::<ResolveError>() {
            return match error {
                ResolveError::Lookup(error) => (FailureKind::Dns, Some(error.to_string())),
                ResolveError::OffLimits => (FailureKind::BlockedAddress, None),
            };
        }
        if let Some(error) = innermost.downcast_ref::<rustls::Error>() {
            return (tls_kind(error, sent), Some(error.to_string()));
        }
    }
    (kind, Some(innermost.to_string()))
}

/// As [`StdError::source`], but an [`io::Error`] that wraps another error names that one, not its source.
fn cause_of<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

const fn tls_kind(error: &rustls::Error, sent: Sent) -> FailureKind {
    match (error, sent) {
        (_, Sent::Maybe) => FailureKind::Reset,
        (rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented, Sent::No) => {
            FailureKind::Certificate
        }
        (_, Sent::No) => FailureKind::Tls,
    }
}

#[cfg(test)]
mod tests;
