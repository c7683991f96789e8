//! The pages and what may be asked of them.
//!
//! ```text
//! GET  <public>/sign-in/<namespace>/<name>/<tag>   the page of an asset: shows, starts nothing
//! POST the same                                    its button: off to the provider
//! GET  <public>/callback/<provider's key>          the way back (callback.rs)
//! GET  <public>/result/<sealed>                    how it ended
//! ```
//!
//! Cheap checks come first: the allowance, the size, where a POST comes from. Only then is anything decrypted.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Extension, Router,
    body::Body,
    extract::{Path, Request, State, rejection::PathRejection},
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::{get, head},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, ORIGIN, RETRY_AFTER, SET_COOKIE},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;
use url::{Url, form_urlencoded};

use super::{
    Desk, Links, Offer,
    answer::{self, Forms},
    browser::BrowserId,
    callback,
    ended::{Ended, Outcome},
    pages::{Showing, SignInPage},
    rate::Allowance,
    server::Limits,
    state::{self, State as SealedState},
    used::Used,
    words::{Notice, Problem},
};
use crate::listener::Client;

/// Parameters of an authorization request that are ours alone: an asset cannot set them.
const OURS: &[&str] = &[
    "response_type",
    "redirect_uri",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
];

/// What all requests share.
pub(super) struct App<D> {
    pub(super) links: Links,
    pub(super) desk: Arc<D>,
    pub(super) used: Used,
    pub(super) limits: Limits,
    /// Codes that are being redeemed: nothing cancels them.
    pub(super) tasks: TaskTracker,
    /// Places for browsers that wait for an ending.
    pub(super) seats: Semaphore,
    allowance: Allowance,
}

impl<D: Desk> App<D> {
    pub(super) fn new(links: Links, desk: Arc<D>, limits: Limits) -> Self {
        Self {
            links,
            desk,
            used: Used::default(),
            tasks: TaskTracker::new(),
            seats: Semaphore::new(limits.waiting),
            allowance: Allowance::new(limits.requests_per_second, limits.burst, Instant::now()),
            limits,
        }
    }

    /// The path of an asset's page, for links on our own pages.
    pub(super) fn page_path(&self, offer: &Offer) -> String {
        self.links
            .page_url(&offer.namespace, &offer.name, &offer.uid, offer.edition.as_deref())
            .path()
            .to_owned()
    }

    /// An ending gets a page of its own: reloading that one sends no code.
    pub(super) fn tell(&self, outcome: &Outcome) -> Response {
        outcome
            .seal(&self.links.keys)
            .map_or_else(broken, |sealed| answer::redirect(self.links.result_url(&sealed).path()))
    }

    /// The asset that a link leads to.
    fn offer(&self, link: Result<Path<Link>, PathRejection>) -> Option<Offer> {
        let Path((namespace, name, tag)) = link.ok()?;
        let offer = self.desk.offer(&namespace, &name)?;
        self.links
            .page_is_ours(&namespace, &name, &offer.uid, offer.edition.as_deref(), &tag)
            .then_some(offer)
    }

    fn page(&self, offer: &Offer, status: StatusCode, showing: Showing) -> Response {
        let callback = self.links.callback_url(&offer.callback_key).into();
        let page = SignInPage::new(offer, callback, digest(offer), showing);
        let forms = match &offer.request {
            Ok(request) => Forms::Provider(request.scheme()),
            Err(_) => Forms::None,
        };
        answer::page(status, &page, forms)
    }
}

/// Namespace, name and tag in the path of an asset's page.
type Link = (String, String, String);

pub(super) fn router<D: Desk>(app: &Arc<App<D>>) -> Router {
    let pages = Router::new()
        .route("/sign-in/{namespace}/{name}/{tag}", get(show::<D>).post(start::<D>))
        .route(
            "/callback/{key}",
            // Link scanners and previews ask with HEAD; that must not use the code up.
            head(async || answer::plain(StatusCode::OK)).get(callback::come_back::<D>),
        )
        .route("/result/{sealed}", get(result::<D>))
        .method_not_allowed_fallback(async || answer::problem(Problem::Method))
        .with_state(Arc::clone(app));
    let all = match app.links.path() {
        "" => pages,
        path => Router::new().nest(path, pages),
    };
    all.fallback(async || answer::problem(Problem::NotFound))
        .layer(from_fn_with_state(Arc::clone(app), guard::<D>))
}

/// Before and after every request.
async fn guard<D: Desk>(State(app): State<Arc<App<D>>>, request: Request, next: Next) -> Response {
    let mut answer = if let Err(exhausted) = app.allowance.take(Instant::now()) {
        overloaded(app.limits.pause, exhausted.after).await
    } else if size(&request) > app.limits.header_size {
        let mut answer = answer::problem(Problem::TooLarge);
        *answer.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        answer
    } else {
        next.run(request).await
    };
    answer::secure(answer.headers_mut(), &app.links);
    answer
}

/// The client has to wait for this answer and to connect again: a flood is slowed down to what the connections at a time allow.
async fn overloaded(pause: Duration, after: Duration) -> Response {
    sleep(pause).await;
    let mut answer = answer::problem(Problem::Overloaded);
    let headers = answer.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs()));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

fn size(request: &Request) -> usize {
    let headers = request.headers().iter();
    let uri = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    uri + headers
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum::<usize>()
}

async fn show<D: Desk>(State(app): State<Arc<App<D>>>, link: Result<Path<Link>, PathRejection>) -> Response {
    match app.offer(link) {
        Some(offer) => app.page(&offer, StatusCode::OK, Showing::First),
        None => answer::problem(Problem::BadLink),
    }
}

async fn start<D: Desk>(
    State(app): State<Arc<App<D>>>,
    link: Result<Path<Link>, PathRejection>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if let Err(problem) = comes_from_our_page(&headers, &app.links) {
        return answer::problem(problem);
    }
    let Some(offer) = app.offer(link) else {
        return answer::problem(Problem::BadLink);
    };
    let shown = match client.waited_for(read_shown(&headers, body, &app.limits)).await {
        Ok(shown) => shown,
        Err(problem) => return answer::problem(problem),
    };
    let Ok(request) = &offer.request else {
        return app.page(&offer, StatusCode::CONFLICT, Showing::First);
    };
    // Whoever may edit the asset could change where the button leads after the person has read the page.
    if shown.is_none_or(|shown| shown != digest(&offer)) {
        return app.page(&offer, StatusCode::CONFLICT, Showing::Changed);
    }
    let browser = BrowserId::of(&headers, &app.links).unwrap_or_else(BrowserId::random);
    let leave = authorization_request(&app.links, &offer, request, &browser);
    let (Some(leave), Some(cookie)) = (leave, browser.cookie(&app.links)) else {
        return broken();
    };
    let mut answer = answer::redirect(leave.as_str());
    answer.headers_mut().insert(SET_COOKIE, cookie);
    answer
}

async fn result<D: Desk>(
    State(app): State<Arc<App<D>>>,
    sealed: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let browser = BrowserId::of(&headers, &app.links);
    let outcome = sealed
        .ok()
        .and_then(|Path(sealed)| Outcome::unseal(&app.links.keys, &sealed, browser.as_ref(), Timestamp::now()));
    let Some(outcome) = outcome else {
        return answer::problem(Problem::NoResult);
    };
    let mut notice = Notice::of_outcome(&outcome);
    let offer = app.desk.offer(&outcome.namespace, &outcome.name);
    if let Some(offer) = offer.filter(|offer| offer.uid == outcome.uid) {
        let label = match outcome.ended {
            Ended::SignedIn { .. } => None,
            Ended::Superseded | Ended::Waiting => Some("See how it stands"),
            _ => Some("Back to the sign-in page"),
        };
        if let Some(label) = label {
            notice = notice.leading_to(label, app.page_path(&offer));
        }
    }
    answer::notice(StatusCode::OK, notice)
}

fn broken() -> Response {
    answer::problem(Problem::Broken)
}

/// Whether a POST was made by a page of ours.
///
/// Current browsers say so in `Sec-Fetch-Site`, which no page can forge. `Origin` alone would not do: under our referrer policy browsers send `null` (Fetch standard, "append
/// a request `Origin` header"; seen with Chromium).
fn comes_from_our_page(headers: &HeaderMap, links: &Links) -> Result<(), Problem> {
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let site = headers.get("sec-fetch-site").map(text);
    let origin = headers.get(ORIGIN).map(text).filter(|origin| origin != "null");
    if origin.as_ref().is_some_and(|origin| *origin != links.origin()) {
        return Err(Problem::CrossSite);
    }
    match (site.as_deref(), origin) {
        (Some("same-origin"), _) | (None, Some(_)) => Ok(()),
        (Some(_), _) => Err(Problem::CrossSite),
        (None, None) => Err(Problem::NoOrigin),
    }
}

/// The digest in the form, if it is there.
async fn read_shown(headers: &HeaderMap, body: Body, limits: &Limits) -> Result<Option<String>, Problem> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let announced = announced.and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limits.body_size as u64) {
        return Err(Problem::TooLarge);
    }
    let body = timeout(limits.body_time, Limited::new(body, limits.body_size).collect())
        .await
        .map_err(|_| Problem::TooSlow)?
        .map_err(|error| {
            if error.is::<LengthLimitError>() {
                Problem::TooLarge
            } else {
                Problem::TooSlow
            }
        })?
        .to_bytes();
    let shown = form_urlencoded::parse(&body).find(|(name, _)| name == "shown");
    Ok(shown.map(|(_, value)| value.into_owned()))
}

/// Stands for all that the page shows or that the button leads to.
fn digest(offer: &Offer) -> String {
    let mut digest = Sha256::new();
    let mut add = |part: &str| {
        digest.update(part.as_bytes());
        digest.update([0]);
    };
    for text in [&offer.mailbox, &offer.login, &offer.provider, &offer.callback_key] {
        add(text);
    }
    add(offer.issuer.as_deref().unwrap_or_default());
    add(offer.request.as_ref().map_or("", Url::as_str));
    for list in [&offer.hosts, &offer.scopes] {
        add(&list.len().to_string());
        for text in list {
            add(text);
        }
    }
    URL_SAFE_NO_PAD.encode(digest.finalize())
}

/// The offer's request with what belongs to this one sign-in (RFC 6749 section 4.1.1, RFC 7636 section 4.3, OpenID Connect Core section 3.1.2.1).
fn authorization_request(links: &Links, offer: &Offer, request: &Url, browser: &BrowserId) -> Option<Url> {
    let state = SealedState::begin(offer, browser, Timestamp::now());
    let challenge = state::challenge(&state.verifier(&links.keys, browser));
    let mut leave = without_ours(request);
    leave
        .query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("redirect_uri", links.callback_url(&offer.callback_key).as_str())
        .append_pair("state", &state.seal(&links.keys)?)
        .append_pair("nonce", &state.nonce)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256");
    Some(leave)
}

fn without_ours(request: &Url) -> Url {
    let mut cleaned = request.clone();
    cleaned.set_fragment(None);
    if request.query_pairs().any(|(name, _)| OURS.contains(&&*name)) {
        let others: Vec<_> = request
            .query_pairs()
            .into_owned()
            .filter(|(name, _)| !OURS.contains(&name.as_str()))
            .collect();
        cleaned.query_pairs_mut().clear().extend_pairs(others);
    }
    cleaned
}
