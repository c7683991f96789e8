use super::super::claims::{Expected, check, name};
use super::*;

const ISSUER: &str = "https://id.example.com";

fn checked(claims: &Value, nonce: Option<&str>) -> Result<(String, String), Unproven> {
    let expected = Expected {
        identity: &identity_of(ISSUER),
        client_id: "our-client",
        nonce,
        now: Timestamp::now(),
    };
    check(claims.as_object().unwrap(), &expected).map(|subject| (subject.issuer, subject.subject))
}

fn found(changes: Value) -> Result<(String, String), Unproven> {
    checked(&claims_with(ISSUER, changes), Some("n-0S6"))
}

#[test]
fn a_good_token_is_about_somebody() {
    let good = Ok((ISSUER.to_owned(), "248289761001".to_owned()));
    let several = json!({"aud": ["other", "our-client"], "azp": "our-client"});
    for changes in [
        json!({}),
        json!({"aud": ["our-client"]}),
        several,
        json!({"azp": "our-client"}),
        json!({"exp": now() - 240}),
        json!({"iat": now() + 240}),
        json!({"iat": now() - 86_400}),
        json!({"exp": 1_999_999_999.5}),
        json!({"nbf": now() - 5}),
        json!({"auth_time": "x", "amr": []}),
    ] {
        assert_eq!(found(changes.clone()), good, "{changes}");
    }
    let without_nonce = claims_with(ISSUER, json!({"nonce": null}));
    assert_eq!(checked(&without_nonce, None), good, "the device flow has no nonce");
}

#[test]
fn a_token_that_does_not_fit_proves_nothing_and_says_what_was_expected() {
    let exp = |at: i64| json!({"exp": at});
    for (changes, message) in [
        (
            json!({"iss": "https://id.example.com/"}),
            r#"The ID token is of issuer "https://id.example.com/"; expected https://id.example.com."#,
        ),
        (
            json!({"iss": "https://ID.example.com"}),
            "expected https://id.example.com.",
        ),
        (
            json!({"iss": "http://id.example.com"}),
            "expected https://id.example.com.",
        ),
        (
            json!({"iss": ["https://id.example.com"]}),
            "expected https://id.example.com.",
        ),
        (json!({"iss": null}), r#"is of issuer ""; expected"#),
        (
            json!({"aud": "other"}),
            r#"meant for client "other"; expected our-client"#,
        ),
        (
            json!({"aud": ["other", "another"]}),
            r#"meant for client "other another"; expected our-client"#,
        ),
        (json!({"aud": []}), "expected our-client"),
        (json!({"aud": null}), "expected our-client"),
        (json!({"aud": "OUR-CLIENT"}), "expected our-client"),
        (
            json!({"aud": ["our-client", "other"]}),
            r#"given to client "" (azp); expected our-client"#,
        ),
        (
            json!({"aud": ["our-client", "other"], "azp": "other"}),
            r#"given to client "other" (azp)"#,
        ),
        (json!({"azp": "other"}), r#"given to client "other" (azp)"#),
        (json!({"azp": 7}), "(azp); expected our-client"),
        (exp(now() - 301), "Check the clocks"),
        (exp(0), "Check the clocks"),
        (json!({"exp": null}), "has no exp"),
        (json!({"exp": "soon"}), "has no exp"),
        (json!({"exp": -1e300}), "has no exp"),
        (json!({"iat": null}), "has no iat"),
        (json!({"iat": now() + 400}), "is good from"),
        (json!({"nbf": now() + 400}), "is good from"),
        (json!({"nonce": "other"}), "does not repeat the nonce"),
        (json!({"nonce": null}), "does not repeat the nonce"),
        (json!({"nonce": 1}), "does not repeat the nonce"),
        (json!({"sub": null}), "no usable sub"),
        (json!({"sub": ""}), "no usable sub"),
        (json!({"sub": " "}), "no usable sub"),
        (json!({"sub": 248_289_761_001_u64}), "no usable sub"),
        (json!({"sub": "x".repeat(256)}), "no usable sub"),
        (json!({"sub": "a\nb"}), "no usable sub"),
    ] {
        let problem = found(changes.clone()).unwrap_err().to_string();
        assert!(
            problem.contains(message),
            "{changes}: expected {message:?}, got {problem:?}"
        );
    }
}

#[test]
fn what_a_token_says_is_shown_bounded_and_on_one_line() {
    let long = json!({"iss": format!("https://evil.example/\n<b>\u{202e}{}", "x".repeat(10_000))});
    let problem = found(long).unwrap_err().to_string();
    assert!(
        problem.len() < 400 && !problem.contains('\n') && !problem.contains('\u{202e}'),
        "{problem}"
    );
}

#[allow(clippy::needless_pass_by_value, reason = "the calls read better")]
fn named(claims: Value, identity: &Identity) -> Result<String, String> {
    name(claims.as_object().unwrap(), identity).map_err(|problem| problem.to_string())
}

#[test]
fn a_server_of_ones_own_names_an_account_by_a_verified_email_or_a_user_name() {
    let own = identity_of(ISSUER);
    for (claims, expected) in [
        (
            json!({"email": "jane@example.com", "email_verified": true}),
            "jane@example.com",
        ),
        (
            json!({"email": "jane@example.com", "email_verified": "true"}),
            "jane@example.com",
        ),
        (json!({"preferred_username": "jane@example.com"}), "jane@example.com"),
        (
            json!({"preferred_username": "jane@example.com", "email": "j@other.example"}),
            "jane@example.com",
        ),
        (
            json!({"email": "jane@bücher.example", "email_verified": true}),
            "jane@bücher.example",
        ),
    ] {
        assert_eq!(named(claims.clone(), &own).as_deref(), Ok(expected), "{claims}");
    }
    for (claims, message) in [
        (json!({}), "Looked for email, preferred_username; none of them is there"),
        (
            json!({"email": "jane@example.com"}),
            "email is jane@example.com, but email_verified is not true",
        ),
        (
            json!({"email": "jane@example.com", "email_verified": false}),
            "email_verified is not true",
        ),
        (
            json!({"email": "jane@example.com", "email_verified": 1}),
            "email_verified is not true",
        ),
        (
            json!({"email": "jane@example.com", "email_verified": "yes"}),
            "email_verified is not true",
        ),
        (
            json!({"preferred_username": "jane"}),
            "preferred_username is jane, but it is no address",
        ),
        (json!({"preferred_username": "jane@localhost"}), "it is no address"),
        (json!({"preferred_username": "jane@127.0.0.1"}), "it is no address"),
        (json!({"preferred_username": "@example.com"}), "it is no address"),
        (json!({"preferred_username": "jane@example.com."}), "it is no address"),
        (
            json!({"preferred_username": "a@b.example@example.com"}),
            "it is no address",
        ),
        (
            json!({"preferred_username": "jane doe@example.com"}),
            "it is no address",
        ),
        (json!({"preferred_username": "<b>@example.com"}), "it is no address"),
        (
            json!({"preferred_username": "ja\u{200b}ne@example.com"}),
            "it is no address",
        ),
        (
            json!({"preferred_username": format!("{}@example.com", "j".repeat(320))}),
            "it is no address",
        ),
        (
            json!({"name": "jane@example.com", "nickname": "jane@example.com", "upn": "jane@example.com"}),
            "none of them is there",
        ),
        // Self-registration: the user name is the address that nobody has verified.
        (
            json!({"preferred_username": "Jane@Example.com", "email": "jane@example.com", "email_verified": false}),
            "email_verified is not true",
        ),
        (
            json!({"preferred_username": "jane@example.com", "email": "jane@example.com"}),
            "email_verified is not true",
        ),
    ] {
        let problem = named(claims.clone(), &own).unwrap_err();
        assert!(
            problem.contains(message),
            "{claims}: expected {message:?}, got {problem:?}"
        );
    }
}

#[test]
fn a_provider_of_the_catalogue_names_an_account_only_as_its_entry_says() {
    let google = Identity {
        accounts: vec![account("email", Counts::EmailVerified)],
        ..identity_of(ISSUER)
    };
    assert!(named(json!({"email": "jane@example.com", "email_verified": true}), &google).is_ok());
    assert!(named(json!({"email": "jane@example.com", "email_verified": false}), &google).is_err());
    assert!(named(json!({"preferred_username": "jane@example.com"}), &google).is_err());
}
