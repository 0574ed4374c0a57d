//! `plugins/grants.lock`: what every plugin may do, line by line, in the words that reviewers read, compare and sign.
//!
//! A block is computed from an artefact alone, so two people get the same block from the same file. One line is one
//! thing a plugin can do: `column: update ordering.customer_order.state`. Blocks are compared line by line, and a line
//! that nobody approved is what a host refuses by.

mod kept;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use semver::Version;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use self::kept::Kept;
use super::{
    admit::{Candidate, Import},
    package::Package,
};
use crate::{
    access::policy::Rule,
    capability::handle::Handle,
    database::{
        catalog::{Catalog, Policy},
        statement::Ask,
    },
    error::{Fault, Setup},
    id::PluginId,
};

/// The one format this host reads.
const FORMAT: u32 = 1;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    format: u32,
    #[serde(default, rename = "plugin")]
    blocks: Vec<Block>,
}

/// Everything one plugin may do, and who said so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    pub id: PluginId,
    pub version: Version,
    /// Counts the approvals of this plugin, so that an older block cannot come back unnoticed.
    pub generation: u64,
    /// Hex SHA-256 of the artefact.
    pub digest: String,
    /// Who wrote it: none of them may approve it.
    pub authors: BTreeSet<String>,
    pub grants: BTreeMap<Kind, BTreeSet<String>>,
    /// Older artefacts that stay approved, until the next approval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Kept>,
    /// Signatures of everything above.
    #[serde(default, rename = "approval", skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Approval>,
}

/// One reviewer's word for one block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// By the name in `plugins/reviewers.toml`.
    pub reviewer: String,
    /// The day, in UTC: `2026-11-24`.
    pub on: String,
    /// Ed25519 (RFC 8032), in base64.
    pub signature: String,
}

/// What a line is about, in the order in which reviewers read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A function that the component imports, with its whole signature.
    Import,
    /// A function that it offers to other plugins.
    Offer,
    /// A role that may call a route.
    Route,
    /// A pinned statement, by the hash of its SQL.
    Statement,
    /// A column, or for `delete` a table.
    Column,
    /// A function, operator or cast of PostgreSQL that statements use.
    Function,
    /// Which rows its logins see and write.
    Policy,
    /// A foreign key that changes rows past their policies.
    Cascade,
    /// A migration, by the hash of its SQL.
    Migration,
    /// A handle that is declared: a secret and its use, a directory.
    Handle,
    /// An event that it publishes, or a function by which it is told of another's.
    Event,
    /// A function that the host calls, and when.
    Schedule,
    /// What becomes of what it keeps about people.
    Privacy,
    Limit,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Import => "import",
            Self::Offer => "offer",
            Self::Route => "route",
            Self::Statement => "statement",
            Self::Column => "column",
            Self::Function => "function",
            Self::Policy => "policy",
            Self::Cascade => "cascade",
            Self::Migration => "migration",
            Self::Handle => "handle",
            Self::Event => "event",
            Self::Schedule => "schedule",
            Self::Privacy => "privacy",
            Self::Limit => "limit",
        })
    }
}

impl Block {
    /// What a candidate asks for, computed from its artefact; nobody approved it yet.
    #[must_use]
    pub fn of(candidate: &Candidate, imports: &BTreeMap<String, Import>) -> Self {
        let Package { manifest, content, digest, .. } = &candidate.package;
        let mut grants: BTreeMap<Kind, BTreeSet<String>> = BTreeMap::new();
        let mut add = |kind, lines: &mut dyn Iterator<Item = String>| grants.entry(kind).or_default().extend(lines);
        let functions = |name: &String| candidate.contract.imports.get(name).into_iter().flatten();
        for name in imports.keys() {
            add(
                Kind::Import,
                &mut functions(name).map(|(function, signature)| format!("{name} {function}: {signature}")),
            );
        }
        for (name, interface) in candidate.contract.offers() {
            add(
                Kind::Offer,
                &mut interface.iter().map(|(function, signature)| format!("{name} {function}: {signature}")),
            );
        }
        for route in &manifest.routes {
            let path = format!("{} {}{}", route.method.as_str(), manifest.prefix(), route.path);
            add(Kind::Route, &mut whos(&route.rule()).into_iter().map(|who| format!("{path} {who}")));
        }
        let mut ask = Ask::default();
        for statement in &content.statements {
            ask.merge(&statement.ask);
            let hash = hex::encode(Sha256::digest(&statement.text));
            add(Kind::Statement, &mut [format!("{}.{} sha256:{hash}", statement.handle, statement.name)].into_iter());
        }
        add(Kind::Column, &mut columns(&ask).into_iter());
        add(Kind::Function, &mut ask.functions.iter().cloned());
        add(Kind::Policy, &mut policies(&content.catalog).into_iter());
        add(Kind::Cascade, &mut content.catalog.cascades.iter().cloned());
        add(
            Kind::Migration,
            &mut content.migrations.iter().map(|file| format!("{} sha256:{}", file.name, file.sha256())),
        );
        let handles = manifest.declared().handles();
        add(Kind::Handle, &mut handles.iter().flat_map(Handle::lines));
        add(Kind::Handle, &mut manifest.wasi.iter().map(|bundle| format!("wasi {bundle}")));
        add(Kind::Event, &mut candidate.event_lines().into_iter());
        add(Kind::Schedule, &mut manifest.schedules.iter().map(|one| format!("{} {}", one.function, one.cron)));
        add(Kind::Privacy, &mut candidate.privacy_line().into_iter());
        add(Kind::Limit, &mut manifest.limits_listed().map(|(name, value)| format!("{name} {value}")));
        grants.retain(|_, lines| !lines.is_empty());
        Self {
            id: manifest.id.clone(),
            version: manifest.version.clone(),
            generation: 0,
            digest: digest.clone(),
            authors: manifest.authors.clone(),
            grants,
            kept: Vec::new(),
            approvals: Vec::new(),
        }
    }

    /// Every line with its kind.
    pub fn lines(&self) -> impl Iterator<Item = (Kind, &String)> {
        self.grants.iter().flat_map(|(kind, lines)| lines.iter().map(|line| (*kind, line)))
    }

    fn holds(&self, kind: Kind, line: &str) -> bool {
        self.grants.get(&kind).is_some_and(|lines| lines.contains(line))
    }

    fn limit(&self, name: &str) -> Option<u64> {
        let lines = self.grants.get(&Kind::Limit)?;
        lines.iter().find_map(|line| line.split_once(' ').filter(|(key, _)| *key == name)?.1.parse().ok())
    }

    /// Whether this block allows the line; a lower limit than the approved one is allowed.
    #[must_use]
    pub fn allows(&self, kind: Kind, line: &str) -> bool {
        if self.holds(kind, line) {
            return true;
        }
        let lower = |(name, value): (&str, &str)| Some(value.parse::<u64>().ok()? <= self.limit(name)?);
        kind == Kind::Limit && line.split_once(' ').and_then(lower) == Some(true)
    }

    /// What reviewers sign: the block without its approvals, in one canonical form.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        let bare = Self { approvals: Vec::new(), ..self.clone() };
        // Maps and sets are ordered, keys are strings: this cannot fail, and equal blocks are equal bytes.
        serde_json::to_vec(&bare).unwrap_or_default()
    }
}

/// One line that two blocks do not share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Change {
    pub kind: Kind,
    pub line: String,
    pub sign: Sign,
}

/// Which side has the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// Nobody approved it.
    Grown,
    /// It was approved and is not asked any more.
    Shrunk,
}

/// Every line that differs between what was approved (nothing, if `None`) and what is asked.
#[must_use]
pub fn compare(approved: Option<&Block>, asked: Option<&Block>) -> Vec<Change> {
    let beyond = |one: Option<&Block>, other: Option<&Block>, sign| -> Vec<Change> {
        let lines = one.into_iter().flat_map(Block::lines);
        let differing = lines.filter(|(kind, line)| {
            !other.is_some_and(|other| match sign {
                Sign::Grown => other.allows(*kind, line),
                Sign::Shrunk => other.holds(*kind, line),
            })
        });
        differing.map(|(kind, line)| Change { kind, line: line.clone(), sign }).collect()
    };
    let mut changes = beyond(asked, approved, Sign::Grown);
    changes.extend(beyond(approved, asked, Sign::Shrunk));
    changes.sort();
    changes
}

impl Default for Lock {
    fn default() -> Self {
        Self { format: FORMAT, blocks: Vec::new() }
    }
}

impl Lock {
    /// Reads a lock; `place` is named in faults.
    pub fn parse(place: &str, text: &str) -> Setup<Self> {
        let lock: Self = toml::from_str(text).map_err(|error| Fault::new(place, error.to_string()))?;
        if lock.format != FORMAT {
            return Err(Fault::new(place, format!("has format {}; this host reads format {FORMAT}", lock.format)));
        }
        let mut seen = BTreeSet::new();
        match lock.blocks.iter().find(|block| !seen.insert(&block.id)) {
            Some(twice) => Err(Fault::new(place, format!("has two blocks for {}", twice.id)).fix("keep the newer one")),
            None => Ok(lock),
        }
    }

    /// As it stands in the file.
    pub fn print(&self) -> Setup<String> {
        let text = toml::to_string_pretty(self).map_err(Fault::at("grants.lock"))?;
        Ok(format!(
            "# What reviewers approved, line by line. Written by `dinehub grants approve`: an edit voids the signatures.\n{text}"
        ))
    }

    /// The block of one plugin.
    #[must_use]
    pub fn find(&self, id: &PluginId) -> Option<&Block> {
        self.blocks.iter().find(|block| block.id == *id)
    }

    /// All blocks, by id.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.blocks.iter()
    }

    /// Puts a block in its place, instead of the plugin's former one.
    pub fn put(&mut self, block: Block) {
        self.remove(&block.id);
        self.blocks.push(block);
        self.blocks.sort_by(|one, other| one.id.cmp(&other.id));
    }

    /// Takes a plugin's block out; gives it, if there was one.
    pub fn remove(&mut self, id: &PluginId) -> Option<Block> {
        let at = self.blocks.iter().position(|block| block.id == *id)?;
        Some(self.blocks.remove(at))
    }
}

/// One entry per way in.
fn whos(rule: &Rule) -> Vec<String> {
    match rule {
        Rule::Anyone => vec!["anyone".to_owned()],
        Rule::Authenticated => vec!["any account".to_owned()],
        Rule::AnyOf(roles) => roles.iter().map(ToString::to_string).collect(),
    }
}

fn columns(ask: &Ask) -> Vec<String> {
    let mut lines = Vec::new();
    for (relation, held) in &ask.relations {
        for (verb, columns) in [("select", &held.select), ("insert", &held.insert), ("update", &held.update)] {
            lines.extend(columns.iter().map(|column| format!("{verb} {relation}.{column}")));
        }
        lines.extend(held.delete.then(|| format!("delete {relation}")));
    }
    lines
}

fn policies(catalog: &Catalog) -> Vec<String> {
    let all = catalog.tables.iter().flat_map(|(table, found)| found.policies.iter().map(move |policy| (table, policy)));
    all.map(|(table, policy)| format!("{table} {}", sentence(policy))).collect()
}

/// A policy in PostgreSQL's own words, on one line.
#[must_use]
pub fn sentence(policy: &Policy) -> String {
    let command = format!("{:?}", policy.command).to_lowercase();
    let kind = if policy.permissive { "" } else { " restrictive" };
    let part = |word: &str, expression: &Option<String>| {
        let flat = |text: &String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        expression.as_ref().map(|text| format!(" {word} {}", flat(text))).unwrap_or_default()
    };
    format!("{}{kind} for {command}{}{}", policy.name, part("using", &policy.using), part("check", &policy.check))
}
