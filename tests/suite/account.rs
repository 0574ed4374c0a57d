//! Accounts: what a stranger cannot learn or do, then what a person can.
//!
//! That registering tells nothing either is attacked in `suite/letter.rs`.

use std::net::{IpAddr, Ipv4Addr};

use dinehub::{
    error::{Error, Unproven},
    identity::{
        Policy,
        account::NewAccount,
        throttle::{Doors, Waits},
    },
};
use harness::database::connect;

use crate::node::{Ground, HOME, PASSWORD, actor, anna, anna_at, login, role};

fn source(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, last))
}

/// The first wrong password on an account from anywhere but a known source costs a wait of a minute.
fn strict() -> Policy {
    let waits = Waits { pair_free: 1, account_free: 2, base_ms: 60_000, cap_ms: 60_000, ..Waits::default() };
    let doors = Doors { password: waits, ..Doors::default() };
    Policy { newcomer: vec![role("USER")], doors, ..Policy::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_wrong_password_and_an_unknown_address_get_the_same_answer() {
    let ground = Ground::fresh().await;
    let node = ground.node().await;
    node.register(anna(), HOME).await.unwrap();
    for (email, password) in [
        ("anna@example.org", "plum-harbor-lanterns"),
        ("anna@example.org", ""),
        ("nobody@example.org", PASSWORD),
        ("anna@example.org\0", PASSWORD),
        ("' or 1=1 --", PASSWORD),
        ("", ""),
    ] {
        let answer = node.login(email, password.into(), HOME).await.unwrap_err();
        assert!(matches!(answer, Error::Unauthenticated(Unproven::Password)), "{email:?}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_address_is_taken_whatever_its_case() {
    let ground = Ground::fresh().await;
    let node = ground.node().await;
    node.register(anna(), HOME).await.unwrap();
    let again = NewAccount { email: "ANNA@Example.ORG".into(), ..anna() };
    let answer = node.create(again.clone(), &[]).await.unwrap_err();
    assert_eq!((answer.status().as_u16(), answer.code()), (409, "email_is_taken"), "an operator is told");
    node.register(again, HOME).await.expect("a stranger is not");
    assert_eq!(node.list(None, 10).await.unwrap().len(), 1);
    let session = node.login("Anna@EXAMPLE.org", PASSWORD.into(), HOME).await.unwrap().done().unwrap();
    assert_eq!(session.account.email, "anna@example.org");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn only_one_of_many_at_once_gets_an_address() {
    let ground = Ground::fresh().await;
    let node = ground.node().await;
    let answers = futures::future::join_all((0..4).map(|_| node.register(anna(), HOME))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(node.list(None, 10).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_no_account_is_refused_with_its_place() {
    let ground = Ground::fresh().await;
    let node = ground.node().await;
    for (new, place) in [
        (NewAccount { email: "anna".into(), ..anna() }, "/email"),
        (NewAccount { name: "An\u{202e}na".into(), ..anna() }, "/name"),
        (NewAccount { password: "1234567".into(), ..anna() }, "/password"),
        (NewAccount { password: "anna@example.org".into(), ..anna() }, "/password"),
        (NewAccount { password: "x".repeat(1025).into(), ..anna() }, "/password"),
    ] {
        let Err(Error::Invalid(violations)) = node.register(new, HOME).await else { panic!("{place} was taken") };
        assert_eq!(violations[0].pointer, place);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn guessing_is_slowed_down_on_every_node_and_over_restarts() {
    let ground = Ground::fresh().await;
    let node = ground.node_with(&ground.ring, strict()).await;
    node.register(anna(), HOME).await.unwrap();
    let guess = |node: dinehub::identity::Identity, from| async move {
        node.login("anna@example.org", "guess-guess-guess".into(), from).await.unwrap_err()
    };
    assert_eq!(guess(node.clone(), source(1)).await.status(), 401);
    assert_eq!(guess(node.clone(), source(1)).await.status(), 401, "the second costs a wait");
    assert!(matches!(guess(node.clone(), source(1)).await, Error::Throttled { retry_after_s: 1..=60 }));
    drop(node);
    let other = ground.node_with(&ground.ring, strict()).await;
    assert_eq!(guess(other.clone(), source(1)).await.status(), 429);
    assert_eq!(guess(other.clone(), source(2)).await.status(), 401, "the third attempt on the account costs a wait");
    assert_eq!(guess(other.clone(), source(3)).await.status(), 429, "another source does not help");
    let right = other.login("anna@example.org", PASSWORD.into(), source(3)).await.unwrap_err();
    assert_eq!(right.status(), 429, "nor does the right password: it is not looked at");
    let unknown = other.login("nobody@example.org", PASSWORD.into(), source(4)).await.unwrap_err();
    assert_eq!(unknown.status(), 401);
    for (from, expected) in [(4, 401), (4, 429), (5, 401), (6, 429)] {
        let answer = other.login("nobody@example.org", PASSWORD.into(), source(from)).await.unwrap_err();
        assert_eq!(answer.status(), expected, "an unknown address is slowed down in the same way");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn attempts_at_once_are_counted_as_many() {
    let ground = Ground::fresh().await;
    let node = ground.node_with(&ground.ring, strict()).await;
    node.register(anna(), HOME).await.unwrap();
    let guesses = (0..8).map(|_| node.login("anna@example.org", "guess-guess-guess".into(), source(1)));
    let answers = futures::future::join_all(guesses).await;
    let looked_at = answers.iter().filter(|answer| matches!(answer, Err(Error::Unauthenticated(_)))).count();
    assert_eq!(looked_at, 2, "{answers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn strangers_cannot_lock_an_owner_out() {
    let ground = Ground::fresh().await;
    let node = ground.node_with(&ground.ring, strict()).await;
    anna_at(&node).await;
    for stranger in 1..=5 {
        let _ = node.login("anna@example.org", "guess-guess-guess".into(), source(stranger)).await;
    }
    assert_eq!(node.login("anna@example.org", PASSWORD.into(), source(9)).await.unwrap_err().status(), 429);
    node.login("anna@example.org", PASSWORD.into(), HOME).await.expect("from where she logged in before");
    ground.sql("update dinehub.throttle set blocked_until = now()").await;
    node.login("anna@example.org", PASSWORD.into(), source(9)).await.expect("from anywhere, after the wait");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn role_changes_end_tokens_that_name_the_old_roles() {
    let ground = Ground::fresh().await;
    let node = ground.node().await;
    let session = anna_at(&node).await;
    assert_eq!(actor(&node, &session).unwrap().roles(), [role("USER")]);
    node.set_roles(session.account.id, &[role("ADMIN")]).await.unwrap();
    assert!(matches!(actor(&node, &session), Err(Error::Unauthenticated(Unproven::Revoked))));
    assert_eq!(actor(&node, &login(&node).await).unwrap().roles(), [role("ADMIN")]);
    let missing = node.set_roles(dinehub::id::AccountId::fresh(), &[role("ADMIN")]).await;
    assert!(matches!(missing, Err(Error::NotFound)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_account_is_found_by_its_token_its_address_and_in_the_list() {
    let ground = Ground::fresh().await;
    let node = ground.node().await;
    let session = anna_at(&node).await;
    let me = node.me(&actor(&node, &session).unwrap()).await.unwrap();
    assert_eq!(me, session.account);
    assert_eq!(node.find_by_email("ANNA@example.org").await.unwrap().as_ref(), Some(&me));
    assert_eq!(node.list(None, 10).await.unwrap(), std::slice::from_ref(&me));
    assert_eq!(node.list(Some(me.id), 10).await.unwrap(), []);
    let json = serde_json::to_value(&me).unwrap();
    assert_eq!(json["roles"], serde_json::json!(["USER"]));
    assert!(json["created_at"].as_str().unwrap().ends_with('Z'), "{json}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn passwords_are_argon2id_at_rest_and_nowhere_else() {
    let ground = Ground::fresh().await;
    let node = ground.node().await;
    let session = anna_at(&node).await;
    let rows = connect(&ground.database.admin()).await.query("select password_hash from dinehub.account", &[]).await;
    let hash: String = rows.unwrap()[0].get(0);
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    let printed = format!("{:?} {:?} {node:?}", anna(), session);
    assert!(!printed.contains(PASSWORD) && !printed.contains("eyJ") && !printed.contains("argon2"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_host_cannot_make_tables_or_give_an_account_another_id() {
    let ground = Ground::fresh().await;
    let control = format!("{}_control", ground.database.admin().database);
    for forbidden in ["create table dinehub.x (x int)", "update dinehub.account set id = id"] {
        let session = connect(&ground.database.admin()).await;
        session.batch_execute(&format!("set role \"{control}\"")).await.unwrap();
        let refused = session.batch_execute(forbidden).await.unwrap_err();
        assert_eq!(refused.code().map(|code| code.code().to_owned()).as_deref(), Some("42501"), "{forbidden}");
    }
}
