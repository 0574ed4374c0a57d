//! Attacks on the identity of a transaction, by a plugin's login that can run any SQL (3-capabilities §3.4).

use harness::{database::connect, shop::Shop};
use tokio_postgres::{Client, types::Type};

const ALICE: &str = "a11ce000-0000-4000-8000-000000000001";
const BOB: &str = "b0b00000-0000-4000-8000-000000000002";

/// A plugin's session whose token only the host, here the test, knows.
async fn session(shop: &Shop) -> Client {
    let session = connect(&shop.target("alpha_rw")).await;
    let pid: i32 = session.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    let control = connect(&shop.target("control")).await;
    let register = "insert into platform.connection (pid, token_sha256) values ($1, sha256('token'))";
    control.execute(register, &[&pid]).await.unwrap();
    session
}

/// What the host does at the start of a transaction.
pub(crate) async fn begin(session: &Client, kind: &str, id: &str, roles: &str) {
    session.batch_execute("BEGIN").await.unwrap();
    assume(session, Some(kind), Some(id), Some(roles), Some("token"), Some(1000)).await.unwrap();
}

async fn assume(
    session: &Client,
    kind: Option<&str>,
    id: Option<&str>,
    roles: Option<&str>,
    token: Option<&str>,
    timeout_ms: Option<i32>,
) -> Result<(), String> {
    let id: Option<uuid::Uuid> = id.map(|id| id.parse().unwrap());
    let assume = "select platform.assume($1, $2, $3, $4, $5)";
    session
        .execute_typed(
            assume,
            &[
                (&kind, Type::TEXT),
                (&id, Type::UUID),
                (&roles, Type::TEXT),
                (&token, Type::TEXT),
                (&timeout_ms, Type::INT4),
            ],
        )
        .await
        .map(drop)
        .map_err(code)
}

pub(crate) fn code(error: tokio_postgres::Error) -> String {
    error.code().map_or_else(|| error.to_string(), |code| code.code().to_owned())
}

async fn refused(session: &Client, sql: &str) {
    let done = session.batch_execute(sql).await.map_err(code);
    assert_eq!(done, Err("42501".to_owned()), "{sql}");
    let _ = session.batch_execute("ROLLBACK").await;
}

pub(crate) async fn caller(session: &Client) -> String {
    session.query_one("select platform.caller_id()::text", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_caller_that_the_session_writes_itself_is_refused() {
    let shop = Shop::open().await;
    let session = session(&shop).await;
    // Without a row no policy is asked.
    let note = format!("insert into shop.note (owner, text) values ('{ALICE}', 'hers')");
    connect(&shop.admin()).await.batch_execute(&note).await.unwrap();
    let zero = "0".repeat(64);
    for forged in [
        "".to_owned(),
        "|||".to_owned(),
        format!("user|{ALICE}|USER"),
        format!("user|{ALICE}||"),
        format!("user|{ALICE}|USER|{zero}"),
        format!("user|{ALICE}|USER|{zero}|{zero}"),
        format!("||| {zero}"),
        format!("user||USER|{zero}"),
    ] {
        for set in [
            format!("BEGIN; SET LOCAL dinehub.caller = '{forged}'; SELECT platform.caller_id()"),
            format!("BEGIN; SELECT set_config('dinehub.caller', '{forged}', true), platform.caller_kind()"),
            format!(
                "BEGIN; SELECT set_config('dinehub.caller', '{forged}', false); SELECT platform.caller_has('ADMIN')"
            ),
            format!("BEGIN; SET LOCAL dinehub.caller = '{forged}'; SELECT * FROM shop.note"),
        ] {
            refused(&session, &set).await;
        }
    }
    refused(&session, "SELECT platform.caller_id()").await;
    refused(&session, "SELECT platform.caller_has(NULL)").await;
}

#[tokio::test]
async fn a_statement_of_identity_serves_no_other_transaction_session_or_role_list() {
    let shop = Shop::open().await;
    let (one, two) = (session(&shop).await, session(&shop).await);
    begin(&one, "user", ALICE, "USER").await;
    let copied: String = one.query_one("select current_setting('dinehub.caller')", &[]).await.unwrap().get(0);
    assert_eq!(caller(&one).await, ALICE);
    refused(&two, &format!("BEGIN; SET LOCAL dinehub.caller = '{copied}'; SELECT platform.caller_id()")).await;
    let more = copied.replace("|USER|", "|ADMIN|");
    assert_ne!(more, copied);
    one.batch_execute("SAVEPOINT here").await.unwrap();
    let forge = format!("SET LOCAL dinehub.caller = '{more}'; SELECT platform.caller_has('ADMIN')");
    let raised = one.batch_execute(&forge);
    assert_eq!(raised.await.map_err(code), Err("42501".to_owned()));
    one.batch_execute("ROLLBACK TO here; COMMIT").await.unwrap();
    // Kept over the commit by every means a session has, and used under the next caller.
    one.batch_execute(&format!("SET dinehub.caller = '{copied}'; SET dinehub.kept = '{copied}'")).await.unwrap();
    refused(&one, "SELECT platform.caller_id()").await;
    begin(&one, "user", BOB, "USER").await;
    assert_eq!(caller(&one).await, BOB);
    refused(&one, "SET LOCAL dinehub.caller = '' ; SELECT set_config('dinehub.caller', current_setting('dinehub.kept'), true); SELECT platform.caller_id()").await;
}

#[tokio::test]
async fn only_the_connections_own_token_states_a_caller() {
    let shop = Shop::open().await;
    let (known, unknown) = (session(&shop).await, connect(&shop.target("alpha_rw")).await);
    for token in [None, Some(""), Some("Token"), Some("token ")] {
        assert!(assume(&known, Some("user"), Some(ALICE), Some("USER"), token, Some(1)).await.is_err(), "{token:?}");
    }
    let stolen = assume(&unknown, Some("user"), Some(ALICE), Some("USER"), Some("token"), Some(1)).await;
    assert_eq!(stolen, Err("42501".to_owned()), "another connection's token");
    assert_eq!(assume(&known, Some("user"), Some(ALICE), Some("USER"), Some("token"), Some(1)).await, Ok(()));
}

#[tokio::test]
async fn what_is_no_identity_is_refused_even_from_the_host() {
    const NIL: &str = "00000000-0000-0000-0000-000000000000";
    const MAX: &str = "ffffffff-ffff-ffff-ffff-ffffffffffff";
    let shop = Shop::open().await;
    let host = session(&shop).await;
    for (kind, id, roles, timeout_ms) in [
        (None, Some(ALICE), Some("USER"), Some(1)),
        (Some("user"), None, Some("USER"), Some(1)),
        (Some("user"), Some(ALICE), None, Some(1)),
        (Some("user"), Some(ALICE), Some("USER"), None),
        (Some("user"), Some(ALICE), Some("USER"), Some(0)),
        (Some("root"), Some(ALICE), Some("USER"), Some(1)),
        (Some("user"), Some(NIL), Some("USER"), Some(1)),
        (Some("user"), Some(MAX), Some("USER"), Some(1)),
        (Some("anonymous"), Some(ALICE), Some(""), Some(1)),
        (Some("anonymous"), Some(NIL), Some("ADMIN"), Some(1)),
        (Some("system"), Some(NIL), Some(""), Some(1)),
        (Some("user"), Some(ALICE), Some("USER|ADMIN"), Some(1)),
        (Some("user"), Some(ALICE), Some("USER,,ADMIN"), Some(1)),
        (Some("user"), Some(ALICE), Some("USER\nADMIN"), Some(1)),
    ] {
        let stated = assume(&host, kind, id, roles, Some("token"), timeout_ms).await;
        assert_eq!(stated, Err("42501".to_owned()), "{kind:?} {id:?} {roles:?} {timeout_ms:?}");
    }
    for (kind, id, roles) in [("anonymous", NIL, ""), ("system", MAX, ""), ("user", ALICE, ""), ("user", ALICE, "A,B")]
    {
        assert_eq!(assume(&host, Some(kind), Some(id), Some(roles), Some("token"), Some(1)).await, Ok(()));
    }
}

#[tokio::test]
async fn what_only_the_definer_may_touch_is_closed() {
    let shop = Shop::open().await;
    let session = session(&shop).await;
    let name = shop.admin().database;
    for sql in [
        "SELECT platform.mac('user', 'x', 'ADMIN')".to_owned(),
        "SELECT platform.is_host('token')".to_owned(),
        "SELECT platform.stated()".to_owned(),
        "SELECT platform.idempotency_place('k')".to_owned(),
        "SELECT platform.idempotency_prune()".to_owned(),
        "SELECT * FROM platform.proof".to_owned(),
        "SELECT * FROM platform.connection".to_owned(),
        "INSERT INTO platform.connection (pid, token_sha256) VALUES (pg_backend_pid(), sha256('mine'))".to_owned(),
        "SELECT * FROM platform.idempotency".to_owned(),
        "DELETE FROM platform.idempotency".to_owned(),
        "CREATE TABLE platform.mine (x int)".to_owned(),
        "CREATE FUNCTION platform.mac(x int) RETURNS int LANGUAGE sql RETURN 1".to_owned(),
        "ALTER FUNCTION platform.mac(text, text, text) STABLE".to_owned(),
        format!("SET ROLE {name}_identity"),
        format!("SET ROLE {name}_control"),
        format!("SET ROLE {name}_beta_rw"),
        format!("SET SESSION AUTHORIZATION {name}_beta_rw"),
        "SET ROLE postgres".to_owned(),
        "CREATE TEMP TABLE proof (a bytea, b bytea)".to_owned(),
        "CREATE TABLE public.mine (x int)".to_owned(),
    ] {
        if sql.starts_with("ALTER FUNCTION") {
            assert!(session.batch_execute(&sql).await.is_err(), "{sql}");
        } else {
            refused(&session, &sql).await;
        }
    }
    session.batch_execute("RESET ROLE; RESET SESSION AUTHORIZATION").await.unwrap();
    refused(&session, "SELECT * FROM platform.proof").await;
}

#[tokio::test]
async fn shadowing_in_pg_temp_changes_nothing_even_where_temp_is_granted() {
    let shop = Shop::open().await;
    let admin = connect(&shop.admin()).await;
    let name = shop.admin().database;
    admin.batch_execute(&format!("grant temporary on database {name} to {name}_alpha_rw")).await.unwrap();
    let session = session(&shop).await;
    session
        .batch_execute(
            "CREATE FUNCTION pg_temp.leak(x text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
               PERFORM set_config('leak.user', current_user, false); RETURN true; END $$;
             CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (pg_temp.leak(VALUE));
             CREATE DOMAIN pg_temp.uuid AS pg_catalog.uuid CHECK (pg_temp.leak(VALUE::pg_catalog.text));
             CREATE DOMAIN pg_temp.int4 AS pg_catalog.int4 CHECK (pg_temp.leak('x'));
             CREATE TEMP TABLE proof (one bool, a bytea, b bytea); INSERT INTO proof VALUES (true, 'a', 'b');
             CREATE TEMP TABLE connection (pid int, token_sha256 bytea);
             INSERT INTO connection VALUES (pg_backend_pid(), sha256('mine'));
             CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea LANGUAGE sql RETURN 'x'::bytea;
             CREATE FUNCTION pg_temp.now() RETURNS timestamptz LANGUAGE sql RETURN 'epoch'::timestamptz;
             SET search_path = pg_temp, pg_catalog",
        )
        .await
        .unwrap();
    let mine = assume(&session, Some("user"), Some(ALICE), Some("ADMIN"), Some("mine"), Some(1000)).await;
    assert_eq!(mine, Err("42501".to_owned()));
    begin(&session, "user", ALICE, "USER").await;
    let told = session
        .query_one(
            "select platform.caller_id()::pg_catalog.text, platform.caller_has('ADMIN'),
                    coalesce(pg_catalog.current_setting('leak.user', true), '')",
            &[],
        )
        .await
        .unwrap();
    assert_eq!((told.get::<_, &str>(0), told.get::<_, bool>(1)), (ALICE, false));
    let leaked: &str = told.get(2);
    assert!(leaked.is_empty() || leaked.ends_with("_alpha_rw"), "a domain ran as {leaked}");
}

#[tokio::test]
async fn a_re_prepared_name_does_not_see_the_token() {
    use dinehub::database::{
        guest::{Limits, Opening, Options, Transaction},
        identity::Caller,
        statement::Kind,
        value::Datum,
    };
    let shop = Shop::open().await;
    let pool = shop.pool(Options { connections_max: 1, ..Options::default() });
    let login = shop.login(&pool, "alpha");
    let opening = Opening {
        caller: Caller::anonymous(),
        read_only: false,
        repeatable: false,
        timeout_ms: 1000,
        limits: Limits::default(),
    };
    let names = harness::shop::statement(
        "select coalesce(string_agg(name || statement, ' '), '') from pg_prepared_statements",
        &[],
        &[Kind::Text],
    );
    for _ in 0..2 {
        let mut transaction = Transaction::new(pool.clone(), login.clone(), opening.clone());
        let rows = transaction.execute(&names, &[]).await.unwrap();
        let Datum::Text(text) = rows.cell(0, 0, &Kind::Text).unwrap() else { panic!("text") };
        let text = text.to_lowercase();
        assert!(!text.contains("assume") && !text.contains("commit") && !text.contains("begin"), "{text}");
        assert!(text.contains("pg_prepared_statements"), "the plugin's own is prepared: {text}");
        transaction.commit().await.unwrap();
    }
}

#[tokio::test]
async fn a_row_of_another_caller_is_not_there() {
    let shop = Shop::open().await;
    let session = session(&shop).await;
    begin(&session, "user", ALICE, "USER").await;
    session.execute(&format!("insert into shop.note (owner, text) values ('{ALICE}', 'hers')"), &[]).await.unwrap();
    session.batch_execute("SAVEPOINT here").await.unwrap();
    let foreign = session.batch_execute(&format!("insert into shop.note (owner, text) values ('{BOB}', 'x')")).await;
    assert_eq!(foreign.map_err(code), Err("42501".to_owned()));
    session.batch_execute("ROLLBACK TO here; COMMIT").await.unwrap();
    begin(&session, "user", BOB, "ADMIN").await;
    let seen: i64 = session.query_one("select count(*) from shop.note", &[]).await.unwrap().get(0);
    assert_eq!(seen, 0);
    assert_eq!(session.execute("delete from shop.note", &[]).await.unwrap(), 0);
    session.batch_execute("COMMIT").await.unwrap();
    begin(&session, "user", ALICE, "USER").await;
    let seen: i64 = session.query_one("select count(*) from shop.note", &[]).await.unwrap().get(0);
    assert_eq!(seen, 1);
}
