//! Sign-in with a code on any device (RFC 8628): asking for a code, and asking once whether the person is done.
//!
//! [`TokenClient::poll_device`] asks once and never waits: interval, `slow_down` and the end of the code are the caller's, who keeps them across restarts.

use jiff::SignedDuration;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::Url;

use super::answer::{self, Answer, Completeness, SecretsInPlay};
use super::classify::{Cause, Class, Evidence, Refusal};
use super::redeem::{self, FailureKind, Outcome, TokenClient, TransportFailure};
use super::request::{self, ClientCredentials};
use super::situation::Situation;
use super::transport::Response;
use crate::outbound::CaBundle;

/// All that asking for a code needs. The caller has checked that the credentials may go to this host (invariant 11).
#[derive(Debug, Clone)]
pub struct DeviceRequest {
    /// The device authorization endpoint. `https`, without user and password in it.
    pub device_authorization_endpoint: Url,
    /// Who we are.
    pub client: ClientCredentials,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// Trusted for this exchange, on top of the platform's authorities.
    pub certificate_authority: Option<CaBundle>,
}

/// What the person needs, and what we need to ask for the token (RFC 8628 section 3.2).
#[derive(Debug, Clone)]
pub struct DeviceAuthorization {
    /// What the token is asked for with. A secret: who has it gets the token.
    pub device_code: SecretString,
    /// What the person types: 1 to 64 visible ASCII characters and spaces.
    pub user_code: String,
    /// Where the person types it: `https`, at most 2048 characters.
    pub verification_url: Url,
    /// The same with the code in it, for a link or a QR code, where the server offers that.
    pub verification_url_complete: Option<Url>,
    /// How long the code is good from now: 1 s to 1 h.
    pub expires_in: SignedDuration,
    /// The shortest time between two questions: 1 s to 5 min.
    pub interval: SignedDuration,
}

/// Why there is no code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceFailure {
    /// The server decided against it.
    #[error("the server refused to give a sign-in code: {}", .0.code)]
    Refused(Refusal),
    /// The server could not be asked or did not answer. Asking again is safe: a code that nobody saw just ends.
    #[error("no sign-in code: {0}")]
    Unreachable(TransportFailure),
    /// The server said yes, and something in its answer cannot be used.
    #[error("{host} gave a sign-in code that cannot be used: {problem}")]
    Unusable {
        /// The host of the device authorization endpoint.
        host: String,
        /// What is wrong.
        problem: &'static str,
    },
}

/// All that one question for the token needs.
#[derive(Debug, Clone)]
pub struct DevicePoll {
    /// The token endpoint.
    pub token_endpoint: Url,
    /// Who we are: as when the code was asked for.
    pub client: ClientCredentials,
    /// The device code.
    pub device_code: SecretString,
    /// Trusted for this exchange, on top of the platform's authorities.
    pub certificate_authority: Option<CaBundle>,
}

/// What came of one question (RFC 8628 section 3.5).
#[derive(Debug, Clone)]
#[must_use = "an answer may hold the only copy of a refresh token"]
pub enum DevicePolled {
    /// The person has signed in. If the answer holds a refresh token, that exists nowhere else until it is stored (invariant 1).
    Answered(Answer),
    /// The person has not finished. Ask again after the interval.
    Pending,
    /// Too many questions. Ask again after the interval, which is 5 seconds longer from now on.
    SlowDown,
    /// The person said no.
    Declined,
    /// The code has ended.
    Expired,
    /// The server decided against it for another reason. Asking again is no use.
    Refused(Refusal),
    /// The question has not left: asking again is safe.
    NotSent(TransportFailure),
    /// There is no readable answer. Ask again: if the server had issued a token, the code is dead and the next answer says so.
    Unknown(TransportFailure),
}

/// Where the answer does not say for how long the code is good, although it must.
const USUAL_LIFETIME: SignedDuration = SignedDuration::from_mins(10);
/// Nobody types a code later than that; servers say 10 to 30 minutes.
const LONGEST_LIFETIME: SignedDuration = SignedDuration::from_hours(1);
/// Where the answer does not say (RFC 8628 section 3.2).
const USUAL_INTERVAL: SignedDuration = SignedDuration::from_secs(5);
const SHORTEST_INTERVAL: SignedDuration = SignedDuration::from_secs(1);
const LONGEST_INTERVAL: SignedDuration = SignedDuration::from_mins(5);
const LONGEST_DEVICE_CODE: usize = 8 * 1024;
const LONGEST_USER_CODE: usize = 64;
const LONGEST_URL: usize = 2048;

impl TokenClient {
    /// Asks for a code once.
    ///
    /// # Errors
    /// [`DeviceFailure`].
    pub async fn begin_device(
        &self,
        request: &DeviceRequest,
        situation: &Situation,
    ) -> Result<DeviceAuthorization, DeviceFailure> {
        let endpoint = &request.device_authorization_endpoint;
        let written = request::write_device_start(request);
        let secrets = request::hide_assertions(&written, request.client.hide_in(SecretsInPlay::default()));
        let authority = request.certificate_authority.as_ref();
        let response = self
            .ask(endpoint, written, &secrets, authority)
            .await
            .map_err(|unanswered| DeviceFailure::Unreachable(unanswered.failure))?;
        if let Some(given) = device_code(&response) {
            return authorization(&given).map_err(|problem| DeviceFailure::Unusable {
                host: endpoint.host_str().unwrap_or_default().chars().take(253).collect(),
                problem,
            });
        }
        Err(match redeem::decided(&response, endpoint, &secrets, situation) {
            Ok(refusal) => DeviceFailure::Refused(refusal),
            Err(doubt) => DeviceFailure::Unreachable(*doubt),
        })
    }

    /// Asks once whether the person has signed in. Dropping the future after the request was sent loses an answer: run it where nothing cancels it.
    pub async fn poll_device(&self, poll: &DevicePoll, situation: &Situation) -> DevicePolled {
        let secrets = SecretsInPlay::default().with(poll.device_code.expose_secret());
        let written = request::write_device_poll(poll);
        let secrets = request::hide_assertions(&written, poll.client.hide_in(secrets));
        let authority = poll.certificate_authority.as_ref();
        match self
            .ask_for_token(&poll.token_endpoint, written, &secrets, authority, situation)
            .await
        {
            Outcome::Answered(answer) => DevicePolled::Answered(answer),
            Outcome::NotSent(failure) => DevicePolled::NotSent(failure),
            Outcome::Unknown(failure) => DevicePolled::Unknown(failure),
            Outcome::Refused(refusal) => not_yet(refusal, &poll.token_endpoint),
        }
    }
}

/// The codes of RFC 8628 section 3.5 and Microsoft's `authorization_declined`. Neither a 403 without a code nor a policy is a "no" of the person. Trouble that passes does not end a
/// sign-in: a 429 means "less often", and a 503 that nothing was said.
fn not_yet(refusal: Refusal, endpoint: &Url) -> DevicePolled {
    match (refusal.evidence, refusal.cause, refusal.class) {
        (Evidence::ErrorCode, Cause::AuthorizationPending, _) => DevicePolled::Pending,
        (Evidence::ErrorCode, Cause::AccessDenied, Class::Reauthorize) => DevicePolled::Declined,
        (Evidence::ErrorCode, Cause::ExpiredCode, _) => DevicePolled::Expired,
        (_, _, Class::Throttled) => DevicePolled::SlowDown,
        (_, _, Class::Retry) => DevicePolled::Unknown(TransportFailure {
            answer: Some(refusal),
            ..TransportFailure::new(FailureKind::ServerError, endpoint)
        }),
        _ => DevicePolled::Refused(refusal),
    }
}

/// The answer, if it is a yes with a device code in it.
fn device_code(response: &Response) -> Option<Map<String, Value>> {
    let yes = (200..300).contains(&response.status) && response.completeness == Completeness::Whole;
    let object = answer::json_object(&response.body).ok().filter(|_| yes)?;
    object.contains_key("device_code").then_some(object)
}

fn authorization(given: &Map<String, Value>) -> Result<DeviceAuthorization, &'static str> {
    let device_code = answer::text(given, "device_code").unwrap_or_default();
    if device_code.is_empty()
        || device_code.len() > LONGEST_DEVICE_CODE
        || !device_code.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Err("the device code is empty, too long or not printable");
    }
    let secrets = SecretsInPlay::default().with(device_code);
    let user_code = answer::text(given, "user_code").unwrap_or_default().trim();
    let plain = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    if user_code.is_empty() || user_code.len() > LONGEST_USER_CODE || !user_code.bytes().all(plain) {
        return Err("the code for the person is missing, longer than 64 characters or not printable");
    }
    if secrets.leak_plainly_into(user_code) {
        return Err("the code for the person is the device code, which is a secret");
    }
    // Google says `url`.
    let verification_url = ["verification_uri", "verification_url"]
        .iter()
        .find_map(|name| page(answer::text(given, name)?))
        .ok_or("the address of the page is missing, or is no plain https URL of at most 2048 characters")?;
    let verification_url_complete = ["verification_uri_complete", "verification_url_complete"]
        .iter()
        .find_map(|name| page(answer::text(given, name)?))
        .filter(|url| !secrets.leak_plainly_into(url.as_str()));
    Ok(DeviceAuthorization {
        device_code: SecretString::from(device_code),
        user_code: user_code.to_owned(),
        verification_url,
        verification_url_complete,
        expires_in: answer::expires_in(given).map_or(USUAL_LIFETIME, |lifetime| lifetime.min(LONGEST_LIFETIME)),
        interval: answer::seconds(given.get("interval")).map_or(USUAL_INTERVAL, |interval| {
            interval.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL)
        }),
    })
}

/// A page that a person may be sent to.
fn page(text: &str) -> Option<Url> {
    let plain = text.len() <= LONGEST_URL && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let url = Url::parse(text).ok().filter(|_| plain)?;
    let plain =
        url.scheme() == "https" && url.host_str().is_some() && url.username().is_empty() && url.password().is_none();
    plain.then_some(url)
}

#[cfg(test)]
mod tests;
