//! The grants there are, read from the catalogs' access lists.

use std::collections::BTreeSet;

use tokio_postgres::Row;

use super::{Grant, Line};
use crate::{
    database::session::{Session, identifier},
    error::Setup,
};

/// Every grant in some schemas to anybody but an object's owner, and every grant to some logins anywhere in this database.
/// `$1` are the schemas, `$2` the logins. A list that is not there means the default, which opens functions to PUBLIC.
const GRANTS: &str = "
    with acl(class, namespace, name, function, column_name, owner, list) as (
      select case c.relkind when 'S' then 'sequence' else 'table' end, n.nspname, c.relname, null::pg_catalog.oid, null,
          c.relowner, c.relacl
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      union all select 'table', n.nspname, c.relname, null, a.attname::text, c.relowner, a.attacl
        from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid
          join pg_catalog.pg_namespace n on n.oid = c.relnamespace where not a.attisdropped
      union all select 'schema', n.nspname, n.nspname, null, null, n.nspowner, n.nspacl from pg_catalog.pg_namespace n
      union all select 'function', n.nspname, p.proname, p.oid, null, p.proowner, case when n.nspname = any($1)
            then coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner)) else p.proacl end
        from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
      union all select 'database', null, d.datname, null, null, d.datdba, d.datacl
        from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
    select a.class, a.namespace::text, a.name::text, pg_catalog.pg_get_function_identity_arguments(a.function),
      a.column_name, pg_catalog.lower(e.privilege_type), e.is_grantable, coalesce(r.rolname::text, 'public')
    from acl a, lateral pg_catalog.aclexplode(a.list) e left join pg_catalog.pg_roles r on r.oid = e.grantee
    where (r.rolname::text = any($2) or a.namespace = any($1)) and not (a.namespace = any($1) and e.grantee = a.owner)";

/// The grants as they are.
pub async fn found(session: &Session, schemas: &[&str], logins: &[&str]) -> Setup<BTreeSet<Grant>> {
    let rows = session.query(GRANTS, &[&schemas, &logins]).await.map_err(session.fault())?;
    Ok(rows.iter().map(grant).collect())
}

fn grant(row: &Row) -> Grant {
    let class: String = row.get(0);
    let name = identifier(row.get(2));
    let object = match (class.as_str(), row.get::<_, Option<&str>>(1)) {
        ("schema" | "database", _) | (_, None) => name,
        (_, Some(schema)) => format!("{}.{name}", identifier(schema)),
    };
    let object = match row.get::<_, Option<&str>>(3) {
        Some(arguments) => format!("{object}({arguments})"),
        None => object,
    };
    let line = Line { privilege: row.get(5), class, object, column: row.get(4) };
    Grant { role: row.get(7), line, grantable: row.get(6) }
}
