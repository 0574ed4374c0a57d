//! Where things are in a project's directory.

use std::{
    env, fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use cap_std::fs::{Dir, MetadataExt as _};

use crate::{
    access::role::RoleTable,
    error::{Fault, Setup},
    plugin::{
        approval::{Book, Reviewers},
        build::Workshop,
        lock::Lock,
    },
    secret::vault::Place,
};

/// A checkout: `plugins/`, `secrets/`, and a place for what is made locally.
#[derive(Clone, Debug)]
pub struct Project {
    pub root: PathBuf,
}

impl Project {
    /// The project at or above `from`: the first directory that holds `plugins/roles.toml`.
    pub fn find(from: &Path) -> Setup<Self> {
        let from = from.canonicalize().map_err(Fault::at(from.display().to_string()))?;
        let root = from.ancestors().find(|directory| directory.join("plugins/roles.toml").is_file());
        root.map(|root| Self { root: root.to_owned() }).ok_or_else(|| {
            Fault::new(from.display().to_string(), "no DineHub project here or above (no plugins/roles.toml)")
                .fix("run it inside a checkout, or name one with -C DIR")
        })
    }

    /// The feature plugins.
    #[must_use]
    pub fn workshop(&self) -> Workshop {
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), PathBuf::from);
        Workshop { source: self.root.join("plugins"), output: target.join("plugins") }
    }

    /// What reviewers approved.
    #[must_use]
    pub fn lock_file(&self) -> PathBuf {
        self.root.join("plugins/grants.lock")
    }

    /// Whose approval counts.
    #[must_use]
    pub fn reviewers_file(&self) -> PathBuf {
        self.root.join("plugins/reviewers.toml")
    }

    /// Both together.
    pub fn book(&self) -> Setup<Book> {
        read_book(&self.lock_file(), &self.reviewers_file())
    }

    /// The roles of this platform.
    pub fn roles(&self) -> Setup<RoleTable> {
        read_roles(&self.root.join("plugins/roles.toml"))
    }

    /// Where `dev` keeps its database and secrets. A root home is closed to the `postgres` user, so root's is elsewhere;
    /// each checkout has its own.
    pub fn state(&self) -> Setup<PathBuf> {
        let name = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, self.root.as_os_str().as_encoded_bytes());
        let name = name.simple().to_string();
        let name = format!("dev-{}", name.get(..10).unwrap_or(&name));
        if nix::unistd::Uid::effective().is_root() {
            return Ok(Path::new("/var/lib/dinehub").join(name));
        }
        let home = env::var_os("XDG_STATE_HOME").map(PathBuf::from);
        let home = home.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state")));
        home.map(|home| home.join("dinehub").join(name))
            .ok_or_else(|| Fault::new("environment", "neither XDG_STATE_HOME nor HOME is set").fix("export HOME=…"))
    }
}

/// Reads a lock and the keys that count for it. Without a lock nothing is approved.
pub fn read_book(lock: &Path, reviewers: &Path) -> Setup<Book> {
    let place = reviewers.display().to_string();
    let reviewers = Reviewers::parse(&place, &fs::read_to_string(reviewers).map_err(Fault::at(&place))?)?;
    Ok(Book { lock: read_lock(lock)?, reviewers })
}

/// Reads a lock; one that is not there approves nothing.
pub fn read_lock(path: &Path) -> Setup<Lock> {
    let place = path.display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => Lock::parse(&place, &text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Lock::default()),
        Err(error) => Err(Fault::new(place, error.to_string())),
    }
}

/// Reads a role table.
pub fn read_roles(path: &Path) -> Setup<RoleTable> {
    let place = path.display().to_string();
    let text = fs::read_to_string(path).map_err(Fault::at(&place))?;
    RoleTable::read(&place, &text)
}

/// A directory that nobody but this user may enter, made when missing.
pub fn private(path: &Path) -> Setup<Dir> {
    let shown = path.display().to_string();
    let keys = "set plugins.state_directory to a directory of this user's own";
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|why| Fault::at(&shown)(why).fix(keys))?;
    let directory = Dir::open_ambient_dir(path, cap_std::ambient_authority()).map_err(Fault::at(&shown))?;
    // Looked at where it was opened: the path could lead elsewhere by now.
    let metadata = directory.dir_metadata().map_err(Fault::at(&shown))?;
    if metadata.uid() != nix::unistd::Uid::effective().as_raw() {
        return Err(Fault::new(&shown, "belongs to another user").fix(keys));
    }
    if metadata.mode() & 0o077 != 0 {
        let what = format!("has mode {:04o}: others could look into it or change it", metadata.mode() & 0o7777);
        return Err(Fault::new(&shown, what).fix(format!("chmod 0700 {shown}")));
    }
    Ok(directory)
}

/// A directory as the vault wants it, made when missing.
pub fn place(path: &Path) -> Setup<Place> {
    let shown = path.display().to_string();
    fs::create_dir_all(path).map_err(Fault::at(&shown))?;
    let directory = Dir::open_ambient_dir(path, cap_std::ambient_authority()).map_err(Fault::at(&shown))?;
    Ok(Place::new(directory, shown))
}
