//! The `dinehub` program.

use std::process::ExitCode;

use clap::Parser as _;
use dinehub::{
    command::{self, Command, Program, compile},
    error::Setup,
};

/// Many small allocations per request, freed by other threads than made them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<ExitCode> {
    let program = Program::parse();
    if let Command::Compile(arguments) = &program.command {
        // Before there are threads: whoever compiles somebody else's code has nothing else in its process.
        return Ok(ended(compile::run(arguments)));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(ended(runtime.block_on(command::run(program))))
}

fn ended(done: Setup<ExitCode>) -> ExitCode {
    done.unwrap_or_else(|fault| {
        eprintln!("dinehub: {fault}");
        ExitCode::FAILURE
    })
}
