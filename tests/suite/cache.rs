//! Compiled code on disk, attacked: whatever this host did not write is compiled again, never run.

use std::{os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

use cap_std::{ambient_authority, fs::Dir};
use dinehub::{
    config::Config,
    plugin::{
        compile::{Bounds, Compiler, cache::Cache},
        engine::{Engine, Slots},
        package::Package,
    },
    secret::ring::{Key, Ring},
};
use harness::server::{Server, at_home, guests, program};

/// A compiler that counts how often it was started.
struct Workshop {
    home: tempfile::TempDir,
    engine: Engine,
    key: Ring,
    package: Package,
}

impl Workshop {
    async fn open() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("compiled")).unwrap();
        let script =
            format!("#!/bin/sh\necho once >>{0}/count\nexec {1} \"$@\"\n", home.path().display(), program().display());
        let path = home.path().join("compiler");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let key = Ring::of(Key::generate("1").unwrap());
        let package = guests(&["trap"]).await.remove(0);
        Self { home, engine: Engine::new(Slots(4)).unwrap(), key, package }
    }

    fn cache(&self, key: &Ring) -> Cache {
        let directory = Dir::open_ambient_dir(self.home.path().join("compiled"), ambient_authority()).unwrap();
        Cache::new(directory, key.clone())
    }

    fn compiler(&self, key: &Ring) -> Compiler {
        let bounds = Bounds { wall: Duration::from_secs(60), ..Bounds::default() };
        Compiler::new(self.home.path().join("compiler"), bounds, Some(self.cache(key)))
    }

    fn count(&self) -> usize {
        std::fs::read_to_string(self.home.path().join("count")).unwrap_or_default().lines().count()
    }

    /// How many compilations a start takes; the code that comes of it can be linked.
    async fn start(&self) -> usize {
        self.start_with(&self.key, &self.package).await
    }

    async fn start_with(&self, key: &Ring, package: &Package) -> usize {
        let before = self.count();
        self.compiler(key).component(&self.engine, package).await.unwrap();
        self.count() - before
    }

    fn entries(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.home.path().join("compiled")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    fn entry(&self) -> PathBuf {
        let entries = self.entries();
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries[0].clone()
    }
}

#[tokio::test]
async fn a_second_start_compiles_nothing() {
    let workshop = Workshop::open().await;
    assert_eq!(workshop.start().await, 1);
    assert_eq!(workshop.start().await, 0);
    let mode = std::fs::metadata(workshop.entry()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn code_that_was_changed_or_cut_is_compiled_again() {
    let workshop = Workshop::open().await;
    workshop.start().await;
    let entry = workshop.entry();
    let whole = std::fs::read(&entry).unwrap();
    let is_made_anew = async |bytes: &[u8], what: &str| {
        std::fs::write(&entry, bytes).unwrap();
        assert_eq!(workshop.start().await, 1, "{what}: run as it was found");
        assert_eq!(std::fs::read(&entry).unwrap(), whole, "{what}: and put right");
    };
    for at in [0, 63, 64, 65, 66, whole.len() / 2, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        is_made_anew(&changed, &format!("bit flipped at {at}")).await;
    }
    for length in [0, 1, 63, 64, 65, 66, whole.len() / 2, whole.len() - 1] {
        is_made_anew(&whole[..length], &format!("cut at {length}")).await;
    }
    is_made_anew(&[&whole[..], b"\0"].concat(), "longer by a byte").await;
    // What anybody can make with wasmtime's own tools: perfectly good code, and nobody's word for it.
    is_made_anew(&whole[65..], "without a signature").await;
    is_made_anew(&[&[b'0'; 64][..], &whole[64..]].concat(), "with zeros for one").await;
    assert_eq!(workshop.start().await, 0);
}

#[tokio::test]
async fn code_of_another_host_is_compiled_again() {
    let workshop = Workshop::open().await;
    let other = Ring::of(Key::generate("1").unwrap());
    assert_eq!(workshop.start_with(&other, &workshop.package).await, 1);
    assert_eq!(workshop.start().await, 1);
    // Nor does it come back when the secret is another one: the entry is the newer host's.
    assert_eq!(workshop.start_with(&other, &workshop.package).await, 1);
}

/// Each of two entries was written by this host; none may stand in for the other.
#[tokio::test]
async fn code_of_another_artefact_or_engine_is_compiled_again() {
    let workshop = Workshop::open().await;
    workshop.start().await;
    let first = workshop.entry();
    let other = guests(&["state"]).await.remove(0);
    assert_eq!(workshop.start_with(&workshop.key, &other).await, 1);
    let second = workshop.entries().into_iter().find(|path| *path != first).unwrap();
    std::fs::copy(&second, &first).unwrap();
    assert_eq!(workshop.start().await, 1, "the other artefact's code was run");

    // An entry of an older host lies under another name, and does not come back under this one.
    let old = workshop.cache(&workshop.key);
    let code = workshop.compiler(&workshop.key).compile("trap", &workshop.package.bytes).await.unwrap();
    old.keep(&workshop.package.digest, "an older engine", &code).unwrap();
    assert!(old.find(&workshop.package.digest, "an older engine").is_some());
    assert!(old.find(&workshop.package.digest, "another engine").is_none());
    let older = workshop.entries().into_iter().find(|path| *path != first && *path != second).unwrap();
    std::fs::rename(older, &first).unwrap();
    assert_eq!(workshop.start().await, 1, "the older host's code was run");
}

#[tokio::test]
async fn what_nobody_uses_is_swept_away() {
    let workshop = Workshop::open().await;
    workshop.start().await;
    let kept = workshop.entry();
    let other = guests(&["state"]).await.remove(0);
    workshop.start_with(&workshop.key, &other).await;
    std::fs::write(workshop.home.path().join("compiled/.half"), "x").unwrap();
    let compiler = workshop.compiler(&workshop.key);
    compiler.component(&workshop.engine, &workshop.package).await.unwrap();
    compiler.sweep();
    assert_eq!(workshop.entry(), kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_that_others_can_enter_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let mut config = at_home(&Config::default());
    config.plugins.state_directory = home.path().join("state");
    drop(Server::try_with(guests(&["trap"]).await, &config).await.unwrap());
    let mode = |path: &str| std::fs::metadata(home.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("state"), mode("state/compiled")), (0o700, 0o700));
    for open in ["state/compiled", "state"] {
        for bits in [0o710, 0o702] {
            std::fs::set_permissions(home.path().join(open), std::fs::Permissions::from_mode(bits)).unwrap();
            let fault = Server::try_with(guests(&["trap"]).await, &config).await.unwrap_err().to_string();
            assert!(fault.contains(open) && fault.contains("\n  fix: chmod 0700 "), "{bits:o}: {fault}");
        }
        std::fs::set_permissions(home.path().join(open), std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    drop(Server::try_with(guests(&["trap"]).await, &config).await.unwrap());
}
