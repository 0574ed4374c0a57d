//! One call: a fresh store, a fresh instance, one function, and the end of its transaction.
//!
//! The store lives for the call and no longer. A guest that loops, grows, recurses or traps ends itself and nothing else:
//! the deadline drops the store, and with it the lease on the connection.

use std::{pin::pin, time::Duration};

use futures::future::BoxFuture;
use tokio::task::yield_now;
use wasmtime::{
    Store, Trap, UpdateDeadline,
    component::{ComponentExportIndex, Val},
};

use super::{
    registry::{Plugin, Registry},
    witness::{REFUSED, SAID},
};
use crate::{
    capability::{
        grants::{Grants, Mode},
        limit::Bound,
        tree::{Callee, Nested},
    },
    database::guest::{Failure, Uncommitted},
    deadline::within,
    error::Error,
};

/// A function answered, `ok` or `err`; the transaction is still open.
pub struct Answer {
    pub value: Option<Val>,
    pub grants: Grants,
}

/// Runs `export` with `grants`. The guest's own `err` is an [`Answer`]; an [`Error`] means that it did not get that far.
pub async fn invoke(
    plugin: &Plugin,
    export: &ComponentExportIndex,
    grants: Grants,
    arguments: &[Val],
) -> Result<Answer, Error> {
    let deadline = Duration::from_millis(grants.limits().deadline_ms.into());
    match within(deadline, pin!(run(plugin, export, grants, arguments))).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::Timeout { plugin: plugin.culprit(), log: "stopped at its limit `deadline_ms`" }),
    }
}

async fn run(
    plugin: &Plugin,
    export: &ComponentExportIndex,
    grants: Grants,
    arguments: &[Val],
) -> Result<Answer, Error> {
    let limits = *grants.limits();
    let mut store = Store::new(plugin.pre().engine(), grants);
    store.limiter(|grants| grants.meter_mut());
    store.set_hostcall_fuel(limits.hostcall_bytes);
    store.set_max_component_handles(limits.handles_max);
    store.set_epoch_deadline(1);
    // At each tick the runtime first sees to its sockets and timers: a guest that spins keeps no other request waiting.
    store.epoch_deadline_callback(|mut context| {
        let goes_on = context.data_mut().meter_mut().tick();
        Ok(if goes_on { UpdateDeadline::YieldCustom(1, Box::pin(yield_now())) } else { UpdateDeadline::Interrupt })
    });
    let called = enter(plugin, export, &mut store, arguments).await;
    let mut grants = store.into_data();
    match called {
        Ok(value) => Ok(Answer { value, grants }),
        Err(error) => Err(blame(&mut grants, &error)),
    }
}

async fn enter(
    plugin: &Plugin,
    export: &ComponentExportIndex,
    store: &mut Store<Grants>,
    arguments: &[Val],
) -> wasmtime::Result<Option<Val>> {
    let instance = plugin.pre().instantiate_async(&mut *store).await?;
    let function = instance.get_func(&mut *store, export).ok_or_else(|| wasmtime::Error::msg("the export is gone"))?;
    let mut results = vec![Val::Bool(false); function.ty(&*store).results().len()];
    function.call_async(&mut *store, arguments, &mut results).await?;
    Ok(results.pop())
}

/// Said of a plugin that gave up because a statement could not be run.
const UNSERVED: &str = "the database failed the call, or another transaction was in its way";

/// Whose fault a call's end is: a host function's word first, then the bound it ran into, then the trap itself.
fn blame(grants: &mut Grants, error: &wasmtime::Error) -> Error {
    if let Some(stopped) = grants.take_stop() {
        return stopped;
    }
    if let Some(bound) = Bound::of(error) {
        grants.meter_mut().exceed(bound);
    }
    if grants.meter().exceeded().is_some() {
        grants.stop_at_bound();
        return grants.take_stop().unwrap_or_else(|| Error::internal("a bound without a reason"));
    }
    if grants.is_unserved() {
        return Error::Unavailable(UNSERVED.into());
    }
    let plugin = grants.culprit();
    let log = match error.downcast_ref::<Trap>() {
        Some(trap) => format!("trapped: {trap}"),
        None => format!("failed: {error:#}"),
    };
    let said = grants.take_said().map(|said| format!("{SAID}{said}"));
    Error::PluginFault { plugin, log: log + &said.unwrap_or_default() }
}

/// Whether a call that the host made itself came to its end. A problem that the function gave is its failure.
pub fn ensure_done(plugin: &Plugin, answer: Answer) -> Result<Grants, Error> {
    let Answer { value, grants } = answer;
    if grants.is_unserved() {
        return Err(Error::Unavailable(UNSERVED.into()));
    }
    match value {
        Some(Val::Result(Err(problem))) => {
            Err(Error::PluginFault { plugin: plugin.culprit(), log: format!("{REFUSED}: {problem:?}") })
        }
        _ => Ok(grants),
    }
}

/// Ends such a call: what it wrote lasts, or nothing does.
pub async fn keep(plugin: &Plugin, grants: Grants) -> Result<(), Error> {
    grants.into_transaction().commit().await.map_err(|why| uncommitted(plugin, why))
}

/// A call from another plugin: same caller, own store, own read-only transaction; its value goes back whole.
pub async fn read_only(plugin: &Plugin, export: &ComponentExportIndex, nested: Nested) -> Result<Option<Val>, Error> {
    let grants = plugin.approved().grant(nested.permit, Mode::ReadOnly, nested.tree, nested.callee);
    let Answer { value, grants } = invoke(plugin, export, grants, &nested.arguments).await?;
    let ended = grants.into_transaction().commit().await;
    ended.map(|()| value).map_err(|why| uncommitted(plugin, why))
}

/// Why a transaction that the plugin wanted kept was not.
#[must_use]
pub fn uncommitted(plugin: &Plugin, why: Uncommitted) -> Error {
    match why {
        Uncommitted::Refused => {
            let log = "said `ok` although a statement had failed".to_owned();
            Error::PluginFault { plugin: plugin.culprit(), log }
        }
        Uncommitted::Failed(failure) => unserved(plugin, failure),
        Uncommitted::Unknown => Error::Unavailable("the outcome of a COMMIT is not known".into()),
    }
}

/// A statement of the host's own failed in a plugin's transaction.
#[must_use]
pub fn unserved(plugin: &Plugin, failure: Failure) -> Error {
    match failure {
        Failure::Unavailable(why) => Error::Unavailable(why.into()),
        Failure::Timeout => Error::Unavailable("the database was too slow".into()),
        Failure::Retry => Error::Unavailable("another transaction was in the way".into()),
        // A statement of the plugin's had failed before, and it went on.
        Failure::Aborted => uncommitted(plugin, Uncommitted::Refused),
        other => Error::Internal(format!("{}: {other:?}", plugin.id()).into()),
    }
}

impl Callee for Registry {
    fn call(&self, nested: Nested) -> BoxFuture<'_, Result<Option<Val>, Error>> {
        Box::pin(async move {
            let plugin = self.find(&nested.plugin, &nested.interface)?;
            let export = plugin.export(&nested.interface, &nested.function);
            let export = export.ok_or_else(|| Error::internal("a linked function is gone"))?;
            read_only(plugin, &export, nested).await
        })
    }
}
