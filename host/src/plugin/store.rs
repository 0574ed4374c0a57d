//! Artefacts that were installed on this host, and which of them it serves.
//!
//! ```text
//! artefacts/<sha256>.wasm     by digest: a file is what its name says, or it is refused
//! installed.toml              which digest each series serves, what it served before, what is switched off
//! outcome.toml                what a running host made of the record
//! ```
//! Files are written whole beside their name and then renamed, so that readers see the old or the new. Being in here is
//! no approval: whatever is served passes [`super::approval::Book::admit`] every time.

use std::io::{ErrorKind, Read as _, Write as _};

use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _, OpenOptions, OpenOptionsExt as _};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    manifest::{self, Series},
    package::{self, Package},
};
use crate::{
    error::{Fault, Setup},
    id::PluginId,
};

/// The file that says what is installed.
pub const RECORD: &str = "installed.toml";
const OUTCOME: &str = "outcome.toml";
const ARTEFACTS: &str = "artefacts";
/// A record is small; a file that is larger is none.
const RECORD_BYTES_MAX: u64 = 1 << 20;
/// How many artefacts a series remembers.
const PAST_MAX: usize = 10;

/// A directory of artefacts, this host's alone.
#[derive(Debug)]
pub struct Store {
    directory: Dir,
    shown: String,
}

/// What is installed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Counts the changes.
    pub change: u64,
    #[serde(default, rename = "series")]
    pub all: Vec<Installed>,
}

/// One series: the versions of one plugin with one major number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Installed {
    pub id: PluginId,
    pub major: u64,
    /// The digest that is served, unless it is switched off.
    pub serving: String,
    #[serde(default)]
    pub disabled: bool,
    /// Digests that were served before, the latest last.
    #[serde(default)]
    pub past: Vec<String>,
}

/// What a running host made of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The record's number.
    pub change: u64,
    /// Why it serves something older; absent when it serves what the record says.
    pub fault: Option<String>,
}

impl Installed {
    /// Id and major version.
    #[must_use]
    pub fn series(&self) -> Series {
        (self.id.clone(), self.major)
    }
}

impl Record {
    /// Lets a package be served by its series; what that served before becomes its past.
    pub fn install(&mut self, package: &Package) {
        let (id, major) = package.manifest.series();
        match self.all.iter_mut().find(|one| one.id == id && one.major == major) {
            Some(known) => {
                known.serve(&package.digest);
                known.disabled = false;
            }
            None => {
                let serving = package.digest.clone();
                self.all.push(Installed { id, major, serving, disabled: false, past: Vec::new() });
                self.all.sort_by_key(Installed::series);
            }
        }
    }

    /// The series of a plugin, or the one with this major number; at least one.
    pub fn select(&mut self, id: &PluginId, major: Option<u64>) -> Setup<Vec<&mut Installed>> {
        let is_meant = |one: &&mut Installed| one.id == *id && major.is_none_or(|major| one.major == major);
        let found: Vec<&mut Installed> = self.all.iter_mut().filter(is_meant).collect();
        if found.is_empty() {
            return Err(Fault::new(id.as_str(), "is not installed").fix("dinehub plugin list"));
        }
        Ok(found)
    }
}

impl Installed {
    /// Serves `digest` from now on.
    pub fn serve(&mut self, digest: &str) {
        if self.serving == digest {
            return;
        }
        self.past.retain(|known| known != digest && *known != self.serving);
        self.past.push(std::mem::replace(&mut self.serving, digest.to_owned()));
        let beyond = self.past.len().saturating_sub(PAST_MAX);
        self.past.drain(..beyond);
    }

    /// Serves what was served before.
    pub fn roll_back(&mut self) -> Setup<()> {
        let (id, prefix) = (self.id.as_str(), manifest::prefix(&self.series()));
        let Some(last) = self.past.last().cloned() else {
            return Err(Fault::new(id, format!("nothing was served at {prefix} before")).fix("dinehub plugin list"));
        };
        self.serve(&last);
        Ok(())
    }
}

impl Store {
    /// In a directory that nobody else may enter; `shown` is what messages call it.
    pub fn open(directory: Dir, shown: impl Into<String>) -> Setup<Self> {
        let store = Self { directory, shown: shown.into() };
        let made = store.directory.create_dir_with(ARTEFACTS, DirBuilder::new().mode(0o700));
        match made {
            Err(why) if why.kind() != ErrorKind::AlreadyExists => Err(Fault::at(store.path(ARTEFACTS))(why)),
            _ => Ok(store),
        }
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.shown)
    }

    /// What is installed; none when nothing ever was.
    pub fn record(&self) -> Setup<Option<Record>> {
        self.read(RECORD)
    }

    /// Replaces the record.
    pub fn write(&self, record: &Record) -> Setup<()> {
        self.put(RECORD, &toml::to_string_pretty(record).map_err(Fault::at(self.path(RECORD)))?.into_bytes())
    }

    /// What a running host made of the record, if one ever looked.
    pub fn outcome(&self) -> Setup<Option<Outcome>> {
        self.read(OUTCOME)
    }

    /// Tells it.
    pub fn tell(&self, outcome: &Outcome) -> Setup<()> {
        self.put(OUTCOME, &toml::to_string_pretty(outcome).map_err(Fault::at(self.path(OUTCOME)))?.into_bytes())
    }

    /// Keeps an artefact under its digest.
    pub fn keep(&self, package: &Package) -> Setup<()> {
        self.put(&file_of(&package.digest), &package.bytes)
    }

    /// The artefact of this digest. One whose bytes are others is refused.
    pub fn package(&self, digest: &str) -> Setup<Package> {
        let place = self.path(&file_of(digest));
        if !(digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit())) {
            return Err(Fault::new(self.path(RECORD), format!("{digest:?} is no digest")));
        }
        let mut bytes = Vec::new();
        let opened = self.directory.open(file_of(digest)).map_err(Fault::at(&place))?;
        opened.take(package::BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(Fault::at(&place))?;
        let package = Package::open(&place, bytes)?;
        if package.digest != digest {
            return Err(Fault::new(place, format!("was changed: it is sha256:{} now", package.digest))
                .fix("dinehub plugin install the artefact again"));
        }
        Ok(package)
    }

    /// Every digest that is kept.
    pub fn digests(&self) -> Setup<Vec<String>> {
        let place = self.path(ARTEFACTS);
        let mut all = Vec::new();
        for entry in self.directory.read_dir(ARTEFACTS).map_err(Fault::at(&place))? {
            let name = entry.map_err(Fault::at(&place))?.file_name().to_string_lossy().into_owned();
            all.extend(name.strip_suffix(".wasm").map(str::to_owned));
        }
        all.sort();
        Ok(all)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Setup<Option<T>> {
        let place = self.path(name);
        let mut text = String::new();
        match self.directory.open(name) {
            Ok(file) => drop(file.take(RECORD_BYTES_MAX).read_to_string(&mut text).map_err(Fault::at(&place))?),
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(Fault::at(place)(why)),
        }
        toml::from_str(&text).map(Some).map_err(|why| Fault::new(place, why.to_string()))
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Setup<()> {
        let beside = format!("{name}.{}", uuid::Uuid::new_v4().simple());
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let written = self.directory.open_with(&beside, &options).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        let done = written.and_then(|()| self.directory.rename(&beside, &self.directory, name));
        done.map_err(|why| {
            let _ = self.directory.remove_file(&beside);
            Fault::at(self.path(name))(why)
        })
    }
}

fn file_of(digest: &str) -> String {
    format!("{ARTEFACTS}/{digest}.wasm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_remembers_what_it_served() {
        let mut one =
            Installed { id: "some".parse().unwrap(), major: 1, serving: "a".into(), disabled: false, past: Vec::new() };
        assert!(one.roll_back().unwrap_err().to_string().contains("nothing was served at /api/v1/some before"));
        one.serve("b");
        one.serve("b");
        assert_eq!((one.serving.as_str(), one.past.as_slice()), ("b", &["a".to_owned()][..]));
        one.roll_back().unwrap();
        assert_eq!((one.serving.as_str(), one.past.as_slice()), ("a", &["b".to_owned()][..]));
        one.roll_back().unwrap();
        assert_eq!(one.serving, "b");
        for at in 0..30 {
            one.serve(&at.to_string());
        }
        assert_eq!(one.past.len(), PAST_MAX);
        assert_eq!(one.past.last().map(String::as_str), Some("28"));
    }
}
