//! The tables of a tree: the permissions that the executor will check, with their columns.

use std::collections::BTreeSet;

use super::{super::lexicon::Relation, Place, Walk};
use crate::{
    database::{
        statement::{Ask, Privileges},
        tree::{Node, Value},
    },
    error::Setup,
};

/// Column numbers in a bit set are shifted by this: `FirstLowInvalidHeapAttributeNumber` is -7.
const COLUMN_SHIFT: i64 = 7;
/// `AclMode` bits.
const INSERT: i64 = 1;
const SELECT: i64 = 2;
const UPDATE: i64 = 4;
const DELETE: i64 = 8;

impl Walk<'_> {
    /// An entry of FROM. In PostgreSQL 16 the permissions move to nodes `RTEPERMISSIONINFO` with the same fields: list
    /// that kind in `allow` and call [`Self::permissions`] for it too.
    pub(super) fn range(&mut self, node: &Node) -> Setup<()> {
        match node.number("rtekind") {
            Some(0) => self.permissions(node),
            Some(3) => node.get("functions").items().iter().try_for_each(|function| {
                let called =
                    function.node().and_then(|f| f.get("funcexpr").kind("FUNCEXPR")).and_then(|f| f.oid("funcid"));
                match called.and_then(|oid| self.lexicon.function(oid)) {
                    Some(f) if f.schema == "pg_catalog" && f.name == "unnest" => Ok(()),
                    Some(f) => {
                        Err(self.refuse(format!("uses {} as a table", f.full()), "only `unnest` may stand in FROM"))
                    }
                    None => Err(self.refuse("uses an expression as a table", "only `unnest` may stand in FROM")),
                }
            }),
            Some(6) if node.is("self_reference") => {
                Err(self.refuse("uses WITH RECURSIVE", "join a fixed number of times"))
            }
            Some(1 | 2 | 5 | 6 | 8) => Ok(()),
            _ => {
                Err(self
                    .refuse("reads from something that is neither table, subquery, values nor unnest", "name a table"))
            }
        }
    }

    fn permissions(&mut self, node: &Node) -> Setup<()> {
        let lexicon = self.lexicon;
        let oid = node.oid("relid").unwrap_or_default();
        let Some(relation) = lexicon.relation(oid) else {
            return Err(
                self.refuse(format!("reads a table with the unknown oid {oid}"), "name a table of the own schema")
            );
        };
        let full = relation.full();
        if self.place == Place::Schema {
            return Err(self.refuse(format!("reads {full}"), "an expression of the schema sees its own row only"));
        }
        if relation.schema != lexicon.schema {
            let fix = match relation.schema.as_str() {
                "pg_catalog" | "information_schema" => "catalogs are closed to plugins".to_owned(),
                other => format!("import an interface that the plugin `{other}` exports, and call it"),
            };
            return Err(self.refuse(format!("uses {full}, outside its own schema `{}`", lexicon.schema), fix));
        }
        if relation.class != 'r' {
            return Err(self.refuse(format!("uses {full}, which is not a plain table"), "name a table"));
        }
        if node.number("checkAsUser") != Some(0) {
            return Err(self.refuse(format!("uses {full} with another role's rights"), "name the table itself"));
        }
        let bits = node.number("requiredPerms").unwrap_or(i64::MAX);
        if bits & !(INSERT | SELECT | UPDATE | DELETE) != 0 {
            return Err(self.refuse(format!("asks an unknown privilege ({bits}) on {full}"), "write plain SQL"));
        }
        let select = self.columns(relation, node.get("selectedCols"))?;
        let insert = self.columns(relation, node.get("insertedCols"))?;
        let update = self.columns(relation, node.get("updatedCols"))?;
        if bits & SELECT != 0 && select.is_empty() {
            self.any_select.insert(oid);
        }
        let mut privileges = Privileges { select, insert, update, delete: bits & DELETE != 0 };
        if bits & INSERT != 0 && privileges.insert.is_empty() {
            // `default values`: PostgreSQL wants the right to insert some column.
            privileges.insert.extend(first_column(relation));
        }
        let mut more = Ask::default();
        more.relations.insert(full, privileges);
        self.ask.merge(&more);
        Ok(())
    }

    fn columns(&self, relation: &Relation, value: &Value) -> Setup<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        for bit in value.numbers() {
            let number = bit - COLUMN_SHIFT;
            if number == 0 {
                return Err(self.refuse(format!("uses a whole row of {}", relation.full()), "name the columns"));
            }
            let column = i16::try_from(number).ok().and_then(|n| relation.columns.get(&n));
            let Some(column) = column else {
                return Err(
                    self.refuse(format!("uses a system column of {}", relation.full()), "name a column of the table")
                );
            };
            names.insert(column.name.clone());
        }
        Ok(names)
    }

    /// `count(*)` needs the right to select some column; any that is asked anyway will do.
    pub(super) fn choose_columns(&mut self) -> Setup<()> {
        for oid in &self.any_select {
            if let Some(relation) = self.lexicon.relation(*oid) {
                let privileges = self.ask.relations.entry(relation.full()).or_default();
                if privileges.select.is_empty() {
                    privileges.select.extend(first_column(relation));
                }
            }
        }
        Ok(())
    }
}

fn first_column(relation: &Relation) -> Option<String> {
    relation.columns.values().next().map(|column| column.name.clone())
}
