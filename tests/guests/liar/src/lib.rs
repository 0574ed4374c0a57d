//! A plugin that misbehaves where none of its functions runs: while the host puts an argument into its memory
//! (`cabi_realloc`), and after the host took an answer out of it (`post-return`). Both go through the allocator, so this is
//! one of its own; the size of a block says what it does. No size stands for two things, and no honest block has one of them.

use std::alloc::{GlobalAlloc, Layout, System};

use bindings::{
    dinehub::platform::{
        log,
        types::{Caller, Problem},
    },
    exports::dinehub::liar::api::Guest,
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

/// Blocks that are given out wrongly, by their bytes.
mod taken {
    /// Where there is no memory.
    pub(crate) const OUTSIDE: usize = 601;
    /// So that its end is past the end of memory, and past that of the address space.
    pub(crate) const WRAPPING: usize = 602;
    /// Where another one is.
    pub(crate) const SHARED: usize = 603;
    /// Never.
    pub(crate) const SPIN: usize = 604;
    pub(crate) const TRAP: usize = 605;
    /// After a word to the host, which is not to be spoken to now.
    pub(crate) const CALL: usize = 606;
    /// After all the memory there is was taken.
    pub(crate) const FILL: usize = 607;
    /// At an odd address: a caller and twelve numbers.
    pub(crate) const CROOKED: usize = 68;
}

/// Blocks that are taken back wrongly.
mod given {
    pub(crate) const SPIN: usize = 701;
    pub(crate) const TRAP: usize = 702;
    pub(crate) const CALL: usize = 703;
}

struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

static mut SHARED: [u8; taken::SHARED] = [0; taken::SHARED];
static mut CROOKED: [u64; 16] = [0; 16];

fn spin() -> ! {
    loop {
        std::hint::black_box(());
    }
}

fn trap() -> ! {
    core::arch::wasm32::unreachable()
}

fn call() {
    log::write(log::Level::Info, "from where nobody speaks", &[]);
}

fn fill() -> ! {
    while core::arch::wasm32::memory_grow(0, 1) != usize::MAX {}
    trap()
}

#[allow(unsafe_code, reason = "an allocator is, and this is the attack")]
// SAFETY: none; the host must find out.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match (layout.size(), layout.align()) {
            (taken::OUTSIDE, 1) => return 0x7FFF_0000 as *mut u8,
            (taken::WRAPPING, 1) => return 0xFFFF_FFF0 as *mut u8,
            (taken::SHARED, 1) => return (&raw mut SHARED).cast(),
            (taken::SPIN, 1) => spin(),
            (taken::TRAP, 1) => trap(),
            (taken::CALL, 1) => call(),
            (taken::FILL, 1) => fill(),
            // SAFETY: there is room for an odd one.
            (taken::CROOKED, 4) => return unsafe { (&raw mut CROOKED).cast::<u8>().add(1) },
            _ => {}
        }
        // SAFETY: the caller's word is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match (layout.size(), layout.align()) {
            (taken::SHARED, 1) => return,
            (given::SPIN, 1) => spin(),
            (given::TRAP, 1) => trap(),
            (given::CALL, 1) => call(),
            _ => {}
        }
        // SAFETY: the caller's word is passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

impl Guest for Component {
    fn take(_caller: Caller, text: String) -> Result<u32, Problem> {
        Ok(text.len() as u32)
    }

    fn both(_caller: Caller, first: String, second: String) -> Result<String, Problem> {
        Ok([first, second].iter().filter_map(|text| text.chars().next()).collect())
    }

    fn crooked(
        _caller: Caller,
        a: u32,
        b: u32,
        c: u32,
        d: u32,
        e: u32,
        f: u32,
        g: u32,
        h: u32,
        i: u32,
        j: u32,
        k: u32,
        l: u32,
    ) -> Result<u32, Problem> {
        Ok([a, b, c, d, e, f, g, h, i, j, k, l].iter().fold(0, |sum, one| sum ^ one))
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
