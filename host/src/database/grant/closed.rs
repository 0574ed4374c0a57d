//! What nobody may do: the doors PostgreSQL leaves open for PUBLIC, closed as data.
//!
//! Statements pass an allow-list of functions anyway; this is the second wall, for the day a plugin's login runs SQL
//! that no prover saw. It cannot close *commands*: NOTIFY, SET and PREPARE need no privilege, which is why statements
//! stay pinned and notifications are hints only.

use crate::{
    database::session::{Session, identifier},
    error::Setup,
};

/// Builtins taken from PUBLIC: a name, or the beginning of names before `*`; and whether the host's own roles
/// (`<db>_control`, `<db>_identity`) keep it for their definer functions and locks.
const DANGEROUS: &[(&str, bool)] = &[
    ("set_config", true),        // forges settings; `platform.assume` needs it
    ("pg_advisory_*", true),     // holds locks others wait for; idempotency needs it
    ("pg_try_advisory_*", true), //
    ("pg_notify", true),         // the command NOTIFY stays open
    ("pg_sleep*", false),        // holds a connection
    ("lo_*", false),             // files in the database, outside row level security
    ("loread", false),           //
    ("lowrite", false),          //
    ("query_to_xml*", false),    // runs its argument as SQL
    ("cursor_to_xml*", false),   //
    ("table_to_xml*", false),    //
    ("schema_to_xml*", false),   //
    ("database_to_xml*", false), //
    ("ts_stat", false),          // runs its argument as SQL
    ("pg_read_*", false),        // files of the server
    ("pg_ls_*", false),          //
    ("pg_stat_file", false),     //
    ("pg_current_logfile", false),
    ("pg_cancel_backend", false), // other sessions of the same login
    ("pg_terminate_backend", false),
    ("pg_export_snapshot", false), // shows another transaction what this one sees
    ("pg_logical_emit_message", false),
    ("dblink*", false), // other databases, when somebody installs it
];

/// Roles of the host that keep what is marked so.
const HOST_ROLES: [&str; 2] = ["control", "identity"];

/// Functions matching `$1` (a LIKE pattern) that PUBLIC may execute, as GRANT wants them.
const OPEN_TO_PUBLIC: &str = "select pg_catalog.format('%I.%I(%s)', n.nspname, p.proname,
      pg_catalog.pg_get_function_identity_arguments(p.oid))
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where p.proname::text like $1 and p.prokind = 'f' and n.nspname not in ('platform', 'dinehub')
      and exists (select from pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a
        where a.grantee = 0 and a.privilege_type = 'EXECUTE')";

/// What PUBLIC holds on this database and on schema `public`.
const OPEN_PLACES: &str = "
    select 'database', pg_catalog.lower(a.privilege_type) from pg_catalog.pg_database d,
      lateral pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) a
      where d.datname = pg_catalog.current_database() and a.grantee = 0
    union all select 'schema public', pg_catalog.lower(a.privilege_type) from pg_catalog.pg_namespace n,
      lateral pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) a
      where n.nspname = 'public' and a.grantee = 0";

fn pattern(name: &str) -> String {
    name.replace('_', "\\_").replace('*', "%")
}

/// Closes this database to PUBLIC; the host's own roles keep what they need. Does nothing where it is done.
pub async fn close(session: &Session) -> Setup<()> {
    let row = session.query_one("select pg_catalog.current_database()::text", &[]).await.map_err(session.fault())?;
    let database: &str = row.get(0);
    let sql = "select rolname::text from pg_catalog.pg_roles where rolname::text = any($1)";
    let names = HOST_ROLES.map(|role| format!("{database}_{role}"));
    let rows = session.query(sql, &[&names.as_slice()]).await.map_err(session.fault())?;
    let host: Vec<String> = rows.iter().map(|row| identifier(row.get(0))).collect();
    let place = identifier(database);
    let mut sql = format!("revoke all on database {place} from public; revoke all on schema public from public;\n");
    if !host.is_empty() {
        sql.push_str(&format!("grant connect on database {place} to {};\n", host.join(", ")));
    }
    for (name, is_kept) in DANGEROUS {
        for function in open_functions(session, name).await? {
            sql.push_str(&format!("revoke execute on function {function} from public;\n"));
            if *is_kept && !host.is_empty() {
                sql.push_str(&format!("grant execute on function {function} to {};\n", host.join(", ")));
            }
        }
    }
    session.run(&sql).await
}

/// What is open that should be closed.
pub(super) async fn drift(session: &Session) -> Setup<Vec<String>> {
    let rows = session.query(OPEN_PLACES, &[]).await.map_err(session.fault())?;
    let mut drift: Vec<String> =
        rows.iter().map(|row| format!("public holds {} on {}", row.get::<_, &str>(1), row.get::<_, &str>(0))).collect();
    for (name, _) in DANGEROUS {
        let open = open_functions(session, name).await?;
        drift.extend(open.into_iter().map(|function| format!("public may execute {function}")));
    }
    Ok(drift)
}

async fn open_functions(session: &Session, name: &str) -> Setup<Vec<String>> {
    let rows = session.query(OPEN_TO_PUBLIC, &[&pattern(name)]).await.map_err(session.fault())?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
