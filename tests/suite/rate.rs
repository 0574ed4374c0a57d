//! How often somebody may ask: by source before anybody is somebody, by account after, by route where it says so; and what
//! two nodes count together (S06).

use std::time::{Duration, Instant};

use bytes::Bytes;
use dinehub::config::{Config, Quota};
use harness::{
    client::{Answer, Client},
    server::{Server, features},
};
use serde_json::json;

const PUBLIC: &str = "/api/v1/restaurants";

/// Nobody is exempt, and a proxy on this machine says who asks.
fn counting() -> Config {
    let mut config = Config::default();
    config.rate.exempt.clear();
    config.http.trusted_proxies = vec!["127.0.0.1".to_owned()];
    config
}

async fn from(client: &Client, source: &str, method: &str, path: &str) -> Answer {
    client.send(method, path, &[("x-forwarded-for", source)], Bytes::new()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_stopped_before_it_is_anybody_and_others_are_not() {
    let mut config = counting();
    config.rate.source = Quota { burst: 5, per_minute: 1 };
    let server = Server::configured(&config).await;
    let forger = server.anonymous().with_token("guess");
    for left in (0..5).rev() {
        let refused = from(&forger, "203.0.113.7", "GET", PUBLIC).await;
        refused.refused(401, "unauthenticated");
        assert!(refused.header("ratelimit").unwrap().starts_with(&format!("\"source\";r={left};t=")), "{refused:?}");
        assert_eq!(refused.header("ratelimit-policy"), Some("\"source\";q=5;w=300"));
    }
    let stopped = from(&forger, "203.0.113.7", "GET", PUBLIC).await;
    stopped.refused(429, "throttled");
    let retry: u64 = stopped.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&retry), "{stopped:?}");
    assert_eq!(stopped.header("ratelimit"), Some(format!("\"source\";r=0;t={retry}").as_str()));
    // Whatever it asks, and as whomever.
    for path in ["/nowhere", "/openapi.json", "/api/v1/auth/me"] {
        from(&server.anonymous(), "203.0.113.7", "GET", path).await.refused(429, "throttled");
    }
    let other = from(&server.anonymous(), "203.0.113.8", "GET", PUBLIC).await.expect(200);
    assert!(other.header("ratelimit").unwrap().starts_with("\"source\";r=4;t="));
    let neighbour = from(&server.anonymous(), "2001:db8:1:2::1", "GET", PUBLIC).await.expect(200);
    assert!(neighbour.header("ratelimit").unwrap().contains("r=4"));
    let same_line = from(&server.anonymous(), "2001:db8:1:2::2", "GET", PUBLIC).await.expect(200);
    assert!(same_line.header("ratelimit").unwrap().contains("r=3"), "one customer of IPv6");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_one_from_wherever_it_asks() {
    let mut config = counting();
    config.rate.account = Quota { burst: 3, per_minute: 1 };
    let server = Server::configured(&config).await;
    let (anna, bert) = (server.person("USER").await.client, server.person("USER").await.client);
    for at in 0..3 {
        let _ = from(&anna, &format!("203.0.113.{at}"), "GET", "/api/v1/auth/me").await.expect(200);
    }
    let stopped = from(&anna, "203.0.113.99", "GET", "/api/v1/auth/me").await;
    stopped.refused(429, "throttled");
    assert!(stopped.header("ratelimit").unwrap().starts_with("\"account\";r=0"));
    let _ = from(&bert, "203.0.113.99", "GET", "/api/v1/auth/me").await.expect(200);
    let _ = from(&server.anonymous(), "203.0.113.99", "GET", PUBLIC).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_has_the_limit_its_plugin_says_or_the_operators() {
    let mut packages = features().await;
    for route in packages.iter_mut().flat_map(|package| &mut package.manifest.routes) {
        if matches!(route.function.as_str(), "search" | "my-orders") {
            route.rate = Some(Quota { burst: 2, per_minute: 1 });
        }
    }
    let mut config = counting();
    config.rate.routes.insert(format!("GET {PUBLIC}"), Quota { burst: 4, per_minute: 1 });
    let server = Server::try_with(packages, &config).await.unwrap_or_else(|fault| panic!("{fault}"));
    let orders = "/api/v1/ordering/orders";
    let anna = server.person("USER").await.client;
    for _ in 0..2 {
        let _ = from(&anna, "203.0.113.1", "GET", orders).await.expect(200);
    }
    let stopped = from(&anna, "203.0.113.2", "GET", orders).await;
    stopped.refused(429, "throttled");
    assert!(stopped.header("ratelimit").unwrap().starts_with("\"route\";r=0"));
    from(&anna, "203.0.113.2", "POST", orders).await.refused(415, "unsupported_media_type");
    for _ in 0..4 {
        let _ = from(&server.anonymous(), "203.0.113.3", "GET", PUBLIC).await.expect(200);
    }
    let _ = from(&server.anonymous(), "203.0.113.3", "HEAD", PUBLIC).await.expect(429);
    let _ = from(&server.anonymous(), "203.0.113.4", "GET", PUBLIC).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn this_machine_is_not_limited_unless_somebody_says_so() {
    let mut config = Config::default();
    config.rate.source = Quota { burst: 1, per_minute: 1 };
    let server = Server::configured(&config).await;
    for _ in 0..5 {
        let answer = server.anonymous().get("/openapi.json").await.expect(200);
        assert!(answer.header("ratelimit").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_in_attempts_are_counted_over_all_nodes_and_requests_by_each() {
    let mut config = counting();
    config.rate.source = Quota { burst: 20, per_minute: 1 };
    let one = Server::configured(&config).await;
    let two = one.join(&config).await;
    let attempt = async |node: &Server| {
        let body = json!({"email": "nobody@example.com", "password": "wrong-and-long"});
        let headers = [("x-forwarded-for", "203.0.113.7")];
        node.anonymous().json("POST", "/api/v1/auth/login", &headers, &body).await
    };
    // Once at the one, many times at the other: whoever is stopped there is stopped here.
    attempt(&two).await.refused(401, "wrong_credentials");
    let mut statuses = Vec::new();
    while statuses.len() < 15 && statuses.last() != Some(&429) {
        statuses.push(attempt(&one).await.status);
    }
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    let stopped = attempt(&two).await;
    stopped.refused(429, "throttled");
    assert!(stopped.header("retry-after").is_some());
    // Requests are counted by each node for itself: two there, and this one.
    let left = from(&two.anonymous(), "203.0.113.7", "GET", PUBLIC).await.expect(200);
    assert!(left.header("ratelimit").unwrap().contains("r=17"), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_knows_of_a_token_the_other_learns() {
    let one = Server::start().await;
    let two = one.join(&Config::default()).await;
    let anna = one.person("USER").await.client;
    let there = Client::new(two.address, anna.token.clone());
    let _ = there.get("/api/v1/auth/me").await.expect(200);
    let _ = anna.act("/api/v1/auth/logout").await.expect(204);
    anna.get("/api/v1/auth/me").await.refused(401, "unauthenticated");
    let begun = Instant::now();
    while there.get("/api/v1/auth/me").await.status != 401 {
        assert!(begun.elapsed() < Duration::from_secs(10), "the other node never learns of the end of a token");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
