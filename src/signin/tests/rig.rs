//! A running server, a desk that remembers, and browsers that keep a cookie.

use std::{
    collections::{HashMap, VecDeque},
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use secrecy::ExposeSecret;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::signin::{
    Consent, Desk, Links, NamesIssuer, Offer, Server, SignInRefusal, SignedIn,
    keys::Keys,
    server::{LIMITS, Limits},
};

pub(super) const PUBLIC: &str = "https://access.example.com";
pub(super) const CODE: &str = "4/0AfgeXvsCodeOfTheProvider";

/// What a desk was handed, in a form that can be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Handed {
    pub(super) asset: String,
    pub(super) uid: String,
    pub(super) code: String,
    pub(super) verifier: String,
    pub(super) redirect_uri: String,
    pub(super) nonce: String,
    pub(super) callback_key: String,
    pub(super) granted: Option<Timestamp>,
}

/// A desk that answers as it is told and remembers what it was asked.
pub(super) struct FakeDesk {
    offers: Mutex<HashMap<String, Offer>>,
    results: Mutex<VecDeque<Result<SignedIn, SignInRefusal>>>,
    handed: Mutex<Vec<Handed>>,
    refused: Mutex<Vec<(String, String, SignInRefusal)>>,
    /// Without a permit, codes are redeemed never.
    pub(super) open: Semaphore,
    /// Gets a permit for each code.
    pub(super) asked: Semaphore,
}

impl Desk for FakeDesk {
    fn offer(&self, namespace: &str, name: &str) -> Option<Offer> {
        self.offers.lock().unwrap().get(&format!("{namespace}/{name}")).cloned()
    }

    async fn complete(&self, consent: Consent) -> Result<SignedIn, SignInRefusal> {
        self.asked.add_permits(1);
        let _permit = self.open.acquire().await.unwrap();
        self.handed.lock().unwrap().push(Handed {
            asset: format!("{}/{}", consent.namespace, consent.name),
            uid: consent.uid,
            code: consent.code.expose_secret().to_owned(),
            verifier: consent.verifier.expose_secret().to_owned(),
            redirect_uri: consent.redirect_uri,
            nonce: consent.nonce,
            callback_key: consent.callback_key,
            granted: consent.granted,
        });
        let told = self.results.lock().unwrap().pop_front();
        told.unwrap_or_else(|| {
            Ok(SignedIn {
                account: "support@example.com".to_owned(),
            })
        })
    }

    async fn refused(&self, namespace: &str, name: &str, uid: &str, refusal: &SignInRefusal) {
        let asset = format!("{namespace}/{name}");
        self.refused
            .lock()
            .unwrap()
            .push((asset, uid.to_owned(), refusal.clone()));
    }
}

impl FakeDesk {
    pub(super) fn offers(&self, offer: Offer) {
        let asset = format!("{}/{}", offer.namespace, offer.name);
        self.offers.lock().unwrap().insert(asset, offer);
    }

    pub(super) fn withdraws(&self, asset: &str) {
        self.offers.lock().unwrap().remove(asset);
    }

    pub(super) fn will_say(&self, result: Result<SignedIn, SignInRefusal>) {
        self.results.lock().unwrap().push_back(result);
    }

    pub(super) fn handed(&self) -> Vec<Handed> {
        self.handed.lock().unwrap().clone()
    }

    pub(super) fn refusals(&self) -> Vec<(String, String, SignInRefusal)> {
        self.refused.lock().unwrap().clone()
    }
}

/// What `helpdesk/support` asks for.
pub(super) fn offer() -> Offer {
    Offer {
        namespace: "helpdesk".to_owned(),
        name: "support".to_owned(),
        uid: "0b9a4c6e-1111-4222-8333-944455556666".to_owned(),
        mailbox: "support@example.com".to_owned(),
        login: "support@example.com".to_owned(),
        provider: "Google".to_owned(),
        callback_key: "google".to_owned(),
        issuer: Some("https://accounts.google.com".to_owned()),
        names_issuer: NamesIssuer::Perhaps,
        code_server: None,
        request: Ok(Url::parse(
            "https://accounts.google.com/o/oauth2/v2/auth?client_id=1234&scope=https%3A%2F%2Fmail.google.com%2F%20openid&access_type=offline&login_hint=support%40example.com",
        )
        .unwrap()),
        hosts: vec!["accounts.google.com".to_owned(), "oauth2.googleapis.com".to_owned()],
        scopes: vec!["https://mail.google.com/".to_owned(), "openid".to_owned()],
        edition: None,
        granted: None,
        account: None,
        registered_callbacks: None,
    }
}

pub(super) fn keys() -> Keys {
    Keys::new(&[42; 32]).unwrap()
}

pub(super) struct Running {
    pub(super) address: SocketAddr,
    pub(super) desk: Arc<FakeDesk>,
    pub(super) links: Links,
    pub(super) shutdown: CancellationToken,
    pub(super) task: JoinHandle<()>,
}

/// Roomy, so that no test of something else meets a limit.
pub(super) const ROOMY: Limits = Limits {
    burst: 100_000,
    ..LIMITS
};

pub(super) fn desk() -> Arc<FakeDesk> {
    let desk = FakeDesk {
        offers: Mutex::default(),
        results: Mutex::default(),
        handed: Mutex::default(),
        refused: Mutex::default(),
        open: Semaphore::new(100),
        asked: Semaphore::new(0),
    };
    desk.offers(offer());
    Arc::new(desk)
}

pub(super) async fn start() -> Running {
    replica(desk(), PUBLIC, ROOMY).await
}

/// One more replica: it shares keys and the cluster, and no memory.
pub(super) async fn replica(desk: Arc<FakeDesk>, public: &str, limits: Limits) -> Running {
    let links = Links::new(&Url::parse(public).unwrap(), Arc::new(keys())).unwrap();
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut server = Server::bind(loopback, links.clone(), Arc::clone(&desk)).await.unwrap();
    server.limits = limits;
    let (address, shutdown) = (server.address().unwrap(), CancellationToken::new());
    Running {
        address,
        desk,
        links,
        shutdown: shutdown.clone(),
        task: tokio::spawn(server.run(shutdown)),
    }
}

impl Running {
    pub(super) fn browser(&self) -> Browser {
        Browser {
            address: self.address,
            cookie: None,
        }
    }

    /// The path of an offer's page.
    pub(super) fn page(&self, offer: &Offer) -> String {
        self.links
            .page_url(&offer.namespace, &offer.name, &offer.uid, offer.edition.as_deref())
            .path()
            .to_owned()
    }

    /// Presses the button on an offer's page and says where that leads.
    pub(super) async fn press(&self, browser: &mut Browser, offer: &Offer) -> Url {
        let page = self.page(offer);
        let shown = browser.get(&page).await.field("shown");
        let reply = browser.post(&page, &format!("shown={shown}")).await;
        assert_eq!(reply.status, 303, "{}", reply.body);
        Url::parse(reply.header("location").unwrap()).unwrap()
    }

    /// Sends bytes and reads until the server closes.
    pub(super) async fn say(&self, words: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may close before it has read everything.
        let _ = stream.write_all(words.as_bytes()).await;
        read_all(&mut stream).await
    }
}

pub(super) async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(60), stream.read_to_end(&mut answer))
        .await
        .expect("the server closes");
    String::from_utf8(answer).unwrap()
}

/// A parameter of an address.
pub(super) fn parameter(url: &Url, name: &str) -> String {
    let mut found = url.query_pairs().filter(|(found, _)| found == name);
    let value = found.next().unwrap_or_else(|| panic!("no {name} in {url}")).1;
    assert_eq!(found.next(), None, "{name} twice in {url}");
    value.into_owned()
}

/// The path that a provider sends a browser back to.
pub(super) fn back(leave: &Url, with: &[(&str, &str)]) -> String {
    let mut url = Url::parse(&parameter(leave, "redirect_uri")).unwrap();
    url.query_pairs_mut()
        .append_pair("state", &parameter(leave, "state"))
        .extend_pairs(with);
    format!("{}?{}", url.path(), url.query().unwrap())
}

/// Keeps the one cookie, as browsers do.
#[derive(Clone)]
pub(super) struct Browser {
    pub(super) address: SocketAddr,
    pub(super) cookie: Option<String>,
}

impl Browser {
    pub(super) async fn get(&mut self, path: &str) -> Reply {
        self.ask("GET", path, "", "").await
    }

    pub(super) async fn head(&mut self, path: &str) -> Reply {
        self.ask("HEAD", path, "", "").await
    }

    /// As the button does it.
    pub(super) async fn post(&mut self, path: &str, body: &str) -> Reply {
        self.ask("POST", path, "Sec-Fetch-Site: same-origin\r\nOrigin: null\r\n", body)
            .await
    }

    pub(super) async fn ask(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        let cookie = self.cookie.as_ref();
        let cookie = cookie.map_or_else(String::new, |cookie| format!("Cookie: other=1; {cookie}\r\n"));
        let length = body.len();
        let words = format!(
            "{method} {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n{cookie}{headers}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let _ = stream.write_all(words.as_bytes()).await;
        let reply = Reply::parse(&read_all(&mut stream).await);
        if let Some(cookie) = reply.header("set-cookie") {
            self.cookie = cookie.split(';').next().map(str::to_owned);
        }
        reply
    }

    /// Follows the redirect to one of our own pages.
    pub(super) async fn follow(&mut self, reply: &Reply) -> Reply {
        assert_eq!(reply.status, 303, "{}", reply.body);
        let path = reply.header("location").unwrap().to_owned();
        assert!(path.starts_with('/') && !path.starts_with("//"), "{path} leads away");
        self.get(&path).await
    }

    /// Comes back from the provider and reads the page that this leads to.
    pub(super) async fn come_back(&mut self, path: &str) -> Reply {
        let reply = self.get(path).await;
        self.follow(&reply).await
    }
}

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {text}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Self {
            status,
            headers,
            body: body.to_owned(),
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(found, _)| found == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} twice");
        value
    }

    pub(super) fn title(&self) -> &str {
        between(&self.body, "<h1>", "</h1>")
    }

    /// A hidden field of the form.
    pub(super) fn field(&self, name: &str) -> String {
        between(&self.body, &format!("name=\"{name}\" value=\""), "\"").to_owned()
    }

    pub(super) fn says(&self, words: &str) -> bool {
        self.body.contains(words)
    }
}

pub(super) fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text
        .split_once(before)
        .unwrap_or_else(|| panic!("no {before} in {text}"));
    rest.split_once(after).unwrap().0
}
