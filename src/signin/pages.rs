//! The pages as HTML: `templates/`, filled in. Whatever goes in is escaped by the template engine.

use std::sync::LazyLock;

use askama::Template;
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{Offer, scopes::Asked, words::Notice};

/// The one style sheet, inside each page: so a page is one request, and nothing else has to be allowed.
pub(super) const STYLE: &str = include_str!("../../templates/style.css");

/// How the content security policy names the style sheet.
pub(super) static STYLE_SOURCE: LazyLock<String> =
    LazyLock::new(|| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(STYLE))));

/// The page of an asset, with its one button.
#[derive(Template)]
#[template(path = "sign_in.html")]
pub(super) struct SignInPage<'a> {
    offer: &'a Offer,
    asked: Asked,
    /// The mailbox in two parts: a narrow screen breaks the line between them.
    local: &'a str,
    domain: &'a str,
    /// Who is signed in.
    account: Option<String>,
    since: Option<String>,
    /// Our callback URL, where the client's own file does not list it.
    unregistered: Option<String>,
    /// Stands for what is shown: the button works for this alone.
    shown: String,
    /// The person saw something else before.
    changed: bool,
}

/// Whether the person comes from a page that showed something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Showing {
    First,
    Changed,
}

impl<'a> SignInPage<'a> {
    pub(super) fn new(offer: &'a Offer, callback: String, shown: String, showing: Showing) -> Self {
        let registered = offer.registered_callbacks.as_ref();
        let account = offer.account.clone().or_else(|| {
            let somebody = || "Somebody".to_owned();
            offer.granted.map(|_| somebody())
        });
        let at = offer.mailbox.find('@').map_or(0, |at| at + 1);
        let (local, domain) = offer.mailbox.split_at_checked(at).unwrap_or(("", &offer.mailbox));
        Self {
            offer,
            local,
            domain,
            asked: Asked::of(&offer.scopes, &offer.mailbox),
            since: offer.granted.map(in_words),
            unregistered: registered
                .is_some_and(|registered| !registered.contains(&callback))
                .then_some(callback),
            account: offer.granted.and(account),
            shown,
            changed: showing == Showing::Changed,
        }
    }
}

/// A page without a form.
#[derive(Template)]
#[template(path = "notice.html")]
pub(super) struct NoticePage {
    pub(super) notice: Notice,
}

fn in_words(time: Timestamp) -> String {
    time.strftime("%-d %B %Y, %H:%M UTC").to_string()
}
