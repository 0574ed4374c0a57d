//! The allocator of a plugin: an arena over the pages the host maps for an instance.
//!
//! An instance lives for one call, so memory that is given up need not be found again: freeing does nothing, except that
//! the *last* block goes back, and grows in place, because that is what a `String` or a `Vec` being filled does all day.
//! The memory grows only when the arena is used up: `memory.grow` is an `mprotect` in the host, which costs more than
//! the whole call.
//!
//! [`Arena`] is plain arithmetic on addresses and is tested on the host; `Guest` gives it wasm's memory.

/// A stretch of addresses, given out from its start.
#[derive(Debug, Default)]
pub struct Arena {
    /// The first address that is free.
    next: usize,
    /// One past the last address that is mapped.
    end: usize,
}

/// The memory could not grow.
#[derive(Debug, PartialEq, Eq)]
pub struct Exhausted;

impl Arena {
    /// An arena over `start .. end`.
    #[must_use]
    pub const fn over(start: usize, end: usize) -> Self {
        Self { next: start, end }
    }

    /// Whether it was never given addresses.
    #[must_use]
    pub const fn is_unset(&self) -> bool {
        self.end == 0
    }

    /// The address of a new block of `size` bytes, aligned to `align`, a power of two. `grow` maps at least that many
    /// more bytes and says how many.
    ///
    /// # Errors
    /// When `grow` fails or the address space ends.
    pub fn take(
        &mut self,
        size: usize,
        align: usize,
        grow: impl FnOnce(usize) -> Result<usize, Exhausted>,
    ) -> Result<usize, Exhausted> {
        let start = self.next.checked_add(align - 1).ok_or(Exhausted)? & !(align - 1);
        self.reach(start.checked_add(size).ok_or(Exhausted)?, grow)?;
        Ok(start)
    }

    /// Takes a block back if it is the last one.
    pub fn give_back(&mut self, start: usize, size: usize) {
        if self.is_last(start, size) {
            self.next = start;
        }
    }

    /// Whether the block at `start` could be resized where it stands: it is the last one, or it shrinks.
    ///
    /// # Errors
    /// As for [`Self::take`].
    pub fn resize(
        &mut self,
        start: usize,
        size: usize,
        new_size: usize,
        grow: impl FnOnce(usize) -> Result<usize, Exhausted>,
    ) -> Result<bool, Exhausted> {
        if !self.is_last(start, size) {
            return Ok(new_size <= size);
        }
        self.reach(start.checked_add(new_size).ok_or(Exhausted)?, grow)?;
        Ok(true)
    }

    fn is_last(&self, start: usize, size: usize) -> bool {
        start.checked_add(size) == Some(self.next)
    }

    fn reach(&mut self, next: usize, grow: impl FnOnce(usize) -> Result<usize, Exhausted>) -> Result<(), Exhausted> {
        if next > self.end {
            self.end = self.end.checked_add(grow(next - self.end)?).ok_or(Exhausted)?;
        }
        self.next = next;
        Ok(())
    }
}

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[allow(unsafe_code, reason = "a global allocator hands out raw memory; each use says why it holds")]
mod guest {
    use core::{
        alloc::{GlobalAlloc, Layout},
        arch::wasm32,
        cell::UnsafeCell,
        ptr,
    };

    use super::{Arena, Exhausted};

    /// Bytes in a page of wasm memory (WebAssembly core, §4.2.8).
    const PAGE_BYTES: usize = 65_536;

    #[global_allocator]
    static GUEST: Guest = Guest(UnsafeCell::new(Arena::over(0, 0)));

    /// The arena of this instance, between the linker's data and the end of memory.
    struct Guest(UnsafeCell<Arena>);

    // SAFETY: a plugin's module has no threads, and the host enters an instance once at a time.
    unsafe impl Sync for Guest {}

    unsafe extern "C" {
        /// Placed by the linker behind stack and data; only its address means anything.
        static __heap_base: u8;
    }

    /// Grows the memory by at least `bytes`.
    fn grow(bytes: usize) -> Result<usize, Exhausted> {
        let pages = bytes.div_ceil(PAGE_BYTES);
        if wasm32::memory_grow(0, pages) == usize::MAX { Err(Exhausted) } else { Ok(pages * PAGE_BYTES) }
    }

    impl Guest {
        /// # Safety
        /// The reference must end before the next call: each method below uses it within one expression.
        #[allow(clippy::mut_from_ref, reason = "interior mutability without threads, as said for Sync")]
        unsafe fn arena(&self) -> &mut Arena {
            // SAFETY: no threads, and no method of `Arena` allocates, so no second reference can exist.
            let arena = unsafe { &mut *self.0.get() };
            if arena.is_unset() {
                *arena = Arena::over(&raw const __heap_base as usize, wasm32::memory_size(0) * PAGE_BYTES);
            }
            arena
        }
    }

    // SAFETY: a block is `layout.size()` bytes at a multiple of `layout.align()` inside mapped memory, and overlaps no
    // other: `Arena` gives out each address once, and again only after the block that held it was given back.
    unsafe impl GlobalAlloc for Guest {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: as `Self::arena` demands.
            let start = unsafe { self.arena() }.take(layout.size(), layout.align(), grow);
            start.map_or(ptr::null_mut(), |start| start as *mut u8)
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            // SAFETY: as `Self::arena` demands.
            unsafe { self.arena() }.give_back(block as usize, layout.size());
        }

        unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
            // SAFETY: as `Self::arena` demands.
            match unsafe { self.arena() }.resize(block as usize, layout.size(), new_size, grow) {
                Ok(true) => return block,
                Err(Exhausted) => return ptr::null_mut(),
                Ok(false) => {}
            }
            // SAFETY: `new_size` is larger than a layout that was valid, with the same alignment; the caller
            // guarantees that it does not overflow.
            let new = unsafe { self.alloc(Layout::from_size_align_unchecked(new_size, layout.align())) };
            if !new.is_null() {
                // SAFETY: both blocks hold at least the old size, and a new block overlaps no other.
                unsafe { ptr::copy_nonoverlapping(block, new, layout.size()) };
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Arena, Exhausted};

    fn never(_: usize) -> Result<usize, Exhausted> {
        panic!("the arena must not grow")
    }

    #[test]
    fn an_exhausted_memory_is_an_error_and_changes_nothing() {
        let mut arena = Arena::over(100, 200);
        assert_eq!(arena.take(101, 1, |_| Err(Exhausted)), Err(Exhausted));
        assert_eq!(arena.take(usize::MAX, 1, never), Err(Exhausted), "an address that does not exist");
        assert_eq!(arena.take(100, 1, never), Ok(100));
    }

    #[test]
    fn blocks_are_aligned_and_do_not_overlap() {
        let mut arena = Arena::over(101, 4096);
        let mut end = 101;
        for (size, align) in [(1, 1), (8, 8), (3, 2), (0, 16), (40, 4)] {
            let start = arena.take(size, align, never).unwrap();
            assert_eq!(start % align, 0);
            assert!(start >= end);
            end = start + size;
        }
    }

    #[test]
    fn only_the_last_block_goes_back() {
        let mut arena = Arena::over(0, 100);
        let first = arena.take(10, 1, never).unwrap();
        let last = arena.take(10, 1, never).unwrap();
        arena.give_back(first, 10);
        assert_eq!(arena.take(10, 1, never), Ok(20), "the first block is still in use's way");
        arena.give_back(20, 10);
        arena.give_back(last, 10);
        assert_eq!(arena.take(10, 1, never), Ok(last));
    }

    #[test]
    fn the_last_block_grows_where_it_stands() {
        let mut arena = Arena::over(0, 100);
        let first = arena.take(10, 1, never).unwrap();
        let last = arena.take(10, 1, never).unwrap();
        assert_eq!(arena.resize(first, 10, 11, never), Ok(false));
        assert_eq!(arena.resize(first, 10, 5, never), Ok(true), "shrinking needs no room");
        assert_eq!(arena.resize(last, 10, 90, never), Ok(true));
        assert_eq!(arena.resize(last, 90, 91, |_| Err(Exhausted)), Err(Exhausted));
    }

    #[test]
    fn it_grows_by_what_is_missing() {
        let mut arena = Arena::over(0, 100);
        let start = arena.take(150, 1, |missing| {
            assert_eq!(missing, 50);
            Ok(64)
        });
        assert_eq!(start, Ok(0));
        assert_eq!(arena.take(14, 1, never), Ok(150), "what was mapped beyond is used");
    }
}
