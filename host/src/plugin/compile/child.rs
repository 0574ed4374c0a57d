//! The child's side: bounds first, then the component, then code or one sentence.

use std::io::{self, Read as _, Write as _};

use nix::sys::resource::{Resource, setrlimit};

use crate::{
    error::{Fault, Setup},
    plugin::{engine, package},
};

/// Whatever its starter left open below this number is closed.
const INHERITED_MAX: i32 = 4_096;
/// Files the child may have open: its pipes, and what the loader and the kernel are asked.
const FILES_MAX: u64 = 16;

/// Compiles standard input to standard output. Called before anything else happened in the process; nothing is read
/// before the bounds hold. `memory_bytes` is the whole address space, `cpu_s` the CPU time over all threads.
pub fn run(memory_bytes: u64, cpu_s: u64) -> Setup<()> {
    for file in 3..INHERITED_MAX {
        // Most are not open, and that is well.
        let _ = nix::unistd::close(file);
    }
    for (what, limit) in [
        // A core would hold what was compiled; a file could be left anywhere.
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_FSIZE, 0),
        (Resource::RLIMIT_NOFILE, FILES_MAX),
        (Resource::RLIMIT_AS, memory_bytes),
    ] {
        setrlimit(what, limit, limit).map_err(Fault::at("rlimit"))?;
    }
    // The soft bound ends the process by a signal with a name of its own; the hard one, a second later, in any case.
    setrlimit(Resource::RLIMIT_CPU, cpu_s, cpu_s + 1).map_err(Fault::at("rlimit"))?;
    let mut component = Vec::new();
    let bytes_max = package::BYTES_MAX as u64;
    io::stdin().lock().take(bytes_max + 1).read_to_end(&mut component).map_err(Fault::at("standard input"))?;
    if component.len() > package::BYTES_MAX {
        return Err(Fault::new("standard input", format!("has more than {bytes_max} bytes")));
    }
    let fault = |error: wasmtime::Error| Fault::new("component", format!("{error:#}"));
    let mut settings = engine::settings();
    // One thread: two children work at a time, and what a component costs does not hang on the machine.
    settings.parallel_compilation(false);
    let engine = wasmtime::Engine::new(&settings).map_err(fault)?;
    let code = engine.precompile_component(&component).map_err(fault)?;
    let mut out = io::stdout().lock();
    out.write_all(&code).and_then(|()| out.flush()).map_err(Fault::at("standard output"))
}
