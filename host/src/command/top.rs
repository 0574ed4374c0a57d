//! `dinehub top`: what each plugin of a running host used, and how near it came to its limits, from the host's admin port.

use std::{fmt::Write as _, process::ExitCode, time::Duration};

use clap::Args;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde::Deserialize;

use super::Output;
use crate::error::{Fault, Setup};

/// More than any number of plugins says about itself, in bytes.
const BYTES_MAX: usize = 8 << 20;
/// How long the host may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Clears a terminal and goes to its beginning (ECMA-48).
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// `dinehub top`
///
/// Counted since the host started: calls, faults (traps, broken contracts), denials (403 on its routes, statements that
/// PostgreSQL refused), and for each limit of the manifest what all calls used, what the hungriest used, and how often calls
/// were stopped there.
#[derive(Clone, Debug, Args)]
pub struct Top {
    /// The host's admin port (`admin.listen`).
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3001")]
    pub admin: String,
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    /// Again every so many seconds, until Ctrl-C.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = clap::value_parser!(u16).range(1..))]
    pub watch: Option<u16>,
}

/// What the host says of one plugin.
#[derive(Clone, Debug, Deserialize)]
struct Row {
    plugin: String,
    calls: u64,
    running: u64,
    faults: u64,
    denials: u64,
    limits: Vec<Limit>,
}

#[derive(Clone, Debug, Deserialize)]
struct Limit {
    name: String,
    limit: Option<u64>,
    total: u64,
    peak: u64,
    stops: u64,
}

/// Prints it once, or over and over.
pub async fn run(top: &Top) -> Setup<ExitCode> {
    loop {
        let text = fetch(&top.admin).await?;
        let shown = match top.output {
            Output::Json => text,
            Output::Table => table(&serde_json::from_str::<Vec<Row>>(&text).map_err(Fault::at(&top.admin))?),
        };
        let Some(seconds) = top.watch else {
            println!("{}", shown.trim_end());
            return Ok(ExitCode::SUCCESS);
        };
        match top.output {
            Output::Table => print!("{CLEAR}{shown}"),
            Output::Json => println!("{}", shown.trim_end()),
        }
        tokio::time::sleep(Duration::from_secs(seconds.into())).await;
    }
}

async fn fetch(admin: &str) -> Setup<String> {
    let url = format!("{}/plugins", admin.trim_end_matches('/'));
    let fault = |what: String| {
        Fault::new(&url, what).fix("is the host running? its admin port is `admin.listen`: --admin http://HOST:PORT")
    };
    let uri = url.parse::<hyper::Uri>().map_err(|why| fault(format!("is no URL: {why}")))?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
    let answer = async {
        let response = client.get(uri).await.map_err(|why| fault(crate::error::chain(&why)))?;
        if !response.status().is_success() {
            return Err(fault(format!("answered {}", response.status())));
        }
        let body = Limited::new(response.into_body(), BYTES_MAX).collect().await;
        let body = body.map_err(|why| fault(why.to_string()))?.to_bytes();
        String::from_utf8(body.into()).map_err(|why| fault(why.to_string()))
    };
    tokio::time::timeout(ANSWER_MAX, answer).await.map_err(|_| fault("did not answer".to_owned()))?
}

impl Limit {
    /// What the hungriest call used of it, in hundredths.
    fn share(&self) -> Option<u64> {
        self.limit.map(|max| self.peak.saturating_mul(100) / max.max(1))
    }
}

impl Row {
    fn of(&self, name: &str) -> Option<&Limit> {
        self.limits.iter().find(|limit| limit.name == name)
    }

    fn total(&self, name: &str) -> u64 {
        self.of(name).map_or(0, |limit| limit.total)
    }

    /// The limit that a call came nearest to.
    fn nearest(&self) -> String {
        let nearest = self.limits.iter().filter(|limit| limit.peak > 0).max_by_key(|limit| limit.share());
        let text = nearest.and_then(|limit| Some((limit, limit.limit?, limit.share()?)));
        text.map_or_else(
            || "-".to_owned(),
            |(limit, max, share)| format!("{} {}/{max} ({share} %)", limit.name, limit.peak),
        )
    }

    fn stops(&self) -> String {
        let hit = self.limits.iter().filter(|limit| limit.stops > 0);
        let hit: Vec<String> = hit.map(|limit| format!("{} {}", limit.name, limit.stops)).collect();
        if hit.is_empty() { "-".to_owned() } else { hit.join(", ") }
    }
}

/// The busiest first.
fn table(rows: &[Row]) -> String {
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.total("cpu_ms") + row.total("database_ms")), row.plugin.clone()));
    let mut text = format!(
        "{:<16} {:>9} {:>7} {:>6} {:>6} {:>8} {:>8} {:>10} {:>9} {:>8}  {:<36} {}\n",
        "PLUGIN",
        "CALLS",
        "RUNNING",
        "FAULTS",
        "DENIED",
        "CPU ms",
        "PEAK KiB",
        "STATEMENTS",
        "ROWS",
        "DB ms",
        "NEAREST TO A LIMIT",
        "LIMITS HIT"
    );
    for row in rows {
        let peak_kib = row.of("memory_bytes").map_or(0, |limit| limit.peak / 1_024);
        // Writing into a text cannot fail.
        let _ = writeln!(
            text,
            "{:<16} {:>9} {:>7} {:>6} {:>6} {:>8} {:>8} {:>10} {:>9} {:>8}  {:<36} {}",
            row.plugin,
            row.calls,
            row.running,
            row.faults,
            row.denials,
            row.total("cpu_ms"),
            peak_kib,
            row.total("statements_max"),
            row.total("rows_max"),
            row.total("database_ms"),
            row.nearest(),
            row.stops()
        );
    }
    text
}
