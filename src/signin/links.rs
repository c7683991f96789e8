//! Addresses of the sign-in pages.
//!
//! They are made from the public URL that the operator was started with, never from what a request says. A link to an asset's page can be made by us alone, but it is
//! no credential: it stands in the status, and all that it allows is to sign in as the right person.

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use url::{Host, Url};

use super::keys::Keys;

/// Makes and checks the addresses of the sign-in pages. Copies share the keys.
#[derive(Clone)]
pub struct Links {
    public_url: Url,
    pub(super) keys: Arc<Keys>,
}

/// The public URL is none that browsers and providers can use.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the public URL {url} {problem}; give one such as https://mail-access.example.com")]
pub struct PublicUrlError {
    /// As given.
    pub url: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl Links {
    /// Links under this URL, which browsers reach over https. Plain http is for this machine alone (RFC 9700 section 2.6).
    ///
    /// # Errors
    /// [`PublicUrlError`]
    pub fn new(public_url: &Url, keys: Arc<Keys>) -> Result<Self, PublicUrlError> {
        if let Some(problem) = problem(public_url) {
            return Err(PublicUrlError {
                url: public_url.to_string(),
                problem,
            });
        }
        let mut public_url = public_url.clone();
        if let Ok(mut segments) = public_url.path_segments_mut() {
            segments.pop_if_empty();
        }
        Ok(Self { public_url, keys })
    }

    /// The page of an asset. It stays the same until the asset is made anew or `edition`, the value of its annotation `emailasset.dev/sign-in`, changes.
    #[must_use]
    pub fn page_url(&self, namespace: &str, name: &str, uid: &str, edition: Option<&str>) -> Url {
        let tag = hmac::sign(self.keys.links(), &authenticated(namespace, name, uid, edition));
        self.at(&["sign-in", namespace, name, &URL_SAFE_NO_PAD.encode(tag)])
    }

    /// Whether a link to an asset's page was made by us, for this very asset and edition. Takes the same time whatever is wrong.
    pub(super) fn page_is_ours(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        edition: Option<&str>,
        tag: &str,
    ) -> bool {
        URL_SAFE_NO_PAD.decode(tag).is_ok_and(|tag| {
            let message = authenticated(namespace, name, uid, edition);
            hmac::verify(self.keys.links(), &message, &tag).is_ok()
        })
    }

    /// Where a provider sends people back to: the redirect URI that is registered there.
    #[must_use]
    pub fn callback_url(&self, callback_key: &str) -> Url {
        self.at(&["callback", callback_key])
    }

    /// Where a person reads how a sign-in ended.
    pub(super) fn result_url(&self, sealed: &str) -> Url {
        self.at(&["result", sealed])
    }

    /// What browsers call us in `Origin`.
    pub(super) fn origin(&self) -> String {
        self.public_url.origin().ascii_serialization()
    }

    /// The path that ours begin with; empty where we have the whole host.
    pub(super) fn path(&self) -> &str {
        self.public_url.path().trim_end_matches('/')
    }

    /// Whether browsers reach us over TLS.
    pub(super) fn over_tls(&self) -> bool {
        self.public_url.scheme() == "https"
    }

    fn at(&self, path: &[&str]) -> Url {
        let mut url = self.public_url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(path);
        }
        url
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Links({})", self.public_url)
    }
}

fn problem(url: &Url) -> Option<&'static str> {
    let reachable = match (url.scheme(), url.host()) {
        (_, None) => return Some("has no host"),
        ("https", _) => true,
        ("http", Some(Host::Domain(name))) => name == "localhost",
        ("http", Some(Host::Ipv4(address))) => address.is_loopback(),
        ("http", Some(Host::Ipv6(address))) => address.is_loopback(),
        _ => false,
    };
    if !reachable {
        return Some("is not https, which all but this machine's own addresses need");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("names a user");
    }
    (url.query().is_some() || url.fragment().is_some()).then_some("has a query or a fragment")
}

/// No two assets or editions give the same bytes: each part is followed by a byte that stands in none of them.
fn authenticated(namespace: &str, name: &str, uid: &str, edition: Option<&str>) -> Vec<u8> {
    let mut message = Vec::new();
    for part in [namespace, name, uid] {
        message.extend_from_slice(part.as_bytes());
        message.push(0);
    }
    if let Some(edition) = edition {
        message.push(1);
        message.extend_from_slice(edition.as_bytes());
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(public: &str) -> Result<Links, PublicUrlError> {
        Links::new(&Url::parse(public).unwrap(), Arc::new(Keys::new(&[7; 32]).unwrap()))
    }

    fn tag(url: &Url) -> String {
        url.path_segments().unwrap().next_back().unwrap().to_owned()
    }

    #[test]
    fn addresses_stand_below_the_public_url() {
        for public in ["https://mail.example.com/access", "https://mail.example.com/access/"] {
            let links = links(public).unwrap();
            assert_eq!(
                links.callback_url("google").as_str(),
                "https://mail.example.com/access/callback/google"
            );
            let page = links.page_url("helpdesk", "support", "uid", None);
            assert!(
                page.as_str()
                    .starts_with("https://mail.example.com/access/sign-in/helpdesk/support/")
            );
            assert_eq!(links.path(), "/access");
        }
        let whole_host = links("https://mail.example.com").unwrap();
        assert_eq!(
            whole_host.callback_url("google").as_str(),
            "https://mail.example.com/callback/google"
        );
        assert_eq!(whole_host.path(), "");
    }

    #[test]
    fn a_link_is_good_for_its_own_asset_and_edition_only() {
        let links = links("https://mail.example.com").unwrap();
        let tag = tag(&links.page_url("helpdesk", "support", "uid-1", Some("2")));
        assert!(links.page_is_ours("helpdesk", "support", "uid-1", Some("2"), &tag));
        for (namespace, name, uid, edition) in [
            ("sales", "support", "uid-1", Some("2")),
            ("helpdesk", "sales", "uid-1", Some("2")),
            ("helpdesk", "support", "uid-2", Some("2")),
            ("helpdesk", "support", "uid-1", Some("3")),
            ("helpdesk", "support", "uid-1", None),
            ("helpdesk", "suppor", "tuid-1", Some("2")),
        ] {
            assert!(
                !links.page_is_ours(namespace, name, uid, edition, &tag),
                "{namespace} {name} {uid} {edition:?}"
            );
        }
        for forged in [
            "",
            "x",
            tag.get(1..).unwrap(),
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            &format!("{tag}A"),
        ] {
            assert!(
                !links.page_is_ours("helpdesk", "support", "uid-1", Some("2"), forged),
                "{forged}"
            );
        }
    }

    #[test]
    fn no_edition_is_not_an_empty_one() {
        let links = links("https://mail.example.com").unwrap();
        assert_ne!(
            links.page_url("helpdesk", "support", "uid", None),
            links.page_url("helpdesk", "support", "uid", Some(""))
        );
    }

    #[test]
    fn links_are_the_same_on_every_replica() {
        let url = |links: Links| links.page_url("helpdesk", "support", "uid", None);
        let public = "https://mail.example.com";
        assert_eq!(url(links(public).unwrap()), url(links(public).unwrap()));
    }

    #[test]
    fn a_public_url_that_browsers_cannot_use_is_refused() {
        for (public, problem) in [
            ("http://mail.example.com", "is not https"),
            ("http://10.0.0.1", "is not https"),
            ("ftp://mail.example.com", "is not https"),
            ("mailto:jane@example.com", "has no host"),
            ("https://jane@mail.example.com", "names a user"),
            ("https://mail.example.com/?a=b", "has a query"),
            ("https://mail.example.com/#a", "has a query or a fragment"),
        ] {
            let error = links(public).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
        for public in ["http://localhost:8080", "http://127.0.0.1:8080", "http://[::1]:8080"] {
            assert!(links(public).is_ok(), "{public}");
        }
    }

    #[test]
    fn a_name_cannot_lead_out_of_its_place() {
        let url = links("https://mail.example.com")
            .unwrap()
            .callback_url("../../evil?x#y");
        assert_eq!(url.as_str(), "https://mail.example.com/callback/..%2F..%2Fevil%3Fx%23y");
    }
}
