//! The three logins of a plugin, and exactly the grants its statements ask for.
//!
//! | login | may |
//! | --- | --- |
//! | `<db>_<plugin>_owner` | own the schema, run migrations |
//! | `<db>_<plugin>_rw` | what all statements ask |
//! | `<db>_<plugin>_ro` | what the reading statements ask |
//!
//! [`differences`] compares the wanted set with the access lists: too little is granted, too much is revoked. What PUBLIC
//! may not is in `closed`, what the roles themselves should be in `role`.

mod closed;
mod found;
mod role;

use std::collections::BTreeSet;

pub use self::{
    closed::{close, closed, kept_functions},
    found::found,
    role::{HARMLESS, Login, Roles, roles, verifier},
};
use super::{
    drift::Difference,
    own,
    session::{Session, identifier},
    statement::{Ask, Privileges, Statement},
};
use crate::{error::Setup, id::PluginId};

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
pub struct Grant {
    pub role: String,
    pub line: Line,
    /// WITH GRANT OPTION: never wanted.
    pub grantable: bool,
}

impl Grant {
    pub(super) fn new(role: &str, privilege: &str, class: &str, object: String) -> Self {
        let line = Line { privilege: privilege.to_owned(), class: class.to_owned(), object, column: None };
        Self { role: role.to_owned(), line, grantable: false }
    }

    /// It is wanted and not there.
    #[must_use]
    pub fn lacking(&self) -> Difference {
        let sql = format!("grant {} to {}", self.line.sql(), role_sql(&self.role));
        Difference::give(format!("{} lacks {}", self.role, self.line.sql()), sql)
    }

    /// It is there and not wanted.
    #[must_use]
    pub fn unasked(&self) -> Difference {
        let option = if self.grantable { " with grant option" } else { "" };
        let sql = format!("revoke {} from {}", self.line.sql(), role_sql(&self.role));
        Difference::take(format!("{} holds {}{option}, which nothing asks", self.role, self.line.sql()), sql)
    }
}

/// Functions of the host that both logins call besides the caller's identity.
const READER_FUNCTIONS: [&str; 4] = ["assume", "caller_id", "caller_kind", "caller_has"];
const WRITER_FUNCTIONS: [&str; 5] =
    ["idempotency_claim", "idempotency_store", "event_publish", "event_take", "schedule_take"];

/// Every difference between what the statements ask and what the database grants. What is revoked comes first. Revoking a
/// table's privilege takes its columns' with it: compare again after a repair.
pub async fn differences(
    session: &Session,
    database: &str,
    id: &PluginId,
    statements: &[Statement],
) -> Setup<Vec<Difference>> {
    let roles = Roles::of(database, id)?;
    let wanted = wanted(&roles, database, id, statements);
    let found = found(session, &[id.as_str()], &[&roles.owner, &roles.rw, &roles.ro]).await?;
    let extra = found.difference(&wanted).map(Grant::unasked);
    Ok(extra.chain(wanted.difference(&found).map(Grant::lacking)).collect())
}

/// What the owner lacks before it can migrate.
pub async fn owner_differences(session: &Session, database: &str, id: &PluginId) -> Setup<Vec<Difference>> {
    let roles = Roles::of(database, id)?;
    let found = found(session, &[id.as_str()], &[&roles.owner]).await?;
    let wanted = wanted(&roles, database, id, &[]);
    Ok(wanted.difference(&found).filter(|grant| grant.role == roles.owner).map(Grant::lacking).collect())
}

/// PUBLIC is a word, not a name.
fn role_sql(role: &str) -> String {
    if role == "public" { role.to_owned() } else { identifier(role) }
}

fn wanted(roles: &Roles, database: &str, id: &PluginId, statements: &[Statement]) -> BTreeSet<Grant> {
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
    for role in [&roles.owner, &roles.rw, &roles.ro] {
        wanted.insert(Grant::new(role, "connect", "database", identifier(database)));
        wanted.insert(Grant::new(role, "usage", "schema", identifier("platform")));
    }
    let readers = READER_FUNCTIONS.iter().flat_map(|name| [(&roles.rw, name), (&roles.ro, name)]);
    for (role, name) in readers.chain(WRITER_FUNCTIONS.iter().map(|name| (&roles.rw, name))) {
        let object = own::function(name);
        wanted.extend(object.map(|object| Grant::new(role, "execute", "function", object)));
    }
    wanted
}
