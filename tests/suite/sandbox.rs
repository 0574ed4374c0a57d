//! Every hostile guest of `tests/guests`, stopped: the host alive, others unaffected meanwhile, the next request correct, one
//! event of the audit, nothing held and nothing leaked. The macro pairs folders and tests: a guest without a test does not
//! compile.

mod attack;
mod crowd;
pub(crate) mod flood;
mod table;

use std::time::Duration;

use futures::{StreamExt as _, stream};
use harness::{
    client::{Answer, Client},
    server::{Server, features, guests, root},
};
use serde_json::{Value, json};

pub(crate) use self::flood::Book;
use crate::audit::during;

/// One test of the same name for each guest; [`GUESTS`] must be the folders.
macro_rules! paired {
    ($($guest:ident)*) => {
        const GUESTS: &[&str] = &[$(stringify!($guest)),*];
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $guest() {
            if !is_alone() {
                return alone(concat!("sandbox::", stringify!($guest)));
            }
            attack::$guest().await;
        })*
    };
}

paired!(deaf echo elder elder_v2 forger glutton handles hands herald late liar listener memory_bomb parrot ping pong recursion spin start_spin state thief ticker trap ungranted wasi_greedy wasi_sockets wasi_std wasi_ungranted);

#[test]
fn every_guest_has_a_test_of_its_name() {
    let mut folders: Vec<String> = std::fs::read_dir(root().join("tests/guests"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("plugin.toml").is_file())
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    folders.sort();
    assert_eq!(folders, GUESTS);
}

/// A guest beside the feature plugins, which must not notice it.
pub(crate) async fn beside(guest: &str) -> Server {
    beside_all(&[guest]).await
}

async fn beside_all(names: &[&str]) -> Server {
    let mut packages = features().await;
    packages.extend(guests(names).await);
    Server::with(packages).await
}

async fn act(client: &Client, path: &str) -> Answer {
    tokio::time::timeout(Duration::from_secs(30), client.act(path)).await.expect("the host answers")
}

/// One request that a guest does not answer well, and what must come of it.
#[derive(Clone, Copy)]
pub(crate) struct Attack {
    method: &'static str,
    path: &'static str,
    status: u16,
    /// Its one event: kind, and limit where it names one.
    event: (&'static str, Option<&'static str>),
}

/// Stopped at a limit.
fn stopped(method: &'static str, path: &'static str, limit: &'static str) -> Attack {
    let status = if limit == "deadline_ms" { 504 } else { 500 };
    Attack { method, path, status, event: ("plugin.stopped", Some(limit)) }
}

/// Goes on with less than it asked for.
fn limited(method: &'static str, path: &'static str, status: u16, limit: &'static str) -> Attack {
    Attack { method, path, status, event: ("plugin.limited", Some(limit)) }
}

/// Traps, or breaks its contract.
pub(crate) fn faulted(method: &'static str, path: &'static str) -> Attack {
    Attack { method, path, status: 500, event: ("plugin.faulted", None) }
}

impl Attack {
    async fn send(&self, client: &Client) -> Answer {
        let sent = client.send(self.method, self.path, &[], bytes::Bytes::new());
        tokio::time::timeout(Duration::from_secs(30), sent).await.expect("the host answers")
    }

    /// Once: the answer, one event, and a neighbour that is served meanwhile.
    async fn once(&self, server: &Server, guest: &str) {
        let client = server.anonymous();
        let found = during(server, async {
            let (answer, other) = tokio::join!(self.send(&client), client.get("/api/v1/restaurants?limit=1"));
            assert_eq!(answer.status, self.status, "{} {}: {answer:?}", self.method, self.path);
            if self.status == 500 {
                answer.refused(500, "plugin_fault");
            }
            assert_eq!(other.status, 200, "{}: another plugin is served meanwhile", self.path);
        });
        let found: Vec<Value> = found.await;
        let [event] = found.as_slice() else { panic!("{} {}: one event: {found:#?}", self.method, self.path) };
        let (kind, limit) = self.event;
        assert_eq!((event["kind"].as_str(), event["limit"].as_str()), (Some(kind), limit), "{}: {event}", self.path);
        assert_eq!(event["plugin"], guest, "{event}");
    }
}

/// Each attack once, and then all of them over and over.
async fn withstands(server: &Server, guest: &str, attacks: &[Attack]) {
    withstands_many(server, guest, attacks, AT_ONCE).await;
}

/// The same with so many at one time.
async fn withstands_many(server: &Server, guest: &str, attacks: &[Attack], at_once: usize) {
    // It has its session with PostgreSQL before anybody spins.
    let _ = server.anonymous().get("/api/v1/restaurants?limit=1").await.expect(200);
    for attack in attacks {
        attack.once(server, guest).await;
        is_well(server, guest).await;
    }
    leaves_memory_alone(server, attacks, at_once).await;
    is_well(server, guest).await;
}

/// The guest answers, unless it never does; another plugin answers; and nothing is held.
pub(crate) async fn is_well(server: &Server, guest: &str) {
    let client = server.anonymous();
    if guest != "start_spin" {
        let answered = client.get(&format!("/api/v1/{guest}/answer")).await;
        assert_eq!((answered.status, &answered.json), (200, &json!(42)), "{answered:?}");
    }
    let _ = client.get("/api/v1/restaurants?limit=1").await.expect(200);
    holds_nothing(server).await;
}

/// Every lease is back and no transaction is open.
pub(crate) async fn holds_nothing(server: &Server) {
    let admin = harness::database::connect(&server.database.admin()).await;
    let open = "select count(*) from pg_stat_activity where datname = current_database() and xact_start is not null
                and pid <> pg_backend_pid() and usename like '%\\_r_'";
    for _ in 0..500 {
        let free = server.host.pool.free();
        let busy: i64 = admin.query_one(open, &[]).await.unwrap().get(0);
        if free.leases == 16 && busy == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still held: {:?}", server.host.pool.free());
}

/// The host's resident memory, in KiB.
pub(crate) fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// nextest gives each test a process; `cargo test` does not, and then other tests' memory would be counted.
pub(crate) fn is_alone() -> bool {
    std::env::var_os("NEXTEST").is_some()
}

/// The same test again, in a process of its own.
pub(crate) fn alone(test: &str) {
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    let done = again.args(["--exact", test, "--nocapture"]).env("NEXTEST", "1").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
    assert!(text(&done.stdout).contains("1 passed"), "the test was not found");
}

/// Requests at one time while memory is watched.
pub(crate) const AT_ONCE: usize = 8;
/// Until memory is warm: pools and caches have what they keep.
const WARM: usize = 200;
const STORM: usize = 1_000;

/// After one storm of a thousand attacks the host holds what it held before, within a tenth.
///
/// Counted is what is held: the tests' allocator first gives back what it only keeps for later. A storm of `memory_bomb` took
/// resident memory from 75.5 to 84.0 MiB and four more to 87.3; of that, blocks in use were 9.1 to 9.3 MiB all the while
/// (`mallinfo2`), glibc's free ones grew from 9.0 to 18.5, and after `malloc_trim` it was 74.9 again. The rest that comes and
/// goes is warm slots of wasmtime's pool, which has a bound (`plugin::engine`).
pub(crate) async fn leaves_memory_alone(server: &Server, attacks: &[Attack], at_once: usize) {
    let client = server.anonymous();
    let storm = async |count: usize| {
        let sent = attacks.iter().cycle().take(count);
        let sent = sent.map(|attack| async { attack.send(&client).await.status == attack.status });
        let stopped: Vec<bool> = stream::iter(sent).buffer_unordered(at_once).collect().await;
        // A few may be stopped by something else first, or find no slot.
        let stopped = stopped.into_iter().filter(|is_so| *is_so).count();
        assert!(stopped >= count - count / 10, "only {stopped} of {count} attacks were attacks");
        holds_nothing(server).await;
    };
    storm(WARM).await;
    let before = held_kib();
    storm(STORM).await;
    // What waits to be written, or to be closed, is not leaked.
    let mut after = held_kib();
    for _ in 0..100 {
        if after <= before + before / 10 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        after = held_kib();
    }
    panic!("{before} KiB became {after} KiB");
}

/// The host's resident memory without what the allocator has free, in KiB.
fn held_kib() -> u64 {
    #[allow(unsafe_code, reason = "glibc's; gives free pages back and touches nothing that is in use")]
    // SAFETY: may be called at any time, from any thread (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0)
    };
    resident_kib()
}
