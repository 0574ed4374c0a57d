//! Admission: everything that is checked before any code of a plugin runs, from its artefact alone.
//!
//! An import is granted when its exact interface name is known, every function in it is known, and every signature is
//! equal; anything else refuses the whole plugin, naming the import and the line that would grant it.

use std::collections::BTreeMap;

use wasmtime::component::{Component, Linker};

use super::{
    bind,
    contract::{self, Contract, Interface, kebab},
    engine::Engine,
    package::Package,
};
use crate::{
    capability::{self, grants::Grants},
    error::{Fault, Setup},
    id::PluginId,
};

/// The platform's contract with plugins, as vendored into each plugin's `wit/deps`.
pub const PLATFORM_WIT: &str = include_str!("../../../wit/dinehub-platform@1.0.0/platform.wit");

/// A package whose component was decoded and whose own claims agree with each other.
#[derive(Debug)]
pub struct Candidate {
    pub package: Package,
    pub contract: Contract,
}

/// What one import is, once it was found to be granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Import {
    /// One of the plugin's own statement handles: `queries/<handle>/`.
    Data { handle: String },
    /// `dinehub:platform/log`.
    Log,
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
        Ok(Self { package, contract })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &PluginId {
        &self.package.manifest.id
    }

    /// Every import with what grants it; the first that nothing grants refuses the plugin.
    pub fn imports(&self, others: &BTreeMap<PluginId, Contract>) -> Setup<BTreeMap<String, Import>> {
        let own = match self.package.content.wit.as_str() {
            // A plugin without statements has no handles.
            "" => BTreeMap::new(),
            wit => contract::signatures(&[("platform.wit", PLATFORM_WIT)], ("data.wit", wit))?,
        };
        let platform = contract::signatures(&[], ("platform.wit", PLATFORM_WIT))?;
        let mut granted = BTreeMap::new();
        for (name, wanted) in &self.contract.imports {
            let import = self.import(name, wanted, &own, &platform, others)?;
            granted.insert(name.clone(), import);
        }
        Ok(granted)
    }

    fn import(
        &self,
        name: &str,
        wanted: &Interface,
        own: &BTreeMap<String, Interface>,
        platform: &BTreeMap<String, Interface>,
        others: &BTreeMap<PluginId, Contract>,
    ) -> Setup<Import> {
        let refused = |what: String| Fault::new(format!("{}: import `{name}`", self.id()), what);
        let data = format!("dinehub:{}-data/", kebab(self.id().as_str()));
        if let Some(handle) = name.strip_prefix(&data) {
            let offered = own.get(name).ok_or_else(|| {
                refused("is no handle of this plugin".to_owned()).fix(format!("add queries/{handle}/*.sql and bind"))
            })?;
            ensure_same(wanted, offered).map_err(refused)?;
            return Ok(Import::Data { handle: handle.replace('-', "_") });
        }
        if name == capability::log::INTERFACE {
            let offered = platform.get(name).ok_or_else(|| refused("is not in the platform's WIT".to_owned()))?;
            ensure_same(wanted, offered).map_err(refused)?;
            return Ok(Import::Log);
        }
        for (id, other) in others.iter().filter(|(id, _)| *id != self.id()) {
            let is_theirs = name.starts_with(&format!("dinehub:{}/", kebab(id.as_str())));
            if is_theirs && let Some(offered) = other.exports.get(name).filter(|_| name != other.api_interface) {
                ensure_same(wanted, offered).map_err(refused)?;
                return Ok(Import::Plugin { id: id.clone(), functions: wanted.keys().cloned().collect() });
            }
        }
        Err(refused("is not granted: no capability of the host and no installed plugin offers it".to_owned()).fix(format!(
            "import only `{data}<handle>`, `{}`, or an interface exported by an installed plugin, in that exact version",
            capability::log::INTERFACE
        )))
    }

    /// Compiles the component and links exactly what was granted.
    pub fn link(
        &self,
        engine: &Engine,
        imports: &BTreeMap<String, Import>,
    ) -> Setup<wasmtime::component::InstancePre<Grants>> {
        let fault = |error: wasmtime::Error| Fault::new(self.id().as_str(), format!("{error:#}"));
        let component = Component::from_binary(engine.wasmtime(), &self.package.bytes).map_err(fault)?;
        let mut linker = Linker::<Grants>::new(engine.wasmtime());
        for (name, import) in imports {
            match import {
                Import::Data { handle } => {
                    let statements = self.package.content.statements.iter().filter(|s| s.handle == *handle);
                    capability::data::link(&mut linker, name, statements)?;
                }
                Import::Log => capability::log::link(&mut linker)?,
                Import::Plugin { id, functions } => capability::call::link(&mut linker, id, name, functions)?,
            }
        }
        linker.instantiate_pre(&component).map_err(fault)
    }
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
