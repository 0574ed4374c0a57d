//! What may be in a plugin's schema: one refusal for each object that may not, then what is reported.

use dinehub::database::scratch;
use harness::database::Database;

use crate::shop::{SCHEMA, id, migration};

/// A table that passes, to hang things on.
const TABLE: &str = "
    create table ordering.thing (id uuid primary key, name varchar(40) not null, size int4);
    alter table ordering.thing enable row level security;
    alter table ordering.thing force row level security;
    create policy own on ordering.thing using (id = (select platform.caller_id()));";

/// What is added to [`TABLE`], and a word of the refusal.
const REFUSED: &[(&str, &str)] = &[
    ("create function ordering.f() returns int language sql return 1", "is a function or procedure"),
    ("create procedure ordering.f() language sql begin atomic select 1; end", "is a function or procedure"),
    ("create aggregate ordering.agg(int4) (sfunc = int4pl, stype = int4)", "is a function or procedure"),
    (
        "create trigger t before update on ordering.thing for each row execute function suppress_redundant_updates_trigger()",
        "is a trigger",
    ),
    ("create view ordering.v as select * from ordering.thing", "is a view"),
    ("create materialized view ordering.v as select 1 as x", "is a view or a materialized view"),
    ("create rule r as on delete to ordering.thing do instead nothing", "is a rule"),
    ("alter table ordering.thing add column n serial", "sequence of its own"),
    ("create sequence ordering.s", "sequence of its own"),
    ("create domain ordering.d as text", "domain"),
    ("create type ordering.c as (x int)", "composite"),
    ("create type ordering.r as range (subtype = float8)", "range"),
    ("create table ordering.kid () inherits (ordering.thing)", "inherited"),
    ("create table ordering.part (x int) partition by list (x)", "partitioned"),
    ("create unlogged table ordering.u (x int)", "not durable"),
    ("create table ordering.\"Odd\" (x int)", "snake case"),
    ("alter table ordering.thing add column \"a.b\" int", "snake case"),
    (
        "create table dinehub.other (id uuid primary key);
         alter table ordering.thing add foreign key (id) references dinehub.other (id)",
        "foreign key into another schema",
    ),
    ("create table dinehub.other (id uuid primary key)", "of the own schema"),
    ("create type ordering.shell", "must be superuser"),
    ("alter table ordering.thing add unique (name) deferrable", "deferrable"),
    ("alter table ordering.thing add unique (name) deferrable initially deferred", "deferrable"),
    (
        "create constraint trigger t after insert on ordering.thing deferrable for each row
         execute function suppress_redundant_updates_trigger()",
        "is a trigger",
    ),
    ("alter table ordering.thing no force row level security", "no row level security"),
    ("alter table ordering.thing disable row level security", "no row level security"),
    ("create table ordering.bare (x int)", "no row level security"),
    (
        "create table ordering.half (x int); alter table ordering.half enable row level security",
        "no row level security",
    ),
    (
        "create table ordering.shut (x int); alter table ordering.shut enable row level security; alter table ordering.shut force row level security",
        "has no policy",
    ),
    ("create policy mine on ordering.thing to current_user using (true)", "for some roles"),
    ("create type ordering.e as enum ('a'); create cast (ordering.e as int4) with inout", "is a cast"),
    ("do $$ begin execute format('alter role %I set search_path = evil', current_user); end $$", "setting of the role"),
    ("alter default privileges grant select on tables to public", "default privilege"),
    ("create operator ordering.=== (function = int4eq, leftarg = int4, rightarg = int4)", "neither table"),
    ("create collation ordering.c from \"C\"", "neither table"),
    ("create statistics ordering.s on name, size from ordering.thing", "neither table"),
    ("create text search configuration ordering.t (copy = simple)", "neither table"),
    ("select lo_create(0)", "permission denied"),
    ("create schema other", "permission denied"),
    ("create table public.x (y int)", "permission denied"),
    ("create temp table x (y int)", "permission denied"),
    ("create extension pg_trgm schema ordering", "permission denied"),
    // expressions
    ("alter table ordering.thing add column x text default current_user check (char_length(x) < 9)", "current_user"),
    ("alter table ordering.thing add column x text default repeat('x', 10) check (char_length(x) < 90)", "repeat"),
    ("alter table ordering.thing add check (name ~ '(a+)+b')", "operator ~"),
    (
        "alter table ordering.thing add column x text generated always as (lpad('x', size)) stored check (char_length(x) < 9)",
        "lpad",
    ),
    ("create index on ordering.thing (md5(name))", "md5"),
    ("create index on ordering.thing (id) where name ~ 'x'", "operator ~"),
    ("alter table ordering.thing add check (platform.caller_has('X'))", "platform.caller_has"),
    // policies
    ("create policy p on ordering.thing using (id = platform.caller_id())", "for each row"),
    ("create policy p on ordering.thing for insert with check (platform.caller_has('ADMIN'))", "for each row"),
    (
        "create policy p on ordering.thing using (id = (select platform.caller_id() where pg_sleep(1) is null))",
        "pg_sleep",
    ),
    ("create policy p on ordering.thing using (current_user = 'x')", "current_user"),
    ("create policy p on ordering.thing using (exists (select from pg_catalog.pg_class))", "outside its own schema"),
    ("create policy p on ordering.thing using (current_setting('x.y') = 'z')", "current_setting"),
    // sizes and types
    ("alter table ordering.thing add column x text", "value of any size"),
    ("alter table ordering.thing add column x varchar", "value of any size"),
    ("alter table ordering.thing add column x bytea", "value of any size"),
    ("alter table ordering.thing add column x numeric", "value of any size"),
    ("alter table ordering.thing add column x text check (char_length(x) <= 2000000000)", "value of any size"),
    ("alter table ordering.thing add column x text check (char_length(x) <= 5 or size = 1)", "value of any size"),
    ("alter table ordering.thing add column x text check (char_length(x) >= 5)", "value of any size"),
    ("alter table ordering.thing add column x text check (char_length(name) <= 5)", "value of any size"),
    (
        "alter table ordering.thing add column x text; alter table ordering.thing add check (char_length(x) < 9) not valid",
        "value of any size",
    ),
    ("alter table ordering.thing add column x int4[]", "any number of elements"),
    ("alter table ordering.thing add column x int4[] check (array_length(x, 1) <= 5)", "any number of elements"),
    ("alter table ordering.thing add column x text[] check (cardinality(x) <= 5)", "elements of any size"),
    ("alter table ordering.thing add column x jsonb", "jsonb"),
    ("alter table ordering.thing add column x xml", "xml"),
];

#[tokio::test]
async fn each_forbidden_object_is_refused_for_its_reason() {
    let database = Database::fresh().await;
    let mut wrong = Vec::new();
    for (more, reason) in REFUSED {
        let migrations = [migration("0001.sql", &format!("{TABLE}{more}"))];
        match scratch::within(&database.admin(), &id(), &migrations, async |_, _| Ok(())).await {
            Ok(()) => wrong.push(format!("PASSED: {more}")),
            Err(fault) if !fault.to_string().contains(reason) => wrong.push(format!("{more}\n    {fault}")),
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is added to [`TABLE`] and passes.
const ALLOWED: &[&str] = &[
    "alter table ordering.thing add column x text check (x is null or char_length(x) between 1 and 500)",
    "alter table ordering.thing add column x bytea check (octet_length(x) < 65536)",
    "alter table ordering.thing add column x text[] check (cardinality(x) <= 9 and char_length(array_to_string(x, '')) <= 90)",
    "alter table ordering.thing add column x varchar(9)[] check (9 >= cardinality(x))",
    "alter table ordering.thing add column x numeric(12, 2)",
    "alter table ordering.thing add column x text generated always as (lower(name)) stored check (char_length(x) <= 40)",
    "create unique index thing_name_is_taken on ordering.thing (lower(name)) where size > 0",
    "comment on table ordering.thing is 'x'",
    "insert into ordering.thing select gen_random_uuid(), 'x', 1 where false",
];

#[tokio::test]
async fn bounded_columns_indexes_and_data_pass() {
    let database = Database::fresh().await;
    for more in ALLOWED {
        let migrations = [migration("0001.sql", &format!("{TABLE}{more}"))];
        let passed = scratch::within(&database.admin(), &id(), &migrations, async |_, _| Ok(())).await;
        assert!(passed.is_ok(), "{more}: {}", passed.unwrap_err());
    }
}

#[tokio::test]
async fn policies_may_come_in_a_later_file_but_code_is_refused_in_any() {
    let database = Database::fresh().await;
    let (table, policies) = TABLE.split_once(';').unwrap();
    let run = async |files: &[(&str, &str)]| {
        let migrations: Vec<_> = files.iter().map(|(name, text)| migration(name, text)).collect();
        let ran = scratch::within(&database.admin(), &id(), &migrations, async |_, _| Ok(())).await;
        ran.err().map(|fault| fault.to_string()).unwrap_or_default()
    };
    assert_eq!(run(&[("0001.sql", table), ("0002.sql", policies)]).await, "");
    assert!(run(&[("0001.sql", table), ("0002.sql", "select 1")]).await.contains("no row level security"));
    let code = format!("{table}; create function ordering.f() returns int language sql return 1");
    let fault = run(&[("0001.sql", &code), ("0002.sql", "drop function ordering.f()"), ("0003.sql", policies)]).await;
    assert!(fault.starts_with("migrations/0001.sql") && fault.contains("is a function"), "{fault}");
}

#[tokio::test]
async fn cascades_and_open_policies_are_reported() {
    let database = Database::fresh().await;
    let migrations = [migration("0001.sql", SCHEMA)];
    let catalog =
        scratch::within(&database.admin(), &id(), &migrations, async |_, catalog| Ok(catalog.clone())).await.unwrap();
    assert_eq!(
        catalog.cascades,
        ["ordering.line: `line_purchase_id_fkey`: deleting in ordering.purchase deletes rows here, past the policies"]
    );
    assert_eq!(catalog.open(), ["ordering.notice: policy `everybody` asks for no caller"]);
    assert_eq!(catalog.enums["state"], ["placed", "done"]);
    let own = &catalog.tables["ordering.purchase"].policies[0];
    assert!(own.using.as_deref().unwrap().contains("platform.caller_id()") && !own.open);
}
