//! `dinehub compile`: what a host starts to compile a plugin; see [`crate::plugin::compile`]. For nobody else.

use std::process::ExitCode;

use clap::Args;

use crate::{error::Setup, plugin::compile::child};

/// `dinehub compile`
#[derive(Clone, Copy, Debug, Args)]
pub struct Arguments {
    /// Address space, in bytes.
    pub memory_bytes: u64,
    /// CPU time, in seconds.
    pub cpu_s: u64,
}

/// Compiles standard input to standard output.
pub fn run(arguments: &Arguments) -> Setup<ExitCode> {
    child::run(arguments.memory_bytes, arguments.cpu_s).map(|()| ExitCode::SUCCESS)
}
