//! One PostgreSQL cluster for all test processes of a checkout (nextest runs a process for each test).
//!
//! Every test process holds a shared lock for its life. The first one, alone, starts the server and a watchdog that
//! stops it when nobody has held the lock for ten seconds: a killed test run leaves nothing behind.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
};

use dinehub::database::{local::Cluster, target::Target};
use nix::fcntl::{Flock, FlockArg};

static SHARED: LazyLock<Shared> = LazyLock::new(Shared::join);

/// Durability is what the product promises and what most tests do not test; those that do start a cluster of their own.
const SETTINGS: [&str; 4] =
    ["fsync = off", "shared_buffers = 64MB", "max_connections = 400", "log_min_messages = fatal"];

/// `$1` is the lock that test processes share, `$2` the one held while the server starts, `$3` the server's pid file. A session
/// that does not end when it is asked to is ended after ten seconds: whoever starts the next run waits for the second lock.
const WATCHDOG: &str = r#"
quiet=0
while sleep 1; do
  if flock --close --nonblock --exclusive "$1" true; then quiet=$((quiet + 1)); else quiet=0; fi
  [ "$quiet" -lt 10 ] && continue
  flock --close --exclusive "$2" sh -c '
    flock --close --nonblock --exclusive "$1" true || exit 1
    pid=$(head -n 1 "$2") && kill -INT "$pid"
    for _ in $(seq 100); do kill -0 "$pid" || exit 0; sleep 0.1; done
    kill -QUIT "$pid"
    while kill -0 "$pid"; do sleep 0.1; done' stop "$1" "$3" && exit
done
"#;

struct Shared {
    cluster: Cluster,
    _in_use: Flock<File>,
}

/// The superuser of the shared cluster, at its maintenance database.
#[must_use]
pub fn admin() -> Target {
    SHARED.cluster.admin("postgres")
}

/// Where the shared cluster lives; each checkout has its own.
fn place() -> PathBuf {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let name = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, checkout.as_os_str().as_encoded_bytes());
    PathBuf::from(format!("/tmp/dinehub-test-{}", &name.simple().to_string()[..12]))
}

fn lock(path: &Path, how: FlockArg) -> Flock<File> {
    let file = File::options().create(true).append(true).open(path).expect("lock file");
    Flock::lock(file, how).map_err(|(_, why)| why).expect("lock")
}

impl Shared {
    fn join() -> Self {
        let place = place();
        std::fs::create_dir_all(&place).expect("test directory");
        let start = lock(&place.join("start.lock"), FlockArg::LockExclusive);
        let in_use = lock(&place.join("use.lock"), FlockArg::LockShared);
        let cluster = Cluster::start(&place, &SETTINGS).unwrap_or_else(|fault| panic!("{fault}"));
        Self::watch(&place);
        drop(start);
        Self { cluster, _in_use: in_use }
    }

    /// At most one watchdog waits: it holds `watch.lock`, and a second one gives up at once.
    fn watch(place: &Path) {
        // A session of its own, so that it outlives the test process; no lock of its parent's is handed down (`--close`).
        Command::new("setsid")
            .args(["--fork", "flock", "--close", "--nonblock", "--exclusive"])
            .arg(place.join("watch.lock"))
            .args(["sh", "-c", WATCHDOG, "watchdog"])
            .args(["use.lock", "start.lock", "data/postmaster.pid"].map(|name| place.join(name)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("setsid and flock of util-linux");
    }
}
