//! `dinehub grants explain`: why a role can, or cannot, reach a column through a plugin; and the other way round, what a
//! denial's id refused.
//!
//! The walk is role → route → import → statement → GRANT → row policy. Each step is a line, read from the artefacts; with
//! `--database` PostgreSQL adds its own word. The first step that fails ends the walk with the line that is missing.

mod evidence;
mod walk;

use std::str::FromStr;

use clap::Args;

use super::{Artefacts, find};
use crate::{
    command::project::Project,
    error::{Fault, Setup},
    id::{Denial, PluginId, Role},
    plugin::{
        admit::Candidate,
        approval,
        lock::{Block, Kind},
    },
};

/// `dinehub grants explain`
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(false))]
pub struct Explain {
    /// The plugin that would do it.
    #[arg(requires = "column", group = "what")]
    pub plugin: Option<PluginId>,
    /// What would be done: `select`, `insert`, `update` (then a column) or `delete` (then a table).
    #[arg(long, value_name = "VERB", default_value = "select")]
    pub verb: Verb,
    /// The column: SCHEMA.TABLE.COLUMN, or for `delete` SCHEMA.TABLE.
    #[arg(long)]
    pub column: Option<String>,
    /// Only through this route: `METHOD /path/{parameter}`.
    #[arg(long, value_name = "ROUTE")]
    pub route: Option<String>,
    /// Only for this role; everybody's way in when absent.
    #[arg(long)]
    pub role: Option<Role>,
    /// The id of a refusal instead, as a problem or a log line has it.
    #[arg(long, value_name = "ID", group = "what")]
    pub denial: Option<String>,
    /// Also ask this database: what the login may do there, and which policies it has.
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
    #[command(flatten)]
    pub artefacts: Artefacts,
}

/// What is done to a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Select,
    Insert,
    Update,
    Delete,
}

impl Verb {
    const ALL: [Self; 4] = [Self::Select, Self::Insert, Self::Update, Self::Delete];

    /// As in SQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Select => "select",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

impl FromStr for Verb {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|verb| verb.as_str() == text);
        known.ok_or_else(|| "must be select, insert, update or delete".to_owned())
    }
}

/// Prints the walk. Not being able to is an answer, not a fault.
pub async fn run(project: &Project, explain: &Explain) -> Setup<()> {
    let candidates = explain.artefacts.candidates(project)?;
    let blocks = approval::asked(&candidates)?;
    if let Some(id) = &explain.denial {
        let roles = project.roles()?;
        let host = crate::http::route::all(&roles);
        return match subject(&candidates, &blocks, &host, id) {
            Some(text) => {
                println!("{text}");
                Ok(())
            }
            None => Err(Fault::new(id.as_str(), "is no refusal that these artefacts could have had")
                .fix("use the artefacts of the host that refused: --artefacts DIR")),
        };
    }
    let (Some(plugin), Some(column)) = (&explain.plugin, &explain.column) else {
        return Err(Fault::new("explain", "needs a plugin and --column, or --denial"));
    };
    let candidate = find(&candidates, plugin, |candidate| candidate.id())?;
    let ways = walk::ways(candidate, &project.roles()?, explain, column)?;
    for line in &ways {
        println!("{line}");
    }
    match &explain.database {
        Some(url) => evidence::print(url, plugin, explain.verb, column).await,
        None => {
            println!("evidence   not asked: --database URL lets PostgreSQL add its own word");
            Ok(())
        }
    }
}

/// What a denial's id stands for, among everything that could have been refused.
fn subject(
    candidates: &[Candidate],
    blocks: &[Block],
    host: &[crate::http::router::Route],
    id: &str,
) -> Option<String> {
    let is = |denial: Denial| denial.to_string() == id;
    if let Some(route) = host.iter().find(|route| route.denial.to_string() == id) {
        return Some(format!(
            "{id}: {} {} of the host is open to {}",
            route.method.as_str(),
            route.pattern,
            walk::who(&route.rule)
        ));
    }
    for candidate in candidates {
        let manifest = &candidate.package.manifest;
        for route in &manifest.routes {
            let path = format!("{}{}", manifest.prefix(), route.path);
            if is(Denial::route(route.method.as_str(), &path)) {
                return Some(format!(
                    "{id}: {} {path} is open to {} only\n  because    plugins/{}/plugin.toml: [[route]] function = \"{}\"\n  to open it add the role to its `roles`, and have the new line of grants.lock approved",
                    route.method.as_str(),
                    walk::who(&route.rule()),
                    manifest.id,
                    route.function
                ));
            }
        }
        for statement in &candidate.package.content.statements {
            if is(Denial::statement(manifest.id.as_str(), &statement.handle, &statement.name)) {
                let needs = crate::database::grant::lines(&statement.ask);
                let needs: Vec<_> = needs.iter().map(|line| format!("\n  needs      {}", line.sql())).collect();
                return Some(format!(
                    "{id}: PostgreSQL refused statement {}.{} to the login of {}{}\n  so either a row policy refused the row, or a grant is gone: dinehub db verify",
                    statement.handle,
                    statement.name,
                    manifest.id,
                    needs.concat()
                ));
            }
        }
    }
    let mut lines = blocks.iter().flat_map(|block| block.lines().map(move |(kind, line)| (&block.id, kind, line)));
    lines.find(|(plugin, kind, line)| is(Denial::line(plugin.as_str(), &kind.to_string(), line))).map(
        |(plugin, kind, line): (&PluginId, Kind, &String)| {
            format!("{id}: {plugin} asks for a line that grants.lock does not have\n  {kind}: {line}\n  to allow it dinehub grants diff {plugin}, then dinehub grants approve {plugin}")
        },
    )
}
