//! The ground the other tests stand on.

use dinehub::database::local::Cluster;
use harness::database::{Database, connect};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

#[tokio::test]
async fn each_test_has_a_database_of_its_own() {
    let (one, two) = (Database::fresh().await, Database::fresh().await);
    connect(&one.admin()).await.batch_execute("create table only_here (x int)").await.unwrap();
    let elsewhere = connect(&two.admin()).await.query("select * from only_here", &[]).await;
    assert_eq!(elsewhere.unwrap_err().code().map(|c| c.code().to_owned()).as_deref(), Some("42P01"));
}

/// A backend that hears nothing, as one does that waits for a disk: the server ends all the same, and keeps what it had.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_ends_although_a_session_does_not() {
    let place = tempfile::tempdir().unwrap();
    let start = || Cluster::start(place.path(), &[]).unwrap_or_else(|fault| panic!("{fault}"));
    let cluster = start();
    let session = connect(&cluster.admin("postgres")).await;
    session.batch_execute("create table kept as select 7 as x").await.unwrap();
    let pid: i32 = session.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    let cluster = tokio::task::spawn_blocking(move || {
        cluster.stop().unwrap_or_else(|fault| panic!("{fault}"));
        cluster
    });
    assert!(!cluster.await.unwrap().is_running().unwrap());
    let again = start();
    let session = connect(&again.admin("postgres")).await;
    assert_eq!(session.query_one("select x from kept", &[]).await.unwrap().get::<_, i32>(0), 7);
    drop(session);
    again.stop().unwrap_or_else(|fault| panic!("{fault}"));
}
