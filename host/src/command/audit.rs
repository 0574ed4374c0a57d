//! `dinehub audit`: what happened, and whether the record of it is whole. Works as the login of DATABASE_URL: the host's own
//! can add events and read none.

use std::{env, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{Output, db::DIFFERS, serve};
use crate::{
    audit::{
        chain::{Break, Checkpoint, Row, Walk},
        seal::{Forged, Seal},
        store,
    },
    config::Config,
    database::control,
    error::{Fault, Setup},
    secret::vault::Vault,
};

/// Rows read at a time.
const PAGE: i64 = 5_000;
/// A host signs once a minute; this long after an event it should have.
const LATE_MAX: SignedDuration = SignedDuration::from_mins(5);

/// `dinehub audit …`
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Compute the chain of hashes again, from the first event to the last, and print its end.
    ///
    /// Finds an event that was changed, taken out or put between others; and, by the checkpoints that hosts sign, an end that
    /// was cut off, a chain that was made anew, and checkpoints that were taken out. An end that was cut off together with its
    /// checkpoints shows against one that was written down elsewhere (an earlier output, or the host's log:
    /// `"kind":"checkpoint"`).
    #[command(after_help = "Exit codes: 0 whole, 1 failed, 2 wrong usage, 3 not as it was written.")]
    Verify(Verify),
    /// Print the newest events, the newest last.
    Tail(Tail),
}

/// Where the events are.
#[derive(Clone, Debug, Args)]
pub struct Place {
    /// The server's configuration file; variables, and DATABASE_URL, override it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// `dinehub audit verify`
#[derive(Clone, Debug, Args)]
pub struct Verify {
    /// `<number>:<hash>`, as an earlier `verify` printed it.
    #[arg(long, value_name = "CHECKPOINT")]
    pub checkpoint: Option<Checkpoint>,
    #[command(flatten)]
    pub place: Place,
}

/// `dinehub audit tail`
#[derive(Clone, Debug, Args)]
pub struct Tail {
    /// So many.
    #[arg(short = 'n', long, default_value_t = 20, value_name = "COUNT")]
    pub lines: u16,
    /// Only these: `plugin.stopped`, `authentication.failed` …
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    #[command(flatten)]
    pub place: Place,
}

/// Runs one of them.
pub async fn run(command: Command) -> Setup<ExitCode> {
    match command {
        Command::Verify(arguments) => verify(&arguments).await,
        Command::Tail(arguments) => tail(&arguments).await.map(|()| ExitCode::SUCCESS),
    }
}

fn open(place: &Place) -> Setup<(PgPool, Vault)> {
    let config = Config::read(place.config.as_deref(), env::vars())?;
    let vault = serve::open_vault(&config)?;
    Ok((control::pool(&serve::read_admin(&config, &vault)?, 1), vault))
}

fn unread(why: sqlx::Error) -> Fault {
    Fault::at("dinehub.audit_event")(why).fix("dinehub db plan, as an administrator (DATABASE_URL)")
}

async fn verify(arguments: &Verify) -> Setup<ExitCode> {
    let (pool, vault) = open(&arguments.place)?;
    let found = check(&pool, &Seal::of(&vault.ring("database")?)?, arguments.checkpoint).await?;
    match (&found, arguments.place.output) {
        (Ok((end, signed)), Output::Table) => {
            println!("{} events are as they were written, {signed} of them signed\ncheckpoint {end}", end.seq);
        }
        (Err(wrong), Output::Table) => println!("{wrong}"),
        (Ok((end, signed)), Output::Json) => {
            println!("{}", json!({"events": end.seq, "signed": signed, "checkpoint": end.to_string()}));
        }
        (Err(wrong), Output::Json) => println!("{}", json!({"broken": wrong.to_string()})),
    }
    Ok(if found.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERS) })
}

/// The whole chain, against every checkpoint that a host signed and perhaps one more; its end, and the last event that is
/// signed.
pub async fn check(
    pool: &PgPool,
    seal: &Seal,
    checkpoint: Option<Checkpoint>,
) -> Setup<Result<(Checkpoint, i64), Break>> {
    let mut wanted: Vec<Checkpoint> = Vec::new();
    for (n, signed) in (1..).zip(store::signed(pool).await.map_err(unread)?) {
        if signed.n != n {
            return Ok(Err(Break::Unmarked { n }));
        }
        match seal.prove(&signed) {
            Ok(place) => wanted.extend(place),
            Err(Forged) => return Ok(Err(Break::Forged { n })),
        }
    }
    let last = wanted.iter().map(|place| place.seq).max().unwrap_or_default();
    let end = match walk(pool, wanted.into_iter().chain(checkpoint)).await? {
        Ok(end) => end,
        Err(wrong) => return Ok(Err(wrong)),
    };
    let beyond = store::after(pool, last, 1).await.map_err(unread)?;
    match beyond.first() {
        Some(row) if is_late(row) => Ok(Err(Break::Unsigned { first: row.seq })),
        _ => Ok(Ok((end, last))),
    }
}

/// Whether an event is older than its checkpoint may be late.
fn is_late(row: &Row) -> bool {
    let body: Value = serde_json::from_str(&row.body).unwrap_or_default();
    let at: Option<Timestamp> = body.get("at").and_then(|at| at.as_str()?.parse().ok());
    at.is_none_or(|at| Timestamp::now().duration_since(at) > LATE_MAX)
}

/// The whole chain, a page at a time.
pub async fn walk(
    pool: &PgPool,
    checkpoints: impl IntoIterator<Item = Checkpoint>,
) -> Setup<Result<Checkpoint, Break>> {
    let (mut walk, mut after) = (Walk::new(checkpoints), 0);
    loop {
        let rows = store::after(pool, after, PAGE).await.map_err(unread)?;
        let Some(last) = rows.last() else { return Ok(walk.end()) };
        after = last.seq;
        for row in &rows {
            if let Err(wrong) = walk.step(row) {
                return Ok(Err(wrong));
            }
        }
    }
}

async fn tail(arguments: &Tail) -> Setup<()> {
    let (pool, _) = open(&arguments.place)?;
    let rows = store::last(&pool, arguments.kind.as_deref(), arguments.lines.into()).await.map_err(unread)?;
    for row in &rows {
        match arguments.place.output {
            Output::Json => println!("{}", row.body),
            Output::Table => println!("{}", line(row)),
        }
    }
    Ok(())
}

/// When, what, who, and what else there is to know.
fn line(row: &Row) -> String {
    const HEAD: [&str; 6] = ["id", "at", "kind", "outcome", "actor", "digest"];
    let body: Value = serde_json::from_str(&row.body).unwrap_or_default();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let of = |name: &str| body.get(name).map(text).unwrap_or_default();
    let rest = body.as_object().into_iter().flatten().filter(|(name, _)| !HEAD.contains(&name.as_str()));
    let rest: Vec<String> = rest.map(|(name, value)| format!("{name}={}", plain(&text(value)))).collect();
    let at = of("at");
    let second = at.split('.').next().unwrap_or_default();
    format!("{:>6} {second}Z {:<22} {:<8} {:<36} {}", row.seq, of("kind"), of("outcome"), of("actor"), rest.join(" "))
}

/// On a terminal no text may move the cursor.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
