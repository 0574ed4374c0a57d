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
/// Its own two sections, in bytes; looked at before anything in them is read.
pub const MANIFEST_BYTES_MAX: usize = 64 << 10;
pub const CONTENT_BYTES_MAX: usize = 4 << 20;
/// Every other outermost custom section together, in bytes, and how many there may be.
pub const CUSTOM_BYTES_MAX: usize = 1 << 20;
pub const CUSTOM_MAX: usize = 64;
/// The text of the handles' WIT, of one statement and of one migration, in bytes.
pub const WIT_BYTES_MAX: usize = 256 << 10;
pub const STATEMENT_BYTES_MAX: usize = 32 << 10;
pub const MIGRATION_BYTES_MAX: usize = 256 << 10;
/// How many there may be of each.
pub const STATEMENTS_MAX: usize = 500;
pub const MIGRATIONS_MAX: usize = 500;
pub const ROUTES_MAX: usize = 500;

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
        let (manifest, content) = (section(MANIFEST)?, section(CONTENT)?);
        within(place, format!("section `{MANIFEST}`"), manifest.len(), MANIFEST_BYTES_MAX, "bytes")?;
        within(place, format!("section `{CONTENT}`"), content.len(), CONTENT_BYTES_MAX, "bytes")?;
        let manifest = std::str::from_utf8(manifest).map_err(Fault::at(place))?;
        let manifest = Manifest::parse(&format!("{place}: plugin.toml"), manifest)?;
        within(place, "plugin.toml".to_owned(), manifest.routes.len(), ROUTES_MAX, "routes")?;
        let content = serde_json::from_slice(content).map_err(Fault::at(format!("{place}: {CONTENT}")))?;
        ensure_small(place, &content)?;
        let digest = hex::encode(Sha256::digest(&bytes));
        Ok(Self { manifest, content, digest, bytes })
    }
}

fn within(place: &str, what: String, found: usize, max: usize, unit: &str) -> Setup<()> {
    if found <= max {
        return Ok(());
    }
    Err(Fault::new(format!("{place}: {what}"), format!("has {found} {unit}; at most {max} are read")))
}

/// Before a word of it is parsed as WIT or SQL.
fn ensure_small(place: &str, content: &Content) -> Setup<()> {
    within(place, "WIT of its handles".to_owned(), content.wit.len(), WIT_BYTES_MAX, "bytes")?;
    within(place, "queries/".to_owned(), content.statements.len(), STATEMENTS_MAX, "statements")?;
    within(place, "migrations/".to_owned(), content.migrations.len(), MIGRATIONS_MAX, "files")?;
    for Statement { handle, name, text, .. } in &content.statements {
        within(place, format!("statement {handle}/{name}"), text.len(), STATEMENT_BYTES_MAX, "bytes")?;
    }
    for Migration { name, text } in &content.migrations {
        within(place, format!("migrations/{name}"), text.len(), MIGRATION_BYTES_MAX, "bytes")?;
    }
    Ok(())
}

/// The outermost custom sections; one of ours that appears twice could mean two things.
fn sections<'b>(place: &str, bytes: &'b [u8]) -> Setup<BTreeMap<String, &'b [u8]>> {
    let mut found = BTreeMap::new();
    let (mut depth, mut others, mut others_bytes) = (0_u32, 0, 0);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| Fault::new(place, format!("is no component: {error}")))? {
            Payload::Version { encoding: wasmparser::Encoding::Module, .. } if depth == 0 => {
                return Err(
                    Fault::new(place, "is a core module, not a component").fix("build it with `dinehub plugin build`")
                );
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 0 => {
                let is_ours = section.name().starts_with("dinehub:");
                if is_ours && found.insert(section.name().to_owned(), section.data()).is_some() {
                    return Err(Fault::new(place, format!("has section `{}` twice", section.name())));
                }
                if !is_ours {
                    others += 1;
                    others_bytes += section.name().len() + section.data().len();
                    within(place, "custom sections".to_owned(), others, CUSTOM_MAX, "sections")?;
                    within(place, "custom sections".to_owned(), others_bytes, CUSTOM_BYTES_MAX, "bytes")?;
                }
            }
            _ => {}
        }
    }
    Ok(found)
}
