//! The roles of plugins and host: made, kept harmless, compared.

use secrecy::{ExposeSecret, SecretString};

use crate::{
    database::{
        drift::{Difference, PASSWORD, Sql},
        session::{Session, identifier},
        target::{self, Target},
    },
    error::{Fault, Setup, chain},
    id::PluginId,
};

/// What no role of ours is.
pub const HARMLESS: &str = "nosuperuser noinherit nocreatedb nocreaterole noreplication nobypassrls";
/// PostgreSQL cuts longer names silently.
const NAME_BYTES_MAX: usize = 63;
/// One migration at a time, and a little room.
const OWNER_CONNECTIONS_MAX: i32 = 4;
/// The host's connection budget decides; this stops what escapes it.
const LOGIN_CONNECTIONS_MAX: i32 = 100;
const UNBOUNDED: i32 = -1;

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

    /// What the three should be.
    #[must_use]
    pub fn logins(&self) -> [Login<'_>; 3] {
        let login = |name, connections_max| Login { name, can_login: true, connections_max };
        [
            login(&self.owner, OWNER_CONNECTIONS_MAX),
            login(&self.rw, LOGIN_CONNECTIONS_MAX),
            login(&self.ro, LOGIN_CONNECTIONS_MAX),
        ]
    }
}

/// What a role should be.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    name: &'a str,
    can_login: bool,
    connections_max: i32,
}

impl<'a> Login<'a> {
    /// A login that the host's own configuration bounds.
    #[must_use]
    pub fn unbounded(name: &'a str) -> Self {
        Self { name, can_login: true, connections_max: UNBOUNDED }
    }

    /// A role that only owns.
    #[must_use]
    pub fn nologin(name: &'a str) -> Self {
        Self { name, can_login: false, connections_max: UNBOUNDED }
    }

    /// Its attributes, as CREATE ROLE and ALTER ROLE say them.
    fn attributes(&self) -> String {
        let login = if self.can_login { "login" } else { "nologin" };
        format!("{login} {HARMLESS} connection limit {} valid until 'infinity'", self.connections_max)
    }

    fn made(&self, password: &SecretString) -> Difference {
        let (what, name) = (format!("role {} is missing", self.name), identifier(self.name));
        let text = format!("create role {name} {}", self.attributes());
        if !self.can_login {
            return Difference::give(what, text);
        }
        Difference::login(what, Sql::with_password(format!("{text} password {PASSWORD}"), verifier(password)))
    }

    /// It does not have its password.
    pub(in crate::database) fn told(&self, password: &SecretString) -> Difference {
        let what = format!("{} does not log in with the password of this host's ring `database`", self.name);
        let text = format!("alter role {} password {PASSWORD}", identifier(self.name));
        Difference::login(what, Sql::with_password(text, verifier(password)))
    }
}

/// What stands in the catalog instead of a password: SCRAM-SHA-256 (RFC 5803), made here, so that the password itself
/// is in no statement and no server log.
#[must_use]
pub fn verifier(password: &SecretString) -> String {
    postgres_protocol::password::scram_sha_256(password.expose_secret().as_bytes())
}

const ROLES: &str = "select rolname::text, rolcanlogin, rolconnlimit,
      pg_catalog.concat_ws(', ', case when rolsuper then 'is a superuser' end, case when rolinherit then 'inherits' end,
        case when rolcreaterole then 'may create roles' end, case when rolcreatedb then 'may create databases' end,
        case when rolreplication then 'may replicate' end, case when rolbypassrls then 'may bypass row level security' end,
        case when rolvaliduntil < 'infinity' then 'ends at ' || rolvaliduntil end)
    from pg_catalog.pg_roles where rolname::text = any($1)";
const SETTINGS: &str = "select r.rolname::text, d.datname::text, pg_catalog.array_to_string(s.setconfig, ', ')
    from pg_catalog.pg_db_role_setting s join pg_catalog.pg_roles r on r.oid = s.setrole
      left join pg_catalog.pg_database d on d.oid = s.setdatabase
    where r.rolname::text = any($1)";
const MEMBERSHIPS: &str = "select m.rolname::text, r.rolname::text
    from pg_catalog.pg_auth_members a join pg_catalog.pg_roles m on m.oid = a.member
      join pg_catalog.pg_roles r on r.oid = a.roleid
    where m.rolname::text = any($1) or r.rolname::text = any($1)";

/// What is wrong with these roles: attributes, settings of their own, memberships; and, where a place is given to try
/// it, the password.
pub async fn roles(
    session: &Session,
    database: &str,
    wanted: &[Login<'_>],
    password: &(dyn Fn(&str) -> SecretString + Sync),
    place: Option<&Target>,
) -> Setup<Vec<Difference>> {
    let names: Vec<&str> = wanted.iter().map(|role| role.name).collect();
    let ask = async |sql: &str| session.query(sql, &[&names]).await.map_err(session.fault());
    let rows = ask(ROLES).await?;
    let mut differences = Vec::new();
    for role in wanted {
        let Some(row) = rows.iter().find(|row| row.get::<_, &str>(0) == role.name) else {
            differences.push(role.made(&password(role.name)));
            continue;
        };
        let mut wrong: Vec<String> = Some(row.get(3)).filter(|text: &String| !text.is_empty()).into_iter().collect();
        if row.get::<_, bool>(1) != role.can_login {
            wrong.push(if role.can_login { "may not log in" } else { "may log in" }.to_owned());
        }
        if row.get::<_, i32>(2) != role.connections_max {
            wrong.push(format!("may hold {} connections", row.get::<_, i32>(2)));
        }
        if !wrong.is_empty() {
            let sql = format!("alter role {} {}", identifier(role.name), role.attributes());
            differences.push(Difference::give(format!("{} {}", role.name, wrong.join(", ")), sql));
        } else if role.can_login
            && let Some(place) = place
            && !logs_in(&place.login(role.name, password(role.name))).await?
        {
            differences.push(role.told(&password(role.name)));
        }
    }
    for row in ask(SETTINGS).await? {
        let (role, place): (&str, Option<&str>) = (row.get(0), row.get(1));
        let within = place.map(|name| format!(" in database {}", identifier(name))).unwrap_or_default();
        let sql = format!("alter role {}{within} reset all", identifier(role));
        let elsewhere = if place.is_some_and(|name| name != database) { within } else { String::new() };
        let what = format!("{role} has the setting {}{elsewhere}", row.get::<_, &str>(2));
        differences.push(Difference::take(what, sql));
    }
    for row in ask(MEMBERSHIPS).await? {
        let (member, role): (&str, &str) = (row.get(0), row.get(1));
        let sql = format!("revoke {} from {}", identifier(role), identifier(member));
        differences.push(Difference::take(format!("{member} is a member of {role}"), sql));
    }
    Ok(differences)
}

/// Whether the login is let in. A login that finds every place taken was let in before it looked for one.
async fn logs_in(login: &Target) -> Setup<bool> {
    let why = match target::connect(&login.tokio()).await {
        Ok(_) => return Ok(true),
        Err(why) => why,
    };
    match why.as_db_error().map(|db| db.code().code()) {
        Some(code) if code.starts_with("28") => Ok(false),
        // No place left; or no right to connect, which the grants tell.
        Some("53300" | "42501") => Ok(true),
        _ => Err(Fault::new(format!("database {} as {}", login.database, login.user), chain(&why))),
    }
}
