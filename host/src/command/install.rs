//! From artefacts to a database that may be served from: what `db`, `dev`, `serve` and the tests share.
//!
//! Two logins. [`apply`] and [`install`] work as an administrator and are over before the first request. [`ensure`] is
//! what `serve` does instead: it reads as `<db>_control`, repairs nothing, and refuses on the first difference, because a
//! host that silently mends what somebody changed also hides that somebody did.

use super::start::Rings;
use crate::{
    database::{
        drift::Difference,
        installation::{self, Place, Wanted},
        own,
        session::Session,
        target::Target,
    },
    error::Setup,
    plugin::{approval::Admission, bind},
};

/// What the artefacts want of a database.
fn wanted(admitted: &[Admission]) -> Vec<Wanted<'_>> {
    admitted.iter().map(wanted_by).collect()
}

fn wanted_by(admission: &Admission) -> Wanted<'_> {
    let package = admission.package();
    Wanted {
        generation: admission.generation(),
        id: &package.manifest.id,
        statements: &package.content.statements,
        migrations: &package.content.migrations,
        catalog: &package.content.catalog,
        // An artefact is proved again by each version of the host.
        mark: format!("{} {}", env!("CARGO_PKG_VERSION"), package.digest),
    }
}

/// Brings the database to where these packages need it, and tells each thing that was done. `admin` is a superuser, or a
/// role that may create roles and databases.
pub async fn apply(
    admin: &Target,
    rings: &Rings,
    admitted: &[Admission],
    tell: &mut (dyn FnMut(&Difference) + Send),
) -> Setup<()> {
    let password = |role: &str| rings.password(role);
    let prove = async |wanted: &Wanted<'_>| {
        let Wanted { id, statements, migrations, catalog, .. } = wanted;
        bind::prove(id, statements, migrations, catalog, admin).await
    };
    installation::apply(Place { admin, password: &password }, &wanted(admitted), prove, tell).await
}

/// The same, silently.
pub async fn install(admin: &Target, rings: &Rings, admitted: &[Admission]) -> Setup<()> {
    apply(admin, rings, admitted, &mut |_| {}).await
}

/// Every difference between what the packages want and what the database is. Each login is tried.
pub async fn differences(admin: &Target, rings: &Rings, admitted: &[Admission]) -> Setup<Vec<Difference>> {
    let password = |role: &str| rings.password(role);
    let session = Session::open(admin).await?;
    installation::differences(&session, Place { admin, password: &password }, &wanted(admitted), true).await
}

/// Refuses when anything differs. Needs no administrator: `place` names the database, and the host's own login reads.
pub async fn ensure(place: &Target, rings: &Rings, admitted: &[Admission]) -> Setup<()> {
    const FIX: &str = "`dinehub db plan` shows each difference with its SQL, `dinehub db apply` makes it right";
    let password = |role: &str| rings.password(role);
    let control = rings.login(place, &own::Roles::of(&place.database).control);
    let session = Session::open(&control).await.map_err(|fault| {
        fault.fix("on a new database, or with another ring `database`: run `dinehub db apply` first")
    })?;
    let place = Place { admin: place, password: &password };
    let found = installation::differences(&session, place, &wanted(admitted), true).await;
    let found = found.map_err(|fault| fault.fix(FIX))?;
    installation::refuse(&control.database, &found, FIX)
}
