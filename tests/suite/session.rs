//! Sessions: what is not one's own cannot be seen or ended, what was ended is dead here before the answer and there soon
//! after, and no token slips past an event that ends them all.

use dinehub::{
    error::Error,
    id::SessionId,
    identity::{
        Identity,
        account::NewAccount,
        login::Pass,
        session::{Device, Origin, Session},
    },
};
use harness::{client::Client, database::connect, server::Server};
use serde_json::{Value, json};

use crate::node::{Ground, HOME, PASSWORD, actor, anna, anna_at, eventually, is_revoked, login};

async fn list(node: &Identity, pass: &Pass) -> Vec<Session> {
    node.sessions(&actor(node, pass).unwrap()).await.unwrap()
}

async fn ids(node: &Identity, pass: &Pass) -> Vec<SessionId> {
    list(node, pass).await.iter().map(|session| session.id).collect()
}

async fn ben_at(node: &Identity) -> Pass {
    node.register(NewAccount { email: "ben@example.org".into(), ..anna() }, HOME).await.unwrap();
    node.login("ben@example.org", PASSWORD.into(), HOME).await.unwrap().done().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn somebody_elses_session_is_neither_seen_nor_ended() {
    let ground = Ground::fresh().await;
    let node = ground.node().await;
    let (anna, ben) = (anna_at(&node).await, ben_at(&node).await);
    assert_eq!(ids(&node, &ben).await, [ben.session]);
    for session in [anna.session, SessionId::fresh()] {
        let answer = node.end_session(&actor(&node, &ben).unwrap(), session).await;
        assert!(matches!(answer, Err(Error::NotFound)), "{answer:?}");
    }
    node.logout_others(&actor(&node, &ben).unwrap()).await.unwrap();
    node.logout_all(&actor(&node, &ben).unwrap()).await.unwrap();
    assert!(actor(&node, &anna).is_ok());
    assert_eq!(ids(&node, &anna).await, [anna.session]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_ended_session_is_dead_here_when_it_returns_and_there_soon_after() {
    let ground = Ground::fresh().await;
    let (here, there) = (ground.node().await, ground.node().await);
    let (laptop, phone) = (anna_at(&here).await, login(&there).await);
    assert!(actor(&here, &phone).is_ok() && actor(&there, &phone).is_ok());
    here.end_session(&actor(&here, &laptop).unwrap(), phone.session).await.unwrap();
    assert!(is_revoked(&here, &phone));
    eventually("the end reaches the other node", || is_revoked(&there, &phone)).await;
    assert!(actor(&here, &laptop).is_ok() && actor(&there, &laptop).is_ok(), "no other session ends");
    assert_eq!(ids(&here, &laptop).await, [laptop.session]);
    let again = here.end_session(&actor(&here, &laptop).unwrap(), phone.session).await;
    assert!(matches!(again, Err(Error::NotFound)), "{again:?}");
    assert!(is_revoked(&ground.node().await, &phone), "a node that starts later knows it");
}

/// The second node has not heard of the end yet when it is asked to end the same session: its answer may not come before
/// it knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn ending_what_another_node_ended_first_holds_here_too() {
    let ground = Ground::fresh().await;
    let node = ground.node().await;
    let pass = anna_at(&node).await;
    let who = actor(&node, &pass).unwrap();
    let id = pass.session;
    // Without NOTIFY, the node would read of it at its next poll.
    ground
        .sql(&format!(
            "delete from dinehub.session where id = '{id}'; insert into dinehub.revocation (session_hash, expires_at)
             values (sha256(uuid_send('{id}'::uuid)), now() + interval '1 day')"
        ))
        .await;
    node.logout(&who).await.unwrap();
    assert!(is_revoked(&node, &pass));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn ending_the_others_leaves_this_one() {
    let ground = Ground::fresh().await;
    let (here, there) = (ground.node().await, ground.node().await);
    let this = anna_at(&here).await;
    let others = [login(&here).await, login(&there).await, login(&here).await];
    assert_eq!(ids(&here, &this).await.len(), 4);
    here.logout_others(&actor(&here, &this).unwrap()).await.unwrap();
    for other in &others {
        assert!(is_revoked(&here, other));
        eventually("the end reaches the other node", || is_revoked(&there, other)).await;
    }
    assert_eq!(ids(&here, &this).await, [this.session]);
    assert!(actor(&there, &this).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn sessions_that_end_each_other_at_once_do_not_lock_each_other() {
    let ground = Ground::fresh().await;
    let node = ground.node().await;
    let mut passes = vec![anna_at(&node).await];
    for _ in 0..7 {
        passes.push(login(&node).await);
    }
    let actors: Vec<_> = passes.iter().map(|pass| actor(&node, pass).unwrap()).collect();
    let ends = actors.iter().map(|actor| node.logout_others(actor));
    for answer in futures::future::join_all(ends).await {
        answer.unwrap();
    }
    assert!(passes.iter().filter(|pass| actor(&node, pass).is_ok()).count() <= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_ends_all_tokens_takes_every_session_with_it() {
    let ground = Ground::fresh().await;
    let node = ground.node().await;
    let (one, two) = (anna_at(&node).await, login(&node).await);
    node.logout_all(&actor(&node, &one).unwrap()).await.unwrap();
    assert!(is_revoked(&node, &one) && is_revoked(&node, &two));
    let three = login(&node).await;
    assert_eq!(ids(&node, &three).await, [three.session]);
    node.set_roles(three.account.id, &[]).await.unwrap();
    let four = login(&node).await;
    assert_eq!(ids(&node, &four).await, [four.session]);
    let admin = connect(&ground.database.admin()).await;
    let rows = admin.query_one("select count(*) from dinehub.session", &[]).await.unwrap();
    assert_eq!(rows.get::<_, i64>(0), 1, "nothing is left of the others");
}

/// A login that read the epoch just before it was raised.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_login_that_an_end_of_all_overtakes_opens_nothing() {
    let ground = Ground::fresh().await;
    let node = ground.node().await;
    let pass = anna_at(&node).await;
    let admin = connect(&ground.database.admin()).await;
    let open = "select dinehub.open_session(gen_random_uuid(), id, token_epoch - $1, null, now() + interval '1 day')
                from dinehub.account";
    let tried = async |behind: i64| admin.query_one(open, &[&behind]).await.unwrap().get::<_, bool>(0);
    node.logout_all(&actor(&node, &pass).unwrap()).await.unwrap();
    assert!(!tried(1).await, "in the epoch before");
    assert!(tried(0).await, "in this one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_end_that_cannot_be_stored_is_no_end() {
    let ground = Ground::fresh().await;
    let node = ground.node().await;
    let (one, two) = (anna_at(&node).await, login(&node).await);
    let who = actor(&node, &one).unwrap();
    let control = format!("{}_control", ground.database.admin().database);
    ground.sql(&format!("revoke insert on dinehub.revocation from \"{control}\"")).await;
    assert!(node.end_session(&who, two.session).await.is_err());
    assert!(node.logout_others(&who).await.is_err());
    assert!(node.logout_all(&who).await.is_err());
    assert_eq!(ids(&node, &one).await.len(), 2, "and no row went either");
    assert!(actor(&node, &two).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn last_use_is_known_to_the_minute_and_written_by_no_request() {
    let ground = Ground::fresh().await;
    let node = ground.node().await;
    let (one, two) = (anna_at(&node).await, login(&node).await);
    node.write_uses().await.unwrap();
    ground.sql("update dinehub.session set used_at = date_trunc('minute', now()) - interval '1 hour'").await;
    let used =
        |sessions: &[Session], pass: &Pass| sessions.iter().find(|session| session.id == pass.session).unwrap().used_at;
    let before = list(&node, &one).await;
    assert_eq!(used(&list(&node, &one).await, &one), used(&before, &one), "a request writes nothing");
    node.write_uses().await.unwrap();
    let after = list(&node, &one).await;
    assert!(used(&after, &one) > used(&before, &one));
    assert_eq!(used(&after, &two), used(&before, &two), "nobody used it");
    assert_eq!(used(&after, &one).as_second() % 60, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_session_shows_its_device_and_no_other_text() {
    let ground = Ground::fresh().await;
    let node = ground.node().await;
    node.register(anna(), HOME).await.unwrap();
    let from = Origin { source: HOME, device: Device::read(b"Mozilla/5.0 (X11)\x1b]0;owned\x07") };
    let pass = node.login("anna@example.org", PASSWORD.into(), from).await.unwrap().done().unwrap();
    let sessions = list(&node, &pass).await;
    assert_eq!(sessions[0].device.as_deref(), Some("Mozilla/5.0 (X11) ]0;owned"));
    assert!(sessions[0].is_current && sessions[0].expires_at > sessions[0].created_at);
    for device in ["", "caf\u{e9}", "a\u{7}", &"x".repeat(121)] {
        let admin = connect(&ground.database.admin()).await;
        let stored = admin.execute("update dinehub.session set device = $1", &[&device]).await;
        assert!(stored.is_err(), "the database takes no {device:?} either");
    }
}

async fn log_in(server: &Server, email: &str, device: &str) -> Client {
    let body = json!({"email": email, "password": harness::server::PASSWORD});
    let answer = server.anonymous().json("POST", "/api/v1/auth/login", &[("user-agent", device)], &body).await;
    server.anonymous().with_token(&answer.expect(200).text("/access_token"))
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_a_person_sees_where_they_are_and_ends_it() {
    let server = Server::start().await;
    let (person, stranger) = (server.person("USER").await, server.person("USER").await);
    let email = &person.account.email;
    let (laptop, phone) = (log_in(&server, email, "Laptop 1.0").await, log_in(&server, email, "Phone 2.0").await);
    let listed = laptop.get("/api/v1/auth/sessions").await.expect(200);
    let items = listed.json["items"].as_array().unwrap();
    let devices: Vec<&Value> = items.iter().map(|item| &item["device"]).collect();
    assert_eq!(devices, [&json!("Phone 2.0"), &json!("Laptop 1.0"), &Value::Null], "the newest first");
    assert_eq!(items.iter().map(|item| item["current"] == true).collect::<Vec<_>>(), [false, true, false]);
    let path = format!("/api/v1/auth/sessions/{}", listed.text("/items/0/id"));
    stranger.client.delete(&path).await.refused(404, "not_found");
    server.anonymous().delete(&path).await.refused(401, "unauthenticated");
    laptop.delete("/api/v1/auth/sessions/everything").await.refused(404, "not_found");
    let _ = phone.get("/api/v1/auth/me").await.expect(200);
    let _ = laptop.delete(&path).await.expect(204);
    phone.get("/api/v1/auth/me").await.refused(401, "unauthenticated");
    let _ = laptop.act("/api/v1/auth/logout-others").await.expect(204);
    person.client.get("/api/v1/auth/me").await.refused(401, "unauthenticated");
    let _ = laptop.act("/api/v1/auth/logout").await.expect(204);
    laptop.get("/api/v1/auth/sessions").await.refused(401, "unauthenticated");
}

/// Requests that are on their way while the session ends are answered as before or refused, and none after.
#[tokio::test(flavor = "multi_thread")]
async fn a_logout_among_requests_lets_none_through_afterwards() {
    let server = Server::start().await;
    let client = server.person("USER").await.client;
    let asking = (0..64).map(|at| {
        let client = client.clone();
        async move {
            if at == 32 {
                let _ = client.act("/api/v1/auth/logout").await.expect(204);
                return client.get("/api/v1/auth/me").await.status == 401;
            }
            matches!(client.get("/api/v1/auth/me").await.status, 200 | 401)
        }
    });
    assert!(futures::future::join_all(asking).await.into_iter().all(|is_right| is_right));
    client.get("/api/v1/auth/me").await.refused(401, "unauthenticated");
}
