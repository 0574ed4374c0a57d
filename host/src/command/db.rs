//! `dinehub db`: a database and the artefacts that want something of it, for operators.
//!
//! `plan` says what differs and which SQL ends it, `apply` runs that, `verify` only looks. All three work as the login of
//! DATABASE_URL with the password in the secret `database_admin`, which no other verb uses.

use std::{env, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};

use super::{Output, install, serve, start::Rings, stock::Stock};
use crate::{
    config::Config,
    database::{
        drift::{Difference, Entry},
        target::Target,
    },
    error::{Fault, Setup},
};

/// The exit code of `plan` and `verify` when something differs. A usage error is 2, a failure 1.
pub const DIFFERS: u8 = 3;

/// `dinehub db …`
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Print every difference as the SQL that `apply` would run. Changes nothing.
    ///
    /// Compares roles (attributes, settings, memberships, passwords), grants down to columns, tables, columns, constraints,
    /// indexes, row level security and policies, owners, the host's own functions, and what PUBLIC may do.
    ///
    /// Lines begin with `+` (give what is missing), `-` (take away what nothing asks), `>` (a step: a migration, a proof) or
    /// `!` (nothing that SQL can mend without losing data: the way out). A password is printed as `:'password'`.
    #[command(after_help = CODES)]
    Plan(Options),
    /// Make the database what the plugins want, part by part in transactions, and print what was done.
    ///
    /// The first time it makes everything. What would lose data is left alone: then it fails, and names object and way out.
    Apply(Options),
    /// List every difference, for people and monitors. Changes nothing.
    #[command(after_help = CODES)]
    Verify(Options),
}

const CODES: &str = "Exit codes: 0 nothing differs, 1 failed, 2 wrong usage, 3 something differs.";

/// What every verb takes.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// The server's configuration file; variables like DINEHUB_PLUGINS__DIRECTORY, and DATABASE_URL, override it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// What a verb works with.
struct Work {
    admin: Target,
    rings: Rings,
    stock: Stock,
}

impl Work {
    fn open(options: &Options) -> Setup<Self> {
        let config = Config::read(options.config.as_deref(), env::vars())?;
        let vault = serve::open_vault(&config)?;
        let admin = serve::read_admin(&config, &vault)?;
        let (rings, stock) = serve::read_admitted(&config, &vault)?;
        Ok(Self { admin, rings, stock })
    }

    async fn differences(&self) -> Setup<Vec<Difference>> {
        install::differences(&self.admin, &self.rings, self.stock.all()).await
    }
}

/// Runs one verb.
pub async fn run(command: Command) -> Setup<ExitCode> {
    match command {
        Command::Plan(options) => {
            let found = Work::open(&options)?.differences().await?;
            show(options.output, &found, plan)?;
            Ok(code(&found))
        }
        Command::Verify(options) => {
            let found = Work::open(&options)?.differences().await?;
            show(options.output, &found, listing)?;
            Ok(code(&found))
        }
        Command::Apply(options) => apply(&options).await,
    }
}

async fn apply(options: &Options) -> Setup<ExitCode> {
    let Work { admin, rings, stock } = Work::open(options)?;
    let mut done = Vec::new();
    let applied = install::apply(&admin, &rings, stock.all(), &mut |one| done.push(one.clone())).await;
    // Also when it failed half-way: each part that was done is committed.
    show(options.output, &done, report)?;
    applied.map(|()| ExitCode::SUCCESS)
}

fn code(found: &[Difference]) -> ExitCode {
    if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERS) }
}

fn show(output: Output, found: &[Difference], table: fn(&[Entry]) -> String) -> Setup<()> {
    let entries: Vec<Entry> = found.iter().map(Difference::entry).collect();
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&entries).map_err(Fault::at("output"))?),
        Output::Table => print!("{}", table(&entries)),
    }
    Ok(())
}

/// `plan`, for people.
fn plan(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "nothing to do: the database is what the plugins want\n".to_owned();
    }
    let words = ["to give (+)", "to take away (-)", "steps (>)", "for you (!)"];
    format!("{}{}\n", lines(entries), total(entries, words))
}

/// `apply`, for people.
fn report(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "nothing was to be done\n".to_owned();
    }
    let words = ["given (+)", "taken away (-)", "steps done (>)", "for you (!)"];
    format!("{}{}\n", lines(entries), total(entries, words))
}

/// `verify`, for people.
fn listing(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "the database is what the plugins want\n".to_owned();
    }
    entries.iter().map(|one| format!("{}: {}\n", one.of, plain(&one.what))).collect()
}

/// A heading for each owner, a line for each entry, and why where the SQL does not say it.
fn lines(entries: &[Entry]) -> String {
    let mut text = String::new();
    let mut heading = "";
    for Entry { of, what, repair, text: body } in entries {
        if heading != of {
            heading = of;
            text.push_str(&format!("{of}\n"));
        }
        let what = plain(what);
        text.push_str(&match *repair {
            "give" => format!("  + {};\n", indented(body)),
            // A revoke says itself what was there.
            "take" if body.starts_with("revoke") => format!("  - {};\n", plain(body)),
            "take" => format!("  - {};\n      -- {what}\n", plain(body)),
            "step" => format!("  > {}\n", plain(body)),
            _ => format!("  ! {what}\n      {}\n", plain(body)),
        });
    }
    text
}

fn total(entries: &[Entry], words: [&str; 4]) -> String {
    let count = |repair: &str| entries.iter().filter(|one| one.repair == repair).count();
    let counts = ["give", "take", "step", "hand"].map(count);
    let told = counts.iter().zip(words).filter(|(number, _)| **number > 0);
    told.map(|(number, words)| format!("{number} {words}")).collect::<Vec<_>>().join(", ")
}

/// SQL of several lines, below its mark: what is given is the artefacts' and the host's own text.
fn indented(sql: &str) -> String {
    sql.lines().map(plain).collect::<Vec<_>>().join("\n    ")
}

/// Names come from whoever made the objects: no character of theirs moves the cursor.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_draw_another_line() {
        let evil = Difference::take("x\n  + grant all\r\u{1b}[2K holds", "revoke select from \"x\n+ grant all\"");
        let text = plan(&[evil.entry()]);
        assert!(text.lines().all(|line| !line.trim_start().starts_with('+')), "{text}");
        assert!(!text.contains('\r') && !text.contains('\u{1b}'), "{text}");
    }
}
