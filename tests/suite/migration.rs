//! A plugin's migrations are somebody else's text: what it may not do, and that what ran is remembered.

use dinehub::{
    database::{
        drift::{self, Difference},
        grant, migrate,
        session::Session,
        statement::Statement,
        target::Target,
    },
    error::Setup,
};
use harness::database::{Database, connect};
use secrecy::SecretString;

use crate::shop::{SCHEMA, draft, id, migration, prove_all};

fn password(_: &str) -> SecretString {
    "correct horse".to_owned().into()
}

/// A host database with the logins of `ordering`; gives the owner's login.
async fn prepare(database: &Database) -> Target {
    let admin = database.admin();
    migrate::host(&admin).await.unwrap_or_else(|fault| panic!("{fault}"));
    connect(&admin).await.batch_execute("create schema if not exists platform").await.unwrap();
    let (session, roles) = (Session::open(&admin).await.unwrap(), grant::Roles::of(&admin.database, &id()).unwrap());
    let missing = grant::roles(&session, &admin.database, &roles.logins(), &password, None).await.unwrap();
    assert_eq!(drift::repair(&session, &missing, &mut |_| {}).await.unwrap(), 3);
    session.run(&format!("create schema ordering authorization {}", roles.owner)).await.unwrap();
    let entry = grant::owner_differences(&session, &admin.database, &id()).await.unwrap();
    drift::repair(&session, &entry, &mut |_| {}).await.unwrap();
    grant::close(&session).await.unwrap();
    admin.login(&roles.owner, password(""))
}

/// Every difference of roles, grants and what is PUBLIC's.
async fn differences(admin: &Target, statements: &[Statement]) -> Vec<Difference> {
    let (session, roles) = (Session::open(admin).await.unwrap(), grant::Roles::of(&admin.database, &id()).unwrap());
    let mut all = grant::roles(&session, &admin.database, &roles.logins(), &password, None).await.unwrap();
    all.extend(grant::differences(&session, &admin.database, &id(), statements).await.unwrap());
    all.extend(grant::closed(&session).await.unwrap());
    all
}

/// Repairs them; what a repair brings to light as well.
async fn apply(admin: &Target, statements: &[Statement]) {
    let session = Session::open(admin).await.unwrap();
    while drift::repair(&session, &differences(admin, statements).await, &mut |_| {}).await.unwrap() > 0 {}
}

async fn run(database: &Database, owner: &Target, files: &[(&str, &str)]) -> Setup<()> {
    let files: Vec<_> = files.iter().map(|(name, text)| migration(name, text)).collect();
    migrate::plugin(&database.admin(), owner, &id(), &files).await.map(drop)
}

const TABLE: &str = "create table ordering.a (x int4);
    alter table ordering.a enable row level security; alter table ordering.a force row level security;
    create policy p on ordering.a using (true);";

#[tokio::test]
async fn hostile_migrations_leave_nothing_behind() {
    let database = Database::fresh().await;
    let owner = prepare(&database).await;
    let admin = connect(&database.admin()).await;
    admin.batch_execute("create table dinehub.precious (x int)").await.unwrap();
    for (attack, reason) in [
        ("commit; drop table ordering.a", "transaction commands"),
        ("rollback; create table ordering.b (x int)", "transaction commands"),
        ("end; begin", "transaction commands"),
        ("savepoint s", "transaction commands"),
        ("commit and chain", "transaction commands"),
        ("do $$ begin commit; end $$", "invalid transaction termination"),
        ("'; end'; commit; --", "syntax error"),
        (r"\'; end'; commit; --", "syntax error"),
        ("set role postgres", "permission denied"),
        ("set session authorization postgres", "permission denied"),
        ("reset role; drop table dinehub.precious", "permission denied"),
        ("reset session authorization; create role evil superuser", "must be superuser"),
        ("insert into dinehub.plugin_migration values ('x', 'y', 'z')", "permission denied"),
        ("create table dinehub.mine (x int)", "permission denied"),
        ("create table public.mine (x int)", "permission denied"),
        ("alter role current_user superuser", "must be superuser"),
        ("grant select on dinehub.precious to public", "permission denied"),
        ("copy ordering.a to program 'true'", "must be superuser"),
        ("create function ordering.f() returns int language sql return 1", "is a function"),
        ("set search_path = ordering; create table ordering.pg_proc (x int)", "no row level security"),
    ] {
        let text = format!("{TABLE}{attack}");
        let fault = run(&database, &owner, &[("0001.sql", &text)])
            .await
            .map(|()| String::new())
            .unwrap_or_else(|f| f.to_string());
        assert!(fault.contains(reason), "{attack}: {fault:?}");
        let left: i64 = admin
            .query_one(
                "select (select count(*) from pg_class where relnamespace = 'ordering'::regnamespace)
                      + (select count(*) from dinehub.plugin_migration)",
                &[],
            )
            .await
            .unwrap()
            .get(0);
        assert_eq!(left, 0, "{attack}");
    }
}

#[tokio::test]
async fn a_file_that_ran_may_not_change_vanish_or_get_an_older_sibling() {
    let database = Database::fresh().await;
    let owner = prepare(&database).await;
    run(&database, &owner, &[("0001.sql", "select 1"), ("0003.sql", TABLE)]).await.unwrap();
    for (files, reason) in [
        (vec![("0001.sql", "select 2"), ("0003.sql", TABLE)], "its text has changed"),
        (vec![("0003.sql", TABLE)], "file is missing"),
        (vec![("0001.sql", "select 1"), ("0002.sql", "select 1"), ("0003.sql", TABLE)], "comes before 0003.sql"),
    ] {
        let fault = run(&database, &owner, &files).await.unwrap_err().to_string();
        assert!(fault.contains(reason), "{fault}");
    }
    run(&database, &owner, &[("0001.sql", "select 1"), ("0003.sql", TABLE)]).await.unwrap();
    run(
        &database,
        &owner,
        &[("0001.sql", "select 1"), ("0003.sql", TABLE), ("0004.sql", "alter table ordering.a add y int4")],
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_record_whose_end_is_unknown_is_settled_by_the_transaction() {
    let database = Database::fresh().await;
    let owner = prepare(&database).await;
    let admin = connect(&database.admin()).await;
    run(&database, &owner, &[("0001.sql", TABLE)]).await.unwrap();
    // As a host leaves it that dies between the commit and the record, and one that dies before the commit.
    admin.execute("update dinehub.plugin_migration set running = pg_current_xact_id()", &[]).await.unwrap();
    admin.batch_execute("begin").await.unwrap();
    let aborted: String = admin.query_one("select pg_current_xact_id()::text", &[]).await.unwrap().get(0);
    admin.batch_execute("rollback").await.unwrap();
    let sql = "insert into dinehub.plugin_migration (plugin, name, sha256, running) values ('ordering', '0002.sql', '', $1::text::xid8)";
    admin.execute(sql, &[&aborted]).await.unwrap();
    run(&database, &owner, &[("0001.sql", TABLE)]).await.unwrap();
    let state: (bool, i64) = {
        let row = admin
            .query_one("select bool_and(running is null), count(*) from dinehub.plugin_migration", &[])
            .await
            .unwrap();
        (row.get(0), row.get(1))
    };
    assert_eq!(state, (true, 1));
}

async fn statements(database: &Database) -> Vec<Statement> {
    use dinehub::database::statement::Arity;
    let drafts = [
        draft("select id, note from ordering.purchase where account_id = $1", Arity::Optional, 1),
        draft("update ordering.purchase set note = $1 where id = $2", Arity::Count, 2),
        draft("delete from ordering.line where purchase_id = $1", Arity::Count, 1),
    ];
    prove_all(&database.admin(), &drafts).await.into_iter().map(Result::unwrap).collect()
}

#[tokio::test]
async fn grants_are_exactly_what_statements_ask_and_drift_is_seen() {
    let database = Database::fresh().await;
    let admin = database.admin();
    let owner = prepare(&database).await;
    connect(&admin)
        .await
        .batch_execute(
            "create or replace function platform.caller_id() returns uuid language sql return null::uuid;
             create or replace function platform.caller_has(role text) returns boolean language sql return false;
             create or replace function platform.caller_kind() returns text language sql return ''",
        )
        .await
        .unwrap();
    run(&database, &owner, &[("0001.sql", SCHEMA)]).await.unwrap();
    let statements = statements(&database).await;
    assert!(!differences(&admin, &statements).await.is_empty(), "nothing is granted yet");
    apply(&admin, &statements).await;
    let roles = grant::Roles::of(&admin.database, &id()).unwrap();
    let session = connect(&admin).await;
    for (drift, expected) in [
        (format!("grant select on ordering.purchase to {}", roles.ro), "holds select on table"),
        (format!("grant select (total_cents) on ordering.purchase to {}", roles.rw), "total_cents"),
        ("grant select on ordering.purchase to public".to_owned(), "public holds select"),
        (format!("revoke select (note) on ordering.purchase from {}", roles.ro), "lacks select (\"note\")"),
        (format!("grant update (note) on ordering.purchase to {} with grant option", roles.rw), "with grant option"),
        (format!("grant usage on schema dinehub to {}", roles.ro), "holds usage on schema \"dinehub\""),
        ("grant temporary on database %db to public".to_owned(), "public holds temporary on database"),
        (
            "grant execute on function pg_catalog.pg_sleep(double precision) to public".to_owned(),
            "may execute pg_catalog.pg_sleep",
        ),
    ] {
        session.batch_execute(&drift.replace("%db", &admin.database)).await.unwrap();
        let found = differences(&admin, &statements).await;
        assert!(found.iter().any(|one| one.what.contains(expected)), "{drift}: {found:?}");
        apply(&admin, &statements).await;
        assert!(differences(&admin, &statements).await.is_empty(), "{drift}");
    }
    for (drift, expected) in [
        (format!("alter role {} set search_path = evil", roles.rw), "has the setting"),
        (format!("grant pg_read_all_data to {}", roles.ro), "is a member of"),
        (format!("alter role {} createdb", roles.rw), "may create databases"),
    ] {
        session.batch_execute(&drift).await.unwrap();
        let found = differences(&admin, &statements).await;
        assert!(found.iter().any(|one| one.what.contains(expected)), "{drift}: {found:?}");
        apply(&admin, &statements).await;
        assert!(differences(&admin, &statements).await.is_empty(), "{drift}");
    }
}

#[tokio::test]
async fn a_plugins_login_may_what_it_was_granted_and_no_more() {
    let database = Database::fresh().await;
    let admin = database.admin();
    let owner = prepare(&database).await;
    connect(&admin)
        .await
        .batch_execute(
            "create or replace function platform.caller_id() returns uuid language sql return null::uuid;
        create or replace function platform.caller_has(role text) returns boolean language sql return false",
        )
        .await
        .unwrap();
    run(&database, &owner, &[("0001.sql", SCHEMA)]).await.unwrap();
    apply(&admin, &statements(&database).await).await;
    let roles = grant::Roles::of(&admin.database, &id()).unwrap();
    let ro = connect(&admin.login(&roles.ro, password(""))).await;
    ro.query("select id, note from ordering.purchase where account_id = null", &[]).await.unwrap();
    for sql in [
        "select total_cents from ordering.purchase",
        "update ordering.purchase set note = ''",
        "delete from ordering.line",
        "select pg_sleep(0)",
        "select set_config('a.b', 'c', false)",
        "select query_to_xml('select 1', true, true, '')",
        "select lo_create(0)",
        "select pg_advisory_lock(1)",
        "create temp table x (y int)",
        "create table public.x (y int)",
    ] {
        let error = ro.query(sql, &[]).await.unwrap_err();
        assert_eq!(error.code().map(|code| code.code()), Some("42501"), "{sql}: {error}");
    }
}
