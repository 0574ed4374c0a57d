//! `dinehub grants diff`: what grew and what shrank, line by line, with who imports, who is granted and what was used.

use std::{collections::BTreeSet, fmt::Write as _, path::PathBuf};

use clap::Args;
use serde::Serialize;

use super::{Artefacts, unused};
use crate::{
    command::{
        Output,
        project::{Project, read_lock},
    },
    database::usage::Use,
    error::{Fault, Setup},
    id::PluginId,
    plugin::lock::{Block, Change, Kind, Sign, compare},
};

/// `dinehub grants diff`
#[derive(Clone, Debug, Args)]
pub struct Diff {
    /// Only this plugin.
    pub plugin: Option<PluginId>,
    /// The approved side; plugins/grants.lock when absent.
    #[arg(long, value_name = "LOCK")]
    pub from: Option<PathBuf>,
    /// The asking side: another lock; what is built when absent.
    #[arg(long, value_name = "LOCK")]
    pub to: Option<PathBuf>,
    /// Every line, not only those that differ.
    #[arg(long)]
    pub all: bool,
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    #[command(flatten)]
    pub artefacts: Artefacts,
    #[command(flatten)]
    pub recorded: unused::Recorded,
}

/// One plugin's difference.
#[derive(Debug, Serialize)]
struct Report {
    plugin: PluginId,
    /// The same grants, and other code.
    is_other_code: bool,
    changes: Vec<Change>,
}

/// Prints the difference; a fault when anything grew.
pub async fn run(project: &Project, diff: &Diff) -> Setup<()> {
    let approved = read_lock(&diff.from.clone().unwrap_or_else(|| project.lock_file()))?;
    let asked = match &diff.to {
        Some(path) => read_lock(path)?.blocks().cloned().collect(),
        None => diff.artefacts.asked(project)?,
    };
    let used = diff.recorded.read().await?;
    let ids: BTreeSet<&PluginId> = approved.blocks().chain(&asked).map(|block| &block.id).collect();
    let ids: Vec<&PluginId> =
        ids.into_iter().filter(|id| diff.plugin.as_ref().is_none_or(|only| only == *id)).collect();
    let (mut reports, mut tables) = (Vec::new(), String::new());
    for (from, to) in ids.into_iter().flat_map(|id| pairs(approved.find(id), &asked, id)) {
        let Some(block) = to.as_ref().or(from.as_ref()) else { continue };
        let is_other_code = from.as_ref().zip(to.as_ref()).is_some_and(|(from, to)| from.digest != to.digest);
        let changes = compare(from.as_ref(), to.as_ref());
        reports.push(Report { plugin: block.id.clone(), is_other_code, changes });
        tables.push_str(&table(from.as_ref(), to.as_ref(), &used, diff.all));
    }
    if let Some(only) = diff.plugin.as_ref().filter(|_| reports.is_empty()) {
        return Err(Fault::new(only.as_str(), "is in neither side"));
    }
    match diff.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&reports).map_err(Fault::at("output"))?),
        Output::Table => print!("{tables}"),
    }
    let grown = |report: &&Report| report.changes.iter().any(|change| change.sign == Sign::Grown);
    let grown: Vec<&str> = reports.iter().filter(grown).map(|report| report.plugin.as_str()).collect();
    match grown.as_slice() {
        [] => Ok(()),
        _ => Err(Fault::new(grown.join(", "), "asks for more than was approved")
            .fix("review the lines marked +, then: dinehub grants approve PLUGIN --reviewer NAME --key FILE")),
    }
}

/// Each artefact that asks, with the part of the plugin's block that it is compared with.
fn pairs(approved: Option<&Block>, asked: &[Block], id: &PluginId) -> Vec<(Option<Block>, Option<Block>)> {
    let asking: Vec<Block> = asked.iter().filter(|block| block.id == *id).flat_map(Block::parts).collect();
    if asking.is_empty() {
        return vec![(approved.cloned(), None)];
    }
    asking.into_iter().map(|block| (approved.map(|known| known.part(&block)), Some(block))).collect()
}

/// For people: `+` grew, `-` shrank, and for each line whether the artefact imports it, the lock grants it, and a use of
/// it was recorded (`?`: nothing is recorded for such lines, or no record was asked).
#[must_use]
pub fn table(from: Option<&Block>, to: Option<&Block>, used: &[Use], is_whole: bool) -> String {
    let Some(block) = to.or(from) else { return String::new() };
    let mut out = String::new();
    let version = |block: Option<&Block>| block.map_or_else(|| "nothing".to_owned(), |block| block.version.to_string());
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}: approved {}, asked {}", block.id, version(from), version(to));
    if let Some((from, to)) = from.zip(to).filter(|(from, to)| from.digest != to.digest) {
        let _ = writeln!(out, "  other code: sha256:{} was approved, sha256:{} is asked", from.digest, to.digest);
    }
    let changes = compare(from, to);
    let sign = |kind: Kind, line: &str| changes.iter().find(|change| change.kind == kind && change.line == line);
    let lines: BTreeSet<(Kind, &String)> = from.into_iter().chain(to).flat_map(Block::lines).collect();
    let shown: Vec<_> = lines.into_iter().filter(|(kind, line)| is_whole || sign(*kind, line).is_some()).collect();
    if shown.is_empty() {
        let _ = writeln!(out, "  the same grants, line by line");
        return out;
    }
    let _ = writeln!(out, "  imports grants used  line");
    for (kind, line) in shown {
        let mark = match sign(kind, line).map(|change| change.sign) {
            Some(Sign::Grown) => '+',
            Some(Sign::Shrunk) => '-',
            None => ' ',
        };
        let has = |side: Option<&Block>| if side.is_some_and(|block| block.allows(kind, line)) { "yes" } else { "no" };
        let times = match unused::uses(&block.id, kind, line, used) {
            Some(count) => count.to_string(),
            None => "?".to_owned(),
        };
        let _ = writeln!(out, "{mark} {:<7} {:<6} {times:<5} {kind}: {line}", has(to), has(from));
    }
    out
}
