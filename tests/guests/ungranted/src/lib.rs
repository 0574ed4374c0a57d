//! A plugin that imports what no plugin is granted: it must not load, and the refusal must name the import.

use dinehub_sdk::types::{Caller, Problem};

use crate::bindings::{exports::dinehub::ungranted::api::Guest, wasi::random::random::get_random_u64};

dinehub_sdk::plugin!(Component, without handles);

struct Component;

impl Guest for Component {
    fn random(_caller: Caller) -> Result<u32, Problem> {
        Ok((get_random_u64() % 1000) as u32)
    }
}
