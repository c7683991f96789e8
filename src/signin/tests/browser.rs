//! A real browser walks the pages: what it does with our cookie, our headers and our redirects cannot be told from reading alone.
//!
//! Needs chromedriver and Chromium: `cargo test --lib signin::tests::browser -- --ignored`.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use axum::{Router, extract::Query, http::Uri, response::Redirect, routing::get};
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::rig::{ROOMY, desk, keys, offer};
use crate::signin::{Links, Offer, Server};

/// Many things at once on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn port() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A provider as organisations have it: its authorization endpoint sends people on to a login page of another origin, which here says yes at once.
async fn federated_provider() -> Url {
    let (login, login_port) = port().await;
    let says_yes = async |Query(asked): Query<Vec<(String, String)>>| {
        let asked = |name: &str| &asked.iter().find(|(found, _)| found == name).unwrap().1;
        let mut back = Url::parse(asked("redirect_uri")).unwrap();
        back.query_pairs_mut()
            .append_pair("code", "the code")
            .append_pair("state", asked("state"));
        Redirect::to(back.as_str())
    };
    let (authorize, authorize_port) = port().await;
    let sends_on = move |uri: Uri| async move {
        Redirect::to(&format!("http://127.0.0.1:{login_port}/?{}", uri.query().unwrap()))
    };
    tokio::spawn(serve(login, Router::new().route("/", get(says_yes))));
    tokio::spawn(serve(authorize, Router::new().route("/authorize", get(sends_on))));
    Url::parse(&format!("http://127.0.0.1:{authorize_port}/authorize?client_id=1234")).unwrap()
}

async fn serve(listener: TcpListener, router: Router) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let service = hyper_util::service::TowerToHyperService::new(router.clone());
        tokio::spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(hyper_util::rt::TokioIo::new(stream), service),
        );
    }
}

async fn chromium() -> (Child, Client) {
    let (free, port) = port().await;
    drop(free);
    let driver = Command::new("chromedriver")
        .arg(format!("--port={port}"))
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("chromedriver is there");
    let ready = async {
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, ready).await.unwrap();
    let options = json!({"args": ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]});
    let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
        .capabilities([("goog:chromeOptions".to_owned(), options)].into_iter().collect())
        .connect(&format!("http://127.0.0.1:{port}"))
        .await
        .unwrap();
    (driver, client)
}

/// Waits until the browser shows a page of this heading.
async fn shows(client: &Client, heading: &str) {
    let path = format!("//h1[normalize-space(.)='{heading}']");
    let found = client.wait().at_most(PATIENCE).for_element(Locator::XPath(&path)).await;
    assert!(found.is_ok(), "no {heading}: {}", client.source().await.unwrap());
}

#[tokio::test]
#[ignore = "needs chromedriver and Chromium"]
async fn a_browser_presses_the_button_and_comes_back_signed_in() {
    let desk = desk();
    let offer = Offer {
        request: Ok(federated_provider().await),
        ..offer()
    };
    desk.offers(offer.clone());
    // The public URL names the port, so the port comes first.
    let (free, port) = port().await;
    drop(free);
    let public = Url::parse(&format!("http://localhost:{port}")).unwrap();
    let links = Links::new(&public, Arc::new(keys())).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut server = Server::bind(address, links.clone(), Arc::clone(&desk)).await.unwrap();
    server.limits = ROOMY;
    tokio::spawn(server.run(CancellationToken::new()));
    let page = links.page_url(&offer.namespace, &offer.name, &offer.uid, None);

    let (_driver, client) = chromium().await;
    client.goto(page.as_str()).await.unwrap();
    let asked = "Let helpdesk read and send mail as support@example.com";
    shows(&client, asked).await;
    let button = client.find(Locator::Css("button")).await.unwrap();
    let colour = button.css_value("background-color").await.unwrap();
    assert_eq!(
        colour, "rgba(11, 87, 208, 1)",
        "the policy lets the style sheet through"
    );
    button.click().await.unwrap();
    shows(&client, "You are signed in").await;
    assert_eq!(desk.handed().len(), 1);

    let last = client.current_url().await.unwrap();
    assert!(last.path().starts_with("/result/"), "{last}");
    client.refresh().await.unwrap();
    shows(&client, "You are signed in").await;
    client.back().await.unwrap();
    shows(&client, asked).await;
    client.forward().await.unwrap();
    shows(&client, "You are signed in").await;
    assert_eq!(desk.handed().len(), 1);
    client.close().await.unwrap();
}
