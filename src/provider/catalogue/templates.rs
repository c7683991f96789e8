//! Addresses with places to fill in: `https://{accounts}/oauth/v2/token`.

use std::collections::BTreeMap;

use url::Url;

/// The names in braces.
pub(in crate::provider) fn placeholders(template: &str) -> impl Iterator<Item = &str> {
    template
        .split('{')
        .skip(1)
        .filter_map(|part| Some(part.split_once('}')?.0))
}

/// The template with these words in their places. Names that are not among them stay.
pub(super) fn with_words(template: &str, words: Option<&BTreeMap<String, String>>) -> String {
    words
        .into_iter()
        .flatten()
        .fold(template.to_owned(), |filled, (name, word)| {
            filled.replace(&format!("{{{name}}}"), word)
        })
}

/// The template's URL with a harmless word for each name that is left.
pub(in crate::provider) fn example_url(template: &str) -> Option<Url> {
    let filled = placeholders(template).fold(template.to_owned(), |url, name| {
        url.replace(&format!("{{{name}}}"), "x")
    });
    Url::parse(&filled).ok()
}

/// What stands where the host is.
pub(super) fn host_part(template: &str) -> Option<&str> {
    template
        .strip_prefix("https://")
        .and_then(|rest| rest.split('/').next())
}
