//! From artefacts to a database that may be served from: what `db`, `dev`, `serve` and the tests share.
//!
//! Two logins. [`apply`] and [`install`] work as an administrator and are over before the first request. [`ensure`] is
//! what `serve` does instead: it reads as `<db>_control`, repairs nothing, and refuses on the first difference, because a
//! host that silently mends what somebody changed also hides that somebody did.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::start::Rings;
use crate::{
    database::{
        drift::Difference,
        installation::{self, Place, Wanted},
        own,
        session::Session,
        statement::Statement,
        target::Target,
    },
    error::{Fault, Setup},
    id::PluginId,
    plugin::{approval::Admission, bind, package::Package},
};

/// All artefacts of one plugin: those that are served and those that are held ready. They share its schema, at the newest
/// one's migrations, and its logins, which hold what the statements of all of them ask.
struct Group<'a> {
    newest: &'a Admission,
    statements: Vec<Statement>,
    mark: String,
}

fn grouped<'a>(admitted: impl IntoIterator<Item = &'a Admission>) -> Setup<Vec<Group<'a>>> {
    let mut by_id: BTreeMap<&PluginId, Vec<&Admission>> = BTreeMap::new();
    for admission in admitted {
        by_id.entry(admission.candidate().id()).or_default().push(admission);
    }
    by_id.into_values().map(group).collect()
}

fn group(mut all: Vec<&Admission>) -> Setup<Group<'_>> {
    all.sort_by(|one, other| other.package().manifest.version.cmp(&one.package().manifest.version));
    let Some((newest, older)) = all.split_first() else { return Err(Fault::new("plugins", "a group of none")) };
    let mut statements = newest.package().content.statements.clone();
    for one in older {
        ensure_same_past(one.package(), newest.package())?;
        let theirs = one.package().content.statements.iter();
        statements.extend(theirs.filter(|statement| !newest.package().content.statements.contains(statement)).cloned());
    }
    let digests: Vec<&str> = all.iter().map(|one| one.package().digest.as_str()).collect();
    let digest = match digests.as_slice() {
        [one] => (*one).to_owned(),
        many => hex::encode(Sha256::digest(many.join("\n"))),
    };
    // Artefacts are proved again by each version of the host.
    Ok(Group { newest, statements, mark: format!("{} {digest}", env!("CARGO_PKG_VERSION")) })
}

/// An older artefact runs on the newer one's schema, so every migration of its own must have led there.
fn ensure_same_past(older: &Package, newest: &Package) -> Setup<()> {
    let theirs = &newest.content.migrations;
    match older.content.migrations.iter().find(|migration| !theirs.contains(migration)) {
        None => Ok(()),
        Some(migration) => {
            let (old, new) = (&older.manifest.version, &newest.manifest.version);
            let what =
                format!("{new} has not migrations/{} of {old}, and both are to run on one schema", migration.name);
            Err(Fault::new(newest.manifest.id.as_str(), what)
                .fix(format!("ship every migration of {old} unchanged in {new}, or do not keep {old} approved")))
        }
    }
}

/// What the artefacts want of a database.
fn wanted<'g>(groups: &'g [Group<'_>]) -> Vec<Wanted<'g>> {
    groups.iter().map(wanted_by).collect()
}

fn wanted_by<'g>(group: &'g Group<'_>) -> Wanted<'g> {
    let package = group.newest.package();
    Wanted {
        generation: group.newest.generation(),
        id: &package.manifest.id,
        statements: &group.statements,
        migrations: &package.content.migrations,
        catalog: &package.content.catalog,
        mark: group.mark.clone(),
        forgets: group.newest.candidate().privacy_forgets(),
    }
}

/// Brings the database to where these packages need it, and tells each thing that was done. `admin` is a superuser, or a
/// role that may create roles and databases.
pub async fn apply(
    admin: &Target,
    rings: &Rings,
    admitted: impl IntoIterator<Item = &Admission>,
    tell: &mut (dyn FnMut(&Difference) + Send),
) -> Setup<()> {
    let password = |role: &str| rings.password(role);
    let prove = async |wanted: &Wanted<'_>| {
        let Wanted { id, statements, migrations, catalog, .. } = wanted;
        bind::prove(id, statements, migrations, catalog, admin).await
    };
    let groups = grouped(admitted)?;
    installation::apply(Place { admin, password: &password }, &wanted(&groups), prove, tell).await
}

/// The same, silently.
pub async fn install(admin: &Target, rings: &Rings, admitted: impl IntoIterator<Item = &Admission>) -> Setup<()> {
    apply(admin, rings, admitted, &mut |_| {}).await
}

/// Every difference between what the packages want and what the database is. Each login is tried.
pub async fn differences(
    admin: &Target,
    rings: &Rings,
    admitted: impl IntoIterator<Item = &Admission>,
) -> Setup<Vec<Difference>> {
    let groups = grouped(admitted)?;
    let password = |role: &str| rings.password(role);
    let session = Session::open(admin).await?;
    installation::differences(&session, Place { admin, password: &password }, &wanted(&groups), true).await
}

/// Refuses when anything differs. Needs no administrator: `place` names the database, and the host's own login reads.
pub async fn ensure(place: &Target, rings: &Rings, admitted: impl IntoIterator<Item = &Admission>) -> Setup<()> {
    const FIX: &str = "`dinehub db plan` shows each difference with its SQL, `dinehub db apply` makes it right";
    let password = |role: &str| rings.password(role);
    let control = rings.login(place, &own::Roles::of(&place.database).control);
    let session = Session::open(&control).await.map_err(|fault| {
        fault.fix("on a new database, or with another ring `database`: run `dinehub db apply` first")
    })?;
    let place = Place { admin: place, password: &password };
    let groups = grouped(admitted)?;
    let found = installation::differences(&session, place, &wanted(&groups), true).await;
    let found = found.map_err(|fault| fault.fix(FIX))?;
    installation::refuse(&control.database, &found, FIX)
}
