//! A node's identity over a migrated database: what the identity tests stand on.
//!
//! Tests that have nodes run on two threads: dropping the database blocks the test's own, and a node that is just then
//! logging in must be able to finish, or PostgreSQL waits for it until `authentication_timeout`.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use dinehub::{
    database::target::Target,
    error::{Error, Unproven},
    id::Role,
    identity::{Identity, Policy, Rings, account::NewAccount, actor::Actor, login::Pass},
    secret::ring::{Key, Ring},
};
use harness::database::{Database, connect};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{PgPool, postgres::PgPoolOptions};

pub(crate) const PASSWORD: &str = "plum-harbor-lantern";
pub(crate) const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));

/// A database with the host's schema, and the ring all its nodes share.
pub(crate) struct Ground {
    pub(crate) database: Database,
    pub(crate) ring: Ring,
    account: Ring,
    control: Target,
}

impl Ground {
    pub(crate) async fn fresh() -> Self {
        let database = Database::fresh().await;
        let control = migrate(&database.admin()).await;
        Self {
            database,
            ring: Ring::of(Key::generate("2026-11").unwrap()),
            account: Ring::of(Key::generate("2026-11").unwrap()),
            control,
        }
    }

    /// One more node.
    pub(crate) async fn node(&self) -> Identity {
        self.node_with(&self.ring, Policy { newcomer: vec![role("USER")], ..Policy::default() }).await
    }

    pub(crate) async fn node_with(&self, ring: &Ring, policy: Policy) -> Identity {
        let rings = Rings { tokens: ring, account: &self.account };
        Identity::open(pool(&self.control).await, rings, policy).await.unwrap()
    }

    /// As the superuser, behind the host's back.
    pub(crate) async fn sql(&self, text: &str) {
        connect(&self.database.admin()).await.batch_execute(text).await.unwrap();
    }
}

/// Applies the host's migrations and gives the login of its runtime.
pub(crate) async fn migrate(admin: &Target) -> Target {
    let migrating = PgPoolOptions::new().max_connections(1).connect_with(admin.sqlx()).await.unwrap();
    sqlx::migrate!("../migrations").run(&migrating).await.unwrap();
    migrating.close().await;
    let user = format!("{}_control", admin.database);
    let set = format!("alter role \"{user}\" login password 'only in tests'");
    connect(admin).await.batch_execute(&set).await.unwrap();
    admin.login(&user, "only in tests".into())
}

pub(crate) async fn pool(target: &Target) -> PgPool {
    PgPoolOptions::new()
        .max_connections(4)
        .acquire_timeout(Duration::from_secs(2))
        .connect_with(target.sqlx())
        .await
        .unwrap()
}

pub(crate) fn role(name: &str) -> Role {
    name.parse().unwrap()
}

pub(crate) fn anna() -> NewAccount {
    NewAccount { email: "anna@example.org".into(), name: "Anna".into(), password: PASSWORD.into() }
}

/// Registers Anna and logs her in.
pub(crate) async fn anna_at(node: &Identity) -> Pass {
    node.register(anna(), HOME).await.unwrap();
    login(node).await
}

pub(crate) async fn login(node: &Identity) -> Pass {
    node.login("anna@example.org", PASSWORD.into(), HOME).await.unwrap().done().expect("no factor is asked for")
}

pub(crate) fn bearer(token: &SecretString) -> HeaderMap {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).unwrap();
    value.set_sensitive(true);
    HeaderMap::from_iter([(AUTHORIZATION, value)])
}

/// Whether a pass was taken back.
pub(crate) fn is_revoked(node: &Identity, pass: &Pass) -> bool {
    matches!(actor(node, pass), Err(Error::Unauthenticated(Unproven::Revoked)))
}

/// Who a session is at a node.
pub(crate) fn actor(node: &Identity, session: &Pass) -> Result<Actor, Error> {
    node.actor(&bearer(&session.access.text))
}

/// Asks until it is so, or for ten seconds.
pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}: not within ten seconds");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
