//! Sockets under attack: slow clients, silent ones, floods; each ends, and whoever is honest is served meanwhile.

use std::time::{Duration, Instant};

use bytes::Bytes;
use dinehub::config::{Config, Http};
use harness::{client::Client, server::Server, wire::Wire};

/// Deadlines short enough to be waited for, and one place: whoever keeps it keeps everybody else out.
fn impatient() -> Config {
    let http = Http { header_ms: 300, body_ms: 300, idle_ms: 500, connections_max: 1, ..Http::default() };
    Config { http, ..Config::default() }
}

/// Answered as soon as the only place is free again; the harness's patience is the deadline.
async fn is_served_after(server: &Server, what: &str) {
    let mut wire = Wire::open(server.address).await;
    assert!(wire.send("GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await);
    assert_eq!(wire.answer().await.0, 404, "after {what}");
}

#[tokio::test]
async fn whoever_is_slow_or_silent_gives_the_place_back() {
    let server = Server::configured(&impatient()).await;
    let head = "POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
    for (what, begin, drip) in [
        ("silence", String::new(), None),
        ("half a head", "GET / HT".to_owned(), None),
        ("a head by the byte", "GET / HTTP/1.1\r\n".to_owned(), Some("X-A: b\r\n")),
        ("half an HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM".to_owned(), None),
        ("no body", format!("{head}Content-Length: 100\r\n\r\n"), None),
        ("a body by the byte", format!("{head}Content-Length: 10000\r\n\r\n"), Some("a")),
        ("chunks by the byte", format!("{head}Transfer-Encoding: chunked\r\n\r\n"), Some("1\r\na\r\n")),
        ("an idle connection", "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), None),
    ] {
        let mut wire = Wire::open(server.address).await;
        assert!(wire.send(&begin).await);
        let begun = Instant::now();
        while let Some(drip) = drip {
            assert!(begun.elapsed() < Duration::from_secs(20), "{what}: still open");
            if !wire.send(drip).await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        is_served_after(&server, what).await;
    }
}

#[tokio::test]
async fn whoever_does_not_read_the_answer_gives_the_place_back() {
    let server = Server::configured(&impatient()).await;
    let mut wire = Wire::open_narrow(server.address).await;
    // More than the kernel keeps for a reader that does not read.
    let ask = "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: a\r\n\r\n".repeat(32);
    assert!(wire.send(ask).await);
    is_served_after(&server, "a reader that does not read").await;
    drop(wire);
}

#[tokio::test]
async fn a_long_answer_to_a_slow_reader_is_not_cut() {
    let config = Config { http: Http { idle_ms: 500, ..Http::default() }, ..Config::default() };
    let server = Server::configured(&config).await;
    let mut wire = Wire::open_narrow(server.address).await;
    let ask = "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: a\r\n\r\n";
    assert!(wire.send(ask.repeat(8)).await);
    let (status, first) = wire.answer().await;
    assert_eq!(status, 200);
    let mut read = 0;
    // Takes its time, longer than the idle deadline in all, and always takes some.
    while read < first.len() * 7 {
        let part = wire.take((first.len() * 7 - read).min(1 << 20)).await;
        assert!(!part.is_empty(), "cut after {read} bytes");
        read += part.len();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The few frames of HTTP/2 (RFC 9113) that an attacker needs.
mod frame {
    pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PING: u8 = 6;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const CONTINUATION: u8 = 9;

    pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    /// `GET /` of `a`, by the static table (RFC 7541 Appendix A), as END_STREAM | END_HEADERS.
    pub(super) fn get(stream: u32) -> Vec<u8> {
        frame(HEADERS, 5, stream, &[0x82, 0x84, 0x86, 0x41, 0x01, b'a'])
    }
}

/// Reads frames until the connection is over; acknowledges settings and answers pings. Gives the code of GOAWAY.
async fn until_goaway(wire: &mut Wire) -> Option<u32> {
    let mut code = None;
    loop {
        let head = wire.take(9).await;
        if head.len() < 9 {
            return code;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let payload = wire.take(length).await;
        match (head[3], head[4]) {
            (frame::SETTINGS, 0) => drop(wire.send(frame::frame(frame::SETTINGS, 1, 0, &[])).await),
            (frame::PING, 0) => drop(wire.send(frame::frame(frame::PING, 1, 0, &payload)).await),
            (frame::GOAWAY, _) => code = payload.get(4..8).map(|code| u32::from_be_bytes(code.try_into().unwrap())),
            _ => {}
        }
    }
}

fn preface() -> Vec<u8> {
    [frame::PREFACE, &frame::frame(frame::SETTINGS, 0, 0, &[])].concat()
}

#[tokio::test]
async fn an_http_2_client_that_only_answers_pings_is_shown_out() {
    let server = Server::configured(&impatient()).await;
    let mut wire = Wire::open(server.address).await;
    assert!(wire.send(preface()).await);
    assert_eq!(until_goaway(&mut wire).await, Some(0), "NO_ERROR");
    is_served_after(&server, "pings").await;
}

#[tokio::test]
async fn a_rapid_reset_ends_the_connection_that_does_it_and_no_other() {
    let server = Server::start().await;
    let honest = server.anonymous();
    let _ = honest.get("/openapi.json").await.expect(200);
    let mut wire = Wire::open(server.address).await;
    let mut flood = preface();
    for stream in 0..5_000_u32 {
        flood.extend(frame::get(stream * 2 + 1));
        flood.extend(frame::frame(frame::RST_STREAM, 0, stream * 2 + 1, &8_u32.to_be_bytes()));
    }
    let _ = wire.send(flood).await;
    // ENHANCE_YOUR_CALM, or closed so fast that the word is lost.
    assert!(matches!(until_goaway(&mut wire).await, Some(11) | None));
    let _ = honest.get("/openapi.json").await.expect(200);
}

#[tokio::test]
async fn a_head_without_an_end_is_refused() {
    let server = Server::start().await;
    let mut wire = Wire::open(server.address).await;
    let mut flood = preface();
    // HEADERS without END_HEADERS, then CONTINUATION for ever (CVE-2024-27316).
    flood.extend(frame::frame(frame::HEADERS, 1, 1, &[0x82, 0x84, 0x86, 0x41, 0x01, b'a']));
    let line = [&[0x00, 0x01, b'x', 0x7f, 0x81, 0x7e][..], &[b'y'; 16_000]].concat();
    for _ in 0..64 {
        flood.extend(frame::frame(frame::CONTINUATION, 0, 1, &line));
    }
    let _ = wire.send(flood).await;
    assert!(!matches!(until_goaway(&mut wire).await, Some(0)), "an error, or closed");
    for (what, head) in [
        ("a long line", format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(100_000))),
        ("a long header", format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(100_000))),
        ("many headers", format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: a\r\n".repeat(100))),
    ] {
        let mut wire = Wire::open(server.address).await;
        let _ = wire.send(head).await;
        let text = String::from_utf8_lossy(&wire.rest().await).into_owned();
        assert!(
            text.is_empty() || text.starts_with("HTTP/1.1 431") || text.starts_with("HTTP/1.1 414"),
            "{what}: {text}"
        );
    }
    let _ = server.anonymous().get("/openapi.json").await.expect(200);
}

#[tokio::test]
async fn one_source_has_so_many_connections_and_no_more() {
    let mut config = Config { http: Http { connections_per_source_max: 2, ..Http::default() }, ..Config::default() };
    config.rate.exempt.clear();
    let server = Server::configured(&config).await;
    let ask = "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut wire = Wire::open(server.address).await;
        assert!(wire.send(ask).await);
        assert_eq!(wire.answer().await.0, 404);
        kept.push(wire);
    }
    let mut third = Wire::open(server.address).await;
    let _ = third.send(ask).await;
    assert!(third.rest().await.is_empty(), "closed without a word");
    assert!(kept[0].send(ask).await);
    assert_eq!(kept[0].answer().await.0, 404, "those that stand go on");
    kept.clear();
    let begun = Instant::now();
    loop {
        let mut wire = Wire::open(server.address).await;
        if wire.send(ask).await && wire.answer().await.0 == 404 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "a place that was given back can be had");
    }
}

#[tokio::test]
async fn a_stop_lets_requests_in_flight_end_and_takes_no_more() {
    let mut server = Server::start().await;
    let body = r#"{"email":"a@example.com","password":"wrong-and-long"}"#;
    let head = format!(
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let (mut busy, mut idle) = (Wire::open(server.address).await, Wire::open(server.address).await);
    assert!(idle.send("GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n").await);
    assert_eq!(idle.answer().await.0, 404);
    let (first, second) = body.split_at(10);
    assert!(busy.send(head + first).await);
    // The head was read when a request on another connection, sent later, is answered.
    let _ = server.anonymous().get("/openapi.json").await.expect(200);
    server.stop();
    assert!(idle.rest().await.is_empty(), "an idle connection ends at once");
    let begun = Instant::now();
    while tokio::net::TcpStream::connect(server.address).await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(10), "new connections are refused");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(busy.send(second).await);
    let (status, text) = busy.answer().await;
    assert_eq!(status, 401, "{text}");
    assert!(busy.rest().await.is_empty(), "then it ends");
}

#[tokio::test]
async fn who_a_request_counts_for_is_the_proxys_word_only() {
    let mut config = Config::default();
    let strangers = Server::configured(&config).await;
    config.http.trusted_proxies = vec!["127.0.0.1".to_owned()];
    let behind = strangers.join(&config).await;
    let attempt = async |client: &Client, from: &str| {
        let body = Bytes::from_static(br#"{"email":"nobody@example.com","password":"wrong-and-long"}"#);
        let headers = [("content-type", "application/json"), ("x-forwarded-for", from)];
        client.send("POST", "/api/v1/auth/login", &headers, body).await.status
    };
    // A few attempts of one source on one account are free; then each waits twice as long as the one before.
    let (direct, proxied) = (strangers.anonymous(), behind.anonymous());
    let mut statuses = Vec::new();
    while statuses.len() < 20 && statuses.last() != Some(&429) {
        statuses.push(attempt(&proxied, &format!("6.6.6.{}, 203.0.113.7", statuses.len())).await);
    }
    assert_eq!(statuses.last(), Some(&429), "what the client wrote himself counts nothing: {statuses:?}");
    assert_eq!(attempt(&proxied, "203.0.113.8").await, 401, "another source");
    let mut statuses = Vec::new();
    while statuses.len() < 20 && statuses.last() != Some(&429) {
        statuses.push(attempt(&direct, &format!("203.0.113.{}", 20 + statuses.len())).await);
    }
    assert_eq!(statuses.last(), Some(&429), "a stranger's header is not read: {statuses:?}");
}
