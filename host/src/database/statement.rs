//! A statement that was bound: its text with `$1…`, its typed parameters and columns, and what it asks of the database.
//!
//! Made once by `plugin bind`, shipped in the component, proved again at admission, executed by [`super::guest`].

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// One `queries/<handle>/<name>.sql`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The folder, and the WIT interface: `orders`.
    pub handle: String,
    /// The file, and the WIT function, in snake case: `find_mine`.
    pub name: String,
    /// The first sentence of the header comment.
    pub purpose: String,
    /// The SQL that runs, with `$1…` for the named parameters; nothing else ever reaches PostgreSQL from a plugin.
    pub text: String,
    pub arity: Arity,
    /// In the order of `$1…`.
    pub params: Vec<Param>,
    pub columns: Vec<Column>,
    pub ask: Ask,
}

impl Statement {
    /// Whether its text begins as one of the commands that read and write rows, and so is one: the protocol that carries
    /// it takes a single command.
    #[must_use]
    pub fn is_data(&self) -> bool {
        let text = self.text.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '(');
        let word: String = text.chars().take_while(char::is_ascii_alphabetic).collect();
        ["select", "insert", "update", "delete", "with", "values"].iter().any(|data| word.eq_ignore_ascii_case(data))
    }
}

/// How many rows a statement may give, and so the shape of its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arity {
    /// A record; no row is the error `missing`.
    One,
    /// An optional record.
    Optional,
    /// A list of at most `rows_max` records.
    Many { rows_max: u32 },
    /// The number of rows written.
    Count,
}

/// A named parameter of the SQL text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Param {
    /// As written after the colon, in snake case.
    pub name: String,
    pub kind: Kind,
    /// Written `:name?`: the guest may pass none.
    pub nullable: bool,
    /// `:caller`: bound by the host to the caller's account id, and no part of the WIT signature.
    pub is_caller: bool,
}

/// A column of the result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The output name without its `!` or `?` mark.
    pub name: String,
    pub kind: Kind,
    pub nullable: bool,
}

/// The PostgreSQL types that cross the boundary; `wit/README.md` shows what each becomes in WIT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    Float8,
    /// `text` or `varchar`.
    Text,
    Uuid,
    /// `timestamptz`, microseconds; RFC 3339 in UTC on the guest's side.
    Timestamp,
    /// `date`, ISO 8601.
    Date,
    /// A PostgreSQL enum, by its unqualified name, with its labels in order.
    Enum {
        name: String,
        labels: Vec<String>,
    },
    /// A one-dimensional array without NULLs. Not nested.
    List(Box<Kind>),
}

/// What PostgreSQL says a statement needs: the whole of it, down to columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// By `schema.table`.
    pub relations: BTreeMap<String, Privileges>,
    /// Every function, operator's function, aggregate and cast, as `schema.name(argument types)`.
    pub functions: BTreeSet<String>,
}

/// Column privileges on one relation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Privileges {
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub select: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub insert: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub update: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub delete: bool,
}

impl Ask {
    /// Whether any relation is written.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.relations.values().any(|p| p.delete || !p.insert.is_empty() || !p.update.is_empty())
    }

    /// What both need together.
    pub fn merge(&mut self, other: &Self) {
        for (relation, theirs) in &other.relations {
            let mine = self.relations.entry(relation.clone()).or_default();
            mine.select.extend(theirs.select.iter().cloned());
            mine.insert.extend(theirs.insert.iter().cloned());
            mine.update.extend(theirs.update.iter().cloned());
            mine.delete |= theirs.delete;
        }
        self.functions.extend(other.functions.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_reads_and_writes_rows_is_data() {
        let statement = |text: &str| Statement {
            handle: String::new(),
            name: String::new(),
            purpose: String::new(),
            text: text.to_owned(),
            arity: Arity::Count,
            params: Vec::new(),
            columns: Vec::new(),
            ask: Ask::default(),
        };
        for data in
            ["select 1", "\n  (SELECT 1) union all select 2", "with x as (select 1) delete from y", "insert into x"]
        {
            assert!(statement(data).is_data(), "{data}");
        }
        for other in
            ["", "selects", "set role x", "-- select\nset role x", "/**/select", "declare c cursor for select 1"]
        {
            assert!(!statement(other).is_data(), "{other}");
        }
    }
}
