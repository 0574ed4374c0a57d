//! Events and schedules that cannot be: refused from the artefacts alone.

use std::collections::BTreeMap;

use dinehub::{
    error::Setup,
    id::PluginId,
    plugin::{
        admit::{Candidate, Contracts, Import},
        lock::{Block, Kind},
        manifest::Manifest,
    },
};

use super::{
    parts::{Parts, world},
    refused, refused_with_fix,
};

const PUBLISH: &str = "[event.news]\npublish = true\n";
const SUBSCRIBE: &str = "[event.news]\nsubscribe = \"dinehub:teller@1.0.0\"\n";

/// `teller`, with these functions in its interface `news`, which it imports.
fn teller(functions: &str, manifest: &str) -> Setup<Candidate> {
    let api = "f: func(caller: caller) -> result<_, problem>;";
    let news = format!("interface news {{ {functions} }} world plugin {{ import news;");
    Parts::of_wit("teller", &world("teller", api, &news), manifest).candidate()
}

/// `hearer`, which exports `teller`'s interface with these functions.
fn hearer(functions: &str, version: &str) -> Setup<Candidate> {
    let wit = format!(
        "{} package dinehub:teller@{version} {{ interface news {{ {functions} }} }}",
        world(
            "hearer",
            "f: func(caller: caller) -> result<_, problem>;",
            &format!("world plugin {{ export dinehub:teller/news@{version};")
        )
    );
    let manifest = SUBSCRIBE.replace("teller@1.0.0", &format!("teller/news@{version}"));
    Parts::of_wit("hearer", &wit, &manifest).candidate()
}

fn known(all: &[&Candidate]) -> Contracts {
    all.iter().map(|one| (one.series(), one.contract.clone())).collect()
}

#[test]
fn a_publisher_and_a_subscriber_of_one_interface_are_admitted() {
    let functions = "told: func(what: string);";
    let (teller, hearer) = (teller(functions, PUBLISH).unwrap(), hearer(functions, "1.0.0").unwrap());
    let others = known(&[&teller, &hearer]);
    let imports = teller.imports(&others).unwrap();
    let Some(Import::Event { subscribers }) = imports.get("dinehub:teller/news@1.0.0") else { panic!("{imports:?}") };
    assert_eq!(subscribers.iter().map(PluginId::as_str).collect::<Vec<_>>(), ["hearer"]);
    let lines = |candidate: &Candidate| {
        let block = Block::of(candidate, &candidate.imports(&others).unwrap());
        assert!(!block.grants.contains_key(&Kind::Offer), "nobody but the host may call it");
        block.grants.get(&Kind::Event).cloned().unwrap_or_default().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(lines(&teller), ["publish dinehub:teller/news@1.0.0"]);
    assert_eq!(lines(&hearer), ["subscribe dinehub:teller/news@1.0.0 told: func(what: string)"]);
}

#[test]
fn a_subscriber_that_nobody_tells_is_refused_by_name() {
    let functions = "told: func(what: string);";
    let place = "hearer: subscribes to `dinehub:teller/news@";
    let (teller, newer) = (teller(functions, PUBLISH).unwrap(), hearer(functions, "1.0.1").unwrap());
    let alone = newer.imports(&BTreeMap::new());
    refused_with_fix(alone, place, "no installed plugin publishes", "install its publisher");
    // Nearly the right version is another interface.
    refused(newer.imports(&known(&[&teller, &newer])), place, "no installed plugin publishes");
    let longer = hearer("told: func(what: string, twice: bool);", "1.0.0").unwrap();
    refused(
        longer.imports(&known(&[&teller, &longer])),
        place,
        "but the grant is for `func(what: string, twice: bool)`",
    );
    let other = hearer("heard: func(what: string);", "1.0.0").unwrap();
    refused(other.imports(&known(&[&teller, &other])), place, "has no function `told`");
}

#[test]
fn an_event_interface_cannot_be_called_by_another_plugin() {
    let functions = "told: func(what: string);";
    let (teller, hearer) = (teller(functions, PUBLISH).unwrap(), hearer(functions, "1.0.0").unwrap());
    let wit = format!(
        "{} package dinehub:teller@1.0.0 {{ interface news {{ {functions} }} }}",
        world(
            "liar",
            "f: func(caller: caller) -> result<_, problem>;",
            "world plugin { import dinehub:teller/news@1.0.0;"
        )
    );
    let liar = Parts::of_wit("liar", &wit, "").candidate().unwrap();
    let others = known(&[&teller, &hearer, &liar]);
    refused(liar.imports(&others), "liar: import `dinehub:teller/news@1.0.0`", "is not granted");
}

#[test]
fn what_is_no_event_is_refused() {
    let place = "teller: [event.news]";
    refused_with_fix(teller("told: func() -> bool;", PUBLISH), place, "gives something back", "without a result");
    refused(teller("told: func(x: list<u8>);", PUBLISH), place, "list<u8>");
    let types = "use dinehub:platform/types@1.0.0.{caller, cursor};";
    refused(teller(&format!("{types} told: func(at: cursor);"), PUBLISH), place, "a cursor is a place");
    refused(teller(&format!("{types} told: func(who: option<caller>);"), PUBLISH), place, "make it a parameter");
    let keyed = "[event.news]\npublish = true\nkey = \"id\"\n";
    let _ = teller("told: func(id: string); untold: func(id: s64);", keyed).unwrap();
    let _ = teller("record r { id: string } told: func(r: r);", keyed).unwrap();
    for functions in ["told: func(other: string);", "told: func(id: option<string>);", "told: func(id: list<string>);"]
    {
        refused_with_fix(teller(functions, keyed), place, "`id`", "that every function has");
    }
    let missing = "[event.olds]\npublish = true\n";
    refused_with_fix(
        teller("told: func();", missing),
        "teller: [event.olds]",
        "has no import `dinehub:teller/olds@1.0.0`",
        "in `world plugin`",
    );
}

#[test]
fn a_manifest_that_says_neither_or_both_is_refused() {
    let parse = |text: &str| {
        Manifest::parse(
            "plugin.toml",
            &format!("id = \"made\"\nversion = \"1.0.0\"\ndescription = \"A test.\"\n{text}"),
        )
    };
    for (text, what) in [
        ("[event.news]\n", "must say either"),
        ("[event.news]\npublish = true\nsubscribe = \"dinehub:a/b@1.0.0\"\n", "must say either"),
        ("[event.news]\nsubscribe = \"dinehub:a/b@1.0.0\"\nkey = \"id\"\n", "the order is the publisher's"),
        ("[event.New]\npublish = true\n", "is no name"),
        ("[event.news]\npublished = true\n", "unknown field"),
        ("[[schedule]]\ncron = \"every day\"\nfunction = \"f\"\n", "[[schedule]] f: cron = \"every day\""),
        ("[[schedule]]\ncron = \"0 0 31 2 *\"\nfunction = \"f\"\n", "never comes"),
        (
            "[[schedule]]\ncron = \"0 0 1 1 *\"\nfunction = \"f\"\n[[schedule]]\ncron = \"* * * * *\"\nfunction = \"f\"\n",
            "stands there twice",
        ),
    ] {
        refused(parse(text), "plugin.toml", what);
    }
}

#[test]
fn a_schedule_without_its_function_is_refused_and_one_with_it_is_no_offer() {
    let manifest = "[[schedule]]\ncron = \"0 4 * * *\"\nfunction = \"sweep\"\n";
    let made = |functions: &str| {
        let api = "f: func(caller: caller) -> result<_, problem>;";
        let schedules = format!("interface schedules {{ {functions} }} world plugin {{ export schedules;");
        Parts::of_wit("made", &world("made", api, &schedules), manifest).candidate()
    };
    let place = "made: [[schedule]] sweep";
    refused_with_fix(made("other: func();"), place, "has no `sweep: func()`", "export schedules;");
    refused(made("sweep: func() -> string;"), place, "has no `sweep: func()`");
    refused(made("sweep: func(n: s32);"), place, "has no `sweep: func()`");
    let sound = made("sweep: func();").unwrap();
    let block = Block::of(&sound, &sound.imports(&BTreeMap::new()).unwrap());
    assert!(!block.grants.contains_key(&Kind::Offer));
    assert!(block.grants[&Kind::Schedule].contains("sweep 0 4 * * *"));
    let others = known(&[&sound]);
    let wit = format!(
        "{} package dinehub:made@1.0.0 {{ interface schedules {{ sweep: func(); }} }}",
        world(
            "caller",
            "f: func(caller: caller) -> result<_, problem>;",
            "world plugin { import dinehub:made/schedules@1.0.0;"
        )
    );
    let stranger = Parts::of_wit("caller", &wit, "").candidate().unwrap();
    refused(stranger.imports(&others), "caller: import `dinehub:made/schedules@1.0.0`", "is not granted");
}
