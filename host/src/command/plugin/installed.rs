//! `dinehub plugin install | list | disable | enable | rollback`: what a host serves, changed while it serves.
//!
//! A change is checked here as the host will check it (approval, database), then the record is replaced, and the running
//! host follows ([`crate::command::reload`]). A host that cannot goes on with what it served, and the record is put back.

use std::{
    fmt,
    fs::{self, File},
    path::{Path, PathBuf},
    str::FromStr,
    time::{Duration, Instant},
};

use clap::Args;
use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;

use crate::{
    command::{
        Output, install,
        project::{private, read_book},
        serve,
        start::Rings,
        stock::{self, Stock},
    },
    config::Config,
    error::{Fault, Setup},
    id::PluginId,
    plugin::{
        approval::Book,
        package::Package,
        store::{Record, Store},
    },
};

/// Held by a host for as long as it serves from a state directory.
const SERVING: &str = "serve.lock";
/// Held by whoever changes the record.
const CHANGING: &str = "change.lock";
/// How long a running host may take to follow: compiling included.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(120);

/// Which host.
#[derive(Clone, Debug, Args)]
pub struct Which {
    /// The server's configuration file; variables like DINEHUB_PLUGINS__STATE_DIRECTORY, and DATABASE_URL, override it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `dinehub plugin install`
#[derive(Clone, Debug, Args)]
pub struct Install {
    /// The artefact.
    pub file: PathBuf,
    #[command(flatten)]
    pub which: Which,
}

/// `dinehub plugin list`
#[derive(Clone, Debug, Args)]
pub struct List {
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    #[command(flatten)]
    pub which: Which,
}

/// `dinehub plugin disable | enable | rollback`
#[derive(Clone, Debug, Args)]
pub struct One {
    /// `ID`, or `ID@MAJOR` for one of several major versions.
    pub plugin: Name,
    #[command(flatten)]
    pub which: Which,
}

/// A plugin, or one of its major versions.
#[derive(Clone, Debug)]
pub struct Name {
    id: PluginId,
    major: Option<u64>,
}

impl FromStr for Name {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (id, major) = text.split_once('@').map_or((text, None), |(id, major)| (id, Some(major)));
        let major = major.map(|text| text.parse().map_err(|_| format!("{text:?} is no major version"))).transpose()?;
        Ok(Self { id: id.parse()?, major })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.major {
            Some(major) => write!(f, "{}@{major}", self.id),
            None => self.id.fmt(f),
        }
    }
}

/// Takes the lock that says a host serves from here; two would tell each other's outcomes.
pub fn lock_serving(state: &Path) -> Setup<Flock<File>> {
    lock(state, SERVING, FlockArg::LockExclusiveNonblock)?.map_err(|shown| {
        Fault::new(shown, "another host serves from this state directory").fix("set plugins.state_directory")
    })
}

/// The lock, or the directory's name when somebody else holds it.
fn lock(state: &Path, name: &str, how: FlockArg) -> Setup<Result<Flock<File>, String>> {
    drop(private(state)?);
    let shown = state.display().to_string();
    let file = File::options().create(true).append(true).open(state.join(name)).map_err(Fault::at(&shown))?;
    Ok(Flock::lock(file, how).map_err(|_| shown))
}

/// What a change works with.
struct Work {
    config: Config,
    store: Store,
    book: Book,
    _alone: Flock<File>,
}

impl Work {
    fn open(which: &Which) -> Setup<Self> {
        let config = Config::read(which.config.as_deref(), std::env::vars())?;
        let store = stock::make(&config)?;
        let book = read_book(&config.plugins.lock_file, &config.plugins.reviewers_file)?;
        let alone = lock(&config.plugins.state_directory, CHANGING, FlockArg::LockExclusive)?;
        let alone = alone.map_err(|shown| Fault::new(shown, "cannot be locked"))?;
        Ok(Self { config, store, book, _alone: alone })
    }

    /// What is installed. The first time, that is what the host serves without a store.
    fn record(&self) -> Setup<Record> {
        if let Some(record) = self.store.record()? {
            return Ok(record);
        }
        let mut record = Record { change: 1, all: Vec::new() };
        let directory = &self.config.plugins.directory;
        if directory.is_dir() {
            for package in serve::read_packages(directory)? {
                self.store.keep(&package)?;
                record.install(&package);
            }
        }
        self.store.write(&record)?;
        Ok(record)
    }

    /// Makes `after` what is installed, if the host could serve it.
    async fn change(&self, before: &Record, mut after: Record, command: &str) -> Setup<()> {
        after.change = before.change + 1;
        let stock = Stock::of(&self.store, &after, &self.book)?;
        let grown = after
            .all
            .iter()
            .filter(|one| !one.disabled)
            .any(|one| !before.all.iter().any(|known| known.serving == one.serving && !known.disabled));
        if grown {
            let vault = serve::open_vault(&self.config)?;
            let rings = Rings::open(&vault)?.with_plugins(&vault, &stock.serving)?;
            let ensured = install::ensure(&serve::read_place(&self.config)?, &rings, stock.all()).await;
            ensured.map_err(|fault| fault.fix(format!("dinehub db plan, dinehub db apply, then again: {command}")))?;
        }
        self.store.write(&after)?;
        self.follow(before, &after).await
    }

    /// Waits until a running host made of the record what it can.
    async fn follow(&self, before: &Record, after: &Record) -> Setup<()> {
        let state = &self.config.plugins.state_directory;
        if lock(state, SERVING, FlockArg::LockExclusiveNonblock)?.is_ok() {
            println!("no host serves from {} now; the next one will", state.display());
            return Ok(());
        }
        let begun = Instant::now();
        let why = loop {
            match self.store.outcome()?.filter(|outcome| outcome.change >= after.change) {
                Some(outcome) if outcome.fault.is_none() => return Ok(()),
                Some(outcome) => break outcome.fault.unwrap_or_default(),
                None if begun.elapsed() > FOLLOWED_WITHIN => break "it did not answer in time".to_owned(),
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        self.store.write(&Record { change: after.change + 1, ..before.clone() })?;
        Err(Fault::new("the running host", format!("goes on with what it served before: {why}")))
    }
}

/// Installs an artefact: served from the next request on, beside other major versions, instead of its own.
pub async fn install(install: &Install) -> Setup<()> {
    let place = install.file.display().to_string();
    let package = Package::open(&place, fs::read(&install.file).map_err(Fault::at(&place))?)?;
    let work = Work::open(&install.which)?;
    let before = work.record()?;
    // Here it can be approved and prepared for before it is served.
    work.store.keep(&package)?;
    let mut after = before.clone();
    after.install(&package);
    work.change(&before, after, &format!("dinehub plugin install {place}")).await?;
    let manifest = &package.manifest;
    println!("{} {} is served at {}", manifest.id, manifest.version, manifest.prefix());
    Ok(())
}

/// Switches a plugin off, or on again.
pub async fn switch(one: &One, is_off: bool) -> Setup<()> {
    let work = Work::open(&one.which)?;
    let before = work.record()?;
    let mut after = before.clone();
    for installed in after.select(&one.plugin.id, one.plugin.major)? {
        installed.disabled = is_off;
    }
    let verb = if is_off { "disable" } else { "enable" };
    work.change(&before, after, &format!("dinehub plugin {verb} {}", one.plugin)).await?;
    println!("{} is {}", one.plugin, if is_off { "switched off: its paths answer 503" } else { "served" });
    Ok(())
}

/// Goes back to what was served before.
pub async fn roll_back(one: &One) -> Setup<()> {
    let work = Work::open(&one.which)?;
    let before = work.record()?;
    let mut after = before.clone();
    let mut found = after.select(&one.plugin.id, one.plugin.major)?;
    let [installed] = found.as_mut_slice() else {
        return Err(Fault::new(one.plugin.id.as_str(), "is installed in several major versions")
            .fix(format!("name one: dinehub plugin rollback {}@1", one.plugin.id)));
    };
    installed.roll_back()?;
    let package = work.store.package(&installed.serving)?;
    let manifest = &package.manifest;
    if !work.book.names(&package) {
        let what =
            format!("{} sha256:{} is not kept by the approval of what came after it", manifest.version, package.digest);
        return Err(Fault::new(one.plugin.id.as_str(), what).fix(format!(
            "dinehub grants approve {} --keep {} --reviewer NAME --key FILE",
            manifest.id, manifest.version
        )));
    }
    work.change(&before, after, &format!("dinehub plugin rollback {}", one.plugin)).await?;
    println!("{} {} is served again at {}", manifest.id, manifest.version, manifest.prefix());
    Ok(())
}

/// One artefact of the store.
#[derive(Debug, Serialize)]
struct Row {
    plugin: PluginId,
    version: String,
    /// `serving`, `off`, `ready` (approved, and one step away) or `past` (not approved any more).
    state: &'static str,
    digest: String,
}

/// Prints every artefact of the store.
pub fn list(list: &List) -> Setup<()> {
    let config = Config::read(list.which.config.as_deref(), std::env::vars())?;
    let book = read_book(&config.plugins.lock_file, &config.plugins.reviewers_file)?;
    let store = stock::open(&config)?;
    let record = store.as_ref().map(Store::record).transpose()?.flatten();
    let rows = match (store, record) {
        (Some(store), Some(record)) => rows(&store, &record, &book)?,
        _ => serve::read_packages(&config.plugins.directory)?.iter().map(|one| row(one, "serving")).collect(),
    };
    match list.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&rows).map_err(Fault::at("output"))?),
        Output::Table => {
            for Row { plugin, version, state, digest } in rows {
                println!("{:<24} {version:<10} {state:<8} sha256:{digest}", plugin.as_str());
            }
        }
    }
    Ok(())
}

fn row(package: &Package, state: &'static str) -> Row {
    let manifest = &package.manifest;
    Row { plugin: manifest.id.clone(), version: manifest.version.to_string(), state, digest: package.digest.clone() }
}

fn rows(store: &Store, record: &Record, book: &Book) -> Setup<Vec<Row>> {
    let mut rows = Vec::new();
    for digest in store.digests()? {
        let package = store.package(&digest)?;
        let state = match record.all.iter().find(|one| one.serving == digest) {
            Some(one) if one.disabled => "off",
            Some(_) => "serving",
            None if book.names(&package) => "ready",
            None => "past",
        };
        rows.push(row(&package, state));
    }
    rows.sort_by(|one, other| {
        (&one.plugin, &one.version, &one.digest).cmp(&(&other.plugin, &other.version, &other.digest))
    });
    Ok(rows)
}
