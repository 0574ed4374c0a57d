//! Drift: each thing that can be changed behind the host's back is named, is refused by `serve`, and is either made right
//! by `apply` or left to a person with its name and the way out.

use dinehub::{
    command::{install, start::Rings},
    database::{drift::Repair, target::Target},
    error::Setup,
    plugin::approval::Admission,
};
use harness::{
    database::{Database, connect},
    server::{Server, admitted_features, rings},
};
use tokio_postgres::Client;

struct Ground {
    database: Database,
    rings: Rings,
    packages: Vec<Admission>,
    sql: Client,
}

impl Ground {
    /// A database that was applied.
    async fn open() -> Self {
        let database = Database::fresh().await;
        let sql = connect(&database.admin()).await;
        let ground = Self { database, rings: rings(), packages: admitted_features().await, sql };
        ground.apply().await.unwrap_or_else(|fault| panic!("{fault}"));
        ground
    }

    fn admin(&self) -> Target {
        self.database.admin()
    }

    async fn apply(&self) -> Setup<()> {
        install::install(&self.admin(), &self.rings, &self.packages).await
    }

    async fn ensure(&self) -> Setup<()> {
        install::ensure(&self.admin(), &self.rings, &self.packages).await
    }

    async fn drift(&self) -> Vec<String> {
        let found = install::differences(&self.admin(), &self.rings, &self.packages).await;
        found.unwrap_or_else(|fault| panic!("{fault}")).iter().map(ToString::to_string).collect()
    }

    /// `%` becomes the beginning of this database's roles.
    async fn tamper(&self, sql: &str) {
        let sql = sql.replace('%', &format!("{}_", self.admin().database)).replace("<db>", &self.admin().database);
        self.sql.batch_execute(&sql).await.unwrap_or_else(|why| panic!("{sql}: {why:?}"));
    }

    /// The change is named by `differences`, and by `ensure`, which did not make it right.
    async fn is_seen(&self, sql: &str, said: &str) {
        let said = said.replace('%', &format!("{}_", self.admin().database)).replace("<db>", &self.admin().database);
        let found = self.drift().await;
        assert!(found.iter().any(|line| line.contains(&said)), "{sql}: {said}: {found:#?}");
        let fault = self.ensure().await.unwrap_err().to_string();
        assert!(fault.contains(&said) && fault.contains("dinehub db plan"), "{sql}: {fault}");
    }
}

/// What somebody did, and what is said of it. `apply` makes all of it right.
const REPAIRED: &[(&str, &str)] = &[
    // grants
    ("grant select on ordering.customer_order to public", "ordering: public holds select on table"),
    (
        "grant update (customer_id) on ordering.customer_order to %ordering_rw",
        "%ordering_rw holds update (\"customer_id\")",
    ),
    ("grant select (id) on ordering.customer_order to %ordering_ro with grant option", "with grant option"),
    ("revoke select (state) on ordering.customer_order from %ordering_ro", "%ordering_ro lacks select (\"state\")"),
    ("grant usage on schema restaurants to %ordering_ro", "%ordering_ro holds usage on schema \"restaurants\""),
    ("grant create on schema ordering to %ordering_rw", "%ordering_rw holds create on schema"),
    ("grant select on platform.proof to %control", "host: %control holds select on table \"platform\".\"proof\""),
    ("grant execute on function platform.mac(text, text, text) to %ordering_ro", "%ordering_ro holds execute"),
    (
        "grant execute on function platform.mac(text, text, text) to public",
        "public holds execute on function \"platform\".\"mac\"",
    ),
    ("grant select on dinehub.account to public", "host: public holds select on table \"dinehub\".\"account\""),
    ("revoke select on dinehub.throttle from %control", "%control lacks select on table \"dinehub\".\"throttle\""),
    ("grant execute on function pg_catalog.lo_create(oid) to %ordering_rw", "%ordering_rw holds execute"),
    // what PUBLIC may not
    ("grant temporary on database <db> to public", "public holds temporary on database"),
    ("grant usage on schema public to public", "public holds usage on schema public"),
    (
        "grant execute on function pg_catalog.pg_sleep(double precision) to public",
        "public may execute pg_catalog.pg_sleep",
    ),
    ("revoke execute on function pg_catalog.set_config(text, text, boolean) from %identity", "%identity lacks execute"),
    // roles
    ("alter role %ordering_rw createdb", "%ordering_rw may create databases"),
    ("alter role %ordering_rw bypassrls superuser", "%ordering_rw is a superuser, may bypass row level security"),
    ("alter role %control createrole", "%control may create roles"),
    ("alter role %identity login", "%identity may log in"),
    ("alter role %ordering_ro nologin", "%ordering_ro may not log in"),
    ("alter role %ordering_ro connection limit -1", "%ordering_ro may hold -1 connections"),
    ("alter role %ordering_ro valid until '2001-01-01'", "%ordering_ro ends at 2001"),
    ("alter role %restaurants_owner password 'mine'", "%restaurants_owner does not log in"),
    ("alter role %ordering_rw set search_path = evil", "%ordering_rw has the setting search_path=evil"),
    ("alter role %ordering_rw in database postgres set jit = on", "has the setting jit=on in database \"postgres\""),
    ("grant %ordering_rw to %restaurants_ro", "%restaurants_ro is a member of %ordering_rw"),
    ("grant pg_read_all_data to %ordering_ro", "%ordering_ro is a member of pg_read_all_data"),
    ("grant %identity to %control", "%control is a member of %identity"),
    // row level security
    ("alter table ordering.customer_order disable row level security", "`disabled, forced`"),
    ("alter table ordering.customer_order no force row level security", "`enabled, not forced`"),
    (
        "create policy everybody on ordering.customer_order using (true)",
        "policy everybody on ordering.customer_order is made by no migration",
    ),
    (
        "drop policy menu_item_is_public on restaurants.menu_item",
        "policy menu_item_is_public on restaurants.menu_item is missing",
    ),
    (
        "alter policy menu_item_is_public on restaurants.menu_item using (true)",
        "policy menu_item_is_public on restaurants.menu_item is `as permissive for select to public using (true)`",
    ),
    (
        "alter policy opening_is_public on restaurants.opening to %control",
        "policy opening_is_public on restaurants.opening is",
    ),
    (
        "drop policy opening_is_public on restaurants.opening;
         create policy opening_is_public on restaurants.opening as restrictive for select
           using ((select platform.caller_kind()) is not null)",
        "as restrictive",
    ),
    // code and objects that no migration made
    ("create function ordering.f() returns int language sql return 1", "function ordering.f() is made by no migration"),
    (
        "create trigger t before update on ordering.customer_order for each row
         execute function suppress_redundant_updates_trigger()",
        "trigger t on ordering.customer_order is made by no migration",
    ),
    ("alter table ordering.order_line disable trigger all", "somebody switched it off"),
    ("create view ordering.v as select * from ordering.customer_order", "view ordering.v is made by no migration"),
    ("create materialized view ordering.v as select 1 as x", "materialized view ordering.v is made by no migration"),
    ("create rule r as on delete to ordering.customer_order do instead nothing", "rule r on ordering.customer_order"),
    ("create domain ordering.d as text", "type ordering.d is made by no migration"),
    (
        "alter table ordering.order_line drop constraint order_line_quantity_is_sane",
        "order_line_quantity_is_sane on ordering.order_line is missing",
    ),
    (
        "alter table ordering.order_line add constraint c check (position > 1)",
        "constraint c on ordering.order_line is made by no migration",
    ),
    ("drop index ordering.order_by_customer", "index ordering.order_by_customer on ordering.customer_order is missing"),
    (
        "create index mine on ordering.customer_order (note)",
        "index ordering.mine on ordering.customer_order is made by no migration",
    ),
    // owners
    ("alter schema ordering owner to %ordering_rw", "schema ordering is owned by %ordering_rw, not by %ordering_owner"),
    ("alter table ordering.order_line owner to postgres", "table ordering.order_line is owned by postgres"),
    ("alter table platform.proof owner to %control", "table platform.proof is owned by %control, not by %identity"),
    ("alter type ordering.order_state owner to postgres", "type ordering.order_state is owned by postgres"),
    // the host's own
    (
        "create or replace function platform.caller_has(role text) returns boolean language plpgsql stable
         security definer set search_path = pg_catalog, pg_temp as $$ begin return true; end $$",
        "host: function platform.caller_has(role text) has another body",
    ),
    ("alter function platform.assume(text, uuid, text, text, int) reset search_path", "has another body"),
    (
        "create function platform.back_door() returns int language sql return 1",
        "function platform.back_door() is made by no migration",
    ),
    ("drop index dinehub.throttle_charged_at", "index dinehub.throttle_charged_at on dinehub.throttle is missing"),
    ("alter table dinehub.account drop constraint account_password_is_argon2id", "account_password_is_argon2id"),
    (
        "alter default privileges for role %identity grant execute on functions to public",
        "new functions of the host would be open to public",
    ),
    ("delete from dinehub.admission where plugin = 'ordering'", "ordering: this artefact is not the one"),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_made_right_is_seen_refused_and_made_right() {
    let ground = Ground::open().await;
    assert_eq!(ground.drift().await, Vec::<String>::new());
    ground.ensure().await.unwrap_or_else(|fault| panic!("{fault}"));
    for (sql, said) in REPAIRED {
        ground.tamper(sql).await;
        ground.is_seen(sql, said).await;
        ground.apply().await.unwrap_or_else(|fault| panic!("{sql}: {fault}"));
        ground.ensure().await.unwrap_or_else(|fault| panic!("{sql}: {fault}"));
    }
}

/// What somebody did, what is said of it, and how the person who reads it makes it right.
const LEFT: &[(&str, &str, &str)] = &[
    (
        "create table ordering.extra (x int)",
        "table ordering.extra is made by no migration",
        "drop table ordering.extra",
    ),
    (
        "alter table ordering.customer_order add column extra int",
        "column extra on ordering.customer_order is made by no migration",
        "alter table ordering.customer_order drop column extra",
    ),
    (
        "alter table ordering.customer_order alter note set not null",
        "column note on ordering.customer_order is `text not null`, wanted `text`",
        "alter table ordering.customer_order alter note drop not null",
    ),
    (
        "alter table ordering.customer_order alter state set default 'completed'",
        "column state on ordering.customer_order is",
        "alter table ordering.customer_order alter state set default 'placed'",
    ),
    (
        "alter table restaurants.opening rename to moved",
        "table restaurants.opening is missing",
        "alter table restaurants.moved rename to opening",
    ),
    (
        "alter table ordering.order_line set unlogged",
        "table ordering.order_line is `unlogged`",
        "alter table ordering.order_line set logged",
    ),
    ("create sequence ordering.s", "sequence ordering.s is made by no migration", "drop sequence ordering.s"),
    (
        "create collation ordering.c from \"C\"",
        "object collation ordering.c is made by no migration",
        "drop collation ordering.c",
    ),
    (
        "alter default privileges for role %ordering_owner grant select on tables to public",
        "default privileges on tables for %ordering_owner",
        "alter default privileges for role %ordering_owner revoke select on tables from public",
    ),
    (
        "create table public.hers (x int); alter table public.hers owner to %ordering_ro",
        "%ordering_ro owns table public.hers",
        "drop table public.hers",
    ),
    (
        "grant set on parameter session_replication_role to %ordering_rw",
        "%ordering_rw holds a privilege on parameter session_replication_role",
        "revoke set on parameter session_replication_role from %ordering_rw",
    ),
    (
        "create table dinehub.extra (x int)",
        "host: table dinehub.extra is made by no migration",
        "drop table dinehub.extra",
    ),
    (
        "update dinehub.plugin_migration set sha256 = 'x' where plugin = 'ordering' and name = '0001_orders.sql'",
        "migrations/0001_orders.sql: has run here, and its text has changed since",
        "",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_would_lose_data_is_named_and_left() {
    let ground = Ground::open().await;
    for (sql, said, undo) in LEFT {
        ground.tamper(sql).await;
        ground.is_seen(sql, said).await;
        let said = said.replace('%', &format!("{}_", ground.admin().database));
        let fault = ground.apply().await.unwrap_err().to_string();
        assert!(fault.contains(&said), "{sql}: {fault}");
        assert!(ground.drift().await.iter().any(|line| line.contains(&said)), "{sql}: it was not left");
        ground.tamper(undo).await;
        if !undo.is_empty() {
            ground.apply().await.unwrap_or_else(|fault| panic!("{undo}: {fault}"));
            assert_eq!(ground.drift().await, Vec::<String>::new(), "{undo}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_difference_that_a_person_must_end_says_how() {
    let ground = Ground::open().await;
    ground.tamper("create table ordering.extra (x int); alter table ordering.customer_order drop column note").await;
    let found = install::differences(&ground.admin(), &ground.rings, &ground.packages).await.unwrap();
    let ways: Vec<&String> = found
        .iter()
        .filter_map(|one| match &one.repair {
            Repair::Hand(way) => Some(way),
            _ => None,
        })
        .collect();
    assert!(ways.len() >= 2 && ways.iter().all(|way| !way.is_empty()), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evil_name_does_not_run_as_sql_when_it_is_repaired() {
    let ground = Ground::open().await;
    let evil = r#"x" on a.b; drop table ordering.order_line cascade; --"#;
    let quoted = evil.replace('"', "\"\"");
    ground
        .tamper(&format!(
            "create policy \"{quoted}\" on ordering.order_line using (true);
             alter table ordering.order_line add constraint \"{quoted}\" check (true);
             create table ordering.\"{quoted}\" (x int, constraint \"c\" check (x > 1));
             create function ordering.\"{quoted}\"() returns int language sql return 1;
             create trigger \"{quoted}\" before update on ordering.order_line for each row
               execute function suppress_redundant_updates_trigger()"
        ))
        .await;
    let fault = ground.apply().await.unwrap_err().to_string();
    assert!(fault.contains("is made by no migration"), "{fault}");
    ground.tamper(&format!("drop table ordering.\"{quoted}\"")).await;
    ground.apply().await.unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(ground.drift().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_host_whose_database_was_tampered_with_does_not_start_again() {
    let server = Server::start().await;
    let packages = admitted_features().await;
    let admin = server.database.admin();
    install::ensure(&admin, &server.rings, &packages).await.unwrap_or_else(|fault| panic!("{fault}"));
    let sql = "create policy everybody on ordering.customer_order for select using (true)";
    connect(&admin).await.batch_execute(sql).await.unwrap();
    let fault = install::ensure(&admin, &server.rings, &packages).await.unwrap_err().to_string();
    assert!(fault.contains("ordering: policy everybody on ordering.customer_order"), "{fault}");
}
