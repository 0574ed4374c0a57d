//! Schedules: each time once, on one node, as the system; what was missed runs once; what fails leaves nothing.

use dinehub::command::background::Background;
use serde_json::json;

use crate::event::{Place, config};

const STANDING: &str = "platform.schedule where due_s > extract(epoch from now())";

async fn ticks(place: &Place) -> serde_json::Value {
    place.client.get("/api/v1/ticker/ticks").await.expect(200).json
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_many_times_runs_once_on_one_of_two_nodes() {
    let place = Place::open(&["ticker"], &config(true, 3)).await;
    place.wait_for(2, STANDING).await;
    let mut host = place.server.host.clone();
    host.enable_background();
    let second = Background::start(&host).await;
    assert_eq!(ticks(&place).await, json!([]), "nothing is due before its time");
    for runs in 1..=3 {
        place.run("update platform.schedule set due_s = 1000 where function = 'sweep'").await;
        place.wait_for(1, &format!("{STANDING} and function = 'sweep' and ran_s = 1000")).await;
        assert_eq!(ticks(&place).await, json!(vec!["system"; runs]));
    }
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_keeps_what_is_due_and_forgets_what_is_gone() {
    let place = Place::open(&["ticker"], &config(false, 3)).await;
    assert_eq!(place.count("platform.schedule").await, 0, "a node that runs nothing knows nothing");
    let mut host = place.server.host.clone();
    host.enable_background();
    drop(Background::start(&host).await);
    place.run("update platform.schedule set due_s = 1000 where function = 'sweep'").await;
    place.run("insert into platform.schedule values ('ticker', 'gone', '* * * * *', 0)").await;
    let started = Background::start(&host).await;
    place.wait_for(1, &format!("{STANDING} and function = 'sweep' and ran_s = 1000")).await;
    assert_eq!(place.count("platform.schedule where function = 'gone'").await, 0);
    assert_eq!(ticks(&place).await, json!(["system"]));
    drop(started);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_one_schedule_do_not_overlap() {
    let place = Place::open(&["ticker"], &config(true, 3)).await;
    place.wait_for(2, STANDING).await;
    let holder = place.hold("ticker.mark").await;
    place.run("update platform.schedule set due_s = 1000 where function = 'sweep'").await;
    let running =
        "pg_stat_activity where datname = current_database() and usename like '%ticker_rw' and state <> 'idle'";
    place.wait_for(1, &format!("{running} and wait_event_type = 'Lock'")).await;
    let mut host = place.server.host.clone();
    host.enable_background();
    let second = Background::start(&host).await;
    // The second node asks many times meanwhile, and gets nothing to run.
    for _ in 0..20 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        assert!(place.count(&format!("{running} and wait_event_type = 'Lock'")).await <= 1);
    }
    drop(holder);
    place.wait_for(1, &format!("{STANDING} and function = 'sweep' and ran_s = 1000")).await;
    assert_eq!(ticks(&place).await, json!(["system"]));
    drop(second);
}

/// `ticker`'s other schedule: it writes, and traps.
pub(crate) async fn a_failed_run_leaves_nothing() {
    let place = Place::open(&["ticker"], &config(true, 3)).await;
    place.wait_for(2, STANDING).await;
    place.run("update platform.schedule set due_s = 1000 where function = 'stumble'").await;
    place
        .wait_for(1, &format!("{STANDING} and function = 'stumble' and failures = 1 and failure like '%trapped%'"))
        .await;
    assert_eq!(ticks(&place).await, json!([]));
    crate::sandbox::holds_nothing(&place.server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_own_chores_forget_what_is_old() {
    let place = Place::open(&["ticker"], &config(false, 3)).await;
    let old = "now() - interval '8 days'";
    place
        .run(&format!(
            "insert into platform.idempotency values ('old', 'r', 200, '', {old}), ('new', 'r', 200, '', now());
             insert into platform.connection values (-1, {old}, sha256('gone'));
             insert into platform.event (publisher, interface, function, payload, hops, published_at)
               select 'herald', 'i', 'f', '[]', 0, {old} from generate_series(1, 3);
             insert into platform.delivery (event_id, subscriber, interface, state, delivered_at) values
               (1, 'listener', 'i', 'delivered', {old}), (2, 'listener', 'i', 'delivered', now()),
               (3, 'listener', 'i', 'dead', null);"
        ))
        .await;
    place.server.host.prune().await;
    assert_eq!(place.count("platform.idempotency").await, 1);
    assert_eq!(place.count("platform.connection where pid = -1").await, 0);
    assert_eq!(place.count("platform.event where id in (2, 3)").await, 2);
    assert_eq!((place.count("platform.event").await, place.count("platform.delivery").await), (2, 2));
}
