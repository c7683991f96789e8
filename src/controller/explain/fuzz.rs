//! Answers that no server ought to send: a fuzz target for the parser, the classifier and the words for people.
//!
//! It starts from the recorded answers and changes them, as text and as bytes, with secrets of the request put wherever a server could repeat them. Whatever arrives,
//! nothing panics, nothing that can be printed holds a secret (invariant 5), all of it is bounded (invariant 10), and nobody is asked to sign in but for an error that
//! is known to want it. It runs for two seconds with the tests and for ten minutes with `EMAILASSET_SOAK=1` (`make soak`); `EMAILASSET_FUZZ_SEED` begins a run again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value as Json, json};
use url::form_urlencoded::byte_serialize;

use super::tests::{endpoints, names, recorded, shown_in};
use super::*;
use crate::oauth::answer::{Completeness, Received, SecretsInPlay, parse};
use crate::oauth::{Circumstance, Dialect, Situation};

const SECRETS: [&str; 3] = [
    "1//0eAbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_abcdef",
    "s3cr3t+of/the=client~with.all:kinds*of(signs)",
    "M.C512_BAY.0.U.-Cr7!kq2$Xb*long%2Frefresh%3Dtoken",
];

const CIRCUMSTANCES: [Circumstance; 6] = [
    Circumstance::FirstUse,
    Circumstance::TokenLooksDamaged,
    Circumstance::SecretLooksLikeId,
    Circumstance::ScopesChanged,
    Circumstance::WeekOld,
    Circumstance::NoPerson,
];

const MEMBERS: [&str; 20] = [
    "error",
    "error_description",
    "error_codes",
    "error_subtype",
    "suberror",
    "trace_id",
    "error_code",
    "error_uri",
    "correlation_id",
    "timestamp",
    "claims",
    "message",
    "status",
    "access_token",
    "refresh_token",
    "id_token",
    "token_type",
    "scope",
    "expires_in",
    "odd",
];

const HEADERS: [&str; 8] = [
    "date",
    "retry-after",
    "x-ms-request-id",
    "x-request-id",
    "x-correlation-id",
    "request-id",
    "x-trace-id",
    "location",
];

/// One answer.
#[derive(Debug, Clone)]
struct Case {
    situation: Situation,
    status: u16,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
    completeness: Completeness,
    history: History,
}

#[test]
fn whatever_arrives_nothing_panics_and_no_secret_is_repeated() {
    let soak = std::env::var_os("EMAILASSET_SOAK").is_some();
    let length = Duration::from_secs(if soak { 600 } else { 2 });
    let seed = std::env::var("EMAILASSET_FUZZ_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| if soak { rand::rng().random() } else { 20_261_125 });
    let mut random = StdRng::seed_from_u64(seed);
    let corpus: Vec<(Dialect, u16, String)> = Dialect::ALL
        .into_iter()
        .flat_map(|dialect| {
            recorded(dialect)
                .into_iter()
                .map(move |known| (dialect, known.status, known.body))
        })
        .collect();
    let (begun, mut count, mut refusals, mut named) = (Instant::now(), 0_u64, 0_u64, 0_u64);
    while begun.elapsed() < length {
        let case = case(&corpus, &mut random);
        count += 1;
        let checked = catch_unwind(AssertUnwindSafe(|| check(&case)));
        match checked.unwrap_or_else(|_| Err("it panicked".to_owned())) {
            Ok(Some(known)) => {
                refusals += 1;
                named += u64::from(known);
            }
            Ok(None) => {}
            Err(problem) => panic!("{problem}\nseed {seed}, case {count}: {}", printed(&case)),
        }
    }
    println!(
        "{count} answers in {:?}, {refusals} refusals, {named} of them known; seed {seed}",
        begun.elapsed()
    );
    assert!(
        refusals > 0 && named > 0 && named < refusals,
        "the cases are too much alike"
    );
}

fn printed(case: &Case) -> String {
    format!("{case:?}\n{}", String::from_utf8_lossy(&case.body))
}

/// None for a token; else whether a row is known for it.
fn check(case: &Case) -> Result<Option<bool>, String> {
    let sent = SECRETS
        .iter()
        .fold(SecretsInPlay::default(), |secrets, secret| secrets.with(secret));
    let mut headers = HeaderMap::new();
    for (name, value) in &case.headers {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    let received = Received {
        status: case.status,
        headers: &headers,
        body: &case.body,
        completeness: case.completeness,
        now: "2026-11-25T12:00:00Z".parse().map_err(|error| format!("{error:?}"))?,
    };
    let refusal = match parse(&received, &sent, &case.situation) {
        Ok(answer) => {
            no_secret_in(&format!("{answer:?}"))?;
            return Ok(None);
        }
        Err(refusal) => *refusal,
    };
    let dialect = case.situation.dialect;
    let failure = shown_in(dialect, &case.situation.circumstances, case.history, &refusal);
    let of_sign_in = sign_in_refused(&names(dialect, &Source::Grant), endpoints(dialect), "client", &refusal);
    for text in [format!("{refusal:?}"), format!("{failure:?}"), of_sign_in.clone()] {
        no_secret_in(&text)?;
    }
    bounded(&refusal, &failure, &of_sign_in)?;
    wakes_nobody_without_need(&refusal, &failure)?;
    Ok(Some(refusal.row.is_some()))
}

fn bounded(refusal: &Refusal, failure: &Failure, of_sign_in: &str) -> Result<(), String> {
    let day = SignedDuration::from_hours(24);
    let plain = |text: &str| !text.chars().any(char::is_control);
    let description = refusal.description.as_deref().unwrap_or_default();
    let holds = description.chars().count() <= 300
        && refusal.code.as_str().len() <= 64
        && refusal.detail.as_ref().is_none_or(|detail| detail.as_str().len() <= 64)
        && refusal.trace_id.as_ref().is_none_or(|id| id.len() <= 400)
        && refusal
            .retry_after
            .is_none_or(|wait| wait >= SignedDuration::ZERO && wait <= day)
        && failure.message.len() < 4096
        && of_sign_in.len() < 4096
        && [description, &failure.message, &failure.code, of_sign_in]
            .into_iter()
            .all(plain);
    if holds {
        Ok(())
    } else {
        Err(format!("not bounded: {refusal:?} {failure:?}"))
    }
}

fn wakes_nobody_without_need(refusal: &Refusal, failure: &Failure) -> Result<(), String> {
    let knows_why = refusal.row.is_some_and(|row| row.class == Class::Reauthorize);
    let passes = matches!(refusal.status, 300..400 | 408 | 425 | 429 | 500..);
    if (failure.class == FailureClass::Reauthorize) != (refusal.class == Class::Reauthorize) {
        return Err(format!("the class was changed: {refusal:?} {failure:?}"));
    }
    if refusal.class == Class::Reauthorize && (!knows_why || passes) {
        return Err(format!("a person is woken: {refusal:?}"));
    }
    Ok(())
}

/// Looks for 16 bytes of a secret in a row, plain and URL-decoded, and for what base64 makes of a secret. This is not the code that keeps secrets out.
fn no_secret_in(text: &str) -> Result<(), String> {
    let decoded = url::form_urlencoded::parse(format!("a={}", text.replace(['&', '=', '+'], "_")).as_bytes())
        .map(|(_, value)| value.into_owned())
        .collect::<String>();
    for secret in SECRETS {
        let windows = secret
            .as_bytes()
            .windows(16)
            .map(|window| String::from_utf8_lossy(window).into_owned());
        let encoded =
            [STANDARD.encode(secret), URL_SAFE_NO_PAD.encode(secret)].map(|text| text.chars().take(40).collect());
        for window in windows.chain(encoded) {
            if text.contains(&window) || decoded.contains(&window) {
                return Err(format!("{window} is in {text}"));
            }
        }
    }
    Ok(())
}

fn case(corpus: &[(Dialect, u16, String)], random: &mut StdRng) -> Case {
    let (dialect, status, body) = corpus.choose(random).cloned().unwrap_or_default();
    let dialect = if random.random_bool(0.8) {
        dialect
    } else {
        Dialect::ALL.choose(random).copied().unwrap_or_default()
    };
    let status = if random.random_bool(0.8) {
        status
    } else {
        random.random_range(100..1000)
    };
    let circumstances = CIRCUMSTANCES.into_iter().filter(|_| random.random_bool(0.15)).collect();
    Case {
        situation: Situation { dialect, circumstances },
        status,
        headers: headers(random),
        body: mutated(body, corpus, random),
        completeness: *[
            Completeness::Whole,
            Completeness::Whole,
            Completeness::CutOff,
            Completeness::TimedOut,
            Completeness::TooLarge,
        ]
        .choose(random)
        .unwrap_or(&Completeness::Whole),
        history: if random.random_bool(0.1) {
            History::AnswerLost
        } else {
            History::Clean
        },
    }
}

fn headers(random: &mut StdRng) -> Vec<(&'static str, Vec<u8>)> {
    let mut headers = Vec::new();
    for name in HEADERS {
        if random.random_bool(0.2) {
            headers.push((name, text(random).into_bytes()));
        }
    }
    headers
}

fn mutated(body: String, corpus: &[(Dialect, u16, String)], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = match serde_json::from_str::<Json>(&body) {
        Ok(Json::Object(object)) if random.random_bool(0.8) => members_changed(object, random).to_string().into_bytes(),
        _ => body.into_bytes(),
    };
    if random.random_bool(0.3) {
        for _ in 0..random.random_range(1..4) {
            bytes_changed(&mut bytes, corpus, random);
        }
    }
    bytes
}

fn members_changed(mut object: Map<String, Json>, random: &mut StdRng) -> Json {
    for _ in 0..random.random_range(0..4) {
        let often = if random.random_bool(0.5) {
            &MEMBERS[..6]
        } else {
            &MEMBERS[..]
        };
        let name = often.choose(random).copied().unwrap_or("odd").to_owned();
        match random.random_range(0..6) {
            0 => {
                object.remove(&name);
            }
            1 => {
                // What is there, with more behind it: words around a secret.
                let before = object.get(&name).and_then(Json::as_str).unwrap_or_default().to_owned();
                object.insert(name, format!("{before} {}", text(random)).into());
            }
            _ => {
                object.insert(name, value(random, 3));
            }
        }
    }
    Json::Object(object)
}

fn value(random: &mut StdRng, depth: u32) -> Json {
    match random.random_range(0..9) {
        0 => Json::Null,
        1 => random.random_bool(0.5).into(),
        2 => [
            json!(7_000_222),
            json!(50_173),
            json!(53_003),
            json!(6),
            json!(-1),
            json!(4_294_967_296_u64),
            json!(1e300),
        ]
        .choose(random)
        .cloned()
        .unwrap_or_default(),
        3 if depth > 0 => (0..random.random_range(0..12))
            .map(|_| value(random, depth - 1))
            .collect(),
        4 if depth > 0 => members_changed(Map::new(), random),
        _ => text(random).into(),
    }
}

fn text(random: &mut StdRng) -> String {
    let secret = *SECRETS.choose(random).unwrap_or(&SECRETS[0]);
    match random.random_range(0..12) {
        0 => secret.to_owned(),
        1 => format!("the token '{secret}' is bad"),
        2 => byte_serialize(secret.as_bytes()).collect(),
        3 => STANDARD.encode(format!("{}{secret}", "x".repeat(random.random_range(0..3)))),
        4 => {
            let from = random.random_range(0..secret.len());
            secret.get(from..).unwrap_or_default().to_owned()
        }
        5 => "é\u{202e}\u{200b}\r\n\t\0\u{1b}[31m".repeat(random.random_range(1..200)),
        6 => "A".repeat(if random.random_bool(0.02) {
            100_000
        } else {
            random.random_range(0..400)
        }),
        7 => format!("AADSTS{}: words", random.random::<u64>()),
        8 => "Wed, 25 Nov 2026 12:30:00 GMT".to_owned(),
        9 => random.random::<i64>().to_string(),
        10 => (*[
            "invalid_grant",
            "invalid_client",
            "Access Denied",
            "basic_action",
            "<html>",
            "",
            "{provider}",
            "expired",
        ]
        .choose(random)
        .unwrap_or(&""))
        .to_owned(),
        _ => {
            let length = random.random_range(0..40);
            (0..length)
                .filter_map(|_| char::from_u32(random.random_range(0..0x11_0000)))
                .collect()
        }
    }
}

fn bytes_changed(bytes: &mut Vec<u8>, corpus: &[(Dialect, u16, String)], random: &mut StdRng) {
    let at = random.random_range(0..=bytes.len());
    match random.random_range(0..5) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, random.random()),
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.random_range(0..8);
            }
        }
        3 => {
            let other = corpus
                .choose(random)
                .map(|(_, _, body)| body.clone())
                .unwrap_or_default();
            bytes.splice(at..at, other.into_bytes());
        }
        _ => {
            let secret = text(random);
            bytes.splice(at..at, secret.into_bytes());
        }
    }
}
