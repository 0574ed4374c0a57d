//! From a plugin's folder to its artefact: bind the statements, compile the guest, make it a component, seal it.
//!
//! `dev`, `plugin build` and the tests all build through [`build_all`]. Nothing is rebuilt when no source changed; two
//! processes never build at once (a file lock); cargo runs in the plugins' own workspace with a clean environment, so that
//! flags meant for the host never reach a guest.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest as _, Sha256};

use super::{
    bind, contract,
    manifest::{Manifest, Target as Wasm},
    package::{self, Content, Package},
};
use crate::{
    database::target::Target,
    error::{Fault, Setup},
};

/// A workspace of plugins, and where its artefacts go.
#[derive(Clone, Debug)]
pub struct Workshop {
    /// The folder with one folder per plugin: `plugins/`.
    pub source: PathBuf,
    /// Cargo's target directory for guests; artefacts are written to `<output>/<id>.wasm`.
    pub output: PathBuf,
}

impl Workshop {
    /// The plugins found in the workspace: folders that hold a `plugin.toml`, by name.
    pub fn plugins(&self) -> Setup<Vec<PathBuf>> {
        let mut folders: Vec<PathBuf> = list(&self.source)?;
        folders.retain(|folder| folder.join("plugin.toml").is_file());
        Ok(folders)
    }

    /// Where a plugin's artefact is: `ordering.wasm`, and of its second major version `ordering_v2.wasm`.
    #[must_use]
    pub fn artefact(&self, manifest: &Manifest) -> PathBuf {
        self.output.join(format!("{}.wasm", crate_of(manifest)))
    }
}

/// Builds every plugin whose sources changed and reads all artefacts. `scratch` can create throw-away databases.
/// `told` hears one line per plugin that is built.
pub async fn build_all(workshop: &Workshop, scratch: &Target, told: impl Fn(&str)) -> Setup<Vec<Package>> {
    let output = workshop.output.display().to_string();
    fs::create_dir_all(&workshop.output).map_err(Fault::at(&output))?;
    let _alone = lock(&workshop.output.join("build.lock")).await?;
    let sources = workshop.output.join("sources.sha256");
    let digest = digest(&workshop.source)?;
    let is_current = fs::read_to_string(&sources).is_ok_and(|known| known == digest);
    let folders = workshop.plugins()?;
    if !is_current {
        let mut bound = Vec::with_capacity(folders.len());
        for folder in &folders {
            told(&format!("binding {}", folder.display()));
            bound.push(bind_one(folder, scratch).await?);
        }
        told("compiling the guests");
        compile(workshop, &folders)?;
        for (folder, (manifest, content)) in folders.iter().zip(&bound) {
            assemble(workshop, folder, manifest, content)?;
        }
        // Binding may have written WIT, so the digest is taken again.
        let digest = self::digest(&workshop.source)?;
        fs::write(&sources, digest).map_err(Fault::at(&output))?;
    }
    folders
        .iter()
        .map(|folder| {
            let (manifest, _) = read_manifest(folder)?;
            let path = workshop.artefact(&manifest);
            let place = path.display().to_string();
            Package::open(&place, fs::read(&path).map_err(Fault::at(&place))?)
        })
        .collect()
}

/// What its crate is called: two major versions of one plugin are two crates.
fn crate_of(manifest: &Manifest) -> String {
    manifest.scope().replace('.', "_")
}

/// The manifest of a plugin's folder, read and as text.
pub fn read_manifest(folder: &Path) -> Setup<(Manifest, String)> {
    let path = folder.join("plugin.toml");
    let place = path.display().to_string();
    let text = fs::read_to_string(&path).map_err(Fault::at(&place))?;
    Ok((Manifest::parse(&place, &text)?, text))
}

async fn bind_one(folder: &Path, scratch: &Target) -> Setup<(String, Content)> {
    let (manifest, text) = read_manifest(folder)?;
    let bound = bind::bind(folder, &manifest, scratch).await?;
    let docs = docs(folder, &manifest)?;
    let migrations = bind::migrations(folder)?;
    let bind::Bound { statements, catalog, wit } = bound;
    Ok((text, Content { statements, wit, catalog, migrations, docs }))
}

/// The doc comments of the plugin's `api`, from its WIT sources.
fn docs(folder: &Path, manifest: &Manifest) -> Setup<BTreeMap<String, String>> {
    let wit = folder.join("wit");
    let place = wit.display().to_string();
    let mut resolve = wit_parser::Resolve::default();
    resolve.push_dir(&wit).map_err(|error| Fault::new(&place, format!("{error:#}")))?;
    let mut docs = BTreeMap::new();
    let package = format!("dinehub:{}@{}.", contract::kebab(manifest.id.as_str()), manifest.version.major);
    for (_, interface) in &resolve.interfaces {
        let owner = interface.package.and_then(|id| resolve.packages.get(id)).map(|package| package.name.to_string());
        if interface.name.as_deref() != Some("api") || !owner.is_some_and(|name| name.starts_with(&package)) {
            continue;
        }
        for (name, function) in &interface.functions {
            docs.extend(function.docs.contents.clone().map(|text| (name.clone(), text.trim().to_owned())));
        }
    }
    for (_, definition) in &resolve.types {
        let Some(name) = &definition.name else { continue };
        docs.extend(definition.docs.contents.clone().map(|text| (name.clone(), text.trim().to_owned())));
        if let wit_parser::TypeDefKind::Record(record) = &definition.kind {
            for field in &record.fields {
                let key = format!("{name}.{}", field.name);
                docs.extend(field.docs.contents.clone().map(|text| (key, text.trim().to_owned())));
            }
        }
    }
    Ok(docs)
}

/// Compiles every crate of the workspace, each for the target of its manifest.
fn compile(workshop: &Workshop, folders: &[PathBuf]) -> Setup<()> {
    let mut wanted: BTreeMap<Wasm, BTreeSet<String>> = BTreeMap::new();
    for folder in folders {
        let (manifest, _) = read_manifest(folder)?;
        wanted.entry(manifest.target).or_default().insert(crate_of(&manifest));
    }
    let others = wanted.get(&Wasm::Wasip2).into_iter().flatten();
    let mut workspace = vec!["--workspace".to_owned()];
    workspace.extend(others.clone().flat_map(|id| ["--exclude".to_owned(), id.clone()]));
    if wanted.contains_key(&Wasm::Unknown) {
        compile_for(workshop, Wasm::Unknown, &workspace)?;
    }
    let chosen: Vec<String> = others.flat_map(|id| ["--package".to_owned(), id.clone()]).collect();
    if chosen.is_empty() { Ok(()) } else { compile_for(workshop, Wasm::Wasip2, &chosen) }
}

fn compile_for(workshop: &Workshop, target: Wasm, packages: &[String]) -> Setup<()> {
    ensure_target(&workshop.source, target)?;
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--release", "--locked", "--target", target.name(), "--target-dir"])
        .arg(&workshop.output)
        .args(packages)
        .args(remap(workshop, target))
        .current_dir(&workshop.source)
        .stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let is_cargos =
            text.starts_with("CARGO_") && text != "CARGO_HOME" || text.starts_with("RUSTC_") || text == "RUSTC";
        if is_cargos || text == "RUSTFLAGS" || text == "RUSTDOCFLAGS" {
            cargo.env_remove(&name);
        }
    }
    let done = cargo.output().map_err(Fault::at("cargo"))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    Err(Fault::new(workshop.source.display().to_string(), format!("the guests do not compile:\n{said}")))
}

/// Where sources lie must not show in what is built: the same sources give the same digest on every machine, so that a
/// reviewer's approval holds for everybody's build.
fn remap(workshop: &Workshop, target: Wasm) -> [String; 2] {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let source = fs::canonicalize(&workshop.source).unwrap_or_else(|_| workshop.source.clone());
    let flag = |(from, to): (PathBuf, &str)| format!("{:?}", format!("--remap-path-prefix={}={to}", from.display()));
    let flags: Vec<String> =
        [Some((source, "/plugins")), home.map(|home| (home, "/cargo"))].into_iter().flatten().map(flag).collect();
    ["--config".to_owned(), format!("target.{}.rustflags=[{}]", target.name(), flags.join(","))]
}

/// Adds the wasm target to the active toolchain when it is missing.
fn ensure_target(source: &Path, target: Wasm) -> Setup<()> {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).current_dir(source).output();
    let sysroot = sysroot.map_err(Fault::at("rustc"))?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim().to_owned());
    if sysroot.join("lib/rustlib").join(target.name()).is_dir() {
        return Ok(());
    }
    let fix = format!("rustup target add {}", target.name());
    let added = Command::new("rustup").args(["target", "add", target.name()]).current_dir(source).output();
    match added {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => Err(Fault::new("rustup", String::from_utf8_lossy(&done.stderr).trim().to_owned()).fix(fix)),
        Err(error) => Err(Fault::new("rustup", error.to_string()).fix(fix)),
    }
}

fn assemble(workshop: &Workshop, folder: &Path, manifest: &str, content: &Content) -> Setup<()> {
    let (parsed, _) = read_manifest(folder)?;
    let id = crate_of(&parsed);
    let core = workshop.output.join(parsed.target.name()).join("release").join(format!("{id}.wasm"));
    let place = core.display().to_string();
    let module = fs::read(&core).map_err(|error| {
        Fault::new(&place, error.to_string()).fix(format!("name the crate `{id}` with crate-type = [\"cdylib\"]"))
    })?;
    let component = match parsed.target {
        Wasm::Unknown => wit_component::ComponentEncoder::default()
            .module(&module)
            .and_then(|encoder| encoder.validate(true).encode())
            .map_err(|error| Fault::new(&place, format!("is not a component's core: {error:#}")))?,
        // The linker of this target makes the component.
        Wasm::Wasip2 => module,
    };
    let sealed = package::seal(&component, manifest, content)?;
    let path = workshop.artefact(&parsed);
    // Readers see the old artefact or the new one, never half of one.
    let fresh = path.with_extension("wasm.new");
    let place = path.display().to_string();
    fs::write(&fresh, sealed).and_then(|()| fs::rename(&fresh, &path)).map_err(Fault::at(place))
}

async fn lock(path: &Path) -> Setup<Flock<File>> {
    let place = path.display().to_string();
    let file = File::options().create(true).append(true).open(path).map_err(Fault::at(&place))?;
    let locked = tokio::task::spawn_blocking(move || Flock::lock(file, FlockArg::LockExclusive));
    match locked.await {
        Ok(Ok(lock)) => Ok(lock),
        Ok(Err((_, error))) => Err(Fault::new(place, error.to_string())),
        Err(error) => Err(Fault::new(place, error.to_string())),
    }
}

/// Hex SHA-256 over names and contents of all files below `folder`, its build output left out, and of this binary's
/// version of the rules.
fn digest(folder: &Path) -> Setup<String> {
    let mut sum = Sha256::new();
    for rules in [include_str!("build.rs"), include_str!("../database/inventory/objects.sql")] {
        sum.update(rules);
    }
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for path in list(&next)? {
            if path.is_dir() {
                if !path.ends_with("target") {
                    open.push(path);
                }
                continue;
            }
            let data = fs::read(&path).map_err(Fault::at(path.display().to_string()))?;
            sum.update(path.strip_prefix(folder).unwrap_or(&path).as_os_str().as_encoded_bytes());
            sum.update([0]);
            sum.update(Sha256::digest(&data));
        }
    }
    Ok(hex::encode(sum.finalize()))
}

/// A folder's entries, in order of their names.
fn list(folder: &Path) -> Setup<Vec<PathBuf>> {
    let place = folder.display().to_string();
    let entries = fs::read_dir(folder).map_err(Fault::at(&place))?;
    let paths: Result<Vec<PathBuf>, std::io::Error> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(Fault::at(&place))?;
    paths.sort();
    Ok(paths)
}
