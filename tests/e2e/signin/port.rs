//! The public port, and those who send to it what no browser would: too much, too slowly, and with other people's names.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use url::Url;

use super::raw::{LIMIT, get, post, say};
use crate::support::{Operator, SignInStage, sign_in};

/// The places that the operator has (`src/signin/server.rs`).
const PLACES: usize = 256;

#[tokio::test]
async fn what_is_too_large_is_refused_and_the_next_request_is_served() {
    let stage = SignInStage::join().await;
    stage.asset_to_sign_in("oversized", &json!({})).await;
    let page = path(&stage.link("oversized").await);
    let long = |bytes: usize| "x".repeat(bytes);
    let button = format!("POST {page} HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: same-origin\r\n");
    let chunk = format!("1000\r\n{}\r\n", long(0x1000));
    for (what, words, statuses) in [
        (
            "a long address",
            format!("GET /{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", long(20_000)),
            &[414, 431][..],
        ),
        (
            "a longer address",
            format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", long(100_000)),
            &[414, 431],
        ),
        (
            "a request line without an end",
            format!("GET /{}", long(1_000_000)),
            &[414, 431],
        ),
        (
            "a long header",
            format!(
                "GET {page} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: {}\r\n\r\n",
                long(20_000)
            ),
            &[431],
        ),
        (
            "a longer header",
            format!("GET {page} HTTP/1.1\r\nHost: x\r\nCookie: {}\r\n\r\n", long(100_000)),
            &[431],
        ),
        (
            "a header without an end",
            format!("GET {page} HTTP/1.1\r\nHost: x\r\nCookie: {}", long(1_000_000)),
            &[431],
        ),
        (
            "many headers",
            format!("GET {page} HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: x\r\n".repeat(2_000)),
            &[431],
        ),
        (
            "a long body",
            format!(
                "{button}Connection: close\r\nContent-Length: 1000000\r\n\r\n{}",
                long(1_000_000)
            ),
            &[413],
        ),
        (
            "a body that is announced",
            format!("{button}Connection: close\r\nContent-Length: 99999999999\r\n\r\n"),
            &[413],
        ),
        (
            "a body without an end",
            format!(
                "{button}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n{}",
                chunk.repeat(100)
            ),
            &[413],
        ),
        (
            "a length that is none",
            format!("{button}Content-Length: -1\r\n\r\n"),
            &[400],
        ),
        (
            "two lengths",
            format!("{button}Content-Length: 1\r\nContent-Length: 2\r\n\r\nx"),
            &[400],
        ),
        (
            "no HTTP",
            "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03\r\n\r\n".to_owned(),
            &[400],
        ),
    ] {
        let reply = say(stage.pages, words.as_bytes()).await;
        let reply = reply.unwrap_or_else(|| panic!("{what}: closed without an answer"));
        assert!(statuses.contains(&reply.status), "{what}: {reply:?}");
        let next = get(stage.pages, &page, "Host: x\r\n").await;
        assert_eq!(next.status, 200, "after {what}");
    }
}

#[tokio::test]
async fn however_many_dawdle_others_are_served_and_the_places_are_bounded() {
    /// More than there are places, so that some are always at the door.
    const DAWDLERS: usize = PLACES + 144;
    let stage = SignInStage::alone("dawdlers").await;
    stage.asset_to_sign_in("crowded", &json!({})).await;
    let page = path(&stage.link("crowded").await);
    let before = sockets(&stage.operator);

    let arrived = std::sync::Arc::new(AtomicUsize::new(0));
    let mut dawdlers = JoinSet::new();
    for number in 0..DAWDLERS {
        let (server, page, arrived) = (stage.pages, page.clone(), std::sync::Arc::clone(&arrived));
        dawdlers.spawn(async move {
            loop {
                arrived.fetch_add(1, Ordering::Relaxed);
                // The end of one is the beginning of the next. None gets as far as a request, so the allowance of requests is not what is tested.
                let _ = dawdle(server, &page, number % 3).await;
            }
        });
    }
    crate::support::until("more have come than there are places", || async {
        (arrived.load(Ordering::Relaxed) > DAWDLERS).then_some(())
    })
    .await;
    let started = Instant::now();
    let mut most = 0;
    for _ in 0..30 {
        assert_eq!(get(stage.pages, &page, "Host: x\r\n").await.status, 200);
        most = most.max(sockets(&stage.operator) - before);
    }
    let taken = started.elapsed();
    // In turn, behind all who dawdle, each of them would take seconds.
    assert!(taken < Duration::from_secs(45), "30 requests took {taken:?}");
    // One more waits at the door; some go to the API server and to the authorization server.
    assert!(
        (PLACES / 2..=PLACES + 20).contains(&most),
        "{most} connections are open"
    );
}

#[tokio::test]
async fn whoever_keeps_the_server_waiting_is_sent_away() {
    let stage = SignInStage::join().await;
    stage.asset_to_sign_in("sluggish", &json!({})).await;
    let page = path(&stage.link("sluggish").await);
    let all = (0..4).map(|number| timeout(LIMIT, dawdle(stage.pages, &page, number)));
    for (number, ended) in futures::future::join_all(all).await.into_iter().enumerate() {
        let answer = ended.unwrap_or_else(|_| panic!("dawdler {number} is still there"));
        assert!(!answer.contains(" 200 "), "{number}: {answer}");
    }
    timeout(LIMIT, read_nothing(stage.pages, &page))
        .await
        .expect("who takes no answer is sent away");
    assert_eq!(get(stage.pages, &page, "Host: x\r\n").await.status, 200);
}

#[tokio::test]
async fn no_request_chooses_where_it_is_led_or_what_the_callback_is() {
    const FOREIGN: &str = "Host: evil.example\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Prefix: /evil.example\r\n\
        Forwarded: host=evil.example;proto=https\r\nX-Original-URL: //evil.example/\r\nX-Rewrite-URL: //evil.example/\r\nReferer: https://evil.example/\r\n";
    const ASKED: &str = "next=https://evil.example&redirect_uri=https://evil.example&return_to=//evil.example&url=//evil.example&state=evil.example";
    let stage = SignInStage::join().await;
    let waiting = stage.asset_to_sign_in("led-away", &json!({})).await;
    let callback = sign_in(&waiting)["callbackURL"].as_str().unwrap().to_owned();
    let (page, back) = (path(&stage.link("led-away").await), path(&callback));

    for address in [
        page.clone(),
        format!("{page}?{ASKED}"),
        format!("{page}/"),
        format!("{page}//evil.example"),
        format!("//evil.example{page}"),
        format!("http://evil.example{page}"),
        "//evil.example/".to_owned(),
        "/\\evil.example".to_owned(),
        "/%2f%2fevil.example/".to_owned(),
        "/sign-in//evil.example/x/y".to_owned(),
        format!("{back}?{ASKED}"),
        format!("{back}?code=x&{ASKED}"),
        "/result/https:%2F%2Fevil.example".to_owned(),
    ] {
        let reply = get(stage.pages, &address, FOREIGN).await;
        assert_eq!(reply.header("location"), None, "{address}");
        assert!(!reply.says("evil"), "{address}: {reply:?}");
    }

    let shown = get(stage.pages, &page, FOREIGN).await.field("shown").to_owned();
    let ours = format!("{FOREIGN}Sec-Fetch-Site: same-origin\r\n");
    let form = format!("shown={shown}&{ASKED}");
    for address in [format!("{page}?{ASKED}"), format!("http://evil.example{page}")] {
        let reply = post(stage.pages, &address, &ours, &form).await;
        assert_eq!(reply.status, 303, "{address}: {reply:?}");
        let leave = Url::parse(reply.header("location").unwrap()).unwrap();
        let (endpoint, _) = leave.as_str().split_once('?').unwrap();
        assert_eq!(endpoint, stage.server.endpoints.authorization_url);
        let redirects: Vec<_> = leave.query_pairs().filter(|(name, _)| name == "redirect_uri").collect();
        assert_eq!(redirects.len(), 1);
        assert_eq!(redirects[0].1, callback);
        assert!(!reply.says("evil"), "{leave}");
    }
    let told = stage.assets.get("led-away").await.unwrap();
    assert_eq!(sign_in(&told)["callbackURL"], json!(callback));
}

/// Keeps the server waiting, in one of four ways, until it closes: what it said before.
async fn dawdle(server: SocketAddr, page: &str, way: usize) -> String {
    let mut answer = Vec::new();
    let Ok(stream) = TcpStream::connect(server).await else {
        return String::new();
    };
    let (mut reading, mut writing) = stream.into_split();
    let form =
        format!("POST {page} HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 1000\r\n\r\n");
    let begin = match way {
        0 => "",
        1 => "GET",
        2 => "GET / HTTP/1.1\r\nHost: x\r\nX: ",
        _ => &form,
    };
    let trickle = async {
        let _ = writing.write_all(begin.as_bytes()).await;
        let mut beat = tokio::time::interval(Duration::from_millis(500));
        while way != 0 && writing.write_all(b"x").await.is_ok() {
            beat.tick().await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = trickle => {}
        _ = reading.read_to_end(&mut answer) => {}
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Asks again and again and takes no answer, until the server closes.
async fn read_nothing(server: SocketAddr, page: &str) {
    let socket = TcpSocket::new_v4().unwrap();
    // The kernel shall not take the answers in the client's place.
    socket.set_recv_buffer_size(1024).unwrap();
    let mut stream = socket.connect(server).await.unwrap();
    let much = format!("GET {page} HTTP/1.1\r\nHost: x\r\n\r\n").repeat(100);
    while stream.write_all(much.as_bytes()).await.is_ok() {}
}

/// The sockets that an operator has open.
fn sockets(operator: &Operator) -> usize {
    let files = std::fs::read_dir(format!("/proc/{}/fd", operator.pid())).expect("the operator runs");
    let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    targets
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}

fn path(url: &str) -> String {
    Url::parse(url).unwrap().path().to_owned()
}
