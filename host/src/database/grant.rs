//! The three logins of a plugin, and exactly the grants its statements ask for.
//!
//! | login | may |
//! | --- | --- |
//! | `<db>_<plugin>_owner` | own the schema, run migrations |
//! | `<db>_<plugin>_rw` | what all statements ask |
//! | `<db>_<plugin>_ro` | what the reading statements ask |
//!
//! [`apply`] computes the wanted set and makes the database agree: too little is granted, too much is revoked.
//! [`verify`] only compares, and lists every difference. The host refuses to serve on one.

mod closed;
mod found;
mod role;

use std::collections::BTreeSet;

pub use self::{
    closed::close,
    role::{HARMLESS, Roles, ensure_roles, verifier},
};
use super::{
    session::{Session, identifier},
    statement::{Ask, Privileges, Statement},
    target::Target,
};
use crate::{
    error::{Fault, Setup},
    id::PluginId,
};

/// A privilege on one object, without the role that holds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// As GRANT says it: `select`, `usage`, `execute`, `connect`.
    pub privilege: String,
    /// `table`, `schema`, `function`, `database`, `sequence`.
    pub class: String,
    /// The quoted full name; of a function with its argument types.
    pub object: String,
    pub column: Option<String>,
}

impl Line {
    /// `select ("id") on table "ordering"."purchase"`.
    #[must_use]
    pub fn sql(&self) -> String {
        let column = self.column.as_ref().map(|name| format!(" ({})", identifier(name))).unwrap_or_default();
        format!("{}{column} on {} {}", self.privilege, self.class, self.object)
    }
}

/// The table and column grants of an ask.
#[must_use]
pub fn lines(ask: &Ask) -> BTreeSet<Line> {
    let mut lines = BTreeSet::new();
    for (relation, Privileges { select, insert, update, delete }) in &ask.relations {
        let object = relation.split('.').map(identifier).collect::<Vec<_>>().join(".");
        let line = |privilege: &str, column: Option<&String>| Line {
            privilege: privilege.to_owned(),
            class: "table".to_owned(),
            object: object.clone(),
            column: column.cloned(),
        };
        for (privilege, columns) in [("select", select), ("insert", insert), ("update", update)] {
            lines.extend(columns.iter().map(|column| line(privilege, Some(column))));
        }
        lines.extend(delete.then(|| line("delete", None)));
    }
    lines
}

/// A line and the role that holds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Grant {
    role: String,
    line: Line,
    /// WITH GRANT OPTION: never wanted.
    grantable: bool,
}

impl Grant {
    fn new(role: &str, privilege: &str, class: &str, object: String) -> Self {
        let line = Line { privilege: privilege.to_owned(), class: class.to_owned(), object, column: None };
        Self { role: role.to_owned(), line, grantable: false }
    }
}

/// Functions of the host that both logins call besides the caller's identity; those that do not exist are passed over.
const READER_FUNCTIONS: [&str; 4] = ["assume", "caller_id", "caller_kind", "caller_has"];
const WRITER_FUNCTIONS: [&str; 5] =
    ["idempotency_claim", "idempotency_store", "event_publish", "event_take", "schedule_take"];

/// Makes the grants of a plugin's logins exactly what `statements` ask. The schema and the roles exist.
pub async fn apply(admin: &Target, id: &PluginId, statements: &[Statement]) -> Setup<()> {
    let session = Session::open(admin).await?;
    let roles = Roles::of(&admin.database, id)?;
    close(&session).await?;
    let wanted = wanted(&session, &roles, id, statements).await?;
    session.run("begin").await?;
    let found = found::grants(&session, &roles, id).await?;
    for grant in found.difference(&wanted) {
        session.run(&format!("revoke {} from {}", grant.line.sql(), role_sql(&grant.role))).await?;
    }
    // Read again: revoking a table privilege takes its column privileges with it.
    let found = found::grants(&session, &roles, id).await?;
    for grant in wanted.difference(&found) {
        session.run(&format!("grant {} to {}", grant.line.sql(), role_sql(&grant.role))).await?;
    }
    session.run("commit").await?;
    match verify(admin, id, statements).await?.as_slice() {
        [] => Ok(()),
        [first, ..] => Err(Fault::new(format!("grants of {id}"), format!("cannot be made right: {first}"))),
    }
}

/// Every difference between what the statements ask and what the database grants, one sentence each.
pub async fn verify(admin: &Target, id: &PluginId, statements: &[Statement]) -> Setup<Vec<String>> {
    let session = Session::open(admin).await?;
    let roles = Roles::of(&admin.database, id)?;
    let wanted = wanted(&session, &roles, id, statements).await?;
    let found = found::grants(&session, &roles, id).await?;
    let mut drift = Vec::new();
    for grant in wanted.difference(&found) {
        drift.push(format!("{} lacks {}", grant.role, grant.line.sql()));
    }
    for grant in found.difference(&wanted) {
        let option = if grant.grantable { " with grant option" } else { "" };
        drift.push(format!("{} holds {}{option}, which nothing asks", grant.role, grant.line.sql()));
    }
    drift.extend(role::drift(&session, &roles).await?);
    drift.extend(closed::drift(&session).await?);
    Ok(drift)
}

/// PUBLIC is a word, not a name.
fn role_sql(role: &str) -> String {
    if role == "public" { role.to_owned() } else { identifier(role) }
}

async fn wanted(session: &Session, roles: &Roles, id: &PluginId, statements: &[Statement]) -> Setup<BTreeSet<Grant>> {
    let (mut reads, mut all) = (Ask::default(), Ask::default());
    for statement in statements {
        all.merge(&statement.ask);
        if !statement.ask.writes() {
            reads.merge(&statement.ask);
        }
    }
    let mut wanted = BTreeSet::new();
    for (role, ask) in [(&roles.ro, &reads), (&roles.rw, &all)] {
        let grants = lines(ask).into_iter().map(|line| Grant { role: role.clone(), line, grantable: false });
        wanted.extend(grants);
        wanted.insert(Grant::new(role, "usage", "schema", identifier(id.as_str())));
    }
    let row = session.query_one("select pg_catalog.current_database()::text", &[]).await.map_err(session.fault())?;
    let database = identifier(row.get(0));
    let platform = found::platform(session).await?;
    for role in [&roles.owner, &roles.rw, &roles.ro] {
        wanted.insert(Grant::new(role, "connect", "database", database.clone()));
        if platform.exists {
            wanted.insert(Grant::new(role, "usage", "schema", identifier("platform")));
        }
        for (name, object) in &platform.functions {
            let is_reader = READER_FUNCTIONS.contains(&name.as_str()) && *role != roles.owner;
            let is_writer = WRITER_FUNCTIONS.contains(&name.as_str()) && *role == roles.rw;
            if is_reader || is_writer {
                wanted.insert(Grant::new(role, "execute", "function", object.clone()));
            }
        }
    }
    Ok(wanted)
}
