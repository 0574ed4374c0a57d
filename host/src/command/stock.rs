//! Which artefacts a host works with: those it serves, and those it holds ready.
//!
//! Without a store they are what lies in `plugins.directory`, all of it served. From the first `dinehub plugin install` on
//! they are the store's ([`crate::plugin::store`]): each series serves what the record says. Everything else in the store
//! that the lock approves is held *ready*: the database is prepared for it too, so that installing it or going back to
//! it is one step, and takes nothing from requests that still run on the other.

use super::{
    project::{private, read_book},
    serve::read_packages,
};
use crate::{
    config::Config,
    error::{Fault, Setup},
    plugin::{
        approval::{Admission, Book},
        manifest::Series,
        store::{Installed, Record, Store},
    },
};

/// What a host works with.
#[derive(Debug, Default)]
pub struct Stock {
    pub serving: Vec<Admission>,
    pub ready: Vec<Admission>,
    pub disabled: Vec<Series>,
    /// The record's number; 0 without a store.
    pub change: u64,
}

impl Stock {
    /// What the configuration leads to.
    pub fn read(config: &Config) -> Setup<Self> {
        let book = read_book(&config.plugins.lock_file, &config.plugins.reviewers_file)?;
        match open(config)?.map(|store| Ok((store.record()?, store))).transpose()? {
            Some((Some(record), store)) => Self::of(&store, &record, &book),
            _ => {
                let serving = book.admit(read_packages(&config.plugins.directory)?)?;
                Ok(Self { serving, ..Self::default() })
            }
        }
    }

    /// What a record leads to. Whatever it serves must be approved; of the rest, what is.
    pub fn of(store: &Store, record: &Record, book: &Book) -> Setup<Self> {
        let mut packages = Vec::new();
        for one in &record.all {
            let package = store.package(&one.serving)?;
            if package.manifest.series() != one.series() {
                let what = format!("is listed as version {} of {}", one.major, one.id);
                return Err(
                    Fault::new(format!("artefact {}", one.serving), what).fix("dinehub plugin install it again")
                );
            }
            // What is switched off may have lost its approval; if not, others may still be linked to it.
            if !one.disabled || book.names(&package) {
                packages.push(package);
            }
        }
        let disabled: Vec<Series> = record.all.iter().filter(|one| one.disabled).map(Installed::series).collect();
        let is_off = |admission: &Admission| disabled.contains(&admission.candidate().series());
        let (mut ready, serving): (Vec<_>, Vec<_>) = book.admit(packages)?.into_iter().partition(is_off);
        for digest in store.digests()? {
            if serving.iter().chain(&ready).any(|admission| admission.package().digest == digest) {
                continue;
            }
            let held = store.package(&digest).and_then(|package| {
                let is_named = book.names(&package);
                is_named.then(|| book.admit_beside(package, &serving)).transpose()
            });
            match held {
                Ok(admission) => ready.extend(admission),
                // What is served does not hang on what could be.
                Err(fault) => tracing::warn!(target: "host", artefact = digest, %fault, "cannot be held ready"),
            }
        }
        Ok(Self { serving, ready, disabled, change: record.change })
    }

    /// All that the database must be prepared for.
    pub fn all(&self) -> impl Iterator<Item = &Admission> + Clone {
        self.serving.iter().chain(&self.ready)
    }
}

/// The store, if this host has a state directory; it is made by whoever installs or serves.
pub fn open(config: &Config) -> Setup<Option<Store>> {
    let path = &config.plugins.state_directory;
    if path.is_dir() { make(config).map(Some) } else { Ok(None) }
}

/// The store, made when missing.
pub fn make(config: &Config) -> Setup<Store> {
    let path = &config.plugins.state_directory;
    Store::open(private(path)?, path.display().to_string())
}
