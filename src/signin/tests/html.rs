//! Every page as HTML: well formed, without scripts, without anything from elsewhere.

use std::{env, fs, path::Path};

use jiff::Timestamp;
use url::Url;

use super::rig::offer;
use crate::signin::{
    Offer, SignInRefusal, SignedIn,
    browser::BrowserId,
    ended::{Ended, Outcome, Telling},
    pages::{NoticePage, STYLE, Showing, SignInPage},
    words::{Notice, Problem},
};

const PROBLEMS: &[Problem] = &[
    Problem::NotFound,
    Problem::BadLink,
    Problem::Method,
    Problem::CrossSite,
    Problem::NoOrigin,
    Problem::TooLarge,
    Problem::TooSlow,
    Problem::Overloaded,
    Problem::BadState,
    Problem::Expired,
    Problem::OtherBrowser,
    Problem::OtherProvider,
    Problem::Changed,
    Problem::MixedUp,
    Problem::Garbled,
    Problem::NoResult,
    Problem::Broken,
];

/// Elements that have no end tag.
const VOID: &[&str] = &["meta", "input", "link", "br", "wbr", "hr", "img"];

fn microsoft() -> Offer {
    Offer {
        provider: "Microsoft 365".to_owned(),
        login: "jane.doe@contoso.example".to_owned(),
        mailbox: "customer-support.emea@contoso.example".to_owned(),
        hosts: vec!["login.microsoftonline.com".to_owned()],
        scopes: [
            "https://outlook.office.com/IMAP.AccessAsUser.All",
            "https://outlook.office.com/SMTP.Send",
            "offline_access",
            "openid",
            "Calendars.Read",
        ]
        .map(str::to_owned)
        .into(),
        request: Ok(Url::parse("https://login.microsoftonline.com/contoso.example/oauth2/v2.0/authorize").unwrap()),
        ..offer()
    }
}

/// All pages, by name.
fn pages() -> Vec<(String, String)> {
    let callback = || "https://access.example.com/callback/google".to_owned();
    let signed_in = Offer {
        granted: Some("2026-11-25T06:51:00Z".parse().unwrap()),
        account: Some("support@example.com".to_owned()),
        ..offer()
    };
    let impossible = Offer {
        request: Err("Secret helpdesk/google-client does not exist. Whoever looks after the asset has to create it with the keys client_id and client_secret.".to_owned()),
        ..offer()
    };
    let unlisted = Offer {
        registered_callbacks: Some(vec!["http://localhost".to_owned()]),
        ..offer()
    };
    let asset_pages = [
        ("sign-in", offer(), Showing::First),
        ("sign-in-shared-mailbox", microsoft(), Showing::First),
        ("sign-in-again", signed_in, Showing::First),
        ("sign-in-impossible", impossible, Showing::First),
        ("sign-in-unlisted-callback", unlisted, Showing::First),
        ("sign-in-changed", offer(), Showing::Changed),
    ];
    let mut pages = Vec::new();
    for (name, offer, showing) in &asset_pages {
        let page = SignInPage::new(offer, callback(), "0".repeat(43), *showing);
        pages.push(((*name).to_owned(), askama::Template::render(&page).unwrap()));
    }
    for problem in PROBLEMS {
        let mut notice = Notice::of_problem(*problem);
        if *problem == Problem::Expired {
            notice = notice.leading_to("Back to the sign-in page", "/sign-in/helpdesk/support/x".to_owned());
        }
        pages.push((format!("problem-{problem:?}").to_lowercase(), rendered(notice)));
    }
    for (name, ended) in endings() {
        let telling = if name == "consent-denied" {
            Telling::Again
        } else {
            Telling::First
        };
        let outcome = Outcome::new(&offer(), &BrowserId::random(), ended, telling, Timestamp::now());
        let notice = Notice::of_outcome(&outcome);
        let notice = if name == "signed-in" {
            notice
        } else {
            notice.leading_to("Back to the sign-in page", "/sign-in/helpdesk/support/x".to_owned())
        };
        pages.push((format!("result-{name}"), rendered(notice)));
    }
    pages
}

fn rendered(notice: Notice) -> String {
    askama::Template::render(&NoticePage { notice }).unwrap()
}

fn endings() -> Vec<(&'static str, Ended)> {
    let text = |text: &str| text.to_owned();
    let refusals = [
        (
            "wrong-account",
            SignInRefusal::WrongAccount {
                signed_in: text("jane.doe@example.com"),
                wanted: text("support@example.com"),
            },
        ),
        (
            "other-subject",
            SignInRefusal::OtherSubject {
                signed_in: text("support@example.com"),
            },
        ),
        (
            "identity-unproven",
            SignInRefusal::IdentityUnproven {
                why: text(
                    "The tenant is \"organizations\", under which the email claim proves nothing. Set spec.oauth2.parameters.tenant to the directory's own ID.",
                ),
            },
        ),
        (
            "scope-not-granted",
            SignInRefusal::ScopeNotGranted {
                missing: vec![text("https://mail.google.com/")],
            },
        ),
        ("no-refresh-token", SignInRefusal::NoRefreshToken),
        ("consent-denied", SignInRefusal::ConsentDenied),
        ("admin-consent", SignInRefusal::AdminConsentRequired),
        ("superseded", SignInRefusal::Superseded),
        (
            "code-refused",
            SignInRefusal::CodeRefused {
                message: text("Google did not take the sign-in (invalid_grant)."),
            },
        ),
        (
            "failed",
            SignInRefusal::Failed {
                message: text(
                    "Google did not take the sign-in (invalid_client). An admin must look at the OAuth client.",
                ),
            },
        ),
        (
            "not-possible",
            SignInRefusal::NotPossible {
                message: text("The asset is suspended (spec.suspend)."),
            },
        ),
    ];
    let mut endings = vec![
        (
            "signed-in",
            Ended::from(Ok(SignedIn {
                account: text("support@example.com"),
            })),
        ),
        (
            "signed-in-as-other",
            Ended::from(Ok(SignedIn {
                account: text("jane.doe@example.com"),
            })),
        ),
        (
            "provider-error",
            Ended::ProviderError {
                code: Some(text("AADSTS50020")),
            },
        ),
        ("provider-error-without-code", Ended::ProviderError { code: None }),
        ("waiting", Ended::Waiting),
    ];
    endings.extend(refusals.into_iter().map(|(name, refusal)| (name, Ended::from(refusal))));
    endings
}

/// Every element is closed, by the right tag, and every attribute quoted.
pub(super) fn assert_well_formed(html: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html.split_once("<!doctype html>").expect("a doctype").1;
    while let Some((text, tail)) = rest.split_once('<') {
        assert!(
            !text.contains('>') || open.last() == Some(&"style"),
            "a stray > in {text}"
        );
        let (tag, after) = tail.split_once('>').unwrap_or_else(|| panic!("{tail} does not end"));
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "in {html}");
            continue;
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
        let name = tag.split(' ').next().unwrap();
        if !VOID.contains(&name) {
            open.push(name);
        }
        if name == "style" {
            rest = rest.strip_prefix(STYLE).expect("the style sheet, as its hash says");
        }
    }
    assert!(open.is_empty(), "{open:?} are not closed");
}

#[test]
fn every_page_is_well_formed_and_asks_for_nothing_from_elsewhere() {
    for (name, html) in pages() {
        assert_well_formed(&html);
        for forbidden in [
            "<script",
            "javascript:",
            "onclick",
            " src=",
            "url(",
            "@import",
            "<link",
            "style=\"",
            "<iframe",
            "http-equiv",
        ] {
            assert!(!html.contains(forbidden), "{name} has {forbidden}");
        }
        for attribute in ["href=\"", "action=\""] {
            for (position, _) in html.match_indices(attribute) {
                let target = html.get(position + attribute.len()..).unwrap();
                assert!(
                    target.starts_with('/') && !target.starts_with("//"),
                    "{name} leads to {target:.40}"
                );
            }
        }
    }
}

#[test]
fn every_page_can_be_read_aloud() {
    for (name, html) in pages() {
        assert!(html.contains("<html lang=\"en\">"), "{name}");
        for once in ["<h1>", "<title>", "<main>", "name=\"viewport\""] {
            assert_eq!(html.matches(once).count(), 1, "{name}: {once}");
        }
        let title = super::rig::between(&html, "<title>", "</title>");
        assert!(title.len() > 5 && title.len() < 90, "{name}: {title}");
        let levels: Vec<_> = html
            .match_indices("<h")
            .filter_map(|(at, _)| html.as_bytes().get(at + 2))
            .filter(|level| level.is_ascii_digit())
            .collect();
        assert!(levels.iter().all(|level| matches!(level, b'1' | b'2')), "{name}");
    }
}

#[test]
fn pages_that_differ_in_what_happened_differ_in_what_they_say() {
    let mut titles: Vec<_> = PROBLEMS
        .iter()
        .map(|problem| Notice::of_problem(*problem).title)
        .collect();
    titles.sort();
    titles.dedup();
    assert_eq!(titles.len(), PROBLEMS.len());
}

#[test]
fn text_can_be_told_from_its_background() {
    // WCAG 2.2, 1.4.3: 4.5 to 1. The pairs that stand on each other in the style sheet, in both themes.
    for theme in ["light", "dark"] {
        for (text, back) in [
            ("text", "back"),
            ("text", "card"),
            ("text", "code"),
            ("quiet", "card"),
            ("on-accent", "accent"),
            ("accent", "card"),
            ("good", "card"),
            ("warn", "card"),
            ("bad", "card"),
            ("text", "good-back"),
            ("text", "warn-back"),
            ("text", "bad-back"),
            ("good", "good-back"),
            ("warn", "warn-back"),
            ("bad", "bad-back"),
        ] {
            let (one, other) = (luminance(&colour(theme, text)), luminance(&colour(theme, back)));
            let contrast = (one.max(other) + 0.05) / (one.min(other) + 0.05);
            assert!(contrast >= 4.5, "{theme}: {text} on {back} is {contrast:.2} to 1");
        }
    }
}

fn colour(theme: &str, name: &str) -> String {
    let (light, dark) = STYLE.split_once("prefers-color-scheme: dark").unwrap();
    let sheet = if theme == "light" { light } else { dark };
    super::rig::between(sheet, &format!("--{name}: #"), ";").to_owned()
}

fn luminance(colour: &str) -> f64 {
    let colour = if colour.len() == 3 {
        colour.chars().flat_map(|digit| [digit, digit]).collect()
    } else {
        colour.to_owned()
    };
    let part = |at: usize| {
        let value = f64::from(u8::from_str_radix(colour.get(at..at + 2).unwrap(), 16).unwrap()) / 255.0;
        if value <= 0.03928 {
            value / 12.92
        } else {
            ((value + 0.055) / 1.055).powf(2.4)
        }
    };
    0.2126 * part(0) + 0.7152 * part(2) + 0.0722 * part(4)
}

/// For looking at them: `SIGN_IN_PAGES=some/folder cargo test --lib signin::tests::html::write -- --ignored`.
#[test]
#[ignore = "writes files for the eye"]
fn write_every_page_into_a_folder() {
    let folder = env::var("SIGN_IN_PAGES").expect("SIGN_IN_PAGES names a folder");
    fs::create_dir_all(&folder).unwrap();
    for (name, html) in pages() {
        fs::write(Path::new(&folder).join(name).with_extension("html"), html).unwrap();
    }
}
