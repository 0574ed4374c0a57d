//! PostgreSQL's own word: what the logins may do there now, and which policies the table has.

use super::Verb;
use crate::{
    database::{
        grant::Roles,
        session::{Session, identifier},
        target::Target,
    },
    error::Setup,
    id::PluginId,
};

const POLICIES: &str = "select p.polname::text, p.polcmd::text, pg_catalog.pg_get_expr(p.polqual, p.polrelid),
      pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)
    from pg_catalog.pg_policy p where p.polrelid = $1::text::regclass order by p.polname";

/// Prints what `has_column_privilege` and `pg_policy` say.
pub(super) async fn print(url: &str, plugin: &PluginId, verb: Verb, column: &str) -> Setup<()> {
    let target = Target::parse(url)?;
    let roles = Roles::of(&target.database, plugin)?;
    let session = Session::open(&target).await?;
    let parts: Vec<&str> = column.split('.').collect();
    let table = parts.iter().take(2).map(|part| identifier(part)).collect::<Vec<_>>().join(".");
    for role in [&roles.ro, &roles.rw] {
        let (call, row) = match (verb, parts.get(2)) {
            (Verb::Delete, _) | (_, None) => {
                let call = "select pg_catalog.has_table_privilege($1, $2, $3)";
                (
                    format!("has_table_privilege('{role}', '{table}', 'delete')"),
                    session.query_one(call, &[role, &table, &"delete"]).await,
                )
            }
            (_, Some(name)) => {
                let call = "select pg_catalog.has_column_privilege($1, $2, $3, $4)";
                let shown = format!("has_column_privilege('{role}', '{table}', '{name}', '{}')", verb.as_str());
                (shown, session.query_one(call, &[role, &table, name, &verb.as_str()]).await)
            }
        };
        let holds: bool = row.map_err(session.fault())?.get(0);
        println!("evidence   {call} = {holds}");
    }
    for row in session.query(POLICIES, &[&table]).await.map_err(session.fault())? {
        let (name, command): (String, String) = (row.get(0), row.get(1));
        let (using, check): (Option<String>, Option<String>) = (row.get(2), row.get(3));
        let command = match command.as_str() {
            "r" => "select",
            "a" => "insert",
            "w" => "update",
            "d" => "delete",
            _ => "all",
        };
        let part = |word: &str, text: Option<String>| text.map(|text| format!(" {word} {text}")).unwrap_or_default();
        println!("evidence   pg_policy: {name} for {command}{}{}", part("using", using), part("check", check));
    }
    Ok(())
}
