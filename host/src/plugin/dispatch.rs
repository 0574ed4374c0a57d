//! Delivering events: for each subscriber a task that asks the database what is due, and calls.
//!
//! A delivery is taken in the subscriber's own transaction, so what it wrote and the mark that it was called commit
//! together: the call is made at least once, and its effects are there once. Several nodes may do this; a row is locked by
//! whoever takes it, and the others pass it over. A subscriber that calls out has no transaction meanwhile: its delivery is
//! lent out for a time, and taken at the end; whoever it calls may hear the same twice. One slow or broken subscriber holds up itself alone.

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use sqlx::PgPool;
use tokio::{sync::Notify, task::JoinSet};

use super::{
    call,
    registry::{Plugin, Registry},
    value, witness,
};
use crate::{
    access::{
        permit::{Permit, permit},
        policy::Rule,
        role::RoleTable,
    },
    audit::{Log, event::By},
    capability::{
        grants::{Grants, Mode},
        tree::Tree,
    },
    database::event::{self, Due, Patience},
    error::{Blame, Error},
    id::{AccountId, Denial, RequestId},
    identity::actor::Actor,
};

/// Deliveries to one subscriber that are made at once.
const AT_ONCE: usize = 4;
/// Deliveries that are asked for at once.
const BATCH: i64 = 16;
/// How long a delivery is put off that failed through no fault of the subscriber's.
const POSTPONE: Duration = Duration::from_secs(2);

/// How much longer than its call a delivery is lent out: a COMMIT is waited for, and one whose answer was lost asked after.
const LEASE_BEYOND: Duration = Duration::from_secs(10);

/// What calls that the host makes itself are made with.
#[derive(Clone, Debug)]
pub struct Office {
    pub registry: Arc<Registry>,
    pub roles: Arc<RoleTable>,
    pub control: PgPool,
    pub audit: Log,
    pub patience: Patience,
    /// How long to wait when nothing is due and nobody wakes us.
    pub poll: Duration,
}

impl Office {
    /// The host's own permit, which holds no role.
    pub(super) fn permit(&self, name: &'static str, cause: Option<AccountId>) -> Result<Permit, Error> {
        permit(Actor::system(name, cause), &Rule::Authenticated, &self.roles, &Denial::route("SYSTEM", name))
    }

    /// A plugin's fault in a call that the host made itself.
    pub(super) fn record(&self, name: &'static str, error: &Error) {
        if let Some(what) = witness::fault(&self.registry, error) {
            self.audit.record(By::system(name), what);
        }
    }

    /// Starts a task for each subscriber, and one that wakes them.
    pub fn deliver(&self, tasks: &mut JoinSet<()>) {
        let subscribers = self.registry.newest().filter(|plugin| !plugin.contract.events.subscribed.is_empty());
        let woken: Vec<_> = subscribers.map(|plugin| (Arc::clone(plugin), Arc::new(Notify::new()))).collect();
        if woken.is_empty() {
            return;
        }
        for (plugin, wake) in &woken {
            let (office, plugin, wake) = (self.clone(), Arc::clone(plugin), Arc::clone(wake));
            tasks.spawn(async move {
                loop {
                    if office.round(&plugin).await == 0 {
                        let _ = tokio::time::timeout(office.poll, wake.notified()).await;
                    }
                }
            });
        }
        tasks.spawn(event::follow(self.control.clone(), move || {
            woken.iter().for_each(|(_, wake)| wake.notify_one());
        }));
    }

    /// Makes what is due, once each; gives how many deliveries came to an end, so that others may have their turn.
    pub async fn round(&self, plugin: &Arc<Plugin>) -> usize {
        let due = match event::due(&self.control, plugin.id().as_str(), BATCH).await {
            Ok(due) => due,
            Err(why) => {
                tracing::warn!(target: "host", subscriber = %plugin.id(), %why, "deliveries cannot be asked for");
                return 0;
            }
        };
        let made = futures::stream::iter(due).map(|due| self.attempt(plugin, due)).buffer_unordered(AT_ONCE);
        made.filter(|is_over| std::future::ready(*is_over)).count().await
    }

    async fn attempt(&self, plugin: &Plugin, due: Due) -> bool {
        match self.make(plugin, &due).await {
            Ok(is_made) => is_made,
            Err(error) => self.note(plugin, &due, &error).await,
        }
    }

    /// One delivery; false when it is somebody else's.
    async fn make(&self, plugin: &Plugin, due: &Due) -> Result<bool, Error> {
        let Due { interface, function, payload, .. } = due;
        let fault = |log: String| Error::PluginFault { plugin: plugin.culprit(), log };
        let event = plugin.contract.events.subscribed.get(interface).and_then(|topic| topic.get(function));
        let export = plugin.export(interface, function);
        let (Some(event), Some(export)) = (event, export) else {
            return Err(fault(format!("does not subscribe to `{interface} {function}` any more")));
        };
        let permit = self.permit("event", due.cause.map(AccountId))?;
        let arguments = event.decode(payload, &value::caller(&permit)).map_err(fault)?;
        let is_outbound = plugin.contract.events.outbound.contains(interface);
        let _slot = self.registry.enter(plugin).await?;
        if is_outbound && !self.lend(plugin, due).await? {
            return Ok(false);
        }
        let hops = u32::try_from(due.hops).unwrap_or(u32::MAX).saturating_add(1);
        let tree = Tree::caused(RequestId::fresh(), plugin.id(), hops);
        let mut grants = plugin.approved().grant(permit, Mode::ReadWrite, tree, self.registry.callee());
        // No transaction is open while a subscriber calls out: its delivery is taken last, before the same commit.
        if !is_outbound && !take(plugin, due, &mut grants).await? {
            return Ok(false);
        }
        let answer = call::invoke(plugin, &export, grants, &arguments).await?;
        let mut grants = call::ensure_done(plugin, answer)?;
        if is_outbound && !take(plugin, due, &mut grants).await? {
            return Ok(false);
        }
        call::keep(plugin, grants).await?;
        tracing::debug!(target: "host", delivery = due.id, subscriber = %plugin.id(), "delivered");
        Ok(true)
    }

    /// For as long as the call may take, and its end; a node that dies meanwhile is followed by another.
    async fn lend(&self, plugin: &Plugin, due: &Due) -> Result<bool, Error> {
        let lease = Duration::from_millis(plugin.package.manifest.limits.deadline_ms.into()) + LEASE_BEYOND;
        event::lend(&self.control, due.id, lease).await.map_err(|why| Error::Unavailable(why.to_string().into()))
    }

    /// Writes a failure down; gives whether the delivery is dead.
    async fn note(&self, plugin: &Plugin, due: &Due, error: &Error) -> bool {
        let why = error.log();
        let is_counted = error.blame() != Blame::Host;
        tracing::warn!(target: "host", delivery = due.id, subscriber = %plugin.id(), interface = due.interface,
            function = due.function, %why, is_counted, "a delivery failed");
        self.record("event", error);
        let noted = match is_counted {
            true => event::fail(&self.control, due.id, &why, &self.patience).await,
            false => event::postpone(&self.control, due.id, &why, POSTPONE).await.map(|()| false),
        };
        match noted {
            Ok(true) => {
                tracing::error!(target: "host", delivery = due.id, subscriber = %plugin.id(),
                    fix = format!("dinehub event replay {}", due.id), "a delivery is dead");
                true
            }
            Ok(false) => false,
            Err(why) => {
                tracing::warn!(target: "host", delivery = due.id, %why, "a failure could not be written down");
                false
            }
        }
    }
}

/// Takes a delivery in the call's transaction; false when it is somebody else's, or was.
async fn take(plugin: &Plugin, due: &Due, grants: &mut Grants) -> Result<bool, Error> {
    let taken = grants.transaction().take_delivery(due.id, plugin.id().as_str()).await;
    taken.map_err(|failure| call::unserved(plugin, failure))
}
