//! What a provider means that sends a person back without a code (RFC 6749 section 4.1.2.1, OpenID Connect Core section 3.1.2.6).
//!
//! Only its error code and Microsoft's number are looked at. The description is the provider's prose, or that of whoever wrote the address: it is never shown.

use super::SignInRefusal;

/// An error code is not longer than this.
const LONGEST_CODE: usize = 64;

/// Microsoft: the person declined to consent. (This and the next: learn.microsoft.com, "Microsoft Entra authentication and authorization error codes".)
const DECLINED: &[&str] = &["AADSTS65004"];
/// Microsoft: an administrator has to consent.
const ADMIN: &[&str] = &["AADSTS65001", "AADSTS90094", "AADSTS90095", "AADSTS90093"];

/// A provider's no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum No {
    /// It has a name here.
    Known(SignInRefusal),
    /// It has none.
    Unknown {
        /// The error code, where it is one.
        code: Option<String>,
        /// For the status.
        refusal: SignInRefusal,
    },
}

impl No {
    /// Reads `error` and `error_description`.
    pub(super) fn read(provider: &str, error: &str, description: &str) -> Self {
        let says = |numbers: &[&str]| numbers.iter().any(|number| mentions(description, number));
        if says(DECLINED) {
            return Self::Known(SignInRefusal::ConsentDenied);
        }
        if says(ADMIN) {
            return Self::Known(SignInRefusal::AdminConsentRequired);
        }
        match error {
            "access_denied" | "authorization_declined" => Self::Known(SignInRefusal::ConsentDenied),
            "admin_policy_enforced" | "admin_consent_required" => Self::Known(SignInRefusal::AdminConsentRequired),
            known => sentence(known).map_or_else(
                || unknown(provider, error, description),
                |sentence| {
                    let number = microsoft_number(description).map(|number| format!(", {number}"));
                    Self::Known(SignInRefusal::Failed {
                        message: format!(
                            "{provider} did not begin the sign-in ({known}{}). {sentence}",
                            number.unwrap_or_default()
                        ),
                    })
                },
            ),
        }
    }
}

/// What a known error means, and who must do what.
fn sentence(error: &str) -> Option<&'static str> {
    Some(match error {
        "temporarily_unavailable" | "server_error" => {
            "It has a problem of its own at the moment. Try again in a few minutes."
        }
        "login_required" | "interaction_required" | "account_selection_required" | "consent_required" => {
            "It has to ask the person something, and the request does not let it. Remove `prompt: none` from spec.oauth2, if it is there, and sign in again."
        }
        "invalid_scope" => {
            "It does not know a scope that is asked for, or does not give it to this app. Whoever set up the app must allow the scopes in spec.oauth2.scopes, or correct them."
        }
        "unauthorized_client" | "invalid_client" => {
            "It does not let this app sign people in. Whoever set up the app must check that the client ID is right and that the app is allowed this kind of sign-in (authorization code)."
        }
        "invalid_request" | "unsupported_response_type" | "redirect_uri_mismatch" => {
            "It did not understand or accept the request. Whoever set up the app must check the callback URL and the parameters that are registered there."
        }
        _ => return None,
    })
}

fn unknown(provider: &str, error: &str, description: &str) -> No {
    let code = microsoft_number(description).or_else(|| is_code(error).then(|| error.to_owned()));
    let named = code.as_ref().map(|code| format!(": {code}")).unwrap_or_default();
    No::Unknown {
        refusal: SignInRefusal::Failed {
            message: format!(
                "{provider} ended the sign-in with an error that the operator does not know{named}. Nothing was changed. Sign in again; if that does not help, look the error up in the provider's documentation."
            ),
        },
        code,
    }
}

/// Short and of the characters that codes are made of, so that it can hold no sentence.
fn is_code(error: &str) -> bool {
    (1..=LONGEST_CODE).contains(&error.len())
        && error
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// `AADSTS` and its digits.
fn microsoft_number(description: &str) -> Option<String> {
    let (_, rest) = description.split_once("AADSTS")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).take(8).collect();
    (!digits.is_empty()).then(|| format!("AADSTS{digits}"))
}

/// Whether a number stands in a text, and not as the beginning of a longer one.
fn mentions(text: &str, number: &str) -> bool {
    text.match_indices(number).any(|(position, found)| {
        let rest = text.get(position + found.len()..).unwrap_or_default();
        !rest.starts_with(|character: char| character.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(error: &str, description: &str) -> SignInRefusal {
        match No::read("Example", error, description) {
            No::Known(refusal) => refusal,
            No::Unknown { .. } => panic!("{error} is not known"),
        }
    }

    #[rustfmt::skip]
    #[test]
    fn each_no_has_its_meaning() {
        use SignInRefusal::{AdminConsentRequired, ConsentDenied};
        for (error, description, meaning) in [
            ("access_denied",        "",                                                           ConsentDenied),
            ("access_denied",        "AADSTS65004: User declined to consent to access the app.",   ConsentDenied),
            ("consent_required",     "AADSTS65004: User declined to consent to access the app.",   ConsentDenied),
            ("access_denied",        "AADSTS90094: An administrator of Contoso has to consent.",   AdminConsentRequired),
            ("access_denied",        "AADSTS90095: Admin consent is required for the permissions.", AdminConsentRequired),
            ("consent_required",     "AADSTS65001: The user or administrator has not consented.",  AdminConsentRequired),
            ("interaction_required", "AADSTS65001: The user or administrator has not consented.",  AdminConsentRequired),
            ("admin_policy_enforced", "",                                                          AdminConsentRequired),
        ] {
            assert_eq!(known(error, description), meaning, "{error} {description}");
        }
    }

    #[test]
    fn others_say_who_must_act() {
        for (error, words) in [
            ("temporarily_unavailable", "in a few minutes"),
            ("server_error", "in a few minutes"),
            ("login_required", "prompt: none"),
            ("consent_required", "prompt: none"),
            ("invalid_scope", "spec.oauth2.scopes"),
            ("unauthorized_client", "client ID"),
            ("invalid_request", "callback URL"),
        ] {
            let SignInRefusal::Failed { message } = known(error, "") else {
                panic!("{error}");
            };
            assert!(message.contains(words) && message.contains(error), "{message}");
        }
    }

    #[test]
    fn microsofts_number_is_kept_and_its_prose_is_not() {
        let SignInRefusal::Failed { message } = known("invalid_request", "AADSTS50011: The redirect URI 'x' is wrong")
        else {
            panic!();
        };
        assert!(message.contains("AADSTS50011") && !message.contains("'x'"), "{message}");
    }

    #[test]
    fn a_longer_number_is_another_one() {
        assert_eq!(known("access_denied", "AADSTS650041"), SignInRefusal::ConsentDenied);
        assert!(matches!(
            No::read("Example", "strange", "AADSTS900941: something"),
            No::Unknown { code: Some(code), .. } if code == "AADSTS900941"
        ));
    }

    #[test]
    fn what_is_no_code_is_not_repeated() {
        let long = "x".repeat(65);
        for error in ["<b>call 555</b>", "call us at 555", "", &long, "é"] {
            let No::Unknown { code, refusal } = No::read("Example", error, "please call 555 <script>") else {
                panic!("{error}");
            };
            assert_eq!(code, None);
            let SignInRefusal::Failed { message } = refusal else {
                panic!()
            };
            assert!(!message.contains("555") && !message.contains(&long), "{message}");
        }
        assert!(
            matches!(No::read("Example", "odd_thing", ""), No::Unknown { code: Some(code), .. } if code == "odd_thing")
        );
    }
}
