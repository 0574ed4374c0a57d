//! A plugin that recurses: without end it must trap in its own stack or be stopped at the bound of the host's, and never go
//! beyond.

use dinehub_sdk::types::{Caller, Problem};

use crate::bindings::exports::dinehub::recursion::api::Guest;

dinehub_sdk::plugin!(Component, without handles);

struct Component;

impl Guest for Component {
    fn deep(_caller: Caller, depth: u32) -> Result<u32, Problem> {
        Ok(descend(depth))
    }

    fn sink(_caller: Caller, depth: u32) -> Result<u32, Problem> {
        Ok(sink(depth))
    }

    fn answer(_caller: Caller) -> Result<u32, Problem> {
        Ok(42)
    }
}

/// Not a tail call, and opaque to the compiler, so that every level keeps its frame.
fn descend(depth: u32) -> u32 {
    if std::hint::black_box(depth) == 0 { 0 } else { std::hint::black_box(descend(depth - 1)) + 1 }
}

/// Nothing of a level lies in memory, so only the host's stack grows. No compiler makes a loop of it: each level turns what
/// the one below it gave.
#[inline(never)]
fn sink(depth: u32) -> u32 {
    if depth == 0 { 0 } else { sink(depth - 1).rotate_left(1) ^ depth }
}
