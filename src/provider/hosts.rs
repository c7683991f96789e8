//! Which hosts may receive a credential (invariant 11).
//!
//! People may edit assets who may not read Secrets. If an asset's URLs alone decided where its client secret and refresh token go, such a person could send them
//! to a server of their own. So a host must be one of the catalogue entry's own, or the *input Secret itself* must name it in its annotation
//! `emailasset.dev/hosts`, which only those can write who may change the Secret.
//!
//! Hosts are compared after the URL parser that also makes the request has read them: no trick with user names, ports, case, number formats or look-alike letters
//! makes the host that is checked differ from the host that is called. Names are compared whole; there are no wildcards.

use std::fmt;

use url::{Host, Url};

use super::resolve::Endpoints;
use crate::api::names;

/// More entries than this in one annotation are not read, so that messages stay readable.
const MAX_ENTRIES: usize = 32;
const HTTPS_PORT: u16 = 443;

/// A host, and a port if only that one is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Authority {
    /// Name or address as the URL parser writes it: lower case, ASCII.
    host: String,
    /// `None`: any port.
    port: Option<u16>,
}

impl Authority {
    /// Reads `host` or `host:port`. `None` for anything else: a wildcard, a URL, a final dot, letters outside ASCII.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(parse_port(port)?)),
            _ => (text.as_str(), None),
        };
        let plain = host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte));
        if !plain || host.is_empty() || host.ends_with('.') {
            return None;
        }
        let host = Host::parse(host).ok()?.to_string();
        Some(Self { host, port })
    }

    /// Where a request to this URL goes. A URL without a host gives an authority that nothing allows.
    #[must_use]
    pub fn of(url: &Url) -> Self {
        Self {
            host: url.host_str().unwrap_or_default().to_owned(),
            port: url.port_or_known_default(),
        }
    }

    /// The same host, on the port of https only.
    pub(super) fn on_https(self) -> Self {
        Self {
            port: Some(HTTPS_PORT),
            ..self
        }
    }

    /// The name or address alone, for people.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// How to allow this target: people do not write the port of https.
    fn into_entry(self) -> Self {
        Self {
            port: self.port.filter(|port| *port != HTTPS_PORT),
            ..self
        }
    }

    /// Whether a request to the other one may go where this one is allowed.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        !other.host.is_empty() && self.host == other.host && (self.port.is_none() || self.port == other.port)
    }
}

/// As people write it into the annotation.
impl fmt::Display for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            None => formatter.write_str(&self.host),
            Some(port) => write!(formatter, "{}:{port}", self.host),
        }
    }
}

/// Rust's own parser takes `+443`.
fn parse_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

/// The hosts that may receive what one input Secret holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPolicy {
    own: Vec<Authority>,
    named: Vec<Authority>,
    unreadable: usize,
}

impl HostPolicy {
    /// From the catalogue entry's own hosts ([`Endpoints::own_hosts`]) and the value of the Secret's annotation `emailasset.dev/hosts`.
    #[must_use]
    pub fn new(own: &[Authority], annotation: Option<&str>) -> Self {
        let entries = annotation
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        let read: Vec<_> = entries.take(MAX_ENTRIES).map(Authority::parse).collect();
        let unreadable = read.iter().filter(|entry| entry.is_none()).count();
        Self {
            own: own.to_vec(),
            named: read.into_iter().flatten().collect(),
            unreadable,
        }
    }

    /// For the access token of an asset: the hosts that issue it, the entry's own, and those that the client's Secret names.
    #[must_use]
    pub fn for_access_token(endpoints: &Endpoints, annotation: Option<&str>) -> Self {
        let issuing = [&endpoints.token_url, &endpoints.refresh_url].map(Authority::of);
        let own = issuing
            .iter()
            .chain(&endpoints.own_hosts)
            .chain(&endpoints.sign_in.identity.hosts);
        Self::new(&own.cloned().collect::<Vec<_>>(), annotation)
    }

    /// Whether a request with the Secret's contents may go to this URL.
    #[must_use]
    pub fn allows(&self, url: &Url) -> bool {
        let target = Authority::of(url);
        url.scheme() == "https"
            && self
                .own
                .iter()
                .chain(&self.named)
                .any(|allowed| allowed.covers(&target))
    }
}

/// A Secret whose contents would be sent, as metadata shows it: contents are not needed to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputSecret<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The value of its annotation `emailasset.dev/hosts`.
    pub hosts: Option<&'a str>,
}

/// Credentials would go to hosts that their Secrets do not name. It prints what a person has to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))]
pub struct HostNotAllowed(pub Vec<Refusal>);

/// One Secret, and the hosts that may not have its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The Secret's namespace.
    pub namespace: String,
    /// The Secret's name.
    pub name: String,
    /// The hosts that the contents would go to.
    pub hosts: Vec<Authority>,
    annotated: bool,
    keep: Vec<Authority>,
    unreadable: usize,
}

/// Checks that the contents of each Secret may go to all endpoints that would receive them.
pub fn check_hosts(endpoints: &Endpoints, secrets: &[InputSecret<'_>]) -> Result<(), HostNotAllowed> {
    let receivers: Vec<&Url> = receivers(endpoints).collect();
    check(&receivers, &endpoints.own_hosts, secrets)
}

/// Checks that each Secret lets this issuer say where its contents go. The issuer itself gets nothing but a question; but whoever may not read the Secrets shall
/// not choose who is asked.
pub fn check_issuer_host(issuer: &str, secrets: &[InputSecret<'_>]) -> Result<(), HostNotAllowed> {
    // What is no URL is refused where the spec is read.
    let url = Url::parse(issuer);
    check(&url.iter().collect::<Vec<_>>(), &[], secrets)
}

fn check(receivers: &[&Url], own: &[Authority], secrets: &[InputSecret<'_>]) -> Result<(), HostNotAllowed> {
    let mut refusals: Vec<Refusal> = Vec::new();
    for secret in secrets {
        let policy = HostPolicy::new(own, secret.hosts);
        let mut hosts: Vec<_> = receivers
            .iter()
            .filter(|url| !policy.allows(url))
            .map(|url| Authority::of(url).into_entry())
            .collect();
        hosts.dedup();
        let known = refusals
            .iter()
            .any(|refusal| refusal.namespace == secret.namespace && refusal.name == secret.name);
        if !hosts.is_empty() && !known {
            refusals.push(Refusal {
                namespace: secret.namespace.to_owned(),
                name: secret.name.to_owned(),
                hosts,
                annotated: secret.hosts.is_some(),
                keep: policy.named,
                unreadable: policy.unreadable,
            });
        }
    }
    if refusals.is_empty() {
        Ok(())
    } else {
        Err(HostNotAllowed(refusals))
    }
}

/// A grant would be given back to a server that it is not from. It prints what a person has to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "spec.oauth2.revocationURL is at {found}, and the refresh token of this asset is sent only to {expected}, where it is redeemed, and to hosts of the provider in use: set it to an endpoint there, or leave it out and set grantDeletionPolicy to Delete"
)]
pub struct GivenToStranger {
    found: Authority,
    expected: Authority,
}

/// Checks that a stored grant is given back where it is redeemed, or at one of the provider's own hosts. What Secrets name does not matter here: whoever edits the
/// asset may name Secrets of their own, or none.
pub fn check_giving_back(endpoints: &Endpoints) -> Result<(), GivenToStranger> {
    let expected = Authority::of(&endpoints.refresh_url);
    let is_known = |found: &Authority| {
        endpoints
            .own_hosts
            .iter()
            .chain([&expected])
            .any(|known| known.covers(found))
    };
    let stranger = endpoints.revocation_url.as_ref().map(Authority::of);
    match stranger.filter(|found| !is_known(found)) {
        None => Ok(()),
        Some(found) => Err(GivenToStranger {
            found: found.into_entry(),
            expected: expected.into_entry(),
        }),
    }
}

/// The endpoints that are sent what a Secret holds, or what was got with it. The authorization endpoint is sent no secret. A userinfo endpoint sees the access
/// token; the entry's own is known to be the provider's, and one that is found by discovery is held against [`HostPolicy::for_access_token`] when it is found.
fn receivers(endpoints: &Endpoints) -> impl Iterator<Item = &Url> {
    let identity = &endpoints.sign_in.identity;
    let is_own = |url: &&Url| identity.hosts.contains(&Authority::of(url));
    [&endpoints.token_url, &endpoints.refresh_url]
        .into_iter()
        .chain(&endpoints.revocation_url)
        .chain(&endpoints.sign_in.device_authorization_url)
        .chain(identity.userinfo_url.iter().filter(move |url| !is_own(url)))
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            namespace, name, hosts, ..
        } = self;
        let targets = join(hosts, " and ");
        write!(
            formatter,
            "The contents of Secret {namespace}/{name} may not be sent to {targets}: this is no host of the provider in use, and the Secret does not name it.",
        )?;
        if self.unreadable > 0 {
            write!(
                formatter,
                " {} of the entries in its annotation {} cannot be read: each must be a host name, with a port if need be, and no wildcard.",
                self.unreadable,
                names::HOSTS
            )?;
        }
        let list: Vec<_> = self.keep.iter().chain(hosts).cloned().collect();
        let overwrite = if self.annotated { " --overwrite" } else { "" };
        write!(
            formatter,
            " If the host is right, somebody who may change the Secret allows it: kubectl annotate secret -n {namespace} {name} {}={}{overwrite}",
            names::HOSTS,
            join(&list, ","),
        )
    }
}

fn join(hosts: &[Authority], separator: &str) -> String {
    hosts
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(separator)
}
