//! Logged out means logged out: on this node before the answer, on every other soon, after a crash still; and a node that
//! cannot know believes nobody.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use dinehub::{
    database::local::Cluster,
    error::Error,
    identity::{Identity, Policy, Rings, clock::Clock, login::Pass},
    secret::ring::{Key, Ring},
};
use harness::database::connect;

use crate::node::{Ground, actor, anna_at, eventually, is_revoked, login, migrate, pool, role};

fn is_stale(node: &Identity, session: &Pass) -> bool {
    matches!(actor(node, session), Err(Error::Unavailable(_)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn logout_holds_here_when_it_returns_and_there_soon_after() {
    let ground = Ground::fresh().await;
    let (here, there) = (ground.node().await, ground.node().await);
    let session = anna_at(&here).await;
    assert!(actor(&there, &session).is_ok());
    here.logout(&actor(&here, &session).unwrap()).await.unwrap();
    assert!(is_revoked(&here, &session));
    eventually("logout reaches the other node", || is_revoked(&there, &session)).await;
    assert!(actor(&here, &login(&here).await).is_ok(), "another login is another token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn logout_everywhere_ends_tokens_of_the_same_second() {
    let ground = Ground::fresh().await;
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let standing = Clock::hand(Arc::new(AtomicU64::new(now_s)));
    let policy = Policy { clock: standing, newcomer: vec![role("USER")], ..Policy::default() };
    let node = ground.node_with(&ground.ring, policy).await;
    let (one, two) = (anna_at(&node).await, login(&node).await);
    node.logout_all(&actor(&node, &one).unwrap()).await.unwrap();
    let three = login(&node).await;
    assert!(is_revoked(&node, &one) && is_revoked(&node, &two), "same `iat`, older epoch");
    assert!(actor(&node, &three).is_ok(), "same `iat`, new epoch");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn revocations_survive_a_restart() {
    let ground = Ground::fresh().await;
    let node = ground.node().await;
    let (one, two) = (anna_at(&node).await, login(&node).await);
    node.logout(&actor(&node, &one).unwrap()).await.unwrap();
    drop(node);
    let again = ground.node().await;
    assert!(is_revoked(&again, &one), "from its first request on");
    assert!(actor(&again, &two).is_ok());
    again.logout_all(&actor(&again, &two).unwrap()).await.unwrap();
    assert!(is_revoked(&ground.node().await, &two));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_expired_revocation_leaves_memory() {
    let ground = Ground::fresh().await;
    let node = ground.node().await;
    let session = anna_at(&node).await;
    node.logout(&actor(&node, &session).unwrap()).await.unwrap();
    assert_eq!(node.revocation_count(), 1);
    ground.sql("update dinehub.revocation set expires_at = now() - interval '2 hours'").await;
    assert_eq!(ground.node().await.revocation_count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_lost_listener_reads_again_what_it_missed() {
    let ground = Ground::fresh().await;
    let (here, there) = (ground.node().await, ground.node().await);
    let session = anna_at(&here).await;
    let others = "select pg_terminate_backend(pid) from pg_stat_activity
                  where datname = current_database() and pid <> pg_backend_pid()";
    ground.sql(others).await;
    let actor = actor(&here, &session).unwrap();
    let begun = std::time::Instant::now();
    while here.logout(&actor).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "the pool recovers");
    }
    eventually("logout reaches the other node", || is_revoked(&there, &session)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_log_keeps_hashes_only() {
    let ground = Ground::fresh().await;
    let node = ground.node().await;
    let session = anna_at(&node).await;
    node.logout(&actor(&node, &session).unwrap()).await.unwrap();
    let admin = connect(&ground.database.admin()).await;
    let rows = admin.query("select octet_length(session_hash), account_id is null from dinehub.revocation", &[]).await;
    let row = &rows.unwrap()[0];
    assert_eq!((row.get::<_, i32>(0), row.get::<_, bool>(1)), (32, true));
}

/// A cluster that this test may stop, removed with it.
struct Own {
    place: PathBuf,
    cluster: Cluster,
}

impl Own {
    fn start() -> Self {
        let place = PathBuf::from(format!("/tmp/dinehub-own-{}", uuid::Uuid::new_v4().simple()));
        let cluster = Cluster::start(&place, &["fsync = off", "shared_buffers = 16MB"]).unwrap();
        Self { place, cluster }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.cluster.stop();
        let _ = std::fs::remove_dir_all(&self.place);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn without_postgresql_nobody_is_believed_and_with_it_again_they_are() {
    let own = Own::start();
    let control = migrate(&own.cluster.admin("postgres")).await;
    let policy = Policy { newcomer: vec![role("USER")], stale_after: Duration::from_millis(1500), ..Policy::default() };
    let ring = Ring::of(Key::generate("2026-11").unwrap());
    let node = Identity::open(pool(&control).await, Rings { tokens: &ring, account: &ring }, policy).await.unwrap();
    let session = anna_at(&node).await;
    assert!(actor(&node, &session).is_ok());
    own.cluster.stop().unwrap();
    eventually("authenticated requests are refused", || is_stale(&node, &session)).await;
    assert!(node.actor(&http::HeaderMap::new()).unwrap().is_anonymous(), "anonymous requests need no database");
    Cluster::start(&own.place, &[]).unwrap();
    eventually("PostgreSQL is back", || actor(&node, &session).is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_logout_that_cannot_be_stored_is_no_logout() {
    let ground = Ground::fresh().await;
    let node = ground.node().await;
    let session = anna_at(&node).await;
    let actor = actor(&node, &session).unwrap();
    let control = format!("{}_control", ground.database.admin().database);
    ground.sql(&format!("revoke insert on dinehub.revocation from \"{control}\"")).await;
    assert!(node.logout(&actor).await.is_err(), "the client must not believe it");
}
