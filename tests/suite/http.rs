//! The HTTP boundary: what it refuses, how it says so, and what every response carries.

use bytes::Bytes;
use harness::server::Server;
use serde_json::json;

use crate::order::{Kitchen, ORDERS, restaurant};

#[tokio::test]
async fn nothing_invalid_reaches_a_plugin() {
    let server = Server::start().await;
    let owner = server.person("RESTAURANT_OWNER").await.client;
    let path = "/api/v1/restaurants";
    let send = async |body: &str, media: &str| {
        owner.send("POST", path, &[("content-type", media)], Bytes::from(body.to_owned())).await
    };
    let json_media = "application/json";
    for (body, status, code) in [
        ("", 400, "malformed"),
        ("{", 400, "malformed"),
        ("[]", 422, "invalid"),
        ("null", 422, "invalid"),
        (r#"{"name":"a","name":"b"}"#, 400, "malformed"),
        ("{\"name\":\"\\ud800\"}", 400, "malformed"),
        (&format!("{}1{}", "[".repeat(100), "]".repeat(100)), 400, "malformed"),
        ("{\"name\":1e400}", 400, "malformed"),
    ] {
        send(body, json_media).await.refused(status, code);
    }
    send("{}", "text/plain").await.refused(415, "unsupported_media_type");
    send("{}", "application/json; charset=latin1").await.refused(415, "unsupported_media_type");
    let huge = format!("{{\"name\":\"{}\"}}", "a".repeat(300 << 10));
    send(&huge, json_media).await.refused(413, "too_large");

    for (field, value, pointer) in [
        ("name", json!("nul\u{0}"), "/name"),
        ("name", json!("right\u{202e}to left"), "/name"),
        ("name", json!("x".repeat(101)), "/name"),
        ("name", json!(7), "/name"),
        ("cuisine", json!("plastic"), "/cuisine"),
        ("owner_id", json!("0192f0c1-2b7a-7c3e-9d0e-5a4b3c2d1e0f"), "/owner_id"),
    ] {
        let mut body = restaurant("Fine");
        body[field] = value;
        let refused = owner.post(path, &body).await;
        refused.refused(422, "invalid");
        assert_eq!(refused.pointers(), [pointer]);
    }
    let _ = owner.post(path, &restaurant("Fine")).await.expect(201);
}

#[tokio::test]
async fn every_violation_is_named_at_once() {
    let server = Server::start().await;
    let customer = server.person("USER").await.client;
    let body = json!({"restaurant_id": "x", "lines": [{"menu_item_id": "y", "quantity": 0}, {"quantity": 1.5}]});
    let refused = customer.post(ORDERS, &body).await;
    refused.refused(422, "invalid");
    let expected =
        ["/restaurant_id", "/lines/0/menu_item_id", "/lines/0/quantity", "/lines/1/menu_item_id", "/lines/1/quantity"];
    assert_eq!(refused.pointers(), expected);
}

#[tokio::test]
async fn parameters_are_as_strict_as_bodies() {
    let server = Server::start().await;
    let customer = server.person("USER").await.client;
    for (query, pointer) in [
        ("limit=0", "?limit"),
        ("limit=51", "?limit"),
        ("limit=+5", "?limit"),
        ("limit=1&limit=2", "?limit"),
        ("state=eaten", "?state"),
        ("from=yesterday", "?from"),
        ("owner=1", "?owner"),
    ] {
        let refused = customer.get(&format!("{ORDERS}?{query}")).await;
        refused.refused(422, "invalid");
        assert_eq!(refused.pointers(), [pointer], "{query}");
    }
    customer.get(&format!("{ORDERS}/not-a-uuid")).await.refused(422, "invalid");
    let _ = customer.get(&format!("{ORDERS}?from=2026-11-23T20:30:00%2B02:00&limit=5")).await.expect(200);
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_say_so() {
    let server = Server::start().await;
    let client = server.anonymous();
    for path in ["/", "/api/v1/ordering", "/api/v2/restaurants", "/api/v1/restaurants/", "//api/v1/restaurants"] {
        client.get(path).await.refused(404, "not_found");
    }
    let refused = client.delete("/api/v1/restaurants").await;
    refused.refused(405, "method_not_allowed");
    assert_eq!(refused.header("allow"), Some("GET, HEAD, OPTIONS, POST"));
    client.send("TRACE", "/api/v1/restaurants", &[], Bytes::new()).await.refused(405, "method_not_allowed");
    let head = client.send("HEAD", "/api/v1/restaurants", &[], Bytes::new()).await;
    assert_eq!((head.status, head.bytes.len()), (200, 0));
}

#[tokio::test]
async fn every_response_carries_the_security_headers() {
    let server = Server::start().await;
    let client = server.anonymous();
    for path in ["/api/v1/restaurants", "/nowhere", "/openapi.json", "/docs/index.html", ORDERS] {
        let answer = client.get(path).await;
        for name in [
            "content-security-policy",
            "strict-transport-security",
            "x-content-type-options",
            "x-frame-options",
            "referrer-policy",
            "permissions-policy",
            "cross-origin-resource-policy",
            "cache-control",
            "x-request-id",
        ] {
            assert!(answer.header(name).is_some(), "{path} lacks {name}");
        }
        assert!(!answer.header("content-security-policy").unwrap().contains("script-src 'unsafe-inline'"));
        assert!(answer.header("access-control-allow-origin").is_none(), "closed by default");
        assert!(answer.header("server").is_none());
    }
}

#[tokio::test]
async fn a_request_id_in_a_problem_is_the_one_in_the_header() {
    let server = Server::start().await;
    let refused = server.anonymous().get("/nowhere").await;
    assert_eq!(refused.header("x-request-id"), Some(refused.text("/request_id").as_str()));
}

#[tokio::test]
async fn stored_text_leaves_as_text() {
    let server = Server::start().await;
    let owner = server.person("RESTAURANT_OWNER").await.client;
    let evil = "</script><script>alert(1)</script>";
    let made = owner.post("/api/v1/restaurants", &restaurant(evil)).await.expect(201);
    assert_eq!(made.text("/name"), evil);
    assert_eq!(made.header("content-type"), Some("application/json"));
    assert!(!made.bytes.contains(&b'<'), "angle brackets leave as escapes");
}

#[tokio::test]
async fn the_description_of_the_api_names_every_route_and_answer() {
    let server = Server::start().await;
    let answer = server.anonymous().get("/openapi.json").await.expect(200);
    let document = &answer.json;
    assert_eq!(document["openapi"], "3.1.0");
    for route in server.app().edition().router.iter() {
        let method = route.method.as_str().to_lowercase();
        let operation = &document["paths"][&route.pattern][&method];
        assert!(operation["operationId"].is_string(), "{method} {} is not described", route.pattern);
        assert!(operation["security"].is_array());
        for status in ["400", "401", "404", "422", "500", "503"] {
            let content = &operation["responses"][status]["content"];
            assert!(content["application/problem+json"].is_object(), "{method} {}: {status}", route.pattern);
        }
    }
    let place = &document["paths"][ORDERS]["post"];
    assert_eq!(
        place["requestBody"]["content"]["application/json"]["schema"]["$ref"],
        "#/components/schemas/ordering.new-order"
    );
    let line = &document["components"]["schemas"]["ordering.order-line"];
    assert_eq!(line["properties"]["quantity"]["maximum"], 99);
    assert_eq!(line["additionalProperties"], false);
    assert_eq!(line["properties"]["menu_item_id"]["format"], "uuid");
}

#[tokio::test]
async fn an_example_of_the_description_is_a_request_that_is_accepted() {
    let server = Server::start().await;
    let kitchen = Kitchen::open(&server).await;
    let customer = server.person("USER").await.client;
    let document = customer.get("/openapi.json").await.expect(200).json;
    let body = &document["paths"][ORDERS]["post"]["requestBody"]["content"]["application/json"]["example"];
    let mut body = body.clone();
    body["restaurant_id"] = json!(kitchen.id);
    body["lines"][0]["menu_item_id"] = json!(kitchen.soup);
    let _ = customer.post(ORDERS, &body).await.expect(201);
}

#[tokio::test]
async fn the_documentation_page_needs_nothing_from_elsewhere() {
    let server = Server::start().await;
    let client = server.anonymous();
    let page = client.get("/docs/index.html").await.expect(200);
    let html = String::from_utf8_lossy(&page.bytes).into_owned();
    assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("//cdn"), "{html}");
    for file in ["swagger-ui.css", "swagger-ui-bundle.js", "swagger-initializer.js"] {
        let _ = client.get(&format!("/docs/{file}")).await.expect(200);
    }
    client.get("/docs/Cargo.toml").await.refused(404, "not_found");
    // Before the page is asked: the filter. Without it, the page has no such file either.
    client.get("/docs/..%2f..%2fCargo.toml").await.refused(403, "filtered");
    client.get("/docs/../api").await.refused(403, "filtered");
}
