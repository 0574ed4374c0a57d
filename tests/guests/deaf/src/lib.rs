//! A plugin that subscribes and fails, always.

use dinehub_sdk::types::{Caller, Problem};

use crate::bindings::exports::dinehub::{
    deaf::api::Guest,
    herald::herald_events::{Guest as Events, Saying},
};

dinehub_sdk::plugin!(Component, without handles);

struct Component;

impl Events for Component {
    fn said(_caller: Caller, _saying: Saying) {
        core::arch::wasm32::unreachable()
    }
}

impl Guest for Component {
    fn answer(_caller: Caller) -> Result<i32, Problem> {
        Ok(42)
    }
}
