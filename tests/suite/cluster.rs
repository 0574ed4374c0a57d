//! The ground the other tests stand on.

use harness::database::{Database, connect};

#[tokio::test]
async fn each_test_has_a_database_of_its_own() {
    let (one, two) = (Database::fresh().await, Database::fresh().await);
    connect(&one.admin()).await.batch_execute("create table only_here (x int)").await.unwrap();
    let elsewhere = connect(&two.admin()).await.query("select * from only_here", &[]).await;
    assert_eq!(elsewhere.unwrap_err().code().map(|c| c.code().to_owned()).as_deref(), Some("42P01"));
}
