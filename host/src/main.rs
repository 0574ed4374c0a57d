//! The `dinehub` program.

use clap::Parser as _;
use dinehub::command::{self, Program};

/// Many small allocations per request, freed by other threads than made them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<std::process::ExitCode> {
    let program = Program::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(match runtime.block_on(command::run(program)) {
        Ok(code) => code,
        Err(fault) => {
            eprintln!("dinehub: {fault}");
            std::process::ExitCode::FAILURE
        }
    })
}
