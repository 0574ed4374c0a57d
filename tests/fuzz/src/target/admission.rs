//! Artefacts: arbitrary bytes, and a real one with parts of it changed.

use std::{collections::BTreeMap, sync::OnceLock};

use arbitrary::{Arbitrary, Result, Unstructured};
use dinehub::{
    database::catalog::Catalog,
    plugin::{
        admit::{Candidate, PLATFORM_WIT},
        lock::Block,
        package::{self, Content, Package},
    },
};
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::{ManglingAndAbi, Resolve};

/// As `Book::admit` does it, up to the reviewers.
fn admit(bytes: Vec<u8>) {
    let Ok(candidate) = Package::open("fuzz", bytes).and_then(Candidate::read) else { return };
    if let Ok(imports) = candidate.imports(&BTreeMap::new()) {
        let block = Block::of(&candidate, &imports);
        assert!(block.lines().all(|(_, line)| !line.is_empty()));
    }
}

pub(crate) fn artefact(data: &[u8]) {
    admit(data.to_vec());
}

struct Parts {
    component: Vec<u8>,
    manifest: &'static str,
    content: String,
}

const WIT: &str = "package dinehub:fuzz@1.0.0;
interface api {
  use dinehub:platform/types@1.0.0.{caller, problem, uuid, cursor, money-cents};
  record line { id: uuid, count: u32, price: money-cents, note: option<string> }
  variant shape { nothing, lines(list<line>), pair(tuple<s8, f64>) }
  flags rights { read, write }
  draw: func(caller: caller, body: shape, may: rights) -> result<line, problem>;
  find: func(caller: caller, id: uuid, after: option<cursor>) -> result<list<line>, problem>;
}
world plugin {
  import dinehub:platform/log@1.0.0;
  export api;
}";

const MANIFEST: &str = r#"id = "fuzz"
version = "1.0.0"
description = "Fuzzed."
authors = ["somebody"]
wasi = ["io"]
[files.shelf]
bytes_max = 10
[secret.key]
uses = ["sign"]
[constraint."line.count"]
min = 1
max = 9
[[route]]
method = "GET"
path = "/things/{id}"
function = "find"
roles = ["USER"]
[[route]]
method = "POST"
path = "/things"
function = "draw"
anonymous = true
status = 201
"#;

fn whole() -> &'static Parts {
    static WHOLE: OnceLock<Parts> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let mut resolve = Resolve::default();
        resolve.push_source("platform.wit", PLATFORM_WIT).expect("the platform's WIT");
        let package = resolve.push_source("fuzz.wit", WIT).expect("WIT");
        let world = resolve.select_world(&[package], Some("plugin")).expect("a world");
        let mut module = wit_component::dummy_module(&resolve, world, ManglingAndAbi::Standard32);
        wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("metadata");
        let mut encoder = ComponentEncoder::default().module(&module).expect("a module");
        let component = encoder.encode().expect("a component");
        let content = serde_json::json!({
            "statements": [], "wit": "", "catalog": Catalog::default(), "migrations": [], "docs": {"find": "Finds."}
        });
        let parts = Parts { component, manifest: MANIFEST, content: content.to_string() };
        let sealed = seal(&parts.component, parts.manifest, &parts.content).expect("it is whole");
        Candidate::read(Package::open("whole", sealed).expect("a package")).expect("a plugin");
        parts
    })
}

fn seal(component: &[u8], manifest: &str, content: &str) -> Option<Vec<u8>> {
    let content: Content = serde_json::from_str(content).ok()?;
    package::seal(component, manifest, &content).ok()
}

/// Puts `bytes` over what stands at `at`, `cut` bytes of it.
struct Edit<'a> {
    at: u16,
    cut: u8,
    bytes: &'a [u8],
}

impl<'a> Arbitrary<'a> for Edit<'a> {
    fn arbitrary(data: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self { at: u16::arbitrary(data)?, cut: u8::arbitrary(data)?, bytes: <&[u8]>::arbitrary(data)? })
    }
}

fn edited(whole: &[u8], edits: &[Edit<'_>]) -> Vec<u8> {
    let mut edited = whole.to_vec();
    for Edit { at, cut, bytes } in edits {
        let start = usize::from(*at) % (edited.len() + 1);
        let end = (start + usize::from(*cut)).min(edited.len());
        edited.splice(start..end, bytes.iter().copied());
    }
    edited
}

pub(crate) fn mutant(data: &[u8]) {
    let mut data = Unstructured::new(data);
    let Ok(part) = u8::arbitrary(&mut data) else { return };
    let Ok(edits) = Vec::<Edit<'_>>::arbitrary_take_rest(data) else { return };
    let Parts { component, manifest, content } = whole();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let sealed = match part % 4 {
        0 => seal(&edited(component, &edits), manifest, content),
        1 => seal(component, &text(edited(manifest.as_bytes(), &edits)), content),
        2 => seal(component, manifest, &text(edited(content.as_bytes(), &edits))),
        _ => seal(component, manifest, content).map(|whole| edited(&whole, &edits)),
    };
    if let Some(sealed) = sealed {
        admit(sealed);
    }
}
