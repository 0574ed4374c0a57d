//! The plugins that were admitted, ready to be called.

use std::{
    collections::{BTreeMap, HashMap},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::{ComponentExportIndex, InstancePre};

use super::{
    admit::{Candidate, Import},
    approval::Admission,
    contract::Contract,
    engine::Engine,
    package::Package,
};
use crate::{
    capability::{
        grants::{Approved, Grants},
        tree::{Callee, DEPTH_MAX},
    },
    deadline::within,
    error::{Error, Setup},
    id::PluginId,
};

/// Requests that may wait for a slot, as a multiple of the slots; beyond, the answer is 503 at once.
const QUEUE_FACTOR: u32 = 4;

/// Where to find one exported function in a fresh instance; looked up once.
pub type Export = ComponentExportIndex;

/// One admitted plugin.
pub struct Plugin {
    pub package: Package,
    pub contract: Contract,
    pub imports: BTreeMap<String, Import>,
    approved: Arc<Approved>,
    pre: InstancePre<Grants>,
    exports: HashMap<String, HashMap<String, ComponentExportIndex>>,
    calls: Gate,
}

impl Plugin {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &PluginId {
        &self.package.manifest.id
    }

    /// What its calls may touch.
    #[must_use]
    pub fn approved(&self) -> &Arc<Approved> {
        &self.approved
    }

    /// Where to find an exported function in a fresh instance.
    #[must_use]
    pub fn export(&self, interface: &str, function: &str) -> Option<ComponentExportIndex> {
        self.exports.get(interface)?.get(function).copied()
    }

    /// How many requests hold a slot now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.calls.max.saturating_sub(self.calls.slots.available_permits())
    }

    /// The compiled component with its handles linked.
    #[must_use]
    pub fn pre(&self) -> &InstancePre<Grants> {
        &self.pre
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin").field("id", self.id()).field("digest", &self.package.digest).finish_non_exhaustive()
    }
}

/// Lets so many in at once, lets some wait, and turns the rest away at once.
#[derive(Debug)]
struct Gate {
    max: usize,
    slots: Arc<Semaphore>,
    queue: Arc<Semaphore>,
}

impl Gate {
    fn new(slots: u32) -> Self {
        let of = |count: u32| Arc::new(Semaphore::new(count as usize));
        Self { max: slots as usize, slots: of(slots), queue: of(slots.saturating_mul(QUEUE_FACTOR)) }
    }

    async fn enter(&self, wait: Duration) -> Result<OwnedSemaphorePermit, Error> {
        if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(permit);
        }
        let full = || Error::Unavailable("every slot for calls is taken and enough requests wait".into());
        let _place = self.queue.try_acquire().map_err(|_| full())?;
        match within(wait, pin!(Arc::clone(&self.slots).acquire_owned())).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(full()),
        }
    }
}

/// A place in the engine's pool and in the plugin's own share; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    _plugin: OwnedSemaphorePermit,
    _engine: OwnedSemaphorePermit,
}

/// All admitted plugins.
pub struct Registry {
    plugins: BTreeMap<PluginId, Arc<Plugin>>,
    calls: Gate,
}

impl Registry {
    /// Links every admitted plugin. `approve` turns it into what its calls may touch.
    pub fn load(
        engine: &Engine,
        admitted: Vec<Admission>,
        approve: impl Fn(&Admission) -> Setup<Approved>,
    ) -> Setup<Self> {
        let mut linked = Vec::with_capacity(admitted.len());
        for admission in admitted {
            let approved = Arc::new(approve(&admission)?);
            let (candidate, imports) = admission.into_parts();
            let pre = candidate.link(engine, &imports)?;
            let exports = exports(&candidate, &pre);
            let calls = Gate::new(approved.limits().calls_max.min(engine.slots().0));
            let Candidate { package, contract } = candidate;
            linked.push(Plugin { package, contract, imports, approved, pre, exports, calls });
        }
        let plugins = linked.into_iter().map(|plugin| (plugin.id().clone(), Arc::new(plugin))).collect();
        // Calls between plugins run inside a request's slot and need instances of their own.
        let calls = Gate::new((engine.slots().0 / DEPTH_MAX).max(1));
        Ok(Self { plugins, calls })
    }

    /// Every plugin, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Plugin>> {
        self.plugins.values()
    }

    /// The plugin with this id.
    #[must_use]
    pub fn find(&self, id: &PluginId) -> Option<&Arc<Plugin>> {
        self.plugins.get(id)
    }

    /// Itself, as what plugins call each other through.
    #[must_use]
    pub fn callee(self: &Arc<Self>) -> Arc<dyn Callee> {
        Arc::clone(self) as Arc<dyn Callee>
    }

    /// Waits for a slot as long as the plugin's deadline allows.
    pub async fn enter(&self, plugin: &Plugin) -> Result<Slot, Error> {
        let wait = Duration::from_millis(plugin.approved.limits().deadline_ms.into());
        let _plugin = plugin.calls.enter(wait).await.inspect_err(|_| plugin.approved.note_busy())?;
        let _engine = self.calls.enter(wait).await?;
        Ok(Slot { _plugin, _engine })
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.plugins.keys()).finish()
    }
}

fn exports(candidate: &Candidate, pre: &InstancePre<Grants>) -> HashMap<String, HashMap<String, ComponentExportIndex>> {
    let component = pre.component();
    let mut all = HashMap::new();
    for (interface, functions) in &candidate.contract.exports {
        let Some(instance) = component.get_export_index(None, interface) else { continue };
        let found = functions
            .keys()
            .filter_map(|name| component.get_export_index(Some(&instance), name).map(|index| (name.clone(), index)));
        all.insert(interface.clone(), found.collect());
    }
    all
}
