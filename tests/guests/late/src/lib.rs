//! A plugin that would have CPU time to spare when the wall clock ends its call.

use dinehub_sdk::types::{Caller, Problem};

use crate::bindings::exports::dinehub::late::api::Guest;

dinehub_sdk::plugin!(Component, without handles);

struct Component;

impl Guest for Component {
    fn spin(_caller: Caller) -> Result<(), Problem> {
        loop {
            std::hint::black_box(());
        }
    }

    fn answer(_caller: Caller) -> Result<u32, Problem> {
        Ok(42)
    }
}
