//! `dinehub top`: what a running host says its plugins used, through its admin port and the real command.

use std::{process::Command, sync::Arc};

use dinehub::{
    command::start,
    http::{route::health, serve},
};
use harness::server::Server;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};

use crate::sandbox::beside;

/// The server's admin port, served until the test ends.
async fn admin_port(server: &Server) -> String {
    let listener = start::listen("test", "127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    let service = health::service(Arc::clone(server.app()), metrics);
    tokio::spawn(serve::serve(listener, serve::routed(service), server.app().bounds, std::future::pending()));
    url
}

async fn top(arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dinehub"));
    command.arg("top").args(arguments).env_clear();
    let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = [done.stdout, done.stderr].concat();
    (done.status.success(), String::from_utf8(text).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_plugins_used_is_counted_and_how_near_they_came_to_their_limits() {
    let server = beside("glutton").await;
    let admin = admin_port(&server).await;
    let client = server.anonymous();
    let path = |rest: &str| format!("/api/v1/glutton/{rest}");
    assert_eq!(client.act(&path("scatter")).await.expect(200).json, json!(10));
    for _ in 0..3 {
        assert_eq!(client.get(&path("rows?times=2")).await.expect(200).json, json!(20));
    }
    client.get(&path("rows?times=3")).await.refused(500, "plugin_fault");
    client.act(&path("linger")).await.refused(504, "timeout");
    let person = server.person("USER").await.client;
    let refused = json!({"name": "x", "cuisine": "y", "address": "z", "currency": "USD"});
    assert_eq!(person.post("/api/v1/restaurants", &refused).await.status, 403);

    let (is_good, json) = top(&["--admin", &admin, "-o", "json"]).await;
    assert!(is_good, "{json}");
    let rows: Vec<Value> = serde_json::from_str(&json).unwrap();
    let of = |plugin: &str| rows.iter().find(|row| row["plugin"] == plugin).unwrap();
    let limit = |plugin: &str, name: &str| {
        of(plugin)["limits"].as_array().unwrap().iter().find(|limit| limit["name"] == name).unwrap().clone()
    };
    let glutton = of("glutton");
    assert_eq!((&glutton["calls"], &glutton["running"], &glutton["faults"]), (&json!(6), &json!(0), &json!(0)));
    assert_eq!(glutton["digest"].as_str().map(str::len), Some(64));
    assert_eq!(
        limit("glutton", "rows_max"),
        json!({"name": "rows_max", "limit": 25, "total": 90, "peak": 30, "stops": 1}),
        "three times twenty, and thirty that were too many"
    );
    // The third read was stopped as it came back.
    assert_eq!(limit("glutton", "statements_max")["total"], json!(10));
    assert_eq!(limit("glutton", "deadline_ms")["stops"], json!(1));
    // It spun for 400 ms; the clock that counts has steps of five, and others want the core.
    assert!(limit("glutton", "cpu_ms")["peak"].as_u64().unwrap() >= 5);
    assert!(limit("glutton", "database_ms")["total"].as_u64().unwrap() >= 1);
    assert!(limit("glutton", "memory_bytes")["peak"].as_u64().unwrap() >= 196_608, "three pages from the start");
    assert_eq!((&of("restaurants")["denials"], &of("restaurants")["calls"]), (&json!(1), &json!(0)));
    assert_eq!(limit("restaurants", "rows_max")["total"], json!(0));

    let (is_good, table) = top(&["--admin", &format!("{admin}/")]).await;
    assert!(is_good, "{table}");
    let line = table.lines().find(|line| line.starts_with("glutton")).unwrap_or_else(|| panic!("{table}"));
    for word in ["rows_max 30/25 (120 %)", "rows_max 1, deadline_ms 1"] {
        assert!(line.contains(word), "{word}: {line}");
    }
    assert!(table.starts_with("PLUGIN"), "{table}");
}

#[tokio::test]
async fn a_host_that_is_not_there_is_named_with_what_to_do() {
    let (is_good, said) = top(&["--admin", "http://127.0.0.1:1"]).await;
    assert!(!is_good && said.contains("http://127.0.0.1:1/plugins") && said.contains("fix: "), "{said}");
}
