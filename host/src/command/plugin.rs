//! `dinehub plugin`: for feature teams, statements become typed handles and sources artefacts; for operators, artefacts are
//! installed on a running host.

pub mod installed;

use clap::Subcommand;

use super::project::Project;
use crate::{
    database::{local::Cluster, target::Target},
    error::{Fault, Setup},
    plugin::{
        bind,
        build::{self, Workshop},
        package::Package,
    },
};

/// `dinehub plugin …`
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Parse queries/ and migrations/ on a scratch database and write each plugin's WIT handles.
    Bind,
    /// Bind, compile and seal every plugin; prints where the artefacts are.
    Build,
    /// Serve an artefact from the next request on. Needs no restart; refuses what grants.lock does not approve.
    Install(installed::Install),
    /// Every artefact of this host: what is served, what is switched off, what could be gone back to.
    List(installed::List),
    /// Switch a plugin off: its paths answer 503, and so does whoever calls it.
    Disable(installed::One),
    /// Switch a plugin on again.
    Enable(installed::One),
    /// Serve what was served before, if its approval was kept (`grants approve --keep`).
    Rollback(installed::One),
}

/// Runs one of them.
pub async fn run(project: impl Fn() -> Setup<Project>, command: Command) -> Setup<()> {
    match command {
        Command::Install(arguments) => installed::install(&arguments).await,
        Command::List(arguments) => installed::list(&arguments),
        Command::Disable(one) => installed::switch(&one, true).await,
        Command::Enable(one) => installed::switch(&one, false).await,
        Command::Rollback(one) => installed::roll_back(&one).await,
        Command::Bind => with_scratch(&project()?, bind_all).await,
        Command::Build => with_scratch(&project()?, build_all).await,
    }
}

/// Works with a scratch server of the project's own, stopped at the end.
async fn with_scratch(project: &Project, work: impl AsyncFnOnce(Workshop, Target) -> Setup<()>) -> Setup<()> {
    let directory = project.state()?.join("scratch");
    let cluster = tokio::task::spawn_blocking(move || Cluster::start(&directory, &["fsync = off"]));
    let cluster = cluster.await.map_err(Fault::at("PostgreSQL"))??;
    let done = work(project.workshop(), cluster.admin("postgres")).await;
    let stopped = tokio::task::spawn_blocking(move || cluster.stop()).await.map_err(Fault::at("PostgreSQL"))?;
    done.and(stopped)
}

async fn bind_all(workshop: Workshop, scratch: Target) -> Setup<()> {
    for folder in workshop.plugins()? {
        let (manifest, _) = build::read_manifest(&folder)?;
        let bound = bind::bind(&folder, &manifest, &scratch).await?;
        println!("{}: {} statements", manifest.id, bound.statements.len());
    }
    Ok(())
}

async fn build_all(workshop: Workshop, scratch: Target) -> Setup<()> {
    for package in build::build_all(&workshop, &scratch, |line| println!("{line}")).await? {
        let Package { manifest, digest, .. } = &package;
        println!("{} {} sha256:{digest}", workshop.artefact(manifest).display(), manifest.version);
    }
    Ok(())
}
