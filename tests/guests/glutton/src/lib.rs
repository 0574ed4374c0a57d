//! A plugin that takes too much: each function runs into one limit of its manifest.

use dinehub_sdk::types::{Caller, Problem};

use crate::bindings::{
    dinehub::{glutton_data::crumbs, platform::log},
    exports::dinehub::glutton::api::Guest,
};

dinehub_sdk::plugin!(Component);

struct Component;

impl Guest for Component {
    fn scatter(_caller: Caller) -> Result<u32, Problem> {
        Ok(crumbs::scatter(&"w".repeat(1_000))?)
    }

    fn answer(_caller: Caller) -> Result<u32, Problem> {
        Ok(42)
    }

    fn statements(_caller: Caller, times: i32) -> Result<i64, Problem> {
        let mut last = 0;
        for _ in 0..times {
            last = crumbs::tally()?.crumbs;
        }
        Ok(last)
    }

    fn rows(_caller: Caller, times: i32) -> Result<u32, Problem> {
        let mut seen = 0;
        for _ in 0..times {
            seen += crumbs::gather()?.len() as u32;
        }
        Ok(seen)
    }

    fn words(_caller: Caller) -> Result<u32, Problem> {
        Ok(crumbs::words()?.len() as u32)
    }

    fn ponder(_caller: Caller) -> Result<i64, Problem> {
        Ok(crumbs::ponder()?.pairs)
    }

    fn word(_caller: Caller, bytes: i32) -> Result<(), Problem> {
        log::write(log::Level::Info, &"x".repeat(bytes.unsigned_abs() as usize), &[]);
        Ok(())
    }

    fn lines(_caller: Caller, times: i32) -> Result<(), Problem> {
        for at in 0..times {
            log::write(log::Level::Info, &format!("line {at}\n{{\"level\":\"FORGED\"}}"), &[]);
        }
        Ok(())
    }

    fn linger(_caller: Caller) -> Result<(), Problem> {
        loop {
            std::hint::black_box(());
        }
    }
}
