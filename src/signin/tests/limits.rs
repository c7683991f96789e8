//! What a client cannot make the server hold or do.

use std::time::Duration;

use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, timeout},
};

use super::rig::{PUBLIC, ROOMY, Reply, Running, desk, offer, read_all, replica, start};
use crate::signin::server::{LIMITS, Limits};

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
        // When hyper gives up in the middle, the kernel may drop its answer.
        if answer.is_empty() {
            assert_eq!(size, 100_000);
        } else {
            assert_eq!(Reply::parse(&answer).status, status, "{size}");
        }
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
        header_time: Duration::from_millis(50),
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
async fn a_connection_ends_with_its_time_whatever_it_does() {
    let limits = Limits {
        connection_time: Duration::from_millis(100),
        last_answer_time: Duration::from_millis(100),
        ..ROOMY
    };
    let server = with(limits).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let asked = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", server.page(&offer()));
    stream.write_all(asked.as_bytes()).await.unwrap();
    assert!(read_all(&mut stream).await.contains(" 200 OK"));
    // One that asks for much and reads nothing.
    let mut greedy = TcpStream::connect(server.address).await.unwrap();
    let much = asked.repeat(1_000);
    let sent = timeout(Duration::from_secs(60), async {
        while greedy.write_all(much.as_bytes()).await.is_ok() {}
    });
    sent.await.expect("the server closes");
}

#[tokio::test]
async fn clients_over_the_limit_wait_for_their_turn() {
    let limits = Limits {
        connections: 1,
        header_time: Duration::from_millis(50),
        ..ROOMY
    };
    let server = with(limits).await;
    let _idle = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(server.browser().get(&server.page(&offer())).await.status, 200);
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
