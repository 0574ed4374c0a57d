//! A plugin that imports another plugin's handle, type for type: it must not load, however well the types fit.

use dinehub_sdk::types::{Caller, Problem};

use crate::bindings::{dinehub::ordering_data::orders, exports::dinehub::thief::api::Guest};

dinehub_sdk::plugin!(Component);

struct Component;

impl Guest for Component {
    fn steal(_caller: Caller, id: String) -> Result<bool, Problem> {
        Ok(orders::find(&id)?.is_some())
    }
}
