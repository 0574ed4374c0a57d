//! The one gate: every function that a guest can import is linked here and nowhere else, so none can run before
//! [`Grants::authorize`] said yes. A test reads the sources and fails when a second way to link appears.

use std::sync::Arc;

use futures::future::BoxFuture;
use wasmtime::component::{LinkerInstance, Val};

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

    /// Links it: first the check, then `body`.
    pub fn link(
        self,
        instance: &mut LinkerInstance<'_, Grants>,
        body: impl for<'c> Fn(&'c mut Grants, &'c [Val]) -> Outcome<'c> + Send + Sync + 'static,
    ) -> Setup<()> {
        let place = self.interface.to_string();
        let (name, body) = (self.name.clone(), Arc::new(body));
        let gate = Arc::new(self);
        let linked = instance.func_new_async(&name, move |mut store, _, arguments, results| {
            let (gate, body) = (Arc::clone(&gate), Arc::clone(&body));
            Box::new(async move {
                let grants = store.data_mut();
                let Self { interface, name, statement } = &*gate;
                grants.authorize(&Use { interface, function: name, statement: statement.as_deref() })?;
                let value = body(grants, arguments).await?;
                // Time spent waiting in the host is not the guest's.
                store.set_epoch_deadline(1);
                if let (Some(slot), Some(value)) = (results.first_mut(), value) {
                    *slot = value;
                }
                Ok(())
            })
        });
        linked.map_err(|error| Fault::new(place, format!("{error:#}")))
    }
}
