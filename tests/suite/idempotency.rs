//! Answers kept for a retry: in the effect's own transaction, one plugin's and one caller's.

use dinehub::{
    database::{
        guest::{Claim, Failure, Limits, Opening, Options, Pool, Transaction, Uncommitted},
        identity::Caller,
    },
    id::AccountId,
};
use harness::{
    database::connect,
    shop::{Shop, statement},
};

fn transaction(shop: &Shop, pool: &Pool, plugin: &str, caller: &Caller) -> Transaction {
    let opening = Opening {
        caller: caller.clone(),
        read_only: false,
        repeatable: false,
        timeout_ms: 1000,
        limits: Limits::default(),
    };
    Transaction::new(pool.clone(), shop.login(pool, plugin), opening)
}

#[tokio::test]
async fn a_kept_answer_is_its_plugins_and_its_callers_alone() {
    let shop = Shop::open().await;
    let pool = shop.pool(Options::default());
    let (alice, bob) = (Caller::user(AccountId::fresh(), &["USER"]), Caller::user(AccountId::fresh(), &["USER"]));
    let mut first = transaction(&shop, &pool, "alpha", &alice);
    assert_eq!(first.claim(b"key", b"request").await, Ok(Claim::Fresh));
    first.store(b"key", b"request", 201, b"{}").await.unwrap();
    first.commit().await.unwrap();
    for (plugin, caller) in [("alpha", &bob), ("beta", &alice), ("alpha", &Caller::anonymous())] {
        let mut other = transaction(&shop, &pool, plugin, caller);
        assert_eq!(other.claim(b"key", b"request").await, Ok(Claim::Fresh), "{plugin} {caller:?}");
    }
    let mut again = transaction(&shop, &pool, "alpha", &alice);
    assert_eq!(again.claim(b"key", b"request").await, Ok(Claim::Replay { status: 201, body: b"{}".to_vec() }));
    let mut changed = transaction(&shop, &pool, "alpha", &alice);
    drop(again);
    assert_eq!(changed.claim(b"key2", b"other").await, Ok(Claim::Fresh));
    drop(changed);
    let mut changed = transaction(&shop, &pool, "alpha", &alice);
    loop {
        // The dropped transaction gives its lock back in the background.
        match changed.claim(b"key", b"other").await.unwrap() {
            Claim::InFlight => tokio::task::yield_now().await,
            outcome => break assert_eq!(outcome, Claim::Mismatch),
        }
    }
}

#[tokio::test]
async fn a_second_claim_waits_for_nothing_and_a_rollback_keeps_nothing() {
    let shop = Shop::open().await;
    let pool = shop.pool(Options::default());
    let alice = Caller::user(AccountId::fresh(), &["USER"]);
    let mut first = transaction(&shop, &pool, "alpha", &alice);
    assert_eq!(first.claim(b"key", b"request").await, Ok(Claim::Fresh));
    let mut second = transaction(&shop, &pool, "alpha", &alice);
    assert_eq!(second.claim(b"key", b"request").await, Ok(Claim::InFlight));
    first.store(b"key", b"request", 201, b"lost").await.unwrap();
    assert!(matches!(
        first.execute(&statement("select 1/0", &[], &[]), &[]).await,
        Err(Failure::Unavailable(_) | Failure::Invalid(_))
    ));
    assert_eq!(first.commit().await, Err(Uncommitted::Refused));
    drop(second);
    loop {
        let mut third = transaction(&shop, &pool, "alpha", &alice);
        match third.claim(b"key", b"request").await.unwrap() {
            Claim::InFlight => tokio::task::yield_now().await,
            outcome => break assert_eq!(outcome, Claim::Fresh),
        }
    }
}

#[tokio::test]
async fn an_answer_is_forgotten_after_a_day_and_the_key_is_nowhere() {
    let shop = Shop::open().await;
    let pool = shop.pool(Options::default());
    let admin = connect(&shop.admin()).await;
    let alice = Caller::user(AccountId::fresh(), &["USER"]);
    for (status, age) in [(201_u16, "23 hours 59 minutes"), (202, "24 hours 1 second")] {
        let mut first = transaction(&shop, &pool, "alpha", &alice);
        assert_eq!(first.claim(b"secret key", b"r").await, Ok(Claim::Fresh));
        first.store(b"secret key", b"r", status, b"").await.unwrap();
        first.commit().await.unwrap();
        let aged = format!("update platform.idempotency set stored = now() - interval '{age}'");
        admin.batch_execute(&aged).await.unwrap();
        let mut again = transaction(&shop, &pool, "alpha", &alice);
        let outcome = again.claim(b"secret key", b"r").await.unwrap();
        again.commit().await.unwrap();
        let control = connect(&shop.target("control")).await;
        let pruned: i64 = control.query_one("select platform.idempotency_prune()", &[]).await.unwrap().get(0);
        if status == 201 {
            assert_eq!((outcome, pruned), (Claim::Replay { status, body: vec![] }, 0));
            admin.batch_execute("delete from platform.idempotency").await.unwrap();
        } else {
            assert_eq!((outcome, pruned), (Claim::Fresh, 1));
        }
    }
    let kept = admin.query("select 1 from platform.idempotency where key_sha256 = 'secret key'", &[]).await.unwrap();
    assert!(kept.is_empty());
}
