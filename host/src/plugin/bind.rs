//! `plugin bind`: from a plugin's SQL files to typed statements and the WIT of its handles.
//!
//! ```text
//! plugins/ordering/queries/orders/place.sql      insert into ordering.purchase (account_id, note)
//!                                                values (:caller, :note?) returning id, placed_at
//!   → wit/deps/ordering-data/data.wit            place: func(note: option<string>) -> result<place-row, error>;
//! ```
//!
//! Nothing here trusts the files: PostgreSQL gives every type, every column and every privilege
//! ([`crate::database::privilege`]). [`prove`] does it again at admission with what a publisher shipped.

pub mod query;
pub mod wit;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::manifest::Manifest;
use crate::{
    database::{
        catalog::Catalog,
        migrate::Migration,
        privilege::{Draft, Prover, is_name},
        scratch,
        statement::Statement,
        target::Target,
    },
    error::{Fault, Setup},
    id::PluginId,
};

/// What a plugin asks of the database, proved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// By handle, then by name.
    pub statements: Vec<Statement>,
    pub catalog: Catalog,
    /// The text of `wit/deps/<id>-data/data.wit`; empty for a plugin without statements.
    pub wit: String,
}

/// Reads `queries/` and `migrations/` below `folder`, proves every statement on a scratch database that `admin` makes,
/// and writes the WIT of its handles and of those that the manifest declares when it changed. A refusal names file, line and fix.
pub async fn bind(folder: &Path, manifest: &Manifest, admin: &Target) -> Setup<Bound> {
    let id = &manifest.id;
    let drafts = drafts(folder)?;
    let (statements, catalog) = prove_drafts(&drafts, &migrations(folder)?, id, admin).await?;
    let wit = wit::write(id, &statements)?;
    if !wit.is_empty() {
        put(folder, &format!("{}-data/data.wit", wit::kebab(id.as_str())), &wit)?;
    }
    for (word, wit) in manifest.declared().wit(id) {
        put(folder, &format!("{}-{word}/{word}.wit", wit::kebab(id.as_str())), &wit)?;
    }
    Ok(Bound { statements, catalog, wit })
}

/// Writes a file of `wit/deps` when it changed.
fn put(folder: &Path, name: &str, wit: &str) -> Setup<()> {
    let path = folder.join("wit/deps").join(name);
    if fs::read_to_string(&path).ok().as_deref() == Some(wit) {
        return Ok(());
    }
    let directory = path.parent().unwrap_or(folder);
    fs::create_dir_all(directory).map_err(Fault::at(directory.display().to_string()))?;
    fs::write(&path, wit).map_err(Fault::at(path.display().to_string()))
}

/// Proves shipped statements again: what is computed here must equal what was shipped, down to the ask; and so must what
/// the migrations make, because the database is compared with it from then on.
pub async fn prove(
    id: &PluginId,
    statements: &[Statement],
    migrations: &[Migration],
    shipped: &Catalog,
    admin: &Target,
) -> Setup<()> {
    let drafts: Vec<Draft> = statements.iter().map(Draft::from).collect();
    let (proved, catalog) = prove_drafts(&drafts, migrations, id, admin).await?;
    for (shipped, proved) in statements.iter().zip(&proved) {
        if shipped != proved {
            return Err(Fault::new(
                format!("{id}: statement {}/{}", shipped.handle, shipped.name),
                "is not what PostgreSQL makes of its text: parameters, columns or ask differ",
            )
            .fix("build the plugin again with `dinehub plugin build`"));
        }
    }
    if *shipped != catalog {
        return Err(Fault::new(format!("{id}: catalog"), "is not what PostgreSQL makes of the plugin's migrations")
            .fix("build the plugin again with `dinehub plugin build`"));
    }
    Ok(())
}

/// The files of `migrations/`, in the order they run.
pub fn migrations(folder: &Path) -> Setup<Vec<Migration>> {
    let mut migrations = Vec::new();
    for path in sql_files(&folder.join("migrations"))? {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        migrations.push(Migration { name, text: read(&path)? });
    }
    Ok(migrations)
}

async fn prove_drafts(
    drafts: &[Draft],
    migrations: &[Migration],
    id: &PluginId,
    admin: &Target,
) -> Setup<(Vec<Statement>, Catalog)> {
    scratch::within(admin, id, migrations, async |scratch, catalog| {
        let prover = Prover::new(scratch, catalog).await?;
        let mut statements = Vec::new();
        for draft in drafts {
            statements.push(prover.prove(draft).await?);
        }
        Ok((statements, catalog.clone()))
    })
    .await
}

fn drafts(folder: &Path) -> Setup<Vec<Draft>> {
    let mut drafts = Vec::new();
    for handle in entries(&folder.join("queries"))?.into_iter().filter(|path| path.is_dir()) {
        let handle_name = ensure_name(&handle, "a handle")?;
        for path in sql_files(&handle)? {
            let name = ensure_name(&path, "a statement")?;
            let shown = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
            drafts.push(query::read(&shown, &handle_name, &name, &read(&path)?)?);
        }
    }
    Ok(drafts)
}

fn ensure_name(path: &Path, what: &str) -> Setup<String> {
    let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if is_name(&name) {
        return Ok(name);
    }
    Err(Fault::new(path.display().to_string(), format!("`{name}` is no name for {what}"))
        .fix("lower case, words that start with a letter, joined by single `_`: `find_mine`"))
}

fn sql_files(directory: &Path) -> Setup<Vec<PathBuf>> {
    let mut paths = entries(directory)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    Ok(paths)
}

/// The entries of a directory in order of their names; none when there is no such directory.
fn entries(directory: &Path) -> Setup<Vec<PathBuf>> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let at = || Fault::at::<std::io::Error>(directory.display().to_string());
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(at())? {
        paths.push(entry.map_err(at())?.path());
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Setup<String> {
    fs::read_to_string(path).map_err(Fault::at(path.display().to_string()))
}
