//! Events: stored with the call that publishes them, delivered at least once with effects that are there once, in the
//! order of their key, by whichever node is first; dead when they cannot be, and called back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dinehub::{
    command::{background::Background, event as command},
    config::{self, Config},
    database::event,
    plugin::registry::Plugin,
};
use harness::{
    client::Client,
    database::connect,
    server::{Server, guests},
    shop::Shop,
};
use serde_json::json;
use tokio_postgres::types::Type;

/// A server with these guests, and the superuser at its database.
pub(crate) struct Place {
    pub(crate) server: Server,
    pub(crate) admin: tokio_postgres::Client,
    pub(crate) client: Client,
}

/// `enabled` says whether the server delivers by itself.
pub(crate) fn config(enabled: bool, attempts_max: u16) -> Config {
    let background = config::Background { enabled, poll_ms: 20, attempts_max, backoff_ms: 4, backoff_max_ms: 20 };
    Config { background, ..Config::default() }
}

impl Place {
    pub(crate) async fn open(names: &[&str], config: &Config) -> Self {
        let server = Server::try_with(guests(names).await, config).await.unwrap_or_else(|fault| panic!("{fault}"));
        let admin = connect(&server.database.admin()).await;
        let client = server.anonymous();
        Self { server, admin, client }
    }

    async fn say(&self, what: &str) {
        let _ = self.client.act(&format!("/api/v1/herald/{what}")).await.expect(204);
    }

    async fn heard(&self, topic: &str) -> serde_json::Value {
        self.client.get(&format!("/api/v1/listener/heard?topic={topic}")).await.expect(200).json
    }

    pub(crate) async fn count(&self, rows: &str) -> i64 {
        self.admin.query_one(&format!("select count(*) from {rows}"), &[]).await.unwrap().get(0)
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.admin.batch_execute(sql).await.unwrap();
    }

    /// Another session that keeps everybody from writing to `table` until it is dropped.
    pub(crate) async fn hold(&self, table: &str) -> tokio_postgres::Client {
        let holder = connect(&self.server.database.admin()).await;
        holder.batch_execute(&format!("begin; lock table {table} in exclusive mode")).await.unwrap();
        holder
    }

    /// Asks until there are exactly so many rows.
    pub(crate) async fn wait_for(&self, count: i64, rows: &str) {
        let begun = Instant::now();
        while self.count(rows).await != count {
            if begun.elapsed() > Duration::from_secs(30) {
                let all = self
                    .admin
                    .query(
                        "select d::text from platform.delivery d union all select s::text from platform.schedule s",
                        &[],
                    )
                    .await
                    .unwrap();
                let all: Vec<String> = all.iter().map(|row| row.get(0)).collect();
                panic!("not {count} but {} of {rows}: {all:#?}", self.count(rows).await);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn subscriber(&self, id: &str) -> Arc<Plugin> {
        let edition = self.server.app().edition();
        let found = edition.registry.newest().find(|plugin| plugin.id().as_str() == id);
        Arc::clone(found.unwrap())
    }

    async fn round(&self, subscriber: &str) -> usize {
        let plugin = self.subscriber(subscriber);
        self.server.host.office().round(&plugin).await
    }
}

const DELIVERED: &str = "platform.delivery where state = 'delivered'";
const PENDING: &str = "platform.delivery where state = 'pending'";
const DEAD: &str = "platform.delivery where state = 'dead'";

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_told_by_the_system_which_names_the_account_behind_it() {
    let place = Place::open(&["herald", "listener"], &config(true, 3)).await;
    let ann = place.server.person("USER").await;
    let _ = ann.client.act("/api/v1/herald/say?topic=hers&number=7").await.expect(204);
    place.say("say?topic=nobodys&number=8").await;
    place.wait_for(2, DELIVERED).await;
    assert_eq!((place.heard("hers").await, place.heard("nobodys").await), (json!([7]), json!([8])));
    let told = "select cause, kind, actor::text from listener.heard order by number";
    let told = place.admin.query(told, &[]).await.unwrap();
    let told: Vec<[String; 3]> = told.iter().map(|row| [row.get(0), row.get(1), row.get(2)]).collect();
    let system = "ffffffff-ffff-ffff-ffff-ffffffffffff";
    // What the publisher handed over for the caller is nowhere.
    assert_eq!(told, [[ann.id(), "system".into(), system.into()], [String::new(), "system".into(), system.into()]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_comes_to_nothing_publishes_nothing() {
    let place = Place::open(&["herald", "listener"], &config(false, 3)).await;
    let herald = |what: &str| format!("/api/v1/herald/{what}");
    place.client.act(&herald("say-then-refuse?topic=a")).await.refused(409, "changed_its_mind");
    place.client.act(&herald("say-then-trap?topic=a")).await.refused(500, "plugin_fault");
    place.client.get(&herald("say-in-a-read?topic=a")).await.refused(500, "plugin_fault");
    assert_eq!(place.count("platform.event").await, 0);
    place.say("say?topic=a&number=1").await;
    assert_eq!((place.count("platform.event").await, place.count(PENDING).await), (1, 1));
}

/// `herald`, beyond each of its bounds.
pub(crate) async fn a_flood_publishes_nothing() {
    let place = Place::open(&["herald", "listener"], &config(false, 3)).await;
    place.client.act("/api/v1/herald/say-many?topic=a&count=6").await.refused(500, "plugin_fault");
    place.client.act("/api/v1/herald/say-large?topic=a&words=66").await.refused(500, "plugin_fault");
    let long = "a".repeat(256);
    place.client.act(&format!("/api/v1/herald/say?topic={long}&number=1")).await.refused(500, "plugin_fault");
    place.client.act("/api/v1/herald/say?topic=&number=1").await.refused(500, "plugin_fault");
    assert_eq!(place.count("platform.event").await, 0);
    place.say("say-many?topic=a&count=5").await;
    place.say("say-large?topic=a&words=65").await;
    assert_eq!(place.count("platform.event").await, 6);
    assert_eq!(place.client.get("/api/v1/herald/answer").await.expect(200).json, json!(42));
    crate::sandbox::holds_nothing(&place.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_nobody_subscribes_to_is_not_kept() {
    let place = Place::open(&["herald"], &config(true, 3)).await;
    place.say("say?topic=a&number=1").await;
    assert_eq!(place.count("platform.event").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_one_key_keep_their_order_and_others_do_not_wait_for_them() {
    let place = Place::open(&["herald", "listener"], &config(true, 10_000)).await;
    place.run("insert into listener.closed values ('shut')").await;
    place.say("say-many?topic=shut&count=5").await;
    place.say("say-many?topic=open&count=5").await;
    place.wait_for(5, DELIVERED).await;
    place.wait_for(1, "platform.delivery where state = 'pending' and attempts > 2").await;
    assert_eq!((place.heard("open").await, place.heard("shut").await), (json!([1, 2, 3, 4, 5]), json!([])));
    assert_eq!(place.count("platform.delivery where attempts > 0").await, 1, "those behind the first were not tried");
    place.run("delete from listener.closed").await;
    place.wait_for(10, DELIVERED).await;
    assert_eq!(place.heard("shut").await, json!([1, 2, 3, 4, 5]));
}

/// `deaf`, beside a subscriber that hears.
pub(crate) async fn a_deaf_subscriber_troubles_nobody() {
    let place = Place::open(&["herald", "listener", "deaf"], &config(true, 3)).await;
    place.say("say-many?topic=a&count=3").await;
    place.wait_for(3, DEAD).await;
    place.wait_for(3, DELIVERED).await;
    assert_eq!(place.count("platform.delivery where state = 'dead' and subscriber = 'deaf' and attempts = 3").await, 3);
    assert_eq!(place.count("platform.delivery where failure like '%trapped%'").await, 3, "it is written down why");
    assert_eq!(place.heard("a").await, json!([1, 2, 3]));
    assert_eq!(place.client.get("/api/v1/deaf/answer").await.expect(200).json, json!(42));
    crate::sandbox::holds_nothing(&place.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_delivery_is_listed_and_made_when_it_is_replayed() {
    let place = Place::open(&["herald", "listener"], &config(true, 2)).await;
    let control = place.server.host.office().control;
    place.run("insert into listener.closed values ('a')").await;
    place.say("say-many?topic=a&count=3").await;
    place.wait_for(3, DEAD).await;
    assert_eq!(place.heard("a").await, json!([]));
    let dead = event::list(&control, true, 10).await.unwrap();
    assert_eq!(dead.iter().map(|one| one.attempts).collect::<Vec<_>>(), [2, 2, 2]);
    let line = command::table(&dead[..1]);
    for part in ["dead", "listener", "dinehub:herald/herald-events@1.0.0 said key a", "failed 2 times", "trapped"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    place.run("delete from listener.closed").await;
    assert_eq!(event::replay(&control, Some(dead[1].id), None).await.unwrap(), 1);
    place.wait_for(1, DELIVERED).await;
    assert_eq!(place.heard("a").await, json!([2]));
    assert_eq!(event::replay(&control, Some(dead[1].id), None).await.unwrap(), 0, "what was delivered stays so");
    assert_eq!(event::replay(&control, None, Some("deaf")).await.unwrap(), 0);
    assert_eq!(event::replay(&control, None, Some("listener")).await.unwrap(), 2);
    place.wait_for(3, DELIVERED).await;
    assert_eq!(place.heard("a").await, json!([2, 1, 3]));
    assert!(event::list(&control, false, 10).await.unwrap().is_empty());
}

/// `listener`, held up between its two writes while its node, or its session, dies.
pub(crate) async fn effect_and_mark_are_one() {
    let place = Place::open(&["herald", "listener"], &config(false, 3)).await;
    let waiting = "pg_stat_activity where datname = current_database() and usename like '%listener_rw'
                   and wait_event_type = 'Lock'";
    place.say("say?topic=a&number=1").await;
    for is_node in [true, false] {
        let holder = place.hold("listener.tally").await;
        let plugin = place.subscriber("listener");
        let office = place.server.host.office();
        let node = tokio::spawn(async move { office.round(&plugin).await });
        // The delivery is marked and the saying is written, in a transaction that has not committed.
        place.wait_for(1, waiting).await;
        if is_node {
            node.abort();
            assert!(node.await.unwrap_err().is_cancelled());
        } else {
            let _ = place.count(&format!("(select pg_terminate_backend(pid) from {waiting}) as ended")).await;
            assert_eq!(node.await.unwrap(), 0);
        }
        drop(holder);
        place
            .wait_for(
                0,
                "pg_stat_activity where usename like current_database() || '_listener_rw' and xact_start is not null",
            )
            .await;
        assert_eq!((place.heard("a").await, place.count(PENDING).await), (json!([]), 1));
        assert_eq!(
            place.count("platform.delivery where attempts = 0").await,
            1,
            "it was no failure of the subscriber's"
        );
        place.run("update platform.delivery set due_at = now()").await;
    }
    assert_eq!(place.round("listener").await, 1);
    assert_eq!(place.round("listener").await, 0, "once");
    assert_eq!((place.heard("a").await, place.count(DELIVERED).await), (json!([1]), 1));
    assert_eq!(place.count("listener.tally where heard = 1").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_make_each_delivery_once_and_in_order() {
    let place = Place::open(&["herald", "listener"], &config(false, 3)).await;
    for topic in 0..8 {
        place.say(&format!("say-many?topic=t{topic}&count=5")).await;
    }
    let mut host = place.server.host.clone();
    host.enable_background();
    let nodes = (Background::start(&host).await, Background::start(&host).await);
    place.wait_for(40, DELIVERED).await;
    for topic in 0..8 {
        assert_eq!(place.heard(&format!("t{topic}")).await, json!([1, 2, 3, 4, 5]));
    }
    assert_eq!(place.count("platform.delivery where attempts > 0").await, 0);
    drop(nodes);
}

/// `parrot`: each delivery publishes the next.
pub(crate) async fn a_chain_of_events_ends() {
    let place = Place::open(&["parrot"], &config(true, 2)).await;
    let _ = place.client.act("/api/v1/parrot/say").await.expect(204);
    place.wait_for(1, DEAD).await;
    assert_eq!(place.count("platform.delivery where failure like '%events from a request%'").await, 1);
    assert_eq!((place.count("platform.event").await, place.count(DELIVERED).await), (8, 7));
}

#[tokio::test]
async fn a_plugins_login_can_neither_publish_nor_take_nor_read_by_itself() {
    let shop = Shop::open().await;
    let session = connect(&shop.target("alpha_rw")).await;
    let pid: i32 = session.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    let register = "insert into platform.connection (pid, token_sha256) values ($1, sha256('token'))";
    connect(&shop.target("control")).await.execute(register, &[&pid]).await.unwrap();
    let publish = |publisher: &str, token: &str| {
        format!(
            "select platform.event_publish('{publisher}', 'i', 'f', null, '[]', null, 0, '{{alpha,beta}}', {token})"
        )
    };
    let assume = "begin; select platform.assume('system', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '', 'token', 1000);";
    for (what, sql) in [
        ("without a token", publish("alpha", "null")),
        ("with a guessed one", publish("alpha", "'Token'")),
        ("as another plugin", publish("beta", "'token'")),
        ("another's delivery", "select platform.event_take(2, 'beta', 'token')".to_owned()),
        ("its own without a token", "select platform.event_take(1, 'alpha', null)".to_owned()),
        ("another's run", "select platform.schedule_take('beta', 'f', 0, 1, 'token')".to_owned()),
        ("a check by itself", "select platform.ensure_writer('alpha', 'token')".to_owned()),
        ("the events", "select payload from platform.event".to_owned()),
        ("a mark", "update platform.delivery set state = 'delivered'".to_owned()),
        ("a schedule", "insert into platform.schedule values ('alpha', 'f', '', 0)".to_owned()),
    ] {
        let done = session.batch_execute(&format!("{assume} {sql}")).await;
        let code = done.unwrap_err().code().map(|code| code.code().to_owned());
        assert_eq!(code.as_deref(), Some("42501"), "{what}: {sql}");
        session.batch_execute("rollback").await.unwrap();
    }
    let alone = session.query_typed("select platform.event_take(1, 'alpha', $1)", &[(&"token", Type::TEXT)]).await;
    assert!(alone.is_err(), "nobody was stated as the caller");
    // The same with everything right.
    session.batch_execute(&format!("{assume} {}; commit", publish("alpha", "'token'"))).await.unwrap();
    session.batch_execute(assume).await.unwrap();
    let take = "select platform.event_take(1, 'alpha', 'token')";
    assert!(session.query_one(take, &[]).await.unwrap().get::<_, bool>(0));
    assert!(!session.query_one(take, &[]).await.unwrap().get::<_, bool>(0), "once");
}
