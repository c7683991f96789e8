//! Sending one request and reading a bounded answer, with reqwest.
//!
//! - **Sent or not.** The request body notes when the connection first asks for it. Before that moment nothing of it, and so
//!   no refresh token, can have left; after it, it may have. HTTP/1.1 only: there a connection carries one request at a time,
//!   and nothing below repeats a request that was begun.
//! - **Where to.** `https` only, no redirects, and the addresses of [`address`].
//! - **Proxies** of the environment (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`) are the admin's choice and may have any address.
//!   The target's name is then resolved by the proxy, out of our sight: only addresses in the URL and `localhost` are
//!   refused, the rest is the proxy's to decide.
//! - **Connections** are kept for 4 s: long enough for a burst, shorter than the idle limits of servers (Node.js: 5 s), so that
//!   a request rarely meets a connection that its server is just closing, which would make its outcome unknown.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper_util::client::proxy::matcher::Matcher;
use oauth2::HttpRequest;
use reqwest::redirect::Policy;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::answer::Completeness;
use super::resolver::GuardedResolver;
use crate::outbound::address::{self, PrivateAddresses};
use crate::outbound::{CaBundle, Recent};

/// How exchanges are made.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// For the whole exchange, from resolving the name to the last byte. Default 30 s: giving up early on a rotating server
    /// is dear.
    pub timeout: Duration,
    /// For resolving, connecting and TLS together. Default 10 s.
    pub connect_timeout: Duration,
    /// The largest body that is read, in bytes. Default 256 KiB.
    pub body_limit: usize,
    /// Whether loopback, link-local and metadata addresses may be connected to. Default: refused.
    pub private_addresses: PrivateAddresses,
    /// Trusted for all exchanges, on top of the platform's authorities.
    pub ca_bundle: Option<CaBundle>,
    /// What we call ourselves. Default `emailasset-operator/<version>`.
    pub user_agent: String,
    /// Which proxy is used. Default: that of the environment.
    pub proxy: ProxySetting,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            body_limit: 256 * 1024,
            private_addresses: PrivateAddresses::Refuse,
            ca_bundle: None,
            user_agent: concat!("emailasset-operator/", env!("CARGO_PKG_VERSION")).to_owned(),
            proxy: ProxySetting::Environment,
        }
    }
}

/// Which proxy exchanges go through.
#[derive(Clone, PartialEq, Eq)]
pub enum ProxySetting {
    /// What `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` said when the client was made.
    Environment,
    /// This one, for all hosts.
    Through(Url),
    /// None.
    Direct,
}

impl fmt::Debug for ProxySetting {
    /// Without the password that the URL of a proxy may hold.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => formatter.write_str("Environment"),
            Self::Through(proxy) => write!(formatter, "Through({})", proxy.host_str().unwrap_or_default()),
            Self::Direct => formatter.write_str("Direct"),
        }
    }
}

/// Why no HTTP client can be made.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The process has no TLS provider.
    #[error("no TLS provider is installed: call rustls::crypto::ring::default_provider().install_default() in main")]
    NoTlsProvider,
    /// reqwest says no; most often there is no CA certificate on the machine.
    #[error("cannot make an HTTP client: check that CA certificates are installed, or set SSL_CERT_FILE")]
    Client(#[source] reqwest::Error),
}

/// How a request gets to its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Direct,
    Proxied,
}

/// What distinguishes one pool of connections from another.
type PoolKey = (Route, Option<[u8; 32]>);

/// Clients beyond this many are dropped, least recently used first.
const MOST_POOLS: usize = 64;

/// Shorter than the idle limit of any server we know.
const IDLE_LIMIT: Duration = Duration::from_secs(4);

/// Sends requests. One pool of connections per CA bundle and route.
pub(super) struct Transport {
    settings: HttpSettings,
    proxies: Matcher,
    pools: Mutex<Recent<PoolKey, reqwest::Client>>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Transport")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// What came back.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) completeness: Completeness,
}

/// Nothing came back. `sent` tells whether the server may have read the request.
pub(super) struct NoResponse {
    pub(super) sent: Sent,
    pub(super) reason: Reason,
}

/// Whether the connection has asked for the request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    No,
    Maybe,
}

/// Why nothing came back.
pub(super) enum Reason {
    /// The endpoint breaks one of our rules.
    Endpoint(&'static str),
    /// The host itself is an address that is off limits.
    OffLimits,
    /// No client could be made for this CA bundle.
    Client(HttpError),
    /// The time was up.
    TimedOut,
    /// reqwest failed.
    Failed(reqwest::Error),
}

impl Transport {
    pub(super) fn new(settings: HttpSettings) -> Result<Self, HttpError> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(HttpError::NoTlsProvider);
        }
        let proxies = match &settings.proxy {
            ProxySetting::Environment => Matcher::from_env(),
            ProxySetting::Through(proxy) => Matcher::builder().all(proxy.as_str().to_owned()).build(),
            ProxySetting::Direct => Matcher::builder().build(),
        };
        let transport = Self {
            settings,
            proxies,
            pools: Mutex::new(Recent::holding(MOST_POOLS)),
        };
        transport.pool(Route::Direct, None)?;
        Ok(transport)
    }

    /// Sends `request` to `url`. Ends within the time limit.
    pub(super) async fn send(
        &self,
        url: &Url,
        request: HttpRequest,
        authority: Option<&CaBundle>,
    ) -> Result<Response, NoResponse> {
        let deadline = Instant::now() + self.settings.timeout;
        let unsent = |reason| NoResponse { sent: Sent::No, reason };
        self.check(url).map_err(unsent)?;
        let pool = self
            .pool(self.route(url), authority)
            .map_err(|error| unsent(Reason::Client(error)))?;
        let handed_over = Arc::new(AtomicBool::new(false));
        let without_body = request.body().is_empty();
        let request = to_reqwest(url, request, &handed_over);
        let failed = |reason| {
            // Nothing tells when a request without a body was handed over. It holds nothing that could be lost; only the words depend on it.
            let connected = without_body && !matches!(&reason, Reason::Failed(error) if error.is_connect());
            let sent = if connected || handed_over.load(Ordering::SeqCst) {
                Sent::Maybe
            } else {
                Sent::No
            };
            NoResponse { sent, reason }
        };
        match timeout_at(deadline, pool.execute(request)).await {
            Ok(Ok(response)) => Ok(self.read(response, deadline).await),
            Ok(Err(error)) => Err(failed(Reason::Failed(error.without_url()))),
            Err(_) => Err(failed(Reason::TimedOut)),
        }
    }

    fn check(&self, url: &Url) -> Result<(), Reason> {
        if url.scheme() != "https" {
            return Err(Reason::Endpoint("it must begin with https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Reason::Endpoint("it must not hold a user name or password"));
        }
        if self.settings.private_addresses == PrivateAddresses::Refuse && address::literal(url) {
            return Err(Reason::OffLimits);
        }
        Ok(())
    }

    /// reqwest asks the same matcher; we ask first, because a proxied request needs no guarded resolver and a direct one does.
    fn route(&self, url: &Url) -> Route {
        let uri = url.as_str().parse::<http::Uri>();
        match uri.ok().and_then(|uri| self.proxies.intercept(&uri)) {
            Some(_) => Route::Proxied,
            None => Route::Direct,
        }
    }

    /// The pool for a route and a CA bundle; made when first asked for, which reads the platform's certificates.
    fn pool(&self, route: Route, authority: Option<&CaBundle>) -> Result<reqwest::Client, HttpError> {
        let key = (route, authority.map(CaBundle::fingerprint));
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.get_or_make(key, || self.make_client(route, authority))
    }

    fn make_client(&self, route: Route, authority: Option<&CaBundle>) -> Result<reqwest::Client, HttpError> {
        let bundles = self.settings.ca_bundle.iter().chain(authority);
        let certificates = bundles
            .flat_map(CaBundle::certificates)
            .map(|certificate| reqwest::Certificate::from_der(certificate))
            .collect::<Result<Vec<_>, _>>()
            .map_err(HttpError::Client)?;
        let builder = reqwest::Client::builder()
            .https_only(true)
            .http1_only()
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(self.settings.connect_timeout)
            .pool_idle_timeout(IDLE_LIMIT)
            .user_agent(&self.settings.user_agent)
            .tls_certs_merge(certificates);
        let builder = match (route, &self.settings.proxy) {
            (Route::Direct, _) => builder
                .no_proxy()
                .dns_resolver(GuardedResolver(self.settings.private_addresses)),
            (Route::Proxied, ProxySetting::Through(proxy)) => {
                builder.proxy(reqwest::Proxy::all(proxy.clone()).map_err(HttpError::Client)?)
            }
            (Route::Proxied, ProxySetting::Environment | ProxySetting::Direct) => builder,
        };
        builder.build().map_err(HttpError::Client)
    }

    /// What was read before the connection broke or the time was up is kept: it may be a complete answer.
    async fn read(&self, mut response: reqwest::Response, deadline: Instant) -> Response {
        let mut body = Vec::new();
        let completeness = loop {
            match timeout_at(deadline, response.chunk()).await {
                Ok(Ok(Some(chunk))) if body.len() + chunk.len() > self.settings.body_limit => {
                    break Completeness::TooLarge;
                }
                Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
                Ok(Ok(None)) => break Completeness::Whole,
                Ok(Err(_)) => break Completeness::CutOff,
                Err(_) => break Completeness::TimedOut,
            }
        };
        Response {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body,
            completeness,
        }
    }
}

fn to_reqwest(url: &Url, request: HttpRequest, handed_over: &Arc<AtomicBool>) -> reqwest::Request {
    let (parts, body) = request.into_parts();
    let mut request = reqwest::Request::new(parts.method, url.clone());
    *request.headers_mut() = parts.headers;
    if body.is_empty() {
        return request;
    }
    let body = NotedBody {
        bytes: Full::from(body),
        handed_over: Arc::clone(handed_over),
    };
    *request.body_mut() = Some(reqwest::Body::wrap(body));
    request
}

/// A body that notes when it is first asked for.
struct NotedBody {
    bytes: Full<bytes::Bytes>,
    handed_over: Arc<AtomicBool>,
}

impl Body for NotedBody {
    type Data = bytes::Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.handed_over.store(true, Ordering::SeqCst);
        Pin::new(&mut self.bytes).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.bytes.size_hint()
    }
}
