//! WASI 0.2 in named bundles, for guests whose compiler expects an operating system (`wasm32-wasip2`).
//!
//! A bundle is one package of WASI: `wasi = ["cli", "io"]` in the manifest asks for `wasi:cli` and `wasi:io`, and the lock
//! lists every function of them that the component imports. What a bundle leads to is poor on purpose: `cli` has no
//! environment, no arguments and no input, its output is the plugin's log, and `exit` ends the call; `clocks` move by
//! milliseconds; `filesystem` has the directories of `[files.*]`, under their quotas, and makes no links and no directories.
//! Sockets and HTTP are no bundle.
//!
//! The implementations are wasmtime-wasi's. Its own linking is not used, because every function passes the gate:
//! each is linked here by name, and only if the component imports it.

pub mod cli;
pub mod clocks;
pub mod filesystem;
pub mod io;
pub mod output;
pub mod random;
pub mod room;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    str::FromStr,
    sync::Arc,
};

use futures::future::BoxFuture;
use semver::Version;
use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentNamedList, Lift, Linker, LinkerInstance, Lower, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};

use self::filesystem::Root;
use super::{
    files,
    gate::{DROP, Function},
    grants::{Grants, Stopped},
    limit::Limits,
};
use crate::{
    error::{Fault, Setup},
    id::{PluginId, RequestId},
};

/// The version of WASI whose text stands in `wit/`; a component may import it or any patch before it, for WASI 0.2 only adds.
pub const VERSION: Version = Version::new(0, 2, 12);

/// A package of WASI that may be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bundle {
    Cli,
    Io,
    Clocks,
    Random,
    Filesystem,
}

/// Each after those whose types it uses.
pub const BUNDLES: [Bundle; 5] = [Bundle::Io, Bundle::Clocks, Bundle::Random, Bundle::Filesystem, Bundle::Cli];

impl Bundle {
    /// As in the manifest, and in `wasi:<name>`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::Io => "io",
            Self::Clocks => "clocks",
            Self::Random => "random",
            Self::Filesystem => "filesystem",
        }
    }

    /// Its contract, at [`VERSION`].
    #[must_use]
    pub fn wit(self) -> &'static str {
        match self {
            Self::Cli => include_str!("../../../wit/wasi-cli@0.2.12/cli.wit"),
            Self::Io => include_str!("../../../wit/wasi-io@0.2.12/io.wit"),
            Self::Clocks => include_str!("../../../wit/wasi-clocks@0.2.12/clocks.wit"),
            Self::Random => include_str!("../../../wit/wasi-random@0.2.12/random.wit"),
            Self::Filesystem => include_str!("../../../wit/wasi-filesystem@0.2.12/filesystem.wit"),
        }
    }
}

impl fmt::Display for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An interface of WASI, as a component names it: `wasi:io/poll@0.2.6`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub bundle: Bundle,
    pub version: Version,
}

impl FromStr for Interface {
    type Err = ();

    /// Fails for what is no bundle or of no version that is offered.
    fn from_str(name: &str) -> Result<Self, ()> {
        let (package, rest) = name.strip_prefix("wasi:").and_then(|rest| rest.split_once('/')).ok_or(())?;
        let version: Version = rest.split_once('@').ok_or(())?.1.parse().map_err(|_| ())?;
        let bundle = BUNDLES.into_iter().find(|bundle| bundle.name() == package).ok_or(())?;
        let is_offered = version.pre.is_empty() && version.build.is_empty() && version <= VERSION;
        let is_offered = is_offered && (version.major, version.minor) == (VERSION.major, VERSION.minor);
        if is_offered { Ok(Self { bundle, version }) } else { Err(()) }
    }
}

impl Interface {
    /// The contracts of all bundles at this version, each after those that it uses.
    #[must_use]
    pub fn contracts(&self) -> Vec<(&'static str, String)> {
        let (from, to) = (format!("@{VERSION}"), format!("@{}", self.version));
        BUNDLES.map(|bundle| (bundle.name(), bundle.wit().replace(&from, &to))).to_vec()
    }
}

/// What the bundles of one plugin lead to, opened at load.
#[derive(Clone, Debug)]
pub struct Opened {
    roots: Arc<[Root]>,
}

impl Opened {
    /// For these bundles; nothing when there are none. `directories` are those of `specs`, opened.
    pub fn of(
        bundles: &BTreeSet<Bundle>,
        specs: &BTreeMap<String, files::Spec>,
        directories: &files::Files,
    ) -> Setup<Option<Self>> {
        if bundles.is_empty() {
            return Ok(None);
        }
        let is_granted = bundles.contains(&Bundle::Filesystem);
        let open = |(name, spec): (&String, &files::Spec)| {
            let directory = directories.get(name).ok_or_else(|| Fault::new(name, "was not opened"))?;
            Root::open(name, spec, directory)
        };
        let roots: Setup<Vec<Root>> = specs.iter().filter(|_| is_granted).map(open).collect();
        Ok(Some(Self { roots: roots?.into() }))
    }

    /// For one call.
    #[must_use]
    pub fn start(&self, plugin: &PluginId, request: RequestId, limits: &Limits) -> Box<Wasi> {
        let mut context = WasiCtxBuilder::new();
        let lines = output::Lines::new(plugin.clone(), request, limits.log_lines_max);
        context.stdout(output::Output::new("stdout", &lines)).stderr(output::Output::new("stderr", &lines));
        context.wall_clock(clocks::Coarse::default()).monotonic_clock(clocks::Coarse::default());
        context.max_random_size(random::BYTES_MAX);
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles_max);
        Box::new(Wasi { context: context.build(), table, roots: Arc::clone(&self.roots), owners: HashMap::new() })
    }
}

/// WASI in one call.
pub struct Wasi {
    context: WasiCtx,
    table: ResourceTable,
    roots: Arc<[Root]>,
    /// Which of the roots an open file or directory lies in, by its handle.
    owners: HashMap<u32, usize>,
}

/// What a function of WASI does: its results, or the end of the call.
type Done<'c, R> = BoxFuture<'c, wasmtime::Result<R>>;

/// The functions of one imported interface, while they are linked.
struct Link<'l> {
    interface: &'l str,
    wanted: &'l [String],
    instance: LinkerInstance<'l, Grants>,
}

impl Link<'_> {
    fn is_wanted(&self, name: &str) -> bool {
        self.wanted.iter().any(|wanted| wanted == name)
    }

    fn function<P, R>(
        &mut self,
        name: &str,
        body: impl for<'c> Fn(&'c mut Wasi, P) -> Done<'c, R> + Send + Sync + 'static,
    ) -> Setup<()>
    where
        P: ComponentNamedList + Lift + Send + 'static,
        R: ComponentNamedList + Lower + Send + 'static,
    {
        if !self.is_wanted(name) {
            return Ok(());
        }
        let body = Arc::new(body);
        Function::new(self.interface, name).link_typed(&mut self.instance, move |grants, arguments: P| {
            let body = Arc::clone(&body);
            Box::pin(async move {
                let done = match grants.wasi() {
                    Some(wasi) => body(wasi, arguments).await,
                    None => Err(wasmtime::Error::msg("WASI was not opened")),
                };
                done.map_err(|error| blame(grants, &error))
            })
        })
    }

    fn resource<T: 'static>(
        &mut self,
        name: &str,
        body: impl for<'c> Fn(&'c mut Wasi, u32) -> Done<'c, ()> + Send + Sync + 'static,
    ) -> Setup<()> {
        let body = Arc::new(body);
        let function = Function::new(self.interface, &format!("{DROP}{name}"));
        function.link_resource::<T>(&mut self.instance, move |grants, handle| {
            let body = Arc::clone(&body);
            Box::pin(async move {
                let done = match grants.wasi() {
                    Some(wasi) => body(wasi, handle).await,
                    None => Err(wasmtime::Error::msg("WASI was not opened")),
                };
                done.map_err(|error| blame(grants, &error))
            })
        })
    }
}

/// Whatever WASI cannot answer as its types allow ends the call.
fn blame(grants: &mut Grants, error: &wasmtime::Error) -> Stopped {
    grants.stop_at_fault(format!("wasi: {error:#}"))
}

/// A result that is there already.
fn now<'c, R: Send + 'c>(done: wasmtime::Result<R>) -> Done<'c, R> {
    Box::pin(std::future::ready(done))
}

/// Links `functions` of `interface`, which is one of WASI's.
pub fn link(linker: &mut Linker<Grants>, interface: &str, functions: &[String]) -> Setup<()> {
    let fault = |error: wasmtime::Error| Fault::new(interface, format!("{error:#}"));
    let instance = linker.instance(interface).map_err(fault)?;
    let mut link = Link { interface, wanted: functions, instance };
    let name = interface.split('@').next().unwrap_or_default();
    match name {
        "wasi:io/error" => io::error(&mut link),
        "wasi:io/poll" => io::poll(&mut link),
        "wasi:io/streams" => io::streams(&mut link),
        "wasi:clocks/wall-clock" => clocks::wall(&mut link),
        "wasi:clocks/monotonic-clock" => clocks::monotonic(&mut link),
        "wasi:random/random" => random::secure(&mut link),
        "wasi:random/insecure" => random::insecure(&mut link),
        "wasi:random/insecure-seed" => random::seed(&mut link),
        "wasi:filesystem/types" => filesystem::types(&mut link),
        "wasi:filesystem/preopens" => filesystem::preopens(&mut link),
        _ => cli::link(&mut link, name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_of_wasi_0_2_up_to_ours_is_offered_and_nothing_else() {
        let read = |name: &str| name.parse::<Interface>().map(|interface| (interface.bundle, interface.version.patch));
        assert_eq!(read("wasi:io/poll@0.2.0"), Ok((Bundle::Io, 0)));
        assert_eq!(read("wasi:cli/exit@0.2.12"), Ok((Bundle::Cli, 12)));
        for refused in [
            "wasi:io/poll@0.2.13",
            "wasi:io/poll@0.3.0",
            "wasi:io/poll@0.1.0",
            "wasi:io/poll@1.2.0",
            "wasi:io/poll@0.2.0-rc-2023-11-10",
            "wasi:io/poll",
            "wasi:sockets/tcp@0.2.6",
            "wasi:http/types@0.2.6",
            "dinehub:io/poll@0.2.6",
        ] {
            assert_eq!(read(refused), Err(()), "{refused}");
        }
    }

    #[test]
    fn a_contract_names_one_version() {
        let interface: Interface = "wasi:io/poll@0.2.3".parse().unwrap();
        for (bundle, text) in interface.contracts() {
            assert!(text.contains(&format!("package wasi:{bundle}@0.2.3;")) && !text.contains("@0.2.12"), "{bundle}");
        }
    }
}
