//! Events in the database. The host's login only adds ([`append`]); reading is for an administrator's.

use sqlx::PgPool;
use uuid::Uuid;

use super::chain::{Checkpoint, Row};

/// Adds events at the end, those that are not there yet, and gives the end.
pub async fn append(pool: &PgPool, ids: &[Uuid], bodies: &[String]) -> Result<Checkpoint, sqlx::Error> {
    let (seq, head): (i64, Vec<u8>) = sqlx::query_as("select last, head from dinehub.append_audit($1, $2)")
        .bind(ids)
        .bind(bodies)
        .fetch_one(pool)
        .await?;
    let hash = head.try_into().map_err(|_| sqlx::Error::Protocol("a hash of another length".to_owned()))?;
    Ok(Checkpoint { seq, hash })
}

/// Events after number `after`, in order, at most `limit`.
pub async fn after(pool: &PgPool, after: i64, limit: i64) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as("select seq, id, body, hash from dinehub.audit_event where seq > $1 order by seq limit $2")
        .bind(after)
        .bind(limit)
        .fetch_all(pool)
        .await
}

/// The last `limit` events, of one kind if it is given, the newest last.
pub async fn last(pool: &PgPool, kind: Option<&str>, limit: i64) -> Result<Vec<Row>, sqlx::Error> {
    let mut rows: Vec<Row> = sqlx::query_as(
        "select seq, id, body, hash from dinehub.audit_event
         where $1::text is null or body::jsonb ->> 'kind' = $1 order by seq desc limit $2",
    )
    .bind(kind)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    rows.reverse();
    Ok(rows)
}
