//! The certificate and its key, from files, and again whenever they change: renewal needs no restart.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    time::{Duration, SystemTime},
};

use tokio::signal::unix::{SignalKind, signal};

use crate::{
    config::Tls,
    error::{Fault, Setup},
    http::tls::{Keeper, Pair},
};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The configured pair; none when the host speaks plain HTTP.
pub fn open(config: &Tls) -> Setup<Option<Keeper>> {
    if config.certificate_file.as_os_str().is_empty() {
        return match config.key_file.as_os_str().is_empty() {
            true => Ok(None),
            false => Err(Fault::new("tls.key_file", "is set without tls.certificate_file").fix("set both or none")),
        };
    }
    let pair = read(config)?;
    warn_of_end(&pair);
    Keeper::new(pair, config.backup_pins.clone()).map(Some)
}

/// Puts what the files hold in the place of what is used, whenever they change or SIGHUP comes. What cannot be used is
/// named in the log, once a change, and leaves the pair before in use.
pub async fn keep(keeper: Keeper, config: Tls) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    let mut known = stamp(&config);
    loop {
        let told = tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => false,
            _ = hangup.recv() => true,
        };
        let now = stamp(&config);
        if !told && now == known {
            continue;
        }
        known = now;
        let from = config.clone();
        // Reading waits for a disk, checking a key for a computation.
        let read = tokio::task::spawn_blocking(move || read(&from)).await;
        let replaced = read.map_err(Fault::at("tls")).and_then(|read| read).and_then(|pair| {
            warn_of_end(&pair);
            keeper.replace(pair)
        });
        match replaced {
            Ok(()) => {
                let active = keeper.active();
                tracing::info!(target: "tls", pin = active.pin(), valid_until_s = active.valid_until_s(), "certificate replaced");
            }
            Err(fault) => {
                tracing::error!(target: "tls", %fault, "the new certificate is not used; the one before stays")
            }
        }
    }
}

fn warn_of_end(pair: &Pair) {
    if pair.ends_soon(SystemTime::now()) {
        tracing::warn!(target: "tls", valid_until_s = pair.valid_until_s(), "the certificate ends soon");
    }
}

fn read(config: &Tls) -> Setup<Pair> {
    let (chain, key) = (&config.certificate_file, &config.key_file);
    let at = |path: &Path| Fault::at(path.display().to_string());
    let mode = fs::metadata(key).map_err(at(key))?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(Fault::new(key.display().to_string(), "is open to everybody on this machine")
            .fix(format!("chmod o= {}", key.display())));
    }
    let pair = Pair::read(&fs::read(chain).map_err(at(chain))?, &fs::read(key).map_err(at(key))?, SystemTime::now());
    pair.map_err(|fault| fault.within(chain.display()))
}

/// What tells one state of both files from another, also behind links.
fn stamp(config: &Tls) -> [Option<(u64, u64, i64, i64)>; 2] {
    [&config.certificate_file, &config.key_file].map(|path| {
        let found = fs::metadata(path).ok()?;
        Some((found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
    })
}
