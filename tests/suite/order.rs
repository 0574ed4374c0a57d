//! The main job over HTTP: browse, order, move along; and everything that must not be possible on the way.

use harness::{
    client::{Answer, Client},
    server::{Person, Server},
};
use serde_json::{Value, json};

/// A restaurant that is open around the clock, with two items.
pub(crate) struct Kitchen {
    pub owner: Person,
    pub id: String,
    pub soup: String,
    pub bread: String,
}

impl Kitchen {
    pub(crate) async fn open(server: &Server) -> Self {
        let owner = server.person("RESTAURANT_OWNER").await;
        let (id, soup, bread) = stock(&owner.client).await;
        Self { owner, id, soup, bread }
    }

    pub(crate) fn order(&self, soups: i64, breads: i64) -> Value {
        order_of(&self.id, &self.soup, &self.bread, soups, breads)
    }
}

/// Opens a restaurant around the clock; gives it, its soup and its bread.
pub(crate) async fn stock(client: &Client) -> (String, String, String) {
    let made = client.post("/api/v1/restaurants", &restaurant("Tasca")).await.expect(201);
    let id = made.text("/id");
    let openings: Vec<Value> = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
        .map(|day| json!({"weekday": day, "opens_minute": 0, "closes_minute": 1440}))
        .to_vec();
    let hours = client.put(&format!("/api/v1/restaurants/{id}/hours"), &json!({"openings": openings})).await;
    let _ = hours.expect(200);
    let section = client.post(&format!("/api/v1/restaurants/{id}/menu/sections"), &json!({"name": "All"})).await;
    let section = section.expect(201).text("/id");
    let mut items = Vec::new();
    for (name, price) in [("Soup", 450), ("Bread", 120)] {
        let body = json!({"section_id": section, "name": name, "price_cents": price});
        let made = client.post(&format!("/api/v1/restaurants/{id}/menu/items"), &body).await.expect(201);
        items.push(made.text("/id"));
    }
    let bread = items.pop().unwrap();
    let soup = items.pop().unwrap();
    (id, soup, bread)
}

pub(crate) fn order_of(restaurant: &str, soup: &str, bread: &str, soups: i64, breads: i64) -> Value {
    json!({"restaurant_id": restaurant, "lines": [
        {"menu_item_id": soup, "quantity": soups},
        {"menu_item_id": bread, "quantity": breads}
    ]})
}

pub(crate) fn restaurant(name: &str) -> Value {
    json!({"name": name, "cuisine": "portuguese", "address": "Rua da Alfândega 14", "currency": "EUR",
           "time_zone": "Europe/Lisbon"})
}

pub(crate) const ORDERS: &str = "/api/v1/ordering/orders";

pub(crate) async fn place(customer: &Client, kitchen: &Kitchen) -> String {
    customer.post(ORDERS, &kitchen.order(1, 1)).await.expect(201).text("/id")
}

async fn step(client: &Client, order: &str, verb: &str) -> Answer {
    client.act(&format!("{ORDERS}/{order}/{verb}")).await
}

#[tokio::test]
async fn an_order_costs_what_the_menu_said_when_it_was_placed() {
    let server = Server::start().await;
    let kitchen = Kitchen::open(&server).await;
    let customer = server.person("USER").await.client;
    let placed = customer.post(ORDERS, &kitchen.order(2, 3)).await.expect(201);
    assert_eq!(placed.json["total_cents"], 2 * 450 + 3 * 120);
    assert_eq!(placed.json["state"], "placed");
    let id = placed.text("/id");
    assert_eq!(placed.header("location"), Some(format!("{ORDERS}/{id}").as_str()));

    let item = format!("/api/v1/restaurants/{}/menu/items/{}", kitchen.id, kitchen.soup);
    let shown = kitchen.owner.client.get(&item).await.expect(200);
    let dearer = json!({"section_id": shown.text("/section_id"), "name": "Soup", "price_cents": 9_900});
    let _ = kitchen.owner.client.put(&item, &dearer).await.expect(200);
    assert_eq!(customer.get(&format!("{ORDERS}/{id}")).await.expect(200).json["total_cents"], 1_260);
}

#[tokio::test]
async fn a_price_in_the_request_is_refused_not_believed() {
    let server = Server::start().await;
    let kitchen = Kitchen::open(&server).await;
    let customer = server.person("USER").await.client;
    let mut order = kitchen.order(1, 1);
    order["lines"][0]["price_cents"] = json!(1);
    order["total_cents"] = json!(1);
    let refused = customer.post(ORDERS, &order).await;
    refused.refused(422, "invalid");
    assert_eq!(refused.pointers(), ["/total_cents", "/lines/0/price_cents"]);
}

#[tokio::test]
async fn an_order_of_somebody_else_does_not_exist() {
    let server = Server::start().await;
    let kitchen = Kitchen::open(&server).await;
    let customer = server.person("USER").await.client;
    let stranger = server.person("USER").await.client;
    let rival = server.person("RESTAURANT_OWNER").await.client;
    let order = place(&customer, &kitchen).await;
    for other in [&stranger, &rival] {
        other.get(&format!("{ORDERS}/{order}")).await.refused(404, "not_found");
        step(other, &order, "cancel").await.refused(404, "not_found");
        assert_eq!(other.get(ORDERS).await.expect(200).json["items"], json!([]));
    }
    step(&rival, &order, "accept").await.refused(404, "not_found");
    step(&customer, &order, "accept").await.refused(403, "denied");
    let list = format!("/api/v1/ordering/restaurants/{}/orders", kitchen.id);
    rival.get(&list).await.refused(403, "denied");
    let owned = kitchen.owner.client.get(&list).await.expect(200);
    assert_eq!(owned.json["items"][0]["id"], json!(order));
    server.anonymous().get(&format!("{ORDERS}/{order}")).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn the_owner_moves_an_order_along_and_nobody_skips_a_state() {
    let server = Server::start().await;
    let kitchen = Kitchen::open(&server).await;
    let owner = &kitchen.owner.client;
    let customer = server.person("USER").await.client;
    let order = place(&customer, &kitchen).await;
    step(owner, &order, "complete").await.refused(409, "order_state_changed");
    for (verb, state) in
        [("accept", "accepted"), ("prepare", "preparing"), ("ready", "ready"), ("complete", "completed")]
    {
        let moved = step(owner, &order, verb).await.expect(200);
        assert_eq!(moved.json["state"], state);
        step(owner, &order, verb).await.refused(409, "order_state_changed");
    }
    step(&customer, &order, "cancel").await.refused(409, "order_state_changed");
    let rejected = place(&customer, &kitchen).await;
    let _ = step(owner, &rejected, "reject").await.expect(200);
    step(owner, &rejected, "accept").await.refused(409, "order_state_changed");
}

#[tokio::test]
async fn of_two_who_move_an_order_at_once_exactly_one_wins() {
    let server = Server::start().await;
    let kitchen = Kitchen::open(&server).await;
    let customer = server.person("USER").await.client;
    for _ in 0..10 {
        let order = place(&customer, &kitchen).await;
        let (accepted, cancelled) =
            tokio::join!(step(&kitchen.owner.client, &order, "accept"), step(&customer, &order, "cancel"));
        let mut statuses = [accepted.status, cancelled.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409]);
    }
}

#[tokio::test]
async fn a_retry_with_the_same_key_places_one_order() {
    let server = Server::start().await;
    let kitchen = Kitchen::open(&server).await;
    let customer = server.person("USER").await.client;
    let (body, other) = (kitchen.order(1, 1), kitchen.order(2, 1));
    let key = [("idempotency-key", "one")];
    let send = |body: Value| {
        let customer = customer.clone();
        async move { customer.json("POST", ORDERS, &key, &body).await }
    };
    let attempts = futures::future::join_all((0..8).map(|_| send(body.clone()))).await;
    assert!(attempts.iter().all(|answer| matches!(answer.status, 201 | 409)), "{attempts:?}");
    for late in attempts.iter().filter(|answer| answer.status == 409) {
        late.refused(409, "request_in_flight");
    }
    let again = send(body).await.expect(201);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert!(attempts.iter().filter(|answer| answer.status == 201).all(|answer| answer.bytes == again.bytes));
    send(other).await.refused(422, "idempotency_key_reused");
    assert_eq!(customer.get(ORDERS).await.expect(200).json["items"].as_array().unwrap().len(), 1);

    let neighbour = server.person("USER").await.client;
    let theirs = neighbour.json("POST", ORDERS, &key, &kitchen.order(1, 1)).await.expect(201);
    assert_ne!(theirs.text("/id"), again.text("/id"), "a key is its account's own");
}

#[tokio::test]
async fn what_cannot_be_had_is_not_sold() {
    let server = Server::start().await;
    let kitchen = Kitchen::open(&server).await;
    let elsewhere = Kitchen::open(&server).await;
    let customer = server.person("USER").await.client;
    let mut foreign = kitchen.order(1, 1);
    foreign["lines"][0]["menu_item_id"] = json!(elsewhere.soup);
    let refused = customer.post(ORDERS, &foreign).await;
    assert!((400..500).contains(&refused.status), "{refused:?}");

    let item = format!("/api/v1/restaurants/{}/menu/items/{}", kitchen.id, kitchen.soup);
    let section = customer.get(&item).await.expect(200).text("/section_id");
    let sold_out = json!({"section_id": section, "name": "Soup", "price_cents": 450, "available": false});
    let _ = kitchen.owner.client.put(&item, &sold_out).await.expect(200);
    customer.post(ORDERS, &kitchen.order(1, 1)).await.refused(409, "menu_item_is_not_available");

    let hours = format!("/api/v1/restaurants/{}/hours", elsewhere.id);
    let _ = elsewhere.owner.client.put(&hours, &json!({"openings": []})).await.expect(200);
    customer.post(ORDERS, &elsewhere.order(1, 1)).await.refused(409, "restaurant_is_not_open");
}

#[tokio::test]
async fn lists_are_paged_by_cursors_that_open_for_nobody_else() {
    let server = Server::start().await;
    let kitchen = Kitchen::open(&server).await;
    let customer = server.person("USER").await.client;
    let mut placed = Vec::new();
    for _ in 0..5 {
        placed.push(place(&customer, &kitchen).await);
    }
    placed.reverse();
    let (mut seen, mut path) = (Vec::new(), format!("{ORDERS}?limit=2"));
    loop {
        let page = customer.get(&path).await.expect(200);
        for item in page.json["items"].as_array().unwrap() {
            seen.push(item["id"].as_str().unwrap().to_owned());
        }
        let Some(cursor) = page.json["next_cursor"].as_str() else { break };
        path = format!("{ORDERS}?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, placed);
    let stranger = server.person("USER").await.client;
    let first = customer.get(&format!("{ORDERS}?limit=2")).await.expect(200).text("/next_cursor");
    let stolen = stranger.get(&format!("{ORDERS}?cursor={first}")).await;
    stolen.refused(422, "invalid");
    assert_eq!(stolen.pointers(), ["?cursor"]);
    customer.get(&format!("{ORDERS}?cursor=2026-11-23")).await.refused(422, "invalid");
}
