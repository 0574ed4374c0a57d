//! The logins of a plugin: made, kept harmless, compared.

use secrecy::{ExposeSecret, SecretString};

use crate::{
    database::{
        session::{Session, identifier, literal},
        target::Target,
    },
    error::{Fault, Setup},
    id::PluginId,
};

/// What no role of ours is.
pub const HARMLESS: &str = "nosuperuser noinherit nocreatedb nocreaterole noreplication nobypassrls";
/// PostgreSQL cuts longer names silently.
const NAME_BYTES_MAX: usize = 63;
/// One migration at a time, and a little room.
const OWNER_CONNECTIONS_MAX: u32 = 4;
/// The host's connection budget decides; this stops what escapes it.
const LOGIN_CONNECTIONS_MAX: u32 = 100;

/// The names of a plugin's logins. Roles are shared by all databases of a server, so the database's name is in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles {
    pub owner: String,
    pub rw: String,
    pub ro: String,
}

impl Roles {
    /// Refuses a database name so long that PostgreSQL would cut the role's.
    pub fn of(database: &str, id: &PluginId) -> Setup<Self> {
        let name = |end: &str| format!("{database}_{id}_{end}");
        let roles = Self { owner: name("owner"), rw: name("rw"), ro: name("ro") };
        if roles.owner.len() > NAME_BYTES_MAX {
            return Err(Fault::new(&roles.owner, format!("is longer than {NAME_BYTES_MAX} bytes"))
                .fix("choose a shorter database name"));
        }
        Ok(roles)
    }
}

/// What stands in the catalog instead of a password: SCRAM-SHA-256 (RFC 5803), made here, so that the password itself
/// is in no statement and no server log.
#[must_use]
pub fn verifier(password: &SecretString) -> String {
    postgres_protocol::password::scram_sha_256(password.expose_secret().as_bytes())
}

/// Makes the logins and the schema of a plugin, or brings them back to what they should be.
pub async fn ensure_roles(admin: &Target, id: &PluginId, password: impl Fn(&str) -> SecretString) -> Setup<Roles> {
    let session = Session::open(admin).await?;
    let roles = Roles::of(&admin.database, id)?;
    let database = identifier(&admin.database);
    let limits =
        [(&roles.owner, OWNER_CONNECTIONS_MAX), (&roles.rw, LOGIN_CONNECTIONS_MAX), (&roles.ro, LOGIN_CONNECTIONS_MAX)];
    session.run("begin").await?;
    for (role, connections_max) in limits {
        let sql = "select from pg_catalog.pg_roles where rolname = $1";
        let exists = session.query_opt(sql, &[role]).await.map_err(session.fault())?.is_some();
        let verb = if exists { "alter" } else { "create" };
        let (name, password) = (identifier(role), literal(&verifier(&password(role))));
        session
            .run(&format!(
                "{verb} role {name} login {HARMLESS} connection limit {connections_max} password {password} valid until 'infinity';
                 alter role {name} reset all; alter role {name} in database {database} reset all;
                 grant connect on database {database} to {name}"
            ))
            .await?;
    }
    let (schema, owner) = (identifier(id.as_str()), identifier(&roles.owner));
    session.run(&format!("create schema if not exists {schema} authorization {owner}")).await?;
    let sql = "select from pg_catalog.pg_namespace where nspname = 'platform'";
    if session.query_opt(sql, &[]).await.map_err(session.fault())?.is_some() {
        session.run(&format!("grant usage on schema platform to {owner}")).await?;
    }
    session.run("commit").await?;
    Ok(roles)
}

const ATTRIBUTES: &str = "select rolname::text from pg_catalog.pg_roles where rolname::text = any($1)
    and rolcanlogin and not (rolsuper or rolinherit or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls)
    and rolconnlimit > 0";
const SETTINGS: &str = "select r.rolname::text, pg_catalog.unnest(s.setconfig)
    from pg_catalog.pg_db_role_setting s join pg_catalog.pg_roles r on r.oid = s.setrole where r.rolname::text = any($1)";
const MEMBERSHIPS: &str = "select m.rolname::text, r.rolname::text
    from pg_catalog.pg_auth_members a join pg_catalog.pg_roles m on m.oid = a.member
      join pg_catalog.pg_roles r on r.oid = a.roleid
    where m.rolname::text = any($1) or r.rolname::text = any($1)";

/// What is wrong with the logins: attributes, settings of their own, memberships.
pub(super) async fn drift(session: &Session, roles: &Roles) -> Setup<Vec<String>> {
    let names = [roles.owner.as_str(), &roles.rw, &roles.ro];
    let ask = async |sql: &str| session.query(sql, &[&names.as_slice()]).await.map_err(session.fault());
    let sound: Vec<String> = ask(ATTRIBUTES).await?.iter().map(|row| row.get(0)).collect();
    let mut drift: Vec<String> = names
        .iter()
        .filter(|name| !sound.iter().any(|s| s == *name))
        .map(|name| format!("{name} is missing, or may more than log in"))
        .collect();
    for row in ask(SETTINGS).await? {
        drift.push(format!("{} has the setting {}", row.get::<_, &str>(0), row.get::<_, &str>(1)));
    }
    for row in ask(MEMBERSHIPS).await? {
        drift.push(format!("{} is a member of {}", row.get::<_, &str>(0), row.get::<_, &str>(1)));
    }
    Ok(drift)
}
