//! Clients that leave, deadlines that pass, a host that stops: whatever ends a request early takes its transaction along
//! and gives everything back.

use std::{io, net::SocketAddr, time::Duration};

use dinehub::command::start;
use harness::{database::connect, server::Server};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    time::{sleep, timeout},
};

use crate::{
    order::restaurant,
    sandbox::{alone, beside, holds_nothing, is_alone, resident_kib},
};

/// Where a client leaves.
#[derive(Clone, Copy, Debug)]
enum Leaving {
    /// In the middle of the request's head.
    InHead,
    /// In the middle of its body.
    InBody,
    /// When all of it was sent.
    Sent,
    /// While the host works on it, after so many microseconds.
    Later(u64),
}

/// Sends a request up to where the client leaves, and leaves.
async fn leave(address: SocketAddr, path: &str, leaving: Leaving) -> io::Result<()> {
    let mut socket = TcpStream::connect(address).await?;
    let head = format!("POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n");
    match leaving {
        Leaving::InHead => socket.write_all(head.as_bytes()).await?,
        Leaving::InBody => socket.write_all(format!("{head}content-length: 100\r\n\r\n{{\"na").as_bytes()).await?,
        Leaving::Sent | Leaving::Later(_) => {
            socket.write_all(format!("{head}content-length: 0\r\n\r\n").as_bytes()).await?;
        }
    }
    if let Leaving::Later(micros) = leaving {
        sleep(Duration::from_micros(micros)).await;
    }
    Ok(())
}

/// Numbers that look random and are the same in every run (SplitMix64).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `count` clients, twenty at a time, none of which waits for its answer. Nothing they ask for may stay.
async fn desert(server: &Server, count: usize, state: &mut u64) {
    let mut left = 0;
    while left < count {
        let batch = (0..20).map(|_| {
            let dice = random(state);
            let leaving = match dice % 5 {
                0 => Leaving::InHead,
                1 => Leaving::InBody,
                2 => Leaving::Sent,
                _ => Leaving::Later(dice / 5 % 8_000),
            };
            let path = ["/api/v1/trap/add-then-spin?name=gone", "/api/v1/trap/add-then-refuse?name=gone"];
            leave(server.address, path[usize::from(dice.is_multiple_of(7))], leaving)
        });
        for sent in futures::future::join_all(batch).await {
            sent.expect("the host accepts");
        }
        left += 20;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_clients_that_leave_take_nothing_along() {
    if !is_alone() {
        return alone("cancel::five_hundred_clients_that_leave_take_nothing_along");
    }
    let server = beside("trap").await;
    let client = server.anonymous();
    let mut state = 7;
    desert(&server, 200, &mut state).await;
    holds_nothing(&server).await;
    let before = resident_kib();
    desert(&server, 500, &mut state).await;
    holds_nothing(&server).await;
    let after = resident_kib();
    assert!(after <= before + before / 10, "{before} KiB became {after} KiB");
    assert_eq!(client.get("/api/v1/trap/tally").await.expect(200).json, json!(0), "nobody's mark was kept");
    assert_eq!(client.act("/api/v1/trap/add?name=kept").await.expect(200).json, json!(1));
    assert_eq!(client.get("/api/v1/trap/tally").await.expect(200).json, json!(1));
    let _ = client.get("/api/v1/restaurants?limit=1").await.expect(200);
}

/// How many plugin statements wait for a lock.
const WAITING: &str =
    "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";

async fn until_waiting(admin: &tokio_postgres::Client, wanted: impl Fn(i64) -> bool) {
    for _ in 0..1_000 {
        let waiting: i64 = admin.query_one(WAITING, &[]).await.unwrap().get(0);
        if wanted(waiting) {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("the statements never came to where they were wanted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_whose_client_left_is_cancelled_and_writes_nothing() {
    let server = beside("trap").await;
    let admin = connect(&server.database.admin()).await;
    let watcher = connect(&server.database.admin()).await;
    let client = server.anonymous();
    // So that connections and statements are there already, and the deadline is not spent on them.
    let _ = client.act("/api/v1/trap/add?name=first").await.expect(200);
    admin.batch_execute("begin; lock table trap.mark in access exclusive mode").await.unwrap();
    let mut sockets = Vec::new();
    for at in 0..4 {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        let request = format!(
            "POST /api/v1/trap/add?name=gone{at} HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\n\r\n",
            server.address
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        sockets.push(socket);
    }
    until_waiting(&watcher, |waiting| waiting >= 1).await;
    drop(sockets);
    // Cancelled by the host, for the lock is still held.
    until_waiting(&watcher, |waiting| waiting == 0).await;
    admin.batch_execute("rollback").await.unwrap();
    holds_nothing(&server).await;
    assert_eq!(client.get("/api/v1/trap/tally").await.expect(200).json, json!(1), "the first mark and no other");
    assert_eq!(client.act("/api/v1/trap/add?name=next").await.expect(200).json, json!(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_rolls_back_what_waited_and_what_was_written() {
    let server = beside("trap").await;
    let admin = connect(&server.database.admin()).await;
    let client = server.anonymous();
    let spun = client.act("/api/v1/trap/add-then-spin?name=spun").await;
    assert!(matches!((spun.status, spun.code()), (500, "plugin_fault") | (504, "timeout")), "{spun:?}");
    admin.batch_execute("begin; lock table trap.mark in access exclusive mode").await.unwrap();
    let (waited, other) = tokio::join!(
        timeout(Duration::from_secs(20), client.act("/api/v1/trap/add?name=waited")),
        client.get("/api/v1/restaurants?limit=1")
    );
    let waited = waited.expect("the deadline passes");
    assert!(waited.status >= 500, "{waited:?}");
    assert!(waited.text("/detail").len() < 100, "no more than the public sentence");
    assert_eq!(other.status, 200, "another plugin is served meanwhile");
    admin.batch_execute("rollback").await.unwrap();
    holds_nothing(&server).await;
    assert_eq!(client.get("/api/v1/trap/tally").await.expect(200).json, json!(0));
}

/// As on SIGTERM: nobody new is let in, whoever is in is answered, and then the host ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_stops_answers_the_request_in_flight() {
    let server = Server::start().await;
    let admin = connect(&server.database.admin()).await;
    let watcher = connect(&server.database.admin()).await;
    let owner = server.person("RESTAURANT_OWNER").await.client;
    let listener = start::listen("test", "127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopping) = oneshot::channel::<()>();
    let host = server.host.clone();
    let serving = tokio::spawn(async move {
        let stopped = async {
            let _ = stopping.await;
        };
        host.serve(listener, stopped).await;
    });
    admin.batch_execute("begin; lock table restaurants.restaurant in access exclusive mode").await.unwrap();
    let body = restaurant("The last one").to_string();
    let mut socket = TcpStream::connect(address).await.unwrap();
    let token = owner.token.clone().unwrap();
    let request = format!(
        "POST /api/v1/restaurants HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    until_waiting(&watcher, |waiting| waiting >= 1).await;
    stop.send(()).unwrap();
    let mut refused = false;
    for _ in 0..200 {
        refused = TcpStream::connect(address).await.is_err();
        if refused {
            break;
        }
        sleep(Duration::from_millis(2)).await;
    }
    assert!(refused, "nobody new is let in");
    assert!(!serving.is_finished(), "a request is in flight");
    admin.batch_execute("rollback").await.unwrap();
    let mut answer = String::new();
    timeout(Duration::from_secs(10), socket.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    timeout(Duration::from_secs(10), serving).await.expect("the host ends when the last request has").unwrap();
    let listed = server.anonymous().get("/api/v1/restaurants?limit=5").await.expect(200);
    assert_eq!(listed.json["items"][0]["name"], "The last one", "what was answered was kept");
}
