//! A plugin that never returns: the host must stop it by its deadline or its share of the CPU.

use dinehub_sdk::types::{Caller, Problem};

use crate::bindings::exports::dinehub::spin::api::Guest;

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
