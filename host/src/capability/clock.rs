//! The clock: wall time, cut to milliseconds.

use wasmtime::component::{Linker, Val};

use super::{gate::Function, grants::Grants};
use crate::{
    database::timestamp,
    error::{Fault, Setup},
};

/// The interface as the component must name it.
pub const INTERFACE: &str = "dinehub:clock/wall@1.0.0";
/// Its contract.
pub const WIT: &str = include_str!("../../../wit/dinehub-clock@1.0.0/clock.wit");

/// What a guest's clock moves by, in microseconds.
const STEP_MICROS: i64 = 1_000;

/// Links `dinehub:clock/wall`.
pub fn link(linker: &mut Linker<Grants>) -> Setup<()> {
    let fault = |error: wasmtime::Error| Fault::new(INTERFACE, format!("{error:#}"));
    let mut instance = linker.instance(INTERFACE).map_err(fault)?;
    Function::new(INTERFACE, "now").link(&mut instance, |grants, _| {
        let micros = jiff::Timestamp::now().as_microsecond();
        let now = timestamp::format(micros - micros.rem_euclid(STEP_MICROS));
        let now = now.map(|text| Val::String(text.as_str().to_owned()));
        let given = now.ok_or_else(|| grants.stop_at_fault("the clock left its range".to_owned()));
        Box::pin(async move { given.map(Some) })
    })
}
