//! `dinehub user`: accounts, for operators. The first administrator is made here, because nobody could grant it yet.

use std::{env, io::Read as _, path::PathBuf};

use clap::{Args, Subcommand};
use secrecy::SecretString;

use super::{
    project::read_roles,
    serve,
    start::{self, Rings},
};
use crate::{
    config::Config,
    database::target::Target,
    error::{Fault, Setup},
    id::Role,
    identity::account::NewAccount,
};

/// `dinehub user …`
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Open an account with given roles; the password is read from standard input.
    Add(Add),
}

/// `dinehub user add`
#[derive(Clone, Debug, Args)]
pub struct Add {
    pub email: String,
    #[arg(long)]
    pub name: String,
    /// May be given several times.
    #[arg(long = "role", value_name = "ROLE", required = true)]
    pub roles: Vec<Role>,
    /// The server's configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Opens the account and prints its id.
pub async fn run(command: Command) -> Setup<()> {
    let Command::Add(add) = command;
    let config = Config::read(add.config.as_deref(), env::vars())?;
    let table = read_roles(&config.plugins.roles_file)?;
    if let Some(role) = add.roles.iter().find(|role| !table.has(role)) {
        let known = table.roles().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return Err(Fault::new("--role", format!("there is no role {role}")).fix(format!("use one of {known}")));
    }
    let rings = Rings::open(&serve::open_vault(&config)?)?;
    let identity = start::identity(&Target::parse(&config.database.url)?, &rings, &table, &config).await?;
    let mut password = String::new();
    std::io::stdin().take(2_048).read_to_string(&mut password).map_err(Fault::at("standard input"))?;
    let password = SecretString::from(password.trim_end_matches(['\r', '\n']).to_owned());
    let new = NewAccount { email: add.email.clone(), name: add.name, password };
    let account = identity.create(new, &add.roles).await;
    let account = account.map_err(|error| Fault::new(add.email, error.log().into_owned()))?;
    println!("{}", account.id);
    Ok(())
}
