//! A request's way through plugins, and the trait by which one step leads to the next.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU32, Ordering},
};

use futures::future::BoxFuture;
use wasmtime::component::Val;

use super::limit::Bound;
use crate::{
    access::permit::Permit,
    error::{Culprit, Error},
    id::{PluginId, RequestId},
};

/// Plugins on one path from the request inwards.
pub const DEPTH_MAX: u32 = 4;

/// One request's way through plugins.
#[derive(Clone, Debug)]
pub struct Tree {
    pub request: RequestId,
    /// Events between this call and a request of somebody; 0 in a request.
    pub hops: u32,
    path: Vec<PluginId>,
    /// Made by the first nested call: most requests make none.
    calls: OnceLock<Arc<Calls>>,
}

/// Nested calls of one tree, against the limit of the plugin where the request entered.
#[derive(Debug)]
struct Calls {
    made: AtomicU32,
    max: u32,
}

impl Tree {
    /// A request that enters at `plugin`.
    #[must_use]
    pub fn root(request: RequestId, plugin: &PluginId) -> Self {
        Self::caused(request, plugin, 0)
    }

    /// A call that the host makes at `plugin` because of an event, which is so many events from a request.
    #[must_use]
    pub fn caused(request: RequestId, plugin: &PluginId, hops: u32) -> Self {
        Self { request, hops, path: vec![plugin.clone()], calls: OnceLock::new() }
    }

    /// One plugin further; refused when that would be too deep, a cycle, or one call too many. `max` is the calling plugin's
    /// limit, and counts when it is where the request entered.
    pub fn descend(&self, plugin: &PluginId, max: u32) -> Result<Self, Error> {
        let names = || self.path.iter().map(PluginId::as_str).collect::<Vec<_>>().join(" → ");
        if self.path.contains(plugin) {
            let log = format!("a cycle of calls: {} → {plugin}", names());
            return Err(Error::PluginFault { plugin: unknown(plugin), log });
        }
        if self.path.len() >= DEPTH_MAX as usize {
            let log = format!("more than {DEPTH_MAX} plugins deep: {} → {plugin}", names());
            return Err(Error::PluginFault { plugin: unknown(plugin), log });
        }
        let calls = self.calls.get_or_init(|| Arc::new(Calls { made: AtomicU32::new(0), max }));
        if calls.made.fetch_add(1, Ordering::Relaxed) >= calls.max {
            let plugin = unknown(self.path.first().unwrap_or(plugin));
            return Err(Error::Stopped { plugin, limit: Bound::NestedCalls.name() });
        }
        let mut path = self.path.clone();
        path.push(plugin.clone());
        Ok(Self { request: self.request, hops: self.hops, path, calls: OnceLock::from(Arc::clone(calls)) })
    }
}

/// A path holds no versions: the audit says so, instead of one that it may not have been.
fn unknown(plugin: &PluginId) -> Culprit {
    Culprit { plugin: plugin.to_string(), digest: String::new() }
}

/// One call from plugin to plugin.
pub struct Nested {
    pub plugin: PluginId,
    pub interface: Arc<str>,
    pub function: Arc<str>,
    pub permit: Permit,
    pub tree: Tree,
    pub arguments: Vec<Val>,
    /// Whom the callee may call in turn.
    pub callee: Arc<dyn Callee>,
}

/// Whoever can run a nested call; the plugin registry does.
pub trait Callee: Send + Sync {
    /// The function's value, or the error that ends the whole request.
    fn call(&self, nested: Nested) -> BoxFuture<'_, Result<Option<Val>, Error>>;
}
