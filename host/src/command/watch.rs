//! Waiting until files change, by inotify(7).

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor},
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::error::{Fault, Setup};

/// An editor writes a file in several steps, and a person several files: one change ends when nothing happened for so long.
const QUIET: Duration = Duration::from_millis(200);

/// Tells that files changed.
pub struct Watch {
    changes: UnboundedReceiver<PathBuf>,
    queue: Arc<Inotify>,
    root: WatchDescriptor,
}

impl Watch {
    /// Of the files in `directory` for which `is_meant` says so; with `is_deep` of those below it too. A directory that is
    /// not meant is not entered.
    pub fn of(directory: &Path, is_deep: bool, is_meant: fn(&Path) -> bool) -> Setup<Self> {
        let shown = directory.display().to_string();
        let queue = Arc::new(Inotify::init(InitFlags::IN_CLOEXEC).map_err(Fault::at(&shown))?);
        let (changed, changes) = unbounded_channel();
        let mut eye = Eye { queue: Arc::clone(&queue), directories: HashMap::new(), is_deep, is_meant };
        let root = eye.add(directory)?;
        let looking = std::thread::Builder::new().name("watch".to_owned()).spawn(move || eye.look(&changed));
        looking.map_err(Fault::at(shown))?;
        Ok(Self { changes, queue, root })
    }

    /// The next change, once it is over: the first file of it.
    pub async fn next(&mut self) -> Setup<PathBuf> {
        let Some(first) = self.changes.recv().await else {
            return Err(Fault::new("inotify", "tells nothing any more"));
        };
        while let Ok(Some(_)) = tokio::time::timeout(QUIET, self.changes.recv()).await {}
        Ok(first)
    }
}

impl Drop for Watch {
    /// The kernel tells that a watch is gone, and whoever waits for it wakes up and sees that nobody listens.
    fn drop(&mut self) {
        self.changes.close();
        let _ = self.queue.rm_watch(self.root);
    }
}

/// The thread's side.
struct Eye {
    queue: Arc<Inotify>,
    /// By the number that the kernel names it by.
    directories: HashMap<WatchDescriptor, PathBuf>,
    /// Also what lies below, and directories that are made there later.
    is_deep: bool,
    is_meant: fn(&Path) -> bool,
}

impl Eye {
    fn look(mut self, changed: &UnboundedSender<PathBuf>) {
        loop {
            match self.queue.read_events() {
                Ok(events) => events.into_iter().filter_map(|event| self.see(event)).for_each(|path| {
                    let _ = changed.send(path);
                }),
                Err(Errno::EINTR) => {}
                Err(_) => return,
            }
            if changed.is_closed() {
                return;
            }
        }
    }

    /// The file that an event is about, if it is meant.
    fn see(&mut self, event: InotifyEvent) -> Option<PathBuf> {
        let directory = self.directories.get(&event.wd)?;
        let path = event.name.map_or_else(|| directory.clone(), |name| directory.join(name));
        if !(self.is_meant)(&path) {
            return None;
        }
        if self.is_deep && event.mask.contains(AddWatchFlags::IN_ISDIR) {
            // One that is gone again needs no watch.
            let _ = self.add(&path);
        }
        Some(path)
    }

    fn add(&mut self, directory: &Path) -> Setup<WatchDescriptor> {
        let flags = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_ONLYDIR;
        let shown = directory.display().to_string();
        let number = self.queue.add_watch(directory, flags).map_err(|why| {
            Fault::at(&shown)(why).fix("sysctl fs.inotify.max_user_watches=65536, if there are too many")
        })?;
        self.directories.insert(number, directory.to_owned());
        if self.is_deep {
            for entry in fs::read_dir(directory).map_err(Fault::at(&shown))?.flatten() {
                let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if is_directory && (self.is_meant)(&entry.path()) {
                    self.add(&entry.path())?;
                }
            }
        }
        Ok(number)
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn changes_below_are_seen_and_others_are_not() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::create_dir_all(at("target")).unwrap();
        fs::create_dir_all(at("a/b")).unwrap();
        let mut watch = Watch::of(home.path(), true, |path| !path.ends_with("target")).unwrap();
        fs::write(at("target/x"), "x").unwrap();
        fs::write(at("a/b/c"), "x").unwrap();
        assert_eq!(watch.next().await.unwrap(), at("a/b/c"));
        fs::create_dir(at("a/new")).unwrap();
        assert_eq!(watch.next().await.unwrap(), at("a/new"));
        fs::write(at("a/new/d"), "x").unwrap();
        fs::remove_file(at("a/new/d")).unwrap();
        assert_eq!(watch.next().await.unwrap(), at("a/new/d"));
        fs::rename(at("a/b/c"), at("a/b/e")).unwrap();
        assert_eq!(watch.next().await.unwrap(), at("a/b/c"));
        fs::write(at("target/x"), "y").unwrap();
        assert!(tokio::time::timeout(QUIET, watch.next()).await.is_err());
    }
}
