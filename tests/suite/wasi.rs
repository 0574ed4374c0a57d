//! WASI in named bundles: a component made for an operating system runs if, and only if, what it imports was granted and
//! approved; and what it then has is poor. Called by the names of its guests from `sandbox`.

use std::{collections::BTreeMap, fs, time::Duration};

use dinehub::{
    capability::wasi::{BUNDLES, Interface},
    config::Config,
    plugin::{
        approval::{self, Book, Reviewers, SigningKey},
        engine::{Engine, Slots},
    },
};
use harness::server::{Server, features, guests};
use serde_json::json;

use crate::{
    admission::parts::{Parts, guest, world},
    handle::directories_of,
    sandbox::{AT_ONCE, alone, faulted, holds_nothing, is_alone, is_well, leaves_memory_alone},
};

const ALL: &str = r#"wasi = ["cli", "clocks", "filesystem", "io", "random"]"#;
const SHELF: &str = "[files.shelf]\nbytes_max = 1000\n";

/// A guest beside the feature plugins, with directories of its own.
async fn beside(guest: &str) -> (Server, tempfile::TempDir) {
    let (directory, config) = directories_of(guest);
    let mut packages = features().await;
    packages.extend(guests(&[guest]).await);
    (Server::try_with(packages, &config).await.unwrap_or_else(|fault| panic!("{fault}")), directory)
}

pub(crate) async fn wasi_std() {
    let (server, directory) = beside("wasi_std").await;
    let client = server.anonymous();
    let path = |rest: &str| format!("/api/v1/wasi_std/{rest}");
    let get = async |rest: &str| client.get(&path(rest)).await;
    // What there is: nothing around it, coarse clocks, a seed for each call.
    let around = get("surroundings").await.expect(200).json;
    assert_eq!(around, json!({"variables": 0, "arguments": 0, "has_directory": false, "input_bytes": 0}));
    let now = get("now").await.expect(200).json;
    let here = jiff::Timestamp::now().as_millisecond();
    assert!((here - 60_000..=here).contains(&now[0].as_i64().unwrap()) && now[1] == json!(0), "{now}");
    let slept = get("sleep?ms=3").await.expect(200).json.as_u64().unwrap();
    assert!(slept >= 2_000_000 && slept.is_multiple_of(1_000_000), "{slept}");
    let (one, other) =
        (get("hashed?entries=64").await.expect(200).json, get("hashed?entries=64").await.expect(200).json);
    assert!(one != other && one.as_array().unwrap().len() == 64, "two calls share a seed");
    // `exit` ends the call and nothing else.
    client.act(&path("exit")).await.refused(500, "plugin_fault");
    files_to_read(&server).await;
    files_to_write(&server, &directory).await;
    is_well(&server, "wasi_std").await;
}

async fn files_to_read(server: &Server) {
    let client = server.anonymous();
    let path = |rest: &str| format!("/api/v1/wasi_std/{rest}");
    assert_eq!(client.get(&path("file?path=/shelf/greeting.txt")).await.expect(200).json, json!("Guten Tag!\n"));
    let mut names = client.get(&path("directory?path=/shelf")).await.expect(200).json;
    names.as_array_mut().unwrap().sort_by_key(ToString::to_string);
    assert_eq!(names, json!(["escape.txt", "greeting.txt", "large.txt"]));
    for out in [
        "/shelf/escape.txt",
        "/shelf/../reports/../../plugin.toml",
        "/shelf/large.txt",
        "/shelf/none.txt",
        "/etc/passwd",
        "/",
        "..",
        "../plugin.toml",
        "",
    ] {
        let answer = client.get(&path(&format!("file?path={out}"))).await;
        assert_eq!((answer.status, answer.code()), (409, "refused"), "{out}: {answer:?}");
    }
    // Nothing is written, moved or taken away where only reading was granted.
    let text = json!("x");
    for (method, rest) in [
        ("POST", "file?path=/shelf/new.txt"),
        ("POST", "file?path=/shelf/greeting.txt"),
        ("PUT", "file?path=/shelf/greeting.txt"),
        ("DELETE", "file?path=/shelf/greeting.txt"),
        ("POST", "resize?path=/shelf/greeting.txt&bytes=1"),
        ("POST", "rename?from=/shelf/greeting.txt&to=/shelf/other.txt"),
        ("POST", "rename?from=/shelf/greeting.txt&to=/reports/other.txt"),
        ("POST", "link?from=/shelf/greeting.txt&to=/reports/other.txt"),
        ("POST", "directory?path=/shelf/new"),
        ("POST", "directory?path=/reports/new"),
    ] {
        let body = bytes::Bytes::from(if rest.starts_with("file") && method != "DELETE" {
            text.to_string()
        } else {
            String::new()
        });
        let headers: &[(&str, &str)] = if body.is_empty() { &[] } else { &[("content-type", "application/json")] };
        let answer = client.send(method, &path(rest), headers, body).await;
        assert_eq!((answer.status, answer.code()), (409, "refused"), "{method} {rest}: {answer:?}");
    }
}

async fn files_to_write(server: &Server, directory: &tempfile::TempDir) {
    let client = server.anonymous();
    let write = async |name: &str, bytes: usize| {
        client.post(&format!("/api/v1/wasi_std/file?path=/reports/{name}"), &json!("x".repeat(bytes))).await
    };
    for name in ["a.txt", "b.txt"] {
        assert_eq!(write(name, 1_000).await.status, 204);
    }
    write("c.txt", 501).await.refused(409, "refused");
    write("d.txt", 1_001).await.refused(409, "refused");
    let act = async |rest: &str| client.act(&format!("/api/v1/wasi_std/{rest}")).await;
    act("resize?path=/reports/a.txt&bytes=1001").await.refused(409, "refused");
    act("resize?path=/reports/a.txt&bytes=4000000000").await.refused(409, "refused");
    let reports = directory.path().join("wasi_std/files/reports");
    let used = || fs::read_dir(&reports).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>();
    assert!(used() <= 2_500, "{}", used());
    // Room that was made is room again.
    assert_eq!(act("resize?path=/reports/a.txt&bytes=100").await.status, 204);
    assert_eq!(act("rename?from=/reports/b.txt&to=/reports/a.txt").await.status, 204);
    let gone = client.send("DELETE", "/api/v1/wasi_std/file?path=/reports/a.txt", &[], bytes::Bytes::new()).await;
    assert_eq!(gone.status, 204);
    // However many write at once.
    let names: Vec<String> = (0..12).map(|at| format!("crowd{at}.txt")).collect();
    let crowd = futures::future::join_all(names.iter().map(|name| write(name, 400))).await;
    let kept = crowd.iter().filter(|answer| answer.status == 204).count();
    assert!(used() <= 2_500 && (1..=6).contains(&kept), "{kept} kept, {} bytes", used());
}

pub(crate) async fn wasi_greedy() {
    if !is_alone() {
        return alone("sandbox::wasi_greedy");
    }
    let (server, _directory) = beside("wasi_greedy").await;
    let client = server.anonymous();
    let path = |rest: &str| format!("/api/v1/wasi_greedy/{rest}");
    let get = async |rest: &str| tokio::time::timeout(Duration::from_secs(30), client.get(&path(rest))).await.unwrap();
    assert_eq!(get("handles?times=3").await.expect(200).json, json!(3));
    assert!(get("handles?times=1000").await.status >= 400, "a thousand handles");
    assert_eq!(get("random?bytes=65536").await.expect(200).json, json!(65_536));
    for bytes in [65_537_u64, 1 << 40, (1 << 53) - 1] {
        get(&format!("random?bytes={bytes}")).await.refused(500, "plugin_fault");
        client.act(&path(&format!("zeroes?bytes={bytes}"))).await.refused(500, "plugin_fault");
    }
    get("sleep").await.refused(504, "timeout");
    let attacks = [
        faulted("GET", "/api/v1/wasi_greedy/handles?times=1000"),
        faulted("GET", "/api/v1/wasi_greedy/random?bytes=1099511627776"),
        faulted("POST", "/api/v1/wasi_greedy/zeroes?bytes=1099511627776"),
    ];
    leaves_memory_alone(&server, &attacks, AT_ONCE).await;
    is_well(&server, "wasi_greedy").await;
}

pub(crate) async fn wasi_ungranted() {
    let refused =
        Server::try_with(guests(&["wasi_ungranted"]).await, &Config::default()).await.unwrap_err().to_string();
    assert!(refused.contains("wasi_ungranted: import `wasi:clocks/"), "{refused}");
    assert!(refused.contains("is not granted: plugin.toml asks for no bundle `clocks`"), "{refused}");
    assert!(refused.contains("fix: wasi = [\"cli\", \"clocks\", "), "{refused}");
}

pub(crate) async fn wasi_sockets() {
    let (_directory, config) = directories_of("wasi_sockets");
    let refused = Server::try_with(guests(&["wasi_sockets"]).await, &config).await.unwrap_err().to_string();
    assert!(refused.contains("wasi_sockets: import `wasi:sockets/"), "{refused}");
    assert!(refused.contains("is not granted and never is"), "{refused}");
}

/// One thread, so that the test's own subscriber hears what the server says.
#[tokio::test]
async fn what_a_guest_prints_is_its_log_and_a_flood_is_cut() {
    let book = crate::sandbox::flood::Book::default();
    let writer = book.clone();
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone()).finish();
    let _here = tracing::subscriber::set_default(subscriber);
    let (directory, mut config) = directories_of("wasi_std");
    let greedy = directories_of("wasi_greedy").0;
    fs::rename(greedy.path().join("wasi_greedy"), directory.path().join("wasi_greedy")).unwrap();
    config.plugins.files_directory = directory.path().to_owned();
    let server = Server::try_with(guests(&["wasi_std", "wasi_greedy"]).await, &config).await.unwrap();
    let client = server.anonymous();
    let body = json!("one\n{\"level\":\"FORGED\"}");
    assert_eq!(client.post("/api/v1/wasi_std/print", &body).await.status, 204);
    let lines = book.lines();
    let said: Vec<(&str, &str)> =
        lines.iter().map(|line| (line["level"].as_str().unwrap(), line["message"].as_str().unwrap())).collect();
    let forged = "{\"level\":\"FORGED\"}";
    assert_eq!(said, [("INFO", "one"), ("INFO", forged), ("WARN", "one"), ("WARN", forged)]);
    assert!(lines.iter().all(|line| line["plugin"] == "wasi_std" && line["request_id"].is_string()), "{lines:?}");
    assert_eq!(client.act("/api/v1/wasi_greedy/lines?times=50").await.status, 204);
    assert_eq!(book.lines().len(), 4 + 3, "log_lines_max");
}

/// A component that imports every function of every bundle.
pub(crate) fn everything(version: &str) -> Parts {
    let interface: Interface = format!("wasi:io/poll@{version}").parse().unwrap();
    let contracts = interface.contracts();
    let mut imports = String::from("world plugin {\n");
    for (bundle, text) in &contracts {
        for line in text.lines().filter_map(|line| line.strip_prefix("interface ")) {
            let name = line.trim_end_matches([' ', '{']);
            imports.push_str(&format!("import wasi:{bundle}/{name}@{version};\n"));
        }
    }
    let api = world("everything", "answer: func(caller: caller) -> result<s32, problem>;", &imports);
    Parts::of_wit_with(&contracts, "everything", &api, &format!("{ALL}\n{SHELF}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_function_of_every_bundle_is_linked_with_the_types_of_its_contract() {
    let engine = Engine::new(Slots(4)).unwrap();
    for version in ["0.2.0", "0.2.6", "0.2.12"] {
        let candidate = everything(version).candidate().unwrap();
        let imports = candidate.imports(&BTreeMap::new()).unwrap();
        assert_eq!(imports.len(), 20, "interfaces of WASI: {:?}", imports.keys());
        let component =
            wasmtime::component::Component::from_binary(engine.wasmtime(), &candidate.package.bytes).unwrap();
        candidate.link(&engine, &component, &imports).unwrap_or_else(|fault| panic!("{version}: {fault}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bundle_that_is_not_asked_for_refuses_the_plugin_with_the_line_that_would_grant_it() {
    let whole = guest("wasi_std").await;
    assert!(whole.candidate().unwrap().imports(&BTreeMap::new()).is_ok());
    for bundle in BUNDLES {
        let mut parts = whole.clone();
        let without = ALL.replace(&format!("\"{bundle}\", "), "").replace(&format!(", \"{bundle}\""), "");
        parts.manifest = parts.manifest.replace(ALL, &without);
        assert_ne!(parts.manifest, whole.manifest);
        let refused = parts.candidate().unwrap().imports(&BTreeMap::new()).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("wasi_std: import `wasi:{bundle}/")), "{refused}");
        assert!(refused.ends_with(&format!("fix: {ALL}")), "{refused}");
    }
    let mut nowhere = whole.clone();
    nowhere.manifest = whole.manifest.split("\n[files.shelf]").next().unwrap().to_owned();
    assert!(nowhere.package().unwrap_err().to_string().contains("`filesystem` opens no directory"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_of_wasi_is_approved_function_by_function_in_its_exact_version() {
    let candidate = guest("wasi_std").await.candidate().unwrap();
    let mut asked = approval::asked(&[candidate]).unwrap();
    let block = asked.remove(0);
    let (key, _) = SigningKey::fresh().unwrap();
    let mut reviewers = Reviewers { approvals_min: 1, ..Reviewers::default() };
    reviewers.reviewers.insert("desk".to_owned(), key.public());
    let refusal = |approved: &dinehub::plugin::lock::Block| {
        let mut approved = approved.clone();
        approved.approvals = vec![key.approve(&approved, "desk", "2026-11-25")];
        let mut book = Book { reviewers: reviewers.clone(), ..Book::default() };
        book.lock.put(approved);
        book.ensure_approved(&block).err().map(|fault| fault.to_string())
    };
    assert_eq!(refusal(&block), None);
    let wasi: Vec<_> =
        block.lines().filter(|(_, line)| line.starts_with("wasi")).map(|(kind, line)| (kind, line.clone())).collect();
    assert!(wasi.len() > 30 && wasi.iter().any(|(_, line)| line == "wasi filesystem"), "{wasi:?}");
    for (kind, line) in wasi {
        let mut less = block.clone();
        less.grants.get_mut(&kind).unwrap().remove(&line);
        assert!(refusal(&less).unwrap().contains(&line), "{line}");
        // The same function in another version is another line.
        if let Some((interface, rest)) = line.split_once("@0.2.") {
            let patch = rest.split_once(' ').unwrap().1;
            less.grants.get_mut(&kind).unwrap().insert(format!("{interface}@0.2.0 {patch}"));
            assert!(refusal(&less).unwrap().contains(&line), "{line}");
        }
    }
}

#[test]
fn what_is_not_wasi_as_the_host_has_it_is_refused() {
    let of = |package: &str, import: &str| {
        let api = world(
            "odd",
            "answer: func(caller: caller) -> result<s32, problem>;",
            &format!("world plugin {{ import {import};"),
        );
        let parts = Parts::of_wit_with(&[("odd.wit", package.to_owned())], "odd", &api, &format!("{ALL}\n{SHELF}"));
        parts.candidate().unwrap().imports(&BTreeMap::new()).unwrap_err().to_string()
    };
    let clock = |version: &str, body: &str| {
        of(
            &format!("package wasi:clocks@{version}; interface wall-clock {{ {body} }}"),
            &format!("wasi:clocks/wall-clock@{version}"),
        )
    };
    let now = "record datetime { seconds: u64, nanoseconds: u32 } now: func() -> datetime;";
    for version in ["0.2.13", "0.3.0", "0.1.6", "1.2.6"] {
        assert!(clock(version, now).contains("is not granted and never is"), "{version}");
    }
    assert!(clock("0.2.6", "now: func() -> u64;").contains("`now` is `func() -> u64`, but the grant is for"));
    assert!(clock("0.2.6", "set: func(seconds: u64);").contains("has no function `set`"));
    let zone =
        of("package wasi:clocks@0.2.6; interface timezone { here: func() -> string; }", "wasi:clocks/timezone@0.2.6");
    assert!(zone.contains("is no interface of this bundle"), "{zone}");
    let http = of("package wasi:http@0.2.6; interface outgoing { send: func(); }", "wasi:http/outgoing@0.2.6");
    assert!(http.contains("is not granted and never is") && http.contains("[http.<name>]"), "{http}");
    // A resource alone runs code of the host when it is dropped.
    let poll = Parts::of_wit_with(
        &[("io.wit", "package wasi:io@0.2.6; interface poll { resource pollable; }".to_owned())],
        "odd",
        &world(
            "odd",
            "answer: func(caller: caller) -> result<s32, problem>;",
            "world plugin { import wasi:io/poll@0.2.6;",
        ),
        "",
    );
    let refused = poll.candidate().unwrap().imports(&BTreeMap::new()).unwrap_err().to_string();
    assert!(refused.contains("import `wasi:io/poll@0.2.6`") && refused.contains("bundle `io`"), "{refused}");
}

/// For each: the request that uses the function, with the interface's version left out.
const REQUESTS: [(&str, &str, &str); 9] = [
    ("GET", "now", "wasi:clocks/wall-clock now"),
    ("GET", "sleep?ms=1", "wasi:clocks/monotonic-clock subscribe-duration"),
    ("GET", "sleep?ms=1", "wasi:io/poll [method]pollable.block"),
    ("GET", "sleep?ms=1", "wasi:io/poll [resource-drop]pollable"),
    ("GET", "hashed?entries=3", "wasi:random/insecure-seed insecure-seed"),
    ("GET", "surroundings", "wasi:cli/environment get-environment"),
    ("GET", "file?path=/shelf/greeting.txt", "wasi:filesystem/preopens get-directories"),
    ("GET", "file?path=/shelf/greeting.txt", "wasi:filesystem/types [method]descriptor.open-at"),
    ("GET", "file?path=/shelf/greeting.txt", "wasi:io/streams [method]input-stream.blocking-read"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_function_of_wasi_that_was_taken_away_ends_the_call_that_uses_it_and_no_other() {
    let packages = guests(&["wasi_std"]).await;
    let (_directory, config) = directories_of("wasi_std");
    for (_, path, import) in REQUESTS {
        let (name, function) = import.split_once(' ').unwrap();
        let candidate = guest("wasi_std").await.candidate().unwrap();
        let imported = candidate.contract.imports.keys().find(|key| key.split('@').next() == Some(name));
        let imported = format!("{} {function}", imported.unwrap_or_else(|| panic!("{import}")));
        let server = Server::withholding(packages.clone(), &config, &imported).await;
        let client = server.anonymous();
        client.get(&format!("/api/v1/wasi_std/{path}")).await.refused(500, "plugin_fault");
        assert_eq!(client.get("/api/v1/wasi_std/answer").await.expect(200).json, json!(42), "{imported}");
        holds_nothing(&server).await;
    }
}
