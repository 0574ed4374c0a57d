//! Taking one's data along, and leaving: nobody else's data is told or touched, a plugin that cannot forget is not let in,
//! and a deletion that breaks off anywhere is brought to its end.

use std::time::{Duration, Instant};

use dinehub::plugin::admit::Candidate;
use harness::{
    client::Client,
    database::connect,
    server::{PASSWORD, Person, Server, guests},
};
use serde_json::{Value, json};

use crate::order::{Kitchen, ORDERS};

async fn order(customer: &Person, kitchen: &Kitchen, note: &str) -> String {
    let mut body = kitchen.order(1, 1);
    body["note"] = json!(note);
    customer.client.post(ORDERS, &body).await.expect(201).text("/id")
}

/// The deletion, once it is finished.
async fn finished(anybody: &Client, id: &str) -> Value {
    let begun = Instant::now();
    loop {
        let answer = anybody.get(&format!("/api/v1/auth/deletions/{id}")).await.expect(200);
        if !answer.json["finished_at"].is_null() {
            return answer.json;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "not finished: {}", answer.json);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Note and state of an order, behind everybody's back.
async fn kept(server: &Server, order: &str) -> (Option<String>, String) {
    let sql = format!("select note, state::text from ordering.customer_order where id = '{order}'");
    let row = connect(&server.database.admin()).await.query_one(&sql, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn a_plugin_that_keeps_callers_and_cannot_forget_them_is_refused() {
    let mut forger = guests(&["forger"]).await.remove(0);
    assert!(Candidate::read(forger.clone()).is_ok(), "it says why what it keeps is about nobody");
    forger.manifest.privacy.as_mut().unwrap().none = " ".to_owned();
    let fault = Candidate::read(forger.clone()).unwrap_err().to_string();
    assert!(fault.contains("secrets.keep writes who calls") && fault.contains("fix:"), "{fault}");
    forger.manifest.privacy = None;
    assert!(Candidate::read(forger).is_err());
}

#[tokio::test]
async fn a_plugin_with_a_column_marked_personal_and_no_way_to_forget_is_refused() {
    let mut trap = guests(&["trap"]).await.remove(0);
    assert!(Candidate::read(trap.clone()).is_ok());
    trap.content.migrations[0].text.push_str("\nCOMMENT ON COLUMN trap.mark.name IS 'personal';");
    let fault = Candidate::read(trap).unwrap_err().to_string();
    assert!(fault.contains("marks a column as personal"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_told_what_is_theirs_and_nothing_else() {
    let server = Server::start().await;
    let kitchen = Kitchen::open(&server).await;
    let (anna, ben) = (server.person("USER").await, server.person("USER").await);
    let mut own = Vec::new();
    for at in 0..21 {
        own.push(order(&anna, &kitchen, &format!("note {at}")).await);
    }
    order(&ben, &kitchen, "of ben").await;
    server.anonymous().get("/api/v1/auth/me/export").await.refused(401, "unauthenticated");
    let told = anna.client.get("/api/v1/auth/me/export").await.expect(200);
    assert_eq!(told.text("/account/email"), anna.account.email);
    assert_eq!(told.json["sessions"].as_array().unwrap().len(), 1);
    let orders = told.json["plugins"]["ordering"].as_array().unwrap();
    let ids: Vec<&str> = orders.iter().map(|order| order["id"].as_str().unwrap()).collect();
    assert_eq!(ids, own, "all pages, each order once, the oldest first");
    assert_eq!(orders[20]["note"], "note 20");
    assert!(!told.json.to_string().contains("of ben"));
    let owners = kitchen.owner.client.get("/api/v1/auth/me/export").await.expect(200);
    assert_eq!(owners.json["plugins"]["restaurants"][0]["id"], kitchen.id);
    assert_eq!(owners.json["plugins"]["ordering"], json!([]), "orders that others placed are not the owner's to take");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_leaves_is_forgotten_and_what_stays_is_told() {
    let server = Server::start().await;
    let kitchen = Kitchen::open(&server).await;
    let (anna, ben) = (server.person("USER").await, server.person("USER").await);
    let (placed, accepted) = (order(&anna, &kitchen, "ring twice").await, order(&anna, &kitchen, "no salt").await);
    let bens = order(&ben, &kitchen, "of ben").await;
    let _ = kitchen.owner.client.act(&format!("{ORDERS}/{accepted}/accept")).await.expect(200);
    server.anonymous().delete("/api/v1/auth/me").await.refused(401, "unauthenticated");
    let left = anna.client.delete("/api/v1/auth/me").await.expect(202);
    anna.client.get("/api/v1/auth/me").await.refused(401, "unauthenticated");
    let done = finished(&server.anonymous(), &left.text("/id")).await;
    assert_eq!(done["report"]["ordering"]["erased"], 2);
    assert_eq!(done["report"]["ordering"]["kept"][0]["count"], 2);
    assert_eq!(done["report"]["restaurants"], json!({"erased": 0, "kept": []}));
    assert!(!done.to_string().contains(&anna.account.email) && !done.to_string().contains(&anna.id()));
    assert_eq!(kept(&server, &placed).await, (None, "cancelled".to_owned()));
    assert_eq!(kept(&server, &accepted).await, (None, "accepted".to_owned()));
    assert_eq!(kept(&server, &bens).await, (Some("of ben".to_owned()), "placed".to_owned()));
    let login = json!({"email": anna.account.email, "password": PASSWORD});
    server.anonymous().post("/api/v1/auth/login", &login).await.refused(401, "wrong_credentials");
    let admin = connect(&server.database.admin()).await;
    for table in ["account where id =", "session where account_id =", "ticket where account_id ="] {
        let sql = format!("select count(*) from dinehub.{table} '{}'", anna.id());
        assert_eq!(admin.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0), 0, "{table}");
    }
    let owner = kitchen.owner.client.delete("/api/v1/auth/me").await.expect(202);
    let done = finished(&server.anonymous(), &owner.text("/id")).await;
    assert_eq!(done["report"]["restaurants"]["erased"], 1);
    server.anonymous().get(&format!("/api/v1/restaurants/{}", kitchen.id)).await.refused(404, "not_found");
    server
        .anonymous()
        .get("/api/v1/auth/deletions/0192f0c1-2b7a-7c3e-9d0e-5a4b3c2d1e0f")
        .await
        .refused(404, "not_found");
}

/// The second plugin fails; what the first did is not done again, whoever goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_broke_off_goes_on_where_it_was() {
    let server = Server::start().await;
    let kitchen = Kitchen::open(&server).await;
    let anna = server.person("USER").await;
    let placed = order(&anna, &kitchen, "ring twice").await;
    let admin = connect(&server.database.admin()).await;
    let login = format!("{}_restaurants_rw", server.database.admin().database);
    admin
        .batch_execute(&format!("revoke update (closed_at) on restaurants.restaurant from \"{login}\""))
        .await
        .unwrap();
    let id = anna.client.delete("/api/v1/auth/me").await.expect(202).text("/id");
    let begun = Instant::now();
    let progress = || async { server.anonymous().get(&format!("/api/v1/auth/deletions/{id}")).await.expect(200).json };
    while progress().await["report"]["ordering"].is_null() {
        assert!(begun.elapsed() < Duration::from_secs(30), "the first plugin is asked");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(kept(&server, &placed).await, (None, "cancelled".to_owned()));
    let is_there = format!("select deactivated_at is not null from dinehub.account where id = '{}'", anna.id());
    assert!(admin.query_one(&is_there, &[]).await.unwrap().get::<_, bool>(0), "off, and not gone yet");
    let on = server.person("ADMIN").await.client;
    let switched = on.put(&format!("/api/v1/admin/users/{}/active", anna.id()), &json!({"active": true})).await;
    switched.refused(404, "not_found");
    admin.batch_execute(&format!("grant update (closed_at) on restaurants.restaurant to \"{login}\"")).await.unwrap();
    let mark = format!("update ordering.customer_order set note = 'not asked again' where id = '{placed}'");
    admin.batch_execute(&mark).await.unwrap();
    admin.batch_execute("update dinehub.deletion set lease_until = now()").await.unwrap();
    let done = finished(&server.anonymous(), &id).await;
    assert_eq!(done["report"].as_object().unwrap().len(), 2);
    assert_eq!(kept(&server, &placed).await.0.as_deref(), Some("not asked again"));
}

/// Dropped at any await, as a process that is killed: nothing is lost, and the end is the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_is_dropped_anywhere_comes_to_its_end() {
    let server = Server::start().await;
    let kitchen = Kitchen::open(&server).await;
    let anna = server.person("USER").await;
    let placed = order(&anna, &kitchen, "ring twice").await;
    let admin = connect(&server.database.admin()).await;
    // The server's own worker finds nothing to do while this test plays one that dies.
    let begin = format!("select dinehub.begin_deletion('{}', now() + interval '1 day')", anna.id());
    admin
        .batch_execute(&format!(
            "begin; {begin}; update dinehub.deletion set lease_until = now() + interval '1 hour'; commit"
        ))
        .await
        .unwrap();
    for micros in (0..20).map(|step| step * 700) {
        admin
            .batch_execute("begin; update dinehub.deletion set lease_until = now() where finished_at is null; commit")
            .await
            .unwrap();
        let worked = tokio::time::timeout(Duration::from_micros(micros), server.host.erase_next()).await;
        if let Ok(outcome) = worked {
            outcome.unwrap();
        }
    }
    admin.batch_execute("update dinehub.deletion set lease_until = now() where finished_at is null").await.unwrap();
    let id = admin.query_one("select id::text from dinehub.deletion", &[]).await.unwrap().get::<_, String>(0);
    let done = finished(&server.anonymous(), &id).await;
    assert_eq!(done["report"].as_object().unwrap().len(), 2);
    assert_eq!(kept(&server, &placed).await, (None, "cancelled".to_owned()));
    let left = format!("select count(*) from dinehub.account where id = '{}'", anna.id());
    assert_eq!(admin.query_one(&left, &[]).await.unwrap().get::<_, i64>(0), 0);
}
