//! `dinehub plugin`: for feature teams. Statements become typed handles, sources become artefacts.

use clap::Subcommand;

use super::project::Project;
use crate::{
    database::local::Cluster,
    error::{Fault, Setup},
    plugin::{bind, build},
};

/// `dinehub plugin …`
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Parse queries/ and migrations/ on a scratch database and write each plugin's WIT handles.
    Bind,
    /// Bind, compile and seal every plugin; prints where the artefacts are.
    Build,
}

/// Runs with a scratch server of the project's own, stopped at the end.
pub async fn run(project: &Project, command: Command) -> Setup<()> {
    let directory = project.state()?.join("scratch");
    let cluster = tokio::task::spawn_blocking(move || Cluster::start(&directory, &["fsync = off"]));
    let cluster = cluster.await.map_err(Fault::at("PostgreSQL"))??;
    let done = work(project, &cluster, command).await;
    let stopped = tokio::task::spawn_blocking(move || cluster.stop()).await.map_err(Fault::at("PostgreSQL"))?;
    done.and(stopped)
}

async fn work(project: &Project, cluster: &Cluster, command: Command) -> Setup<()> {
    let workshop = project.workshop();
    let scratch = cluster.admin("postgres");
    match command {
        Command::Bind => {
            for folder in workshop.plugins()? {
                let (manifest, _) = build::read_manifest(&folder)?;
                let bound = bind::bind(&folder, &manifest, &scratch).await?;
                println!("{}: {} statements", manifest.id, bound.statements.len());
            }
        }
        Command::Build => {
            let packages = build::build_all(&workshop, &scratch, |line| println!("{line}")).await?;
            for package in packages {
                let id = package.manifest.id.as_str();
                println!("{} {} sha256:{}", workshop.artefact(id).display(), package.manifest.version, package.digest);
            }
        }
    }
    Ok(())
}
