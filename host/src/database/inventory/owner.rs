//! Who owns what stands in a schema: an owner may do anything with it, whatever was granted.

use super::super::{
    drift::Difference,
    session::{Session, identifier},
};
use crate::error::Setup;

/// Who should own a schema and all that is in it.
#[derive(Clone, Copy, Debug)]
pub enum Owner<'a> {
    /// This role.
    Role(&'a str),
    /// A superuser, or the login that migrates.
    Admin(&'a str),
}

impl Owner<'_> {
    fn is(&self, role: &str, is_superuser: bool) -> bool {
        match self {
            Self::Role(name) => role == *name,
            Self::Admin(name) => is_superuser || role == *name,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Role(name) | Self::Admin(name) => name,
        }
    }
}

/// What can have an owner of its own: the word that ALTER uses, its name, the owner, whether that is a superuser.
const OWNERS: &str = "
    select o.word, o.name, r.rolname::text, r.rolsuper from (
      select 'schema' as word, pg_catalog.format('%I', n.nspname) as name, n.nspowner as owner
        from pg_catalog.pg_namespace n where n.nspname = $1
      union all select 'table', pg_catalog.format('%I.%I', n.nspname, c.relname), c.relowner
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and (c.relkind in ('r', 'p', 'f', 'v', 'm') or (c.relkind = 'S' and not exists (
          select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
            and d.objid = c.oid and d.deptype in ('i', 'a'))))
      union all select 'routine', pg_catalog.format('%I.%I(%s)', n.nspname, p.proname,
          pg_catalog.pg_get_function_identity_arguments(p.oid)), p.proowner
        from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace where n.nspname = $1
      union all select 'type', pg_catalog.format('%I.%I', n.nspname, t.typname), t.typowner
        from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
        where n.nspname = $1 and t.typtype in ('e', 'd')) o
    join pg_catalog.pg_roles r on r.oid = o.owner order by 1, 2";

/// Whatever in `schema` is not its owner's.
pub async fn owners(session: &Session, schema: &str, owner: Owner<'_>) -> Setup<Vec<Difference>> {
    let rows = session.query(OWNERS, &[&schema]).await.map_err(session.fault())?;
    let mut differences = Vec::new();
    for row in rows {
        let (word, name, role): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
        if !owner.is(role, row.get(3)) {
            let what = format!("{word} {name} is owned by {role}, not by {}", owner.name());
            let sql = format!("alter {word} {name} owner to {}", identifier(owner.name()));
            differences.push(Difference::take(what, sql));
        }
    }
    Ok(differences)
}

/// What these roles own, and what they hold on objects that `grant` does not read (types, languages, parameters, large
/// objects …).
const BELONGINGS: &str = "
    select r.rolname::text, s.deptype::text, pg_catalog.pg_describe_object(s.classid, s.objid, s.objsubid)
    from pg_catalog.pg_shdepend s join pg_catalog.pg_roles r on r.oid = s.refobjid
    where s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass and r.rolname::text = any($1)
      and s.dbid in (0, (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()))
      and (s.deptype = 'o' or (s.deptype = 'a' and s.classid not in ('pg_catalog.pg_class'::pg_catalog.regclass,
        'pg_catalog.pg_namespace'::pg_catalog.regclass, 'pg_catalog.pg_proc'::pg_catalog.regclass,
        'pg_catalog.pg_database'::pg_catalog.regclass, 'pg_catalog.pg_default_acl'::pg_catalog.regclass)))
    order by 1, 2, 3";

/// What roles have that should have nothing of their own.
pub async fn belongings(session: &Session, roles: &[&str]) -> Setup<Vec<Difference>> {
    let rows = session.query(BELONGINGS, &[&roles]).await.map_err(session.fault())?;
    let difference = |row: &tokio_postgres::Row| {
        let (role, how, object): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
        match how {
            "o" => Difference::hand(
                format!("{role} owns {object}"),
                "it may hold data: give it to another role, or drop it (`reassign owned`, `drop owned`)",
            ),
            _ => Difference::hand(format!("{role} holds a privilege on {object}"), "revoke it"),
        }
    };
    Ok(rows.iter().map(difference).collect())
}
