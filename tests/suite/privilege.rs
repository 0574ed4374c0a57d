//! What a statement asks: refusals first, then the ask, and that it is enough and minimal.

use dinehub::database::{
    privilege::Prover,
    scratch,
    statement::{Arity, Ask, Privileges},
};
use harness::database::{Database, connect};

use crate::shop::{SCHEMA, draft, id, migration, prove_all};

const MANY: Arity = Arity::Many { rows_max: 50 };

/// A statement, its number of parameters, and a word of the reason it is refused for.
const HOSTILE: &[(&str, usize, &str)] = &[
    // more than one statement, or none of the four
    ("select 1 as x; drop table ordering.purchase", 0, "multiple commands"),
    ("select 1 as x; end; drop table ordering.purchase; begin atomic select 1", 0, ""),
    ("drop table ordering.purchase", 0, "not yet supported"),
    ("commit", 0, ""),
    ("set role postgres", 0, ""),
    ("notify x", 0, ""),
    ("copy ordering.purchase to stdout", 0, ""),
    ("do 'begin end'", 0, ""),
    ("return 1", 0, "syntax error"),
    ("merge into ordering.notice n using ordering.line l on n.id = l.quantity when matched then delete", 0, "MERGE"),
    // other people's tables
    ("select rolname::text as x from pg_roles limit 1", 0, "pg_catalog.pg_roles"),
    ("select relname::text as x from pg_catalog.pg_class limit 1", 0, "outside its own schema"),
    ("select table_name::text as x from information_schema.tables limit 1", 0, "outside its own schema"),
    // rows and columns that are no columns
    ("select p::text as x from ordering.purchase p limit 1", 0, "whole row"),
    ("select count(p) as x from ordering.purchase p limit 1", 0, "whole row"),
    ("select ctid::text as x from ordering.purchase limit 1", 0, "system column"),
    ("select xmin::text as x from ordering.purchase limit 1", 0, "system column"),
    ("select tableoid::text as x from ordering.purchase limit 1", 0, "system column"),
    ("select row(id, note)::text as x from ordering.purchase limit 1", 0, "ROW("),
    // constructs
    ("select id from ordering.purchase limit 1 for update", 0, "row lock"),
    ("select id from ordering.purchase limit 1 for key share", 0, "row lock"),
    ("with recursive r as (select 1 as x union all select x + 1 from r) select x from r limit 5", 0, "RECURSIVE"),
    ("select id from ordering.purchase tablesample system (1) limit 1", 0, "TABLESAMPLE"),
    ("select note from ordering.purchase group by rollup (note) limit 1", 0, "GROUPING SETS"),
    ("select note collate \"C\" as note from ordering.purchase limit 1", 0, "COLLATE"),
    ("select id from ordering.purchase order by id fetch first 5 rows with ties", 0, "TIES"),
    ("insert into ordering.notice overriding system value values (1, '2000-01-01') returning id", 0, "OVERRIDING"),
    ("select x from xmltable('/a' passing xml '<a/>' columns x text) limit 1", 0, ""),
    ("select g as x from generate_series(1, 1000000000) g limit 1", 0, "generate_series"),
    ("select r.x from rows from (unnest(array[1]), generate_series(1, 9)) r(x, y) limit 1", 0, "generate_series"),
    ("select x from lower('A') x limit 1", 0, "only `unnest`"),
    // functions
    ("select set_config('a.b', 'c', false) as x", 0, "set_config"),
    ("select current_setting('dinehub.caller') as x", 0, "current_setting"),
    ("select 1 as x from ordering.purchase where pg_sleep(10) is null limit 1", 0, "pg_sleep"),
    ("select query_to_xml('select 1', true, true, '')::text as x", 0, "query_to_xml"),
    ("select lo_get(1) as x", 0, "lo_get"),
    ("select lo_create(1)::text as x", 0, "lo_create"),
    ("select 1 as x where pg_notify('a', 'b') is null limit 1", 0, "pg_notify"),
    ("select pg_try_advisory_lock(1) as x", 0, "pg_try_advisory_lock"),
    ("select repeat('x', 1000000000) as x", 0, "repeat"),
    ("select lpad('x', 1000000000) as x", 0, "lpad"),
    ("select nextval('ordering.notice_id_seq') as x", 0, ""),
    ("select string_agg(item, '') as x from ordering.line limit 1", 0, "string_agg"),
    ("select pg_read_file('/etc/passwd') as x", 0, "pg_read_file"),
    ("select substring('aaaa' from '(a+)+b') as x", 0, "substring(text, text)"),
    ("select 'aaaa' ~ '(a+)+b' as x", 0, "operator ~"),
    ("select 10::numeric ^ 100000::numeric > 1 as x", 0, "operator ^"),
    ("select 'a' similar to 'b' as x", 0, ""),
    ("select platform.caller_id()::text as x, dinehub.statement() as y", 0, ""),
    ("select has_table_privilege('pg_class', 'select') as x", 0, "has_table_privilege"),
    ("select clock_timestamp() as x", 0, "clock_timestamp"),
    // hidden ones
    ("select 1 as x from ordering.purchase order by pg_sleep(1)::text limit 1", 0, "pg_sleep"),
    (
        "select count(*) filter (where set_config('a.b', 'c', true) = '') as x from ordering.purchase limit 1",
        0,
        "set_config",
    ),
    ("select 1 as x limit (select length(set_config('a.b', 'c', true)))", 0, "set_config"),
    ("update ordering.purchase set note = set_config('a.b', 'c', true) returning id", 0, "set_config"),
    (
        "insert into ordering.purchase (account_id) values ($1) on conflict (id) do update set note = repeat('x', 9) returning id",
        1,
        "repeat",
    ),
    ("select max(quantity) over (order by pg_sleep(1)::text) as x from ordering.line limit 1", 0, "pg_sleep"),
    ("select (select case when true then query_to_xml('select 1', true, true, '')::text end) as x", 0, "query_to_xml"),
    ("with a as materialized (select pg_sleep(1)::text as y) select y as x from a limit 1", 0, "pg_sleep"),
    ("select array(select item from ordering.line) as x limit 1", 0, "into an array"),
    // who is asking
    ("select current_user::text as x", 0, "current_user"),
    ("select session_user::text as x", 0, "current_user"),
    ("select current_schema::text as x", 0, "current_user"),
    ("select current_catalog::text as x", 0, "current_user"),
    // types
    ("select '{}'::jsonb::text as x", 0, "jsonb"),
    ("select 'pg_class'::regclass::text as x", 0, "regclass"),
    ("select 1.5::numeric as x", 0, "does not cross"),
    ("select array[array[1]]::text as x, null::int4range::text as y", 0, "int4range"),
    // rows without an end
    ("select id from ordering.purchase", 0, "nothing proves it"),
    ("select id from ordering.purchase limit $1", 1, "nothing proves it"),
    ("select id from ordering.purchase limit 51", 0, "may give 51 rows"),
    ("select id from ordering.purchase limit greatest($1, 50)", 1, "nothing proves it"),
    ("select id from ordering.purchase limit null", 0, "nothing proves it"),
    ("select id from ordering.purchase limit all", 0, "nothing proves it"),
    ("(select id from ordering.purchase limit 5) union all select id from ordering.purchase", 0, "nothing proves it"),
    ("insert into ordering.purchase (account_id) select unnest($1::uuid[]) returning id", 1, "nothing proves it"),
    // results without a shape
    ("delete from ordering.purchase", 0, "no result columns"),
    ("select 1", 0, "no name that WIT can say"),
    ("select 1 as \"a__b\"", 0, "no name that WIT can say"),
    ("select id, id from ordering.purchase limit 1", 0, "two result columns"),
];

#[tokio::test]
async fn hostile_statements_are_refused_for_their_reason() {
    let database = Database::fresh().await;
    let drafts: Vec<_> = HOSTILE.iter().map(|(text, params, _)| draft(text, MANY, *params)).collect();
    let results = prove_all(&database.admin(), &drafts).await;
    let mut wrong = Vec::new();
    for ((text, _, reason), result) in HOSTILE.iter().zip(results) {
        match result {
            Ok(_) => wrong.push(format!("PASSED: {text}")),
            Err(fault) if !fault.to_string().contains(reason) => wrong.push(format!("{text}\n    {fault}")),
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn splicing_a_second_command_runs_nothing() {
    let database = Database::fresh().await;
    let drafts = [
        draft("select 1 as x limit 1; drop table ordering.line", MANY, 0),
        draft(
            "select 1 as x limit 1; end; drop table ordering.line; create function dinehub.b() returns void begin atomic select 1",
            MANY,
            0,
        ),
        draft("select item from ordering.line limit 1", MANY, 0),
    ];
    let results = prove_all(&database.admin(), &drafts).await;
    assert!(results[0].is_err() && results[1].is_err());
    assert!(results[2].is_ok(), "the table is still there: {:?}", results[2]);
}

/// Statements that plugins need.
const HONEST: &[(&str, usize)] = &[
    (
        "select id, note from ordering.purchase where account_id = $1 and state = $2 order by placed_at desc, id limit 50",
        2,
    ),
    ("select id from ordering.purchase where (placed_at, id) < ($1, $2) limit least($3, 50)", 3),
    ("select id from ordering.purchase where note ilike '%' || $1 || '%' or note like $1 limit 50", 1),
    ("select id from ordering.purchase where tags && $1 and tags @> $1 and id = any($2) limit 50", 2),
    (
        "select count(*) as \"n!\", min(quantity) as a, max(quantity) as b, sum(quantity)::int8 as c, bool_and(quantity > 1) as d from ordering.line limit 1",
        0,
    ),
    (
        "select extract(isodow from now() at time zone $1)::int4 as dow, date_part('hour', timezone($1, now())) as h, date_trunc('day', now()) as d limit 1",
        1,
    ),
    ("select (now() at time zone 'Europe/Berlin')::time::text as x, current_date as y limit 1", 0),
    (
        "select coalesce(note, '') as n, lower(note) as l, char_length(note) as c, position('a' in note) as p, strpos(note, 'a') as s from ordering.purchase limit 50",
        0,
    ),
    (
        "select row_number() over (partition by purchase_id order by quantity desc)::int8 as n, item from ordering.line limit 50",
        0,
    ),
    (
        "with l as (select * from unnest($1::uuid[], $2::text[], $3::int4[]) as v(a, b, c)), w as (insert into ordering.line (purchase_id, item, quantity) select a, b, c from l returning item) select item from w limit 50",
        3,
    ),
    (
        "select case when cardinality(tags) > 0 then tags[1] else null end as t, gen_random_uuid() as g, state from ordering.purchase limit 50",
        0,
    ),
    (
        "select p.id, l.item from ordering.purchase p join lateral (select item from ordering.line where purchase_id = p.id limit 3) l on true limit 50",
        0,
    ),
    ("select distinct on (purchase_id) purchase_id, item from ordering.line order by purchase_id, item limit 50", 0),
    (
        "select platform.caller_id() as me, platform.caller_kind() as kind, platform.caller_has('ADMIN') as admin limit 1",
        0,
    ),
    ("select x from (values (1), (2)) v(x) where x not in (select quantity from ordering.line) limit 50", 0),
    (
        "select id, array(select item from ordering.line where purchase_id = p.id order by item limit 20) as items from ordering.purchase p limit 50",
        0,
    ),
    ("select id from ordering.purchase where $1::text is null or note is not distinct from $1 limit 50", 1),
];

#[tokio::test]
async fn what_plugins_need_passes() {
    let database = Database::fresh().await;
    let drafts: Vec<_> = HONEST.iter().map(|(text, params)| draft(text, MANY, *params)).collect();
    let results = prove_all(&database.admin(), &drafts).await;
    let refused: Vec<String> = HONEST
        .iter()
        .zip(results)
        .filter_map(|((text, _), r)| r.err().map(|fault| format!("{text}\n    {fault}")))
        .collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

fn set(names: &[&str]) -> std::collections::BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn an_alias_that_looks_like_a_label_hides_nothing() {
    let database = Database::fresh().await;
    let text = "select \":relid\".note from ordering.purchase \":relid\" join ordering.line as \":requiredPerms 0\" on true limit 5";
    let results = prove_all(&database.admin(), &[draft(text, MANY, 0)]).await;
    let ask = &results[0].as_ref().unwrap().ask;
    assert!(ask.relations["ordering.purchase"].select.contains("note"));
    assert!(ask.relations.contains_key("ordering.line"));
}

#[tokio::test]
async fn on_conflict_asks_for_what_is_used_and_not_for_every_column() {
    let database = Database::fresh().await;
    let text = "insert into ordering.purchase as p (id, account_id, note) values ($1, $2, $3)
                on conflict (id) do update set note = excluded.note where p.total_cents = 0 returning id";
    let results = prove_all(&database.admin(), &[draft(text, Arity::Optional, 3)]).await;
    let ask = &results[0].as_ref().unwrap().ask;
    let expected = Privileges {
        select: set(&["id", "note", "total_cents"]),
        insert: set(&["id", "account_id", "note"]),
        update: set(&["note"]),
        delete: false,
    };
    assert_eq!(ask.relations["ordering.purchase"], expected);
}

#[tokio::test]
async fn a_policy_that_reads_another_table_adds_to_the_ask() {
    let database = Database::fresh().await;
    let results = prove_all(&database.admin(), &[draft("select item from ordering.line limit 5", MANY, 0)]).await;
    let ask = &results[0].as_ref().unwrap().ask;
    assert_eq!(ask.relations["ordering.purchase"].select, set(&["account_id", "id"]));
    assert!(ask.functions.contains("platform.caller_id()"), "{:?}", ask.functions);
}

#[tokio::test]
async fn nullable_is_everything_that_is_not_plainly_otherwise() {
    let database = Database::fresh().await;
    let text = "select p.id, l.item, l.quantity as \"quantity!\", p.account_id as \"account?\", p.note, lower(l2.item) as low, l2.item as third
                from ordering.purchase p left join ordering.line l on l.purchase_id = p.id
                join ordering.line l2 on l2.purchase_id = p.id limit 5";
    let right =
        "select p.id, l.item from ordering.purchase p right join ordering.line l on l.purchase_id = p.id limit 5";
    let full = "select p.id, l.item from ordering.purchase p full join ordering.line l on l.purchase_id = p.id limit 5";
    let drafts = [draft(text, MANY, 0), draft(right, MANY, 0), draft(full, MANY, 0)];
    let results = prove_all(&database.admin(), &drafts).await;
    let nullable = |n: usize| -> Vec<(String, bool)> {
        results[n].as_ref().unwrap().columns.iter().map(|c| (c.name.clone(), c.nullable)).collect()
    };
    let wanted = [
        ("id", false),
        ("item", true),
        ("quantity", false),
        ("account", true),
        ("note", true),
        ("low", true),
        ("third", false),
    ];
    assert_eq!(nullable(0), wanted.map(|(name, nullable)| (name.to_owned(), nullable)));
    assert_eq!(nullable(1), [("id".to_owned(), true), ("item".to_owned(), false)]);
    assert_eq!(nullable(2), [("id".to_owned(), true), ("item".to_owned(), true)]);
}

/// The ask with one thing taken away, in every way.
fn without_each(ask: &Ask) -> Vec<(String, Ask)> {
    let mut all = Vec::new();
    for (relation, privileges) in &ask.relations {
        for (word, columns) in
            [("select", &privileges.select), ("insert", &privileges.insert), ("update", &privileges.update)]
        {
            for column in columns {
                let mut less = ask.clone();
                let theirs = less.relations.get_mut(relation).unwrap();
                match word {
                    "select" => theirs.select.remove(column),
                    "insert" => theirs.insert.remove(column),
                    _ => theirs.update.remove(column),
                };
                all.push((format!("{word} {relation}.{column}"), less));
            }
        }
        if privileges.delete {
            let mut less = ask.clone();
            less.relations.get_mut(relation).unwrap().delete = false;
            all.push((format!("delete {relation}"), less));
        }
    }
    all
}

#[tokio::test]
async fn every_grant_is_needed() {
    let database = Database::fresh().await;
    let extra = [
        draft(
            "insert into ordering.purchase as p (id, account_id, note) values ($1, $2, $3) on conflict (id) do update set note = excluded.note where p.total_cents = 0 returning state",
            Arity::One,
            3,
        ),
        draft(
            "with gone as (delete from ordering.line using ordering.purchase p where p.id = purchase_id and p.state = 'done' returning item) select item from gone limit 5",
            MANY,
            0,
        ),
        draft("delete from ordering.notice", Arity::Count, 0),
        draft(
            "update ordering.purchase set state = 'done', total_cents = total_cents + $1 where id = $2",
            Arity::Count,
            2,
        ),
        draft("select count(*) as n from ordering.notice", Arity::One, 0),
        draft("insert into ordering.purchase default values", Arity::Count, 0),
    ];
    let drafts: Vec<_> = HONEST.iter().map(|(text, params)| draft(text, MANY, *params)).chain(extra).collect();
    let mut kept = Vec::new();
    scratch::within(&database.admin(), &id(), &[migration("0001.sql", SCHEMA)], async |scratch, catalog| {
        let prover = Prover::new(scratch, catalog).await?;
        for draft in &drafts {
            let statement = prover.prove(draft).await?;
            for (less, ask) in without_each(&statement.ask) {
                if prover.suffices(&statement, &ask).await? {
                    kept.push(format!("{} is not needed by {}", less, statement.text));
                }
            }
        }
        Ok(())
    })
    .await
    .unwrap_or_else(|fault| panic!("{fault}"));
    assert!(kept.is_empty(), "{}", kept.join("\n"));
}

#[tokio::test]
async fn a_scratch_database_is_gone_after_success_and_after_failure() {
    let database = Database::fresh().await;
    let admin = connect(&database.admin()).await;
    let count = "select (select count(*) from pg_database where datname like current_database() || '\\_scratch\\_%')
                      + (select count(*) from pg_roles where rolname like current_database() || '\\_scratch\\_%')";
    prove_all(&database.admin(), &[]).await;
    let broken = [migration("0001.sql", "create table nonsense")];
    assert!(scratch::within(&database.admin(), &id(), &broken, async |_, _| Ok(())).await.is_err());
    let left: i64 = admin.query_one(count, &[]).await.unwrap().get(0);
    assert_eq!(left, 0);
    admin
        .batch_execute(&format!(
            "create database {}_scratch_orphan",
            admin.query_one("select current_database()::text", &[]).await.unwrap().get::<_, String>(0)
        ))
        .await
        .unwrap();
    prove_all(&database.admin(), &[]).await;
    let left: i64 = admin.query_one(count, &[]).await.unwrap().get(0);
    assert_eq!(left, 0, "an orphan is swept");
}
