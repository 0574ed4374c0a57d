//! What a database must hold so that a host may serve some plugins from it: compared, and made so.
//!
//! [`differences`] only reads, and any login may read what it reads; `serve` calls it as `<db>_control` and refuses to
//! serve on a single difference. [`apply`] works as an administrator, in an order in which each part stands on those
//! before: the host's own part; then for each plugin its roles and schema, its migrations, the proof of its statements,
//! what its migrations made, and the grants. Each part is one transaction. What would lose data is left to a person, and
//! then [`apply`] fails and names it.

use std::collections::BTreeSet;

use secrecy::SecretString;

use super::{
    catalog::{self, Catalog},
    drift::{self, Difference},
    grant,
    inventory::{self, Owner},
    migrate::{self, Migration},
    own,
    session::{Session, identifier, literal},
    statement::Statement,
    target::Target,
};
use crate::{
    error::{Fault, Setup},
    id::PluginId,
};

/// A repair may bring another to light: revoking from a table takes its columns' grants with it.
const ROUNDS_MAX: usize = 4;
const WAY_OUT: &str = "`dinehub db plan` shows the way out of each";

/// What one plugin's artefact wants of the database.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    pub id: &'a PluginId,
    pub statements: &'a [Statement],
    pub migrations: &'a [Migration],
    /// As sealed into the artefact; [`apply`] has it proved before it builds on it.
    pub catalog: &'a Catalog,
    /// Names the artefact and the host that proves it.
    pub mark: String,
    /// Which approval of the plugin it is; 0 when it was approved for one run only.
    pub generation: u64,
    /// Whether it can forget people: deletions wait for it.
    pub forgets: bool,
}

/// Where the database is, and how its roles log in.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The database, and the login that migrates.
    pub admin: &'a Target,
    /// The password of a role.
    pub password: &'a (dyn Fn(&str) -> SecretString + Sync),
}

/// What `apply` tells as it goes.
pub type Tell<'a> = &'a mut (dyn FnMut(&Difference) + Send);

impl Place<'_> {
    fn database(&self) -> &str {
        &self.admin.database
    }
}

/// Every difference, the host's own first. With `is_tried` each login is tried with its password.
pub async fn differences(
    session: &Session,
    place: Place<'_>,
    plugins: &[Wanted<'_>],
    is_tried: bool,
) -> Setup<Vec<Difference>> {
    let mut all = own::differences(session, place.admin, place.password, is_tried, &logins(place, plugins)?).await?;
    for plugin in plugins {
        let mut theirs = roles(session, place, plugin, is_tried).await?;
        let pending = migrate::plugin_pending(session, plugin.id, plugin.migrations).await?;
        if pending.is_empty() {
            theirs.extend(structure(session, plugin).await?);
        }
        theirs.extend(pending);
        theirs.extend(proof(session, plugin).await?);
        theirs.extend(grant::differences(session, place.database(), plugin.id, plugin.statements).await?);
        all.extend(theirs.into_iter().map(|one| one.of(plugin.id)));
    }
    // What one plugin's login holds of another's schema is found for both, and taken away once.
    let mut seen = BTreeSet::new();
    all.retain(|one| one.sql().is_none_or(|sql| seen.insert(sql.to_string())));
    Ok(all)
}

/// The names of all plugins' logins.
fn logins(place: Place<'_>, plugins: &[Wanted<'_>]) -> Setup<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for plugin in plugins {
        let grant::Roles { owner, rw, ro } = grant::Roles::of(place.database(), plugin.id)?;
        names.extend([owner, rw, ro]);
    }
    Ok(names)
}

/// The logins and the schema.
async fn roles(session: &Session, place: Place<'_>, plugin: &Wanted<'_>, is_tried: bool) -> Setup<Vec<Difference>> {
    let roles = grant::Roles::of(place.database(), plugin.id)?;
    let tried = is_tried.then_some(place.admin);
    let mut all = grant::roles(session, place.database(), &roles.logins(), place.password, tried).await?;
    let schema = plugin.id.as_str();
    let sql = "select from pg_catalog.pg_namespace where nspname = $1";
    if session.query_opt(sql, &[&schema]).await.map_err(session.fault())?.is_none() {
        let sql = format!("create schema {} authorization {}", identifier(schema), identifier(&roles.owner));
        all.push(Difference::give(format!("schema {schema} is missing"), sql));
    }
    all.extend(inventory::owners(session, schema, Owner::Role(&roles.owner)).await?);
    all.extend(inventory::belongings(session, &[&roles.rw, &roles.ro]).await?);
    Ok(all)
}

/// What the migrations made, against what is there.
async fn objects(session: &Session, plugin: &Wanted<'_>) -> Setup<Vec<Difference>> {
    let found = inventory::read(session, &[plugin.id.as_str()]).await?;
    Ok(inventory::differences(&plugin.catalog.objects, &found))
}

/// The objects; then what no comparison of objects shows.
async fn structure(session: &Session, plugin: &Wanted<'_>) -> Setup<Vec<Difference>> {
    let mut all = objects(session, plugin).await?;
    if all.is_empty() {
        all.extend(catalog::offenders(session, plugin.id).await?);
    }
    Ok(all)
}

/// Objects that hold no rows and that no plugin may have: gone before a migration runs among them.
async fn intruders(session: &Session, plugin: &Wanted<'_>) -> Setup<Vec<Difference>> {
    use inventory::Kind::{DisabledTrigger, Function, MaterializedView, Rule, Trigger, View};
    let mut found = inventory::read(session, &[plugin.id.as_str()]).await?;
    found.retain(|one| matches!(one.kind, DisabledTrigger | Function | MaterializedView | Rule | Trigger | View));
    Ok(inventory::differences(&BTreeSet::new(), &found))
}

/// Whether this artefact is the one whose statements were proved here.
async fn proof(session: &Session, plugin: &Wanted<'_>) -> Setup<Vec<Difference>> {
    let sql = "select from pg_catalog.pg_class where oid = pg_catalog.to_regclass('dinehub.admission')";
    let is_there = session.query_opt(sql, &[]).await.map_err(session.fault())?.is_some();
    if is_there {
        // As JSON: `plan` also reads a table that has not got the column yet.
        let sql =
            "select mark, generation, (to_jsonb(a) ->> 'forgets')::bool from dinehub.admission a where plugin = $1";
        let row = session.query_opt(sql, &[&plugin.id.as_str()]).await.map_err(session.fault())?;
        let known: Option<(String, i64, Option<bool>)> = row.map(|row| (row.get(0), row.get(1), row.get(2)));
        let (mark, seen, forgets) = known.unwrap_or_default();
        ensure_not_older(plugin, seen)?;
        if mark == plugin.mark && plugin.generation() <= seen && forgets == Some(plugin.forgets) {
            return Ok(Vec::new());
        }
    }
    let step = "prove each statement again on a scratch database";
    Ok(vec![Difference::step("this artefact is not the one that was applied here", step)])
}

impl Wanted<'_> {
    fn generation(&self) -> i64 {
        i64::try_from(self.generation).unwrap_or(i64::MAX)
    }
}

/// An approval that this database has seen replaced does not come back: whoever wants the old artefact approves it anew.
fn ensure_not_older(plugin: &Wanted<'_>, seen: i64) -> Setup<()> {
    if plugin.generation == 0 || plugin.generation() >= seen {
        return Ok(());
    }
    let id = plugin.id;
    let what = format!("is approval {} of this plugin, and this database has seen approval {seen}", plugin.generation);
    Err(Fault::new(id.as_str(), what)
        .fix(format!("use the newer grants.lock and artefact, or approve this one anew: dinehub grants approve {id}")))
}

/// Makes the database what it should be; `prove` proves an artefact's statements and its catalog. Tells what was done.
pub async fn apply(
    place: Place<'_>,
    plugins: &[Wanted<'_>],
    prove: impl AsyncFn(&Wanted<'_>) -> Setup<()>,
    tell: Tell<'_>,
) -> Setup<()> {
    let session = Session::open(place.admin).await?;
    // Two at once would each repair what the other is half through.
    session.run("select pg_catalog.pg_advisory_lock(pg_catalog.hashtextextended('dinehub db apply', 0))").await?;
    let pending = migrate::host_pending(&session).await?;
    if !pending.is_empty() {
        migrate::host(place.admin).await?;
        pending.iter().for_each(&mut *tell);
    }
    let logins = logins(place, plugins)?;
    repeat(&session, tell, async || own::differences(&session, place.admin, place.password, true, &logins).await)
        .await?;
    for plugin in plugins {
        apply_one(&session, place, plugin, &prove, tell).await?;
    }
    let left = differences(&session, place, plugins, false).await?;
    refuse(place.database(), &left, WAY_OUT)
}

async fn apply_one(
    session: &Session,
    place: Place<'_>,
    plugin: &Wanted<'_>,
    prove: &impl AsyncFn(&Wanted<'_>) -> Setup<()>,
    tell: Tell<'_>,
) -> Setup<()> {
    let mut tell = |one: &Difference| tell(&one.clone().of(plugin.id));
    // First of all, because nothing may be done for an approval that was replaced.
    proof(session, plugin).await?;
    repeat(session, &mut tell, async || roles(session, place, plugin, true).await).await?;
    let entry = grant::owner_differences(session, place.database(), plugin.id).await?;
    drift::repair(session, &entry, &mut tell).await?;
    let pending = migrate::plugin_pending(session, plugin.id, plugin.migrations).await?;
    if !pending.is_empty() {
        drift::repair(session, &intruders(session, plugin).await?, &mut tell).await?;
        let owner = grant::Roles::of(place.database(), plugin.id)?.owner;
        let owner = place.admin.login(&owner, (place.password)(&owner));
        let migrated = migrate::plugin(place.admin, &owner, plugin.id, plugin.migrations).await;
        migrated.map_err(|fault| fault.within(plugin.id))?;
        pending.iter().for_each(&mut tell);
    }
    for step in proof(session, plugin).await? {
        prove(plugin).await.map_err(|fault| fault.within(plugin.id))?;
        note(session, plugin).await?;
        tell(&step);
    }
    repeat(session, &mut tell, async || objects(session, plugin).await).await?;
    // A grant on a table that is not there could not be given.
    let left: Vec<_> = objects(session, plugin).await?.into_iter().map(|one| one.of(plugin.id)).collect();
    refuse(place.database(), &left, WAY_OUT)?;
    repeat(session, &mut tell, async || {
        grant::differences(session, place.database(), plugin.id, plugin.statements).await
    })
    .await
}

/// Repairs until SQL has nothing left to do.
async fn repeat(session: &Session, tell: Tell<'_>, compare: impl AsyncFn() -> Setup<Vec<Difference>>) -> Setup<()> {
    for _ in 0..ROUNDS_MAX {
        if drift::repair(session, &compare().await?, tell).await? == 0 {
            break;
        }
    }
    Ok(())
}

async fn note(session: &Session, plugin: &Wanted<'_>) -> Setup<()> {
    let sql = format!(
        "insert into dinehub.admission as known (plugin, mark, generation, forgets) values ({}, {}, {}, {})
         on conflict (plugin) do update set mark = excluded.mark, admitted_at = now(), forgets = excluded.forgets,
           generation = greatest(known.generation, excluded.generation)",
        literal(plugin.id.as_str()),
        literal(&plugin.mark),
        plugin.generation(),
        plugin.forgets
    );
    session.run(&sql).await
}

/// A fault that names each difference.
pub fn refuse(database: &str, left: &[Difference], fix: &str) -> Setup<()> {
    if left.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = left.iter().map(|one| format!("\n  {one}")).collect();
    let what = format!("is not what the artefacts want:{}", lines.join(""));
    Err(Fault::new(format!("database {database}"), what).fix(fix))
}
