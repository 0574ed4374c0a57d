//! Migrations: the host's own, compiled in; and each plugin's, which are somebody else's text.
//!
//! A plugin's migration runs on a real login that owns the plugin's schema and nothing else. Its text is handed to
//! PostgreSQL as a **string inside a DO block inside a transaction**, and PL/pgSQL's EXECUTE refuses `commit`,
//! `rollback` and `savepoint` in such a string. So the text cannot end the transaction it stands in; `reset role` gives it
//! nothing; and before the host commits, the schema it made is inspected ([`super::catalog`]) on the same connection.
//! Nothing lasts that was not seen.
//!
//! What ran is recorded with its SHA-256. A file that ran and then changed, vanished, or got an older sibling is refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::{Connection, migrate::Migrator};

use super::{
    catalog::{self, Catalog, Stage},
    drift::Difference,
    session::{Session, literal},
    target::Target,
};
use crate::{
    error::{Fault, Setup},
    id::PluginId,
};

/// One file of a plugin's `migrations/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// The file's name; files run in the order of their names.
    pub name: String,
    pub text: String,
}

impl Migration {
    /// Of the text, in hex.
    #[must_use]
    pub fn sha256(&self) -> String {
        hex::encode(Sha256::digest(&self.text))
    }
}

/// The record of what ran stands in `public`, which is closed to everybody else (`grant::close`).
static HOST: Migrator = sqlx::migrate!("../migrations");

/// Brings the host's own schema up to date.
pub async fn host(admin: &Target) -> Setup<()> {
    let place = format!("database {}", admin.database);
    let mut connection = sqlx::PgConnection::connect_with(&admin.sqlx()).await.map_err(Fault::at(&place))?;
    HOST.run(&mut connection).await.map_err(|why| {
        Fault::at(format!("{place}: migrations"))(why).fix(
            "a migration that ran never changes: write a new file; in development `dinehub dev --fresh` starts over",
        )
    })?;
    connection.close().await.map_err(Fault::at(place))
}

/// The host's migrations that have not run. A login that may not read the record is told of none: what they would have
/// made is missing then, and found so.
pub async fn host_pending(session: &Session) -> Setup<Vec<Difference>> {
    let sql = "select case when c.oid is null then 'nothing' when pg_catalog.has_schema_privilege(n.oid, 'usage')
        and pg_catalog.has_table_privilege(c.oid, 'select') then 'record' else 'closed' end
      from pg_catalog.pg_namespace n left join pg_catalog.pg_class c
        on c.relnamespace = n.oid and c.relname = '_sqlx_migrations' where n.nspname = 'public'";
    let state = session.query_opt(sql, &[]).await.map_err(session.fault())?;
    let mut ran = BTreeMap::new();
    match state.as_ref().map_or("nothing", |row| row.get(0)) {
        "closed" => return Ok(Vec::new()),
        "record" => {
            let sql = "select version, checksum from public._sqlx_migrations where success";
            for row in session.query(sql, &[]).await.map_err(session.fault())? {
                ran.insert(row.get::<_, i64>(0), row.get::<_, Vec<u8>>(1));
            }
        }
        _ => {}
    }
    let mut pending = Vec::new();
    for migration in HOST.iter() {
        let name = format!("migrations/{:04}_{}.sql", migration.version, migration.description.replace(' ', "_"));
        match ran.remove(&migration.version) {
            None => pending.push(Difference::step(format!("{name} has not run"), format!("run {name}"))),
            Some(sum) if sum == *migration.checksum => {}
            Some(_) => pending.push(Difference::hand(
                format!("{name} has run here, and its text has changed since"),
                "use the host that this database was migrated by, or a newer one",
            )),
        }
    }
    pending.extend(ran.into_keys().map(|version| {
        let what = format!("migration {version} of a newer host has run here");
        Difference::hand(what, "use that host, or a newer one")
    }));
    Ok(pending)
}

/// A plugin's migrations that have not run, or why what ran is not what the plugin ships. Only reads.
pub async fn plugin_pending(session: &Session, id: &PluginId, migrations: &[Migration]) -> Setup<Vec<Difference>> {
    let sql = "select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'dinehub' and c.relname = 'plugin_migration'";
    let record = Record { keeper: session, id };
    let pending = match session.query_opt(sql, &[]).await.map_err(session.fault())? {
        Some(_) => record.pending(migrations).await,
        None => Ok(sorted(migrations)),
    };
    let step = |migration: &Migration| {
        let name = format!("migrations/{}", migration.name);
        Difference::step(format!("{name} has not run"), format!("run {name}"))
    };
    match pending {
        Ok(pending) => Ok(pending.into_iter().map(step).collect()),
        Err(fault) => Ok(vec![Difference::hand(fault.what(), fault.way())]),
    }
}

/// Brings a plugin's schema up to date. `admin` keeps the record; `owner` is the login that owns the schema.
pub async fn plugin(admin: &Target, owner: &Target, id: &PluginId, migrations: &[Migration]) -> Setup<Catalog> {
    let keeper = Session::open(admin).await?;
    let key = literal(&format!("dinehub migrates {id}"));
    keeper.run(&format!("select pg_catalog.pg_advisory_lock(pg_catalog.hashtextextended({key}, 0))")).await?;
    let record = Record { keeper: &keeper, id };
    record.settle().await?;
    let pending = record.pending(migrations).await?;
    let mut latest = None;
    for (migration, stage) in staged(&pending) {
        // A session each: what a migration sets for its session reaches no other.
        let session = Session::open(owner).await?;
        let applied = apply(&session, id, migration, stage, Some(&record)).await;
        drop(session);
        record.settle().await?;
        latest = Some(applied?);
    }
    match latest {
        Some(catalog) => Ok(catalog),
        None => catalog::inspect(&keeper, id, Stage::Whole).await,
    }
}

/// Runs all migrations without a record: for a scratch database.
pub(super) async fn apply_all(session: &Session, id: &PluginId, migrations: &[Migration]) -> Setup<Catalog> {
    let mut latest = None;
    for (migration, stage) in staged(&sorted(migrations)) {
        latest = Some(apply(session, id, migration, stage, None).await?);
    }
    match latest {
        Some(catalog) => Ok(catalog),
        None => catalog::inspect(session, id, Stage::Whole).await,
    }
}

fn sorted(migrations: &[Migration]) -> Vec<&Migration> {
    let mut all: Vec<&Migration> = migrations.iter().collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// The last one must leave the schema whole.
fn staged<'m>(migrations: &[&'m Migration]) -> Vec<(&'m Migration, Stage)> {
    let last = migrations.len().saturating_sub(1);
    let stage = |index| if index == last { Stage::Whole } else { Stage::Step };
    migrations.iter().enumerate().map(|(index, migration)| (*migration, stage(index))).collect()
}

/// One migration in one transaction, inspected before it is committed.
async fn apply(
    session: &Session,
    id: &PluginId,
    migration: &Migration,
    stage: Stage,
    record: Option<&Record<'_>>,
) -> Setup<Catalog> {
    let place = format!("migrations/{}", migration.name);
    session.run("begin; set local lock_timeout = '10s'; set local statement_timeout = '120s'").await?;
    let result = async {
        if let Some(record) = record {
            let sql = "select pg_catalog.pg_current_xact_id()::text";
            let transaction: String = session.query_one(sql, &[]).await.map_err(session.fault())?.get(0);
            record.begin(migration, &transaction).await?;
        }
        let block = format!("begin execute {}; end", literal(&migration.text));
        let block = format!("do language plpgsql {}", literal(&block));
        session.batch_execute(&block).await.map_err(|error| refuse(&place, &error))?;
        // The text may have set a search path or a quoting rule; the inspection believes none of it.
        session.run("reset all; set search_path = ''").await?;
        catalog::inspect(session, id, stage).await.map_err(|fault| fault.within(&place))
    }
    .await;
    session.run(if result.is_ok() { "commit" } else { "rollback" }).await?;
    result
}

fn refuse(place: &str, error: &tokio_postgres::Error) -> Fault {
    let said = error.as_db_error().map_or_else(|| error.to_string(), |e| e.message().to_owned());
    let fault = Fault::new(place, format!("PostgreSQL refuses it: {said}"));
    if said.contains("transaction commands") {
        return fault.fix("leave out begin, commit, rollback and savepoint: the host runs each file in a transaction");
    }
    fault
}

/// `dinehub.plugin_migration`, for one plugin.
struct Record<'a> {
    keeper: &'a Session,
    id: &'a PluginId,
}

impl Record<'_> {
    /// Decides about migrations whose end was not written down: a host died between their commit and the record.
    async fn settle(&self) -> Setup<()> {
        let sql = "select name, pg_catalog.pg_xact_status(running) from dinehub.plugin_migration
            where plugin = $1 and running is not null";
        let open = self.keeper.query(sql, &[&self.id.as_str()]).await.map_err(self.keeper.fault())?;
        for row in open {
            let name: &str = row.get(0);
            let end = match row.get::<_, Option<&str>>(1) {
                Some("committed") => {
                    "update dinehub.plugin_migration set running = null where plugin = $1 and name = $2"
                }
                Some("aborted") => "delete from dinehub.plugin_migration where plugin = $1 and name = $2",
                _ => {
                    return Err(Fault::new(format!("migrations/{name}"), "began, and its end is not known")
                        .fix("wait for the other host that runs it, or end its session"));
                }
            };
            self.keeper.execute(end, &[&self.id.as_str(), &name]).await.map_err(self.keeper.fault())?;
        }
        Ok(())
    }

    /// The migrations that have not run, in order; refuses when those that ran are not the first of the given ones.
    async fn pending<'m>(&self, migrations: &'m [Migration]) -> Setup<Vec<&'m Migration>> {
        // One whose end is not known yet counts as one that did not run: it is settled before any runs.
        let sql = "select name, sha256 from dinehub.plugin_migration where plugin = $1 and running is null";
        let rows = self.keeper.query(sql, &[&self.id.as_str()]).await.map_err(self.keeper.fault())?;
        let mut applied: BTreeMap<String, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let last = applied.last_key_value().map(|(name, _)| name.clone()).unwrap_or_default();
        let mut pending = Vec::new();
        for migration in sorted(migrations) {
            let place = format!("migrations/{}", migration.name);
            match applied.remove(&migration.name) {
                Some(sha256) if sha256 == migration.sha256() => {}
                Some(_) => {
                    return Err(Fault::new(place, "has run here, and its text has changed since")
                        .fix("restore the file, and write the change as a new migration"));
                }
                None if migration.name < last => {
                    return Err(Fault::new(place, format!("is new, and comes before {last}, which has run"))
                        .fix("give it a higher number"));
                }
                None => pending.push(migration),
            }
        }
        match applied.into_keys().next() {
            Some(name) => Err(Fault::new(format!("migrations/{name}"), "has run here, and the file is missing")
                .fix("restore the file: the schema cannot be understood without it")),
            None => Ok(pending),
        }
    }

    async fn begin(&self, migration: &Migration, transaction: &str) -> Setup<()> {
        let sql =
            "insert into dinehub.plugin_migration (plugin, name, sha256, running) values ($1, $2, $3, $4::text::xid8)";
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&self.id.as_str(), &migration.name, &migration.sha256(), &transaction];
        self.keeper.execute(sql, &values).await.map_err(self.keeper.fault())?;
        Ok(())
    }
}
