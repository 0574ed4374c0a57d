//! Artefacts that no build would make: real ones taken apart and sealed again, and components made from WIT alone.

use dinehub::{
    error::Setup,
    plugin::{
        admit::{Candidate, PLATFORM_WIT},
        package::{self, Content, Package},
    },
};
use harness::server::guests;
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::{ManglingAndAbi, Resolve, WorldId};

/// An artefact taken apart, to be changed and sealed again.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) component: Vec<u8>,
    pub(crate) manifest: String,
    pub(crate) content: Content,
}

impl Parts {
    pub(crate) fn of(package: &Package) -> Self {
        let manifest = section(&package.bytes, "dinehub:manifest");
        let manifest = String::from_utf8(manifest.to_vec()).unwrap();
        let sealed = package::seal(&[], &manifest, &package.content).unwrap();
        let component = package.bytes.strip_suffix(sealed.as_slice()).expect("sealing is deterministic").to_vec();
        Self { component, manifest, content: package.content.clone() }
    }

    /// A component made from WIT alone, without statements; none of its functions does anything.
    pub(crate) fn of_wit(id: &str, wit: &str, manifest: &str) -> Self {
        Self::of_wit_with(&[], id, wit, manifest)
    }

    /// The same, with the WIT of more packages before it.
    pub(crate) fn of_wit_with(others: &[(&str, String)], id: &str, wit: &str, manifest: &str) -> Self {
        let (resolve, world) = resolve(others, wit);
        let module = wit_component::dummy_module(&resolve, world, ManglingAndAbi::Standard32);
        Self::around(others, id, module, wit, manifest)
    }

    /// The same around a core module that somebody wrote by hand.
    pub(crate) fn of_module(id: &str, module: Vec<u8>, wit: &str, manifest: &str) -> Self {
        Self::around(&[], id, module, wit, manifest)
    }

    fn around(others: &[(&str, String)], id: &str, module: Vec<u8>, wit: &str, manifest: &str) -> Self {
        let empty = serde_json::json!({
            "statements": [], "wit": "", "catalog": dinehub::database::catalog::Catalog::default(),
            "migrations": [], "docs": {}
        });
        let manifest = format!("id = \"{id}\"\nversion = \"1.0.0\"\ndescription = \"A test.\"\n{manifest}");
        Self { component: component(others, module, wit), manifest, content: serde_json::from_value(empty).unwrap() }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        package::seal(&self.component, &self.manifest, &self.content).unwrap()
    }

    pub(crate) fn package(&self) -> Setup<Package> {
        Package::open("test.wasm", self.bytes())
    }

    pub(crate) fn candidate(&self) -> Setup<Candidate> {
        Candidate::read(self.package()?)
    }
}

fn section<'b>(bytes: &'b [u8], name: &str) -> &'b [u8] {
    let sections = Parser::new(0).parse_all(bytes).filter_map(|payload| match payload.unwrap() {
        Payload::CustomSection(section) if section.name() == name => Some(section.data()),
        _ => None,
    });
    sections.last().unwrap()
}

fn resolve(others: &[(&str, String)], wit: &str) -> (Resolve, WorldId) {
    let mut resolve = Resolve::default();
    resolve.push_source("platform.wit", PLATFORM_WIT).unwrap();
    for (name, text) in others {
        resolve.push_source(name, text).unwrap();
    }
    let package = resolve.push_source("plugin.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some("plugin")).unwrap();
    (resolve, world)
}

fn component(others: &[(&str, String)], mut module: Vec<u8>, wit: &str) -> Vec<u8> {
    let (resolve, world) = resolve(others, wit);
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

/// A world with `api` of these functions and these imports.
pub(crate) fn world(id: &str, functions: &str, imports: &str) -> String {
    format!(
        "package dinehub:{id}@1.0.0;
         interface api {{ use dinehub:platform/types@1.0.0.{{caller, problem}}; {functions} }}
         {imports}
         export api; }}"
    )
}

/// One of the hostile guests, taken apart.
pub(crate) async fn guest(name: &str) -> Parts {
    Parts::of(&guests(&[name]).await[0])
}
