//! The host's side of events: which deliveries are due, what became of those that failed, and how they are called back.
//! Publishing and taking stand in the plugins' own transactions ([`super::guest`]).

use std::{convert::Infallible, time::Duration};

use serde::Serialize;
use sqlx::{FromRow, PgPool, postgres::PgListener};
use uuid::Uuid;

/// What a host notifies after events were committed. Any login can forge one: it is a hint to look, and nothing else.
pub const CHANNEL: &str = "dinehub_event";
/// How long to wait before listening is tried again.
const RELISTEN: Duration = Duration::from_secs(1);
/// What is kept of why a delivery failed, in bytes.
const FAILURE_BYTES_MAX: usize = 2_000;

/// A delivery whose turn it is.
#[derive(Clone, Debug, FromRow)]
pub struct Due {
    pub id: i64,
    pub interface: String,
    pub function: String,
    /// The arguments: a JSON array.
    pub payload: String,
    /// The account that caused the event.
    pub cause: Option<Uuid>,
    /// Events between this one and a request.
    pub hops: i32,
}

/// How failed deliveries are tried again.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// A delivery that failed so often is dead, until somebody replays it.
    pub attempts_max: i32,
    /// The wait after the first failure; each further one doubles it.
    pub backoff: Duration,
    pub backoff_max: Duration,
}

/// Calls `wake` when something may have become due, and after each reconnection. Never ends.
pub async fn follow(control: PgPool, wake: impl Fn() + Send) {
    loop {
        let why = match listen(&control, &wake).await {
            Ok(never) => match never {},
            Err(why) => why,
        };
        tracing::warn!(target: "host", %why, "events cannot be listened for; they are still asked for");
        tokio::time::sleep(RELISTEN).await;
    }
}

async fn listen(control: &PgPool, wake: &(impl Fn() + Send)) -> Result<Infallible, sqlx::Error> {
    let mut listener = PgListener::connect_with(control).await?;
    listener.listen(CHANNEL).await?;
    loop {
        wake();
        // None: the connection was lost and made anew.
        let _ = listener.try_recv().await?;
    }
}

/// Tells every node that something may be due.
pub async fn tell(control: &PgPool) -> Result<(), sqlx::Error> {
    sqlx::query("select pg_notify($1, '')").bind(CHANNEL).execute(control).await.map(drop)
}

const DUE: &str = "
    select d.id, e.interface, e.function, e.payload, e.cause, e.hops
    from platform.delivery d join platform.event e on e.id = d.event_id
    where d.subscriber = $1 and d.state = 'pending' and d.due_at <= now()
      and (d.key is null or not exists (
        select from platform.delivery earlier
        where earlier.subscriber = d.subscriber and earlier.interface = d.interface and earlier.key = d.key
          and earlier.id < d.id and earlier.state = 'pending'))
    order by d.due_at, d.id limit $2
    for update of d skip locked";

/// Deliveries to `subscriber` that are due, at most one of each key, and none that another node is just making.
pub async fn due(control: &PgPool, subscriber: &str, count: i64) -> Result<Vec<Due>, sqlx::Error> {
    sqlx::query_as(DUE).bind(subscriber).bind(count).fetch_all(control).await
}

/// Lends a delivery out for `lease`: nobody else makes it before that is over, unless it comes to an end. Gives whether it
/// was there to be lent.
pub async fn lend(control: &PgPool, id: i64, lease: Duration) -> Result<bool, sqlx::Error> {
    let statement = "update platform.delivery set due_at = clock_timestamp() + $2 * interval '1 millisecond'
        where id = $1 and state = 'pending' and due_at <= clock_timestamp()";
    let millis = lease.as_secs_f64() * 1_000.0;
    Ok(sqlx::query(statement).bind(id).bind(millis).execute(control).await?.rows_affected() > 0)
}

const FAIL: &str = "
    update platform.delivery set
      attempts = attempts + 1,
      state = case when attempts + 1 >= $3 then 'dead' else 'pending' end,
      due_at = now() + least($4 * power(2::double precision, least(attempts, 30)), $5) * (0.5 + random() / 2)
        * interval '1 millisecond',
      failure = $2
    where id = $1 and state = 'pending'
    returning state = 'dead'";

/// Counts a failure of the subscriber's. Gives whether the delivery is dead now.
pub async fn fail(control: &PgPool, id: i64, why: &str, patience: &Patience) -> Result<bool, sqlx::Error> {
    let millis = |duration: Duration| duration.as_secs_f64() * 1_000.0;
    let dead = sqlx::query_scalar(FAIL)
        .bind(id)
        .bind(cut(why))
        .bind(patience.attempts_max)
        .bind(millis(patience.backoff))
        .bind(millis(patience.backoff_max));
    Ok(dead.fetch_optional(control).await?.unwrap_or(false))
}

/// Puts a delivery off without counting: what failed was the host's or the database's.
pub async fn postpone(control: &PgPool, id: i64, why: &str, wait: Duration) -> Result<(), sqlx::Error> {
    let statement = "update platform.delivery set due_at = now() + $3 * interval '1 millisecond', failure = $2
        where id = $1 and state = 'pending'";
    let millis = wait.as_secs_f64() * 1_000.0;
    sqlx::query(statement).bind(id).bind(cut(why)).bind(millis).execute(control).await.map(drop)
}

/// One delivery, for operators.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Delivery {
    pub id: i64,
    pub state: String,
    pub publisher: String,
    pub interface: String,
    pub function: String,
    pub key: Option<String>,
    pub subscriber: String,
    pub attempts: i32,
    /// RFC 3339, in UTC.
    pub published_at: String,
    pub failure: Option<String>,
}

/// Deliveries that were not made: those that wait and those that are dead, or only the latter; oldest first.
pub async fn list(control: &PgPool, is_dead_only: bool, count: i64) -> Result<Vec<Delivery>, sqlx::Error> {
    let statement = "
        select d.id, d.state, e.publisher, e.interface, e.function, e.key, d.subscriber, d.attempts,
          to_char(e.published_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') as published_at, d.failure
        from platform.delivery d join platform.event e on e.id = d.event_id
        where d.state = 'dead' or d.state = 'pending' and not $1
        order by d.id limit $2";
    sqlx::query_as(statement).bind(is_dead_only).bind(count).fetch_all(control).await
}

/// Makes dead deliveries due again, as if they had never failed: one by its id, or all of a subscriber's. Gives their
/// number.
pub async fn replay(control: &PgPool, id: Option<i64>, subscriber: Option<&str>) -> Result<u64, sqlx::Error> {
    let statement = "update platform.delivery set state = 'pending', attempts = 0, due_at = now()
        where state = 'dead' and ($1::bigint is null or id = $1) and ($2::text is null or subscriber = $2)";
    let done = sqlx::query(statement).bind(id).bind(subscriber).execute(control).await?;
    if done.rows_affected() > 0 {
        tell(control).await?;
    }
    Ok(done.rows_affected())
}

/// Forgets events whose every delivery was made, a week after the last. Gives their number.
pub async fn prune(control: &PgPool) -> Result<u64, sqlx::Error> {
    let statement = "delete from platform.event e where e.published_at < now() - interval '7 days'
        and not exists (select from platform.delivery d where d.event_id = e.id
          and (d.state <> 'delivered' or d.delivered_at >= now() - interval '7 days'))";
    Ok(sqlx::query(statement).execute(control).await?.rows_affected())
}

/// The longest prefix of whole characters that fits, without what a text of PostgreSQL cannot hold.
pub(super) fn cut(why: &str) -> String {
    why.get(..why.floor_char_boundary(FAILURE_BYTES_MAX)).unwrap_or_default().replace('\0', "")
}
