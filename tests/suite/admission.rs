//! What a host refuses to load, from the artefact alone: each refusal says where, what and how to mend it, and no code of
//! the plugin has run by then.

mod event;
pub(crate) mod parts;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use dinehub::{
    config::Config,
    database::statement::{Kind, Privileges},
    error::{Fault, Setup},
    plugin::{
        admit::Candidate,
        bind,
        package::{self, Package},
    },
};
use harness::server::{Server, features, guests};

use parts::{Parts, guest, world};

/// Asserts that a refusal names the place, says what is wrong, and how to mend it where a line could.
#[track_caller]
fn refused<T>(outcome: Setup<T>, place: &str, what: &str) {
    let Err(fault) = outcome else { panic!("admitted although: {place}: {what}") };
    says(&fault, place, what);
}

#[track_caller]
fn says(fault: &Fault, place: &str, what: &str) {
    let text = fault.to_string();
    assert!(text.starts_with(place) && text.contains(what), "wanted {place:?} and {what:?}, got: {text}");
}

#[track_caller]
fn refused_with_fix<T>(outcome: Setup<T>, place: &str, what: &str, fix: &str) {
    let Err(fault) = outcome else { panic!("admitted although: {place}: {what}") };
    says(&fault, place, what);
    let text = fault.to_string();
    let advice = text.split_once("\n  fix: ").unwrap_or_else(|| panic!("no fix: {text}")).1;
    assert!(advice.contains(fix), "wanted the fix {fix:?}, got: {advice}");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_sealed_again_are_admitted() {
    for package in features().await.iter().chain(&guests(&["trap", "forger", "state"]).await) {
        let again = Parts::of(package);
        assert_eq!(again.bytes(), package.bytes, "taking apart changes nothing");
        again.candidate().unwrap();
    }
    let made =
        Parts::of_wit("made", &world("made", "f: func(caller: caller) -> result<_, problem>;", "world plugin {"), "");
    assert!(made.candidate().unwrap().imports(&BTreeMap::new()).unwrap().is_empty());
}

#[test]
fn what_is_no_component_is_refused() {
    let open = |bytes: &[u8]| Package::open("test.wasm", bytes.to_vec());
    let module = b"\0asm\x01\0\0\0";
    refused_with_fix(open(module), "test.wasm", "is a core module", "dinehub plugin build");
    refused(open(b"\0asm\x0d\0\x01\0"), "test.wasm", "has no section `dinehub:manifest`");
    for garbage in [&b""[..], b"\0", b"#!/bin/sh", b"\x7fELF\x02\x01\x01", b"\0asm\x02\0\0\0", &[0xff; 4096]] {
        refused(open(garbage), "test.wasm", "is no component");
    }
    let huge = vec![0; package::BYTES_MAX + 1];
    refused(Package::open("test.wasm", huge), "test.wasm", "at most");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artefact_cut_anywhere_is_refused() {
    let whole = guest("trap").await.bytes();
    let step = (whole.len() / 400).max(1);
    let last = whole.len() - 64..whole.len();
    for length in (0..whole.len()).step_by(step).chain(last) {
        // An interrupted upload; a panic would be as bad as admission.
        let read = catch_unwind(AssertUnwindSafe(|| Package::open("test.wasm", whole[..length].to_vec())));
        let read = read.unwrap_or_else(|_| panic!("panicked at {length} of {}", whole.len()));
        assert!(read.and_then(Candidate::read).is_err(), "admitted with {length} of {} bytes", whole.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_artefact_never_panics() {
    let whole = guest("echo").await.bytes();
    for at in (0..whole.len()).step_by((whole.len() / 300).max(1)) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        let read = catch_unwind(AssertUnwindSafe(|| Package::open("test.wasm", damaged).and_then(Candidate::read)));
        let read = read.unwrap_or_else(|_| panic!("panicked with a bit flipped at {at}"));
        // A flipped bit in code or names can still be a plugin, but it is another one.
        if let Ok(candidate) = read {
            assert_ne!(candidate.package.digest, hex_digest(&whole), "one digest covers all of it");
        }
    }
}

fn hex_digest(bytes: &[u8]) -> String {
    Package::open("whole", bytes.to_vec()).unwrap().digest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_section_that_is_there_twice_is_refused() {
    let parts = guest("trap").await;
    let twice = package::seal(&parts.bytes(), &parts.manifest, &parts.content).unwrap();
    refused(Package::open("test.wasm", twice), "test.wasm", "has section `dinehub:manifest` twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn wit_that_is_not_that_of_the_statements_is_refused() {
    let mut parts = guest("trap").await;
    parts.content.wit.push_str("// and more\n");
    refused_with_fix(parts.candidate(), "trap", "is not the WIT of its statements", "dinehub plugin build");
    parts.content.wit.clear();
    refused(parts.candidate(), "trap", "is not the WIT of its statements");
    let mut hidden = guest("trap").await;
    hidden.content.statements.clear();
    refused(hidden.candidate(), "trap", "is not the WIT of its statements");
}

/// Whatever a publisher says that a statement needs: PostgreSQL's own word counts, in both directions.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_is_not_what_postgresql_says_is_refused() {
    let whole = guest("forger").await;
    let at = |parts: &Parts, name: &str| parts.content.statements.iter().position(|s| s.name == name).unwrap();
    let mut smaller = whole.clone();
    let search = at(&smaller, "search");
    smaller.content.statements[search].ask.relations.clear();
    let mut no_functions = whole.clone();
    no_functions.content.statements[search].ask.functions.clear();
    let mut larger = whole.clone();
    let privileges = larger.content.statements[search].ask.relations.values_mut().next().unwrap();
    privileges.delete = true;
    let mut foreign = whole.clone();
    let greed = Privileges { select: ["password_hash".to_owned()].into(), ..Privileges::default() };
    foreign.content.statements[search].ask.relations.insert("dinehub.account".to_owned(), greed);
    let mut text = whole.clone();
    text.content.statements[search].text = "select words from forger.secret".to_owned();
    let mut unbound = whole.clone();
    for param in &mut unbound.content.statements[search].params {
        param.nullable = true;
    }
    unbound.content.wit = bind::wit::write(&"forger".parse().unwrap(), &unbound.content.statements).unwrap();
    for (what, parts) in [
        ("a smaller ask", smaller),
        ("no functions", no_functions),
        ("a larger ask", larger),
        ("a foreign table", foreign),
        ("another text", text),
        ("a nullable parameter", unbound),
    ] {
        let outcome = Server::try_with(vec![parts.package().unwrap()], &Config::default()).await;
        let Err(fault) = outcome else { panic!("admitted with {what}") };
        assert!(fault.to_string().contains("forger"), "{what}: {fault}");
        assert!(fault.to_string().contains("search"), "{what}: {fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_of_the_same_name_and_another_type_is_refused() {
    let mut parts = guest("trap").await;
    let add = parts.content.statements.iter_mut().find(|statement| statement.name == "add").unwrap();
    add.params[0].kind = Kind::Int4;
    parts.content.wit = bind::wit::write(&"trap".parse().unwrap(), &parts.content.statements).unwrap();
    let outcome = parts.candidate().unwrap().imports(&BTreeMap::new());
    refused(outcome, "trap: import `dinehub:trap-data/marks`", "`add` is `func(name: string)");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_granted_in_its_exact_version_and_type_alone() {
    let others: BTreeMap<_, _> = features()
        .await
        .into_iter()
        .map(|package| Candidate::read(package).unwrap())
        .map(|candidate| (candidate.series(), candidate.contract))
        .collect();
    let function = "f: func(caller: caller) -> result<_, problem>;";
    let log = |version: &str, params: &str| {
        format!(
            "package dinehub:buyer@1.0.0;
                 interface api {{ use dinehub:platform/types@1.0.0.{{caller, problem}}; {function} }}
                 world plugin {{ import dinehub:{version}; export api; }}
                 {params}"
        )
    };
    let outcome = |wit: &str| Parts::of_wit("buyer", wit, "").candidate().unwrap().imports(&others);
    outcome(&log("platform/log@1.0.0", "")).unwrap();
    // wasmtime would let a host's 1.0.9 stand in for an import of 1.0.0; admission does not.
    let nested = |package: &str, functions: &str, import: &str| {
        let (head, body) = ("package dinehub:", format!("{{ interface {functions} }}"));
        log(import, &format!("{head}{package} {body}"))
    };
    for (package, interface, import) in [
        ("restaurants@1.0.9", "catalog { quote: func(a: string) -> string; }", "restaurants/catalog@1.0.9"),
        ("restaurants@2.0.0", "catalog { quote: func(a: string) -> string; }", "restaurants/catalog@2.0.0"),
        ("restaurants", "catalog { quote: func(a: string) -> string; }", "restaurants/catalog"),
        ("restaurants@1.0.0", "secrets { all: func() -> string; }", "restaurants/secrets@1.0.0"),
        // What HTTP reaches is not what other plugins reach: routes' rules would be gone round.
        ("restaurants@1.0.0", "api { close: func(a: string) -> string; }", "restaurants/api@1.0.0"),
        ("restaurants-data", "menu { all: func() -> string; }", "restaurants-data/menu"),
        ("buyer-data", "orders { all: func() -> string; }", "buyer-data/orders"),
        ("platform-x@1.0.0", "log { write: func(); }", "platform-x/log@1.0.0"),
    ] {
        let place = format!("buyer: import `dinehub:{import}`");
        let fault = outcome(&nested(package, interface, import)).unwrap_err();
        says(&fault, &place, "is");
        assert!(fault.to_string().contains("\n  fix: "), "{fault}");
    }
    let other_type =
        nested("restaurants@1.0.0", "catalog { quote: func(a: string) -> string; }", "restaurants/catalog@1.0.0");
    refused(outcome(&other_type), "buyer: import `dinehub:restaurants/catalog@1.0.0`", "`quote` is `func(a: string)");
    let more = nested("restaurants@1.0.0", "catalog { drain: func(); }", "restaurants/catalog@1.0.0");
    refused(outcome(&more), "buyer: import `dinehub:restaurants/catalog@1.0.0`", "has no function `drain`");
}

#[test]
fn an_api_that_json_cannot_carry_is_refused() {
    for (functions, what) in [
        ("f: func(caller: caller, body: option<option<string>>) -> result<_, problem>;", "option<option<"),
        (
            "record r { x: option<option<u8>> } f: func(caller: caller, body: r) -> result<_, problem>;",
            "option<option<",
        ),
        ("type o = option<u8>; f: func(caller: caller) -> result<option<o>, problem>;", "option<option<"),
        ("f: func(caller: caller, body: list<u8>) -> result<_, problem>;", "list<u8>"),
        ("f: func(caller: caller, body: result<u8, u8>) -> result<_, problem>;", "result"),
        ("f: func(caller: caller) -> string;", "must give `result<…, problem>`"),
        ("f: func(caller: caller) -> result<string, string>;", "must give `result<…, problem>`"),
        ("f: func(caller: caller);", "must give `result<…, problem>`"),
    ] {
        let parts = Parts::of_wit("made", &world("made", functions, "world plugin {"), "");
        refused_with_fix(parts.candidate(), "made: api.f", what, "");
    }
    let unnamed =
        Parts::of_wit("made", &world("other", "f: func(caller: caller) -> result<_, problem>;", "world plugin {"), "");
    refused_with_fix(unnamed.candidate(), "made", "exports no `dinehub:made/api@1.0.0`", "dinehub:<id>@<version");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_to_nowhere_or_for_nobody_is_refused() {
    let route = |more: &str| format!("\n[[route]]\nmethod = \"POST\"\npath = \"/x\"\n{more}\n");
    let with = |parts: &Parts, more: String| Parts { manifest: format!("{}{more}", parts.manifest), ..parts.clone() };
    let trap = guest("trap").await;
    let missing = with(&trap, route("function = \"vanish\"\nanonymous = true"));
    refused(missing.candidate(), "trap: [[route]] POST \"/x\"", "exports no function `vanish`");
    for (more, what) in [
        ("function = \"add\"", "must say either"),
        ("function = \"add\"\nanonymous = true\nroles = [\"USER\"]", "must say either"),
        ("function = \"add\"\nanonymous = true\nstatus = 500", "is no success"),
        ("function = \"add\"\nroles = [\"user\"]", "upper-case"),
        ("function = \"add\"\nanonymous = true\nsurprise = 1", "surprise"),
    ] {
        refused(with(&trap, route(more)).package(), "test.wasm: plugin.toml", what);
    }
    for path in ["x", "/X", "//", "/a/../b", "/{id", "/a b", "/%2e"] {
        let more = route("function = \"add\"\nanonymous = true").replace("/x", path);
        refused(with(&trap, more).package(), "test.wasm: plugin.toml", "path must be");
    }
    let unknown = with(&trap, route("function = \"add\"\nroles = [\"WAITER\"]")).package().unwrap();
    let outcome = Server::try_with(vec![unknown], &Config::default()).await;
    refused_with_fix(outcome, "trap: [[route]] POST \"/x\"", "there is no role WAITER", "[role.WAITER]");
    let twice = with(&trap, route("function = \"add\"\nanonymous = true").replace("/x", "/add")).package().unwrap();
    refused(Server::try_with(vec![twice], &Config::default()).await, "route POST /api/v1/trap/add", "twice");
    let same = trap.package().unwrap();
    refused(Server::try_with(vec![same.clone(), same], &Config::default()).await, "trap", "is installed twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_constraint_that_checks_nothing_is_refused() {
    let echo = guest("echo").await;
    for (constraint, what) in [
        ("\"point.z\" = { min = 1 }", "names no field or parameter"),
        ("\"string_back.body\" = { length_max = 1 }", "names no field or parameter"),
        ("\"string-back.body\" = { max = 1 }", "`max` does not apply"),
        ("\"point.x\" = { length_max = 1 }", "`length_max` does not apply"),
        ("\"list-back.body\" = { length_max = 1 }", "`length_max` does not apply"),
        ("\"enum-back.body\" = { length_max = 1 }", "`length_max` does not apply"),
        ("\"u8-back.body\" = { max = 256 }", "does not fit"),
        ("\"s8-back.body\" = { min = 5, max = 4 }", "does not fit"),
        ("\"money-back.body\" = { min = -1 }", "does not fit"),
        ("\"list-back.body\" = { items_min = 2, items_max = 1 }", "is empty"),
        ("\"uuid-back.body\" = { length_max = 3 }", "length its format gives"),
    ] {
        let parts = Parts { manifest: format!("{}\n[constraint]\n{constraint}\n", echo.manifest), ..echo.clone() };
        let named = constraint.split(" = ").next().unwrap();
        let fault = parts.candidate().unwrap_err().to_string();
        assert!(fault.contains(named) && fault.contains(what) && fault.contains("fix: "), "{constraint}: {fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_asks_for_no_more_than_the_host_has() {
    let parts = guest("spin").await;
    for (from, to, what) in [
        ("cpu_ms = 10", "cpu_ms = 5001", "must be from 1 to 5000"),
        ("cpu_ms = 10", "cpu_ms = 0", "must be from 1 to 5000"),
        ("cpu_ms = 10", "patience = 1", "patience"),
        ("id = \"spin\"", "id = \"admin\"", "reserved"),
        ("id = \"spin\"", "id = \"Spin\"", "lower-case"),
        ("id = \"spin\"", "id = \"../spin\"", "lower-case"),
    ] {
        let manifest = parts.manifest.replacen(from, to, 1);
        assert_ne!(manifest, parts.manifest);
        refused(Parts { manifest, ..parts.clone() }.package(), "test.wasm: plugin.toml", what);
    }
}

/// `start_spin` never gets through its own start: a host that ran it while loading would not come up.
#[tokio::test(flavor = "multi_thread")]
async fn loading_runs_no_code_of_a_plugin() {
    let packages = guests(&["start_spin"]).await;
    let loading = Server::with(packages);
    let server = tokio::time::timeout(Duration::from_secs(60), loading).await.expect("the host comes up");
    server.anonymous().get("/api/v1/start_spin/answer").await.refused(500, "plugin_fault");
}
