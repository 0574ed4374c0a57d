//! What a plugin's migrations made: tables, indexes, enums, constraints, policies, and nothing else.
//!
//! [`inspect`] looks at the schema as PostgreSQL stores it and refuses by name what could run code, reach around row
//! level security, or hold a row of any size (`object`, `expression`, `bound`). It runs on the migration's own
//! connection before the commit, so that nothing lasts that was not seen. What is legal but worth a reviewer's eye
//! (`using (true)`, ON DELETE CASCADE) is reported, not refused.

mod bound;
mod expression;
mod object;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    drift::Difference,
    inventory::{self, Object},
    privilege::lexicon::Lexicon,
    session::Session,
    statement::{Ask, Privileges},
};
use crate::{error::Setup, id::PluginId};

/// A plugin's schema, for `grants show`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// By `schema.table`.
    pub tables: BTreeMap<String, Table>,
    /// Enums by name, with their labels in order.
    pub enums: BTreeMap<String, Vec<String>>,
    /// Foreign keys that remove or change rows of another table, past its policies: one sentence each.
    pub cascades: Vec<String>,
    /// All of it again, in PostgreSQL's own words: what `db verify` finds the database to be, or not.
    pub objects: BTreeSet<Object>,
}

/// One table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Column names with their types, in the table's order.
    pub columns: Vec<(String, String)>,
    pub policies: Vec<Policy>,
}

/// One row level security policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    pub name: String,
    pub command: Command,
    pub permissive: bool,
    /// Which rows are seen, as PostgreSQL prints it.
    pub using: Option<String>,
    /// Which rows may be written.
    pub check: Option<String>,
    /// Asks for no caller: the rows are everybody's.
    pub open: bool,
    /// What the policy's own sub-selects need; the role that queries the table needs it too.
    pub ask: Ask,
}

/// What a policy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    All,
    Select,
    Insert,
    Update,
    Delete,
}

impl Command {
    /// Whether PostgreSQL applies such a policy to a statement with these privileges on the table.
    fn applies(self, privileges: &Privileges) -> bool {
        match self {
            Self::All => true,
            Self::Select => !privileges.select.is_empty(),
            Self::Insert => !privileges.insert.is_empty(),
            Self::Update => !privileges.update.is_empty(),
            Self::Delete => privileges.delete,
        }
    }
}

impl Catalog {
    /// Adds to a statement's ask what the policies of its tables ask, and the policies of those tables in turn.
    pub fn add_policies(&self, ask: &mut Ask) {
        loop {
            let before = ask.clone();
            for (name, privileges) in &before.relations {
                let policies = self.tables.get(name).map(|table| table.policies.as_slice()).unwrap_or_default();
                for policy in policies.iter().filter(|policy| policy.command.applies(privileges)) {
                    ask.merge(&policy.ask);
                }
            }
            if *ask == before {
                return;
            }
        }
    }

    /// The policies that let everybody through, one sentence each.
    #[must_use]
    pub fn open(&self) -> Vec<String> {
        let all = self.tables.iter().flat_map(|(table, t)| t.policies.iter().map(move |policy| (table, policy)));
        all.filter(|(_, policy)| policy.open)
            .map(|(table, policy)| format!("{table}: policy `{}` asks for no caller", policy.name))
            .collect()
    }
}

/// How much of the schema is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Between two migrations: nothing forbidden, but policies and limits may be still to come. No login holds a grant
    /// on such a schema, because only a whole one is admitted.
    Step,
    /// After the last one: every table protected, every column bounded.
    Whole,
}

/// Looks at the plugin's schema; refuses what may not be there. The session is the owner's or an admin's.
pub async fn inspect(session: &Session, id: &PluginId, stage: Stage) -> Setup<Catalog> {
    let schema = id.as_str();
    object::ensure_allowed(session, schema, stage).await?;
    let lexicon = Lexicon::read(session, schema).await?;
    expression::ensure_allowed(session, &lexicon).await?;
    if stage == Stage::Whole {
        bound::ensure_bounded(session, &lexicon).await?;
    }
    let policies = expression::policies(session, &lexicon).await?;
    describe(session, schema, policies).await
}

/// What may not be there, for a schema that stands already: every offender, with the way out.
pub async fn offenders(session: &Session, id: &PluginId) -> Setup<Vec<Difference>> {
    let offenders = object::offenders(session, id.as_str(), Stage::Whole).await?;
    Ok(offenders.into_iter().map(|fault| Difference::hand(fault.what(), "no migration made it: drop it")).collect())
}

const COLUMNS: &str = "select c.relname::text, a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod)
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where n.nspname = $1 and c.relkind = 'r' order by c.relname, a.attnum";
const ENUMS: &str = "select t.typname::text, pg_catalog.array_agg(e.enumlabel::text order by e.enumsortorder)
    from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
      join pg_catalog.pg_enum e on e.enumtypid = t.oid
    where n.nspname = $1 group by t.typname";
const CASCADES: &str =
    "select k.conname::text, c.relname::text, f.relname::text, k.confdeltype::text, k.confupdtype::text
    from pg_catalog.pg_constraint k join pg_catalog.pg_namespace n on n.oid = k.connamespace
      join pg_catalog.pg_class c on c.oid = k.conrelid join pg_catalog.pg_class f on f.oid = k.confrelid
    where n.nspname = $1 and k.contype = 'f' and (k.confdeltype not in ('a', 'r') or k.confupdtype not in ('a', 'r'))
    order by c.relname, k.conname";

async fn describe(session: &Session, schema: &str, policies: Vec<(String, Policy)>) -> Setup<Catalog> {
    let ask = async |sql: &str| session.query(sql, &[&schema]).await.map_err(session.fault());
    let mut catalog = Catalog { objects: inventory::read(session, &[schema]).await?, ..Catalog::default() };
    for row in ask(COLUMNS).await? {
        let table = catalog.tables.entry(format!("{schema}.{}", row.get::<_, &str>(0))).or_default();
        if let (Some(column), Some(kind)) = (row.get(1), row.get(2)) {
            table.columns.push((column, kind));
        }
    }
    for (table, policy) in policies {
        catalog.tables.entry(table).or_default().policies.push(policy);
    }
    for row in ask(ENUMS).await? {
        catalog.enums.insert(row.get(0), row.get(1));
    }
    for row in ask(CASCADES).await? {
        let (key, table, parent): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
        for (on, action) in [("deleting", row.get::<_, &str>(3)), ("changing the key", row.get(4))] {
            let effect = match action {
                "c" if on == "deleting" => "deletes",
                "c" | "n" | "d" => "changes",
                _ => continue,
            };
            catalog.cascades.push(format!(
                "{schema}.{table}: `{key}`: {on} in {schema}.{parent} {effect} rows here, past the policies"
            ));
        }
    }
    Ok(catalog)
}
