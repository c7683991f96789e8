use http::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use proptest::prelude::*;

use super::super::classify::{Cause, Class};
use super::super::situation::Circumstance;
use super::*;

const OK: Expected = Expected::Token(Some(3600));

enum Expected {
    /// An answer with this lifetime in seconds.
    Token(Option<i64>),
    Refusal(Class, Cause, &'static str),
}

fn parse_body(status: u16, body: &[u8]) -> Result<Answer, Box<Refusal>> {
    parse_with(status, &HeaderMap::new(), body, &SecretsInPlay::default())
}

fn parse_with(status: u16, headers: &HeaderMap, body: &[u8], sent: &SecretsInPlay) -> Result<Answer, Box<Refusal>> {
    let now = "2026-11-25T12:00:00Z".parse().unwrap();
    parse(
        &Received {
            status,
            headers,
            body,
            completeness: Completeness::Whole,
            now,
        },
        sent,
        &Situation::default(),
    )
}

/// What this answer means in this dialect.
pub(crate) fn refused_at(dialect: Dialect, status: u16, body: &[u8]) -> Refusal {
    let headers = HeaderMap::new();
    let received = Received {
        status,
        headers: &headers,
        body,
        completeness: Completeness::Whole,
        now: "2026-11-25T12:00:00Z".parse().unwrap(),
    };
    *parse(&received, &SecretsInPlay::default(), &Situation::speaking(dialect)).unwrap_err()
}

/// The row that this answer meets.
pub(crate) fn row_of(dialect: Dialect, status: u16, body: &str, when: &[Circumstance]) -> Option<&'static Row> {
    let situation = Situation {
        dialect,
        circumstances: when.to_vec(),
    };
    let headers = HeaderMap::new();
    let received = Received {
        status,
        headers: &headers,
        body: body.as_bytes(),
        completeness: Completeness::Whole,
        now: "2026-11-25T12:00:00Z".parse().unwrap(),
    };
    parse(&received, &SecretsInPlay::default(), &situation).err()?.row
}

fn refused(status: u16, body: &str) -> Refusal {
    *parse_body(status, body.as_bytes()).unwrap_err()
}

#[rustfmt::skip]
const ANSWERS: &[(u16, &str, Expected)] = {
    use Cause as C;
    use Class::{AdminConfig, Bug, Reauthorize, Retry, Throttled};
    use Expected::{Refusal, Token};
    &[
        // Success and the life of a token.
        (200, r#"{"access_token":"at","token_type":"Bearer","expires_in":3600}"#,   OK),
        (200, r#"{"access_token":"at","token_type":"bearer","expires_in":"3600"}"#, OK),
        (200, r#"{"access_token":"at","expires_in":" 3600 "}"#,                     OK),
        (200, r#"{"access_token":"at","expires_in":3600.9}"#,                       OK),
        (200, r#"{"access_token":"at","expires_in":"3600.5"}"#,                     OK),
        (200, r#"{"access_token":"at","expires_in_sec":3600,"expires_in":3600000}"#, OK),   // old Zoho
        (200, r#"{"access_token":"at","expires":3600}"#,                            OK),
        (201, r#"{"access_token":"at","expires_in":3600}"#,                         OK),
        (200, "\u{feff} {\"access_token\":\"at\",\"expires_in\":3600}\r\n",         OK),    // byte order mark
        (200, r#"{"access_token":"at","expires_in":3600,"error":null}"#,            OK),
        (200, r#"{"access_token":"at","expires_in":3600,"error":"","error_description":""}"#, OK),
        (200, r#"{"access_token":"at","expires_in":3600,"error":"odd"}"#,           OK),    // a token outranks a stray error
        (200, r#"{"access_token":"at"}"#,                                           Token(None)),
        (200, r#"{"access_token":"at","expires_in":null}"#,                         Token(None)),
        (200, r#"{"access_token":"at","expires_in":0}"#,                            Token(None)),
        (200, r#"{"access_token":"at","expires_in":-5}"#,                           Token(None)),
        (200, r#"{"access_token":"at","expires_in":0.5}"#,                          Token(None)),
        (200, r#"{"access_token":"at","expires_in":1e300}"#,                        Token(None)),
        (200, r#"{"access_token":"at","expires_in":1795608000}"#,                   Token(None)),   // a moment, not a lifetime
        (200, r#"{"access_token":"at","expires_in":"soon"}"#,                       Token(None)),
        (200, r#"{"access_token":"at","expires_in":"NaN"}"#,                        Token(None)),
        (200, r#"{"access_token":"at","expires_in":"inf"}"#,                        Token(None)),
        (200, r#"{"access_token":"at","expires_in":[3600]}"#,                       Token(None)),

        // A 2xx without a usable token.
        (200, "",                                             Refusal(Retry, C::NotJson, "empty")),
        (204, "",                                             Refusal(Retry, C::NotJson, "empty")),
        (200, "<!doctype html><p>Welcome to the hotel Wi-Fi", Refusal(Retry, C::NotJson, "html")),
        (200, "access_token=at&token_type=bearer",            Refusal(Retry, C::NotJson, "not_json")),
        (200, r#"["access_token","at"]"#,                     Refusal(Retry, C::NotJson, "not_json")),
        (200, r#""at""#,                                      Refusal(Retry, C::NotJson, "not_json")),
        (200, "null",                                         Refusal(Retry, C::NotJson, "not_json")),
        (200, r#"{"access_token":"at""#,                      Refusal(Retry, C::NotJson, "not_json")),
        (200, r#"{"access_token":"at"} trailing"#,            Refusal(Retry, C::NotJson, "not_json")),
        (200, "{}",                                           Refusal(Retry, C::NoAccessToken, "no_access_token")),
        (200, r#"{"access_token":null}"#,                     Refusal(Retry, C::NoAccessToken, "no_access_token")),
        (200, r#"{"access_token":""}"#,                       Refusal(Retry, C::NoAccessToken, "no_access_token")),
        (200, r#"{"access_token":42}"#,                       Refusal(Retry, C::NoAccessToken, "no_access_token")),
        (200, r#"{"access_token":"a\u0001b"}"#,               Refusal(Retry, C::NoAccessToken, "no_access_token")),   // would break SASL
        (200, r#"{"access_token":"a\r\nb"}"#,                 Refusal(Retry, C::NoAccessToken, "no_access_token")),
        (200, r#"{"status":"failure"}"#,                      Refusal(Retry, C::NoAccessToken, "no_access_token")),   // Zoho

        // RFC 6749 section 5.2, OpenID Connect, RFC 8628, at the statuses that were seen.
        (400, r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#, Refusal(Reauthorize, C::InvalidGrant, "invalid_grant")),
        (401, r#"{"error":"invalid_grant"}"#,                 Refusal(Reauthorize, C::InvalidGrant, "invalid_grant")),
        (200, r#"{"error":"invalid_grant"}"#,                 Refusal(Reauthorize, C::InvalidGrant, "invalid_grant")),
        (400, r#"{"error":"INVALID_GRANT"}"#,                 Refusal(Reauthorize, C::InvalidGrant, "INVALID_GRANT")),
        (400, r#"{"error":"invalid_client"}"#,                Refusal(AdminConfig, C::InvalidClient, "invalid_client")),
        (401, r#"{"error":"invalid_client"}"#,                Refusal(AdminConfig, C::InvalidClient, "invalid_client")),
        (200, r#"{"error":"invalid_client"}"#,                Refusal(AdminConfig, C::InvalidClient, "invalid_client")),   // Zoho
        (401, r#"{"error":"unauthorized_client","error_description":"Unauthorized"}"#, Refusal(AdminConfig, C::UnauthorizedClient, "unauthorized_client")),
        (400, r#"{"error":"invalid_request"}"#,               Refusal(Bug, C::InvalidRequest, "invalid_request")),
        (400, r#"{"error":"invalid_scope"}"#,                 Refusal(AdminConfig, C::InvalidScope, "invalid_scope")),
        (400, r#"{"error":"unsupported_grant_type"}"#,        Refusal(AdminConfig, C::UnsupportedGrantType, "unsupported_grant_type")),
        (400, r#"{"error":"invalid_target"}"#,                Refusal(AdminConfig, C::InvalidTarget, "invalid_target")),
        (403, r#"{"error":"access_denied"}"#,                 Refusal(Reauthorize, C::AccessDenied, "access_denied")),
        (400, r#"{"error":"interaction_required"}"#,          Refusal(Reauthorize, C::InteractionRequired, "interaction_required")),
        (400, r#"{"error":"consent_required"}"#,              Refusal(Reauthorize, C::InteractionRequired, "consent_required")),
        (400, r#"{"error":"temporarily_unavailable"}"#,       Refusal(Retry, C::ServerError, "temporarily_unavailable")),
        (400, r#"{"error":"slow_down"}"#,                     Refusal(Throttled, C::RateLimited, "slow_down")),
        (400, r#"{"error":"use_dpop_nonce"}"#,                Refusal(AdminConfig, C::DpopRequired, "use_dpop_nonce")),

        // Zoho's throttle is no access_denied, and an unknown `Access Denied` wakes nobody either.
        (400, r#"{"error":"Access Denied","error_description":"You have made too many requests continuously. Please try again after some time.","status":"failure"}"#, Refusal(Throttled, C::RateLimited, "Access Denied")),
        (400, r#"{"error":"Access Denied"}"#,                 Refusal(AdminConfig, C::Other, "Access Denied")),

        // Unknown codes, and errors that are not text.
        (400, r#"{"error":"blue_moon"}"#,                     Refusal(AdminConfig, C::Other, "blue_moon")),
        (200, r#"{"error":"blue_moon"}"#,                     Refusal(AdminConfig, C::Other, "blue_moon")),
        (500, r#"{"error":"blue_moon"}"#,                     Refusal(Retry, C::ServerError, "blue_moon")),
        (404, r#"{"error":"Realm does not exist"}"#,          Refusal(AdminConfig, C::NotFound, "Realm does not exist")),   // Keycloak
        (403, r#"{"error":{"code":403,"message":"Disabled.","status":"PERMISSION_DENIED"}}"#, Refusal(AdminConfig, C::Other, "PERMISSION_DENIED")),
        (400, r#"{"error":{"code":7}}"#,                      Refusal(AdminConfig, C::Other, "error")),
        (400, r#"{"error":["invalid_grant"]}"#,               Refusal(Retry, C::NoAccessToken, "no_access_token")),
        (400, r#"{"error":"bad\u0000code\n"}"#,               Refusal(AdminConfig, C::Other, "bad_code")),
        (400, r#"{"access_token":"at"}"#,                     Refusal(Retry, C::NoAccessToken, "no_access_token")),   // only a 2xx issues

        // HTTP level: temporary trouble is seen before the body is believed.
        (429, r#"{"error":"invalid_grant"}"#,                 Refusal(Throttled, C::RateLimited, "invalid_grant")),
        (429, "",                                             Refusal(Throttled, C::RateLimited, "http_429")),
        (999, "<html>Request denied</html>",                  Refusal(Throttled, C::RateLimited, "http_999")),   // Yahoo
        (500, r#"{"error":"server_error"}"#,                  Refusal(Retry, C::ServerError, "server_error")),
        (503, r#"{"error":"invalid_grant"}"#,                 Refusal(Retry, C::ServerError, "invalid_grant")),
        (502, "<html>Bad Gateway</html>",                     Refusal(Retry, C::ServerError, "http_502")),
        (503, "",                                             Refusal(Retry, C::ServerError, "http_503")),
        (408, "",                                             Refusal(Retry, C::ServerError, "http_408")),
        (425, "",                                             Refusal(Retry, C::ServerError, "http_425")),
        (302, "",                                             Refusal(AdminConfig, C::Redirect, "http_302")),
        (307, r#"{"error":"invalid_grant"}"#,                 Refusal(AdminConfig, C::Redirect, "invalid_grant")),
        (404, "<html>not here</html>",                        Refusal(AdminConfig, C::NotFound, "http_404")),
        (405, "",                                             Refusal(AdminConfig, C::NotFound, "http_405")),
        (403, "<html>go away</html>",                         Refusal(AdminConfig, C::AccessDenied, "http_403")),
        (400, "<html>Error processing OAuth 2 request</html>", Refusal(Retry, C::NotJson, "html")),   // Google
        (401, "",                                             Refusal(Retry, C::NotJson, "empty")),
        (418, "teapot",                                       Refusal(AdminConfig, C::NotJson, "not_json")),
    ]
};

#[test]
fn every_answer_has_its_class_cause_and_code() {
    for (status, body, expected) in ANSWERS {
        let found = parse_body(*status, body.as_bytes());
        match (expected, found) {
            (Expected::Token(lifetime), Ok(answer)) => {
                assert_eq!(
                    answer.expires_in,
                    lifetime.map(SignedDuration::from_secs),
                    "{status} {body}"
                );
                assert_eq!(answer.access_token.expose_secret(), "at", "{status} {body}");
                assert!(answer.is_bearer(), "{status} {body}");
            }
            (Expected::Refusal(class, cause, code), Err(refusal)) => {
                let found = (refusal.class, refusal.cause, refusal.code.as_str());
                assert_eq!(found, (*class, *cause, *code), "{status} {body}");
                assert_eq!(refusal.status, *status);
            }
            (_, found) => panic!("{status} {body}: {found:?}"),
        }
    }
}

#[test]
fn no_status_and_no_unknown_code_asks_a_person_to_sign_in() {
    for status in 100..1000 {
        for body in [
            "",
            "<html>",
            "{}",
            "[]",
            r#"{"error":"never_seen"}"#,
            r#"{"error":"Access Denied"}"#,
        ] {
            if let Err(refusal) = parse_body(status, body.as_bytes()) {
                assert_ne!(refusal.class, Class::Reauthorize, "{status} {body}");
            }
        }
    }
}

#[test]
fn json_nested_without_end_is_not_json() {
    for bomb in [
        "[".repeat(200_000),
        r#"{"access_token":"#.repeat(10_000),
        format!("{{\"a\":{}", "[".repeat(100_000)),
    ] {
        assert_eq!(refused(200, &bomb).cause, Cause::NotJson);
    }
}

#[test]
fn bytes_that_are_no_text_are_not_json() {
    assert_eq!(
        parse_body(200, b"{\"access_token\":\"\xff\xfe\"}").unwrap_err().cause,
        Cause::NotJson
    );
}

#[test]
fn an_empty_refresh_token_means_keep_the_old_one() {
    let refresh_token = |value: &str| {
        let body = format!(r#"{{"access_token":"at","refresh_token":{value}}}"#);
        parse_body(200, body.as_bytes())
            .unwrap()
            .refresh_token
            .map(|token| token.expose_secret().to_owned())
    };
    assert_eq!(refresh_token(r#""""#), None);
    assert_eq!(refresh_token("null"), None);
    assert_eq!(refresh_token("7"), None);
    assert_eq!(refresh_token(r#""1//rt+/=""#), Some("1//rt+/=".to_owned()));
}

#[test]
fn a_token_type_that_mail_servers_do_not_take_is_visible() {
    let body = r#"{"access_token":"at","token_type":"DPoP","refresh_token":"rotated"}"#;
    let answer = parse_body(200, body.as_bytes()).unwrap();
    assert!(!answer.is_bearer());
    assert!(
        answer.refresh_token.is_some(),
        "the rotated refresh token must not be lost"
    );
}

#[test]
fn scopes_are_read_as_text_and_as_a_list() {
    let scopes = |value: &str| {
        let body = format!(r#"{{"access_token":"at","scope":{value}}}"#);
        parse_body(200, body.as_bytes()).unwrap().scopes
    };
    assert_eq!(
        scopes(r#""mail  openid""#),
        Some(vec!["mail".to_owned(), "openid".to_owned()])
    );
    assert_eq!(
        scopes(r#"["mail","openid"]"#),
        Some(vec!["mail".to_owned(), "openid".to_owned()])
    );
    assert_eq!(scopes(r#""mail \u0007 a\"b""#), Some(vec!["mail".to_owned()]));
    assert_eq!(scopes(r#""""#), None);
    assert_eq!(scopes("null"), None);
}

#[test]
fn the_headers_tell_when_and_how_long_to_wait() {
    let headers: HeaderMap = [
        (DATE, "Wed, 25 Nov 2026 12:00:00 GMT"),
        (RETRY_AFTER, "Wed, 25 Nov 2026 12:02:00 GMT"),
        (CONTENT_TYPE, "text/plain"),
        ("x-ms-request-id".parse().unwrap(), "0ff1-ce"),
    ]
    .into_iter()
    .map(|(name, value)| (name, value.parse().unwrap()))
    .collect();
    let nothing = SecretsInPlay::default();
    let answer = parse_with(200, &headers, br#"{"access_token":"at"}"#, &nothing).unwrap();
    assert_eq!(answer.date, Some("2026-11-25T12:00:00Z".parse().unwrap()));
    let refusal = parse_with(429, &headers, b"", &nothing).unwrap_err();
    assert_eq!(refusal.retry_after, Some(SignedDuration::from_secs(120)));
    assert_eq!(refusal.trace_id.as_deref(), Some("0ff1-ce"));
    let refusal = parse_with(400, &headers, br#"{"error":"x","trace_id":"body-1"}"#, &nothing).unwrap_err();
    assert_eq!(refusal.trace_id.as_deref(), Some("body-1"));
}

#[test]
fn zohos_lockout_lasts_ten_minutes_whether_or_not_the_server_says_so() {
    let body = r#"{"error":"Access Denied","error_description":"You have made too many requests continuously."}"#;
    assert_eq!(refused(400, body).retry_after, Some(SignedDuration::from_mins(10)));
}

#[test]
fn a_description_is_one_bounded_line_without_control_characters() {
    let said = |text: &str| {
        let body = serde_json::json!({"error": "invalid_grant", "error_description": text});
        refused(400, &body.to_string()).description
    };
    assert_eq!(
        said(" Bad\r\n\u{1b}[31mRequest\u{202e} "),
        Some("Bad [31mRequest".to_owned())
    );
    assert_eq!(said(&"é".repeat(5000)).unwrap().chars().count(), 300);
    assert_eq!(said("<HTML><body>secret page"), None);
    assert_eq!(said(" \n "), None);
}

#[test]
fn what_repeats_a_secret_is_not_quoted() {
    let sent = SecretsInPlay::default()
        .with("1//refresh-token-that-we-sent")
        .with("s3cr3t");
    let refusal = |body: &str| parse_with(400, &HeaderMap::new(), body.as_bytes(), &sent).unwrap_err();
    let quoted = [
        r#"{"error":"invalid_grant","error_description":"1//refresh-token-that-we-sent is bad"}"#,
        r#"{"error":"invalid_grant","error_description":"1%2F%2Frefresh-token-that-we-sent is bad"}"#,
        r#"{"error":"invalid_grant","error_description":"... efresh-token-that ..."}"#,
        r#"{"error":"invalid_grant","error_description":"wrong secret s3cr3t"}"#,
        r#"{"error":"invalid_grant","error_description":"id is eyJhbGciOiJub25lIn0.e30.","id_token":"eyJhbGciOiJub25lIn0.e30."}"#,
    ];
    for body in quoted {
        assert_eq!(refusal(body).description, None, "{body}");
        assert_eq!(refusal(body).class, Class::Reauthorize, "{body}");
    }
    let odd = refusal(r#"{"error":"1//refresh-token-that-we-sent","trace_id":"1//refresh-token-that-we-sent"}"#);
    assert_eq!((odd.code.as_str(), odd.trace_id), ("http_400", None));
}

#[test]
fn a_complete_object_is_an_answer_even_if_the_connection_broke_after_it() {
    let headers = HeaderMap::new();
    let now = "2026-11-25T12:00:00Z".parse().unwrap();
    let parse = |body: &[u8], completeness| {
        parse(
            &Received {
                status: 200,
                headers: &headers,
                body,
                completeness,
                now,
            },
            &SecretsInPlay::default(),
            &Situation::default(),
        )
    };
    assert!(parse(br#"{"access_token":"at","refresh_token":"rt"}"#, Completeness::CutOff).is_ok());
    let cut = parse(br#"{"access_token":"at","refresh_tok"#, Completeness::CutOff).unwrap_err();
    assert_eq!((cut.cause, cut.code.as_str()), (Cause::Incomplete, "incomplete"));
    let large = parse(br#"{"access_token":"at","padding":"      "#, Completeness::TooLarge).unwrap_err();
    assert_eq!((large.cause, large.code.as_str()), (Cause::TooLarge, "too_large"));
}

fn assert_no_part_of(secret: &str, printed: &str) {
    for window in secret.as_bytes().windows(16) {
        let window = std::str::from_utf8(window).unwrap();
        assert!(!printed.contains(window), "{window} in {printed}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_without_a_panic(status in 100u16..1000, body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_body(status, &body);
    }

    #[test]
    fn no_token_of_a_body_is_ever_printed(
        status in prop_oneof![Just(200u16), Just(400), 100u16..1000],
        token in "[A-Za-z0-9._/+-]{16,80}",
        pad in "[a-z \\n<é]{0,30}",
        places in proptest::collection::hash_set(0usize..9, 0..9),
        cut in prop_oneof![Just(usize::MAX), 0usize..400],
    ) {
        let names = ["access_token", "error", "error_description", "scope", "token_type", "trace_id", "refresh_token", "id_token", "message"];
        let mut body = Map::new();
        body.insert("access_token".to_owned(), token.clone().into());
        for place in places {
            let value = if names[place].ends_with("token") { token.clone() } else { format!("{pad}{token}{pad}") };
            body.insert(names[place].to_owned(), value.into());
        }
        let body = Value::Object(body).to_string();
        let printed = format!("{:?}", parse_body(status, &body.as_bytes()[..cut.min(body.len())]));
        assert_no_part_of(&token, &printed);
    }
}

#[test]
fn how_long_the_refresh_token_lives_is_read_under_both_names_and_never_guessed() {
    let life = |member: &str| {
        let body = format!(r#"{{"access_token":"at","expires_in":300{member}}}"#);
        parse_body(200, body.as_bytes()).unwrap().refresh_token_life
    };
    let seconds = |count| Some(Stated::In(SignedDuration::from_secs(count)));
    assert_eq!(life(r#","refresh_token_expires_in":604799"#), seconds(604_799));
    assert_eq!(life(r#","refresh_expires_in":"1800""#), seconds(1800));
    assert_eq!(life(r#","refresh_expires_in":0"#), Some(Stated::Never));
    for nothing in [
        "",
        r#","refresh_token_expires_in":0"#,
        r#","refresh_token_expires_in":-1"#,
        r#","refresh_expires_in":-1"#,
        r#","refresh_expires_in":null"#,
        r#","refresh_token_expires_in":"soon""#,
        r#","refresh_token_expires_in":1e300"#,
        r#","refresh_token_expires_in":1798761600000"#,
    ] {
        assert_eq!(life(nothing), None, "{nothing}");
    }
}
