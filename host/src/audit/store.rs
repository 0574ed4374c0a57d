//! Events in the database. The host's login only adds ([`append`]); reading is for an administrator's.

use jiff::Timestamp;
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    chain::{Checkpoint, Row},
    seal::{Seal, Signed},
};

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

/// Signs the end of the chain, as the next checkpoint. False when another node wrote that one just now.
pub async fn sign(pool: &PgPool, seal: &Seal, end: &Checkpoint) -> Result<bool, sqlx::Error> {
    let n: i64 =
        sqlx::query_scalar("select coalesce(max(n), 0) + 1 from dinehub.audit_checkpoint").fetch_one(pool).await?;
    let Signed { n, seq, hash, at_us, key, mac } = seal.sign(n, end, Timestamp::now().as_microsecond());
    let written = sqlx::query(
        "insert into dinehub.audit_checkpoint (n, seq, hash, at_us, key, mac) values ($1, $2, $3, $4, $5, $6)
         on conflict do nothing",
    )
    .bind(n)
    .bind(seq)
    .bind(hash)
    .bind(at_us)
    .bind(key)
    .bind(mac);
    Ok(written.execute(pool).await?.rows_affected() == 1)
}

/// Every checkpoint, in order.
pub async fn signed(pool: &PgPool) -> Result<Vec<Signed>, sqlx::Error> {
    sqlx::query_as("select n, seq, hash, at_us, key, mac from dinehub.audit_checkpoint order by n")
        .fetch_all(pool)
        .await
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
