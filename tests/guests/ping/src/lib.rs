//! A plugin that calls another without end: one that calls it back, and one a great many times.

use dinehub_sdk::types::{Caller, Problem};

use crate::bindings::{
    dinehub::pong::court,
    exports::dinehub::ping::{api::Guest, court::Guest as Court},
};

dinehub_sdk::plugin!(Component, without handles);

struct Component;

impl Court for Component {
    fn hit() -> u32 {
        court::hit()
    }
}

impl Guest for Component {
    fn circle(_caller: Caller) -> Result<u32, Problem> {
        Ok(court::hit())
    }

    fn flood(_caller: Caller, times: u32) -> Result<u32, Problem> {
        Ok((0..times).map(|_| court::miss()).sum())
    }

    fn answer(_caller: Caller) -> Result<u32, Problem> {
        Ok(42)
    }
}
