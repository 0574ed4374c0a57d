//! Many at once: slow calls fill their own plugin's slots and nobody else's; clients that go away leave nothing behind.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use harness::client::Answer;
use serde_json::json;

use super::{beside, holds_nothing, is_well};
use crate::audit::during;

/// Two linger, eight wait, the rest is turned away; another plugin is served all the while.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_slow_calls_fill_their_own_plugins_slots_alone() {
    let server = beside("glutton").await;
    let client = server.anonymous();
    // It has its session with PostgreSQL already: making one takes many turns, and whoever spins gives the two threads away
    // only at ticks.
    let _ = client.get("/api/v1/restaurants?limit=1").await.expect(200);
    let is_over = AtomicBool::new(false);
    let mut statuses = Vec::new();
    let found = during(&server, async {
        let calls = (0..1_000).map(|_| client.act("/api/v1/glutton/linger"));
        let crowd = async {
            let answers: Vec<Answer> = stream::iter(calls).buffer_unordered(100).collect().await;
            is_over.store(true, Ordering::Relaxed);
            answers
        };
        let neighbour = async {
            while !is_over.load(Ordering::Relaxed) {
                let _ = client.get("/api/v1/restaurants?limit=1").await.expect(200);
            }
        };
        let (answers, ()) = tokio::join!(crowd, neighbour);
        statuses = answers.iter().map(|answer| answer.status).collect();
    });
    let found = found.await;
    let count = |status: u16| statuses.iter().filter(|one| **one == status).count();
    assert!(count(504) >= 2 && count(503) >= 900 && count(503) + count(504) == 1_000, "{} {}", count(503), count(504));
    let of = |kind: &str| found.iter().filter(|event| event["kind"] == kind).count();
    assert_eq!(of("plugin.stopped"), count(504), "each that was stopped is an event");
    assert!((1..=50).contains(&of("plugin.busy")), "and those turned away are a few: {}", of("plugin.busy"));
    assert_eq!(of("plugin.stopped") + of("plugin.busy"), found.len(), "{found:#?}");
    is_well(&server, "glutton").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_hang_up_leave_nothing_behind() {
    let server = beside("trap").await;
    let client = server.anonymous();
    for at in 0..200_u64 {
        let path = if at % 2 == 0 { "/api/v1/trap/add-then-spin?name=gone" } else { "/api/v1/restaurants?limit=5" };
        let request = async { if at % 2 == 0 { client.act(path).await } else { client.get(path).await } };
        // Dropped at a different point each time; the connection goes with it.
        let _ = tokio::time::timeout(Duration::from_micros(at * 40), request).await;
    }
    holds_nothing(&server).await;
    assert_eq!(client.get("/api/v1/trap/tally").await.expect(200).json, json!(0));
}
