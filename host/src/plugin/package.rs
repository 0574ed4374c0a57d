//! The artefact: one `.wasm` file that holds everything a reviewer and a host need. The component, and in custom sections
//! its manifest, its bound statements, its migrations and its documentation. One digest covers all of it.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wasm_encoder::{CustomSection, Encode as _, Section as _};
use wasmparser::{Parser, Payload};

use super::manifest::Manifest;
use crate::{
    database::{catalog::Catalog, migrate::Migration, statement::Statement},
    error::{Fault, Setup},
};

/// No artefact may be larger, in bytes.
pub const BYTES_MAX: usize = 24 << 20;

const MANIFEST: &str = "dinehub:manifest";
const CONTENT: &str = "dinehub:content";

/// What travels beside the component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// Every statement behind the plugin's own handles.
    pub statements: Vec<Statement>,
    /// The WIT of those handles, as `plugin bind` wrote it.
    pub wit: String,
    /// What those handles may not go around: tables, policies, cascades.
    pub catalog: Catalog,
    /// In the order in which they run.
    pub migrations: Vec<Migration>,
    /// Doc comments of the WIT, which do not survive in the binary: by `function`, `record` or `record.field`.
    pub docs: BTreeMap<String, String>,
}

/// An artefact that was read. Nothing in it is trusted before it was admitted.
#[derive(Clone, Debug)]
pub struct Package {
    pub manifest: Manifest,
    pub content: Content,
    /// Hex SHA-256 of the whole file.
    pub digest: String,
    pub bytes: Vec<u8>,
}

/// Adds the sections to a component.
pub fn seal(component: &[u8], manifest: &str, content: &Content) -> Setup<Vec<u8>> {
    let content = serde_json::to_vec(content).map_err(Fault::at(CONTENT))?;
    let mut bytes = component.to_vec();
    for (name, data) in [(MANIFEST, manifest.as_bytes()), (CONTENT, &content)] {
        let section = CustomSection { name: Cow::Borrowed(name), data: Cow::Borrowed(data) };
        bytes.push(section.id());
        section.encode(&mut bytes);
    }
    Ok(bytes)
}

impl Package {
    /// Reads an artefact; `place` is named in faults.
    pub fn open(place: &str, bytes: Vec<u8>) -> Setup<Self> {
        if bytes.len() > BYTES_MAX {
            return Err(Fault::new(place, format!("is {} bytes; at most {BYTES_MAX} are read", bytes.len())));
        }
        let sections = sections(place, &bytes)?;
        let section = |name: &str| {
            sections.get(name).copied().ok_or_else(|| {
                Fault::new(place, format!("has no section `{name}`")).fix("build it with `dinehub plugin build`")
            })
        };
        let manifest = std::str::from_utf8(section(MANIFEST)?).map_err(Fault::at(place))?;
        let manifest = Manifest::parse(&format!("{place}: plugin.toml"), manifest)?;
        let content = serde_json::from_slice(section(CONTENT)?).map_err(Fault::at(format!("{place}: {CONTENT}")))?;
        let digest = hex::encode(Sha256::digest(&bytes));
        Ok(Self { manifest, content, digest, bytes })
    }
}

/// The outermost custom sections; one of ours that appears twice could mean two things.
fn sections<'b>(place: &str, bytes: &'b [u8]) -> Setup<BTreeMap<String, &'b [u8]>> {
    let mut found = BTreeMap::new();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| Fault::new(place, format!("is no component: {error}")))? {
            Payload::Version { encoding: wasmparser::Encoding::Module, .. } if depth == 0 => {
                return Err(
                    Fault::new(place, "is a core module, not a component").fix("build it with `dinehub plugin build`")
                );
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section)
                if depth == 0
                    && section.name().starts_with("dinehub:")
                    && found.insert(section.name().to_owned(), section.data()).is_some() =>
            {
                return Err(Fault::new(place, format!("has section `{}` twice", section.name())));
            }
            _ => {}
        }
    }
    Ok(found)
}
