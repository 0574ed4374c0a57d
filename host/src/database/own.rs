//! The host's own part of a database: its two schemas, `<db>_control` and `<db>_identity`, and what PUBLIC may not.
//!
//! What the host's migrations make is written down in `migrations/schema.txt`, object by object, and compiled in; a test
//! makes the file anew and compares. So a function of schema `platform` whose body somebody changed is found, and made
//! again from the text that was reviewed, whatever the database says about itself.
//!
//! ```text
//! function platform.caller_kind()
//!     CREATE OR REPLACE FUNCTION platform.caller_kind()
//!     …
//! grant execute on function "platform"."idempotency_prune"() to <database>_control
//! ```

use std::{collections::BTreeSet, sync::LazyLock};

use secrecy::SecretString;

use super::{
    drift::{Difference, Repair},
    grant::{self, Grant, Login},
    inventory::{self, Kind, Object, Owner},
    migrate,
    session::{Session, identifier},
    target::Target,
};
use crate::error::{Fault, Setup};

/// The schemas that the host's migrations make.
const SCHEMAS: [&str; 2] = ["platform", "dinehub"];
/// In `schema.txt`: the beginning of the names of the host's roles.
const DATABASE: &str = "<database>_";

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::parse(include_str!("../../../migrations/schema.txt")));

/// What the migrations make.
struct Schema {
    objects: BTreeSet<Object>,
    /// As GRANT says it, without the word: `execute on function … to <database>_control`.
    grants: BTreeSet<String>,
}

impl Schema {
    fn parse(text: &str) -> Self {
        let grants = text.lines().filter_map(|line| line.strip_prefix("grant ")).map(str::to_owned).collect();
        let objects: Vec<&str> = text.lines().filter(|line| !line.starts_with("grant ")).collect();
        Self { objects: inventory::parse(&objects.join("\n")), grants }
    }
}

/// The names of the host's roles.
#[derive(Clone, Debug)]
pub struct Roles {
    /// The login of the host's requests.
    pub control: String,
    /// Owns what states and proves callers; nobody logs in as it.
    pub identity: String,
}

impl Roles {
    #[must_use]
    pub fn of(database: &str) -> Self {
        Self { control: format!("{database}_control"), identity: format!("{database}_identity") }
    }

    fn specs(&self) -> [Login<'_>; 2] {
        [Login::unbounded(&self.control), Login::nologin(&self.identity)]
    }
}

/// A function of schema `platform`, as GRANT names it, if the migrations make one.
pub(super) fn function(name: &str) -> Option<String> {
    let prefix = format!("platform.{name}(");
    let found = SCHEMA.objects.iter().find(|one| one.kind == Kind::Function && one.name.starts_with(&prefix))?;
    let arguments = found.name.get(prefix.len() - 1..)?;
    Some(format!("{}.{}{arguments}", identifier("platform"), identifier(name)))
}

/// What the database holds of the host's own, in the form of `migrations/schema.txt`.
pub async fn describe(session: &Session, database: &str) -> Setup<String> {
    let objects = inventory::read(session, &SCHEMAS).await?;
    let mut text = inventory::render(&objects);
    for grant in schema_grants(session, &Roles::of(database)).await? {
        text.push_str(&format!("grant {}\n", sentence(&grant, database)));
    }
    Ok(text)
}

/// As it stands in `schema.txt`.
fn sentence(grant: &Grant, database: &str) -> String {
    let role = match grant.role.strip_prefix(&format!("{database}_")) {
        Some(rest) => format!("{DATABASE}{rest}"),
        None => grant.role.clone(),
    };
    let option = if grant.grantable { " with grant option" } else { "" };
    format!("{} to {role}{option}", grant.line.sql())
}

/// Every grant within the host's schemas.
async fn schema_grants(session: &Session, roles: &Roles) -> Setup<Vec<Grant>> {
    let mut grants = grant::found(session, &SCHEMAS, &[&roles.control, &roles.identity]).await?;
    grants.retain(|grant| is_ours(&grant.line.object));
    Ok(grants.into_iter().collect())
}

fn is_ours(object: &str) -> bool {
    SCHEMAS.iter().any(|schema| {
        let schema = identifier(schema);
        object == schema || object.starts_with(&format!("{schema}."))
    })
}

/// Every difference of the host's own part. `place` names database and migrating login; with `is_tried` the host's login
/// is tried with its password; what `plugins` (logins) hold of schema `platform` is compared with each plugin. When
/// migrations are still to run, they are what there is to do first.
pub async fn differences(
    session: &Session,
    place: &Target,
    password: &(dyn Fn(&str) -> SecretString + Sync),
    is_tried: bool,
    plugins: &BTreeSet<String>,
) -> Setup<Vec<Difference>> {
    let roles = Roles::of(&place.database);
    let mut differences = migrate::host_pending(session).await?;
    if !differences.is_empty() {
        // The first migration makes the roles; a password is the host's to give.
        differences.push(Login::unbounded(&roles.control).told(&password(&roles.control)));
        differences.extend(grant::closed(session).await?);
        return Ok(differences);
    }
    let tried = is_tried.then_some(place);
    differences.extend(grant::roles(session, &place.database, &roles.specs(), password, tried).await?);
    for (schema, owner) in [("platform", Owner::Role(&roles.identity)), ("dinehub", Owner::Admin(&place.user))] {
        differences.extend(inventory::owners(session, schema, owner).await?);
    }
    let objects = inventory::differences(&SCHEMA.objects, &inventory::read(session, &SCHEMAS).await?);
    // What is granted on an object is granted after it is made, and revoked before it goes.
    let (given, taken): (Vec<_>, Vec<_>) = objects.into_iter().partition(|one| !matches!(one.repair, Repair::Take(_)));
    differences.extend(given);
    differences.extend(default_privileges(session, &roles).await?);
    differences.extend(inventory::belongings(session, &[&roles.control]).await?);
    differences.extend(grants(session, place, &roles, plugins).await?);
    differences.extend(grant::closed(session).await?);
    differences.extend(taken);
    Ok(differences)
}

async fn grants(
    session: &Session,
    place: &Target,
    roles: &Roles,
    plugins: &BTreeSet<String>,
) -> Setup<Vec<Difference>> {
    let database = &place.database;
    let mut found = grant::found(session, &SCHEMAS, &[&roles.control, &roles.identity]).await?;
    found.retain(|grant| !plugins.contains(&grant.role));
    let mut elsewhere = BTreeSet::new();
    for role in [&roles.control, &roles.identity] {
        elsewhere.insert(Grant::new(role, "connect", "database", identifier(database)));
        for function in grant::kept_functions(session).await? {
            elsewhere.insert(Grant::new(role, "execute", "function", function));
        }
    }
    let mut lacking = SCHEMA.grants.clone();
    let mut differences = Vec::new();
    for grant in &found {
        let is_known = elsewhere.remove(grant) || lacking.remove(&sentence(grant, database));
        if !is_known {
            differences.push(grant.unasked());
        }
    }
    differences.extend(elsewhere.iter().map(Grant::lacking));
    for sentence in lacking {
        let Some((line, end)) = sentence.split_once(&format!(" to {DATABASE}")) else {
            return Err(Fault::new("migrations/schema.txt", format!("`grant {sentence}` is to no role of the host")));
        };
        let role = format!("{database}_{end}");
        let sql = format!("grant {line} to {}", identifier(&role));
        differences.push(Difference::give(format!("{role} lacks {line}"), sql));
    }
    Ok(differences)
}

/// There is one: functions that `<db>_identity` makes are closed to PUBLIC.
async fn default_privileges(session: &Session, roles: &Roles) -> Setup<Vec<Difference>> {
    let sql = "select pg_catalog.format('%s for %s%s: %s', case d.defaclobjtype when 'f' then 'functions' when 'r' then 'tables'
          when 'S' then 'sequences' when 'T' then 'types' else 'schemas' end, r.rolname,
        coalesce(' in schema ' || n.nspname, ''), d.defaclacl), r.rolname::text = $1 and d.defaclobjtype = 'f' and n.oid is null
        and not exists (select from pg_catalog.aclexplode(d.defaclacl) a where a.grantee <> d.defaclrole)
      from pg_catalog.pg_default_acl d join pg_catalog.pg_roles r on r.oid = d.defaclrole
        left join pg_catalog.pg_namespace n on n.oid = d.defaclnamespace";
    let rows = session.query(sql, &[&roles.identity]).await.map_err(session.fault())?;
    let mut differences: Vec<Difference> = rows
        .iter()
        .filter(|row| !row.get::<_, bool>(1))
        .map(|row| {
            let what = format!("default privileges on {}", row.get::<_, &str>(0));
            Difference::hand(what, "every new object would carry them: `alter default privileges … revoke …`")
        })
        .collect();
    if rows.iter().all(|row| !row.get::<_, bool>(1)) {
        let role = identifier(&roles.identity);
        let sql = format!("alter default privileges for role {role} revoke execute on functions from public");
        differences.push(Difference::give("new functions of the host would be open to public", sql));
    }
    Ok(differences)
}
