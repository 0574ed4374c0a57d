//! A plugin that abuses handles: a hoard of them, destructors that spin and trap, one used after it was dropped, one that it
//! was never given.

use dinehub_sdk::types::{Caller, Problem};

use crate::bindings::exports::dinehub::handles::{
    api::Guest,
    things::{Guest as Things, GuestThing, Thing},
};

dinehub_sdk::plugin!(Component, without handles);

struct Component;

/// What becomes of a thing that is dropped.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Quiet,
    Spin,
    Trap,
}

struct Kept(End);

impl Drop for Kept {
    fn drop(&mut self) {
        while std::hint::black_box(self.0) == End::Spin {}
        if self.0 == End::Trap {
            core::arch::wasm32::unreachable();
        }
    }
}

impl GuestThing for Kept {
    fn new() -> Self {
        Self(End::Quiet)
    }
}

impl Things for Component {
    type Thing = Kept;
}

fn thing() -> Thing {
    Thing::new(Kept(End::Quiet))
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
        drop(Thing::new(Kept(End::Spin)));
        Ok(())
    }

    fn drop_trap(_caller: Caller) -> Result<(), Problem> {
        drop(Thing::new(Kept(End::Trap)));
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

    fn peek(_caller: Caller, handle: u32) -> Result<u32, Problem> {
        let forged = forged(handle);
        let is_quiet = forged.get::<Kept>().0 == End::Quiet;
        Ok(is_quiet.into())
    }

    fn answer(_caller: Caller) -> Result<u32, Problem> {
        Ok(42)
    }
}
