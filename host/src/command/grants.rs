//! `dinehub grants …`: what plugins may touch, for reviewers. Everything but `unused` works offline, from the artefacts
//! and `plugins/grants.lock` alone.

pub mod approve;
pub mod diff;
pub mod explain;
pub mod key;
pub mod show;
pub mod unused;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{project::Project, serve::read_packages};
use crate::{
    error::{Fault, Setup},
    id::PluginId,
    plugin::{admit::Candidate, approval, lock::Block, package::Package},
};

/// `dinehub grants …`
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Imports, statements with the columns they read and write, routes and roles, limits.
    Show(show::Show),
    /// What differs between two locks, or between the lock and what is built. Fails when anything grew.
    Diff(diff::Diff),
    /// Approve a plugin as it is built: sign its block of plugins/grants.lock.
    Approve(approve::Approve),
    /// Take a plugin's approval back.
    Revoke(approve::Revoke),
    /// Why a role can, or cannot, reach a column through a plugin.
    Explain(explain::Explain),
    /// What is granted and was never used, with the change that would take it away.
    Unused(unused::Unused),
    /// Make a reviewer's signing key.
    Key(key::Key),
}

/// Where the artefacts are.
#[derive(Clone, Debug, Default, Args)]
pub struct Artefacts {
    /// The directory with the artefacts; the project's own when absent.
    #[arg(long, value_name = "DIR")]
    pub artefacts: Option<PathBuf>,
}

impl Artefacts {
    fn read(&self, project: &Project) -> Setup<Vec<Package>> {
        read_packages(&self.artefacts.clone().unwrap_or_else(|| project.workshop().output))
    }

    fn candidates(&self, project: &Project) -> Setup<Vec<Candidate>> {
        self.read(project)?.into_iter().map(Candidate::read).collect()
    }

    fn asked(&self, project: &Project) -> Setup<Vec<Block>> {
        approval::asked(&self.candidates(project)?)
    }
}

fn find<T>(all: impl IntoIterator<Item = T>, id: &PluginId, of: impl Fn(&T) -> &PluginId) -> Setup<T> {
    all.into_iter()
        .find(|one| of(one) == id)
        .ok_or_else(|| Fault::new(id.as_str(), "is not among the artefacts").fix("dinehub plugin build"))
}

/// Runs one of them.
pub async fn run(project: &Project, command: &Command) -> Setup<()> {
    match command {
        Command::Show(arguments) => show::run(project, arguments),
        Command::Diff(arguments) => diff::run(project, arguments).await,
        Command::Approve(arguments) => approve::run(project, arguments),
        Command::Revoke(arguments) => approve::revoke(project, arguments),
        Command::Explain(arguments) => explain::run(project, arguments).await,
        Command::Unused(arguments) => unused::run(project, arguments).await,
        Command::Key(arguments) => key::run(arguments),
    }
}
