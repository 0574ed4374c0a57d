//! Calling another plugin: what one exports and another imports, always through the host.
//!
//! The callee runs in a store of its own with its own grants and connection, for the same caller, read-only. A call tree
//! is at most [`super::tree::DEPTH_MAX`] deep and never comes back to a plugin that is already in it, so no plugin can be
//! made to wait for itself.

use std::sync::Arc;

use wasmtime::component::Linker;

use super::{gate::Function, grants::Grants, tree::Nested};
use crate::{
    error::{Fault, Setup},
    id::PluginId,
};

/// Links every function of `interface`, which `plugin` exports.
pub fn link(linker: &mut Linker<Grants>, plugin: &PluginId, interface: &str, functions: &[String]) -> Setup<()> {
    let fault = |error: wasmtime::Error| Fault::new(interface, format!("{error:#}"));
    let mut instance = linker.instance(interface).map_err(fault)?;
    let interface: Arc<str> = interface.into();
    for name in functions {
        let (plugin, interface, function): (PluginId, Arc<str>, Arc<str>) =
            (plugin.clone(), Arc::clone(&interface), name.as_str().into());
        Function::new(&interface, &function).link(&mut instance, move |grants, arguments| {
            let (plugin, interface, function) = (plugin.clone(), Arc::clone(&interface), Arc::clone(&function));
            Box::pin(async move {
                grants.meter_mut().nested_call();
                let max = grants.limits().nested_calls_max;
                let tree = grants.tree().descend(&plugin, max).map_err(|error| grants.stop(error))?;
                let permit = grants.permit().for_callee();
                let (arguments, callee) = (arguments.to_vec(), grants.callee());
                let nested =
                    Nested { plugin, interface, function, permit, tree, arguments, callee: Arc::clone(&callee) };
                callee.call(nested).await.map_err(|error| grants.stop(error))
            })
        })?;
    }
    Ok(())
}
