//! Every hostile guest of `tests/guests`, stopped: the host alive, others unaffected, the next request correct, nothing
//! leaked. The macro pairs folders and tests: a guest without a test does not compile.

use std::time::Duration;

use harness::{
    client::{Answer, Client},
    server::{Server, features, guests, root},
};
use serde_json::json;
use uuid::Uuid;

/// One test of the same name for each guest; [`GUESTS`] must be the folders.
macro_rules! paired {
    ($($guest:ident)*) => {
        const GUESTS: &[&str] = &[$(stringify!($guest)),*];
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $guest() {
            attack::$guest().await;
        })*
    };
}

paired!(deaf echo elder elder_v2 forger glutton hands herald listener memory_bomb parrot recursion spin start_spin state thief ticker trap ungranted);

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
    let mut packages = features().await;
    packages.extend(guests(&[guest]).await);
    Server::with(packages).await
}

async fn act(client: &Client, path: &str) -> Answer {
    tokio::time::timeout(Duration::from_secs(30), client.act(path)).await.expect("the host answers")
}

/// The guest answers, another plugin answers, and nothing is held.
async fn is_well(server: &Server, guest: &str) {
    let client = server.anonymous();
    let answered = client.get(&format!("/api/v1/{guest}/answer")).await;
    assert_eq!((answered.status, &answered.json), (200, &json!(42)));
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
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(String::from_utf8_lossy(&done.stdout).contains("1 passed"), "the test was not found");
}

/// Runs `attack` until memory is warm, then more often; resident memory must stay within a tenth of what it was.
async fn leaves_memory_alone(attack: impl AsyncFn()) {
    for _ in 0..50 {
        attack().await;
    }
    let before = resident_kib();
    for _ in 0..200 {
        attack().await;
    }
    let after = resident_kib();
    assert!(after <= before + before / 10, "{before} KiB became {after} KiB");
}

mod attack {
    use super::*;

    pub(super) async fn deaf() {
        crate::event::a_deaf_subscriber_troubles_nobody().await;
    }

    pub(super) async fn glutton() {
        if !is_alone() {
            return alone("sandbox::glutton");
        }
        let server = beside("glutton").await;
        let client = server.anonymous();
        let path = |rest: &str| format!("/api/v1/glutton/{rest}");
        assert_eq!(act(&client, &path("scatter")).await.expect(200).json, json!(10));
        // As much as each limit allows, and one more.
        assert_eq!(client.get(&path("statements?times=5")).await.expect(200).json, json!(10));
        client.get(&path("statements?times=6")).await.refused(500, "plugin_fault");
        assert_eq!(client.get(&path("rows?times=2")).await.expect(200).json, json!(20));
        client.get(&path("rows?times=3")).await.refused(500, "plugin_fault");
        assert_eq!(act(&client, &path("word?bytes=60000")).await.status, 204);
        act(&client, &path("word?bytes=70000")).await.refused(500, "plugin_fault");
        act(&client, &path("linger")).await.refused(504, "timeout");
        // Two linger, eight wait, the rest is turned away; another plugin is served all the while. It has its session with
        // PostgreSQL already: making one takes many turns, and whoever spins gives the two threads away only at ticks.
        let _ = client.get("/api/v1/restaurants?limit=1").await.expect(200);
        let crowd = futures::future::join_all((0..16).map(|_| async { act(&client, &path("linger")).await }));
        let (crowd, other) = tokio::join!(crowd, client.get("/api/v1/restaurants?limit=1"));
        assert_eq!(other.status, 200);
        let count = |status| crowd.iter().filter(|answer| answer.status == status).count();
        assert!(count(503) >= 6 && count(504) >= 2 && count(503) + count(504) == 16, "{crowd:?}");
        leaves_memory_alone(async || {
            let _ = client.get(&path("rows?times=3")).await;
            let _ = act(&client, &path("word?bytes=70000")).await;
        })
        .await;
        is_well(&server, "glutton").await;
    }

    pub(super) async fn herald() {
        crate::event::a_flood_publishes_nothing().await;
    }

    pub(super) async fn listener() {
        crate::event::effect_and_mark_are_one().await;
    }

    pub(super) async fn parrot() {
        crate::event::a_chain_of_events_ends().await;
    }

    pub(super) async fn ticker() {
        crate::schedule::a_failed_run_leaves_nothing().await;
    }

    pub(super) async fn hands() {
        let (_directory, config) = crate::handle::directories();
        let mut packages = features().await;
        packages.extend(guests(&["hands"]).await);
        let server = Server::try_with(packages, &config).await.unwrap();
        let client = server.anonymous();
        // Every way out of a granted directory is a file that is not there.
        for path in
            ["../../plugin.toml", "/etc/passwd", "escape.txt", "..", ".", "", "a/../../reports/x", "%2e%2e/x", "nul"]
        {
            for handle in ["shelf", "reports"] {
                let answer = client.get(&format!("/api/v1/hands/{handle}?path={path}")).await;
                assert_eq!((answer.status, answer.code()), (409, "missing"), "{handle} {path:?}: {answer:?}");
            }
            let answer = client.post(&format!("/api/v1/hands/reports?path={path}"), &json!("mine")).await;
            let is_a_name = ["escape.txt", "nul"].contains(&path);
            assert_eq!(answer.status, if is_a_name { 204 } else { 409 }, "{path:?}: {answer:?}");
        }
        let _ = client.get("/api/v1/restaurants?limit=1").await.expect(200);
        let _ = client.get("/api/v1/hands/shelf?path=greeting.txt").await.expect(200);
        holds_nothing(&server).await;
    }

    pub(super) async fn spin() {
        let server = beside("spin").await;
        let client = server.anonymous();
        let (stopped, other) =
            tokio::join!(act(&client, "/api/v1/spin/spin"), client.get("/api/v1/restaurants?limit=1"));
        stopped.refused(500, "plugin_fault");
        assert_eq!(other.status, 200, "another plugin is served while a guest spins");
        is_well(&server, "spin").await;
    }

    pub(super) async fn start_spin() {
        let server = beside("start_spin").await;
        let client = server.anonymous();
        client.get("/api/v1/start_spin/answer").await.refused(500, "plugin_fault");
        let _ = client.get("/api/v1/restaurants?limit=1").await.expect(200);
        holds_nothing(&server).await;
    }

    pub(super) async fn memory_bomb() {
        if !is_alone() {
            return alone("sandbox::memory_bomb");
        }
        let server = beside("memory_bomb").await;
        let client = server.anonymous();
        // Asked politely, memory.grow says no at the guest's 8 MiB, and the guest lives.
        let grown = act(&client, "/api/v1/memory_bomb/grow").await.expect(200);
        assert!((64..128).contains(&grown.json.as_u64().unwrap()), "{grown:?}");
        act(&client, "/api/v1/memory_bomb/fill").await.refused(500, "plugin_fault");
        client.get("/api/v1/memory_bomb/text?size_bytes=7000000").await.refused(500, "plugin_fault");
        let small = client.get("/api/v1/memory_bomb/text?size_bytes=1000").await.expect(200);
        assert_eq!(small.json.as_str().unwrap().len(), 1_000);
        leaves_memory_alone(async || {
            let _ = act(&client, "/api/v1/memory_bomb/fill").await;
        })
        .await;
        is_well(&server, "memory_bomb").await;
    }

    pub(super) async fn recursion() {
        let server = beside("recursion").await;
        let client = server.anonymous();
        assert_eq!(client.get("/api/v1/recursion/deep?depth=100").await.expect(200).json, json!(100));
        client.get("/api/v1/recursion/deep?depth=100000000").await.refused(500, "plugin_fault");
        is_well(&server, "recursion").await;
    }

    pub(super) async fn trap() {
        let server = beside("trap").await;
        let client = server.anonymous();
        let tally = async || client.get("/api/v1/trap/tally").await.expect(200).json;
        assert_eq!(act(&client, "/api/v1/trap/add?name=kept").await.expect(200).json, json!(1));
        assert_eq!(tally().await, json!(1));
        act(&client, "/api/v1/trap/add-then-trap?name=a").await.refused(500, "plugin_fault");
        act(&client, "/api/v1/trap/add-then-refuse?name=b").await.refused(409, "changed_its_mind");
        let spun = act(&client, "/api/v1/trap/add-then-spin?name=c").await;
        assert!(matches!(spun.status, 500 | 504), "{spun:?}");
        // `ok` after a failed statement: PostgreSQL would acknowledge a COMMIT that wrote nothing.
        act(&client, "/api/v1/trap/fail-then-succeed?name=d").await.refused(500, "plugin_fault");
        assert_eq!(tally().await, json!(1), "nothing but the first mark was ever committed");
        let _ = client.get("/api/v1/restaurants?limit=1").await.expect(200);
        holds_nothing(&server).await;
    }

    pub(super) async fn state() {
        let server = beside("state").await;
        let client = server.anonymous();
        for _ in 0..100 {
            assert_eq!(act(&client, "/api/v1/state/count").await.expect(200).json, json!(1));
            assert_eq!(act(&client, "/api/v1/state/stain").await.expect(200).json, json!(0));
        }
        holds_nothing(&server).await;
    }

    pub(super) async fn ungranted() {
        let refused =
            Server::try_with(guests(&["ungranted"]).await, &Default::default()).await.unwrap_err().to_string();
        assert!(refused.contains("import `wasi:random/random@"), "{refused}");
        assert!(refused.contains("is not granted") && refused.contains("fix:"), "{refused}");
    }

    pub(super) async fn thief() {
        let mut packages = features().await;
        packages.extend(guests(&["thief"]).await);
        let refused = Server::try_with(packages, &Default::default()).await.unwrap_err().to_string();
        assert!(refused.contains("thief: import `dinehub:ordering-data/orders`"), "{refused}");
        assert!(refused.contains("is not granted"), "{refused}");
    }

    pub(super) async fn forger() {
        let server = beside("forger").await;
        let (ann, bob) = (server.person("USER").await, server.person("USER").await);
        let secret = json!({"words": "ann's alone"});
        let kept = ann.client.post("/api/v1/forger/secrets", &secret).await.expect(200);
        assert_eq!(kept.json, json!(ann.id()));
        // A parameter that is called like the caller is a parameter.
        let claim = json!({"caller_id": ann.id(), "words": "planted"});
        let planted = bob.client.post("/api/v1/forger/secrets-for", &claim).await;
        assert!(planted.status >= 400, "bob writes as ann: {planted:?}");
        let of_ann = format!("/api/v1/forger/secrets-of?caller_id={}", ann.id());
        assert_eq!(bob.client.get(&of_ann).await.expect(200).json, json!([]));
        assert_eq!(ann.client.get(&of_ann).await.expect(200).json, json!(["ann's alone"]));
        assert_eq!(act(&bob.client, "/api/v1/forger/inject").await.expect(200).json, json!(0));
        let known = bob.client.get("/api/v1/forger/whoami").await.expect(200);
        for way in ["claimed", "bound", "known"] {
            assert_eq!(known.json[way], json!(bob.id()), "{way}");
        }
        let nobody = server.anonymous().get("/api/v1/forger/whoami").await.expect(200);
        assert_eq!(nobody.json["kind"], "anonymous");
        assert_eq!(nobody.json["known"], json!(Uuid::nil().to_string()));
        holds_nothing(&server).await;
    }

    /// Neither breaks a promise; served together they must keep theirs.
    pub(super) async fn elder() {
        crate::versions::served_side_by_side().await;
    }

    pub(super) async fn elder_v2() {
        let server = beside("elder_v2").await;
        let count = server.anonymous().get("/api/v2/elder/notes/count?kind=plain").await.expect(200);
        assert_eq!(count.json, json!(0), "the second serves without the first as well");
    }

    pub(super) async fn echo() {
        let server = beside("echo").await;
        let client = server.anonymous();
        for (path, value) in [
            ("bool", json!(true)),
            ("s8", json!(-128)),
            ("u16", json!(65_535)),
            ("s64", json!(9_007_199_254_740_991_i64)),
            ("string", json!("tabs\tand \"quotes\" and <angles> and 日本")),
        ] {
            assert_eq!(client.post(&format!("/api/v1/echo/{path}"), &value).await.expect(200).json, value, "{path}");
        }
        for (path, value) in [("bool", json!(1)), ("s8", json!(128)), ("s64", json!(9_007_199_254_740_992_i64))] {
            client.post(&format!("/api/v1/echo/{path}"), &value).await.refused(422, "invalid");
        }
        holds_nothing(&server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_hang_up_leave_nothing_behind() {
    let server = beside("trap").await;
    let client = server.anonymous();
    for at in 0..200_u64 {
        let path = if at % 2 == 0 { "/api/v1/trap/add-then-spin?name=gone" } else { "/api/v1/restaurants?limit=5" };
        let request = async { if at % 2 == 0 { client.act(path).await } else { client.get(path).await } };
        // Dropped at a different point each time; the connection goes with it.
        let _ = tokio::time::timeout(Duration::from_micros(at * 40), request).await;
    }
    holds_nothing(&server).await;
    assert_eq!(client.get("/api/v1/trap/tally").await.expect(200).json, json!(0));
}

/// What the log gets, line by line.
#[derive(Clone, Default)]
pub(crate) struct Book(pub(crate) std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Book {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One thread, so that the test's own subscriber hears what the server says.
#[tokio::test]
async fn a_flood_of_log_lines_is_cut_and_none_can_be_forged() {
    let book = Book::default();
    let writer = book.clone();
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone()).finish();
    let _here = tracing::subscriber::set_default(subscriber);
    let server = Server::with(guests(&["glutton"]).await).await;
    assert_eq!(act(&server.anonymous(), "/api/v1/glutton/lines?times=20").await.status, 204);
    let text = String::from_utf8(book.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said: Vec<_> = lines.iter().filter(|line| line["target"] == "plugin").collect();
    assert_eq!(said.len(), 3, "log_lines_max");
    for line in said {
        assert_eq!((&line["level"], &line["plugin"]), (&json!("INFO"), &json!("glutton")), "{line}");
        assert!(line["message"].as_str().unwrap().ends_with("\n{\"level\":\"FORGED\"}"), "{line}");
    }
}
