//! What a client may expect of any HTTP API: pages of other origins, conditions on requests, links, methods, and whom to
//! tell of a weakness.

use std::time::{Duration, Instant};

use bytes::Bytes;
use dinehub::config::{Config, Cors, Security};
use futures::future::join_all;
use harness::{
    client::{Answer, Client},
    server::{Server, features},
};
use serde_json::{Value, json};

use crate::order::{Kitchen, restaurant};

const PUBLIC: &str = "/api/v1/restaurants";
const PAGE: &str = "https://app.example";

async fn ask(client: &Client, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    client.send(method, path, headers, Bytes::new()).await
}

async fn preflight(client: &Client, origin: &str, path: &str) -> Answer {
    let headers = [("origin", origin), ("access-control-request-method", "POST")];
    ask(client, "OPTIONS", path, &headers).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_of_another_origin_reads_anything_unless_it_is_named() {
    let closed = Server::start().await;
    let refused = preflight(&closed.anonymous(), PAGE, PUBLIC).await.expect(204);
    assert!(!refused.headers.keys().any(|name| name.as_str().starts_with("access-control")), "{refused:?}");
    let answer = ask(&closed.anonymous(), "GET", PUBLIC, &[("origin", PAGE)]).await.expect(200);
    assert!(answer.header("access-control-allow-origin").is_none());

    let cors = Cors { origins: vec![PAGE.to_owned()], max_age_s: 60 };
    let open = closed.join(&Config { cors, ..Config::default() }).await;
    let client = open.anonymous();
    let allowed = preflight(&client, PAGE, PUBLIC).await.expect(204);
    assert_eq!(allowed.header("access-control-allow-origin"), Some(PAGE));
    assert_eq!(allowed.header("access-control-allow-methods"), Some("GET, HEAD, OPTIONS, POST"));
    assert_eq!(allowed.header("access-control-max-age"), Some("60"));
    assert!(allowed.header("access-control-allow-headers").unwrap().contains("if-match"));
    assert!(allowed.header("access-control-allow-credentials").is_none(), "the API takes no cookie");
    // A refusal can be read as well, or the page would never know why.
    for (path, status) in [(PUBLIC, 200), ("/nowhere", 404), ("/api/v1/auth/me", 401), ("/.git/config", 403)] {
        let answer = ask(&client, "GET", path, &[("origin", PAGE)]).await.expect(status);
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE), "{path}");
        assert!(answer.headers.get_all("vary").iter().any(|vary| vary == "origin"), "{path}");
    }
    for stranger in
        ["https://app.example.evil", "https://evil.example", "http://app.example", "null", "https://app.example:8443"]
    {
        let told = preflight(&client, stranger, PUBLIC).await.expect(204);
        let answer = ask(&client, "GET", PUBLIC, &[("origin", stranger)]).await.expect(200);
        for answer in [told, answer] {
            assert!(answer.header("access-control-allow-origin").is_none(), "{stranger}");
            assert!(answer.header("access-control-allow-methods").is_none(), "{stranger}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_says_what_it_answers() {
    let server = Server::start().await;
    let client = server.anonymous();
    for (path, allow) in [
        (PUBLIC, "GET, HEAD, OPTIONS, POST"),
        ("/api/v1/auth/login", "OPTIONS, POST"),
        ("/api/v1/restaurants/0192f0c1-2b7a-7c3e-9d0e-5a4b3c2d1e0f", "GET, HEAD, OPTIONS, PUT"),
        ("/openapi.json", "GET, HEAD, OPTIONS"),
    ] {
        let told = ask(&client, "OPTIONS", path, &[]).await.expect(204);
        assert_eq!(told.header("allow"), Some(allow), "{path}");
        for method in ["TRACE", "CONNECTED", "get"] {
            let refused = ask(&client, method, path, &[]).await;
            refused.refused(405, "method_not_allowed");
            assert_eq!(refused.header("allow"), Some(allow), "{method} {path}");
        }
    }
    ask(&client, "OPTIONS", "/nowhere", &[]).await.refused(404, "not_found");
    let (get, head) = (ask(&client, "GET", PUBLIC, &[]).await, ask(&client, "HEAD", PUBLIC, &[]).await);
    assert_eq!((head.status, head.bytes.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(get.bytes.len().to_string().as_str()));
    assert_eq!(head.header("content-type"), get.header("content-type"));
}

fn edit(name: &str) -> Value {
    let mut body = restaurant(name);
    body.as_object_mut().unwrap().remove("currency");
    body["accepting_orders"] = json!(true);
    body
}

async fn put(client: &Client, path: &str, tag: Option<&str>, body: &Value) -> Answer {
    let headers: Vec<(&str, &str)> = tag.map(|tag| ("if-match", tag)).into_iter().collect();
    client.json("PUT", path, &headers, body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_change_is_not_sent_again() {
    let server = Server::start().await;
    let kitchen = Kitchen::open(&server).await;
    let path = format!("{PUBLIC}/{}", kitchen.id);
    let client = server.anonymous();
    let first = client.get(&path).await.expect(200);
    let tag = first.header("etag").expect("an ETag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "strong: {tag}");
    assert_eq!(client.get(&path).await.header("etag"), Some(tag.as_str()), "the same as long as it is the same");
    for known in [tag.clone(), format!("\"other\", {tag}"), format!("W/{tag}"), "*".to_owned()] {
        let same = ask(&client, "GET", &path, &[("if-none-match", &known)]).await.expect(304);
        assert!(same.bytes.is_empty() && same.header("etag") == Some(&tag) && same.header("cache-control").is_some());
    }
    let _ = ask(&client, "GET", &path, &[("if-none-match", "\"other\"")]).await.expect(200);
    ask(&client, "GET", &path, &[("if-none-match", "other")]).await.refused(400, "malformed");
    let _ = put(&kitchen.owner.client, &path, None, &edit("Renamed")).await.expect(200);
    let changed = ask(&client, "GET", &path, &[("if-none-match", &tag)]).await.expect(200);
    assert_ne!(changed.header("etag"), Some(tag.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_something_else_than_what_was_read_is_refused() {
    let server = Server::start().await;
    let kitchen = Kitchen::open(&server).await;
    let owner = &kitchen.owner.client;
    let path = format!("{PUBLIC}/{}", kitchen.id);
    let tag = owner.get(&path).await.expect(200).header("etag").unwrap().to_owned();
    let _ = put(owner, &path, Some(&tag), &edit("Second")).await.expect(200);
    let stale = put(owner, &path, Some(&tag), &edit("Third")).await;
    stale.refused(412, "precondition_failed");
    assert_eq!(owner.get(&path).await.json["name"], "Second");
    let tag = owner.get(&path).await.expect(200).header("etag").unwrap().to_owned();
    put(owner, &path, Some(&format!("W/{tag}")), &edit("Third")).await.refused(412, "precondition_failed");
    put(owner, &path, Some("unquoted"), &edit("Third")).await.refused(400, "malformed");
    let _ = put(owner, &path, Some(&format!("\"x\", {tag}")), &edit("Third")).await.expect(200);
    let _ = put(owner, &path, Some("*"), &edit("Fourth")).await.expect(200);
    let none = json!({"if": 1});
    owner.json("PUT", &path, &[("if-none-match", "*")], &edit("Fifth")).await.refused(412, "precondition_failed");
    // What the condition may not tell: that it is there, or that somebody else's is.
    let missing = format!("{PUBLIC}/0192f0c1-2b7a-7c3e-9d0e-5a4b3c2d1e0f");
    put(owner, &missing, Some(&tag), &edit("X")).await.refused(404, "not_found");
    put(owner, &path, Some(&tag), &none).await.refused(422, "invalid");
    let stranger = server.person("RESTAURANT_OWNER").await.client;
    let current = stranger.get(&path).await.expect(200).header("etag").unwrap().to_owned();
    let refused = put(&stranger, &path, Some(&current), &edit("Mine")).await;
    assert!(matches!(refused.status, 403 | 404), "{refused:?}");
    // A path that has no ETag decides nothing, and says so instead of changing it.
    for (method, path, body) in [
        ("POST", PUBLIC.to_owned(), restaurant("New")),
        ("POST", "/api/v1/auth/login".to_owned(), json!({"email": "a@example.com", "password": "wrong-and-long"})),
    ] {
        owner.json(method, &path, &[("if-match", "\"x\"")], &body).await.refused(412, "precondition_failed");
    }
    // A menu's items as well.
    let item = format!("{path}/menu/items/{}", kitchen.soup);
    let tag = owner.get(&item).await.expect(200).header("etag").unwrap().to_owned();
    ask(owner, "DELETE", &item, &[("if-match", "\"x\"")]).await.refused(412, "precondition_failed");
    let _ = ask(owner, "DELETE", &item, &[("if-match", &tag)]).await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_changes_of_the_same_reading_one_comes_through() {
    let server = Server::start().await;
    let kitchen = Kitchen::open(&server).await;
    let owner = &kitchen.owner.client;
    let path = format!("{PUBLIC}/{}", kitchen.id);
    for round in 0..8 {
        let tag = owner.get(&path).await.expect(200).header("etag").unwrap().to_owned();
        let names: Vec<String> = (0..12).map(|at| format!("Round {round}, number {at}")).collect();
        let bodies: Vec<Value> = names.iter().map(|name| edit(name)).collect();
        let answers = join_all(bodies.iter().map(|body| put(owner, &path, Some(&tag), body))).await;
        let came: Vec<usize> = (0..12).filter(|at| answers[*at].status == 200).collect();
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(came.len(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| matches!(status, 200 | 412 | 503)), "{statuses:?}");
        assert_eq!(owner.get(&path).await.json["name"], json!(names[came[0]]));
    }
}

/// Whoever changes it without a condition may; but a condition that was read before does not overwrite it.
#[tokio::test(flavor = "multi_thread")]
async fn no_change_is_lost_to_one_that_read_before_it() {
    let server = Server::start().await;
    let kitchen = Kitchen::open(&server).await;
    let owner = &kitchen.owner.client;
    let path = format!("{PUBLIC}/{}", kitchen.id);
    let begun = Instant::now();
    let mut raced = 0;
    while raced < 20 && begun.elapsed() < Duration::from_secs(60) {
        let tag = owner.get(&path).await.expect(200).header("etag").unwrap().to_owned();
        let (plain, careful) = (edit(&format!("Plain {raced}")), edit(&format!("Careful {raced}")));
        let (plain, careful) = tokio::join!(put(owner, &path, None, &plain), put(owner, &path, Some(&tag), &careful));
        assert_eq!(plain.status, 200, "{plain:?}");
        let name = owner.get(&path).await.text("/name");
        match careful.status {
            // It came first, and the plain one after it.
            200 => assert_eq!(name, format!("Plain {raced}"), "the plain change was overwritten unseen"),
            412 | 503 => assert_eq!(name, format!("Plain {raced}")),
            other => panic!("{other}: {careful:?}"),
        }
        raced += 1;
    }
    assert_eq!(raced, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_can_insist_on_a_condition() {
    let mut packages = features().await;
    for route in packages.iter_mut().flat_map(|package| &mut package.manifest.routes) {
        route.if_match |= route.function == "edit";
    }
    let server = Server::with(packages).await;
    let kitchen = Kitchen::open(&server).await;
    let owner = &kitchen.owner.client;
    let path = format!("{PUBLIC}/{}", kitchen.id);
    put(owner, &path, None, &edit("Unseen")).await.refused(428, "precondition_required");
    let tag = owner.get(&path).await.expect(200).header("etag").unwrap().to_owned();
    let _ = put(owner, &path, Some(&tag), &edit("Seen")).await.expect(200);
    let document = owner.get("/openapi.json").await.expect(200).json;
    let operation = &document["paths"]["/api/v1/restaurants/{id}"]["put"];
    assert!(operation["responses"]["428"].is_object() && operation["responses"]["412"].is_object());
    let header = operation["parameters"].as_array().unwrap().iter().find(|one| one["name"] == "If-Match").unwrap();
    assert_eq!(header["required"], true);
    // Only where something can decide it.
    let mut packages = features().await;
    for route in packages.iter_mut().flat_map(|package| &mut package.manifest.routes) {
        route.if_match |= route.function == "create";
    }
    let fault = Server::try_with(packages, &Config::default()).await.map(|_| ()).unwrap_err().to_string();
    assert!(fault.contains("nothing at its path has an ETag"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_link_to_the_next() {
    let server = Server::start().await;
    let owner = server.person("RESTAURANT_OWNER").await.client;
    for at in 0..5 {
        let _ = owner.post(PUBLIC, &restaurant(&format!("Tasca {at}"))).await.expect(201);
    }
    let client = server.anonymous();
    let (mut path, mut seen) = (format!("{PUBLIC}?limit=2&text=tasca"), Vec::new());
    loop {
        let page = client.get(&path).await.expect(200);
        seen.extend(page.json["items"].as_array().unwrap().iter().map(|item| item["id"].clone()));
        let Some(link) = page.header("link") else {
            assert!(page.json["next_cursor"].is_null());
            break;
        };
        let (target, relation) = link.split_once(">; ").unwrap();
        assert_eq!(relation, "rel=\"next\"");
        assert!(target.contains("limit=2&text=tasca&cursor="), "{link}");
        path = target.trim_start_matches('<').to_owned();
    }
    assert_eq!(seen.len(), 5);
    seen.sort_by_key(ToString::to_string);
    seen.dedup();
    assert_eq!(seen.len(), 5, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_to_tell_of_a_weakness_is_where_everybody_looks() {
    let quiet = Server::start().await;
    quiet.anonymous().get("/.well-known/security.txt").await.refused(404, "not_found");
    quiet.anonymous().get("/.well-known/pins.json").await.refused(404, "not_found");
    let security = Security {
        contact: vec!["mailto:security@dine.example".to_owned(), "https://dine.example/report".to_owned()],
        canonical: vec!["https://dine.example/.well-known/security.txt".to_owned()],
        policy: "https://dine.example/policy".to_owned(),
        ..Security::default()
    };
    let server = quiet.join(&Config { security: security.clone(), ..Config::default() }).await;
    let told = server.anonymous().get("/.well-known/security.txt").await.expect(200);
    assert_eq!(told.header("content-type"), Some("text/plain; charset=utf-8"));
    let text = String::from_utf8(told.bytes.to_vec()).unwrap();
    let first = text.lines().next();
    assert_eq!(first, Some("Contact: mailto:security@dine.example"), "the preferred one first");
    for line in
        ["Contact: https://dine.example/report", "Policy: https://dine.example/policy", "Preferred-Languages: en"]
    {
        assert!(text.lines().any(|known| known == line), "{text}");
    }
    let expires: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("Expires: ")).collect();
    assert!(matches!(expires.as_slice(), [one] if one.ends_with("T00:00:00Z") && one.len() == 20), "{text}");
    for (key, wrong) in [
        ("contact", Security { contact: vec!["security@dine.example".to_owned()], ..security.clone() }),
        ("policy", Security { policy: "http://dine.example".to_owned(), ..security.clone() }),
        ("days", Security { days: 400, ..security }),
    ] {
        let config = Config { security: wrong, ..Config::default() };
        let fault = Server::try_with(vec![], &config).await.map(|_| ()).unwrap_err().to_string();
        assert!(fault.contains(&format!("security.{key}")), "{fault}");
    }
}
