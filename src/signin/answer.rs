//! Answers, and the headers that stand on every one of them.

use askama::Template;
use axum::{body::Body, response::Response};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
        X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
};
use tracing::error;

use super::{
    Links,
    pages::{NoticePage, STYLE_SOURCE},
    words::{Notice, Problem},
};

/// Where a form of a page may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forms<'a> {
    /// There is none.
    None,
    /// To ourselves, and from there to a provider over this scheme.
    ///
    /// Chromium applies `form-action` to every redirect that follows the button. The provider's own origin would not do: an organisation's directory often sends
    /// people on to its own login page, and the button would then do nothing at all (tried with Chromium).
    Provider(&'a str),
}

/// A page.
pub(super) fn page(status: StatusCode, page: &impl Template, forms: Forms<'_>) -> Response {
    let text = match page.render() {
        Ok(text) => text,
        Err(problem) => {
            error!(error = %problem, "a page could not be made");
            return plain(StatusCode::INTERNAL_SERVER_ERROR);
        }
    };
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, policy(forms));
    answer
}

/// A page without a form.
pub(super) fn notice(status: StatusCode, notice: Notice) -> Response {
    page(status, &NoticePage { notice }, Forms::None)
}

/// The page of a request that went wrong.
pub(super) fn problem(problem: Problem) -> Response {
    notice(status(problem), Notice::of_problem(problem))
}

/// Goes on with a GET.
pub(super) fn redirect(to: &str) -> Response {
    let Ok(to) = HeaderValue::try_from(to) else {
        return problem(Problem::Broken);
    };
    let mut answer = plain(StatusCode::SEE_OTHER);
    answer.headers_mut().insert(LOCATION, to);
    answer
}

/// An answer without a body.
pub(super) fn plain(status: StatusCode) -> Response {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

pub(super) const fn status(problem: Problem) -> StatusCode {
    match problem {
        Problem::NotFound | Problem::BadLink => StatusCode::NOT_FOUND,
        Problem::Method => StatusCode::METHOD_NOT_ALLOWED,
        Problem::CrossSite | Problem::NoOrigin | Problem::OtherBrowser => StatusCode::FORBIDDEN,
        Problem::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Problem::TooSlow => StatusCode::REQUEST_TIMEOUT,
        Problem::Overloaded => StatusCode::TOO_MANY_REQUESTS,
        Problem::BadState | Problem::Garbled | Problem::OtherProvider | Problem::MixedUp => StatusCode::BAD_REQUEST,
        Problem::Changed => StatusCode::CONFLICT,
        Problem::Expired | Problem::NoResult => StatusCode::GONE,
        Problem::Broken => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Puts on what every answer has.
pub(super) fn secure(headers: &mut HeaderMap, links: &Links) {
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if links.over_tls() {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert_with(|| policy(Forms::None));
}

fn policy(forms: Forms<'_>) -> HeaderValue {
    let form_action = match forms {
        Forms::None => "'none'".to_owned(),
        Forms::Provider(scheme) => format!("'self' {scheme}:"),
    };
    let style = &*STYLE_SOURCE;
    let policy = format!(
        "default-src 'none'; style-src {style}; form-action {form_action}; frame-ancestors 'none'; base-uri 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
}
