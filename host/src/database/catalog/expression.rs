//! The expressions of a schema: defaults, generated columns, checks, indexes, policies. They run inside every statement
//! that touches the table, so they pass the same allow-list as statements do.

use super::{Command, Policy};
use crate::{
    database::{
        privilege::{
            ask::{Place, ask},
            lexicon::Lexicon,
        },
        session::Session,
        statement::Ask,
        tree::Value,
    },
    error::{Fault, Setup},
};

/// Every stored expression outside policies, with what it belongs to.
const EXPRESSIONS: &str = "
    select 'default of ' || c.relname || '.' || a.attname, d.adbin::text
      from pg_catalog.pg_attrdef d join pg_catalog.pg_class c on c.oid = d.adrelid
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        join pg_catalog.pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum where n.nspname = $1
    union all select 'constraint ' || k.conname, k.conbin::text
      from pg_catalog.pg_constraint k join pg_catalog.pg_namespace n on n.oid = k.connamespace
      where n.nspname = $1 and k.conbin is not null
    union all select 'index ' || c.relname, e.tree
      from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace,
        lateral (values (i.indexprs::text), (i.indpred::text)) e(tree) where n.nspname = $1 and e.tree is not null";

const POLICIES: &str = "
    select c.relname::text, p.polname::text, p.polcmd::text, p.polpermissive, p.polqual::text, p.polwithcheck::text,
      pg_catalog.pg_get_expr(p.polqual, p.polrelid), pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)
    from pg_catalog.pg_policy p join pg_catalog.pg_class c on c.oid = p.polrelid
      join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $1 order by c.relname, p.polname";

/// Refuses what is not on the allow-list.
pub(super) async fn ensure_allowed(session: &Session, lexicon: &Lexicon) -> Setup<()> {
    let rows = session.query(EXPRESSIONS, &[&lexicon.schema]).await.map_err(session.fault())?;
    for row in rows {
        let name = format!("schema {}: {}", lexicon.schema, row.get::<_, &str>(0));
        let tree = Value::read(row.get(1)).map_err(Fault::at(&name))?;
        ask(&tree, Place::Schema, lexicon, &name)?;
    }
    Ok(())
}

/// The policies by `schema.table`, each on the allow-list and in the form that runs once a query.
pub(super) async fn policies(session: &Session, lexicon: &Lexicon) -> Setup<Vec<(String, Policy)>> {
    let rows = session.query(POLICIES, &[&lexicon.schema]).await.map_err(session.fault())?;
    let mut policies = Vec::new();
    for row in rows {
        let (table, name): (&str, String) = (row.get(0), row.get(1));
        let place = format!("schema {}: policy {name} on {table}", lexicon.schema);
        let command = match row.get::<_, &str>(2) {
            "r" => Command::Select,
            "a" => Command::Insert,
            "w" => Command::Update,
            "d" => Command::Delete,
            _ => Command::All,
        };
        let mut wanted = Ask::default();
        let mut open = false;
        for stored in [row.get::<_, Option<&str>>(4), row.get(5)].into_iter().flatten() {
            let tree = Value::read(stored).map_err(Fault::at(&place))?;
            let part = ask(&tree, Place::Policy, lexicon, &place)?;
            open |= part.relations.is_empty() && !part.functions.iter().any(|f| f.starts_with("platform."));
            wanted.merge(&part);
        }
        let policy =
            Policy { name, command, permissive: row.get(3), using: row.get(6), check: row.get(7), open, ask: wanted };
        policies.push((format!("{}.{table}", lexicon.schema), policy));
    }
    Ok(policies)
}
