//! The grants there are, read from the catalogs' access lists.

use std::collections::BTreeSet;

use tokio_postgres::Row;

use super::{Grant, Line, Roles};
use crate::{
    database::session::{Session, identifier},
    error::Setup,
    id::PluginId,
};

/// Every grant on the plugin's schema to anybody but its owner, and every grant to its logins anywhere in this database.
/// `$1` is the schema, `$2` the logins.
const GRANTS: &str = "
    with acl(class, namespace, name, arguments, column_name, owner, list) as (
      select case c.relkind when 'S' then 'sequence' else 'table' end, n.nspname, c.relname, null, null, c.relowner, c.relacl
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      union all select 'table', n.nspname, c.relname, null, a.attname::text, c.relowner, a.attacl
        from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid
          join pg_catalog.pg_namespace n on n.oid = c.relnamespace where not a.attisdropped
      union all select 'schema', n.nspname, n.nspname, null, null, n.nspowner, n.nspacl from pg_catalog.pg_namespace n
      union all select 'function', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid), null,
          p.proowner, p.proacl
        from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
      union all select 'database', null, d.datname, null, null, d.datdba, d.datacl
        from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
    select a.class, a.namespace::text, a.name::text, a.arguments, a.column_name,
      pg_catalog.lower(e.privilege_type), e.is_grantable, coalesce(r.rolname::text, 'public')
    from acl a, lateral pg_catalog.aclexplode(a.list) e left join pg_catalog.pg_roles r on r.oid = e.grantee
    where (r.rolname::text = any($2) or a.namespace = $1) and not (a.namespace = $1 and e.grantee = a.owner)";

/// The plugin's grants as they are.
pub(super) async fn grants(session: &Session, roles: &Roles, id: &PluginId) -> Setup<BTreeSet<Grant>> {
    let logins = [roles.owner.as_str(), &roles.rw, &roles.ro];
    let rows = session.query(GRANTS, &[&id.as_str(), &logins.as_slice()]).await.map_err(session.fault())?;
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

/// The host's functions for plugins.
pub(super) struct Platform {
    pub(super) exists: bool,
    /// Names, and the objects as GRANT wants them.
    pub(super) functions: Vec<(String, String)>,
}

/// What stands in schema `platform`.
pub(super) async fn platform(session: &Session) -> Setup<Platform> {
    let sql = "select p.proname::text, pg_catalog.pg_get_function_identity_arguments(p.oid)
        from pg_catalog.pg_namespace n left join pg_catalog.pg_proc p on p.pronamespace = n.oid
        where n.nspname = 'platform'";
    let rows = session.query(sql, &[]).await.map_err(session.fault())?;
    let function = |row: &Row| {
        let name: String = row.get::<_, Option<String>>(0)?;
        let object = format!("{}.{}({})", identifier("platform"), identifier(&name), row.get::<_, &str>(1));
        Some((name, object))
    };
    Ok(Platform { exists: !rows.is_empty(), functions: rows.iter().filter_map(function).collect() })
}
