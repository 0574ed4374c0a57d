//! The cross-check: PostgreSQL itself says whether a set of grants is enough for a statement.
//!
//! `PREPARE` checks nothing. `EXPLAIN EXECUTE` starts the executor, which checks every table and column, and runs
//! nothing. A generic plan, because a custom one for NULL parameters may prune a table away and with it its check.

use tokio_postgres::error::SqlState;

use crate::{
    database::{grant, scratch::Scratch, session::identifier, statement::Ask},
    error::{Fault, Setup},
};

/// Whether a login that holds exactly `ask` may run `text`, whose parameters have the SQL types `kinds`.
pub async fn is_enough(scratch: &Scratch, text: &str, kinds: &[String], ask: &Ask) -> Setup<bool> {
    let probe = identifier(scratch.probe_role());
    let lines = grant::lines(ask);
    let all = |verb: &str, word: &str| -> String {
        lines.iter().map(|line| format!("{verb} {} {word} {probe};\n", line.sql())).collect()
    };
    scratch.owner().run(&all("grant", "to")).await?;
    let answer = explain(scratch, text, kinds).await;
    scratch.owner().run(&all("revoke", "from")).await?;
    match answer {
        Ok(()) => Ok(true),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(false),
        Err(error) => Err(Fault::at("explain")(error)),
    }
}

/// Each command goes alone over the extended protocol: no `;` in `text` can start another one.
async fn explain(scratch: &Scratch, text: &str, kinds: &[String]) -> Result<(), tokio_postgres::Error> {
    let probe = scratch.probe();
    let types = if kinds.is_empty() { String::new() } else { format!("({})", kinds.join(", ")) };
    let nulls = if kinds.is_empty() { String::new() } else { format!("({})", vec!["null"; kinds.len()].join(", ")) };
    probe.batch_execute("set plan_cache_mode = force_generic_plan").await?;
    probe.execute(&format!("prepare probe{types} as {text}\n"), &[]).await?;
    let answer = probe.query(&format!("explain execute probe{nulls}"), &[]).await;
    probe.batch_execute("deallocate probe").await?;
    answer.map(drop)
}
