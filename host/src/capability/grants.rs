//! Grants: what one call holds. Made here, from a [`Permit`] and what was approved for the plugin, and nowhere else.
//!
//! ```compile_fail
//! // There is no other way to make one: every field is private.
//! let grants = dinehub::capability::grants::Grants { permit, approved };
//! ```

use std::{fmt, sync::Arc};

use uuid::Uuid;

use super::{
    limit::{Limits, Meter},
    tree::{Callee, Tree},
};
use crate::{
    access::permit::Permit,
    database::{
        guest::{self, Login, Opening, Pool, Transaction},
        identity::Caller,
        statement::Statement,
    },
    error::Error,
    id::PluginId,
};

/// What was approved for one plugin, configured once at load.
#[derive(Debug)]
pub struct Approved {
    plugin: PluginId,
    limits: Limits,
    tick_ms: u32,
    pool: Pool,
    /// Sees what the statements of safe methods read, and can write nothing.
    login_ro: Login,
    /// Holds exactly the columns that the statements need.
    login_rw: Login,
}

/// Whether a call may change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    ReadOnly,
    ReadWrite,
}

impl Approved {
    /// For `plugin`, whose two logins at the database are given.
    #[must_use]
    pub fn new(plugin: PluginId, limits: Limits, tick_ms: u32, pool: Pool, login_ro: Login, login_rw: Login) -> Self {
        Self { plugin, limits, tick_ms, pool, login_ro, login_rw }
    }

    /// The bounds of one call.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Its plugin.
    #[must_use]
    pub fn plugin(&self) -> &PluginId {
        &self.plugin
    }

    /// The one maker: the permit is used up.
    #[must_use]
    pub fn grant(self: &Arc<Self>, permit: Permit, mode: Mode, tree: Tree, callee: Arc<dyn Callee>) -> Grants {
        let login = match mode {
            Mode::ReadOnly => &self.login_ro,
            Mode::ReadWrite => &self.login_rw,
        };
        let opening = Opening {
            caller: caller(&permit),
            read_only: mode == Mode::ReadOnly,
            timeout_ms: i32::try_from(self.limits.deadline_ms).unwrap_or(i32::MAX),
            limits: guest::Limits { rows_max: self.limits.rows_max as usize, bytes_max: self.limits.row_bytes_max },
        };
        let transaction = Transaction::new(self.pool.clone(), login.clone(), opening);
        let meter = Meter::new(self.limits, self.tick_ms);
        Grants {
            approved: Arc::clone(self),
            permit,
            mode,
            tree,
            callee,
            transaction,
            meter,
            stopped: None,
            is_to_retry: false,
        }
    }
}

/// How the database is told who asks.
fn caller(permit: &Permit) -> Caller {
    let actor = permit.actor();
    match (actor.account(), actor.is_anonymous()) {
        (Some(account), _) => Caller::user(account, permit.roles()),
        (None, true) => Caller::anonymous(),
        (None, false) => Caller::system(),
    }
}

/// The handles of one call. Moved into a fresh store; whatever must be given back is given back when it is dropped.
pub struct Grants {
    approved: Arc<Approved>,
    permit: Permit,
    mode: Mode,
    tree: Tree,
    callee: Arc<dyn Callee>,
    transaction: Transaction,
    meter: Meter,
    stopped: Option<Error>,
    is_to_retry: bool,
}

/// One use of a handle, for [`Grants::authorize`].
#[derive(Debug)]
pub enum Handle<'a> {
    Statement(&'a Statement),
    Call { plugin: &'a PluginId },
    Log,
}

/// A host function ended the call; the reason is kept in the grants.
#[derive(Debug)]
pub struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the host ended the call")
    }
}

impl std::error::Error for Stopped {}

impl Grants {
    /// The one check that every host function passes. Linking already left out what was not approved; this is the second
    /// key, and the place where a call's bounds are counted.
    pub fn authorize(&mut self, handle: Handle<'_>) -> Result<(), Stopped> {
        let within = match handle {
            Handle::Statement(statement) if self.mode == Mode::ReadOnly && statement.ask.writes() => {
                let log = format!("statement {}.{} writes in a read-only call", statement.handle, statement.name);
                return Err(self.stop(Error::PluginFault { plugin: self.approved.plugin.to_string(), log }));
            }
            Handle::Statement(_) => self.meter.statement(),
            Handle::Call { .. } | Handle::Log => true,
        };
        if within { Ok(()) } else { Err(self.stop_at_bound()) }
    }

    /// Ends the call with `error` as the answer.
    pub fn stop(&mut self, error: Error) -> Stopped {
        self.stopped.get_or_insert(error);
        Stopped
    }

    /// Ends the call because the meter says so.
    pub fn stop_at_bound(&mut self) -> Stopped {
        let bound = self.meter.exceeded().map_or("a limit", super::limit::Bound::name);
        let log = format!("stopped at its limit `{bound}`");
        self.stop(Error::PluginFault { plugin: self.approved.plugin.to_string(), log })
    }

    /// Why the call was ended by the host, once.
    pub fn take_stop(&mut self) -> Option<Error> {
        self.stopped.take()
    }

    /// The database asked for the call to be run once more (SQLSTATE 40001 or 40P01).
    pub fn note_retry(&mut self) {
        self.is_to_retry = true;
    }

    /// Whether it did.
    #[must_use]
    pub fn is_to_retry(&self) -> bool {
        self.is_to_retry
    }

    /// Who may what.
    #[must_use]
    pub fn permit(&self) -> &Permit {
        &self.permit
    }

    /// The permit back, when the call is to be run again.
    #[must_use]
    pub fn into_permit(self) -> Permit {
        self.permit
    }

    /// The plugin that holds these.
    #[must_use]
    pub fn plugin(&self) -> &PluginId {
        &self.approved.plugin
    }

    /// The request's way to here.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Whom to ask for nested calls.
    #[must_use]
    pub fn callee(&self) -> Arc<dyn Callee> {
        Arc::clone(&self.callee)
    }

    /// What was used.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// For the store's limiter and clock.
    pub fn meter_mut(&mut self) -> &mut Meter {
        &mut self.meter
    }

    /// The call's one transaction.
    pub fn transaction(&mut self) -> &mut Transaction {
        &mut self.transaction
    }

    /// The transaction by itself, to be ended.
    #[must_use]
    pub fn into_transaction(self) -> Transaction {
        self.transaction
    }

    /// What `:caller` is bound to.
    #[must_use]
    pub fn caller_id(&self) -> Uuid {
        self.transaction.caller().id()
    }

    /// The bounds of this call.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.approved.limits
    }
}
