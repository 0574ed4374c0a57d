//! A plugin that takes all the memory it can get: the host must refuse at its limit and be back at its baseline after.

use dinehub_sdk::types::{Caller, Problem};

use crate::bindings::exports::dinehub::memory_bomb::api::Guest;

dinehub_sdk::plugin!(Component, without handles);

struct Component;

impl Guest for Component {
    fn grow(_caller: Caller) -> Result<u32, Problem> {
        let mut pages = 0;
        while core::arch::wasm32::memory_grow(0, 16) != usize::MAX {
            pages += 16;
        }
        Ok(pages)
    }

    fn fill(_caller: Caller) -> Result<u32, Problem> {
        let mut kept: Vec<Vec<u8>> = Vec::new();
        loop {
            kept.push(std::hint::black_box(vec![0xAB; 65_536]));
        }
    }

    fn text(_caller: Caller, size_bytes: u32) -> Result<String, Problem> {
        Ok("x".repeat(size_bytes as usize))
    }

    fn answer(_caller: Caller) -> Result<u32, Problem> {
        Ok(42)
    }
}
