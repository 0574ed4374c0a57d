//! A connection for the time of one transaction. It knows what PostgreSQL knows: whether a transaction is open and
//! whether an answer is due. Only a connection whose COMMIT or ROLLBACK was acknowledged goes back to the pool.
//!
//! Each method writes down `Busy` before it waits. A future that is dropped while it waits therefore leaves `Busy`
//! behind, and `Drop` cancels the statement and closes the connection: a BEGIN inside an open transaction would be only a
//! warning, and a late cancel would hit somebody else's statement. Cleaning up is a task of its own with a deadline; it
//! keeps the permits until it is done.

use std::{pin::pin, time::Duration};

use futures::future::{Either, select};
use tokio::sync::OwnedSemaphorePermit;
use tokio_postgres::{
    Client, Statement as Prepared,
    types::{ToSql, Type},
};

use super::{Failure, Limits, Opening, Rows, connection::Connection, failure::Stop, pool::Pool, rows::fetch};
use crate::{
    database::{statement::Statement, value::Datum},
    deadline::within,
    error::chain,
};

/// How long PostgreSQL may take to acknowledge the end of a transaction nobody waits for.
const CLEAN_UP_MAX: Duration = Duration::from_secs(2);
/// How long it may take for a COMMIT that a caller waits for.
const COMMIT_MAX: Duration = Duration::from_secs(5);

const ASSUME: &str = "select platform.assume($1, $2, $3, $4, $5)";
const XID: &str = "select pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text";

/// What is known of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No transaction, no answer due.
    Clean,
    /// A transaction is open, no answer due.
    Open,
    /// An answer is due.
    Busy,
}

/// See the module's head.
pub(super) struct Lease {
    held: Option<Held>,
    state: State,
    /// Whether it was idle before, and so may turn out to be dead.
    pub(super) is_reused: bool,
}

struct Held {
    pool: Pool,
    connection: Box<Connection>,
    permits: [OwnedSemaphorePermit; 2],
}

/// What a session can be asked to do.
pub(super) enum Work<'a> {
    /// A plugin's statement.
    Statement { prepared: Prepared, params: &'a [Datum<'a>], limits: Limits },
    /// One of the host's that carries the token: unnamed, because the session could have re-PREPAREd a name.
    Host { text: &'static str, params: &'a [(&'a (dyn ToSql + Sync), Type)] },
}

impl Work<'_> {
    async fn run(&self, client: &Client) -> Result<Rows, Stop> {
        match self {
            Self::Statement { prepared, params, limits } => fetch(client, prepared, params, *limits).await,
            Self::Host { text, params } => Ok(Rows::of(client.query_typed(text, params).await?)),
        }
    }
}

/// How a COMMIT ended.
pub(super) enum Ending {
    Committed,
    /// PostgreSQL said no; nothing was written.
    Failed(Failure),
    /// The answer was lost; the transaction's id, if it could be learned in time.
    Lost(Option<String>),
}

impl Lease {
    pub(super) fn new(
        pool: Pool,
        connection: Box<Connection>,
        permits: [OwnedSemaphorePermit; 2],
        is_reused: bool,
    ) -> Self {
        let held = Held { pool, connection, permits };
        Self { held: Some(held), state: State::Clean, is_reused }
    }

    /// The statement, prepared on this session.
    pub(super) async fn prepare(&mut self, statement: &Statement) -> Result<Prepared, Stop> {
        let connection = connection(&mut self.held)?;
        if let Some(prepared) = connection.prepared(statement) {
            return Ok(prepared);
        }
        let before = std::mem::replace(&mut self.state, State::Busy);
        let is_idle = before == State::Clean;
        match connection.prepare(statement).await {
            Err(Stop::Cut(why)) if is_idle && connection.is_closed() => Err(Stop::Dead(format!("{why:?}"))),
            Err(Stop::Cut(why)) => Err(Stop::Cut(why)),
            answered => {
                self.state = before;
                answered
            }
        }
    }

    /// Does `work` on the session. With an `opening` it opens the transaction first: BEGIN, identity and work leave in
    /// one flush, because `join!` polls in order and each is sent when first polled. With one that only reads, COMMIT
    /// leaves with them, and the transaction is over when this returns.
    pub(super) async fn run(&mut self, opening: Option<&Opening>, work: &Work<'_>) -> Result<Rows, Stop> {
        let connection = connection(&mut self.held)?;
        self.state = State::Busy;
        let done = match opening {
            None => work.run(&connection.client).await,
            Some(opening) => {
                connection.transactions = connection.transactions.saturating_add(1);
                begin(connection, opening, work).await
            }
        };
        // PostgreSQL answered, be it with an error: the transaction is open, and can be rolled back; or it is over.
        if matches!(done, Ok(_) | Err(Stop::Failed(_))) {
            let is_over = opening.is_some_and(|opening| opening.read_only);
            self.state = if is_over { State::Clean } else { State::Open };
        }
        done
    }

    /// The token of this connection, for a parameter of [`Work::Host`].
    pub(super) fn token(&mut self) -> Result<String, Stop> {
        Ok(connection(&mut self.held)?.token.expose().to_owned())
    }

    /// Ends a transaction that may have written. Its id is asked for in the same flush, ahead of the COMMIT, so that a
    /// lost answer can be looked up.
    pub(super) async fn commit(&mut self) -> Ending {
        let Ok(connection) = connection(&mut self.held) else { return Ending::Lost(None) };
        self.state = State::Busy;
        let asked = pin!(connection.client.query_typed_one(XID, &[]));
        let commit = pin!(connection.client.batch_execute("COMMIT"));
        // `select` polls the first one first: both are sent, and answers come in order.
        let Ok(Either::Left((asked, commit))) = within(COMMIT_MAX, pin!(select(asked, commit))).await else {
            return Ending::Lost(None);
        };
        let id: Option<String> = match asked.and_then(|row| row.try_get(0)) {
            Ok(id) => id,
            Err(why) => match Stop::from(why) {
                // The transaction was spoilt by our own question: COMMIT will be acknowledged, and write nothing.
                Stop::Failed(failure) => return Ending::Failed(failure),
                _ => return Ending::Lost(None),
            },
        };
        match within(COMMIT_MAX, pin!(commit)).await {
            Ok(Ok(())) => {
                self.state = State::Clean;
                Ending::Committed
            }
            Ok(Err(why)) => match Stop::from(why) {
                Stop::Failed(failure) => Ending::Failed(failure),
                // Without an id nothing was written, so there is nothing to lose.
                _ => id.map_or(Ending::Committed, |id| Ending::Lost(Some(id))),
            },
            Err(_) => Ending::Lost(id),
        }
    }
}

/// BEGIN and `assume` go unnamed as well. A session that does not take the caller is not used again.
async fn begin(connection: &Connection, opening: &Opening, work: &Work<'_>) -> Result<Rows, Stop> {
    let Connection { client, token, .. } = connection;
    let begin = client.batch_execute(match (opening.read_only, opening.repeatable) {
        (true, _) => "BEGIN READ ONLY",
        (false, false) => "BEGIN",
        (false, true) => "BEGIN ISOLATION LEVEL REPEATABLE READ",
    });
    let params: [(&(dyn ToSql + Sync), Type); 5] = [
        (&opening.caller.kind().as_str(), Type::TEXT),
        (&opening.caller.id(), Type::UUID),
        (&opening.caller.roles(), Type::TEXT),
        (&token.expose(), Type::TEXT),
        (&opening.timeout_ms, Type::INT4),
    ];
    let work = async {
        match opening.read_only {
            true => last(client, work).await,
            false => work.run(client).await,
        }
    };
    let (begin, assumed, done) = futures::join!(begin, client.execute_typed(ASSUME, &params), work);
    if let Err(why) = begin {
        return Err(Stop::Dead(chain(&why)));
    }
    match assumed {
        Ok(_) => done,
        Err(why) => Err(Stop::Cut(Failure::Unavailable(format!("assume: {}", chain(&why))))),
    }
}

/// Work with COMMIT right behind it. PostgreSQL answers in order, so the work is always first; what it gave is of no use
/// before COMMIT was acknowledged, because the session goes to somebody else then.
async fn last(client: &Client, work: &Work<'_>) -> Result<Rows, Stop> {
    let (work, commit) = (pin!(work.run(client)), pin!(client.batch_execute("COMMIT")));
    match select(work, commit).await {
        // Answers are due that nobody will read.
        Either::Left((Err(Stop::Cut(why)), _)) => Err(Stop::Cut(why)),
        Either::Left((done, commit)) => match commit.await {
            Ok(()) => done,
            Err(why) => Err(Stop::Cut(Failure::of(&why))),
        },
        // Both answers came between two looks: the work's is there already, it was only looked for a moment too early.
        Either::Right((committed, work)) => match (work.await, committed) {
            (Err(Stop::Cut(why)), _) => Err(Stop::Cut(why)),
            (done, Ok(())) => done,
            (_, Err(why)) => Err(Stop::Cut(Failure::of(&why))),
        },
    }
}

/// The session; there is one for as long as the lease is not dropped.
fn connection(held: &mut Option<Held>) -> Result<&mut Connection, Stop> {
    let gone = || Stop::Cut(Failure::Unavailable("the connection was given back".to_owned()));
    held.as_mut().map(|held| &mut *held.connection).ok_or_else(gone)
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(Held { pool, connection, permits }) = self.held.take() else { return };
        let state = self.state;
        let connection = match state {
            State::Clean => match pool.give_back(connection) {
                Some(old) => old,
                None => return,
            },
            State::Open | State::Busy => connection,
        };
        let runtime = pool.runtime().clone();
        runtime.spawn(async move {
            clean_up(&pool, connection, state).await;
            drop(permits);
        });
    }
}

async fn clean_up(pool: &Pool, connection: Box<Connection>, state: State) {
    let is_over = match state {
        State::Clean => true,
        State::Open => {
            let ended = pin!(connection.client.batch_execute("ROLLBACK"));
            matches!(within(CLEAN_UP_MAX, ended).await, Ok(Ok(())))
        }
        State::Busy => false,
    };
    if !is_over {
        return connection.cut_off().await;
    }
    if let Some(old) = pool.give_back(connection) {
        old.close().await;
    }
}
