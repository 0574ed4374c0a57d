//! A plugin that writes and then fails in each way there is: no mark but that of `add` may ever be seen.

use dinehub_sdk::{
    conflict,
    types::{Caller, Problem},
};

use crate::bindings::{dinehub::trap_data::marks, exports::dinehub::trap::api::Guest};

dinehub_sdk::plugin!(Component);

struct Component;

impl Guest for Component {
    fn add(_caller: Caller, name: String) -> Result<u32, Problem> {
        Ok(marks::add(&name)?)
    }

    fn add_then_trap(_caller: Caller, name: String) -> Result<u32, Problem> {
        marks::add(&name)?;
        core::arch::wasm32::unreachable()
    }

    fn add_then_refuse(_caller: Caller, name: String) -> Result<u32, Problem> {
        marks::add(&name)?;
        Err(conflict("changed_its_mind", "The mark is taken back."))
    }

    fn add_then_spin(_caller: Caller, name: String) -> Result<u32, Problem> {
        marks::add(&name)?;
        loop {
            std::hint::black_box(());
        }
    }

    fn fail_then_succeed(_caller: Caller, name: String) -> Result<u32, Problem> {
        let first = marks::add(&name)?;
        let _ignored = marks::add(&name);
        Ok(first)
    }

    fn answer(_caller: Caller) -> Result<u32, Problem> {
        Ok(42)
    }

    fn tally(_caller: Caller) -> Result<i64, Problem> {
        Ok(marks::tally()?.marks)
    }
}
