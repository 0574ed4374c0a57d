//! Randomness from the operating system.

use wasmtime::component::{Linker, Val};

use super::{gate::Function, grants::Grants};
use crate::{
    error::{Error, Fault, Setup},
    secret,
};

/// The interface as the component must name it.
pub const INTERFACE: &str = "dinehub:random/secure@1.0.0";
/// Its contract.
pub const WIT: &str = include_str!("../../../wit/dinehub-random@1.0.0/random.wit");

/// Bytes one call may take.
const BYTES_MAX: usize = 64;

/// Links `dinehub:random/secure`.
pub fn link(linker: &mut Linker<Grants>) -> Setup<()> {
    let fault = |error: wasmtime::Error| Fault::new(INTERFACE, format!("{error:#}"));
    let mut instance = linker.instance(INTERFACE).map_err(fault)?;
    Function::new(INTERFACE, "fresh-uuid")
        .link(&mut instance, |_, _| Box::pin(async { Ok(Some(Val::String(uuid::Uuid::new_v4().to_string()))) }))?;
    Function::new(INTERFACE, "hex").link(&mut instance, |grants, arguments| {
        let wanted = if let [Val::U32(bytes)] = arguments { *bytes as usize } else { 0 };
        let mut bytes = vec![0; wanted.min(BYTES_MAX)];
        let filled = secret::fill(&mut bytes);
        let given = filled.map_err(|fault| grants.stop(Error::internal(fault.to_string())));
        Box::pin(async move { given.map(|()| Some(Val::String(hex::encode(bytes)))) })
    })
}
