//! A plugin that abuses handles: a hoard of them, one with a destructor without an end, one used after it was dropped, one
//! that it was never given.

use dinehub_sdk::types::{Caller, Problem};

use crate::bindings::exports::dinehub::handles::{
    api::Guest,
    things::{Guest as Things, GuestThing, Thing},
};

dinehub_sdk::plugin!(Component, without handles);

struct Component;

struct Kept {
    is_endless: bool,
}

impl Drop for Kept {
    fn drop(&mut self) {
        while std::hint::black_box(self.is_endless) {}
    }
}

impl GuestThing for Kept {
    fn new(is_endless: bool) -> Self {
        Self { is_endless }
    }
}

impl Things for Component {
    type Thing = Kept;
}

fn thing() -> Thing {
    Thing::new(Kept { is_endless: false })
}

/// A handle made of a number.
#[allow(unsafe_code, reason = "this is the attack")]
fn forged(handle: u32) -> Thing {
    // SAFETY: none; the host must find out.
    unsafe { Thing::from_handle(handle) }
}

impl Guest for Component {
    fn hoard(_caller: Caller, count: u32) -> Result<u32, Problem> {
        (0..count).for_each(|_| std::mem::forget(thing()));
        Ok(count)
    }

    fn drop_spin(_caller: Caller) -> Result<(), Problem> {
        drop(Thing::new(Kept { is_endless: true }));
        Ok(())
    }

    fn stale(_caller: Caller) -> Result<(), Problem> {
        let first = thing();
        let number = first.handle();
        drop(first);
        drop(forged(number));
        Ok(())
    }

    fn guess(_caller: Caller, handle: u32) -> Result<(), Problem> {
        drop(forged(handle));
        Ok(())
    }

    fn answer(_caller: Caller) -> Result<u32, Problem> {
        Ok(42)
    }
}
