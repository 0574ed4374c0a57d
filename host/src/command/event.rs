//! `dinehub event`: what was published and not delivered, and calling it back. For operators, on a running system.

use std::{env, fmt::Write as _, path::PathBuf};

use clap::{Args, Subcommand};
use sqlx::PgPool;

use super::{
    Output, serve,
    start::{self, Rings},
};
use crate::{
    config::Config,
    database::{
        event::{self, Delivery},
        target::Target,
    },
    error::{Fault, Setup},
    id::PluginId,
};

/// Deliveries that one listing shows.
const LISTED_MAX: i64 = 1_000;

/// `dinehub event …`
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Deliveries that wait, and those that failed too often; at most 1000, oldest first.
    List(List),
    /// Deliver what is dead again: one delivery by its id, or all of a subscriber's.
    Replay(Replay),
}

/// `dinehub event list`
#[derive(Clone, Debug, Args)]
pub struct List {
    /// Only those that failed too often.
    #[arg(long)]
    pub dead: bool,
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    /// The server's configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `dinehub event replay`
#[derive(Clone, Debug, Args)]
pub struct Replay {
    /// A delivery, as `list` shows it.
    #[arg(required_unless_present = "dead", conflicts_with = "dead")]
    pub id: Option<i64>,
    /// All that are dead of one subscriber.
    #[arg(long, requires = "plugin")]
    pub dead: bool,
    /// The subscriber.
    #[arg(long, value_name = "ID", requires = "dead")]
    pub plugin: Option<PluginId>,
    /// The server's configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Runs one of them.
pub async fn run(command: Command) -> Setup<()> {
    match command {
        Command::List(list) => {
            let control = control(list.config)?;
            let found = event::list(&control, list.dead, LISTED_MAX).await.map_err(Fault::at("platform.delivery"))?;
            match list.output {
                Output::Json => println!("{}", serde_json::to_string_pretty(&found).map_err(Fault::at("output"))?),
                Output::Table => print!("{}", table(&found)),
            }
        }
        Command::Replay(replay) => {
            let control = control(replay.config)?;
            let subscriber = replay.plugin.as_ref().map(PluginId::as_str);
            let count = event::replay(&control, replay.id, subscriber).await.map_err(Fault::at("platform.delivery"))?;
            if let (0, Some(id)) = (count, replay.id) {
                return Err(Fault::new(format!("delivery {id}"), "is not dead, or not there")
                    .fix("dinehub event list --dead shows those that are"));
            }
            println!("{count} to be delivered again");
        }
    }
    Ok(())
}

fn control(config: Option<PathBuf>) -> Setup<PgPool> {
    let config = Config::read(config.as_deref(), env::vars())?;
    let rings = Rings::open(&serve::open_vault(&config)?)?;
    Ok(start::control_pool(&Target::parse(&config.database.url)?, &rings, &config))
}

/// For people.
#[must_use]
pub fn table(deliveries: &[Delivery]) -> String {
    let mut out = String::new();
    for one in deliveries {
        let Delivery { id, state, subscriber, interface, function, published_at, attempts, .. } = one;
        let key = one.key.as_ref().map(|key| format!(" key {key}")).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{id:>8} {state:<8} {subscriber:<24} {interface} {function}{key}  published {published_at}, failed {attempts} times"
        );
        if let Some(why) = &one.failure {
            let _ = writeln!(out, "         {}", why.escape_debug());
        }
    }
    out
}
