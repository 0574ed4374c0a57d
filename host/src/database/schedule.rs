//! The host's side of schedules: one row for each, with the time it is due next. Taking a run stands in the plugin's own
//! transaction ([`super::guest`]).

use sqlx::{FromRow, PgPool};

use super::event::cut;

/// A schedule, and when it is due next, in seconds since 1970-01-01 UTC.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Due {
    pub plugin: String,
    pub function: String,
    pub due_s: i64,
}

/// Makes a schedule known. A new one, or one whose times were changed, is due at `next_s`; any other keeps its time, so
/// that what was missed while no host ran is still due.
pub async fn know(control: &PgPool, due: &Due, cron: &str) -> Result<(), sqlx::Error> {
    // Looked for first: an insert that finds its key waits for the run that another node is making, to know whether it is.
    let insert = "insert into platform.schedule (plugin, function, due_s, cron) select $1, $2, $3, $4
        where not exists (select from platform.schedule where plugin = $1 and function = $2)
        on conflict (plugin, function) do nothing";
    let update = "update platform.schedule set due_s = $3, cron = $4
        where plugin = $1 and function = $2 and cron <> $4";
    for statement in [insert, update] {
        let query = sqlx::query(statement).bind(&due.plugin).bind(&due.function).bind(due.due_s).bind(cron);
        query.execute(control).await?;
    }
    Ok(())
}

/// Forgets the schedules of `plugin` but these.
pub async fn keep(control: &PgPool, plugin: &str, functions: &[String]) -> Result<(), sqlx::Error> {
    let statement = "delete from platform.schedule where plugin = $1 and function <> all($2)";
    sqlx::query(statement).bind(plugin).bind(functions).execute(control).await.map(drop)
}

/// Those that are due and that no node is just running.
pub async fn due(control: &PgPool) -> Result<Vec<Due>, sqlx::Error> {
    let statement = "select plugin, function, due_s from platform.schedule
        where due_s <= extract(epoch from now()) for update skip locked";
    sqlx::query_as(statement).fetch_all(control).await
}

/// Gives a run up that failed: the next one is due at `next_s`.
pub async fn skip(control: &PgPool, due: &Due, next_s: i64, why: &str) -> Result<(), sqlx::Error> {
    let statement = "update platform.schedule set due_s = $4, failures = failures + 1, failure = $5
        where plugin = $1 and function = $2 and due_s = $3";
    sqlx::query(statement)
        .bind(&due.plugin)
        .bind(&due.function)
        .bind(due.due_s)
        .bind(next_s)
        .bind(cut(why))
        .execute(control)
        .await
        .map(drop)
}
