//! tokio-postgres, used as well as the host uses it: BEGIN, `platform.assume` and the statement in one flush, a read's
//! COMMIT with them, prepared statements kept per connection. It does without the host's care for cancelled requests, dead
//! connections and lost answers.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use dinehub::database::target::{Target, connect};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::{
    Client, Error, Row, Statement,
    types::{ToSql, Type},
};
use uuid::Uuid;

use super::Caller;

/// What the host gives one login of its default budget of 16.
pub(crate) const CONNECTIONS_MAX: usize = 8;
/// What the host states for a plugin that asked for no other limit, in milliseconds.
const TIMEOUT_MS: i32 = 2_000;
const ASSUME: &str = "select platform.assume($1, $2, $3, $4, $5)";

/// The connections of one login.
pub(crate) struct Pool {
    login: Target,
    /// Tells PostgreSQL by which token a connection knows the host.
    registrar: Target,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<Session>>,
}

struct Session {
    client: Client,
    token: String,
    prepared: HashMap<String, Statement>,
}

type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Pool {
    pub(crate) fn new(login: Target, registrar: Target) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        Arc::new(Self { login, registrar, places, idle: Mutex::default() })
    }

    /// The rows of one statement in a read-only transaction of the caller's.
    pub(crate) async fn read(
        self: &Arc<Self>,
        caller: &Caller,
        text: &str,
        params: Params<'_>,
    ) -> Result<Vec<Row>, Error> {
        let (session, _place) = self.take().await?;
        let (session, rows) = session.open("BEGIN READ ONLY", caller, text, params, true).await?;
        self.give_back(session);
        Ok(rows)
    }

    /// The same in a transaction that writes: committed when this returns.
    pub(crate) async fn write(
        self: &Arc<Self>,
        caller: &Caller,
        text: &str,
        params: Params<'_>,
    ) -> Result<Vec<Row>, Error> {
        let (session, _place) = self.take().await?;
        let (session, rows) = session.open("BEGIN", caller, text, params, false).await?;
        session.client.batch_execute("COMMIT").await?;
        self.give_back(session);
        Ok(rows)
    }

    async fn take(&self) -> Result<(Session, OwnedSemaphorePermit), Error> {
        let place = Arc::clone(&self.places).acquire_owned().await.expect("the semaphore stays open");
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let session = match idle {
            Some(session) => session,
            None => Session::connect(&self.login, &self.registrar).await?,
        };
        Ok((session, place))
    }

    fn give_back(&self, session: Session) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }
}

impl Session {
    async fn connect(login: &Target, registrar: &Target) -> Result<Self, Error> {
        let (client, connection) = connect(&login.tokio()).await?;
        tokio::spawn(connection);
        let pid: i32 = client.query_one("select pg_backend_pid()", &[]).await?.get(0);
        let token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let (admin, connection) = connect(&registrar.tokio()).await?;
        tokio::spawn(connection);
        let register = "insert into platform.connection (pid, token_sha256) values ($1, sha256(convert_to($2, 'UTF8')))
             on conflict (pid) do update set token_sha256 = excluded.token_sha256";
        admin.execute(register, &[&pid, &token]).await?;
        Ok(Self { client, token, prepared: HashMap::new() })
    }

    /// One flush, with COMMIT when this is all: `join!` polls in order, and each message leaves
    /// when it is first polled.
    async fn open(
        mut self,
        begin: &str,
        caller: &Caller,
        text: &str,
        params: Params<'_>,
        is_all: bool,
    ) -> Result<(Self, Vec<Row>), Error> {
        let statement = match self.prepared.get(text) {
            Some(statement) => statement.clone(),
            None => {
                let statement = self.client.prepare(text).await?;
                self.prepared.insert(text.to_owned(), statement.clone());
                statement
            }
        };
        let identity: [(&(dyn ToSql + Sync), Type); 5] = [
            (&"user", Type::TEXT),
            (&caller.id, Type::UUID),
            (&caller.roles, Type::TEXT),
            (&self.token, Type::TEXT),
            (&TIMEOUT_MS, Type::INT4),
        ];
        let client = &self.client;
        let commit = async {
            match is_all {
                true => client.batch_execute("COMMIT").await,
                false => Ok(()),
            }
        };
        let (begun, assumed, rows, committed) = futures::join!(
            client.batch_execute(begin),
            client.execute_typed(ASSUME, &identity),
            client.query(&statement, params),
            commit
        );
        begun.and(assumed)?;
        committed?;
        Ok((self, rows?))
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("login", &self.login.user).finish_non_exhaustive()
    }
}
