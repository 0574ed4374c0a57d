//! The verbs of the `dinehub` program. Each file is one; this one is the list.

pub mod audit;
pub mod background;
pub mod certificate;
pub mod compile;
pub mod db;
pub mod dev;
pub mod edge;
pub mod erase;
pub mod event;
pub mod grants;
pub mod install;
pub mod outside;
pub mod plugin;
pub mod project;
pub mod reload;
pub mod seed;
pub mod serve;
pub mod start;
pub mod stock;
pub mod top;
pub mod user;
pub mod watch;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand, ValueEnum};

use self::project::Project;
use crate::error::Setup;

/// A WebAssembly plugin platform for restaurants and their guests.
#[derive(Debug, Parser)]
#[command(name = "dinehub", version, about, propagate_version = true)]
pub struct Program {
    /// Work in this directory: the project, with plugins/ and secrets/.
    #[arg(short = 'C', value_name = "DIR", global = true)]
    pub directory: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

/// One verb.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build the plugins, start a private PostgreSQL, migrate, grant, seed, and serve on 127.0.0.1:3000.
    Dev(dev::Arguments),
    /// Serve built plugins on a database that `db apply` prepared; refuses when anything differs from them.
    Serve(serve::Arguments),
    /// Compare a database with the built plugins, and make it what they want.
    #[command(subcommand)]
    Db(db::Command),
    /// Bind, build and inspect plugins.
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// See what plugins may touch.
    #[command(subcommand)]
    Grants(grants::Command),
    /// What the plugins of a running host use, and how near they come to their limits.
    Top(top::Top),
    /// What happened, and whether the record of it is whole.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Events that were not delivered, for operators.
    #[command(subcommand)]
    Event(event::Command),
    /// Accounts, for operators.
    #[command(subcommand)]
    User(user::Command),
    /// Compile the component on standard input; the host starts this itself.
    #[command(hide = true)]
    Compile(compile::Arguments),
}

/// How a listing is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    #[default]
    Table,
    Json,
}

/// Runs one verb. A code other than success is a finding, not a failure; each verb's `--help` says which.
pub async fn run(program: Program) -> Setup<ExitCode> {
    let here = program.directory.unwrap_or_else(|| PathBuf::from("."));
    let project = || Project::find(&here);
    match program.command {
        Command::Dev(arguments) => dev::run(&project()?, arguments).await?,
        Command::Serve(arguments) => serve::run(arguments).await?,
        Command::Db(command) => return db::run(command).await,
        Command::Plugin(command) => plugin::run(project, command).await?,
        Command::Grants(command) => grants::run(&project()?, &command).await?,
        Command::Top(arguments) => return top::run(&arguments).await,
        Command::Audit(command) => return audit::run(command).await,
        Command::Event(command) => event::run(command).await?,
        Command::User(command) => user::run(command).await?,
        Command::Compile(arguments) => return compile::run(&arguments),
    }
    Ok(ExitCode::SUCCESS)
}
