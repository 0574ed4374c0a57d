//! From a component to machine code, off the request path and outside this process.
//!
//! A compiler is a large program that reads what somebody else wrote, and a component can be made to cost it minutes and
//! gigabytes. So it runs in a child: this same program under a hidden verb, with bounds on its address space and CPU
//! time, no core dump, no file it may write, an empty environment and three pipes ([`child`]). What explodes there is a
//! [`Fault`] here.
//!
//! What the child gives is **code that this process will run**: `Component::deserialize` believes every byte. Only two
//! places make a [`Code`]: the child's answer, and [`cache`], which proves that this host wrote what it reads.

pub mod cache;
pub mod child;

use std::{
    ffi::OsString,
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use futures::{StreamExt as _, TryStreamExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
};
use wasmtime::component::Component;

use self::cache::Cache;
use super::{engine::Engine, package::Package};
use crate::error::{Fault, Setup};

/// The hidden verb.
pub const VERB: &str = "compile";
/// No component becomes more code than this, in bytes.
const CODE_BYTES_MAX: u64 = 256 << 20;
/// What a child that failed may say, in bytes.
const SAID_BYTES_MAX: u64 = 2_000;
/// Children at a time.
const CHILDREN_MAX: usize = 2;

/// What one compilation may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The child's address space.
    pub memory_bytes: u64,
    /// Over all its threads.
    pub cpu_s: u64,
    /// From start to answer.
    pub wall: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { memory_bytes: 3 << 30, cpu_s: 60, wall: Duration::from_secs(120) }
    }
}

/// Machine code that came from a child of this host, or that this host is proved to have written.
#[derive(Debug)]
pub struct Code(Vec<u8>);

/// Compiles plugins, or finds them compiled.
#[derive(Debug)]
pub struct Compiler {
    program: PathBuf,
    arguments: Vec<OsString>,
    bounds: Bounds,
    cache: Option<Cache>,
}

impl Compiler {
    /// `program` understands [`VERB`]; without a cache every start compiles everything.
    #[must_use]
    pub fn new(program: PathBuf, bounds: Bounds, cache: Option<Cache>) -> Self {
        let arguments = [VERB.to_owned(), bounds.memory_bytes.to_string(), bounds.cpu_s.to_string()];
        Self { program, arguments: arguments.map(OsString::from).into(), bounds, cache }
    }

    /// All of them, in order; the first that cannot be compiled is the fault.
    pub async fn components<'p>(
        &self,
        engine: &Engine,
        packages: impl Iterator<Item = &'p Package>,
    ) -> Setup<Vec<Component>> {
        let compiling: Vec<_> = packages.map(|package| self.component(engine, package)).collect();
        futures::stream::iter(compiling).buffered(CHILDREN_MAX).try_collect().await
    }

    /// One of them.
    pub async fn component(&self, engine: &Engine, package: &Package) -> Setup<Component> {
        let place = package.manifest.id.as_str();
        let version = engine.version();
        if let Some(cache) = &self.cache
            && let Some(code) = cache.find(&package.digest, &version)
        {
            match revive(engine, place, &code) {
                Ok(component) => return Ok(component),
                // Written by this host, and not for this engine after all: one more reason to make it anew.
                Err(fault) => tracing::warn!(target: "host", plugin = place, %fault, "cached code is of no use"),
            }
        }
        let code = self.compile(place, &package.bytes).await?;
        let component = revive(engine, place, &code)?;
        if let Some(cache) = &self.cache
            && let Err(fault) = cache.keep(&package.digest, &version, &code)
        {
            // The next start is slower, and that is all.
            tracing::warn!(target: "host", plugin = place, %fault, "compiled code is not kept");
        }
        Ok(component)
    }

    /// Removes cached code that this process did not use.
    pub fn sweep(&self) {
        if let Some(cache) = &self.cache {
            cache.sweep();
        }
    }

    /// Has a child compile `component`; `place` is named in the fault.
    pub async fn compile(&self, place: &str, component: &[u8]) -> Setup<Code> {
        let program = self.program.display().to_string();
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(Fault::at(&program))?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let Some(((mut stdin, stdout), stderr)) = stdin.zip(stdout).zip(stderr) else {
            return Err(Fault::new(program, "was started without pipes"));
        };
        let (mut code, mut said) = (Vec::new(), Vec::new());
        let (mut stdout, mut stderr) = (stdout.take(CODE_BYTES_MAX + 1), stderr.take(SAID_BYTES_MAX));
        let working = async {
            let give = async move {
                // A child that is gone says why by the way it went.
                let _ = stdin.write_all(component).await;
                drop(stdin);
            };
            let take = async {
                let taken = stdout.read_to_end(&mut code).await;
                if code.len() as u64 > CODE_BYTES_MAX {
                    // It would wait for ever for somebody to read on.
                    let _ = child.start_kill();
                }
                taken
            };
            let ((), taken, heard) = tokio::join!(give, take, stderr.read_to_end(&mut said));
            taken.and(heard).map_err(Fault::at(&program))?;
            if code.len() as u64 > CODE_BYTES_MAX {
                return Err(Fault::new(place, format!("compiles to more than {CODE_BYTES_MAX} bytes of code")));
            }
            child.wait().await.map_err(Fault::at(&program))
        };
        let Ok(ended) = tokio::time::timeout(self.bounds.wall, working).await else {
            return Err(self.refusal(place, format!("was not compiled within {} s", self.bounds.wall.as_secs())));
        };
        let status = ended?;
        if status.success() { Ok(Code(code)) } else { Err(self.refusal(place, self.end(status, &said))) }
    }

    fn refusal(&self, place: &str, what: String) -> Fault {
        let Bounds { memory_bytes, cpu_s, .. } = self.bounds;
        let mib = memory_bytes >> 20;
        Fault::new(place, what)
            .fix(format!("a component must compile within {cpu_s} s of CPU and {mib} MiB: smaller functions"))
    }

    /// How a child ended that gave nothing. Its own words are quoted, on one line: a publisher's names stand in them.
    fn end(&self, status: ExitStatus, said: &[u8]) -> String {
        let said = String::from_utf8_lossy(said);
        let said: String = said.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let Bounds { memory_bytes, cpu_s, .. } = self.bounds;
        match status.signal() {
            Some(nix::libc::SIGXCPU) => format!("makes the compiler work for more than {cpu_s} s"),
            // What an allocation that fails ends in.
            Some(nix::libc::SIGABRT) if said.contains("memory") => {
                format!("makes the compiler want more than {} MiB", memory_bytes >> 20)
            }
            Some(signal) => format!("made the compiler end by signal {signal}: {said}"),
            None => format!("does not compile: {said}"),
        }
    }
}

/// The one door by which code enters this process.
#[expect(
    unsafe_code,
    reason = "a Code is what this host compiled: from its own child, or from its own cache under a MAC"
)]
fn revive(engine: &Engine, place: &str, code: &Code) -> Setup<Component> {
    // SAFETY: `deserialize` trusts its bytes entirely. A `Code` is made in two places, both of which got it from this
    // program's own compiler; version and settings of the engine are checked by wasmtime itself.
    let component = unsafe { Component::deserialize(engine.wasmtime(), &code.0) };
    component.map_err(|error| Fault::new(place, format!("{error:#}")))
}
