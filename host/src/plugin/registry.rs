//! The plugins that were admitted, ready to be called.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use wasmtime::component::{ComponentExportIndex, InstancePre};

use super::{
    admit::{Candidate, Import},
    approval::Admission,
    compile::Compiler,
    contract::Contract,
    engine::Engine,
    manifest::{self, Series},
    package::Package,
    slot::{Gate, Slot},
};
use crate::{
    capability::{approved::Approved, grants::Grants, tree::Callee},
    error::{Culprit, Error, Setup},
    id::PluginId,
};

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

    /// Itself, for errors.
    #[must_use]
    pub fn culprit(&self) -> Culprit {
        self.approved.culprit()
    }

    /// Where to find an exported function in a fresh instance.
    #[must_use]
    pub fn export(&self, interface: &str, function: &str) -> Option<ComponentExportIndex> {
        self.exports.get(interface)?.get(function).copied()
    }

    /// How many requests hold a slot now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.calls.taken()
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

/// All admitted plugins.
pub struct Registry {
    plugins: BTreeMap<Series, Arc<Plugin>>,
    /// Installed, and switched off by an operator.
    disabled: Vec<Series>,
    calls: Arc<Gate>,
}

impl Registry {
    /// Compiles and links every admitted plugin. `approve` turns it into what its calls may touch.
    pub async fn load(
        engine: &Engine,
        compiler: &Compiler,
        admitted: Vec<Admission>,
        disabled: Vec<Series>,
        approve: impl Fn(&Admission) -> Setup<Approved>,
    ) -> Setup<Self> {
        let components = compiler.components(engine, admitted.iter().map(Admission::package)).await?;
        let mut linked = Vec::with_capacity(admitted.len());
        for (admission, component) in admitted.into_iter().zip(&components) {
            let approved = Arc::new(approve(&admission)?);
            let (candidate, imports) = admission.into_parts();
            let pre = candidate.link(engine, component, &imports)?;
            let exports = exports(&candidate, &pre);
            let calls = Gate::new(approved.limits().calls_max.min(engine.slots().0));
            let Candidate { package, contract } = candidate;
            linked.push(Plugin { package, contract, imports, approved, pre, exports, calls });
        }
        let plugins = linked.into_iter().map(|plugin| (plugin.package.manifest.series(), Arc::new(plugin))).collect();
        Ok(Self { plugins, disabled, calls: Arc::clone(engine.calls()) })
    }

    /// Every plugin, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Plugin>> {
        self.plugins.values()
    }

    /// The plugin of this id that offers `interface`: of several versions only one does, because names carry theirs.
    pub fn find(&self, id: &PluginId, interface: &str) -> Result<&Arc<Plugin>, Error> {
        let of_id = self.plugins.iter().filter(|((known, _), _)| known == id).map(|(_, plugin)| plugin);
        let mut offering = of_id.filter(|plugin| plugin.exports.contains_key(interface));
        offering.next().ok_or_else(|| match self.disabled.iter().any(|(known, _)| known == id) {
            true => Error::Disabled { plugin: id.to_string() },
            false => Error::internal("a linked plugin is gone"),
        })
    }

    /// Whether a path that no route has belongs to a plugin that is switched off.
    pub fn ensure_enabled(&self, path: &str) -> Result<(), Error> {
        let is_below = |series: &&Series| {
            let rest = path.strip_prefix(&manifest::prefix(series));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        match self.disabled.iter().find(is_below) {
            Some((id, _)) => Err(Error::Disabled { plugin: id.to_string() }),
            None => Ok(()),
        }
    }

    /// Those that are switched off.
    #[must_use]
    pub fn disabled(&self) -> &[Series] {
        &self.disabled
    }

    /// The plugin of a series, if it is served.
    #[must_use]
    pub fn serving(&self, series: &Series) -> Option<&Arc<Plugin>> {
        self.plugins.get(series)
    }

    /// The newest version of each plugin: the one that the host itself calls, for events and schedules.
    pub fn newest(&self) -> impl Iterator<Item = &Arc<Plugin>> {
        let newest = self.plugins.iter().filter(|(series, _)| manifest::is_newest(series, &self.plugins));
        newest.map(|(_, plugin)| plugin)
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
