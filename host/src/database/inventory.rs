//! Everything that stands in a schema, each object with PostgreSQL's own words for it, so that two schemas can be
//! compared whatever was done to them: what is missing, what was added, what was changed.
//!
//! What a plugin's migrations make is written down when the plugin is built and sealed into its artefact
//! ([`super::catalog::Catalog::objects`]); what the host's own make stands in `migrations/schema.txt` ([`super::own`]).
//! [`differences`] compares such a list with what [`read`] finds. Objects that hold no rows (policies, constraints,
//! indexes, functions, triggers, views) can be made again or dropped; tables and columns are left to a person.

mod owner;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use self::{
    owner::{Owner, belongings, owners},
    text::{parse, render},
};
use super::{drift::Difference, session::Session};
use crate::error::Setup;

/// What sort of object it is; the order is that in which missing ones are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Type,
    Table,
    Sequence,
    Column,
    Function,
    Constraint,
    Index,
    View,
    MaterializedView,
    /// Row level security of a table: enabled, and forced upon its owner.
    Protection,
    Policy,
    Trigger,
    /// A trigger of PostgreSQL's own, behind a foreign key, that somebody switched off.
    DisabledTrigger,
    Rule,
    /// Whatever else stands in a schema: an operator, a collation, statistics.
    Object,
}

const WORDS: [(Kind, &str); 15] = [
    (Kind::Type, "type"),
    (Kind::Table, "table"),
    (Kind::Sequence, "sequence"),
    (Kind::Column, "column"),
    (Kind::Function, "function"),
    (Kind::Constraint, "constraint"),
    (Kind::Index, "index"),
    (Kind::View, "view"),
    (Kind::MaterializedView, "materialized view"),
    (Kind::Protection, "protection"),
    (Kind::Policy, "policy"),
    (Kind::Trigger, "trigger"),
    (Kind::DisabledTrigger, "disabled trigger"),
    (Kind::Rule, "rule"),
    (Kind::Object, "object"),
];

impl Kind {
    /// As SQL says it, where SQL has a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        WORDS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, word)| word)
    }

    fn of(word: &str) -> Option<Self> {
        WORDS.iter().find(|(_, known)| *known == word).map(|(kind, _)| *kind)
    }
}

/// One object. Names are quoted where SQL needs it, and carry their schema unless they belong to a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Object {
    pub kind: Kind,
    /// The table it belongs to; empty for what stands alone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub on: String,
    pub name: String,
    /// All that can be said of it, as PostgreSQL prints it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub definition: String,
}

impl Object {
    /// `policy own on ordering.purchase`
    #[must_use]
    pub fn title(&self) -> String {
        let Self { kind, on, name, .. } = self;
        let name = [kind.word(), name].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        if on.is_empty() { name } else { format!("{name} on {on}") }
    }

    fn key(&self) -> (Kind, &str, &str) {
        (self.kind, &self.on, &self.name)
    }

    /// The SQL that makes it, where nothing is lost.
    fn creation(&self) -> Option<String> {
        let Self { kind, on, name, definition } = self;
        match kind {
            Kind::Policy => Some(format!("create policy {name} on {on} {definition}")),
            Kind::Constraint => Some(format!("alter table {on} add constraint {name} {definition}")),
            Kind::Index | Kind::Function => Some(definition.clone()),
            Kind::Protection if definition == "enabled, forced" => {
                Some(format!("alter table {on} enable row level security, force row level security"))
            }
            _ => None,
        }
    }

    /// The SQL that removes it, where no rows go with it.
    fn removal(&self) -> Option<String> {
        let Self { kind, on, name, .. } = self;
        match kind {
            Kind::Policy | Kind::Trigger | Kind::Rule => Some(format!("drop {} {name} on {on}", kind.word())),
            Kind::Constraint => Some(format!("alter table {on} drop constraint {name}")),
            Kind::Function => Some(format!("drop routine {name}")),
            Kind::Index | Kind::View | Kind::MaterializedView | Kind::Type => {
                Some(format!("drop {} {name}", kind.word()))
            }
            Kind::DisabledTrigger => Some(format!("alter table {on} enable trigger {name}")),
            Kind::Table | Kind::Sequence | Kind::Column | Kind::Protection | Kind::Object => None,
        }
    }
}

/// Reads what stands in these schemas. Any login may.
pub async fn read(session: &Session, schemas: &[&str]) -> Setup<BTreeSet<Object>> {
    let rows = session.query(include_str!("inventory/objects.sql"), &[&schemas]).await.map_err(session.fault())?;
    let object = |row: &tokio_postgres::Row| {
        let kind = Kind::of(row.get(0))?;
        Some(Object { kind, on: row.get(1), name: row.get(2), definition: text::trimmed(row.get(3)) })
    };
    Ok(rows.iter().filter_map(object).collect())
}

/// Every difference, in the order in which the repairs can run.
#[must_use]
pub fn differences(wanted: &BTreeSet<Object>, found: &BTreeSet<Object>) -> Vec<Difference> {
    let known: BTreeMap<_, &Object> = found.iter().map(|object| (object.key(), object)).collect();
    let asked: BTreeSet<_> = wanted.iter().map(Object::key).collect();
    let tables = |all: &BTreeSet<Object>| -> BTreeSet<String> {
        all.iter().filter(|one| one.kind == Kind::Table).map(|one| one.name.clone()).collect()
    };
    // What belongs to a table that is missing, or to one that should not be there, goes with it.
    let (wanted_tables, found_tables) = (tables(wanted), tables(found));
    let belongs = |one: &Object, tables: &BTreeSet<String>| one.on.is_empty() || tables.contains(&one.on);
    let mut differences = Vec::new();
    // Backwards: what hangs on another object goes before it.
    for extra in found.iter().rev().filter(|one| !asked.contains(&one.key())) {
        if belongs(extra, &wanted_tables) {
            differences.push(too_much(extra));
        }
    }
    for object in wanted.iter().filter(|one| belongs(one, &found_tables)) {
        match known.get(&object.key()) {
            None => differences.push(missing(object)),
            Some(there) if there.definition != object.definition => differences.push(changed(object, there)),
            Some(_) => {}
        }
    }
    differences
}

fn too_much(extra: &Object) -> Difference {
    let title = extra.title();
    let what = match extra.kind {
        Kind::DisabledTrigger => format!("{title}: somebody switched it off"),
        _ => format!("{title} is made by no migration"),
    };
    match extra.removal() {
        Some(sql) => Difference::take(what, sql),
        None => Difference::hand(what, "it may hold data: find out who made it, keep what matters, and drop it"),
    }
}

fn missing(object: &Object) -> Difference {
    let what = format!("{} is missing", object.title());
    match object.creation() {
        Some(sql) => Difference::give(what, sql),
        None => Difference::hand(what, "a migration made it, with its data: restore it from a backup"),
    }
}

fn changed(object: &Object, there: &Object) -> Difference {
    let shown = |text: &str| {
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.is_empty() { "plain".to_owned() } else { line }
    };
    let what = match object.kind {
        Kind::Function => format!("{} has another body than the migrations give it", object.title()),
        _ => format!("{} is `{}`, wanted `{}`", object.title(), shown(&there.definition), shown(&object.definition)),
    };
    match (object.kind, object.creation(), there.removal()) {
        (Kind::Function | Kind::Protection, Some(create), _) => Difference::give(what, create),
        (_, Some(create), Some(remove)) => Difference::give(what, format!("{remove};\n{create}")),
        _ => Difference::hand(what, "a migration made it: change it back by hand, or restore it from a backup"),
    }
}
