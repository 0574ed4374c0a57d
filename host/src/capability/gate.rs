//! The one gate: every function that a guest can import is linked here and nowhere else, so none can run before
//! [`Grants::authorize`] said yes. A test reads the sources and fails when a second way to link appears.

use std::sync::Arc;

use futures::future::BoxFuture;
use wasmtime::{
    StoreContextMut,
    component::{ComponentNamedList, Lift, LinkerInstance, Lower, ResourceType, Val},
};

use super::grants::{Grants, Stopped, Use};
use crate::{
    database::statement::Statement,
    error::{Fault, Setup},
};

/// What a host function gives: its value, none for a function without a result, or the end of the call.
pub type Outcome<'c> = BoxFuture<'c, Result<Option<Val>, Stopped>>;

/// An imported function, before it is linked.
pub struct Function {
    /// As the component must name it: `dinehub:platform/log@1.0.0`.
    pub interface: Arc<str>,
    /// As the guest calls it, in kebab case.
    pub name: String,
    /// The pinned statement it runs, if it is one.
    pub statement: Option<Arc<Statement>>,
}

impl Function {
    /// A function with no statement behind it.
    #[must_use]
    pub fn new(interface: &str, name: &str) -> Self {
        Self { interface: interface.into(), name: name.to_owned(), statement: None }
    }

    /// The check, with what stands behind the function.
    fn pass(&self, grants: &mut Grants) -> Result<(), Stopped> {
        let Self { interface, name, statement } = self;
        grants.authorize(&Use { interface, function: name, statement: statement.as_deref() })
    }

    /// Links it: first the check, then `body`.
    pub fn link(
        self,
        instance: &mut LinkerInstance<'_, Grants>,
        body: impl for<'c> Fn(&'c mut Grants, &'c [Val]) -> Outcome<'c> + Send + Sync + 'static,
    ) -> Setup<()> {
        let (gate, body) = (Arc::new(self), Arc::new(body));
        let place = Arc::clone(&gate);
        let linked = instance.func_new_async(&place.name, move |mut store, _, arguments, results| {
            let (gate, body) = (Arc::clone(&gate), Arc::clone(&body));
            Box::new(async move {
                let grants = store.data_mut();
                gate.pass(grants)?;
                let value = body(grants, arguments).await?;
                // Time spent waiting in the host is not the guest's.
                store.set_epoch_deadline(1);
                if let (Some(slot), Some(value)) = (results.first_mut(), value) {
                    *slot = value;
                }
                Ok(())
            })
        });
        linked.map_err(|error| Fault::new(place.interface.to_string(), format!("{error:#}")))
    }

    /// The same for a function whose types are known when the host is compiled: bytes stay bytes, handles become resources.
    pub fn link_typed<P, R>(
        self,
        instance: &mut LinkerInstance<'_, Grants>,
        body: impl for<'c> Fn(&'c mut Grants, P) -> BoxFuture<'c, Result<R, Stopped>> + Send + Sync + 'static,
    ) -> Setup<()>
    where
        P: ComponentNamedList + Lift + Send + 'static,
        R: ComponentNamedList + Lower + Send + 'static,
    {
        let (gate, body) = (Arc::new(self), Arc::new(body));
        let place = Arc::clone(&gate);
        let linked =
            instance.func_wrap_async(&place.name, move |mut store: StoreContextMut<'_, Grants>, arguments: P| {
                let (gate, body) = (Arc::clone(&gate), Arc::clone(&body));
                Box::new(async move {
                    let grants = store.data_mut();
                    gate.pass(grants)?;
                    let value = body(grants, arguments).await?;
                    store.set_epoch_deadline(1);
                    Ok(value)
                })
            });
        linked.map_err(|error| Fault::new(place.interface.to_string(), format!("{error:#}")))
    }

    /// Links the resource type `T`; the function is its destructor, `[resource-drop]<name>`.
    pub fn link_resource<T: 'static>(
        self,
        instance: &mut LinkerInstance<'_, Grants>,
        body: impl for<'c> Fn(&'c mut Grants, u32) -> BoxFuture<'c, Result<(), Stopped>> + Send + Sync + 'static,
    ) -> Setup<()> {
        let (gate, body) = (Arc::new(self), Arc::new(body));
        let place = Arc::clone(&gate);
        let name = place.name.strip_prefix(DROP).unwrap_or(&place.name);
        let linked = instance.resource_async(name, ResourceType::host::<T>(), move |mut store, handle| {
            let (gate, body) = (Arc::clone(&gate), Arc::clone(&body));
            Box::new(async move {
                let grants = store.data_mut();
                gate.pass(grants)?;
                body(grants, handle).await?;
                store.set_epoch_deadline(1);
                Ok(())
            })
        });
        linked.map_err(|error| Fault::new(place.interface.to_string(), format!("{error:#}")))
    }
}

/// What stands before a resource's name in the name of its destructor.
pub const DROP: &str = "[resource-drop]";
