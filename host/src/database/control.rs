//! The host's own tables, as the login `<db>_control`, through sqlx.
//!
//! sqlx can neither pipeline nor cancel, so no plugin's statement comes this way. Its pool has one trap: a future of
//! `begin()` that is dropped half-way leaves the pooled connection inside a transaction, and the writes of whoever gets
//! it next vanish with a rollback that nobody sees. Therefore every connection is taken out of any transaction before
//! it is handed out. `BEGIN; ROLLBACK` in one message does that in both states, and warns (in PostgreSQL's log) only
//! when there was indeed a transaction to end.

use std::time::Duration;

use sqlx::{Executor, PgPool, postgres::PgPoolOptions};

use super::target::Target;

/// How long a request may wait for one of the host's own connections before it is answered 503.
const ACQUIRE_MAX: Duration = Duration::from_secs(3);

/// A pool that connects when first used. `target` logs in as `<db>_control`.
#[must_use]
pub fn pool(target: &Target, connections_max: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_MAX)
        .test_before_acquire(false)
        .before_acquire(|connection, _| {
            Box::pin(async move {
                connection.execute("BEGIN; ROLLBACK").await?;
                Ok(true)
            })
        })
        .connect_lazy_with(target.sqlx())
}
