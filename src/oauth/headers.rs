//! What the headers of an answer say: when it was sent, how long to wait, and what to quote to support.

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

/// No server may silence us for longer.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(24);

/// Headers that hold an identifier of the request, best first. Microsoft sends the first.
const TRACE_HEADERS: [&str; 5] = [
    "x-ms-request-id",
    "x-request-id",
    "x-correlation-id",
    "request-id",
    "x-trace-id",
];

/// The `Date` header (RFC 9110 section 6.6.1).
pub(super) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    parse_date(headers.get(DATE)?.to_str().ok()?)
}

/// The `Retry-After` header, 0 s to 24 h, in both forms of RFC 9110 section 10.2.3. A date counts from the server's own `Date`,
/// so that a wrong clock on either side does not matter; without one, from `now`.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<SignedDuration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        value.parse().map_or(LONGEST_WAIT, SignedDuration::from_secs)
    } else {
        parse_date(value)?.duration_since(date(headers).unwrap_or(now))
    };
    Some(wait.clamp(SignedDuration::ZERO, LONGEST_WAIT))
}

/// An identifier of the request that a proxy or the server put into a header.
pub(super) fn trace_id(headers: &HeaderMap) -> Option<String> {
    TRACE_HEADERS
        .iter()
        .find_map(|name| clean_trace_id(headers.get(*name)?.to_str().ok()?))
}

/// The identifiers in a body: Microsoft's support wants all three that it has (learn.microsoft.com: v2-oauth2-auth-code-flow, error response).
pub(super) fn trace_of(fields: &Map<String, Value>) -> Option<String> {
    let text = |name: &str| fields.get(name)?.as_str();
    let trace = text("trace_id").and_then(clean_trace_id);
    let correlation = text("correlation_id").and_then(clean_trace_id);
    let time = text("timestamp").filter(|time| is_moment(time));
    let mut more = Vec::new();
    if trace.is_some() {
        more.extend(correlation.as_ref().map(|id| format!("correlation ID {id}")));
    }
    more.extend(time.map(str::to_owned));
    let id = trace.or(correlation)?;
    Some(if more.is_empty() {
        id
    } else {
        format!("{id} ({})", more.join(", "))
    })
}

/// Digits and what stands between them in a time.
fn is_moment(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_digit() || b"-:. TZ+".contains(&byte);
    !text.is_empty() && text.len() <= 40 && text.bytes().all(plain)
}

/// A trace id is short and has no surprises in it, or it is none.
pub(super) fn clean_trace_id(text: &str) -> Option<String> {
    let fits = !text.is_empty() && text.len() <= 128;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/=+".contains(&byte);
    (fits && text.bytes().all(plain)).then(|| text.to_owned())
}

/// All three forms of RFC 9110 section 5.6.7.
fn parse_date(text: &str) -> Option<Timestamp> {
    Timestamp::try_from(httpdate::parse_http_date(text.trim()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-25T12:00:00Z";

    #[rustfmt::skip]
    const RETRY_AFTERS: &[(&str, Option<&str>, Option<i64>)] = &[
        ("120",                            None,                                  Some(120)),
        (" 7 ",                            None,                                  Some(7)),
        ("0",                              None,                                  Some(0)),
        ("999999999999999999999999",       None,                                  Some(86_400)),
        ("90000",                          None,                                  Some(86_400)),
        ("Wed, 25 Nov 2026 12:01:30 GMT",  None,                                  Some(90)),
        ("Wed, 25 Nov 2026 12:01:30 GMT",  Some("Wed, 25 Nov 2026 12:01:00 GMT"), Some(30)),   // the server's clock counts
        ("Wednesday, 25-Nov-26 12:01:30 GMT", None,                               Some(90)),   // RFC 850
        ("Wed Nov 25 12:01:30 2026",       None,                                  Some(90)),   // asctime
        ("Wed, 25 Nov 2026 11:00:00 GMT",  None,                                  Some(0)),    // over already
        ("Tue, 25 Nov 2036 11:00:00 GMT",  None,                                  Some(86_400)),
        ("-5",                             None,                                  None),
        ("1.5",                            None,                                  None),
        ("soon",                           None,                                  None),
        ("",                               None,                                  None),
    ];

    #[test]
    fn retry_after_is_read_in_both_forms_and_bounded() {
        for (value, date, expected) in RETRY_AFTERS {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            if let Some(date) = date {
                headers.insert(DATE, date.parse().unwrap());
            }
            let found = retry_after(&headers, NOW.parse().unwrap());
            assert_eq!(
                found,
                expected.map(SignedDuration::from_secs),
                "{value:?} with date {date:?}"
            );
        }
    }

    #[test]
    fn a_trace_id_with_surprises_is_none() {
        assert_eq!(clean_trace_id("0ff1-ce"), Some("0ff1-ce".to_owned()));
        for bad in ["", "a b", "a\nb", "<b>", &"a".repeat(129)] {
            assert_eq!(clean_trace_id(bad), None, "{bad:?}");
        }
    }
}
