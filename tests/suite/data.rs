//! One request is one transaction: what it promises, and what it refuses.

use std::{path::Path, time::Duration};

use dinehub::{
    database::{
        guest::{Failure, Free, Limits, Opening, Options, Pool, Transaction, Uncommitted},
        identity::Caller,
        statement::{Kind, Statement},
        value::{Datum, List},
    },
    id::AccountId,
};
use harness::{
    database::connect,
    shop::{Shop, statement},
};

const BUDGET: usize = 4;

fn options() -> Options {
    Options { connections_max: BUDGET, wait_max: Duration::from_millis(500), ..Options::default() }
}

fn alice() -> Caller {
    Caller::user(AccountId("a11ce000-0000-4000-8000-000000000001".parse().unwrap()), &["USER"])
}

fn transaction(shop: &Shop, pool: &Pool, plugin: &str, read_only: bool) -> Transaction {
    let limits = Limits { rows_max: 10, bytes_max: 4096 };
    let opening = Opening { caller: alice(), read_only, repeatable: false, timeout_ms: 1000, limits };
    Transaction::new(pool.clone(), shop.login(pool, plugin), opening)
}

fn insert() -> Statement {
    statement("insert into shop.note (owner, text) values (platform.caller_id(), $1)", &[Kind::Text], &[])
}

fn count() -> Statement {
    statement("select count(*) from shop.note", &[], &[Kind::Int8])
}

fn backend() -> Statement {
    statement("select pg_backend_pid()", &[], &[Kind::Int4])
}

async fn number(transaction: &mut Transaction, statement: &Statement) -> i64 {
    let rows = transaction.execute(statement, &[]).await.unwrap();
    match rows.cell(0, 0, &statement.columns[0].kind).unwrap() {
        Datum::Int(number) => number,
        other => panic!("{other:?}"),
    }
}

/// Waits until every lease was given back; a lease that leaks makes this fail.
async fn settled(pool: &Pool) -> Free {
    for _ in 0..500 {
        let free = pool.free();
        if free.leases == BUDGET && free.sockets + free.idle == BUDGET {
            return free;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("leaked: {:?}", pool.free());
}

#[tokio::test]
async fn what_was_committed_is_there_and_what_was_not_is_not() {
    let shop = Shop::open().await;
    let pool = shop.pool(options());
    let mut kept = transaction(&shop, &pool, "alpha", false);
    let rows = kept.execute(&insert(), &[Datum::Text("kept")]).await.unwrap();
    assert_eq!((rows.affected(), rows.len()), (1, 0));
    kept.commit().await.unwrap();
    let mut undone = transaction(&shop, &pool, "alpha", false);
    undone.execute(&insert(), &[Datum::Text("undone")]).await.unwrap();
    undone.rollback();
    settled(&pool).await;
    let mut read = transaction(&shop, &pool, "alpha", true);
    assert_eq!(number(&mut read, &count()).await, 1);
    read.commit().await.unwrap();
    assert_eq!(settled(&pool).await.idle, 1, "one connection did all of it");
}

#[tokio::test]
async fn every_kind_of_value_goes_in_and_comes_out() {
    let shop = Shop::open().await;
    let pool = shop.pool(options());
    let state = Kind::Enum { name: "state".to_owned(), labels: vec!["placed".to_owned(), "done".to_owned()] };
    let texts = [Datum::Text("a"), Datum::Text("ü")];
    let id = uuid::Uuid::now_v7();
    let all = [
        (Kind::Bool, "bool", Datum::Bool(true)),
        (Kind::Int2, "int2", Datum::Int(-2)),
        (Kind::Int4, "int4", Datum::Int(4)),
        (Kind::Int8, "int8", Datum::Int(i64::MIN)),
        (Kind::Float8, "float8", Datum::Float(0.1)),
        (Kind::Text, "text", Datum::Text("Grüße")),
        (Kind::Uuid, "uuid", Datum::Uuid(id)),
        (Kind::Timestamp, "timestamptz", Datum::Timestamp(1_795_458_600_000_001)),
        (Kind::Date, "date", Datum::Date(20_780)),
        (state, "shop.state", Datum::Text("done")),
        (Kind::Text, "text", Datum::Null),
        (Kind::List(Box::new(Kind::Text)), "text[]", Datum::List(List::Given(&texts))),
    ];
    let mut echo = transaction(&shop, &pool, "alpha", true);
    for (kind, name, datum) in all {
        let text = format!("select $1::{name}");
        let echoed = statement(&text, std::slice::from_ref(&kind), std::slice::from_ref(&kind));
        let rows = echo.execute(&echoed, &[datum]).await.unwrap();
        match (rows.cell(0, 0, &kind).unwrap(), datum) {
            (Datum::List(out), Datum::List(given)) => {
                assert!(out.iter().map(Result::unwrap).eq(given.iter().map(Result::unwrap)));
            }
            (out, given) => assert_eq!(out, given, "{name}"),
        }
    }
    let stamp = statement("select timestamptz '2026-11-23 18:30:00.000001+00'", &[], &[Kind::Timestamp]);
    let rows = echo.execute(&stamp, &[]).await.unwrap();
    assert_eq!(rows.cell(0, 0, &Kind::Timestamp).unwrap(), Datum::Timestamp(1_795_458_600_000_001));
}

#[tokio::test]
async fn after_a_failed_statement_the_rest_is_aborted_and_commit_is_refused() {
    let shop = Shop::open().await;
    let pool = shop.pool(options());
    let mut failing = transaction(&shop, &pool, "alpha", false);
    failing.execute(&insert(), &[Datum::Text("once")]).await.unwrap();
    let twice = failing.execute(&insert(), &[Datum::Text("once")]).await;
    assert_eq!(twice.unwrap_err(), Failure::Conflict("note_text_is_taken".to_owned()));
    assert_eq!(failing.execute(&count(), &[]).await.unwrap_err(), Failure::Aborted);
    assert_eq!(failing.commit().await, Err(Uncommitted::Refused));
    settled(&pool).await;
    let mut read = transaction(&shop, &pool, "alpha", true);
    assert_eq!(number(&mut read, &count()).await, 0);
}

#[tokio::test]
async fn each_sqlstate_is_the_failure_it_should_be() {
    let shop = Shop::open().await;
    let pool = shop.pool(options());
    let invalid = |what: &str| Failure::Invalid(what.to_owned());
    for (sql, failure) in [
        (
            "insert into shop.note (owner, text, size) values (platform.caller_id(), 'x', 0)",
            invalid("note_size_is_positive"),
        ),
        ("insert into shop.note (owner, text) values (platform.caller_id(), null)", invalid("text")),
        ("update shop.note set size = 1 / 0 where 1 / (select 0) = 0", invalid("22012")),
        (
            "insert into shop.note (owner, text) values (platform.caller_id(), (select pg_sleep(9))::text)",
            Failure::Timeout,
        ),
        ("insert into shop.note (owner, text) values (platform.caller_id(), shop.fail('40001'))", Failure::Retry),
        ("insert into shop.note (owner, text) values (platform.caller_id(), shop.fail('40P01'))", Failure::Retry),
    ] {
        let mut failing = transaction(&shop, &pool, "alpha", false);
        assert_eq!(failing.execute(&statement(sql, &[], &[]), &[]).await.unwrap_err(), failure, "{sql}");
    }
    for (sql, is_read_only) in [
        ("delete from platform.proof", false),
        ("insert into shop.note (owner, text) values (gen_random_uuid(), 'x')", false),
        ("insert into shop.note (owner, text) values (platform.caller_id(), 'x')", true),
    ] {
        let mut failing = transaction(&shop, &pool, "alpha", is_read_only);
        let failure = failing.execute(&statement(sql, &[], &[]), &[]).await.unwrap_err();
        assert!(matches!(failure, Failure::Denied(_)), "{sql}: {failure:?}");
    }
    settled(&pool).await;
}

#[tokio::test]
async fn too_many_rows_or_bytes_are_not_read() {
    let shop = Shop::open().await;
    let pool = shop.pool(options());
    let series = |most: i64| statement(&format!("select generate_series(1, {most})::int8"), &[], &[Kind::Int8]);
    let mut enough = transaction(&shop, &pool, "alpha", true);
    assert_eq!(enough.execute(&series(10), &[]).await.unwrap().len(), 10);
    for sql in [series(11), series(1_000_000_000), statement("select repeat('x', 5000)", &[], &[Kind::Text])] {
        let mut greedy = transaction(&shop, &pool, "alpha", true);
        assert_eq!(greedy.execute(&sql, &[]).await.unwrap_err(), Failure::TooManyRows, "{}", sql.text);
        assert_eq!(greedy.commit().await, Err(Uncommitted::Refused));
    }
    drop(enough);
    settled(&pool).await;
}

#[tokio::test]
async fn a_schema_that_moved_on_is_noticed_before_a_value_is_misread() {
    let shop = Shop::open().await;
    let pool = shop.pool(options());
    let mut stale = transaction(&shop, &pool, "alpha", true);
    let drifted = statement("select owner from shop.note", &[], &[Kind::Text]);
    assert!(matches!(stale.execute(&drifted, &[]).await, Err(Failure::Unavailable(_))));
    let mut unfit = transaction(&shop, &pool, "alpha", true);
    let small = statement("select $1::int2", &[Kind::Int2], &[Kind::Int2]);
    assert_eq!(unfit.execute(&small, &[Datum::Int(40_000)]).await.unwrap_err(), Failure::Invalid("22003".to_owned()));
    settled(&pool).await;
}

#[tokio::test]
async fn one_budget_serves_all_logins_by_closing_what_was_idle_longest() {
    let shop = Shop::open().await;
    let pool = shop.pool(Options { connections_max: 2, ..options() });
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..6 {
        let plugin = if round % 2 == 0 { "alpha" } else { "beta" };
        let (mut one, mut two) = (transaction(&shop, &pool, plugin, true), transaction(&shop, &pool, "alpha", true));
        seen.insert(number(&mut one, &backend()).await);
        one.commit().await.unwrap();
        seen.insert(number(&mut two, &backend()).await);
        two.commit().await.unwrap();
        assert!(pool.free().sockets + pool.free().idle <= 2);
    }
    let admin = connect(&shop.admin()).await;
    assert!(shop.sessions(&admin, "%").await <= 2);
    assert!(seen.len() >= 2);
}

#[tokio::test]
async fn a_read_holds_a_connection_only_while_postgresql_is_at_it() {
    let shop = Shop::open().await;
    let pool = shop.pool(options());
    let mut read = transaction(&shop, &pool, "alpha", true);
    for _ in 0..2 {
        let caller = read.execute(&statement("select platform.caller_id()", &[], &[Kind::Uuid]), &[]).await.unwrap();
        assert_eq!(caller.cell(0, 0, &Kind::Uuid).unwrap(), Datum::Uuid(alice().id()));
        let free = pool.free();
        assert_eq!((free.leases, free.idle), (BUDGET, 1), "given back before the plugin goes on");
    }
    let session = connect(&shop.admin()).await;
    let open = "select count(*) from pg_stat_activity where state like 'idle in transaction%' and datname = current_database()";
    assert_eq!(session.query_one(open, &[]).await.unwrap().get::<_, i64>(0), 0, "nothing is left open");
    let wrong = statement("select 1 / 0", &[], &[Kind::Int4]);
    assert!(matches!(read.execute(&wrong, &[]).await, Err(Failure::Invalid(_))));
    assert_eq!(read.execute(&count(), &[]).await.unwrap_err(), Failure::Aborted, "nothing runs after a failure");
    assert_eq!(read.commit().await.unwrap_err(), Uncommitted::Refused);
    assert_eq!(settled(&pool).await.idle, 1, "the session said all it had to say, and is used again");
}

#[tokio::test]
async fn one_plugins_slow_calls_leave_half_of_the_budget_to_others() {
    let shop = Shop::open().await;
    let pool = shop.pool(options());
    let mut slow = Vec::new();
    for _ in 0..BUDGET / 2 {
        let mut holding = transaction(&shop, &pool, "alpha", false);
        number(&mut holding, &count()).await;
        slow.push(holding);
    }
    let mut third = transaction(&shop, &pool, "alpha", true);
    assert!(matches!(third.execute(&count(), &[]).await, Err(Failure::Unavailable(_))), "503 for the slow one");
    for _ in 0..3 {
        let mut other = transaction(&shop, &pool, "beta", true);
        number(&mut other, &count()).await;
        other.commit().await.unwrap();
    }
    drop(slow);
    settled(&pool).await;
}

#[tokio::test]
async fn a_connection_is_replaced_after_its_share_of_transactions() {
    let shop = Shop::open().await;
    let pool = shop.pool(Options { transactions_max: 2, ..options() });
    let mut seen = Vec::new();
    for _ in 0..4 {
        let mut read = transaction(&shop, &pool, "alpha", true);
        seen.push(number(&mut read, &backend()).await);
        read.commit().await.unwrap();
        settled(&pool).await;
    }
    assert_eq!(seen[0], seen[1]);
    assert_ne!(seen[1], seen[2]);
    assert_eq!(seen[2], seen[3]);
}

#[tokio::test]
async fn a_roles_own_settings_do_not_reach_a_session() {
    let shop = Shop::open().await;
    let role = shop.target("alpha_rw").user;
    let session = connect(&shop.target("alpha_rw")).await;
    for set in ["synchronous_commit = off", "search_path = shop", "row_security = off", "statement_timeout = 1"] {
        session.batch_execute(&format!("alter role {role} set {set}")).await.unwrap();
    }
    let pool = shop.pool(options());
    let mut read = transaction(&shop, &pool, "alpha", true);
    let settings = "select current_setting('synchronous_commit') || current_setting('row_security')
                    || current_setting('search_path') || current_setting('statement_timeout')";
    let rows = read.execute(&statement(settings, &[], &[Kind::Text]), &[]).await.unwrap();
    assert_eq!(rows.cell(0, 0, &Kind::Text).unwrap(), Datum::Text("ononpg_catalog,pg_temp1s"));
}

#[tokio::test]
async fn tokens_leave_with_their_connections_and_the_sweep_takes_what_stayed() {
    let shop = Shop::open().await;
    let admin = connect(&shop.admin()).await;
    let registered = "select count(*) from platform.connection";
    let pool = shop.pool(Options { transactions_max: 1, ..options() });
    let mut write = transaction(&shop, &pool, "alpha", false);
    number(&mut write, &count()).await;
    assert_eq!(admin.query_one(registered, &[]).await.unwrap().get::<_, i64>(0), 1);
    write.commit().await.unwrap();
    for _ in 0..200 {
        if admin.query_one(registered, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(admin.query_one(registered, &[]).await.unwrap().get::<_, i64>(0), 0);
    let pid =
        "insert into platform.connection (pid, token_sha256) values (0, sha256('x')), (pg_backend_pid(), sha256('y'))";
    admin.execute(pid, &[]).await.unwrap();
    let control = dinehub::database::control::pool(&shop.target("control"), 1);
    assert_eq!(dinehub::database::identity::sweep(&control).await.unwrap(), 1);
}

#[tokio::test]
async fn a_cancelled_begin_of_the_hosts_own_pool_swallows_no_later_write() {
    let shop = Shop::open().await;
    let control = dinehub::database::control::pool(&shop.target("control"), 1);
    for polls in 0..20 {
        let mut begin = Box::pin(control.begin());
        for _ in 0..polls {
            if futures::poll!(&mut begin).is_ready() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(begin);
        let write = "insert into platform.connection (pid, token_sha256) values ($1, sha256('x'))";
        sqlx::query(write).bind(-1 - polls).execute(&control).await.unwrap();
    }
    let admin = connect(&shop.admin()).await;
    let kept: i64 = admin.query_one("select count(*) from platform.connection", &[]).await.unwrap().get(0);
    assert_eq!(kept, 20);
}

/// The invariant by absence: who is called for is decided in one place.
#[test]
fn only_a_permit_makes_a_caller() {
    fn read(directory: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                read(&path, found);
            } else if std::fs::read_to_string(&path).unwrap().contains("Caller::user(") {
                found.push(path.display().to_string());
            }
        }
    }
    let mut found = Vec::new();
    read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut found);
    assert_eq!(found, [concat!(env!("CARGO_MANIFEST_DIR"), "/src/access/permit.rs")]);
}
