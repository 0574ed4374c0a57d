//! A plugin with schedules: one that leaves a mark, and one whose mark must never be seen.

use dinehub_sdk::types::{Caller, Problem};

use crate::bindings::{
    dinehub::ticker_data::marks,
    exports::dinehub::ticker::{api::Guest, schedules::Guest as Schedules},
};

dinehub_sdk::plugin!(Component);

struct Component;

impl Schedules for Component {
    fn sweep() {
        if marks::add().is_err() {
            core::arch::wasm32::unreachable()
        }
    }

    fn stumble() {
        let _lost = marks::add();
        core::arch::wasm32::unreachable()
    }
}

impl Guest for Component {
    fn ticks(_caller: Caller) -> Result<Vec<String>, Problem> {
        Ok(marks::all()?.into_iter().map(|row| row.kind).collect())
    }
}
