//! What nobody may do: the doors PostgreSQL leaves open for PUBLIC, closed as data.
//!
//! Statements pass an allow-list of functions anyway; this is the second wall, for the day a plugin's login runs SQL
//! that no prover saw. It cannot close *commands*: NOTIFY, SET and PREPARE need no privilege, which is why statements
//! stay pinned and notifications are hints only.

use std::collections::BTreeMap;

use crate::{
    database::{
        drift::{self, Difference},
        own::Roles,
        session::{Session, identifier},
    },
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

/// Functions whose names match one of `$1` (LIKE patterns): the pattern, the name as GRANT wants it, and whether PUBLIC may
/// execute it.
const FUNCTIONS: &str = "select k.pattern, pg_catalog.format('%I.%I(%s)', n.nspname, p.proname,
      pg_catalog.pg_get_function_identity_arguments(p.oid)),
      exists (select from pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a
        where a.grantee = 0 and a.privilege_type = 'EXECUTE')
    from pg_catalog.unnest($1::pg_catalog.text[]) k(pattern)
      join pg_catalog.pg_proc p on p.proname::pg_catalog.text like k.pattern
      join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where p.prokind = 'f' and n.nspname not in ('platform', 'dinehub') order by 1, 2";

/// What PUBLIC holds on this database and on schema `public`: the kind of place, its name, the privilege.
const OPEN_PLACES: &str = "
    select 'database', d.datname::text, pg_catalog.lower(a.privilege_type) from pg_catalog.pg_database d,
      lateral pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) a
      where d.datname = pg_catalog.current_database() and a.grantee = 0
    union all select 'schema', 'public', pg_catalog.lower(a.privilege_type) from pg_catalog.pg_namespace n,
      lateral pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) a
      where n.nspname = 'public' and a.grantee = 0";

fn pattern(name: &str) -> String {
    name.replace('_', "\\_").replace('*', "%")
}

/// Closes this database to PUBLIC; the host's own roles keep what they need. Does nothing where it is done.
pub async fn close(session: &Session) -> Setup<()> {
    let database = session.query_one("select pg_catalog.current_database()::text", &[]).await;
    let roles = Roles::of(database.map_err(session.fault())?.get(0));
    let sql = "select rolname::text from pg_catalog.pg_roles where rolname::text = any($1)";
    let rows = session.query(sql, &[&[&roles.control, &roles.identity].as_slice()]).await.map_err(session.fault())?;
    let host: Vec<String> = rows.iter().map(|row| identifier(row.get(0))).collect();
    drift::repair(session, &closed(session).await?, &mut |_| {}).await?;
    let kept = kept_functions(session).await?;
    if host.is_empty() || kept.is_empty() {
        return Ok(());
    }
    session.run(&format!("grant execute on function {} to {}", kept.join(", "), host.join(", "))).await
}

/// What is open to PUBLIC that should be closed.
pub async fn closed(session: &Session) -> Setup<Vec<Difference>> {
    let rows = session.query(OPEN_PLACES, &[]).await.map_err(session.fault())?;
    let mut differences = Vec::new();
    for row in rows {
        let (class, name, privilege): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
        let sql = format!("revoke {privilege} on {class} {} from public", identifier(name));
        differences.push(Difference::take(format!("public holds {privilege} on {class} {name}"), sql));
    }
    let mut open: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (pattern, function, is_open) in functions(session, |_| true).await? {
        if is_open {
            open.entry(pattern).or_default().push(function);
        }
    }
    for functions in open.into_values() {
        let all = functions.join(", ");
        let sql = format!("revoke execute on function {all} from public");
        differences.push(Difference::take(format!("public may execute {all}"), sql));
    }
    Ok(differences)
}

/// The functions that the host's roles keep, quoted as a [`super::Line`] quotes them.
pub async fn kept_functions(session: &Session) -> Setup<Vec<String>> {
    let kept = functions(session, |is_kept| is_kept).await?;
    // `pg_catalog.x(…)`: builtins need no quotes, and a line has them always.
    let quoted = |function: &str| {
        let (schema, rest) = function.split_once('.')?;
        let (name, arguments) = rest.split_once('(')?;
        Some(format!("{}.{}({arguments}", identifier(schema), identifier(name)))
    };
    Ok(kept
        .iter()
        .filter(|(_, function, _)| function.starts_with("pg_catalog."))
        .filter_map(|(_, f, _)| quoted(f))
        .collect())
}

async fn functions(session: &Session, chosen: impl Fn(bool) -> bool) -> Setup<Vec<(String, String, bool)>> {
    let patterns: Vec<String> =
        DANGEROUS.iter().filter(|(_, is_kept)| chosen(*is_kept)).map(|(name, _)| pattern(name)).collect();
    let rows = session.query(FUNCTIONS, &[&patterns]).await.map_err(session.fault())?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}
