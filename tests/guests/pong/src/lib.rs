//! The other half of `ping`.

use dinehub_sdk::types::{Caller, Problem};

use crate::bindings::{
    dinehub::ping::court,
    exports::dinehub::pong::{api::Guest, court::Guest as Court},
};

dinehub_sdk::plugin!(Component, without handles);

struct Component;

impl Court for Component {
    fn hit() -> u32 {
        court::hit()
    }

    fn miss() -> u32 {
        1
    }
}

impl Guest for Component {
    fn answer(_caller: Caller) -> Result<u32, Problem> {
        Ok(42)
    }
}
