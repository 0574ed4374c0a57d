//! Grants: what one call holds. Made here, from a [`Permit`] and what was approved for the plugin, and nowhere else.
//!
//! ```compile_fail
//! // There is no other way to make one: every field is private.
//! let grants = dinehub::capability::grants::Grants { permit, approved };
//! ```

use std::{fmt, sync::Arc};

use uuid::Uuid;

use super::{
    approved::Approved,
    handle::Opened,
    limit::{Bound, Limits},
    meter::Meter,
    tree::{Callee, Tree},
    wasi::Wasi,
};
use crate::{
    access::permit::Permit,
    audit::event::{Artefact, What},
    database::{
        guest::{self, Opening, Transaction},
        statement::Statement,
    },
    error::{Culprit, Error},
    id::PluginId,
};

/// Whether a call may change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    ReadOnly,
    ReadWrite,
}

impl Approved {
    /// The one maker: the permit is used up.
    #[must_use]
    pub fn grant(self: &Arc<Self>, permit: Permit, mode: Mode, tree: Tree, callee: Arc<dyn Callee>) -> Grants {
        let login = match mode {
            Mode::ReadOnly => &self.login_ro,
            Mode::ReadWrite => &self.login_rw,
        };
        let opening = Opening {
            caller: permit.caller(),
            read_only: mode == Mode::ReadOnly,
            repeatable: false,
            timeout_ms: i32::try_from(self.limits.deadline_ms.min(self.limits.database_ms)).unwrap_or(i32::MAX),
            limits: guest::Limits { rows_max: self.limits.rows_max as usize, bytes_max: self.limits.row_bytes_max },
        };
        let transaction = Transaction::new(self.pool.clone(), login.clone(), opening);
        let meter = Meter::new(self.limits, self.tick_ms, Arc::clone(&self.budget));
        let wasi = self.handles.wasi.as_ref().map(|opened| opened.start(&self.plugin, tree.request, &self.limits));
        Grants(Box::new(Held {
            approved: Arc::clone(self),
            permit,
            mode,
            tree,
            callee,
            transaction,
            meter,
            wasi,
            stopped: None,
            said: None,
            is_to_retry: false,
            had_effect: false,
            is_unserved: false,
        }))
    }
}

/// The handles of one call. Moved into a fresh store; whatever must be given back is given back when it is dropped.
///
/// A pointer, because a call hands it on a dozen times: into each future on the way, into the store, out of it again.
pub struct Grants(Box<Held>);

struct Held {
    approved: Arc<Approved>,
    permit: Permit,
    mode: Mode,
    tree: Tree,
    callee: Arc<dyn Callee>,
    transaction: Transaction,
    meter: Meter,
    wasi: Option<Box<Wasi>>,
    stopped: Option<Error>,
    /// The plugin's last warning.
    said: Option<String>,
    is_to_retry: bool,
    /// Something left the house that a rollback does not take back.
    had_effect: bool,
    is_unserved: bool,
}

/// One use of an imported function, for [`Grants::authorize`].
#[derive(Debug)]
pub struct Use<'a> {
    pub interface: &'a str,
    pub function: &'a str,
    /// The pinned statement behind it, if it is one.
    pub statement: Option<&'a Statement>,
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
    pub fn authorize(&mut self, wanted: &Use<'_>) -> Result<(), Stopped> {
        let Use { interface, function, statement } = *wanted;
        if !self.0.approved.granted.use_once(interface, function) {
            let plugin = self.0.approved.culprit();
            return Err(self.stop(Error::Ungranted { plugin, import: format!("{interface} {function}") }));
        }
        let Some(statement) = statement else { return Ok(()) };
        if self.0.mode == Mode::ReadOnly && statement.ask.writes() {
            let Statement { handle, name, .. } = statement;
            return Err(self.stop_at_fault(format!("statement {handle}.{name} writes in a read-only call")));
        }
        if self.0.meter.statement() { Ok(()) } else { Err(self.stop_at_bound()) }
    }

    /// Ends the call because the plugin did what it may not.
    pub fn stop_at_fault(&mut self, log: String) -> Stopped {
        self.stop(Error::PluginFault { plugin: self.0.approved.culprit(), log })
    }

    /// Ends the call with `error` as the answer.
    pub fn stop(&mut self, error: Error) -> Stopped {
        self.0.stopped.get_or_insert(error);
        Stopped
    }

    /// Ends the call because the meter says so.
    pub fn stop_at_bound(&mut self) -> Stopped {
        let limit = self.0.meter.exceeded().map_or("a limit", super::limit::Bound::name);
        self.stop(Error::Stopped { plugin: self.0.approved.culprit(), limit })
    }

    /// PostgreSQL refused a statement.
    pub fn deny(&self) {
        self.0.approved.budget.deny();
    }

    /// A bound cut something off, and the guest goes on without it.
    pub fn limited(&self, bound: Bound) {
        self.0.approved.budget.stop(bound.name());
        self.record(|artefact| What::Limited { artefact, limit: bound.name() });
    }

    /// Records something about this call; `what` is given the plugin.
    pub fn record(&self, what: impl FnOnce(Artefact) -> What) {
        self.0.approved.audit.record(self.0.permit.actor().by(self.0.tree.request), what(self.0.approved.artefact()));
    }

    /// The plugin warned of something: should the call not come to its end, this is why.
    pub fn note_said(&mut self, said: String) {
        self.0.said = Some(said);
    }

    /// What the plugin warned of last, once.
    pub fn take_said(&mut self) -> Option<String> {
        self.0.said.take()
    }

    /// Why the call was ended by the host, once.
    pub fn take_stop(&mut self) -> Option<Error> {
        self.0.stopped.take()
    }

    /// The database asked for the call to be run once more (SQLSTATE 40001 or 40P01).
    pub fn note_retry(&mut self) {
        self.0.is_to_retry = true;
    }

    /// Whether it did, and nothing left the house yet that would then leave it twice.
    #[must_use]
    pub fn is_to_retry(&self) -> bool {
        self.0.is_to_retry && !self.0.had_effect
    }

    /// Something is about to leave the house.
    pub fn note_effect(&mut self) {
        self.0.had_effect = true;
    }

    /// A function of a safe method runs first, in the transaction of one that writes: it writes nothing here either.
    pub fn only_read_first(&mut self) {
        self.0.mode = Mode::ReadOnly;
    }

    /// Then the one that writes, after the first one's store is gone.
    pub fn begin_to_write(&mut self) {
        self.0.mode = Mode::ReadWrite;
        self.0.meter.store_ended();
    }

    /// Whether the call may change nothing.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.0.mode == Mode::ReadOnly
    }

    /// The database failed the call, through no fault of the plugin's.
    pub fn note_unserved(&mut self) {
        self.0.is_unserved = true;
    }

    /// Whether the database failed the call, or asked for it to be run again: what the plugin then did is not its fault.
    #[must_use]
    pub fn is_unserved(&self) -> bool {
        self.0.is_unserved || self.0.is_to_retry
    }

    /// Who may what.
    #[must_use]
    pub fn permit(&self) -> &Permit {
        &self.0.permit
    }

    /// The permit back, when the call is to be run again.
    #[must_use]
    pub fn into_permit(self) -> Permit {
        self.0.permit
    }

    /// The plugin that holds these.
    #[must_use]
    pub fn plugin(&self) -> &PluginId {
        &self.0.approved.plugin
    }

    /// The same in its exact artefact, for errors.
    #[must_use]
    pub fn culprit(&self) -> Culprit {
        self.0.approved.culprit()
    }

    /// What the plugin's declared handles lead to.
    #[must_use]
    pub fn handles(&self) -> &Opened {
        &self.0.approved.handles
    }

    /// WASI, if it was granted any.
    pub fn wasi(&mut self) -> Option<&mut Wasi> {
        self.0.wasi.as_deref_mut()
    }

    /// The request's way to here.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.0.tree
    }

    /// Whom to ask for nested calls.
    #[must_use]
    pub fn callee(&self) -> Arc<dyn Callee> {
        Arc::clone(&self.0.callee)
    }

    /// What was used.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.0.meter
    }

    /// For the store's limiter and clock.
    pub fn meter_mut(&mut self) -> &mut Meter {
        &mut self.0.meter
    }

    /// The call's one transaction.
    pub fn transaction(&mut self) -> &mut Transaction {
        &mut self.0.transaction
    }

    /// Whether the call asked the database for anything.
    #[must_use]
    pub fn has_asked(&self) -> bool {
        !self.0.transaction.used().is_zero()
    }

    /// The transaction by itself, to be ended.
    #[must_use]
    pub fn into_transaction(self) -> Transaction {
        self.0.transaction
    }

    /// What `:caller` is bound to.
    #[must_use]
    pub fn caller_id(&self) -> Uuid {
        self.0.transaction.caller().id()
    }

    /// The bounds of this call.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.0.approved.limits
    }
}
