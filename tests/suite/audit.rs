//! The audit: one event for each thing that happens, none for what goes well every day, no secret in any; a sink that is
//! down delays nobody; and a record that was tampered with is found out.

mod person;
mod signed;

use std::time::Duration;

use dinehub::{
    audit::{
        Log,
        chain::{Break, Checkpoint},
        event::{By, What},
        seal::Seal,
        store,
    },
    command::audit,
    config::Config,
    database::control,
    id::RequestId,
    secret::ring::{Key, Ring},
};
use harness::{
    client::Client,
    database::{Database, connect},
    server::{PASSWORD, Server, features, guests},
};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::node::migrate;

/// Every event that was recorded so far.
pub(crate) async fn events(server: &Server) -> Vec<Value> {
    assert!(server.app().audit.flush(Duration::from_secs(20)).await, "the audit is written");
    let admin = connect(&server.database.admin()).await;
    let rows = admin.query("select body from dinehub.audit_event order by seq", &[]).await.unwrap();
    rows.iter().map(|row| serde_json::from_str(row.get(0)).unwrap()).collect()
}

/// The events of `work` alone.
pub(crate) async fn during(server: &Server, work: impl Future<Output = ()>) -> Vec<Value> {
    let before = events(server).await.len();
    work.await;
    events(server).await.split_off(before)
}

pub(crate) async fn one(server: &Server, kind: &str, work: impl Future<Output = ()>) -> Value {
    let mut found = during(server, work).await;
    assert_eq!(found.len(), 1, "one event: {found:#?}");
    let event = found.remove(0);
    assert_eq!(event["kind"], kind, "{event}");
    event
}

async fn login(client: &Client, email: &str, password: &str) -> u16 {
    client.post("/api/v1/auth/login", &json!({"email": email, "password": password})).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn each_thing_that_happens_is_one_event_and_an_ordinary_request_is_none() {
    let mut packages = features().await;
    packages.extend(guests(&["glutton", "trap"]).await);
    let server = Server::with(packages).await;
    let (person, admin) = (server.person("USER").await, server.person("ADMIN").await);
    let email = person.account.email.clone();
    let nobody = server.anonymous();
    let ordinary = async {
        let _ = nobody.get("/api/v1/restaurants?limit=1").await.expect(200);
        let _ = person.client.get("/api/v1/auth/me").await.expect(200);
        let _ = person.client.get("/api/v1/ordering/orders").await.expect(200);
        nobody.get("/api/v1/restaurants/0192f0c1-2b7a-7c3e-9d0e-5a4b3c2d1e0f").await.refused(404, "not_found");
        nobody.get("/api/v1/nothing").await.refused(404, "not_found");
        nobody.get("/api/v1/restaurants?limit=no").await.refused(422, "invalid");
    };
    assert_eq!(during(&server, ordinary).await, Vec::<Value>::new());

    let proven =
        one(&server, "authentication.passed", async { assert_eq!(login(&nobody, &email, PASSWORD).await, 200) });
    let proven = proven.await;
    assert_eq!((&proven["actor"], &proven["outcome"]), (&json!(person.id()), &json!("done")));
    assert_eq!(proven["email"], json!(format!("p…@example.com")));
    let wrong =
        one(&server, "authentication.failed", async { assert_eq!(login(&nobody, &email, "not it").await, 401) }).await;
    assert_eq!(
        (&wrong["actor"], &wrong["why"], &wrong["source"]),
        (&json!("anonymous"), &json!("password"), &json!("127.0.0.1"))
    );
    let typed =
        one(&server, "authentication.failed", async { assert_eq!(login(&nobody, PASSWORD, PASSWORD).await, 401) })
            .await;
    assert_eq!(typed["email"], "…", "a password in the wrong field");
    let forged = async { nobody.with_token("a.b.c").get("/api/v1/auth/me").await.refused(401, "unauthenticated") };
    assert_eq!(one(&server, "authentication.failed", forged).await["why"], "malformed");
    let missing = async { nobody.get("/api/v1/auth/me").await.refused(401, "unauthenticated") };
    assert_eq!(one(&server, "authentication.failed", missing).await["why"], "missing");

    let roles = format!("/api/v1/admin/users/{}/roles", person.id());
    let denied = one(&server, "request.denied", async { person.client.get(&roles).await.refused(403, "denied") }).await;
    assert_eq!(denied["route"], "GET /api/v1/admin/users/{id}/roles");
    assert_eq!(denied["denial"], json!(dinehub::id::Denial::route("GET", "/api/v1/admin/users/{id}/roles")));
    assert_eq!(denied["token"].as_str().map(str::len), Some(64));
    let acted = async {
        let _ = admin.client.put(&roles, &json!({"roles": ["USER", "RESTAURANT_OWNER"]})).await.expect(200);
    };
    let acted = one(&server, "admin.acted", acted).await;
    assert_eq!((&acted["actor"], &acted["account"]), (&json!(admin.id()), &json!(person.id())));
    assert_eq!(acted["detail"], "USER, RESTAURANT_OWNER");
    let ended = async { person.client.get("/api/v1/auth/me").await.refused(401, "unauthenticated") };
    assert_eq!(one(&server, "authentication.failed", ended).await["why"], "revoked");
    for (path, scope) in [("logout", "session"), ("logout-others", "others"), ("logout-all", "account")] {
        let client = server.login(&email, PASSWORD).await;
        let out = async { assert_eq!(client.act(&format!("/api/v1/auth/{path}")).await.status, 204) };
        assert_eq!(one(&server, "authentication.ended", out).await["scope"], scope);
    }
    let opened = async {
        let body = json!({"email": "new@example.org", "name": "New", "password": PASSWORD});
        let _ = nobody.post("/api/v1/auth/register", &body).await.expect(201);
    };
    assert_eq!(one(&server, "account.opened", opened).await["email"], "n…@example.org");

    let trapped = async { nobody.act("/api/v1/trap/add-then-trap?name=a").await.refused(500, "plugin_fault") };
    let trapped = one(&server, "plugin.faulted", trapped).await;
    assert_eq!(trapped["plugin"], "trap");
    assert_eq!(trapped["digest"].as_str().map(str::len), Some(64));
    assert!(trapped["detail"].as_str().unwrap().contains("unreachable"), "{trapped}");
    let stopped = async { nobody.get("/api/v1/glutton/statements?times=6").await.refused(500, "plugin_fault") };
    assert_eq!(one(&server, "plugin.stopped", stopped).await["limit"], "statements_max");
    let late = async { nobody.act("/api/v1/glutton/linger").await.refused(504, "timeout") };
    assert_eq!(one(&server, "plugin.stopped", late).await["limit"], "deadline_ms");
    nothing_secret(&server, &[PASSWORD, "not it", &email, "new@example.org", admin.client.token.as_deref().unwrap()])
        .await;
}

async fn nothing_secret(server: &Server, secrets: &[&str]) {
    for event in events(server).await {
        let text = event.to_string();
        for secret in secrets {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        // No part of a token: header, claims, signature.
        assert!(!text.contains("eyJ"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_that_are_slowed_down_are_events_with_how_long() {
    let server = Server::with(Vec::new()).await;
    let client = server.anonymous();
    let throttled = async { while login(&client, "nobody@example.org", "wrong").await != 429 {} };
    let found = during(&server, throttled).await;
    let (last, before) = found.split_last().unwrap();
    assert_eq!(last["kind"], "request.throttled", "{last}");
    assert_eq!((&last["limit"], &last["email"]), (&json!("login"), &json!("n…@example.org")));
    assert!(last["retry_after_s"].as_u64().unwrap() >= 1);
    assert!(!before.is_empty() && before.iter().all(|event| event["kind"] == "authentication.failed"), "{before:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_is_stuck_delays_no_request_and_what_it_misses_is_counted() {
    let mut config = Config::default();
    config.audit.queue_max = 16;
    let server = Server::try_with(Vec::new(), &config).await.unwrap();
    let before = events(&server).await.len();
    let mut admin = connect(&server.database.admin()).await;
    let stuck = admin.transaction().await.unwrap();
    stuck.batch_execute("lock table dinehub.audit_event in access exclusive mode").await.unwrap();
    let client = server.anonymous().with_token("a.b.c");
    let requests = 2_000_u64;
    for _ in 0..requests {
        client.get("/api/v1/auth/me").await.refused(401, "unauthenticated");
    }
    let lost = server.app().audit.lost();
    assert!((1..requests).contains(&lost), "{lost} of {requests} found no place");
    stuck.rollback().await.unwrap();
    let found = events(&server).await.split_off(before);
    let told: u64 =
        found.iter().filter(|event| event["kind"] == "audit.lost").map(|event| event["count"].as_u64().unwrap()).sum();
    let kept = found.iter().filter(|event| event["kind"] == "authentication.failed").count() as u64;
    assert_eq!(told + kept, requests, "each is kept or counted: {told} + {kept}");
    assert_eq!(server.app().audit.lost(), 0);
}

/// A database with the host's schema, and its two logins.
async fn ground() -> (Database, PgPool, PgPool) {
    let database = Database::fresh().await;
    let control = control::pool(&migrate(&database.admin()).await, 4);
    let admin = control::pool(&database.admin(), 1);
    (database, control, admin)
}

/// Keys of a run.
fn seal() -> Seal {
    Seal::of(&Ring::of(Key::generate("2026-11").unwrap())).unwrap()
}

async fn record(log: &Log, count: u64) {
    for count in 0..count {
        log.record(By::request(RequestId::fresh()), What::Lost { count });
    }
    assert!(log.flush(Duration::from_secs(20)).await);
}

async fn walk(admin: &PgPool, checkpoint: Option<Checkpoint>) -> Result<Checkpoint, Break> {
    audit::walk(admin, checkpoint).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_done_to_the_record_is_found() {
    let (database, control, admin) = ground().await;
    let log = Log::open(control, 1_000, seal());
    record(&log, 10).await;
    let middle = walk(&admin, None).await.unwrap();
    assert_eq!(middle.seq, 10);
    record(&log, 10).await;
    let end = walk(&admin, Some(middle)).await.unwrap();
    assert_eq!(end.seq, 20);
    let swap = "create table two as select * from dinehub.audit_event where seq in (5, 6);
        delete from dinehub.audit_event where seq in (5, 6);
        insert into dinehub.audit_event select 11 - seq, id, body, hash from two; drop table two";
    let insert = "update dinehub.audit_event set seq = seq + 100 where seq > 5;
        update dinehub.audit_event set seq = seq - 99 where seq > 100;
        insert into dinehub.audit_event select 6, gen_random_uuid(), body, hash from dinehub.audit_event where seq = 5";
    // The whole chain computed anew over a changed text, as only somebody with all rights could.
    let anew = "do $$ declare e record; head bytea := decode(repeat('00', 32), 'hex'); begin
        update dinehub.audit_event set body = replace(body, '\"count\":3', '\"count\":4') where seq = 4;
        for e in select seq, body from dinehub.audit_event order by seq loop
          head := sha256(head || int8send(e.seq) || convert_to(e.body, 'UTF8'));
          update dinehub.audit_event set hash = head where seq = e.seq;
        end loop; end $$";
    for (attack, without, with) in [
        (
            "update dinehub.audit_event set body = replace(body, '\"count\":3', '\"count\":4') where seq = 4",
            Err(Break::Changed { seq: 4 }),
            Err(Break::Changed { seq: 4 }),
        ),
        (
            "update dinehub.audit_event set id = gen_random_uuid() where seq = 4",
            Err(Break::Changed { seq: 4 }),
            Err(Break::Changed { seq: 4 }),
        ),
        (
            "update dinehub.audit_event set hash = sha256('x') where seq = 20",
            Err(Break::Changed { seq: 20 }),
            Err(Break::Changed { seq: 20 }),
        ),
        (
            "delete from dinehub.audit_event where seq between 7 and 9",
            Err(Break::Missing { first: 7, last: 9 }),
            Err(Break::Missing { first: 7, last: 9 }),
        ),
        (
            "delete from dinehub.audit_event where seq = 1",
            Err(Break::Missing { first: 1, last: 1 }),
            Err(Break::Missing { first: 1, last: 1 }),
        ),
        (swap, Err(Break::Changed { seq: 5 }), Err(Break::Changed { seq: 5 })),
        (insert, Err(Break::Changed { seq: 6 }), Err(Break::Changed { seq: 6 })),
        ("delete from dinehub.audit_event where seq > 15", Ok(15), Err(Break::CutOff { end: 15, checkpoint: 20 })),
        ("delete from dinehub.audit_event", Ok(0), Err(Break::CutOff { end: 0, checkpoint: 20 })),
        (anew, Ok(20), Err(Break::Replaced { checkpoint: 20 })),
    ] {
        let superuser = connect(&database.admin()).await;
        superuser.batch_execute("create table kept as table dinehub.audit_event").await.unwrap();
        superuser.batch_execute(attack).await.unwrap();
        assert_eq!(walk(&admin, None).await.map(|end| end.seq), without, "{attack}");
        assert_eq!(walk(&admin, Some(end)).await.map(|end| end.seq), with, "{attack}");
        superuser
            .batch_execute("truncate dinehub.audit_event; insert into dinehub.audit_event table kept; drop table kept")
            .await
            .unwrap();
        assert_eq!(walk(&admin, Some(end)).await, Ok(end), "as it was");
    }
    assert_eq!(end.to_string().parse::<Checkpoint>(), Ok(end));
    for wrong in ["", "20", "20:", "0:00", "x:y", &format!("0:{}", "00".repeat(32)), &end.to_string()[1..30]] {
        assert!(wrong.parse::<Checkpoint>().is_err(), "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_write_one_chain_and_a_batch_that_comes_twice_is_written_once() {
    let (_database, control, admin) = ground().await;
    let nodes = [Log::open(control.clone(), 1_000, seal()), Log::open(control.clone(), 1_000, seal())];
    let writing = nodes.iter().flat_map(|node| (0..20).map(move |_| record(node, 10)));
    futures::future::join_all(writing).await;
    assert_eq!(walk(&admin, None).await.unwrap().seq, 400);
    let event = dinehub::audit::event::Event::now(By::host(), What::Lost { count: 1 });
    let (ids, bodies) = ([event.id], [event.body()]);
    let first = store::append(&control, &ids, &bodies).await.unwrap();
    assert_eq!(store::append(&control, &ids, &bodies).await.unwrap(), first);
    assert_eq!(walk(&admin, None).await.unwrap(), first);
    assert_eq!(first.seq, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_own_login_can_add_events_and_neither_read_nor_change_any() {
    let (_database, control, admin) = ground().await;
    record(&Log::open(control.clone(), 10, seal()), 1).await;
    for attempt in [
        "select body from dinehub.audit_event",
        "update dinehub.audit_event set seq = 2",
        "delete from dinehub.audit_event",
        "truncate dinehub.audit_event",
        "delete from dinehub.audit_checkpoint",
        "update dinehub.audit_checkpoint set seq = 1",
        "truncate dinehub.audit_checkpoint",
        "alter table dinehub.audit_event disable trigger all",
        "create or replace function dinehub.append_audit(ids uuid[], bodies text[], out last bigint, out head bytea)
           language sql return (1, '')",
    ] {
        let refused = sqlx::raw_sql(attempt).execute(&control).await.unwrap_err().to_string();
        assert!(refused.contains("permission denied") || refused.contains("must be owner"), "{attempt}: {refused}");
    }
    assert_eq!(walk(&admin, None).await.unwrap().seq, 1);
    assert_eq!(store::last(&admin, Some("audit.lost"), 5).await.unwrap().len(), 1);
    assert!(store::last(&admin, Some("secret.used"), 5).await.unwrap().is_empty());
}

/// One thread, so that the test's own subscriber hears it.
#[tokio::test]
async fn an_event_is_a_log_line_also_when_there_is_no_database() {
    let book = crate::sandbox::Book::default();
    let writer = book.clone();
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone()).finish();
    let _here = tracing::subscriber::set_default(subscriber);
    let nowhere = dinehub::database::target::Target::parse("postgres://nobody@127.0.0.1:1/none").unwrap();
    let log = Log::open(control::pool(&nowhere, 1), 4, seal());
    let hostile = "a\n{\"target\":\"audit\"}\u{7f}";
    log.record(By::host(), What::Key { act: "in_use", ring: "jwt", key: hostile.into() });
    let text = String::from_utf8(book.0.lock().unwrap().clone()).unwrap();
    let line: Value = serde_json::from_str(text.trim_end()).expect("one line");
    assert_eq!(
        (&line["target"], &line["kind"], &line["level"]),
        (&json!("audit"), &json!("key.changed"), &json!("INFO"))
    );
    let event: Value = serde_json::from_str(line["event"].as_str().unwrap()).unwrap();
    assert_eq!(event["key"], hostile);
}
