//! A plugin that looks for what an earlier request left behind: nothing may be there.

use std::sync::atomic::{AtomicU32, Ordering};

use dinehub_sdk::types::{Caller, Problem};

use crate::bindings::exports::dinehub::state::api::Guest;

dinehub_sdk::plugin!(Component, without handles);

struct Component;

static CALLS: AtomicU32 = AtomicU32::new(0);

/// Bytes in a page of wasm memory.
const PAGE_BYTES: usize = 65_536;

impl Guest for Component {
    fn count(_caller: Caller) -> Result<u32, Problem> {
        Ok(CALLS.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn stain(_caller: Caller) -> Result<u32, Problem> {
        Ok(stains(last_page()) + stains(new_page()))
    }
}

/// The last page that was there from the start; this call allocates far below it.
fn last_page() -> usize {
    (core::arch::wasm32::memory_size(0) - 1) * PAGE_BYTES + PAGE_BYTES / 2
}

/// A page that only this call asked for; a pool may hand out memory that an earlier instance grew into.
fn new_page() -> usize {
    core::arch::wasm32::memory_grow(0, 1) * PAGE_BYTES
}

/// Counts the bytes that are not zero in half a page, and sets them all.
#[allow(unsafe_code, reason = "it looks where no allocation is")]
fn stains(start: usize) -> u32 {
    let mut found = 0;
    for address in start..start + PAGE_BYTES / 2 {
        // SAFETY: the page is mapped, nothing was allocated in it, and nothing runs beside this.
        unsafe {
            let byte = core::ptr::with_exposed_provenance_mut::<u8>(address);
            found += u32::from(byte.read_volatile() != 0);
            byte.write_volatile(0xAB);
        }
    }
    found
}
