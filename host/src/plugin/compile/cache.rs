//! Compiled code between two starts, believed only when this host wrote it.
//!
//! A file of compiled code is arbitrary code for whoever loads it, so a file name, an owner or a checksum is no proof.
//! Each entry begins with an HMAC over its name and its code, under a key that is derived from this host's secrets and
//! is not on the same disk in the clear. The name is the artefact's digest, the engine's settings and the versions of
//! wasmtime and host: an entry that was changed, cut, renamed, copied from elsewhere or is of another version is not
//! wrong but **not there**, and the component is compiled again.
//!
//! ```text
//! compiled/<sha256 of artefact and engine>      64 hexadecimal digits, a line feed, the code
//! ```
//! Bytes are read once, proved, and then loaded from memory: nothing changes between proof and use.

use std::{
    collections::BTreeSet,
    fmt,
    io::{self, Read as _, Write as _},
    sync::{Mutex, PoisonError},
};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use sha2::{Digest as _, Sha256};

use super::{CODE_BYTES_MAX, Code};
use crate::{
    error::{Fault, Setup},
    secret::{self, ring::Ring},
};

/// Keeps these signatures from meaning anything elsewhere.
const LABEL: &[u8] = b"dinehub compiled code 1\0";
const MAC_HEX: usize = 64;

/// One directory of compiled code, this host's alone.
pub struct Cache {
    directory: Dir,
    key: Ring,
    /// Entries that this process used: the rest is swept away.
    used: Mutex<BTreeSet<String>>,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cache(…)")
    }
}

impl Cache {
    /// In `directory`, which nobody else may write; `key` signs entries and is used for nothing else.
    #[must_use]
    pub fn new(directory: Dir, key: Ring) -> Self {
        Self { directory, key, used: Mutex::default() }
    }

    /// The code of an artefact for an engine, if this host compiled it before. `digest` and `version` are in hexadecimal.
    #[must_use]
    pub fn find(&self, digest: &str, version: &str) -> Option<Code> {
        let name = name(digest, version);
        let mut bytes = Vec::new();
        let opened = self.directory.open(&name).ok()?;
        opened.take(CODE_BYTES_MAX + MAC_HEX as u64 + 2).read_to_end(&mut bytes).ok()?;
        let (mac, code) = bytes.split_at_checked(MAC_HEX)?;
        let code = code.strip_prefix(b"\n")?;
        if !secret::is_signed(&self.key, &message(&name, code), std::str::from_utf8(mac).ok()?) {
            tracing::warn!(target: "host", entry = name, "cached code was not written by this host, and is not run");
            return None;
        }
        self.note(name);
        Some(Code(code.to_vec()))
    }

    /// Keeps what was compiled: readers see all of it or nothing.
    pub fn keep(&self, digest: &str, version: &str, code: &Code) -> Setup<()> {
        let name = name(digest, version);
        let mac = secret::sign(&self.key, &message(&name, &code.0));
        let beside = format!(".{name}.{}", uuid::Uuid::new_v4().simple());
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let written = self.directory.open_with(&beside, &options).and_then(|mut file| {
            file.write_all(mac.as_bytes())?;
            file.write_all(b"\n")?;
            file.write_all(&code.0)
        });
        let kept = written.and_then(|()| self.directory.rename(&beside, &self.directory, &name));
        if let Err(why) = kept {
            let _ = self.directory.remove_file(&beside);
            return Err(Fault::at::<io::Error>("compiled code")(why));
        }
        self.note(name);
        Ok(())
    }

    /// Removes every entry that this process did not use: of artefacts, engines and keys that are gone.
    pub fn sweep(&self) {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Ok(entries) = self.directory.entries() else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !used.contains(&name) {
                let _ = self.directory.remove_file(&name);
            }
        }
    }

    fn note(&self, name: String) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
    }
}

/// The name of an entry says what it is of; the MAC covers the name, so that no entry stands in for another.
fn name(digest: &str, version: &str) -> String {
    let mut sum = Sha256::new();
    for part in [digest, version] {
        sum.update(part);
        sum.update([0]);
    }
    hex::encode(sum.finalize())
}

fn message(name: &str, code: &[u8]) -> Vec<u8> {
    [LABEL, name.as_bytes(), &Sha256::digest(code)].concat()
}
