//! What is known about a request before it is sent, and changes what its answer means.
//!
//! Pure: it looks at what the world already holds, the [`Past`] of the grant, and at the form (never the content) of the secrets that are about to be sent.

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    api::{FailureStatus, Grant},
    lifecycle::{self, Source, World},
    oauth::{Circumstance, Situation},
    provider::{Endpoints, is_uuid},
};

/// Google ends the grants of an app in testing after so long (developers.google.com/identity/protocols/oauth2, refresh token expiration).
const TESTING: SignedDuration = SignedDuration::from_hours(7 * 24);
const ABOUT: SignedDuration = SignedDuration::from_hours(1);
/// A grant that was used within this time shows on which day it died.
const RECENTLY: SignedDuration = SignedDuration::from_hours(48);

/// Scopes about the person and the grant itself: servers leave them out of what they say was granted.
const NOT_ABOUT_MAIL: [&str; 5] = ["openid", "profile", "email", "address", "offline_access"];

/// What happened to a grant before.
#[derive(Debug, Clone, Default)]
pub(super) struct Past {
    /// When it was given, or first redeemed.
    pub(super) granted: Option<Timestamp>,
    /// When it last brought a token.
    pub(super) used: Option<Timestamp>,
    /// The scopes it was given for.
    pub(super) scopes: Vec<String>,
    /// The last failure, if nothing has worked since.
    pub(super) failed: Option<FailureStatus>,
}

impl Past {
    /// The past of the grant in this world.
    pub(super) fn of(world: &World) -> Self {
        let record = lifecycle::record(world).cloned().unwrap_or_default();
        Self {
            granted: record.granted,
            used: record.lifetime.map(|life| life.issued),
            scopes: record.scopes,
            failed: world.status.failure.clone(),
        }
    }
}

/// What is about to be sent.
pub(super) struct Request<'a> {
    pub(super) grant: Grant,
    pub(super) source: &'a Source,
    pub(super) refresh_token: &'a SecretString,
    pub(super) client_secret: Option<&'a SecretString>,
}

/// What is known about this request.
pub(super) fn of(request: &Request<'_>, past: &Past, endpoints: &Endpoints, now: Timestamp) -> Situation {
    let of_grant = *request.source == Source::Grant;
    Situation::at(endpoints)
        .with((!of_grant).then_some(Circumstance::FirstUse))
        .with(looks_damaged(request.refresh_token).then_some(Circumstance::TokenLooksDamaged))
        .with(
            request
                .client_secret
                .is_some_and(looks_like_id)
                .then_some(Circumstance::SecretLooksLikeId),
        )
        .with(
            (of_grant && asks_for_more(&endpoints.refresh_scopes, &past.scopes)).then_some(Circumstance::ScopesChanged),
        )
        .with((of_grant && died_on_the_seventh_day(past, now)).then_some(Circumstance::WeekOld))
        .with(person(request.grant))
}

/// Whether a person could sign in again.
pub(super) const fn person(grant: Grant) -> Option<Circumstance> {
    match grant {
        Grant::AuthorizationCode | Grant::DeviceCode | Grant::RefreshToken => None,
        Grant::ClientCredentials | Grant::JwtBearer => Some(Circumstance::NoPerson),
    }
}

/// A refresh token is visible ASCII; what people copy around it by mistake is none of it.
fn looks_damaged(token: &SecretString) -> bool {
    let odd = |byte: u8| !byte.is_ascii_graphic() || b"\"'%<>".contains(&byte);
    token.expose_secret().bytes().any(odd)
}

fn looks_like_id(secret: &SecretString) -> bool {
    is_uuid(&secret.expose_secret().to_ascii_lowercase())
}

/// Whether a scope is asked for that was not granted. Servers name scopes with and without the resource before the last slash, so the rest is compared. Where
/// nothing is known of what was granted, nothing is known.
fn asks_for_more(asked: &[String], granted: &[String]) -> bool {
    let name = |scope: &str| scope.rsplit('/').next().unwrap_or(scope).to_ascii_lowercase();
    let granted: Vec<String> = granted.iter().map(|scope| name(scope)).collect();
    !granted.is_empty()
        && asked
            .iter()
            .filter(|scope| !NOT_ABOUT_MAIL.contains(&scope.as_str()))
            .any(|scope| !granted.contains(&name(scope)))
}

/// It died between its last use and now. That shows the seventh day only where the two are not far apart.
fn died_on_the_seventh_day(past: &Past, now: Timestamp) -> bool {
    let (Some(granted), Some(used)) = (past.granted, past.used) else {
        return false;
    };
    now.duration_since(granted) >= TESTING - ABOUT
        && used.duration_since(granted) <= TESTING + ABOUT
        && now.duration_since(used) <= RECENTLY
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(granted: &str, used: &str) -> Past {
        Past {
            granted: Some(granted.parse().unwrap()),
            used: Some(used.parse().unwrap()),
            ..Past::default()
        }
    }

    #[test]
    fn a_grant_that_worked_until_its_seventh_day_died_of_testing() {
        let now = |text: &str| text.parse::<Timestamp>().unwrap();
        let week = past("2026-11-18T12:00:00Z", "2026-11-25T11:40:00Z");
        assert!(died_on_the_seventh_day(&week, now("2026-11-25T12:20:00Z")));
        assert!(
            !died_on_the_seventh_day(&week, now("2026-11-28T12:20:00Z")),
            "it was not used: nobody knows when it died"
        );
        let young = past("2026-11-20T12:00:00Z", "2026-11-25T11:40:00Z");
        assert!(!died_on_the_seventh_day(&young, now("2026-11-25T12:20:00Z")));
        let old = past("2026-10-18T12:00:00Z", "2026-11-25T11:40:00Z");
        assert!(!died_on_the_seventh_day(&old, now("2026-11-25T12:20:00Z")));
        assert!(!died_on_the_seventh_day(&Past::default(), now("2026-11-25T12:20:00Z")));
    }

    #[test]
    fn scopes_are_compared_by_their_last_part() {
        let list = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let asked = list(
            "https://outlook.office.com/SMTP.Send https://outlook.office.com/IMAP.AccessAsUser.All offline_access",
        );
        assert!(!asks_for_more(
            &asked,
            &list("SMTP.Send imap.accessasuser.all User.Read")
        ));
        assert!(!asks_for_more(&asked, &asked));
        assert!(asks_for_more(&asked, &list("https://outlook.office.com/SMTP.Send")));
        assert!(!asks_for_more(&asked, &[]), "nothing is known of the grant");
    }

    #[test]
    fn what_was_copied_around_a_token_is_seen_and_real_tokens_are_not_suspected() {
        for token in [
            "1//0eAbC-_x",
            "0.AXoA.b~c*d!e$f",
            "eyJhbGciOi.J9.x=",
            "1000.8cb9.7ef",
            "MS+/==",
        ] {
            assert!(!looks_damaged(&SecretString::from(token)), "{token}");
        }
        for token in ["1//0e AbC", "\"1//0e\"", "1%2F%2F0e", "a\u{200b}b", "<token>", "a\nb"] {
            assert!(looks_damaged(&SecretString::from(token)), "{token}");
        }
    }

    #[test]
    fn the_id_of_a_secret_is_told_from_its_value() {
        assert!(looks_like_id(&SecretString::from(
            "9F3E2F1C-0b7a-4c1d-9e55-1f2e3d4c5b6a"
        )));
        assert!(!looks_like_id(&SecretString::from(
            "abc8Q~4x7Yt.gH-0b7a_4c1d9e551f2e3d4c5b6"
        )));
    }
}
