//! Admission: everything that is checked before any code of a plugin runs, from its artefact alone.
//!
//! An import is granted when its exact interface name is known, every function in it is known, and every signature is
//! equal; anything else refuses the whole plugin, naming the import and the line that would grant it.

use std::collections::{BTreeMap, BTreeSet};

use wasmtime::component::{Component, Linker};

use super::{
    bind,
    contract::{self, Contract, Interface, kebab},
    engine::Engine,
    manifest::{Manifest, Series, is_newest},
    package::Package,
    privacy,
};
use crate::{
    capability::{
        self, egress, files,
        grants::Grants,
        handle::{Handle, OFFERS, Offer},
        wasi::{self, BUNDLES, Bundle},
    },
    error::{Fault, Setup},
    id::PluginId,
};

/// The platform's contract with plugins, as vendored into each plugin's `wit/deps`.
pub use crate::capability::handle::PLATFORM_WIT;

/// A package whose component was decoded and whose own claims agree with each other.
#[derive(Debug)]
pub struct Candidate {
    pub package: Package,
    pub contract: Contract,
}

/// What other plugins offer, by the series that offers it.
pub type Contracts = BTreeMap<Series, Contract>;

/// What one import is, once it was found to be granted.
#[derive(Clone, Debug)]
pub enum Import {
    /// One of the plugin's own statement handles: `queries/<handle>/`.
    Data { handle: String },
    /// An interface of the host's own: the log, the clock, randomness.
    Host(Offer),
    /// A handle that the manifest declares: a secret, a directory.
    Declared(Handle),
    /// One of WASI's, of a bundle that the manifest asks for.
    Wasi { bundle: Bundle, functions: Vec<String> },
    /// An event interface of its own: a call of it is a call that the host makes later, of each subscriber.
    Event { subscribers: Vec<PluginId> },
    /// An interface that another plugin exports.
    Plugin { id: PluginId, functions: Vec<String> },
}

impl Candidate {
    /// Decodes a package's component and checks it against its own manifest and statements.
    pub fn read(package: Package) -> Setup<Self> {
        let id = &package.manifest.id;
        let wit = bind::wit::write(id, &package.content.statements)?;
        if wit != package.content.wit {
            return Err(Fault::new(id.as_str(), "ships WIT that is not the WIT of its statements")
                .fix("build it with `dinehub plugin build`"));
        }
        let contract = contract::read(&package.manifest, &package.bytes)?;
        for route in &package.manifest.routes {
            if !contract.api.contains_key(&route.function) {
                let place = format!("{id}: [[route]] {} {:?}", route.method.as_str(), route.path);
                return Err(Fault::new(place, format!("`api` exports no function `{}`", route.function)));
            }
        }
        let schedules = contract.exports.get(&contract.schedules_interface);
        for schedule in &package.manifest.schedules {
            let function = &schedule.function;
            let known = schedules.and_then(|functions| functions.get(function)).map(String::as_str);
            if known != Some(NOTHING) {
                let what = format!("`{}` has no `{function}: {NOTHING}`", contract.schedules_interface);
                return Err(Fault::new(format!("{id}: [[schedule]] {function}"), what)
                    .fix(format!("interface schedules {{ {function}: {NOTHING}; }} and `export schedules;`")));
            }
        }
        privacy::ensure_forgets(&package, &contract)?;
        Ok(Self { package, contract })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &PluginId {
        &self.package.manifest.id
    }

    /// Its id and major version: what may be served once.
    #[must_use]
    pub fn series(&self) -> Series {
        self.package.manifest.series()
    }

    /// For reviewers: what becomes of what it keeps about people.
    #[must_use]
    pub fn privacy_line(&self) -> Option<String> {
        privacy::line(&self.package, &self.contract)
    }

    /// Whether it can forget people.
    #[must_use]
    pub fn privacy_forgets(&self) -> bool {
        privacy::forgets(&self.contract)
    }

    /// Every import with what grants it; the first that nothing grants refuses the plugin.
    pub fn imports(&self, others: &Contracts) -> Setup<BTreeMap<String, Import>> {
        let own = match self.package.content.wit.as_str() {
            // A plugin without statements has no handles.
            "" => BTreeMap::new(),
            wit => contract::signatures(&[("platform.wit", PLATFORM_WIT)], ("data.wit", wit))?,
        };
        let known = Known { own, offers: offers()?, declared: declared(&self.package.manifest)? };
        let mut granted = BTreeMap::new();
        for (name, wanted) in &self.contract.imports {
            let import = self.import(name, wanted, &known, others)?;
            granted.insert(name.clone(), import);
        }
        for name in self.contract.events.subscribed.keys() {
            self.ensure_published(name, others)?;
        }
        Ok(granted)
    }

    fn import(&self, name: &str, wanted: &Interface, known: &Known, others: &Contracts) -> Setup<Import> {
        let refused = |what: String| Fault::new(format!("{}: import `{name}`", self.id()), what);
        let data = format!("dinehub:{}-data/", kebab(self.id().as_str()));
        if let Some(handle) = name.strip_prefix(&data) {
            let offered = known.own.get(name).ok_or_else(|| {
                refused("is no handle of this plugin".to_owned()).fix(format!("add queries/{handle}/*.sql and bind"))
            })?;
            ensure_same(wanted, offered).map_err(refused)?;
            return Ok(Import::Data { handle: handle.replace('-', "_") });
        }
        if name.starts_with("wasi:") {
            return self.wasi(name, wanted);
        }
        if let Some((offer, offered)) = known.offers.iter().find(|(offer, _)| offer.interface == name) {
            ensure_same(wanted, offered).map_err(refused)?;
            return Ok(Import::Host(*offer));
        }
        if let Some((handle, offered)) = known.declared.get(name) {
            ensure_same(wanted, offered).map_err(refused)?;
            return Ok(Import::Declared(handle.clone()));
        }
        if self.contract.events.published.contains_key(name) {
            let is_told = |(series, other): &(&Series, &Contract)| {
                is_newest(series, others) && other.events.subscribed.contains_key(name)
            };
            let told = others.iter().filter(is_told);
            return Ok(Import::Event { subscribers: told.map(|((id, _), _)| id.clone()).collect() });
        }
        for ((id, _), other) in others.iter().filter(|((id, _), _)| id != self.id()) {
            let is_theirs = name.starts_with(&format!("dinehub:{}/", kebab(id.as_str())));
            if is_theirs && wanted.keys().any(|function| function.starts_with('[')) {
                return Err(refused("has resources, and a resource never leaves its plugin".to_owned()));
            }
            let offered = other.offers().find(|(offer, _)| *offer == name);
            if is_theirs && let Some((_, offered)) = offered {
                ensure_same(wanted, offered).map_err(refused)?;
                return Ok(Import::Plugin { id: id.clone(), functions: wanted.keys().cloned().collect() });
            }
        }
        Err(refused("is not granted: no capability of the host and no installed plugin offers it".to_owned()).fix(format!(
            "import only `{data}<handle>`, {}, a handle that plugin.toml declares, or an interface exported by an installed \
             plugin, in that exact version",
            OFFERS.map(|offer| format!("`{}`", offer.interface)).join(", ")
        )))
    }

    /// An interface of WASI: granted with its whole bundle, function by function, in the exact version that is imported.
    fn wasi(&self, name: &str, wanted: &Interface) -> Setup<Import> {
        let refused = |what: String| Fault::new(format!("{}: import `{name}`", self.id()), what);
        let Ok(interface) = name.parse::<wasi::Interface>() else {
            let all = BUNDLES.map(Bundle::name).join(", ");
            return Err(refused(format!(
                "is not granted and never is: of WASI there are the bundles {all}, up to version {}",
                wasi::VERSION
            ))
            .fix("other hosts are reached through [http.<name>], see plugins/README.md"));
        };
        if !self.package.manifest.wasi.contains(&interface.bundle) {
            return Err(refused(format!(
                "is not granted: plugin.toml asks for no bundle `{}` of WASI",
                interface.bundle
            ))
            .fix(self.bundles_line()));
        }
        let contracts = interface.contracts();
        let mut contracts: Vec<(&str, &str)> = contracts.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let main = contracts.pop().unwrap_or_default();
        let offered = contract::signatures(&contracts, main)?;
        let offered = offered.get(name).ok_or_else(|| refused("is no interface of this bundle".to_owned()))?;
        ensure_same(wanted, offered).map_err(refused)?;
        Ok(Import::Wasi { bundle: interface.bundle, functions: wanted.keys().cloned().collect() })
    }

    /// The line of plugin.toml that would grant every bundle the component imports.
    fn bundles_line(&self) -> String {
        let imported = self.contract.imports.keys().filter_map(|name| name.parse::<wasi::Interface>().ok());
        let all = imported.map(|interface| interface.bundle).chain(self.package.manifest.wasi.iter().copied());
        let all: BTreeSet<String> = all.map(|bundle| format!("\"{bundle}\"")).collect();
        format!("wasi = [{}]", all.into_iter().collect::<Vec<_>>().join(", "))
    }

    /// Whether somebody publishes what this plugin subscribes to, with exactly the functions that it has for it.
    fn ensure_published(&self, name: &str, others: &Contracts) -> Setup<()> {
        let refused = |what: String| Fault::new(format!("{}: subscribes to `{name}`", self.id()), what);
        let publisher = others.values().find(|other| other.events.published.contains_key(name));
        let published = publisher.and_then(|other| other.imports.get(name)).ok_or_else(|| {
            refused("which no installed plugin publishes".to_owned())
                .fix("install its publisher, in that exact version, or remove the [event] table and the export")
        })?;
        let own = self.contract.exports.get(name);
        own.map_or_else(|| Err("is not exported".to_owned()), |own| ensure_same(published, own)).map_err(refused)
    }

    /// The lines of the lock that say what events it publishes, and by which functions it is told of others'.
    #[must_use]
    pub fn event_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let manifest = &self.package.manifest;
        for (name, spec) in &manifest.events {
            let interface = manifest.event_interface(name, spec, self.contract.version());
            if spec.publish {
                let order = spec.key.as_ref().map(|key| format!(", in the order of each {key}")).unwrap_or_default();
                lines.push(format!("publish {interface}{order}"));
            } else {
                let functions = self.contract.exports.get(&interface).into_iter().flatten();
                let outbound = if spec.outbound { ", calls out first" } else { "" };
                lines.extend(
                    functions.map(|(name, signature)| format!("subscribe {interface} {name}: {signature}{outbound}")),
                );
            }
        }
        lines
    }

    /// Links exactly what was granted to the compiled component.
    pub fn link(
        &self,
        engine: &Engine,
        component: &Component,
        imports: &BTreeMap<String, Import>,
    ) -> Setup<wasmtime::component::InstancePre<Grants>> {
        let fault = |error: wasmtime::Error| Fault::new(self.id().as_str(), format!("{error:#}"));
        let mut linker = Linker::<Grants>::new(engine.wasmtime());
        for (name, import) in imports {
            match import {
                Import::Data { handle } => {
                    let statements = self.package.content.statements.iter().filter(|s| s.handle == *handle);
                    capability::data::link(&mut linker, name, statements)?;
                }
                Import::Host(offer) => (offer.link)(&mut linker)?,
                Import::Wasi { functions, .. } => wasi::link(&mut linker, name, functions)?,
                Import::Declared(handle) => handle.link(&mut linker, self.id())?,
                Import::Event { subscribers } => {
                    let events = self.contract.events.published.get(name).into_iter().flatten();
                    let functions = events.map(|(function, event)| (function.clone(), event.encoder()));
                    let subscribers: Vec<String> = subscribers.iter().map(ToString::to_string).collect();
                    capability::event::link(&mut linker, name, functions, &subscribers)?;
                }
                Import::Plugin { id, functions } => capability::call::link(&mut linker, id, name, functions)?,
            }
        }
        linker.instantiate_pre(component).map_err(fault)
    }
}

/// The signature of a function that takes and gives nothing.
const NOTHING: &str = "func()";

/// What a plugin's imports are compared with.
struct Known {
    /// Its own statements' handles.
    own: BTreeMap<String, Interface>,
    offers: Vec<(Offer, Interface)>,
    declared: BTreeMap<String, (Handle, Interface)>,
}

/// The host's own interfaces with their functions.
fn offers() -> Setup<Vec<(Offer, Interface)>> {
    let of = |offer: Offer| {
        let dependencies: &[(&str, &str)] =
            if offer.wit == PLATFORM_WIT { &[] } else { &[("platform.wit", PLATFORM_WIT)] };
        let mut package = contract::signatures(dependencies, (offer.interface, offer.wit))?;
        let functions = package.remove(offer.interface);
        functions
            .map(|functions| (offer, functions))
            .ok_or_else(|| Fault::new(offer.interface, "is not in its own WIT"))
    };
    OFFERS.into_iter().map(of).collect()
}

/// The interfaces of the handles that a manifest declares, with their functions.
fn declared(manifest: &Manifest) -> Setup<BTreeMap<String, (Handle, Interface)>> {
    let declared = manifest.declared();
    let mut packages = BTreeMap::new();
    for (word, wit) in declared.wit(&manifest.id) {
        let dependencies = [("platform.wit", PLATFORM_WIT), ("files.wit", files::WIT), ("http.wit", egress::WIT)];
        packages.extend(contract::signatures(&dependencies, (word, &wit))?);
    }
    let with = |handle: Handle| {
        let interface = handle.interface(&manifest.id);
        packages.remove(&interface).map(|functions| (interface, (handle, functions)))
    };
    Ok(declared.handles().into_iter().filter_map(with).collect())
}

fn ensure_same(wanted: &Interface, offered: &Interface) -> Result<(), String> {
    for (function, signature) in wanted {
        match offered.get(function) {
            None => return Err(format!("has no function `{function}`")),
            Some(known) if known != signature => {
                return Err(format!("`{function}` is `{signature}`, but the grant is for `{known}`"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}
