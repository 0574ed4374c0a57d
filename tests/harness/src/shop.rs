//! A small schema that a plugin could own, with two logins, for tests of the data path that need no plugin.

use dinehub::database::{
    control,
    guest::{Login, Options, Pool},
    statement::{Arity, Ask, Column, Kind, Param, Statement},
    target::Target,
};
use tokio_postgres::Client;

use crate::database::{Database, connect};

/// What every role of a test logs in with.
const PASSWORD: &str = "only-for-tests";

/// `{role}` becomes each of the plugin-like logins; what the grants engineer's tool would give them.
const GRANTS: &str = "
    grant usage on schema platform, shop to {role};
    grant execute on function platform.assume, platform.caller_id, platform.caller_kind, platform.caller_has,
      platform.idempotency_claim, platform.idempotency_store, platform.event_publish, platform.event_take,
      platform.schedule_take to {role};
    grant select, insert, update, delete on shop.note to {role};";

/// A note is its owner's; committing the text `slow commit` takes a minute.
const SCHEMA: &str = "
    create schema shop;
    create type shop.state as enum ('placed', 'done');
    create table shop.note (
      id int8 generated always as identity primary key,
      owner uuid not null,
      text text not null constraint note_text_is_taken unique,
      state shop.state not null default 'placed',
      size int4 constraint note_size_is_positive check (size > 0));
    alter table shop.note enable row level security;
    alter table shop.note force row level security;
    create policy own on shop.note using (owner = (select platform.caller_id()));
    create function shop.dawdle() returns trigger language plpgsql as $$
      begin if new.text = 'slow commit' then perform pg_sleep(60); end if; return null; end $$;
    create function shop.fail(code text) returns text language plpgsql as $$
      begin raise exception 'as told' using errcode = code; end $$;
    create constraint trigger dawdle after insert on shop.note deferrable initially deferred
      for each row execute function shop.dawdle();";

/// The schema in a database of its own, with the logins `<db>_alpha_rw`, `<db>_beta_rw` and the host's own.
#[derive(Debug)]
pub struct Shop {
    database: Database,
}

impl Shop {
    /// Migrates and grants.
    pub async fn open() -> Self {
        let database = Database::fresh().await;
        let admin = connect(&database.admin()).await;
        for migration in migrations() {
            admin.batch_execute(&migration).await.expect("the host's migrations");
        }
        admin.batch_execute(SCHEMA).await.expect("the shop's schema");
        let name = database.admin().database;
        for plugin in ["alpha", "beta"] {
            let role = format!("{name}_{plugin}_rw");
            admin
                .batch_execute(&format!("create role {role} login;{}", GRANTS.replace("{role}", &role)))
                .await
                .unwrap();
        }
        for role in ["alpha_rw", "beta_rw", "control"] {
            admin.batch_execute(&format!("alter role {name}_{role} password '{PASSWORD}'")).await.unwrap();
        }
        Self { database }
    }

    /// The superuser.
    #[must_use]
    pub fn admin(&self) -> Target {
        self.database.admin()
    }

    /// `alpha_rw`, `beta_rw` or `control`.
    #[must_use]
    pub fn target(&self, role: &str) -> Target {
        let admin = self.admin();
        let user = format!("{}_{role}", admin.database);
        admin.login(&user, PASSWORD.to_owned().into())
    }

    /// A pool, with the host's control login behind it.
    #[must_use]
    pub fn pool(&self, options: Options) -> Pool {
        Pool::new(control::pool(&self.target("control"), 4), options)
    }

    /// The pool's login of a plugin.
    #[must_use]
    pub fn login(&self, pool: &Pool, plugin: &str) -> Login {
        pool.login(self.target(&format!("{plugin}_rw")))
    }

    /// How many sessions of plugins' logins there are in the given state of `pg_stat_activity`, `%` for any.
    pub async fn sessions(&self, admin: &Client, state: &str) -> i64 {
        let count = "select count(*) from pg_stat_activity
                     where datname = current_database() and usename like '%\\_rw' and state like $1";
        admin.query_one(count, &[&state]).await.expect("pg_stat_activity").get(0)
    }
}

fn migrations() -> Vec<String> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations");
    let mut paths: Vec<_> =
        std::fs::read_dir(directory).expect(directory).flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).expect("a migration")).collect()
}

/// A bound statement, as `plugin bind` would make it.
#[must_use]
pub fn statement(text: &str, params: &[Kind], columns: &[Kind]) -> Statement {
    let param = |kind: &Kind| Param { name: "p".to_owned(), kind: kind.clone(), nullable: true, is_caller: false };
    let column = |kind: &Kind| Column { name: "c".to_owned(), kind: kind.clone(), nullable: true };
    Statement {
        handle: "notes".to_owned(),
        name: "test".to_owned(),
        purpose: "A test.".to_owned(),
        text: text.to_owned(),
        arity: Arity::Many { rows_max: 100 },
        params: params.iter().map(param).collect(),
        columns: columns.iter().map(column).collect(),
        ask: Ask::default(),
    }
}
