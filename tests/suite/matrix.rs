//! Every route × every role × own and other. Roles are computed from each route's rule; ownership is a table that a
//! reviewer can read, and a route that is not in it fails the test.

use std::collections::BTreeSet;

use dinehub::access::policy::Rule;
use harness::{
    client::{Answer, Client},
    server::{Person, Server},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::order::restaurant;

const ROLES: [&str; 3] = ["USER", "RESTAURANT_OWNER", "ADMIN"];

/// What `roles.toml` says, spelled out here so that a change there is seen.
fn holds(role: &str, wanted: &str) -> bool {
    role == wanted || role == "ADMIN" || (role, wanted) == ("RESTAURANT_OWNER", "USER")
}

/// The denial that a rule demands, if it does: 401 for nobody, 403 for somebody else.
fn denial(rule: &Rule, role: Option<&str>) -> Option<u16> {
    match (rule, role) {
        (Rule::Anyone, _) | (Rule::Authenticated, Some(_)) => None,
        (Rule::Authenticated | Rule::AnyOf(_), None) => Some(401),
        (Rule::AnyOf(wanted), Some(role)) if wanted.iter().any(|wanted| holds(role, wanted.as_str())) => None,
        (Rule::AnyOf(_), Some(_)) => Some(403),
    }
}

/// A path of this pattern that names nothing.
fn somewhere(pattern: &str) -> String {
    let nothing = Uuid::from_u128(0x0192_f0c1_2b7a_7c3e_9d0e_5a4b_3c2d_1e0f).to_string();
    let parts = pattern.split('/').map(|part| if part.starts_with('{') { nothing.as_str() } else { part });
    parts.collect::<Vec<_>>().join("/")
}

async fn send(client: &Client, method: &str, path: &str, body: &Value) -> Answer {
    match body {
        Value::Null => client.send(method, path, &[], bytes::Bytes::new()).await,
        body => client.json(method, path, &[], body).await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_denies_whom_its_rule_denies_and_nobody_else() {
    let server = Server::start().await;
    let people = [server.person("USER").await, server.person("RESTAURANT_OWNER").await, server.person("ADMIN").await];
    let mut asked = 0;
    for route in server.app().edition().router.iter() {
        let (method, path) = (route.method.as_str(), somewhere(&route.pattern));
        let mut actors = vec![(None, server.anonymous())];
        for (role, person) in ROLES.iter().zip(&people) {
            // What ends the token it is asked with is asked by somebody of its own.
            let is_end = ["logout", "deactivate"].iter().any(|end| path.contains(end));
            let client = if is_end { server.person(role).await.client } else { person.client.clone() };
            actors.push((Some(*role), client));
        }
        for (role, client) in actors {
            let head = (method == "GET").then_some("HEAD");
            for method in head.into_iter().chain([method]) {
                let answer = send(&client, method, &path, &json!({})).await;
                let at = format!("{method} {path} as {}", role.unwrap_or("nobody"));
                match denial(&route.rule, role) {
                    Some(status) => assert_eq!(answer.status, status, "{at}: {answer:?}"),
                    None => {
                        assert!(!matches!(answer.status, 401 | 403 | 405 | 500..), "{at}: {answer:?}");
                    }
                }
                asked += 1;
            }
        }
        // A token that is not ours is no anonymous caller: it is refused wherever it is shown.
        let forged = server.anonymous().with_token("eyJhbGciOiJub25lIn0.e30.");
        let answer = send(&forged, method, &path, &json!({})).await;
        assert_eq!(answer.status, 401, "{method} {path} with a forged token: {answer:?}");
    }
    assert!(asked > 150, "every route was asked");
}

/// Who asks, in the order of the columns of [`TABLE`].
struct People {
    nobody: Client,
    customer: Person,
    stranger: Person,
    owner: Person,
    rival: Person,
    admin: Person,
}

impl People {
    async fn of(server: &Server) -> Self {
        Self {
            nobody: server.anonymous(),
            customer: server.person("USER").await,
            stranger: server.person("USER").await,
            owner: server.person("RESTAURANT_OWNER").await,
            rival: server.person("RESTAURANT_OWNER").await,
            admin: server.person("ADMIN").await,
        }
    }

    fn columns(&self) -> [(&'static str, &Client); 6] {
        [
            ("nobody", &self.nobody),
            ("its customer", &self.customer.client),
            ("another customer", &self.stranger.client),
            ("its owner", &self.owner.client),
            ("another owner", &self.rival.client),
            ("an admin", &self.admin.client),
        ]
    }
}

/// What is done to get an order to where a row begins.
type Before = &'static [&'static str];

/// Method, path below `/api/v1`, body, the order's way so far, and the status for each of [`People::columns`].
///
/// An order that is not one's own does not exist (404); a restaurant is public, so changing another's is denied (403).
#[rustfmt::skip]
const TABLE: &[(&str, &str, &str, Before, [u16; 6])] = &[
    // method, path                                                body      before                            nobody cust  other owner rival admin
    ("GET",    "/ordering/orders",                                 "",       &[],                              [401, 200, 200, 200, 200, 200]),
    ("POST",   "/ordering/orders",                                 "order",  &[],                              [401, 201, 201, 201, 201, 201]),
    ("GET",    "/ordering/orders/{order}",                         "",       &[],                              [401, 200, 404, 200, 404, 200]),
    ("POST",   "/ordering/orders/{order}/cancel",                  "",       &[],                              [401, 200, 404, 403, 404, 200]),
    ("POST",   "/ordering/orders/{order}/accept",                  "",       &[],                              [401, 403, 403, 200, 404, 200]),
    ("POST",   "/ordering/orders/{order}/reject",                  "",       &[],                              [401, 403, 403, 200, 404, 200]),
    ("POST",   "/ordering/orders/{order}/prepare",                 "",       &["accept"],                      [401, 403, 403, 200, 404, 200]),
    ("POST",   "/ordering/orders/{order}/ready",                   "",       &["accept", "prepare"],           [401, 403, 403, 200, 404, 200]),
    ("POST",   "/ordering/orders/{order}/complete",                "",       &["accept", "prepare", "ready"],  [401, 403, 403, 200, 404, 200]),
    ("GET",    "/ordering/restaurants/{restaurant}/orders",        "",       &[],                              [401, 403, 403, 200, 403, 200]),
    ("GET",    "/notifications/notices",                           "",       &[],                              [401, 200, 200, 200, 200, 200]),
    // To one person, and to nobody else: not to the order's other side, not to an admin.
    ("GET",    "/notifications/notices/{notice}",                  "",       &["told"],                        [401, 200, 404, 404, 404, 404]),
    ("GET",    "/payments/orders/{order}",                         "",       &["paid"],                        [401, 200, 404, 200, 404, 200]),
    ("GET",    "/payments/restaurants/{restaurant}/payments",      "",       &[],                              [401, 403, 403, 200, 200, 200]),
    // Whoever it is: what the provider did not sign is no report.
    ("POST",   "/payments/webhook",                                "name",   &[],                              [422, 422, 422, 422, 422, 422]),
    ("GET",    "/restaurants",                                     "",       &[],                              [200, 200, 200, 200, 200, 200]),
    ("POST",   "/restaurants",                                     "new",    &[],                              [401, 403, 403, 201, 201, 201]),
    ("GET",    "/restaurants/{restaurant}",                        "",       &[],                              [200, 200, 200, 200, 200, 200]),
    ("PUT",    "/restaurants/{restaurant}",                        "edit",   &[],                              [401, 403, 403, 200, 403, 200]),
    ("POST",   "/restaurants/{restaurant}/close",                  "",       &[],                              [401, 403, 403, 200, 403, 200]),
    ("GET",    "/restaurants/{restaurant}/menu",                   "",       &[],                              [200, 200, 200, 200, 200, 200]),
    ("POST",   "/restaurants/{restaurant}/menu/sections",          "name",   &[],                              [401, 403, 403, 201, 403, 201]),
    ("PUT",    "/restaurants/{restaurant}/menu/sections/{spare}",  "name",   &[],                              [401, 403, 403, 200, 403, 200]),
    ("DELETE", "/restaurants/{restaurant}/menu/sections/{spare}",  "",       &[],                              [401, 403, 403, 204, 403, 204]),
    ("POST",   "/restaurants/{restaurant}/menu/items",             "item",   &[],                              [401, 403, 403, 201, 403, 201]),
    ("GET",    "/restaurants/{restaurant}/menu/items/{item}",      "",       &[],                              [200, 200, 200, 200, 200, 200]),
    ("PUT",    "/restaurants/{restaurant}/menu/items/{item}",      "item",   &[],                              [401, 403, 403, 200, 403, 200]),
    ("DELETE", "/restaurants/{restaurant}/menu/items/{item}",      "",       &[],                              [401, 403, 403, 204, 403, 204]),
    ("GET",    "/restaurants/{restaurant}/hours",                  "",       &[],                              [200, 200, 200, 200, 200, 200]),
    ("PUT",    "/restaurants/{restaurant}/hours",                  "hours",  &[],                              [401, 403, 403, 200, 403, 200]),
    // Closed for good, it exists for its owner and for an admin.
    ("GET",    "/restaurants/{restaurant}",                        "",       &["close"],                       [404, 404, 404, 200, 404, 200]),
    ("GET",    "/restaurants/{restaurant}/menu",                   "",       &["close"],                       [404, 404, 404, 200, 404, 200]),
    ("GET",    "/restaurants/{restaurant}/hours",                  "",       &["close"],                       [404, 404, 404, 200, 404, 200]),
];

/// Asks until the order's payment is there.
async fn paid(customer: &Client, order: &str) {
    let begun = std::time::Instant::now();
    while customer.get(&format!("/api/v1/payments/orders/{order}")).await.status != 200 {
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "no payment for {order}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// Asks until the customer was told of the order; gives the notice.
async fn told(customer: &Client, order: &str) -> String {
    let begun = std::time::Instant::now();
    loop {
        let list = customer.get("/api/v1/notifications/notices").await.expect(200);
        let found = list.json["items"].as_array().unwrap().iter().find(|one| one["order_id"] == order).cloned();
        if let Some(notice) = found {
            return notice["id"].as_str().unwrap().to_owned();
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "no notice of {order}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// A restaurant of the owner with an order of the customer in it, fresh for each cell.
struct Scene {
    restaurant: String,
    section: String,
    spare: String,
    item: String,
    order: String,
    notice: String,
}

impl Scene {
    async fn set(people: &People, before: Before) -> Self {
        let owner = &people.owner.client;
        let made = owner.post("/api/v1/restaurants", &restaurant("Tasca")).await.expect(201).text("/id");
        let below = format!("/api/v1/restaurants/{made}");
        let all_week = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
            .map(|day| json!({"weekday": day, "opens_minute": 0, "closes_minute": 1440}));
        let _ = owner.put(&format!("{below}/hours"), &json!({"openings": all_week})).await.expect(200);
        let section = |name: &str| {
            let (path, body) = (format!("{below}/menu/sections"), json!({"name": name}));
            async move { owner.post(&path, &body).await.expect(201).text("/id") }
        };
        let (full, spare) = (section("All").await, section("Spare").await);
        let soup = json!({"section_id": full, "name": "Soup", "price_cents": 450});
        let item = owner.post(&format!("{below}/menu/items"), &soup).await.expect(201).text("/id");
        let lines = json!({"restaurant_id": made, "lines": [{"menu_item_id": item, "quantity": 1}]});
        let order = people.customer.client.post("/api/v1/ordering/orders", &lines).await.expect(201).text("/id");
        let mut notice = String::new();
        for step in before {
            let path = match *step {
                "paid" => {
                    paid(&people.customer.client, &order).await;
                    continue;
                }
                "told" => {
                    notice = told(&people.customer.client, &order).await;
                    continue;
                }
                "close" => format!("{below}/close"),
                verb => format!("/api/v1/ordering/orders/{order}/{verb}"),
            };
            let _ = owner.act(&path).await.expect(200);
        }
        Self { restaurant: made, section: full, spare, item, order, notice }
    }

    fn path(&self, pattern: &str) -> String {
        let named = [
            ("restaurant", &self.restaurant),
            ("spare", &self.spare),
            ("item", &self.item),
            ("order", &self.order),
            ("notice", &self.notice),
        ];
        named.iter().fold(format!("/api/v1{pattern}"), |path, (name, id)| path.replace(&format!("{{{name}}}"), id))
    }

    fn body(&self, kind: &str) -> Value {
        let mut edit = restaurant("Another name");
        match kind {
            "" => Value::Null,
            "order" => json!({"restaurant_id": self.restaurant, "lines": [{"menu_item_id": self.item, "quantity": 2}]}),
            "new" => edit,
            "edit" => {
                edit.as_object_mut().unwrap().remove("currency");
                edit["accepting_orders"] = json!(true);
                edit
            }
            "name" => json!({"name": "Puddings"}),
            "item" => json!({"section_id": self.section, "name": "Cake", "price_cents": 1}),
            "hours" => json!({"openings": []}),
            other => panic!("no body {other}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_somebody_elses_stays_theirs() {
    let server = Server::configured(&crate::event::config(true, 3)).await;
    let people = People::of(&server).await;
    let mut wrong = Vec::new();
    for (method, pattern, body, before, expected) in TABLE {
        let mut scene = Scene::set(&people, before).await;
        for ((who, client), status) in people.columns().into_iter().zip(expected) {
            let answer = send(client, method, &scene.path(pattern), &scene.body(body)).await;
            if answer.status != *status {
                wrong.push(format!("{method} {pattern} after {before:?} by {who}: wanted {status}, got {answer:?}"));
            }
            // Denials leave the scene as it was; whoever comes after a success finds a fresh one.
            if *method != "GET" && answer.status < 400 {
                scene = Scene::set(&people, before).await;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_of_a_plugin_has_its_line_in_the_table() {
    let server = Server::start().await;
    let blank = |pattern: &str| {
        let parts = pattern.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
        parts.collect::<Vec<_>>().join("/")
    };
    let listed: BTreeSet<String> =
        TABLE.iter().map(|(method, pattern, ..)| format!("{method} /api/v1{}", blank(pattern))).collect();
    let there: BTreeSet<String> = server
        .app()
        .edition()
        .router
        .iter()
        .filter(|route| matches!(route.target, dinehub::http::router::Target::Plugin(_)))
        .map(|route| format!("{} {}", route.method.as_str(), blank(&route.pattern)))
        .collect();
    assert_eq!(listed, there);
}
