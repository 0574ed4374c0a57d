//! What was approved for one plugin, in one artefact. Calls share it; each gets its [`super::grants::Grants`] from it.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use super::{
    budget::Budget,
    granted::{Granted, Used},
    handle::Opened,
    limit::{Bound, Limits},
};
use crate::{
    audit::{
        Log,
        event::{Artefact, By, What},
    },
    database::guest::{Login, Pool},
    error::Culprit,
    id::PluginId,
};

/// How often it is recorded that a plugin is busy, in seconds.
const BUSY_EVERY_S: i64 = 10;

/// What was approved for one plugin, configured once at load.
#[derive(Debug)]
pub struct Approved {
    pub(super) plugin: PluginId,
    pub(super) granted: Granted,
    pub(super) handles: Opened,
    pub(super) limits: Limits,
    pub(super) tick_ms: u32,
    pub(super) pool: Pool,
    /// Sees what the statements of safe methods read, and can write nothing.
    pub(super) login_ro: Login,
    /// Holds exactly the columns that the statements need.
    pub(super) login_rw: Login,
    pub(super) audit: Log,
    artefact: Artefact,
    /// When it was last recorded that all slots are taken, in seconds since 1970.
    busy_s: AtomicI64,
    pub(super) budget: Arc<Budget>,
}

impl Approved {
    /// For `plugin`: the functions it was granted, what its handles lead to, the bounds of a call, its two logins at
    /// the database (`_ro`, `_rw`), and where its doings are recorded, with its digest.
    #[must_use]
    pub fn new(
        plugin: PluginId,
        granted: (Granted, Opened),
        bounds: (Limits, u32),
        pool: Pool,
        logins: (Login, Login),
        audit: (Log, &str),
    ) -> Self {
        let ((granted, handles), (limits, tick_ms), (login_ro, login_rw)) = (granted, bounds, logins);
        let (audit, artefact) = (audit.0, Artefact::new(plugin.as_str(), audit.1));
        Self {
            plugin,
            granted,
            handles,
            limits,
            tick_ms,
            pool,
            login_ro,
            login_rw,
            audit,
            artefact,
            busy_s: AtomicI64::new(0),
            budget: Arc::default(),
        }
    }

    /// Which functions were used since the last call of this.
    #[must_use]
    pub fn take_used(&self) -> Vec<Used> {
        self.granted.take_used()
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

    /// What its calls used so far.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Its plugin and digest, for the audit.
    #[must_use]
    pub fn artefact(&self) -> Artefact {
        self.artefact.clone()
    }

    /// The same, for errors.
    #[must_use]
    pub fn culprit(&self) -> Culprit {
        self.artefact.culprit()
    }

    /// A request found all slots taken: an event, but not one for each of many.
    pub fn note_busy(&self) {
        self.budget.stop(Bound::Calls.name());
        let now_s = jiff::Timestamp::now().as_second();
        let told_s = self.busy_s.load(Ordering::Relaxed);
        let is_due = now_s.saturating_sub(told_s) >= BUSY_EVERY_S;
        if is_due && self.busy_s.compare_exchange(told_s, now_s, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.audit.record(By::host(), What::Busy { artefact: self.artefact() });
        }
    }
}
