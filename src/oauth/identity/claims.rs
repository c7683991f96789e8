//! What an ID token claims, held against what we know (OpenID Connect Core section 3.1.3.7).

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::unproven::Unproven;
use crate::oauth::answer::text;
use crate::provider::{Counts, Identity, Tenancy, Tenant};

/// How far the clocks may be apart.
const LEEWAY: SignedDuration = SignedDuration::from_mins(5);

/// Longer names are none: RFC 5321 section 4.5.3.1 has 64 for the local part and 255 for the domain.
const LONGEST_NAME: usize = 320;

/// OpenID Connect Core section 2.
const LONGEST_SUBJECT: usize = 255;

/// What an ID token must fit.
pub(super) struct Expected<'a> {
    pub(super) identity: &'a Identity,
    pub(super) client_id: &'a str,
    pub(super) nonce: Option<&'a str>,
    pub(super) now: Timestamp,
}

/// Who the token is about: issuer and subject, checked.
pub(super) struct Person {
    pub(super) issuer: String,
    pub(super) subject: String,
    /// The tenant, where each is an issuer.
    pub(super) tenant: Option<String>,
}

/// Checks all claims but the name of the account. Whether the tenant is the one that the spec names by a domain is the caller's to check.
pub(super) fn check(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<Person, Unproven> {
    let (issuer, tenant) = issuer(claims, expected.identity)?;
    audience(claims, expected.client_id)?;
    times(claims, expected.now)?;
    if expected.nonce.is_some() && text(claims, "nonce") != expected.nonce {
        return Err(Unproven::Nonce);
    }
    Ok(Person {
        issuer,
        subject: subject(claims).ok_or(Unproven::Subject)?,
        tenant,
    })
}

/// `sub`, if it is what OpenID Connect allows.
pub(super) fn subject(claims: &Map<String, Value>) -> Option<String> {
    let subject = text(claims, "sub")?;
    let plain = subject.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    (!subject.trim().is_empty() && subject.len() <= LONGEST_SUBJECT && plain).then(|| subject.to_owned())
}

/// The issuer and, where each tenant is one, the tenant.
fn issuer(claims: &Map<String, Value>, identity: &Identity) -> Result<(String, Option<String>), Unproven> {
    let found = text(claims, "iss").unwrap_or_default();
    let pattern = identity.issuer.as_ref().ok_or(Unproven::NoIssuer)?;
    let other = |expected: &str| Unproven::Issuer {
        expected: expected.to_owned(),
        found: super::shown(found),
    };
    let Some(tenancy) = &identity.tenancy else {
        let known = found == pattern || identity.also_issuers.iter().any(|also| also == found);
        return if known {
            Ok((pattern.clone(), None))
        } else {
            Err(other(pattern))
        };
    };
    let tenant = text(claims, "tid").filter(|tid| crate::provider::is_uuid(tid));
    let tenant = tenant.ok_or_else(|| other(pattern))?;
    let expected = pattern.replace("{tid}", tenant);
    if found != expected {
        return Err(other(&expected));
    }
    if let Tenant::Id(wanted) = &tenancy.tenant
        && wanted != tenant
    {
        return Err(Unproven::Tenant {
            expected: wanted.clone(),
            found: tenant.to_owned(),
        });
    }
    if tenancy.tenant == Tenant::Any && tenant == tenancy.personal {
        return Err(Unproven::PersonalAccount);
    }
    Ok((expected, Some(tenant.to_owned())))
}

/// The token is meant for us, and where it is meant for others too, it was given to us.
fn audience(claims: &Map<String, Value>, client_id: &str) -> Result<(), Unproven> {
    let other = |found: String| Unproven::Audience {
        expected: client_id.to_owned(),
        found: super::shown(&found),
    };
    let several = match claims.get("aud") {
        Some(Value::String(one)) if one == client_id => false,
        Some(Value::Array(list)) if list.iter().any(|one| one == client_id) => list.len() > 1,
        Some(Value::String(one)) => return Err(other(one.clone())),
        Some(Value::Array(list)) => {
            let names: Vec<_> = list.iter().filter_map(Value::as_str).take(4).collect();
            return Err(other(names.join(" ")));
        }
        _ => return Err(other(String::new())),
    };
    match claims.get("azp") {
        None if !several => Ok(()),
        Some(party) if party == client_id => Ok(()),
        party => Err(Unproven::AuthorizedParty {
            expected: client_id.to_owned(),
            found: super::shown(party.and_then(Value::as_str).unwrap_or_default()),
        }),
    }
}

fn times(claims: &Map<String, Value>, now: Timestamp) -> Result<(), Unproven> {
    let moment = |name: &str| {
        let seconds = claims.get(name)?.as_f64()?;
        let since = SignedDuration::try_from_secs_f64(seconds.floor()).ok()?;
        Timestamp::from_duration(since).ok()
    };
    let ends = moment("exp").ok_or(Unproven::NoTime { claim: "exp" })?;
    let issued = moment("iat").ok_or(Unproven::NoTime { claim: "iat" })?;
    if now.duration_since(ends) >= LEEWAY {
        return Err(Unproven::Ended { ended: ends, now });
    }
    let begins = moment("nbf").map_or(issued, |begins| begins.max(issued));
    if begins.duration_since(now) > LEEWAY {
        return Err(Unproven::NotYet { begins, now });
    }
    Ok(())
}

/// The name of the account, if the issuer asserts one.
pub(super) fn name(claims: &Map<String, Value>, identity: &Identity) -> Result<String, Unproven> {
    let mut first_problem = None;
    for account in &identity.accounts {
        let Some(name) = text(claims, &account.claim) else {
            continue;
        };
        let problem = match account.when {
            _ if !is_address(name) => "it is no address",
            Counts::EmailVerified if is_true(claims.get("email_verified")) => return Ok(name.to_owned()),
            Counts::EmailVerified => "email_verified is not true",
            Counts::Address if is_unverified_email(name, claims, identity) => {
                "it is the same as email, and email_verified is not true"
            }
            Counts::Member if is_guest(name, claims) => {
                return Err(Unproven::Guest {
                    name: super::shown(name),
                });
            }
            Counts::Address | Counts::Member => return Ok(name.to_owned()),
        };
        first_problem.get_or_insert_with(|| format!("{} is {}, but {problem}", account.claim, super::shown(name)));
    }
    let looked_for: Vec<_> = identity.accounts.iter().map(|account| account.claim.as_str()).collect();
    Err(Unproven::NoName {
        looked_for: looked_for.join(", "),
        problem: first_problem.unwrap_or_else(|| "none of them is there".to_owned()),
    })
}

/// An address that can be shown: bounded, and without characters that hide.
fn is_address(name: &str) -> bool {
    name.chars().count() <= LONGEST_NAME
        && crate::provider::split_address(name).is_some()
        && crate::oauth::answer::quotable(name).as_deref() == Some(name)
}

/// As a boolean, or as the text that some servers write.
fn is_true(value: Option<&Value>) -> bool {
    matches!(value, Some(Value::Bool(true))) || value.and_then(Value::as_str) == Some("true")
}

/// At servers where people register by themselves, a user name that is the unverified address proves no more than that address does.
fn is_unverified_email(name: &str, claims: &Map<String, Value>, identity: &Identity) -> bool {
    let same = text(claims, "email").is_some_and(|email| identity.same_account(email, name));
    same && !is_true(claims.get("email_verified"))
}

/// A guest's directory is not the tenant: `idp` is another than the issuer (learn.microsoft.com: ID token claims), `acct` is 1 (optional claims), or the name has the
/// mark of guests.
fn is_guest(name: &str, claims: &Map<String, Value>) -> bool {
    let own = text(claims, "tid").unwrap_or_default();
    let elsewhere =
        |provider: &str| text(claims, "iss") != Some(provider) && !provider.split('/').any(|part| part == own);
    text(claims, "idp").is_some_and(elsewhere)
        || claims
            .get("acct")
            .is_some_and(|kind| kind.as_i64() == Some(1) || kind.as_str() == Some("1"))
        || name.to_ascii_uppercase().contains("#EXT#")
}

/// Whether a key may sign for the issuer in these claims: Microsoft's keys say for which tenants they are.
pub(super) fn key_fits(key: &Map<String, Value>, claims: &Map<String, Value>, tenancy: Option<&Tenancy>) -> bool {
    let (Some(_), Some(issuer)) = (tenancy, text(key, "issuer")) else {
        return true;
    };
    let tenant = text(claims, "tid").unwrap_or_default();
    text(claims, "iss") == Some(issuer.replace("{tenantid}", tenant).as_str())
}
