//! The pages that a person sees in the browser after the provider sent it back to this machine.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Response, StatusCode, header};
use sha2::{Digest, Sha256};

const STYLE: &str = "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:12vh auto;padding:0 1rem;color:#1a1a1a;background:#fff}h1{font-size:1.5rem}@media(prefers-color-scheme:dark){body{color:#eee;background:#1a1a1a}}";

/// What a page says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// The provider's answer was taken.
    Taken,
    /// The provider sent the person back without a code.
    Refused,
    /// The request is no answer to the sign-in that waits.
    Stray,
    /// There is no such page.
    NotFound,
}

/// A page, with the headers that keep it from being framed, cached or told about.
pub(super) fn page(page: Page) -> Response<String> {
    let (status, title, text) = match page {
        Page::Taken => (
            StatusCode::OK,
            "You can close this window",
            "The answer of the provider has arrived. The terminal where you began says whether the sign-in worked.",
        ),
        Page::Refused => (
            StatusCode::OK,
            "The sign-in did not happen",
            "The provider sent you back without a consent, and nothing was changed. The terminal where it began says why. You can close this window.",
        ),
        Page::Stray => (
            StatusCode::BAD_REQUEST,
            "This is not the answer that is waited for",
            "Nothing was taken from it. Go back to the terminal and open the link from there once more.",
        ),
        Page::NotFound => (StatusCode::NOT_FOUND, "There is nothing here", "Nothing was changed."),
    };
    let body = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><main><h1>{title}</h1><p>{text}</p></main></body></html>\n"
    );
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        STANDARD.encode(Sha256::digest(STYLE))
    );
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    // Base64 and fixed words: it is always a header value.
    if let Ok(policy) = header::HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}
