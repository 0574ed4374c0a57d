//! One connection of a plugin's login: its token, its prepared statements, and the task that drives its socket.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    task::JoinHandle,
    time::timeout,
};
use tokio_postgres::{CancelToken, Client, NoTls, Statement as Prepared};

use super::{Failure, failure::Stop, pool::Login};
use crate::database::{
    identity::{Registration, Token},
    statement::Statement,
    target::connect,
};

/// Settings that a session starts with. The start-up message outranks what a role was given by ALTER ROLE, so that a
/// plugin that changed its own role's settings changed nothing: above all not `synchronous_commit`, on which the promise
/// "acknowledged is written" rests. Idle in a transaction is bounded in case a host loses one against all care.
const SESSION: &str = "-c search_path=pg_catalog,pg_temp -c synchronous_commit=on -c row_security=on -c jit=off \
     -c default_transaction_isolation=read\\ committed -c default_transaction_read_only=off \
     -c default_transaction_deferrable=off \
     -c idle_in_transaction_session_timeout=60s -c lock_timeout=0 -c statement_timeout=5s -c client_min_messages=error \
     -c TimeZone=UTC -c DateStyle=ISO";
/// How long a session may take to say goodbye, and a cancel request to be delivered.
const CLOSE_MAX: Duration = Duration::from_secs(1);
/// How many statements a connection keeps prepared; the least recently used one goes.
const STATEMENTS_MAX: usize = 256;

/// An open session. Dropping it closes the socket in the background; [`Self::close`] also waits for that.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) token: Token,
    pub(super) user: String,
    pub(super) born: Instant,
    pub(super) transactions: u32,
    statements: HashMap<String, Kept>,
    uses: u64,
    driver: JoinHandle<()>,
    /// Dropped with the connection: tells the driver that its time is running.
    _alive: oneshot::Sender<()>,
    _registration: Registration,
}

struct Kept {
    prepared: Prepared,
    used: u64,
}

impl Connection {
    /// Connects, and tells PostgreSQL through `control` by which token this connection knows the host. `socket` is
    /// given back when the socket is closed, not sooner.
    pub(super) async fn open(
        login: &Login,
        control: &sqlx::PgPool,
        socket: OwnedSemaphorePermit,
    ) -> Result<Self, Failure> {
        let fail = |why: &dyn std::fmt::Display| Failure::Unavailable(format!("connect as {}: {why}", login.user()));
        let mut config = login.target().tokio();
        let connected = connect(config.options(SESSION)).await;
        let (client, connection) = connected.map_err(|why| fail(&crate::error::chain(&why)))?;
        let (alive, gone) = oneshot::channel();
        let driver = tokio::spawn(async move {
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                _ = &mut connection => {}
                _ = gone => drop(timeout(CLOSE_MAX, connection).await),
            }
            drop(socket);
        });
        // Nothing of the plugin's has run in this session yet: its own word for its number is good.
        let pid: i32 = client
            .query_typed_one("select pg_catalog.pg_backend_pid()", &[])
            .await
            .and_then(|row| row.try_get(0))
            .map_err(|why| fail(&why))?;
        let token = Token::fresh().map_err(|why| fail(&why))?;
        let registration = Registration::make(control, pid, &token).await.map_err(|why| fail(&why))?;
        Ok(Self {
            client,
            token,
            user: login.user().to_owned(),
            born: Instant::now(),
            transactions: 0,
            statements: HashMap::new(),
            uses: 0,
            driver,
            _alive: alive,
            _registration: registration,
        })
    }

    /// The statement, if it was prepared here before.
    pub(super) fn prepared(&mut self, statement: &Statement) -> Option<Prepared> {
        self.uses += 1;
        let kept = self.statements.get_mut(&statement.text)?;
        kept.used = self.uses;
        Some(kept.prepared.clone())
    }

    /// Prepares a statement: a round trip. Compares PostgreSQL's types with the bound statement's, so that a schema that
    /// moved on is noticed before a value is misread.
    ///
    /// The last door: only the four data commands leave. Whatever else a session can be told (SET ROLE, COMMIT, PREPARE,
    /// DECLARE … WITH HOLD, NOTIFY) would outlive its request, and no proved statement is one; PostgreSQL has no privilege
    /// for most of them, so here it is looked at once more.
    pub(super) async fn prepare(&mut self, statement: &Statement) -> Result<Prepared, Stop> {
        if !statement.is_data() {
            let why = format!("{}/{}: is no select, insert, update or delete", statement.handle, statement.name);
            return Err(Stop::Failed(Failure::Denied(why)));
        }
        let prepared = self.client.prepare(&statement.text).await?;
        if !agrees(statement, &prepared) {
            return Err(Stop::Cut(Failure::Unavailable(format!(
                "{}/{}: the database's types are not those the statement was bound to",
                statement.handle, statement.name
            ))));
        }
        if self.statements.len() >= STATEMENTS_MAX {
            let oldest = self.statements.iter().min_by_key(|(_, kept)| kept.used).map(|(text, _)| text.clone());
            oldest.map(|text| self.statements.remove(&text));
        }
        let kept = Kept { prepared: prepared.clone(), used: self.uses };
        self.statements.insert(statement.text.clone(), kept);
        Ok(prepared)
    }

    /// Whether the socket is known to be closed.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Ends the session and waits until the socket is closed, at most a second.
    pub(super) async fn close(self) {
        let Self { client, driver, _alive: alive, _registration: registration, .. } = self;
        drop((client, alive));
        let _ = driver.await;
        drop(registration);
    }

    /// Stops whatever runs, then ends the session: a late cancel would hit the next statement, so there is none.
    pub(super) async fn cut_off(self) {
        let cancel: CancelToken = self.client.cancel_token();
        let _ = timeout(CLOSE_MAX, cancel.cancel_query(NoTls)).await;
        self.close().await;
    }
}

fn agrees(statement: &Statement, prepared: &Prepared) -> bool {
    statement.params.len() == prepared.params().len()
        && statement.params.iter().zip(prepared.params()).all(|(ours, theirs)| ours.kind.is(theirs))
        && statement.columns.len() == prepared.columns().len()
        && statement.columns.iter().zip(prepared.columns()).all(|(ours, theirs)| ours.kind.is(theirs.type_()))
}
