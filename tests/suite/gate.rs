//! One gate: every function that a plugin can import passes one check, and whatever is taken out of the list of granted
//! functions is refused through each of them, although it is still linked.

use std::{collections::BTreeSet, path::Path};

use dinehub::{
    capability::{
        grants::Use,
        handle::{OFFERS, PLATFORM_WIT},
        wasi::{self, BUNDLES},
    },
    command::start,
    plugin::{approval::Book, contract, package::Package, privacy},
};
use harness::server::{Server, features, guests, root};
use serde_json::json;

/// Files that may link a function into a guest's imports: the gate itself.
const LINKERS: [&str; 1] = ["capability/gate.rs"];

fn sources(directory: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            let name = path.strip_prefix(root().join("host/src")).unwrap().display().to_string();
            found.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn there_is_one_place_where_a_host_function_is_linked() {
    let mut all = Vec::new();
    sources(&root().join("host/src"), &mut all);
    let links = ["func_new", "func_wrap", "add_to_linker", ".resource(", ".resource_async(", ".resource_concurrent("];
    let linking: BTreeSet<&str> = all
        .iter()
        .filter(|(_, text)| links.iter().any(|call| text.contains(call)))
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(linking, BTreeSet::from(LINKERS));
    let gate = &all.iter().find(|(name, _)| name == LINKERS[0]).unwrap().1;
    // Each way to link: first the check, then the body.
    let ways = gate.split("let linked =").skip(1).map(|way| way.trim_start().trim_start_matches("instance."));
    let ways: Vec<&str> = ways.collect();
    assert_eq!(ways.len(), links.iter().map(|call| gate.matches(call).count()).sum::<usize>());
    for (way, starts) in ways.iter().zip(["func_new_async(", "func_wrap_async(", "resource_async("]) {
        let (check, run) = (way.find("gate.pass(grants)?;").unwrap(), way.find("body(grants, ").unwrap());
        assert!(way.starts_with(starts) && check < run && way.matches("body(grants, ").count() == 1, "{starts}");
    }
    assert_eq!(gate.matches("grants.authorize(").count(), 1);
}

#[test]
fn every_wit_package_is_offered_and_every_offer_has_its_folder() {
    let mut folders = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("wit")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            folders.insert(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    // `dinehub:clock/wall@1.0.0` stands in `wit/dinehub-clock@1.0.0/`.
    let folder = |interface: &str| {
        let (package, rest) = interface.split_once('/').unwrap();
        format!("{}@{}", package.replace(':', "-"), rest.split_once('@').unwrap().1)
    };
    let mut offered: BTreeSet<String> = OFFERS.iter().map(|offer| folder(offer.interface)).collect();
    offered.extend(BUNDLES.map(|bundle| format!("wasi-{bundle}@{}", wasi::VERSION)));
    // What the host calls in a plugin, and no plugin in another.
    offered.insert(folder(privacy::INTERFACE));
    // Types of declared handles: nothing to call.
    for types in folders.difference(&offered.clone()) {
        let file = std::fs::read_dir(root().join("wit").join(types)).unwrap().next().unwrap().unwrap().path();
        let text = std::fs::read_to_string(file).unwrap();
        assert!(!text.contains("func("), "wit/{types} has functions and nobody links them");
        offered.insert(types.clone());
    }
    assert_eq!(folders, offered);
}

/// Every function that any plugin here imports, with a request that calls it.
async fn everything() -> Vec<Package> {
    let mut all = features().await;
    all.extend(guests(&["hands"]).await);
    all.push(crate::wasi::everything("0.2.12").package().unwrap());
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_granted_is_refused_through_every_function_of_every_import() {
    let packages = everything().await;
    let server = Server::with(features().await).await;
    let (admitted, _) = start::admit_here(&Book::default(), packages).unwrap();
    let mut tried = 0;
    for admission in &admitted {
        let all: Vec<(String, String)> =
            admission.functions().map(|(interface, name)| (interface.to_owned(), name.to_owned())).collect();
        for (interface, function) in &all {
            let rest = all.iter().filter(|one| **one != (interface.clone(), function.clone()));
            let rest = rest.map(|(interface, function)| (interface.as_str(), function.as_str()));
            let mut grants = server.bare_grants(&admission.package().manifest.id, rest);
            let wanted = Use { interface, function, statement: None };
            assert!(grants.authorize(&wanted).is_err(), "{interface} {function}");
            let said = grants.take_stop().unwrap();
            assert_eq!(said.code(), "plugin_fault");
            assert!(said.log().contains(&format!("`{interface} {function}` is not granted")), "{}", said.log());
            let every = all.iter().map(|(interface, function)| (interface.as_str(), function.as_str()));
            let mut grants = server.bare_grants(&admission.package().manifest.id, every);
            assert!(grants.authorize(&wanted).is_ok(), "{interface} {function}");
            tried += 1;
        }
    }
    assert!(tried > 100, "only {tried} functions");
    // And the guest with one of everything has every function that the host offers.
    let hands = admitted.iter().find(|admission| admission.package().manifest.id.as_str() == "hands").unwrap();
    for offer in OFFERS {
        let dependencies: &[(&str, &str)] =
            if offer.wit == PLATFORM_WIT { &[] } else { &[("platform.wit", PLATFORM_WIT)] };
        let package = contract::signatures(dependencies, ("offer.wit", offer.wit)).unwrap();
        for function in package[offer.interface].keys() {
            assert!(hands.functions().any(|one| one == (offer.interface, function)), "{} {function}", offer.interface);
        }
    }
}

/// For each imported function of `hands`: the request that uses it.
const REQUESTS: [(&str, &str, &str); 14] = [
    ("POST", "/log", "dinehub:platform/log@1.0.0 write"),
    ("GET", "/now", "dinehub:clock/wall@1.0.0 now"),
    ("GET", "/uuid", "dinehub:random/secure@1.0.0 fresh-uuid"),
    ("GET", "/hex?bytes=4", "dinehub:random/secure@1.0.0 hex"),
    ("POST", "/sign", "dinehub:hands-secret/seal sign"),
    ("POST", "/verify", "dinehub:hands-secret/seal verify"),
    ("GET", "/word", "dinehub:hands-secret/word reveal"),
    ("GET", "/shelf?path=greeting.txt", "dinehub:hands-files/shelf read"),
    ("GET", "/reports?path=none", "dinehub:hands-files/reports read"),
    ("POST", "/reports?path=a.txt", "dinehub:hands-files/reports write"),
    ("POST", "/notes?name=a", "dinehub:hands-data/notes add"),
    ("GET", "/notes", "dinehub:hands-data/notes tally"),
    ("POST", "/provider", "dinehub:hands-http/provider send"),
    ("POST", "/inside", "dinehub:hands-http/inside send"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_was_taken_away_ends_the_call_that_uses_it_and_no_other() {
    let packages = guests(&["hands"]).await;
    let (_directory, config) = crate::handle::directories();
    let all: BTreeSet<String> = {
        let (admitted, _) = start::admit_here(&Book::default(), packages.clone()).unwrap();
        admitted[0].functions().map(|(interface, function)| format!("{interface} {function}")).collect()
    };
    assert_eq!(all, REQUESTS.iter().map(|(_, _, import)| (*import).to_owned()).collect(), "a request for each");
    for (method, path, import) in REQUESTS {
        let server = Server::withholding(packages.clone(), &config, import).await;
        let client = server.anonymous();
        let path = format!("/api/v1/hands{path}");
        let request = json!({"method": "get", "path": "/", "headers": [], "body": null, "times": 1});
        let send = async |method: &str, path: &str| match method {
            "GET" => client.get(path).await,
            _ if path.contains("notes") => client.act(path).await,
            _ if path.ends_with("/provider") || path.ends_with("/inside") => client.post(path, &request).await,
            _ => client.post(path, &json!("text")).await,
        };
        send(method, &path).await.refused(500, "plugin_fault");
        let (other, other_path, _) = REQUESTS.iter().find(|(_, _, one)| *one != import).unwrap();
        let answered = send(other, &format!("/api/v1/hands{other_path}")).await;
        assert!(answered.status < 300, "{import}: {answered:?}");
    }
}
