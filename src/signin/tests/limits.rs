//! What a client cannot make the server hold or do.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use super::rig::{CODE, PUBLIC, ROOMY, Reply, Running, back, desk, offer, read_all, replica, start};
use crate::{
    listener,
    signin::server::{LIMITS, Limits},
};

const CONNECTIONS: listener::Limits = LIMITS.connections;

async fn with(limits: Limits) -> Running {
    replica(desk(), PUBLIC, limits).await
}

#[tokio::test]
async fn a_flood_is_answered_with_429_and_a_page() {
    let limits = Limits {
        requests_per_second: 1,
        burst: 3,
        pause: Duration::ZERO,
        ..LIMITS
    };
    let server = with(limits).await;
    let (page, mut browser) = (server.page(&offer()), server.browser());
    let mut statuses = Vec::new();
    for _ in 0..20 {
        let reply = browser.get(&page).await;
        if reply.status == 429 {
            assert_eq!(reply.title(), "Too many requests at the moment");
            assert_eq!(reply.header("retry-after"), Some("5"));
            assert_eq!(reply.header("connection"), Some("close"));
            assert_eq!(reply.header("cache-control"), Some("no-store"));
        }
        statuses.push(reply.status);
    }
    assert_eq!(statuses[..3], [200, 200, 200]);
    assert!(
        statuses.iter().filter(|status| **status == 429).count() >= 10,
        "{statuses:?}"
    );
}

#[tokio::test]
async fn a_flood_has_to_wait_for_its_answers() {
    let limits = Limits {
        requests_per_second: 1,
        burst: 1,
        pause: Duration::from_millis(300),
        ..LIMITS
    };
    let server = with(limits).await;
    let mut browser = server.browser();
    let _ = browser.get("/").await;
    let asked = Instant::now();
    assert_eq!(browser.get("/").await.status, 429);
    assert!(asked.elapsed() >= limits.pause);
}

#[tokio::test]
async fn headers_that_are_too_large_get_a_page_and_then_not_even_that() {
    let server = start().await;
    let page = server.page(&offer());
    for (size, status) in [(1_000, 200), (17_000, 431), (100_000, 431)] {
        let words = format!(
            "GET {page} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: {}\r\n\r\n",
            "x".repeat(size)
        );
        let answer = server.say(&words).await;
        assert_eq!(Reply::parse(&answer).status, status, "{size}");
    }
    assert_eq!(server.browser().get(&page).await.status, 200);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_read() {
    let server = start().await;
    let page = server.page(&offer());
    let head = format!("POST {page} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nSec-Fetch-Site: same-origin\r\n");
    let announced = server.say(&format!("{head}Content-Length: 99999999999\r\n\r\n")).await;
    assert_eq!(Reply::parse(&announced).status, 413);
    let chunk = format!("800\r\n{}\r\n", "x".repeat(0x800));
    let chunked = server
        .say(&format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}"))
        .await;
    assert_eq!(Reply::parse(&chunked).status, 413);
    // Where no body is expected none is waited for.
    let get = format!("GET {page} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 99999999\r\n\r\n");
    assert_eq!(Reply::parse(&server.say(&get).await).status, 200);
}

#[tokio::test]
async fn slow_headers_and_bodies_are_dropped() {
    let limits = Limits {
        connections: listener::Limits {
            patience: Duration::from_millis(200),
            ..CONNECTIONS
        },
        body_time: Duration::from_millis(50),
        ..ROOMY
    };
    let server = with(limits).await;
    let page = server.page(&offer());
    let answer = server.say(&format!("GET {page} HTTP/1.1\r\nHost:")).await;
    assert!(!answer.contains(" 200 "), "{answer}");
    let head =
        format!("POST {page} HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 20\r\n\r\nshown=");
    let answer = server.say(&head).await;
    assert_eq!(Reply::parse(&answer).status, 408);
}

#[tokio::test]
async fn a_client_that_never_reads_an_answer_is_dropped() {
    let limits = Limits {
        connections: listener::Limits {
            patience: Duration::from_millis(200),
            connection_time: Duration::from_secs(3600),
            last_answer_time: Duration::from_secs(3600),
            ..CONNECTIONS
        },
        ..ROOMY
    };
    let server = with(limits).await;
    let mut greedy = TcpStream::connect(server.address).await.unwrap();
    let much = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", server.page(&offer())).repeat(1_000);
    let sent = timeout(Duration::from_secs(60), async {
        while greedy.write_all(much.as_bytes()).await.is_ok() {}
    });
    sent.await.expect("the server closes");
}

#[tokio::test]
async fn a_connection_ends_with_its_time_whatever_it_does() {
    let limits = Limits {
        connections: listener::Limits {
            connection_time: Duration::from_millis(100),
            last_answer_time: Duration::from_millis(100),
            ..CONNECTIONS
        },
        ..ROOMY
    };
    let server = with(limits).await;
    let mut busy = TcpStream::connect(server.address).await.unwrap();
    let asked = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", server.page(&offer()));
    let asking = timeout(Duration::from_secs(60), async {
        while busy.write_all(asked.as_bytes()).await.is_ok()
            && busy.read(&mut [0; 8192]).await.is_ok_and(|read| read > 0)
        {}
    });
    asking.await.expect("the server closes");
}

#[tokio::test]
async fn whoever_is_the_slowest_leaves_when_there_is_no_place() {
    let limits = Limits {
        connections: listener::Limits {
            connections: 2,
            patience: Duration::from_secs(3600),
            ..CONNECTIONS
        },
        ..ROOMY
    };
    let server = with(limits).await;
    let page = server.page(&offer());
    let slow = async |words: &str| {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(words.as_bytes()).await.unwrap();
        stream
    };
    let mut first = slow("GET / HTTP/1.1\r\nHost:").await;
    let _second = slow(&format!(
        "POST {page} HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 20\r\n\r\nshown="
    ))
    .await;
    assert_eq!(server.browser().get(&page).await.status, 200);
    assert_eq!(read_all(&mut first).await, "");
    for _ in 0..10 {
        let _dawdler = slow("GET").await;
    }
    assert_eq!(server.browser().get(&page).await.status, 200);
}

#[tokio::test]
async fn whoever_is_being_answered_keeps_the_place() {
    let limits = Limits {
        connections: listener::Limits {
            connections: 1,
            ..CONNECTIONS
        },
        ..ROOMY
    };
    let desk = desk();
    let closed = desk.open.acquire_many(100).await.unwrap();
    let server = replica(desk.clone(), PUBLIC, limits).await;
    let mut browser = server.browser();
    let leave = server.press(&mut browser, &offer()).await;
    let path = back(&leave, &[("code", CODE)]);
    let back = tokio::spawn(async move { browser.get(&path).await });
    server.desk.asked.acquire().await.unwrap().forget();
    let mut other = server.browser();
    let page = server.page(&offer());
    let other = tokio::spawn(async move { other.get(&page).await });
    drop(closed);
    assert_eq!(back.await.unwrap().status, 303);
    assert_eq!(other.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_provider_that_hangs_takes_a_few_of_the_places_only() {
    let limits = Limits {
        waiting: 1,
        answer_wait: Duration::from_secs(3600),
        ..ROOMY
    };
    let desk = desk();
    let _closed = desk.open.acquire_many(100).await.unwrap();
    let server = replica(desk.clone(), PUBLIC, limits).await;
    let mut browser = server.browser();
    let leave = server.press(&mut browser, &offer()).await;
    let path = back(&leave, &[("code", CODE)]);
    let (mut first, first_path) = (browser.clone(), path.clone());
    let _first = tokio::spawn(async move { first.get(&first_path).await });
    server.desk.asked.acquire().await.unwrap().forget();
    assert_eq!(browser.come_back(&path).await.title(), "This takes longer than usual");
}

#[tokio::test]
async fn shutdown_ends_the_server_although_a_client_keeps_its_connection() {
    let server = start().await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    server.shutdown.cancel();
    timeout(Duration::from_secs(60), server.task)
        .await
        .expect("ends")
        .unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_the_flag() {
    let server = start().await;
    let error = crate::signin::Server::bind(server.address, server.links.clone(), server.desk.clone())
        .await
        .expect_err("is taken")
        .to_string();
    assert!(
        error.contains(&server.address.to_string()) && error.contains("--sign-in-listen"),
        "{error}"
    );
}
