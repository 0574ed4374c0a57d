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

    fn aliased(_caller: Caller, times: u32) -> Result<Vec<String>, Problem> {
        let text = "x".repeat(65_536).leak();
        let bytes = text.len();
        Ok((0..times).map(|_| forged(text, bytes)).collect())
    }

    fn claim(_caller: Caller, size_bytes: u32) -> Result<String, Problem> {
        Ok(forged("x".to_owned().leak(), size_bytes as usize))
    }

    fn bulk(_caller: Caller) -> Result<(), Problem> {
        let mut block = vec![0_u8; 4 << 20];
        for byte in (0..=u8::MAX).cycle() {
            block.fill(byte);
            std::hint::black_box(&mut block);
        }
        Ok(())
    }

    fn answer(_caller: Caller) -> Result<u32, Problem> {
        Ok(42)
    }
}

/// A text that says of itself where it lies and how long it is.
#[allow(unsafe_code, reason = "this is the attack")]
fn forged(text: &mut str, bytes: usize) -> String {
    // SAFETY: none; the host must find out. It is never freed: this allocator frees nothing.
    unsafe { String::from_raw_parts(text.as_mut_ptr(), bytes, bytes) }
}
