//! One budget of connections for all plugins' logins.
//!
//! Every plugin has logins of its own, so a pool for each would multiply; instead an idle connection of the login that
//! was used longest ago is closed to make room. A lease holds, in this order, a permit of its login and one of the
//! pool: one plugin's slow calls hold at most half of the budget, and wait among themselves for that half (a bulkhead).
//! A third permit goes with each socket and comes back when it is closed, so that PostgreSQL never sees more.
//!
//! Whoever holds the first two permits always gets a socket: leases with a socket and leases without one are together at
//! most the budget, so for each one without there is a connection that is idle, and closed now, or closing already.

use std::{
    collections::HashMap,
    fmt,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::PgPool;
use tokio::{
    runtime::Handle,
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{Failure, connection::Connection, lease::Lease};
use crate::{database::target::Target, deadline::within};

/// How long PostgreSQL may take to make a session. Longer than a call waits: a slow one is then idle for the next.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How the pool behaves; the numbers come from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Connections of all plugins together.
    pub connections_max: usize,
    /// How long a call waits for one before it is answered 503.
    pub wait_max: Duration,
    /// A connection is replaced after so many transactions …
    pub transactions_max: u32,
    /// … or at this age: what a session may have gathered does not live longer.
    pub age_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections_max: 16,
            wait_max: Duration::from_secs(1),
            transactions_max: 10_000,
            age_max: Duration::from_secs(30 * 60),
        }
    }
}

/// A plugin's login, as the pool knows it; made once, when the plugin is loaded. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Login(Arc<Known>);

#[derive(Debug)]
struct Known {
    target: Target,
    permits: Arc<Semaphore>,
}

impl Login {
    pub(super) fn user(&self) -> &str {
        &self.0.target.user
    }

    pub(super) fn target(&self) -> &Target {
        &self.0.target
    }
}

/// The connections of all plugins to one database. Cheap to clone.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    control: PgPool,
    options: Options,
    runtime: Handle,
    permits: Arc<Semaphore>,
    sockets: Arc<Semaphore>,
    published: Notify,
    bulkheads: Mutex<HashMap<String, Arc<Semaphore>>>,
    /// In the order in which they came back.
    #[expect(clippy::vec_box, reason = "moved to a lease and back for every call: a pointer, not the session")]
    idle: Mutex<Vec<Box<Connection>>>,
}

/// How much of the budget is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free {
    /// Leases that could be given out at once.
    pub leases: usize,
    /// Sockets that are not open.
    pub sockets: usize,
    /// Open connections that nobody uses.
    pub idle: usize,
}

impl Pool {
    /// A pool that connects when asked. Tokens are registered through `control`. Call it inside a tokio runtime.
    #[must_use]
    pub fn new(control: PgPool, options: Options) -> Self {
        let budget = options.connections_max.max(1);
        Self(Arc::new(Inner {
            control,
            options,
            runtime: Handle::current(),
            permits: Arc::new(Semaphore::new(budget)),
            sockets: Arc::new(Semaphore::new(budget)),
            published: Notify::new(),
            bulkheads: Mutex::default(),
            idle: Mutex::default(),
        }))
    }

    /// Wakes one who waits when a transaction that published an event has committed.
    #[must_use]
    pub fn published(&self) -> &Notify {
        &self.0.published
    }

    /// Makes a login known. The same user always shares one bulkhead, also with a new password.
    #[must_use]
    pub fn login(&self, target: Target) -> Login {
        let half = (self.0.options.connections_max / 2).max(1);
        let mut bulkheads = locked(&self.0.bulkheads);
        let permits = bulkheads.entry(target.user.clone()).or_insert_with(|| Arc::new(Semaphore::new(half)));
        Login(Arc::new(Known { target, permits: Arc::clone(permits) }))
    }

    /// For metrics and tests.
    #[must_use]
    pub fn free(&self) -> Free {
        Free {
            leases: self.0.permits.available_permits(),
            sockets: self.0.sockets.available_permits(),
            idle: locked(&self.0.idle).len(),
        }
    }

    pub(super) fn control(&self) -> &PgPool {
        &self.0.control
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.0.runtime
    }

    /// A connection of `login`, for one transaction. Waits at most `wait_max`, then fails with `Unavailable`.
    pub(super) async fn lease(&self, login: &Login) -> Result<Lease, Failure> {
        // The way nearly every call goes, without a timer: both permits are free and a connection is idle.
        if let Ok(bulkhead) = Arc::clone(&login.0.permits).try_acquire_owned()
            && let Ok(permit) = Arc::clone(&self.0.permits).try_acquire_owned()
        {
            let permits = [bulkhead, permit];
            return match self.take_idle(login) {
                Some(connection) => Ok(Lease::new(self.clone(), connection, permits, true)),
                None => self.in_time(self.connect(login, permits)).await,
            };
        }
        self.in_time(async {
            let closed = |_| Failure::Unavailable("the pool is closed".to_owned());
            let bulkhead = Arc::clone(&login.0.permits).acquire_owned().await.map_err(closed)?;
            let permit = Arc::clone(&self.0.permits).acquire_owned().await.map_err(closed)?;
            let permits = [bulkhead, permit];
            match self.take_idle(login) {
                Some(connection) => Ok(Lease::new(self.clone(), connection, permits, true)),
                None => self.connect(login, permits).await,
            }
        })
        .await
    }

    /// Takes a connection back whose transaction is known to have ended; gives back one that should be closed.
    pub(super) fn give_back(&self, connection: Box<Connection>) -> Option<Box<Connection>> {
        let Options { transactions_max, age_max, .. } = self.0.options;
        let is_old = connection.transactions >= transactions_max || connection.born.elapsed() >= age_max;
        if is_old || connection.is_closed() {
            return Some(connection);
        }
        locked(&self.0.idle).push(connection);
        None
    }

    async fn in_time(&self, lease: impl Future<Output = Result<Lease, Failure>>) -> Result<Lease, Failure> {
        let late = |_| Failure::Unavailable("no connection became free in time".to_owned());
        within(self.0.options.wait_max, pin!(lease)).await.map_err(late)?
    }

    /// The one of this login that came back last: its caches are the warmest.
    fn take_idle(&self, login: &Login) -> Option<Box<Connection>> {
        let mut idle = locked(&self.0.idle);
        idle.retain(|connection| !connection.is_closed());
        let at = idle.iter().rposition(|connection| connection.user == login.user())?;
        Some(idle.remove(at))
    }

    /// The one nobody has used for longest, of whatever login.
    fn take_oldest(&self) -> Option<Box<Connection>> {
        let mut idle = locked(&self.0.idle);
        if idle.is_empty() { None } else { Some(idle.remove(0)) }
    }

    /// Connects in a task of its own: whoever gives up waiting leaves a session that is made whole and then idle, not a
    /// half-made one whose dropped socket PostgreSQL still works through (which once filled its queue).
    async fn connect(&self, login: &Login, permits: [OwnedSemaphorePermit; 2]) -> Result<Lease, Failure> {
        let (pool, login) = (self.clone(), login.clone());
        let lease = self.0.runtime.spawn(async move {
            let late = |_| Failure::Unavailable(format!("connect as {}: no answer in time", login.user()));
            let connection = timeout(CONNECT_MAX, pool.open(&login)).await.map_err(late)??;
            Ok(Lease::new(pool, connection, permits, false))
        });
        lease.await.map_err(|why| Failure::Unavailable(format!("the connecting task ended: {why}")))?
    }

    async fn open(&self, login: &Login) -> Result<Box<Connection>, Failure> {
        let socket = match Arc::clone(&self.0.sockets).try_acquire_owned() {
            Ok(socket) => socket,
            Err(_) => {
                drop(self.take_oldest());
                let closed = |_| Failure::Unavailable("the pool is closed".to_owned());
                Arc::clone(&self.0.sockets).acquire_owned().await.map_err(closed)?
            }
        };
        Connection::open(login, &self.0.control, socket).await.map(Box::new)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("options", &self.0.options).field("free", &self.free()).finish_non_exhaustive()
    }
}

/// What it guards is whole at any time, so a panic elsewhere does not spoil it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
