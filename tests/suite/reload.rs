//! New versions of plugins under load: nobody is refused in between, whoever began on the old one ends on it, and what
//! cannot be served changes nothing.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dinehub::{command::start::Host, plugin::package::Package};
use harness::{
    client::Client,
    database::connect,
    server::{Server, features, try_admit, write_book},
};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    admission::parts::{Parts, guest},
    machine::Machine,
    node::eventually,
};

const TALLY: &str = "/api/v1/trap/tally";
/// Reloads under load, in each test that has some.
const RELOADS: usize = 20;

/// `trap` in another version, whose answers have another status.
async fn trap(version: &str, status: u16) -> Package {
    with(version, status, |_| {}).await
}

async fn with(version: &str, status: u16, change: impl Fn(&mut Parts)) -> Package {
    let mut parts = guest("trap").await;
    parts.manifest = parts.manifest.replace("version = \"1.0.0\"", &format!("version = \"{version}\""));
    for function in ["add", "tally"] {
        let line = format!("function = \"{function}\"\n");
        parts.manifest = parts.manifest.replace(&line, &format!("{line}status = {status}\n"));
    }
    // How busy the machine is, is not what these tests are about; and what is in flight waits for the test.
    parts.manifest = parts.manifest.replace("deadline_ms = 500", "deadline_ms = 30000");
    change(&mut parts);
    parts.package().unwrap()
}

async fn renew(server: &Server, packages: Vec<Package>) -> dinehub::error::Setup<()> {
    server.host.renew(&server.rings, try_admit(packages)?, Vec::new()).await
}

/// Clients that never pause; told to stop, they say how often they saw each status.
struct Hammer {
    stop: Arc<AtomicBool>,
    running: Vec<tokio::task::JoinHandle<Vec<u16>>>,
}

impl Hammer {
    fn start(client: &Client, path: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let hammer = || {
            let (client, stop) = (client.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    seen.push(client.get(path).await.status);
                }
                seen
            })
        };
        let running = (0..4).map(|_| hammer()).collect();
        Self { stop, running }
    }

    /// How many answers had each of `statuses`; any other answer is a failure.
    async fn stop(self, statuses: [u16; 2]) -> [usize; 2] {
        self.stop.store(true, Ordering::Relaxed);
        let mut seen = Vec::new();
        for one in self.running {
            seen.extend(one.await.unwrap());
        }
        let failures: Vec<&u16> = seen.iter().filter(|status| !statuses.contains(status)).collect();
        assert!(failures.is_empty(), "{} of {} requests failed: {failures:?}", failures.len(), seen.len());
        statuses.map(|status| seen.iter().filter(|one| **one == status).count())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_over_twenty_reloads() {
    let (old, new) = (trap("1.0.0", 200).await, trap("1.0.1", 202).await);
    let server = Server::with(vec![old.clone()]).await;
    let client = server.anonymous();
    let hammer = Hammer::start(&client, TALLY);
    for at in 0..RELOADS {
        let (package, status) = if at % 2 == 0 { (&new, 202) } else { (&old, 200) };
        renew(&server, vec![package.clone()]).await.unwrap();
        // The very next request is the new version's.
        let _ = client.get(TALLY).await.expect(status);
    }
    let [olds, news] = hammer.stop([200, 202]).await;
    assert!(olds > RELOADS && news > RELOADS, "both were hammered: {olds} and {news}");
    let host = server.host.clone();
    eventually("no edition is held for ever", move || host.retired() == 0).await;
}

/// The old version waits in the database while the new one takes over.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_flight_ends_on_the_version_it_began_with() {
    let (old, new) = (trap("1.0.0", 200).await, trap("1.0.1", 202).await);
    let server = Server::with(vec![old]).await;
    let admin = connect(&server.database.admin()).await;
    admin.batch_execute("begin; lock table trap.mark in access exclusive mode").await.unwrap();
    let client = server.anonymous();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.post("/api/v1/trap/add?name=first", &json!({})).await }
    });
    is_waiting(&server).await;
    renew(&server, vec![new]).await.unwrap();
    assert_eq!(server.host.retired(), 1, "the request holds what it began on");
    admin.batch_execute("commit").await.unwrap();
    let _ = waiting.await.unwrap().expect(200);
    assert_eq!(client.get(TALLY).await.expect(202).json, json!(1));
    let host: Host = server.host.clone();
    eventually("the old edition is let go", move || host.retired() == 0).await;
}

/// The fault is the old version's, also when another one is served by the time it happens.
#[tokio::test(flavor = "multi_thread")]
async fn a_fault_names_the_artefact_that_it_is_of() {
    let (old, new) = (trap("1.0.0", 200).await, trap("1.0.1", 202).await);
    let server = Server::with(vec![old.clone()]).await;
    let admin = connect(&server.database.admin()).await;
    admin.batch_execute("begin; lock table trap.mark in access exclusive mode").await.unwrap();
    let client = server.anonymous();
    let act = || {
        let client = client.clone();
        tokio::spawn(async move { client.act("/api/v1/trap/add-then-trap?name=a").await })
    };
    let waiting = act();
    is_waiting(&server).await;
    renew(&server, vec![new.clone()]).await.unwrap();
    admin.batch_execute("commit").await.unwrap();
    waiting.await.unwrap().refused(500, "plugin_fault");
    act().await.unwrap().refused(500, "plugin_fault");
    let events = crate::audit::events(&server).await;
    let digests: Vec<_> =
        events.iter().filter(|one| one["kind"] == "plugin.faulted").map(|one| one["digest"].clone()).collect();
    assert_eq!(digests, [json!(old.digest), json!(new.digest)]);
}

async fn is_waiting(server: &Server) {
    let watcher = connect(&server.database.admin()).await;
    let sql = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    for _ in 0..1_000 {
        let count: i64 = watcher.query_one(sql, &[]).await.unwrap().get(0);
        if count > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nobody waits for the lock");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_cannot_be_loaded_leaves_the_old_one_serving() {
    let server = Server::with(vec![trap("1.0.0", 200).await]).await;
    let client = server.anonymous();
    let route = |more: &str| format!("\n[[route]]\nmethod = \"GET\"\npath = \"/more\"\nfunction = \"{more}\n");
    for (more, what) in [
        (route("tally\"\nroles = [\"WAITER\"]"), "there is no role WAITER"),
        (route("tally\"\nanonymous = true"), "two routes are called `trap.tally`"),
        (route("nowhere\"\nanonymous = true"), "exports no function `nowhere`"),
        ("\n[files.nowhere]\nbytes_max = 10\n".to_owned(), "nowhere"),
    ] {
        let broken = with("1.0.1", 202, |parts| parts.manifest.push_str(&more)).await;
        let fault = renew(&server, vec![broken]).await.unwrap_err().to_string();
        assert!(fault.contains(what), "{what}: {fault}");
        let _ = client.get(TALLY).await.expect(200);
    }
    assert_eq!(server.host.retired(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_switched_off_answers_503_and_so_does_who_calls_it() {
    let server = Server::start().await;
    let user = server.person("USER").await.client;
    let admitted = try_admit(features().await).unwrap();
    let (off, on): (Vec<_>, Vec<_>) =
        admitted.into_iter().partition(|one| one.candidate().id().as_str() == "restaurants");
    let disabled = off.iter().map(|one| one.candidate().series()).collect();
    server.host.renew(&server.rings, on, disabled).await.unwrap();
    for path in ["/api/v1/restaurants", "/api/v1/restaurants/x/menu", "/api/v1/restaurants?limit=1"] {
        user.get(path).await.refused(503, "disabled");
    }
    for path in ["/api/v1/restaurantsx", "/api/v2/restaurants", "/api/v1"] {
        user.get(path).await.refused(404, "not_found");
    }
    let line = json!({"menu_item_id": uuid::Uuid::nil(), "quantity": 1});
    let order = json!({"restaurant_id": uuid::Uuid::nil(), "lines": [line]});
    user.post("/api/v1/ordering/orders", &order).await.refused(503, "disabled");
    let _ = user.get("/api/v1/ordering/orders").await.expect(200);
    assert!(!user.get("/openapi.json").await.expect(200).json["paths"].to_string().contains("/api/v1/restaurants"));
}

/// A machine that serves `trap` 1.0.0, and the artefact of 1.0.1 in a file.
struct Shop {
    machine: Machine,
    old: Package,
    new: Package,
}

impl Shop {
    async fn open() -> Self {
        let (old, new) = (trap("1.0.0", 200).await, trap("1.0.1", 202).await);
        let machine = Machine::with(vec![old.clone()]).await;
        std::fs::write(machine.path("new.wasm"), &new.bytes).unwrap();
        let (code, _, stderr) = machine.run(&["db", "apply"]);
        assert_eq!(code, Some(0), "{stderr}");
        Self { machine, old, new }
    }

    fn new_file(&self) -> String {
        self.machine.path("new.wasm").display().to_string()
    }

    #[track_caller]
    fn says(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.machine.run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {stderr}");
        stdout
    }

    #[track_caller]
    fn refuses(&self, arguments: &[&str], what: &str) {
        let (code, stdout, stderr) = self.machine.run(arguments);
        assert!(code == Some(1) && stderr.contains(what), "{arguments:?} wanted {what:?}: {stdout}{stderr}");
    }

    /// Both approved, the older one kept by the newer one's approval; and the database prepared for both.
    fn approve_both(&self) {
        write_book(self.machine.home.path(), vec![self.old.clone(), self.new.clone()]);
    }

    fn artefact(&self, package: &Package) -> PathBuf {
        self.machine.path(&format!("state/artefacts/{}.wasm", package.digest))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_installs_and_rolls_back_under_load_without_a_restart() {
    let shop = Shop::open().await;
    let serving = shop.machine.serve();
    let hammer = Hammer::start(&serving.client, TALLY);
    let install = ["plugin", "install", &shop.new_file()];
    shop.refuses(&install, "is not the artefact that was approved: 1.0.1");
    let _ = serving.client.get(TALLY).await.expect(200);
    shop.approve_both();
    // Approved; but the database has not proved its statements yet.
    shop.refuses(&install, "dinehub db apply");
    let _ = serving.client.get(TALLY).await.expect(200);
    shop.says(&["db", "apply"]);
    assert_eq!(shop.says(&install), "trap 1.0.1 is served at /api/v1/trap\n");
    let _ = serving.client.get(TALLY).await.expect(202);
    for at in 0..RELOADS {
        let (version, status) = if at % 2 == 0 { ("1.0.0", 200) } else { ("1.0.1", 202) };
        let said = format!("trap {version} is served again at /api/v1/trap\n");
        assert_eq!(shop.says(&["plugin", "rollback", "trap"]), said);
        let _ = serving.client.get(TALLY).await.expect(status);
    }
    let [olds, news] = hammer.stop([200, 202]).await;
    assert!(olds > 0 && news > 0, "both were hammered: {olds} and {news}");
    let listing = shop.says(&["plugin", "list"]);
    let line = |package: &Package, version: &str, state: &str| {
        format!("{:<24} {version:<10} {state:<8} sha256:{}\n", "trap", package.digest)
    };
    assert_eq!(listing, line(&shop.old, "1.0.0", "ready") + &line(&shop.new, "1.0.1", "serving"));
    assert_eq!(shop.says(&["db", "verify"]), "the database is what the plugins want\n");

    shop.says(&["plugin", "disable", "trap"]);
    serving.client.get(TALLY).await.refused(503, "disabled");
    shop.says(&["plugin", "enable", "trap@1"]);
    let _ = serving.client.get(TALLY).await.expect(202);
    shop.refuses(&["plugin", "disable", "nobody"], "is not installed");
    changes_are_events(&shop).await;
    drop(serving);
    // What was installed is served again after a restart.
    let _ = shop.machine.serve().client.get(TALLY).await.expect(202);
}

/// One event for each change that a host made, and none for what was refused.
async fn changes_are_events(shop: &Shop) {
    let mut wanted = vec!["installed"];
    wanted.extend(["rolled_back", "installed"].repeat(RELOADS / 2));
    wanted.extend(["disabled", "enabled"]);
    let admin = connect(&shop.machine.database.admin()).await;
    let sql = "select body from dinehub.audit_event where body like '%\"plugin.changed\"%' order by seq";
    let mut found: Vec<serde_json::Value> = Vec::new();
    for _ in 0..1_000 {
        let rows = admin.query(sql, &[]).await.unwrap();
        found = rows.iter().map(|row| serde_json::from_str(row.get(0)).unwrap()).collect();
        if found.len() >= wanted.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let acts: Vec<&str> = found.iter().map(|event| event["act"].as_str().unwrap()).collect();
    assert_eq!(acts, wanted);
    for event in &found {
        let (old, new) = (&shop.old, &shop.new);
        let (artefact, version, before) = match event["act"].as_str().unwrap() {
            "rolled_back" => (old, "1.0.0", json!(new.digest)),
            "installed" => (new, "1.0.1", json!(old.digest)),
            _ => (new, "1.0.1", json!(null)),
        };
        let told = (&event["plugin"], &event["digest"], &event["version"], &event["before"], &event["actor"]);
        let wanted = (json!("trap"), json!(artefact.digest), json!(version), before, json!("system:host"));
        assert_eq!(told, (&wanted.0, &wanted.1, &wanted.2, &wanted.3, &wanted.4), "{event}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_artefact_comes_back_only_where_a_reviewer_kept_it() {
    let shop = Shop::open().await;
    shop.approve_both();
    let install = ["plugin", "install", &shop.new_file()];
    shop.refuses(&install, "dinehub db apply");
    shop.says(&["db", "apply"]);
    // Without a host that runs, the record is all there is to change.
    assert!(shop.says(&install).starts_with("no host serves from "));
    let serving = shop.machine.serve();
    let _ = serving.client.get(TALLY).await.expect(202);

    // The next approval keeps nothing: the way back is closed, whoever asks, however.
    write_book(shop.machine.home.path(), vec![shop.new.clone()]);
    shop.refuses(&["plugin", "rollback", "trap"], "--keep 1.0.0");
    let old = shop.machine.artefacts.join(format!("{}.wasm", shop.old.digest)).display().to_string();
    shop.refuses(&["plugin", "install", &old], "is version 1.0.0, older than the approved 1.0.1");
    let record = std::fs::read_to_string(shop.machine.path("state/installed.toml")).unwrap();
    let forged = record.replacen(&shop.new.digest, &shop.old.digest, 1);
    std::fs::write(shop.machine.path("state/installed.toml"), &forged).unwrap();
    serving.signal(Signal::SIGHUP);
    let outcome = || std::fs::read_to_string(shop.machine.path("state/outcome.toml")).unwrap();
    eventually("the host refuses the record", || outcome().contains("older than the approved")).await;
    let _ = serving.client.get(TALLY).await.expect(202);
    drop(serving);
    shop.machine.refuses("is version 1.0.0, older than the approved 1.0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tampered_artefact_or_record_is_refused_and_changes_nothing() {
    let shop = Shop::open().await;
    shop.approve_both();
    shop.refuses(&["plugin", "install", &shop.new_file()], "dinehub db apply");
    shop.says(&["db", "apply"]);
    let serving = shop.machine.serve();
    shop.says(&["plugin", "install", &shop.new_file()]);
    let file = shop.artefact(&shop.old);
    let whole = std::fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for changed in [flipped, whole[..whole.len() / 2].to_vec(), shop.new.bytes.clone(), Vec::new()] {
        std::fs::write(&file, changed).unwrap();
        shop.refuses(&["plugin", "rollback", "trap"], "artefacts/");
        let _ = serving.client.get(TALLY).await.expect(202);
    }
    std::fs::remove_file(&file).unwrap();
    shop.refuses(&["plugin", "rollback", "trap"], "artefacts/");
    std::fs::write(&file, whole).unwrap();
    shop.says(&["plugin", "rollback", "trap"]);
    let _ = serving.client.get(TALLY).await.expect(200);
    for record in
        ["", "change = 99\nsurprise = true", "\0", "change = 99\n[[series]]\nid = \"trap\"\nmajor = 2\nserving = \"x\""]
    {
        std::fs::write(shop.machine.path("state/installed.toml"), record).unwrap();
        serving.signal(Signal::SIGHUP);
    }
    let outcome = || std::fs::read_to_string(shop.machine.path("state/outcome.toml")).unwrap();
    eventually("the host refuses the record", || outcome().contains("is no digest")).await;
    let _ = serving.client.get(TALLY).await.expect(200);
}

/// What the operator's command found well, the host does not: it has another lock.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_cannot_follow_says_so_and_the_record_is_put_back() {
    let shop = Shop::open().await;
    let serving = shop.machine.serve();
    let desk = tempfile::tempdir().unwrap();
    write_book(desk.path(), vec![shop.old.clone(), shop.new.clone()]);
    let with_desk = |arguments: &[&str]| {
        let mut command = shop.machine.command(arguments);
        for (name, file) in [("LOCK_FILE", "grants.lock"), ("REVIEWERS_FILE", "reviewers.toml")] {
            command.env(format!("DINEHUB_PLUGINS__{name}"), desk.path().join(file));
        }
        let done = command.output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let _ = with_desk(&["plugin", "install", &shop.new_file()]);
    assert_eq!(with_desk(&["db", "apply"]).0, Some(0));
    let (code, said) = with_desk(&["plugin", "install", &shop.new_file()]);
    assert!(
        code == Some(1) && said.contains("the running host: goes on with what it served before: trap: is not"),
        "{said}"
    );
    let _ = serving.client.get(TALLY).await.expect(200);
    let record = std::fs::read_to_string(shop.machine.path("state/installed.toml")).unwrap();
    assert!(record.contains(&format!("serving = \"{}\"", shop.old.digest)), "{record}");
    shop.machine.refuses("another host serves from this state directory");
}
