//! Which grants were used, kept over restarts. Written by the host's own login, read by reviewers' commands.

use sqlx::PgPool;

use super::session::Session;
use crate::{
    error::{Fault, Setup},
    id::PluginId,
};

/// One imported function of one plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    pub plugin: String,
    /// `dinehub:ordering-data/orders find`.
    pub import: String,
    pub uses: i64,
    /// The day of the first and of the last use, in UTC.
    pub days: (String, String),
}

/// Adds `uses` to what is known of `import`.
pub async fn record(control: &PgPool, plugin: &PluginId, import: &str, uses: u64) -> Result<(), sqlx::Error> {
    let statement = "insert into dinehub.grant_use as known (plugin, import, uses) values ($1, $2, $3)
        on conflict (plugin, import) do update set uses = known.uses + excluded.uses, last_used = now()";
    let uses = i64::try_from(uses).unwrap_or(i64::MAX);
    sqlx::query(statement).bind(plugin.as_str()).bind(import).bind(uses).execute(control).await.map(drop)
}

/// Everything that was recorded.
pub async fn read(session: &Session) -> Setup<Vec<Use>> {
    let statement = "select plugin, import, uses, to_char(first_used at time zone 'UTC', 'YYYY-MM-DD'),
          to_char(last_used at time zone 'UTC', 'YYYY-MM-DD')
        from dinehub.grant_use order by plugin, import";
    let rows = session.query(statement, &[]).await.map_err(session.fault())?;
    let read = |row: &tokio_postgres::Row| {
        Ok(Use {
            plugin: row.try_get(0)?,
            import: row.try_get(1)?,
            uses: row.try_get(2)?,
            days: (row.try_get(3)?, row.try_get(4)?),
        })
    };
    rows.iter().map(read).collect::<Result<_, tokio_postgres::Error>>().map_err(Fault::at("dinehub.grant_use"))
}
