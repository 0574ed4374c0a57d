//! One request's transaction, from its first statement to an end that is known.

use std::{
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use sqlx::PgPool;
use tokio::time::{Instant, sleep};
use tokio_postgres::types::{ToSql, Type};

use super::{
    Failure, Limits, Login, Pool, Rows, Uncommitted,
    failure::Stop,
    lease::{Ending, Lease, Work},
};
use crate::{
    database::{identity::Caller, statement::Statement, value::Datum},
    deadline::within,
};

/// PostgreSQL ends a slow statement itself; the host stops waiting this much later, should it not.
const GRACE: Duration = Duration::from_millis(500);
/// How long the host asks what became of a COMMIT whose answer was lost.
const RESOLVE_MAX: Duration = Duration::from_secs(5);

/// What a transaction opens with.
#[derive(Clone, Debug)]
pub struct Opening {
    /// As whom it acts.
    pub caller: Caller,
    /// Safe methods (RFC 9110 §9.2.1) open read-only transactions.
    pub read_only: bool,
    /// REPEATABLE READ: to write a row that somebody else changed since the first statement fails, with a retry. For
    /// requests that depend on what they read.
    pub repeatable: bool,
    /// How long one statement may take, in milliseconds; at least 1.
    pub timeout_ms: i32,
    /// How much one statement may give.
    pub limits: Limits,
}

/// A request's transaction. Nothing is sent before the first statement; READ COMMITTED, unless asked for more. Dropping it rolls back.
///
/// What only reads is a transaction for each of its statements, sent whole in one flush: at READ COMMITTED each statement
/// has a snapshot of its own anyway (PostgreSQL 15 §13.2.1), and nearly every read has one statement. So a read holds a
/// connection only while PostgreSQL is at it, and its COMMIT costs neither side a wakeup of its own.
pub struct Transaction {
    pool: Pool,
    login: Login,
    opening: Opening,
    state: State,
    pub(super) has_published: bool,
    /// Microseconds that statements took so far.
    used_us: AtomicU64,
}

enum State {
    /// No statement yet.
    New,
    Open(Lease),
    /// A statement failed, or its future was dropped: rolled back, or being so.
    Failed,
}

/// What a step of the transaction does.
pub(super) enum Task<'a> {
    Statement {
        statement: &'a Statement,
        params: &'a [Datum<'a>],
    },
    /// The host's own; the connection's token is added as the last parameter.
    Host {
        text: &'static str,
        params: &'a [(&'a (dyn ToSql + Sync), Type)],
    },
}

impl Transaction {
    /// Costs nothing until [`Self::execute`]. The caller comes of a permit.
    #[must_use]
    pub fn new(pool: Pool, login: Login, opening: Opening) -> Self {
        Self { pool, login, opening, state: State::New, has_published: false, used_us: AtomicU64::new(0) }
    }

    /// As whom it acts.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.opening.caller
    }

    /// Makes reads repeatable; before the first statement.
    pub fn repeat_reads(&mut self) {
        self.opening.repeatable = true;
    }

    /// Whether a statement ran, and nothing ended it yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// How long statements took so far; waiting for a connection is not counted.
    #[must_use]
    pub fn used(&self) -> Duration {
        Duration::from_micros(self.used_us.load(Ordering::Relaxed))
    }

    /// Runs one statement with its parameters in the order of `$1…`, the first one together with BEGIN and the caller.
    /// After any failure the transaction is rolled back at once, and every further statement is `Aborted`.
    pub async fn execute(&mut self, statement: &Statement, params: &[Datum<'_>]) -> Result<Rows, Failure> {
        self.step(&Task::Statement { statement, params }).await
    }

    pub(super) async fn step(&mut self, task: &Task<'_>) -> Result<Rows, Failure> {
        // While this future waits, the transaction counts as failed; so it does when the future is dropped.
        let (lease, rows) = match std::mem::replace(&mut self.state, State::Failed) {
            State::New => {
                let (lease, rows) = self.open(task).await?;
                // One that only reads is over already; the next statement opens another.
                if self.opening.read_only {
                    self.state = State::New;
                    return Ok(rows);
                }
                (lease, rows)
            }
            State::Open(mut lease) => {
                let rows = self.attempt(&mut lease, None, task).await?;
                (lease, rows)
            }
            State::Failed => return Err(Failure::Aborted),
        };
        self.state = State::Open(lease);
        Ok(rows)
    }

    /// Opens the transaction. An idle connection may have died unnoticed (PostgreSQL restarted): nothing can have come to
    /// effect on it, so the next one is tried, until one was opened for this call.
    async fn open(&self, task: &Task<'_>) -> Result<(Lease, Rows), Failure> {
        loop {
            let mut lease = self.pool.lease(&self.login).await?;
            match self.attempt(&mut lease, Some(&self.opening), task).await {
                Ok(rows) => return Ok((lease, rows)),
                Err(Stop::Dead(why)) if lease.is_reused => tracing::debug!(%why, "an idle connection was dead"),
                Err(stop) => return Err(stop.into()),
            }
        }
    }

    async fn attempt(&self, lease: &mut Lease, opening: Option<&Opening>, task: &Task<'_>) -> Result<Rows, Stop> {
        let wait = Duration::from_millis(u64::try_from(self.opening.timeout_ms).unwrap_or(0)) + GRACE;
        let done = async {
            match task {
                Task::Statement { statement, params } => {
                    let prepared = lease.prepare(statement).await?;
                    lease.run(opening, &Work::Statement { prepared, params, limits: self.opening.limits }).await
                }
                Task::Host { text, params } => {
                    let token = lease.token()?;
                    let mut all = params.to_vec();
                    all.push((&token, Type::TEXT));
                    lease.run(opening, &Work::Host { text, params: &all }).await
                }
            }
        };
        let started = Instant::now();
        let outcome = within(wait, pin!(done)).await.unwrap_or(Err(Stop::Cut(Failure::Timeout)));
        let took_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.used_us.fetch_add(took_us, Ordering::Relaxed);
        outcome
    }

    /// Makes the writes last. When this returns `Ok` they do; after a failed statement it refuses, because PostgreSQL
    /// would acknowledge a COMMIT that wrote nothing. It goes on when its future is dropped. What only read has ended
    /// before.
    pub async fn commit(mut self) -> Result<(), Uncommitted> {
        match std::mem::replace(&mut self.state, State::New) {
            State::New => Ok(()),
            State::Failed => Err(Uncommitted::Refused),
            State::Open(lease) => {
                let settled = self.pool.runtime().spawn(settle(lease, self.pool.clone(), self.has_published));
                settled.await.unwrap_or(Err(Uncommitted::Unknown))
            }
        }
    }

    /// Undoes everything, off the caller's path. The same as dropping it, said aloud.
    pub fn rollback(self) {}
}

async fn settle(mut lease: Lease, pool: Pool, has_published: bool) -> Result<(), Uncommitted> {
    match lease.commit().await {
        Ending::Committed => {
            if has_published {
                pool.published().notify_one();
            }
            Ok(())
        }
        Ending::Failed(failure) => Err(Uncommitted::Failed(failure)),
        Ending::Lost(id) => {
            // Closes the connection, so that a backend that hangs is cut off.
            drop(lease);
            match id {
                Some(id) => resolve(&id, pool.control()).await,
                None => Err(Uncommitted::Unknown),
            }
        }
    }
}

/// Asks on another connection what became of a transaction.
async fn resolve(id: &str, control: &PgPool) -> Result<(), Uncommitted> {
    let deadline = Instant::now() + RESOLVE_MAX;
    while Instant::now() < deadline {
        let status = sqlx::query_scalar("select pg_catalog.pg_xact_status($1::text::xid8)").bind(id);
        match status.fetch_one(control).await.unwrap_or_else(|why| {
            tracing::warn!(%why, id, "a COMMIT's outcome cannot be asked for yet");
            None::<String>
        }) {
            Some(status) if status == "committed" => return Ok(()),
            Some(status) if status == "aborted" => {
                let why = "the connection was lost before the commit".to_owned();
                return Err(Uncommitted::Failed(Failure::Unavailable(why)));
            }
            _ => sleep(Duration::from_millis(50)).await,
        }
    }
    Err(Uncommitted::Unknown)
}
