//! Payments over HTTP, with a provider on loopback: an order is charged once, whatever happens to the answer; what comes to
//! nothing goes back; nobody else sees or writes any of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dinehub::{
    command::outside::Outside,
    http::fake::{Entry, Hook, Moment},
    secret,
};
use harness::{
    client::Client,
    database::connect,
    server::{Person, Server},
};
use serde_json::{Value, json};

use crate::{
    event::config,
    order::{Kitchen, ORDERS, place},
};

const WEBHOOK: &str = "/api/v1/payments/webhook";

struct Scene {
    server: Server,
    kitchen: Kitchen,
    customer: Person,
}

impl Scene {
    async fn open(attempts_max: u16) -> Self {
        let server = Server::configured(&config(true, attempts_max)).await;
        let (kitchen, customer) = (Kitchen::open(&server).await, server.person("USER").await);
        Self { server, kitchen, customer }
    }

    fn provider(&self) -> &Outside {
        self.server.outside.iter().find(|one| one.handle == "provider").unwrap()
    }

    /// What the provider was asked at `path` for `order`.
    fn asked(&self, path: &str, order: &str) -> Vec<Entry> {
        let mut entries = self.provider().fake.entries();
        entries.retain(|entry| entry.path == path && entry.asked["order"] == order);
        entries
    }

    async fn act(&self, client: &Client, order: &str, verb: &str) {
        let _ = client.act(&format!("{ORDERS}/{order}/{verb}")).await.expect(200);
    }

    /// Asks until the payment is in `state`; gives it.
    async fn wait_for(&self, order: &str, state: &str) -> Value {
        let begun = Instant::now();
        loop {
            let answer = self.customer.client.get(&payment(order)).await;
            if answer.status == 200 && answer.json["state"] == state {
                return answer.json;
            }
            if begun.elapsed() > Duration::from_secs(60) {
                let admin = connect(&self.server.database.admin()).await;
                let all = admin
                    .query("select d::text from platform.delivery d where state <> 'delivered'", &[])
                    .await
                    .unwrap();
                let all: Vec<String> = all.iter().map(|row| row.get(0)).collect();
                panic!("not {state}: {answer:?} {all:#?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn payment(order: &str) -> String {
    format!("/api/v1/payments/orders/{order}")
}

/// Gives `status` at a moment of questions at `path`.
fn answers(at: Moment, path: &'static str, status: u16) -> Option<Hook> {
    Some(Arc::new(move |moment, asked| {
        let given = (moment == at && asked == path).then_some(status);
        Box::pin(async move { given })
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_placed_order_is_charged_once_and_both_sides_see_it() {
    let scene = Scene::open(3).await;
    let order = place(&scene.customer.client, &scene.kitchen).await;
    let paid = scene.wait_for(&order, "charged").await;
    assert_eq!((&paid["amount_cents"], &paid["currency"]), (&json!(570), &json!("EUR")));
    let charges = scene.asked("/v1/charges", &order);
    assert_eq!(charges.len(), 1);
    assert_eq!(charges[0].asked, json!({"order": order, "amount": 570, "currency": "EUR"}));
    assert_eq!((charges[0].status, charges[0].key.as_str()), (201, order.as_str()), "the key is the order");

    let owner = &scene.kitchen.owner.client;
    let list = format!("/api/v1/payments/restaurants/{}/payments", scene.kitchen.id);
    assert_eq!(owner.get(&payment(&order)).await.expect(200).json, paid);
    assert_eq!(owner.get(&list).await.expect(200).json["items"], json!([paid]));
    let (stranger, rival) = (scene.server.person("USER").await, scene.server.person("RESTAURANT_OWNER").await);
    for other in [&stranger.client, &rival.client] {
        other.get(&payment(&order)).await.refused(404, "not_found");
    }
    assert_eq!(rival.client.get(&list).await.expect(200).json["items"], json!([]));
    scene.customer.client.get(&list).await.refused(403, "denied");
    scene.server.anonymous().get(&payment(&order)).await.refused(401, "unauthenticated");
    for verb in ["accept", "prepare", "ready", "complete"] {
        scene.act(owner, &order, verb).await;
    }
    assert_eq!(scene.wait_for(&order, "charged").await, paid);
    assert_eq!(scene.asked("/v1/refunds", &order).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rejected_or_cancelled_is_paid_back_once() {
    let scene = Scene::open(3).await;
    for (who, verb) in [(&scene.kitchen.owner.client, "reject"), (&scene.customer.client, "cancel")] {
        let order = place(&scene.customer.client, &scene.kitchen).await;
        let _ = scene.wait_for(&order, "charged").await;
        scene.act(who, &order, verb).await;
        let _ = scene.wait_for(&order, "refunded").await;
        let (charges, refunds) = (scene.asked("/v1/charges", &order), scene.asked("/v1/refunds", &order));
        assert_eq!((charges.len(), refunds.len()), (1, 1));
        assert_eq!(refunds[0].asked["charge"], charges[0].answer["id"]);
        assert_eq!(refunds[0].asked["amount"], json!(570));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_card_is_declined_and_there_is_nothing_to_pay_back() {
    let scene = Scene::open(3).await;
    let customer = &scene.customer.client;
    let order = customer.post(ORDERS, &scene.kitchen.order(80, 35)).await.expect(201);
    assert_eq!(order.json["total_cents"], 40_200, "the amount that the fake refuses");
    let order = order.text("/id");
    assert_eq!(scene.wait_for(&order, "declined").await["reason"], "insufficient_funds");
    scene.act(customer, &order, "cancel").await;
    // A later order's money shows that the cancellation before it was heard.
    let later = place(customer, &scene.kitchen).await;
    let _ = scene.wait_for(&later, "charged").await;
    let _ = scene.wait_for(&order, "declined").await;
    assert_eq!(scene.asked("/v1/refunds", &order).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_taken_while_the_provider_is_down_and_what_is_cancelled_meanwhile_goes_back() {
    let scene = Scene::open(10_000).await;
    scene.provider().fake.set_hook(answers(Moment::Asked, "/v1/charges", 503));
    let (kept, dropped) =
        (place(&scene.customer.client, &scene.kitchen).await, place(&scene.customer.client, &scene.kitchen).await);
    let _ = scene.wait_for(&kept, "due").await;
    let _ = scene.wait_for(&dropped, "due").await;
    scene.act(&scene.customer.client, &dropped, "cancel").await;
    let _ = scene.wait_for(&dropped, "unwanted").await;
    assert!(scene.provider().fake.entries().is_empty());
    scene.provider().fake.set_hook(None);
    let _ = scene.wait_for(&kept, "charged").await;
    let _ = scene.wait_for(&dropped, "refunded").await;
    for (order, refunds) in [(&kept, 0), (&dropped, 1)] {
        assert_eq!((scene.asked("/v1/charges", order).len(), scene.asked("/v1/refunds", order).len()), (1, refunds));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_makes_up_for_answers_that_are_lost() {
    let scene = Scene::open(10_000).await;
    scene.provider().fake.set_hook(answers(Moment::Done, "/v1/charges", 500));
    let order = place(&scene.customer.client, &scene.kitchen).await;
    // Charged, although every answer was lost: the provider's report says so.
    let _ = scene.wait_for(&order, "charged").await;
    scene.provider().fake.set_hook(answers(Moment::Done, "/v1/refunds", 500));
    scene.act(&scene.kitchen.owner.client, &order, "reject").await;
    let _ = scene.wait_for(&order, "refunded").await;
    assert_eq!((scene.asked("/v1/charges", &order).len(), scene.asked("/v1/refunds", &order).len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_the_provider_did_not_sign_changes_nothing() {
    let scene = Scene::open(10_000).await;
    scene.provider().fake.set_hook(answers(Moment::Asked, "/v1/charges", 503));
    let order = place(&scene.customer.client, &scene.kitchen).await;
    let _ = scene.wait_for(&order, "due").await;
    let ring = scene.server.rings.of_plugin(&"payments".parse().unwrap(), "webhook_key").unwrap().clone();
    let body = json!({"type": "charge.succeeded", "data": {"id": "ch_forged", "order": order}}).to_string();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let signed =
        |time: u64, body: &str| format!("t={time},v1={}", secret::sign(&ring, format!("{time}.{body}").as_bytes()));
    let other = secret::ring::Ring::of(secret::ring::Key::generate("other").unwrap());
    let foreign = format!("t={now},v1={}", secret::sign(&other, format!("{now}.{body}").as_bytes()));
    let nobody = scene.server.anonymous();
    let post = async |headers: &[(&str, &str)], body: &str| {
        let mut all = vec![("content-type", "application/json")];
        all.extend(headers);
        nobody.send("POST", WEBHOOK, &all, body.to_owned().into()).await
    };
    let right = signed(now, &body);
    let bare = right.rsplit_once("v1=").unwrap().1.to_owned();
    for header in [
        &foreign,
        &signed(now - 400, &body),
        &signed(now + 400, &body),
        &signed(now, "{}"),
        &bare,
        &right.replace(&format!("t={now}"), &format!("t={}", now - 1)),
    ] {
        post(&[("provider-signature", header)], &body).await.refused(422, "invalid");
    }
    post(&[], &body).await.refused(422, "invalid");
    post(&[("provider-signature", &right), ("provider-signature", &right)], &body).await.refused(422, "invalid");
    post(&[("provider-signature", &right)], &body.replace("ch_forged", "ch_other_")).await.refused(422, "invalid");
    let nonsense = json!({"type": "charge.succeeded", "data": {"id": "ch_1", "order": "all of them"}}).to_string();
    post(&[("provider-signature", &signed(now, &nonsense))], &nonsense).await.refused(422, "invalid");
    let admin = connect(&scene.server.database.admin()).await;
    let told = "select count(*) from platform.event where interface like 'dinehub:payments/reports@%'";
    let count = async || admin.query_one(told, &[]).await.unwrap().get::<_, i64>(0);
    assert_eq!(count().await, 0);
    let _ = scene.wait_for(&order, "due").await;
    // What is signed and concerns nobody is heard; what is signed and does, is believed.
    let other = json!({"type": "payout.paid", "data": {"id": "po_1", "order": order}}).to_string();
    assert_eq!(post(&[("provider-signature", &signed(now, &other))], &other).await.status, 204);
    assert_eq!(count().await, 0);
    assert_eq!(post(&[("provider-signature", &right)], &body).await.status, 204);
    let _ = scene.wait_for(&order, "charged").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_delivery_keeps_nobodys_money() {
    let scene = Scene::open(1).await;
    scene.provider().fake.set_hook(answers(Moment::Asked, "/v1/charges", 503));
    let order = place(&scene.customer.client, &scene.kitchen).await;
    let _ = scene.wait_for(&order, "due").await;
    let admin = connect(&scene.server.database.admin()).await;
    let dead =
        "select count(*) from platform.delivery where state = 'dead' and interface like 'dinehub:payments/work@%'";
    let begun = Instant::now();
    while admin.query_one(dead, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no delivery is dead");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    scene.provider().fake.set_hook(None);
    let later = "update payments.payment set asked_at = now() - interval '2 hours';
        update platform.schedule set due_s = 1000 where function = 'chase' and plugin = 'payments'";
    admin.batch_execute(later).await.unwrap();
    let _ = scene.wait_for(&order, "charged").await;
    assert_eq!(scene.asked("/v1/charges", &order).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_writes_a_payment() {
    let scene = Scene::open(3).await;
    let order = place(&scene.customer.client, &scene.kitchen).await;
    let _ = scene.wait_for(&order, "charged").await;
    // The plugin's own writing login, as its customer and as an admin: the row policies say no.
    let admin = connect(&scene.server.database.admin()).await;
    let session = connect(&scene.server.login_of("payments_rw")).await;
    let pid: i32 = session.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    let register = "insert into platform.connection (pid, token_sha256) values ($1, sha256('token'))";
    admin.execute(register, &[&pid]).await.unwrap();
    for (kind, account, roles) in [
        ("user", scene.customer.id(), "USER"),
        ("user", scene.customer.id(), "ADMIN,RESTAURANT_OWNER,USER"),
        ("anonymous", "00000000-0000-0000-0000-000000000000".to_owned(), ""),
        ("system", "ffffffff-ffff-ffff-ffff-ffffffffffff".to_owned(), ""),
    ] {
        let assume = format!("begin; select platform.assume('{kind}', '{account}', '{roles}', 'token', 1000)");
        session.batch_execute(&assume).await.unwrap();
        let update =
            format!("update payments.payment set reason = 'mine', changed_at = now() where order_id = '{order}'");
        let changed = session.execute(&update, &[]).await.unwrap();
        assert_eq!(changed, u64::from(kind == "system"), "{kind} {roles}");
        let insert = format!(
            "insert into payments.payment (order_id, customer_id, owner_id, restaurant_id, amount_cents, currency)
            values (gen_random_uuid(), '{account}', '{account}', gen_random_uuid(), 1, 'EUR')"
        );
        assert_eq!(session.execute(&insert, &[]).await.is_ok(), kind == "system", "{kind} {roles}");
        session.batch_execute("rollback").await.unwrap();
    }
}
