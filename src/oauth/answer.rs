//! Reading what a token endpoint answered.
//!
//! [`parse`] is the one place that turns status, headers and body into an [`Answer`] or a [`Refusal`]. It believes nothing:
//! every value is optional, may have the wrong type and may be absurd. The questions are asked in this order, so that no
//! temporary trouble ever looks like a dead grant:
//!
//! ```text
//! 429, 5xx, 408, 3xx ─> usable token in a 2xx ─> not a JSON object ─> `error`, at any status ─> no usable token
//! ```
//!
//! A token in a 2xx comes before a stray `error` next to it: throwing the answer away could lose a rotated token (invariant 1).

use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

pub use crate::outbound::SecretsInPlay;
use crate::outbound::words;

use super::classify::{Cause, Class, ErrorCode, Evidence, Refusal, by_form, by_status, by_unknown_error, plain_reason};
use super::errors::{Errors, Row, Said};
use super::headers;
use super::situation::{Dialect, Situation};
use crate::{api::Reason, lifecycle::Stated};

/// A description is cut to this many characters.
const DESCRIPTION_LIMIT: usize = 300;

/// A lifetime beyond this is no lifetime: some servers put a moment or milliseconds there.
const LONGEST_LIFETIME: SignedDuration = SignedDuration::from_hours(10 * 366 * 24);

/// What arrived from a token endpoint.
#[derive(Clone, Copy)]
pub struct Received<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body, as much as was read.
    pub body: &'a [u8],
    /// Whether that is all of it.
    pub completeness: Completeness,
    /// Our clock when it arrived.
    pub now: Timestamp,
}

/// Whether a body was read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    /// To the end.
    Whole,
    /// The connection broke.
    CutOff,
    /// The time limit was reached.
    TimedOut,
    /// The size limit was reached.
    TooLarge,
}

/// A token endpoint's yes (RFC 6749 section 5.1).
#[derive(Debug, Clone)]
pub struct Answer {
    /// The new access token: one or more visible ASCII characters.
    pub access_token: SecretString,
    /// A new refresh token, which replaces the one that was sent. `None` (also for an empty one): keep the old.
    pub refresh_token: Option<SecretString>,
    /// Who signed in, as a signed statement of the issuer (OpenID Connect Core section 3.1.3.3). Not checked: [`super::identity::prove`] does that. A secret,
    /// since it tells about a person.
    pub id_token: Option<SecretString>,
    /// How long the access token is valid, counted from when it was issued. `None`: not said, or not believable (0, negative, more than ten years).
    pub expires_in: Option<SignedDuration>,
    /// How long the refresh token lives that is in use from now on, where the server says so: Google's `refresh_token_expires_in`, Keycloak's `refresh_expires_in`.
    pub refresh_token_life: Option<Stated>,
    /// `Bearer` for all that mail servers take; `Bearer` too where the server does not say. See [`Answer::is_bearer`].
    pub token_type: String,
    /// What was granted. `None`: what was asked for. Servers may answer more, less, or the same under other names.
    pub scopes: Option<Vec<String>>,
    /// The server's clock when it answered.
    pub date: Option<Timestamp>,
}

impl Answer {
    /// Whether mail servers can take this token. Types are compared without regard to case (RFC 6749 section 5.1).
    #[must_use]
    pub fn is_bearer(&self) -> bool {
        self.token_type.eq_ignore_ascii_case("bearer")
    }
}

/// Reads an answer. `sent` holds the secrets of the request; neither they nor tokens in the body get into a [`Refusal`]. `situation` says what is known besides.
///
/// # Errors
/// A [`Refusal`] for everything that is not a usable token, with the class that tells what to do.
pub fn parse(received: &Received<'_>, sent: &SecretsInPlay, situation: &Situation) -> Result<Answer, Box<Refusal>> {
    let object = json_object(received.body);
    let issued = (200..300)
        .contains(&received.status)
        .then(|| object.as_ref().ok().and_then(access_token))
        .flatten();
    if let (Some(access_token), Ok(object)) = (issued, &object) {
        return Ok(answer(access_token, object, received, sent));
    }
    Err(Box::new(refusal(&object, received, sent, situation)))
}

/// What an answer says that is known to be no yes.
pub(super) fn refuse(received: &Received<'_>, sent: &SecretsInPlay, situation: &Situation) -> Refusal {
    refusal(&json_object(received.body), received, sent, situation)
}

/// What a body is that is no JSON object.
#[derive(Debug, Clone, Copy)]
pub(super) enum NoObject {
    Empty,
    Html,
    Other,
}

pub(super) fn json_object(body: &[u8]) -> Result<Map<String, Value>, NoObject> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        _ if body.is_empty() => Err(NoObject::Empty),
        _ if body.starts_with(b"<") => Err(NoObject::Html),
        _ => Err(NoObject::Other),
    }
}

/// The access token, if it is what RFC 6749 appendix A.12 allows. Anything else would break a SASL message or a header.
fn access_token(object: &Map<String, Value>) -> Option<SecretString> {
    let token = object.get("access_token")?.as_str()?;
    let usable = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    usable.then(|| SecretString::from(token))
}

/// An ID token if it looks like one: three parts of base64url (RFC 7515 section 3.1).
fn id_token(object: &Map<String, Value>) -> Option<SecretString> {
    let token = text(object, "id_token")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (!token.is_empty() && token.bytes().all(plain)).then(|| SecretString::from(token))
}

fn answer(
    access_token: SecretString,
    object: &Map<String, Value>,
    received: &Received<'_>,
    sent: &SecretsInPlay,
) -> Answer {
    let refresh_token = text(object, "refresh_token")
        .filter(|token| !token.is_empty())
        .map(SecretString::from);
    let secrets = sent.clone().with(access_token.expose_secret());
    let token_type = token_type(object, &secrets);
    let expires_in = expires_in(object);
    let scopes = scopes(object, &secrets);
    Answer {
        access_token,
        refresh_token,
        id_token: id_token(object),
        expires_in,
        refresh_token_life: refresh_token_life(object),
        token_type,
        scopes,
        date: headers::date(received.headers),
    }
}

/// The type if it can be shown, `unknown` if not.
fn token_type(object: &Map<String, Value>, secrets: &SecretsInPlay) -> String {
    let said = text(object, "token_type").unwrap_or_default();
    let plain = said.len() <= 32 && said.bytes().all(|byte| byte.is_ascii_graphic());
    match said {
        "" => "Bearer".to_owned(),
        said if plain && !secrets.leak_plainly_into(said) => said.to_owned(),
        _ => "unknown".to_owned(),
    }
}

/// A text among the members.
pub(super) fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}

/// Seconds as a number, as a number with a fraction, or as text of either. Old Zoho sends seconds in `expires_in_sec` and then
/// milliseconds in `expires_in`; other old servers say `expires`.
pub(super) fn expires_in(object: &Map<String, Value>) -> Option<SignedDuration> {
    let value = ["expires_in_sec", "expires_in", "expires"]
        .into_iter()
        .find_map(|name| object.get(name));
    let lifetime = seconds(value)?;
    (lifetime > SignedDuration::ZERO && lifetime <= LONGEST_LIFETIME).then_some(lifetime)
}

/// Keycloak says 0 where a refresh token has no end. Elsewhere that means nothing, and neither does what is no length.
fn refresh_token_life(object: &Map<String, Value>) -> Option<Stated> {
    let stated = |name: &str| Some((name == "refresh_expires_in", seconds(object.get(name))?));
    let (of_keycloak, life) = stated("refresh_token_expires_in").or_else(|| stated("refresh_expires_in"))?;
    if life == SignedDuration::ZERO && of_keycloak {
        return Some(Stated::Never);
    }
    (life > SignedDuration::ZERO && life <= LONGEST_LIFETIME).then_some(Stated::In(life))
}

/// Whole seconds, as a number or as text.
pub(super) fn seconds(value: Option<&Value>) -> Option<SignedDuration> {
    let seconds: f64 = match value? {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    SignedDuration::try_from_secs_f64(seconds.floor()).ok()
}

/// Scopes as text (RFC 6749 section 3.3), from some servers with commas, or as a list. What is no scope token by the RFC, too long or
/// repeats a secret is left out: scopes go to status.
fn scopes(object: &Map<String, Value>, secrets: &SecretsInPlay) -> Option<Vec<String>> {
    let words: Vec<&str> = match object.get("scope")? {
        Value::String(text) => text
            .split(|letter: char| letter.is_ascii_whitespace() || letter == ',')
            .collect(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    let fits = |word: &&str| !word.is_empty() && word.len() <= 256 && word.bytes().all(plain);
    let scopes: Vec<String> = words
        .into_iter()
        .filter(fits)
        .filter(|word| !secrets.leak_plainly_into(word))
        .take(64)
        .map(str::to_owned)
        .collect();
    (!scopes.is_empty()).then_some(scopes)
}

fn refusal(
    object: &Result<Map<String, Value>, NoObject>,
    received: &Received<'_>,
    sent: &SecretsInPlay,
    situation: &Situation,
) -> Refusal {
    let nothing = Map::new();
    let fields = object.as_ref().unwrap_or(&nothing);
    let secrets = secrets_of(fields, sent);
    let named = named_error(fields);
    let status = received.status;
    let errors = Errors::built_in();
    let prefix = errors.code_prefix(situation.dialect);
    let words = named.as_ref().and_then(|error| error.description.as_deref());
    let codes = numbers(fields, words.unwrap_or_default(), prefix);
    let subtype = subtype(fields);
    let row = errors.find(
        &Said {
            status,
            error: named.as_ref().map_or_else(|| form(object), |error| &error.code),
            subtype,
            codes: &codes,
            words: &words.unwrap_or_default().to_lowercase(),
        },
        situation,
    );
    let cause = body_cause(object.is_ok(), received.completeness);
    let verdict = judge(status, row, named.is_some(), cause, situation.dialect);
    let evidence = match &named {
        Some(_) if status < 500 || row.is_some() => Evidence::ErrorCode,
        _ => Evidence::Status,
    };
    let shown = |text: &str| {
        // As much as is shown is looked through: a code may be as long as the body.
        let text: String = text.trim().chars().take(ErrorCode::LIMIT).collect();
        Some(ErrorCode::new(&text)).filter(|_| !text.is_empty() && !secrets.leak_into(&text))
    };
    let words = words.map(|words| without_trailer(words, errors.trailer(situation.dialect)));
    Refusal {
        class: verdict.class,
        cause: verdict.cause,
        reason: verdict.reason,
        row: verdict.row,
        code: named
            .as_ref()
            .and_then(|error| shown(&error.code))
            .unwrap_or_else(|| own_code(evidence, status, verdict.cause, object)),
        detail: detail(row, &codes, prefix)
            .and_then(|number| shown(&number))
            .or_else(|| shown(subtype)),
        description: words.and_then(quotable).filter(|text| !secrets.leak_into(text)),
        status,
        retry_after: headers::retry_after(received.headers, received.now).max(verdict.wait),
        trace_id: headers::trace_of(fields)
            .or_else(|| headers::trace_id(received.headers))
            .filter(|id| !secrets.leak_into(id)),
        evidence,
        clock_ahead: headers::date(received.headers).map(|date| received.now.duration_since(date)),
    }
}

/// What a refusal means.
struct Verdict {
    class: Class,
    cause: Cause,
    reason: Reason,
    wait: Option<SignedDuration>,
    row: Option<&'static Row>,
}

/// The questions in their order: a status that speaks for itself, an error that is known, an error that is not, a body without an error.
fn judge(status: u16, row: Option<&'static Row>, is_named: bool, body: Cause, dialect: Dialect) -> Verdict {
    let errors = Errors::built_in();
    let (class, cause) = match (by_status(status), row) {
        (Some(plain), _) => plain,
        (None, Some(row)) => {
            return Verdict {
                class: row.class,
                cause: row.cause(errors),
                reason: row.reason(),
                wait: row.wait,
                row: Some(row),
            };
        }
        (None, None) if is_named => by_unknown_error(status),
        (None, None) => by_form(status, body),
    };
    Verdict {
        class,
        cause,
        reason: plain_reason(class, cause),
        wait: errors.throttle_wait(dialect).filter(|_| class == Class::Throttled),
        // What is known about the error fits what the status says, or is left out.
        row: row.filter(|row| row.class == class),
    }
}

/// Numbers that servers give besides the `error`: Microsoft's `error_codes`, Mail.ru's `error_code`, and those that follow the prefix in the words. At most eight.
fn numbers(fields: &Map<String, Value>, words: &str, prefix: Option<&str>) -> Vec<u32> {
    let listed = fields.get("error_codes").and_then(Value::as_array);
    let listed = listed.into_iter().flatten().chain(fields.get("error_code"));
    let listed = listed.filter_map(|code| match code {
        Value::Number(code) => code.as_u64().and_then(|code| u32::try_from(code).ok()),
        Value::String(code) => code.parse().ok(),
        _ => None,
    });
    let spoken = prefix.into_iter().flat_map(|prefix| words.split(prefix).skip(1));
    let spoken = spoken.filter_map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).take(10).collect();
        digits.parse().ok()
    });
    let mut codes = Vec::new();
    for code in listed.chain(spoken) {
        if codes.len() < 8 && !codes.contains(&code) {
            codes.push(code);
        }
    }
    codes
}

/// Google's `error_subtype`, Microsoft's `suberror`.
fn subtype(fields: &Map<String, Value>) -> &str {
    ["error_subtype", "suberror"]
        .iter()
        .find_map(|name| text(fields, name))
        .unwrap_or_default()
}

/// The number that counts, as people look it up.
fn detail(row: Option<&Row>, codes: &[u32], prefix: Option<&str>) -> Option<String> {
    let telling = codes.iter().find(|code| row.is_some_and(|row| row.has_code(**code)));
    let code = telling.or_else(|| codes.first())?;
    Some(prefix.map_or_else(|| format!("error_code {code}"), |prefix| format!("{prefix}{code}")))
}

/// Words for people, without what is for the provider's support.
fn without_trailer<'a>(words: &'a str, trailer: Option<&str>) -> &'a str {
    trailer
        .and_then(|trailer| words.split_once(trailer))
        .map_or(words, |(words, _)| words)
}

/// What rows call a body that names no error.
const fn form(object: &Result<Map<String, Value>, NoObject>) -> &'static str {
    match object {
        Ok(_) => "no_access_token",
        Err(NoObject::Empty) => "empty",
        Err(NoObject::Html) => "html",
        Err(NoObject::Other) => "not_json",
    }
}

/// Tokens in the body are as secret as those that we sent.
fn secrets_of(fields: &Map<String, Value>, sent: &SecretsInPlay) -> SecretsInPlay {
    ["access_token", "refresh_token", "id_token"]
        .iter()
        .filter_map(|name| text(fields, name))
        .fold(sent.clone(), SecretsInPlay::with)
}

fn body_cause(is_object: bool, completeness: Completeness) -> Cause {
    match completeness {
        Completeness::TooLarge => Cause::TooLarge,
        Completeness::CutOff | Completeness::TimedOut => Cause::Incomplete,
        Completeness::Whole if is_object => Cause::NoAccessToken,
        Completeness::Whole => Cause::NotJson,
    }
}

fn own_code(evidence: Evidence, status: u16, cause: Cause, object: &Result<Map<String, Value>, NoObject>) -> ErrorCode {
    match (evidence, cause, object) {
        (Evidence::Status, Cause::NotJson, Err(NoObject::Empty)) => ErrorCode::new("empty"),
        (Evidence::Status, Cause::NotJson, Err(NoObject::Html)) => ErrorCode::new("html"),
        (Evidence::Status, Cause::NotJson | Cause::NoAccessToken | Cause::TooLarge | Cause::Incomplete, _) => {
            ErrorCode::new(cause.as_str())
        }
        _ => ErrorCode::new(&format!("http_{status}")),
    }
}

/// Whether a body names an error, whatever the status says.
pub(super) fn names_error(body: &[u8]) -> bool {
    json_object(body).is_ok_and(|fields| named_error(&fields).is_some())
}

/// An error as the server named it, not yet bounded.
struct NamedError {
    code: String,
    description: Option<String>,
}

/// `error` as text (RFC 6749 section 5.2; `error_code` at Google's device endpoint), or as the object that API gateways send. Null, false, 0 and empty text name nothing.
fn named_error(fields: &Map<String, Value>) -> Option<NamedError> {
    let outside = || {
        text(fields, "error_description")
            .or_else(|| text(fields, "message"))
            .map(str::to_owned)
    };
    match fields.get("error").or_else(|| fields.get("error_code"))? {
        Value::String(code) if !code.trim().is_empty() => Some(NamedError {
            code: code.clone(),
            description: outside(),
        }),
        Value::Object(error) if !error.is_empty() => {
            let code = ["status", "code", "type", "error"]
                .iter()
                .find_map(|name| text(error, name));
            let description = text(error, "message")
                .or_else(|| text(error, "error_description"))
                .map(str::to_owned);
            Some(NamedError {
                code: code.unwrap_or("error").to_owned(),
                description: description.or_else(outside),
            })
        }
        _ => None,
    }
}

/// A description as it can be shown.
pub(super) fn quotable(description: &str) -> Option<String> {
    words::quotable(description, DESCRIPTION_LIMIT)
}

#[cfg(test)]
pub(crate) mod tests;
