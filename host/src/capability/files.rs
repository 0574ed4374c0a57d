//! Files below one granted directory: `[files.<name>]` in the manifest becomes an interface of its own, read-only unless
//! writing is asked for. The directory is a [`cap_std`] handle: `..`, absolute paths and links that lead out of it are
//! `missing`, like a file that is not there.

use std::{collections::BTreeMap, sync::Arc};

use cap_std::fs::Dir;
use serde::{Deserialize, Serialize};
use wasmtime::component::{Linker, Val};

use super::{
    gate::Function,
    grants::{Grants, Stopped},
    limit::Bound,
};
use crate::error::{Error, Fault, Setup};

/// The types that every file handle shares.
pub const WIT: &str = include_str!("../../../wit/dinehub-files@1.0.0/files.wit");

/// One `[files.<name>]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Bytes of the largest file that may be read or written.
    pub bytes_max: u32,
    /// Bytes that all files together may have after a write; writing is not granted without it.
    pub quota_bytes: Option<u64>,
}

/// A file is never larger than this, whatever a plugin asks, in bytes.
pub const FILE_BYTES_MAX: u32 = 1 << 20;
/// Files that are looked at to work out how full a directory is.
const FILES_MAX: usize = 10_000;

/// A plugin's directories, opened at load.
pub type Files = BTreeMap<String, Arc<Dir>>;

/// Why a file function failed; the guest sees its case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Missing,
    TooLarge,
    /// All files together would be more than the quota; a guest sees `too-large`.
    Full,
    NotText,
    Unavailable,
}

impl Failure {
    fn case(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::TooLarge | Self::Full => "too-large",
            Self::NotText => "not-text",
            Self::Unavailable => "unavailable",
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
        match error.kind() {
            // cap-std says "permission denied" for whatever leads out of the directory.
            NotFound | PermissionDenied | NotADirectory => Self::Missing,
            _ => Self::Unavailable,
        }
    }
}

/// The functions of one handle, as they stand in its interface.
#[must_use]
pub fn wit(spec: &Spec) -> String {
    let mut out = String::from("  use dinehub:files/types@1.0.0.{error};\n");
    out.push_str("  /// A whole file; the path is below the granted directory.\n");
    out.push_str("  read: func(path: string) -> result<string, error>;\n");
    if spec.quota_bytes.is_some() {
        out.push_str("  /// Replaces a file, or makes it; readers see the old text or the new.\n");
        out.push_str("  write: func(path: string, text: string) -> result<_, error>;\n");
    }
    out
}

/// Links the functions of `interface` for the directory `name`.
pub fn link(linker: &mut Linker<Grants>, interface: &str, name: &str, spec: &Spec) -> Setup<()> {
    let fault = |error: wasmtime::Error| Fault::new(interface, format!("{error:#}"));
    let mut instance = linker.instance(interface).map_err(fault)?;
    let bytes_max = spec.bytes_max.min(FILE_BYTES_MAX);
    let directory: Arc<str> = name.into();
    Function::new(interface, "read").link(&mut instance, {
        let directory = Arc::clone(&directory);
        move |grants, arguments| {
            let opened = open(grants, &directory);
            let path = text(arguments.first());
            Box::pin(async move {
                let directory = opened?;
                let done = blocking(move || read(&directory, &path, bytes_max)).await;
                Ok(Some(answer(done.map(|text| Some(Box::new(Val::String(text)))))))
            })
        }
    })?;
    let Some(quota_bytes) = spec.quota_bytes else { return Ok(()) };
    Function::new(interface, "write").link(&mut instance, move |grants, arguments| {
        let opened = open(grants, &directory);
        let (path, content) = (text(arguments.first()), text(arguments.get(1)));
        Box::pin(async move {
            let directory = opened?;
            let done = blocking(move || write(&directory, &path, &content, bytes_max, quota_bytes)).await;
            if done == Err(Failure::Full) {
                grants.limited(Bound::FileQuota);
            }
            Ok(Some(answer(done.map(|()| None))))
        })
    })
}

fn open(grants: &mut Grants, name: &str) -> Result<Arc<Dir>, Stopped> {
    let found = grants.handles().files.get(name).map(Arc::clone);
    let plugin = grants.plugin().clone();
    found.ok_or_else(|| grants.stop(Error::internal(format!("{plugin}: directory {name} was not opened"))))
}

fn text(argument: Option<&Val>) -> String {
    if let Some(Val::String(text)) = argument { text.clone() } else { String::new() }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Failure::Unavailable))
}

fn answer(done: Result<Option<Box<Val>>, Failure>) -> Val {
    let error = |failure: Failure| Some(Box::new(Val::Variant(failure.case().to_owned(), None)));
    Val::Result(done.map_err(error))
}

fn read(directory: &Dir, path: &str, bytes_max: u32) -> Result<String, Failure> {
    use std::io::Read as _;
    let file = directory.open(path)?;
    let mut bytes = Vec::new();
    if !file.metadata()?.is_file() {
        return Err(Failure::Missing);
    }
    file.take(u64::from(bytes_max) + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max as usize {
        return Err(Failure::TooLarge);
    }
    String::from_utf8(bytes).map_err(|_| Failure::NotText)
}

fn write(directory: &Dir, path: &str, text: &str, bytes_max: u32, quota_bytes: u64) -> Result<(), Failure> {
    let replaced = directory.metadata(path).map_or(0, |known| known.len());
    let full = used_bytes(directory)?.saturating_sub(replaced).saturating_add(text.len() as u64) > quota_bytes;
    if text.len() > bytes_max as usize {
        return Err(Failure::TooLarge);
    }
    if full {
        return Err(Failure::Full);
    }
    let fresh = format!("{path}.{}.new", uuid::Uuid::new_v4().simple());
    directory.write(&fresh, text)?;
    directory.rename(&fresh, directory, path).map_err(|error| {
        let _ = directory.remove_file(&fresh);
        Failure::from(error)
    })
}

/// Bytes of all files in the directory and below it; links are not followed.
pub(super) fn used_bytes(directory: &Dir) -> Result<u64, Failure> {
    let (mut used, mut seen) = (0_u64, 0_usize);
    let mut open = vec![directory.try_clone()?];
    while let Some(next) = open.pop() {
        for entry in next.entries()? {
            let entry = entry?;
            seen += 1;
            if seen >= FILES_MAX {
                return Err(Failure::Full);
            }
            if entry.file_type()?.is_dir() {
                open.push(entry.open_dir()?);
            } else {
                used = used.saturating_add(entry.metadata()?.len());
            }
        }
    }
    Ok(used)
}
