//! Taking one's data along, and leaving: nobody else's data is told or touched, a plugin that cannot forget is not let in, one
//! that is switched off is waited for, and a deletion that breaks off anywhere is brought to its end.

mod walk;

use dinehub::{config::Config, plugin::admit::Candidate};
use harness::{
    client::Client,
    database::connect,
    server::{PASSWORD, Person, Server, guests, patient},
};
use serde_json::{Value, json};

use crate::{
    audit::during,
    node::eventually,
    order::{Kitchen, ORDERS},
};

const ME: &str = "/api/v1/auth/me";
const EXPORT: &str = "/api/v1/auth/me/export";

async fn order(customer: &Person, kitchen: &Kitchen, note: &str) -> String {
    let mut body = kitchen.order(1, 1);
    body["note"] = json!(note);
    customer.client.post(ORDERS, &body).await.expect(201).text("/id")
}

/// How far a deletion is.
async fn progress(anybody: &Client, id: &str) -> Value {
    anybody.get(&format!("/api/v1/auth/deletions/{id}")).await.expect(200).json
}

/// The quiet time is over, and a node goes through the plugins.
async fn work(server: &Server) {
    let hurry = "update dinehub.deletion set lease_until = now() where finished_at is null";
    connect(&server.database.admin()).await.batch_execute(hurry).await.unwrap();
    while server.host.erase_next().await.unwrap() {}
}

/// The deletion, which is finished after that.
async fn finished(server: &Server, id: &str) -> Value {
    work(server).await;
    let done = progress(&server.anonymous(), id).await;
    assert!(!done["finished_at"].is_null() && done["waits_for"] == json!([]), "{done}");
    done
}

/// Note and state of an order, behind everybody's back.
async fn kept(server: &Server, order: &str) -> (Option<String>, String) {
    let sql = format!("select note, state::text from ordering.customer_order where id = '{order}'");
    let row = connect(&server.database.admin()).await.query_one(&sql, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

async fn rows(server: &Server, of: &str) -> i64 {
    let sql = format!("select count(*) from dinehub.{of}");
    connect(&server.database.admin()).await.query_one(&sql, &[]).await.unwrap().get(0)
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
    let mut trap = guests(&["trap"]).await.remove(0);
    trap.content.migrations[0].text.push_str("\n-- using (owner = (select platform.caller_id()))");
    let fault = Candidate::read(trap).unwrap_err().to_string();
    assert!(fault.contains("has rows that are somebody's"), "{fault}");
}

/// Half a login is refused by every route: `factor::half_a_login_opens_no_route`.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_did_not_prove_it_lately_takes_and_deletes_nothing() {
    let mut config: Config = patient();
    config.identity.recent_s = 0;
    let server = Server::configured(&config).await;
    let anna = server.person("USER").await;
    for client in [&server.anonymous(), &server.anonymous().with_token("a.b.c")] {
        client.get(EXPORT).await.refused(401, "unauthenticated");
        client.delete(ME).await.refused(401, "unauthenticated");
    }
    anna.client.get(EXPORT).await.refused(403, "proof_is_old");
    anna.client.delete(ME).await.refused(403, "proof_is_old");
    let _ = anna.client.get(ME).await.expect(200);
    assert_eq!(rows(&server, "deletion").await, 0);
}

/// There is no path to somebody else's: what could name them is refused or says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_or_deletes_somebody_elses() {
    let server = Server::start().await;
    let (anna, ben, admin) = (server.person("USER").await, server.person("USER").await, server.person("ADMIN").await);
    for client in [&ben.client, &admin.client] {
        client.delete(&format!("/api/v1/auth/{}", anna.id())).await.refused(404, "not_found");
        client.delete(&format!("{ME}?id={}", anna.id())).await.refused(400, "malformed");
        client.json("DELETE", ME, &[], &json!({"id": anna.id()})).await.refused(400, "malformed");
        client.get(&format!("{EXPORT}?account={}", anna.id())).await.refused(400, "malformed");
        client.get(&format!("/api/v1/auth/deletions/{}", anna.id())).await.refused(404, "not_found");
    }
    assert_eq!(rows(&server, "deletion").await, 0);
    let _ = anna.client.get(ME).await.expect(200);
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
    let told = anna.client.get(EXPORT).await.expect(200);
    assert_eq!(told.text("/account/email"), anna.account.email);
    assert_eq!(told.json["sessions"].as_array().unwrap().len(), 1);
    let things = told.json["plugins"]["ordering"].as_array().unwrap();
    let (orders, lines): (Vec<&Value>, Vec<&Value>) = things.iter().partition(|thing| thing["kind"] == "order");
    let ids: Vec<&str> = orders.iter().map(|order| order["id"].as_str().unwrap()).collect();
    assert_eq!(ids, own, "all pages, each order once, the oldest first");
    assert_eq!(orders[20]["note"], "note 20");
    assert_eq!(lines.len(), 42, "two lines each, over a page's end");
    assert!(own.iter().all(|id| lines.iter().filter(|line| line["order_id"] == json!(id)).count() == 2));
    assert_eq!(told.json["plugins"]["payments"], json!([]), "nobody was charged yet");
    assert!(!told.json.to_string().contains("of ben"));
    let owners = kitchen.owner.client.get(EXPORT).await.expect(200);
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
    let left = anna.client.delete(ME).await.expect(202);
    anna.client.get(ME).await.refused(401, "unauthenticated");
    while server.host.erase_next().await.unwrap() {}
    let quiet = progress(&server.anonymous(), &left.text("/id")).await;
    assert_eq!(quiet["report"], json!({}), "not while another node may still believe a token of it");
    let done = finished(&server, &left.text("/id")).await;
    // One order is cancelled, and two lose their notes.
    assert_eq!(done["report"]["ordering"]["erased"], 3);
    assert_eq!(done["report"]["ordering"]["kept"][0]["count"], 2);
    assert_eq!(done["report"]["restaurants"], json!({"erased": 0, "kept": []}));
    assert_eq!(done["kept"][0]["kind"], "audit_event");
    assert!(!done.to_string().contains(&anna.account.email) && !done.to_string().contains(&anna.id()));
    assert_eq!(kept(&server, &placed).await, (None, "cancelled".to_owned()));
    assert_eq!(kept(&server, &accepted).await, (None, "accepted".to_owned()));
    assert_eq!(kept(&server, &bens).await, (Some("of ben".to_owned()), "placed".to_owned()));
    let login = json!({"email": anna.account.email, "password": PASSWORD});
    server.anonymous().post("/api/v1/auth/login", &login).await.refused(401, "wrong_credentials");
    for table in ["account where id =", "session where account_id =", "ticket where account_id ="] {
        assert_eq!(rows(&server, &format!("{table} '{}'", anna.id())).await, 0, "{table}");
    }
    // The address is free again, for somebody who finds nothing of what was before.
    let again = json!({"email": anna.account.email, "name": "Anna", "password": PASSWORD});
    let _ = server.anonymous().post("/api/v1/auth/register", &again).await.expect(201);
    let next = server.login(&anna.account.email, PASSWORD).await;
    assert_eq!(next.get(ORDERS).await.expect(200).json["items"], json!([]));
    let owner = kitchen.owner.client.delete(ME).await.expect(202);
    let done = finished(&server, &owner.text("/id")).await;
    assert_eq!(done["report"]["restaurants"]["erased"], 1);
    assert_eq!(kept(&server, &bens).await, (Some("of ben".to_owned()), "cancelled".to_owned()), "nobody will cook it");
    let told = ben.client.get(&format!("{ORDERS}/{bens}")).await.expect(200);
    assert_eq!(told.json["state"], "cancelled");
    server.anonymous().get(&format!("/api/v1/restaurants/{}", kitchen.id)).await.refused(404, "not_found");
    server
        .anonymous()
        .get("/api/v1/auth/deletions/0192f0c1-2b7a-7c3e-9d0e-5a4b3c2d1e0f")
        .await
        .refused(404, "not_found");
}

/// The first of two answers, or both, is the deletion; a client that heard neither is told that its token is no good.
#[tokio::test(flavor = "multi_thread")]
async fn leaving_twice_is_leaving_once() {
    let server = Server::start().await;
    let anna = server.person("USER").await;
    let asked = (0..8).map(|_| anna.client.delete(ME));
    let answers = futures::future::join_all(asked).await;
    let ids: Vec<String> = answers.iter().filter(|one| one.status == 202).map(|one| one.text("/id")).collect();
    assert!(!ids.is_empty() && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert!(answers.iter().all(|one| matches!(one.status, 202 | 401)), "{answers:?}");
    finished(&server, &ids[0]).await;
    anna.client.delete(ME).await.refused(401, "unauthenticated");
    assert_eq!(rows(&server, "deletion").await, 1);
    assert!(!server.host.erase_next().await.unwrap(), "nothing is left to do");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_has_what_was_taken_and_who_left_and_no_address() {
    let server = Server::start().await;
    let anna = server.person("USER").await;
    let found = during(&server, async {
        let _ = anna.client.get(EXPORT).await.expect(200);
        let id = anna.client.delete(ME).await.expect(202).text("/id");
        finished(&server, &id).await;
    })
    .await;
    let told: Vec<(&str, &str, &str)> = found
        .iter()
        .map(|event| {
            let of = |name: &str| event[name].as_str().unwrap_or_default();
            (of("kind"), of("act"), of("actor"))
        })
        .collect();
    let own = anna.id();
    assert_eq!(
        told,
        [
            ("account.exported", "", own.as_str()),
            ("account.deletion", "asked", own.as_str()),
            ("account.deletion", "done", "system:privacy"),
        ]
    );
    assert!(found.iter().all(|event| !event.to_string().contains('@')), "{found:?}");
}

/// A host that spools letters, as `dev` does.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_letter_has_the_report() {
    let spool = tempfile::tempdir().unwrap();
    let mut config = patient();
    config.mail.spool = spool.path().to_owned();
    let server = Server::configured(&config).await;
    let kitchen = Kitchen::open(&server).await;
    let anna = server.person("USER").await;
    order(&anna, &kitchen, "ring twice").await;
    let id = anna.client.delete(ME).await.expect(202).text("/id");
    finished(&server, &id).await;
    let letters = || -> Vec<String> {
        let files = std::fs::read_dir(spool.path()).unwrap();
        files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
    };
    let wanted = format!("To: {}\nSubject: Your account is deleted\n", anna.account.email);
    let is_whole = |letter: &String| letter.starts_with(&wanted) && letter.contains("kept 1 order: Kept for the books");
    eventually("the last letter", || letters().iter().any(is_whole)).await;
}
