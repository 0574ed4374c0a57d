//! A plugin that never finishes to start: `_initialize` runs in the component's start function, before any export.

use dinehub_sdk::types::{Caller, Problem};

use crate::bindings::exports::dinehub::start_spin::api::Guest;

dinehub_sdk::plugin!(Component, without handles);

struct Component;

/// Runs while the host instantiates the component.
#[allow(unsafe_code, reason = "the name is what makes it run")]
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    loop {
        std::hint::black_box(());
    }
}

impl Guest for Component {
    fn answer(_caller: Caller) -> Result<u32, Problem> {
        Ok(42)
    }
}
