//! Calling another plugin: what one exports and another imports, always through the host.
//!
//! The callee runs in a store of its own with its own grants and connection, for the same caller, read-only. A call tree
//! is at most [`super::tree::DEPTH_MAX`] deep and never comes back to a plugin that is already in it, so no plugin can be
//! made to wait for itself.

use std::sync::Arc;

use wasmtime::{
    StoreContextMut,
    component::{Linker, Val},
};

use super::{
    grants::{Grants, Stopped, Use},
    tree::Nested,
};
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
        let host = move |store: &mut StoreContextMut<'_, Grants>, arguments: &[Val]| {
            let grants = store.data_mut();
            grants.authorize(&Use { interface: &interface, function: &function, statement: None })?;
            let tree = grants.tree().descend(&plugin).map_err(|error| grants.stop(error))?;
            let nested = Nested {
                plugin: plugin.clone(),
                interface: Arc::clone(&interface),
                function: Arc::clone(&function),
                permit: grants.permit().for_callee(),
                tree,
                arguments: arguments.to_vec(),
                callee: grants.callee(),
            };
            Ok::<_, Stopped>(nested)
        };
        instance
            .func_new_async(name, move |mut store, _, arguments, results| {
                let prepared = host(&mut store, arguments);
                Box::new(async move {
                    let nested = prepared?;
                    let callee = Arc::clone(&nested.callee);
                    let answer = callee.call(nested).await;
                    let value = answer.map_err(|error| store.data_mut().stop(error))?;
                    for (slot, value) in results.iter_mut().zip(value) {
                        *slot = value;
                    }
                    store.set_epoch_deadline(1);
                    Ok(())
                })
            })
            .map_err(fault)?;
    }
    Ok(())
}
