//! A plugin that spins where none of its functions runs: while the host puts an argument into its memory (`cabi_realloc`), and
//! after the host took an answer out of it (`post-return`). Both go through the allocator, so this is one of its own.

use std::alloc::{GlobalAlloc, Layout, System};

use bindings::{
    dinehub::platform::types::{Caller, Problem},
    exports::dinehub::boundary_spin::api::Guest,
};

#[allow(clippy::all, unsafe_code, missing_docs, unreachable_pub, reason = "generated: export glue and types")]
mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "plugin", generate_all });
}

#[allow(unsafe_code, reason = "the exports' glue")]
const _: () = {
    bindings::export!(Component with_types_in bindings);
};

struct Component;

/// A block of this size is never given out.
const IN_BYTES: usize = 666;
/// A block of this size is never taken back.
const OUT_BYTES: usize = 667;

struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn spin() -> ! {
    loop {
        std::hint::black_box(());
    }
}

#[allow(unsafe_code, reason = "an allocator is")]
// SAFETY: gives and takes what the system's allocator does, or never returns.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() == IN_BYTES {
            spin();
        }
        // SAFETY: the caller's word is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if layout.size() == OUT_BYTES {
            spin();
        }
        // SAFETY: the caller's word is passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

impl Guest for Component {
    fn take(_caller: Caller, text: String) -> Result<u32, Problem> {
        Ok(text.len() as u32)
    }

    fn give(_caller: Caller, bytes: u32) -> Result<String, Problem> {
        // Exactly so large, so that nothing is given up on the way out.
        let mut text = String::with_capacity(bytes as usize);
        (0..bytes).for_each(|_| text.push('x'));
        Ok(text)
    }

    fn answer(_caller: Caller) -> Result<u32, Problem> {
        Ok(42)
    }
}
