//! `dinehub grants show`: what each plugin may touch, computed from the artefacts alone.

use std::{collections::BTreeMap, fmt::Write as _};

use clap::Args;
use serde::Serialize;

use super::Artefacts;
use crate::{
    access::policy::Rule,
    command::{Output, project::Project},
    database::{
        catalog::Catalog,
        statement::{Ask, Statement},
    },
    error::{Fault, Setup},
    id::PluginId,
    plugin::{
        admit::{Candidate, Contracts, Import},
        package::Package,
    },
};

/// `dinehub grants show`
#[derive(Clone, Debug, Args)]
pub struct Show {
    /// Only this plugin.
    pub plugin: Option<PluginId>,
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
    #[command(flatten)]
    pub artefacts: Artefacts,
}

/// Everything one plugin may touch.
#[derive(Debug, Serialize)]
pub struct Report {
    pub plugin: PluginId,
    pub version: String,
    /// Hex SHA-256 of the artefact.
    pub digest: String,
    /// Exact interface names, each with what grants it.
    pub imports: BTreeMap<String, String>,
    pub statements: Vec<Line>,
    /// What all statements ask together: the `_rw` login's grants.
    pub ask: Ask,
    /// Tables with their row policies, and the cascades that go around them.
    pub catalog: Catalog,
    /// `METHOD path` with who may call it.
    pub routes: Vec<(String, String)>,
    /// What it publishes, and by which functions it is told of others' events.
    pub events: Vec<String>,
    /// When the host calls which of its functions.
    pub schedules: Vec<String>,
    /// What becomes of what it keeps about people, or why it keeps nothing.
    pub privacy: Option<String>,
    pub limits: Vec<(&'static str, u64)>,
}

/// One statement.
#[derive(Debug, Serialize)]
pub struct Line {
    pub name: String,
    pub purpose: String,
    pub ask: Ask,
}

/// Prints the reports.
pub fn run(project: &Project, show: &Show) -> Setup<()> {
    let mut reports = report(show.artefacts.read(project)?)?;
    if let Some(plugin) = &show.plugin {
        reports.retain(|report| report.plugin == *plugin);
        if reports.is_empty() {
            return Err(Fault::new(plugin.as_str(), "is not among the artefacts"));
        }
    }
    match show.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&reports).map_err(Fault::at("output"))?),
        Output::Table => reports.iter().for_each(|report| print!("{}", table(report))),
    }
    Ok(())
}

/// One report per package; refuses what admission would refuse.
pub fn report(packages: Vec<Package>) -> Setup<Vec<Report>> {
    let candidates = packages.into_iter().map(Candidate::read).collect::<Setup<Vec<_>>>()?;
    let contracts: Contracts =
        candidates.iter().map(|candidate| (candidate.series(), candidate.contract.clone())).collect();
    candidates.iter().map(|candidate| of(candidate, &contracts)).collect()
}

fn of(candidate: &Candidate, contracts: &Contracts) -> Setup<Report> {
    let Package { manifest, content, digest, .. } = &candidate.package;
    let imports = candidate.imports(contracts)?;
    let mut ask = Ask::default();
    content.statements.iter().for_each(|statement| ask.merge(&statement.ask));
    Ok(Report {
        plugin: manifest.id.clone(),
        version: manifest.version.to_string(),
        digest: digest.clone(),
        imports: imports.into_iter().map(|(name, import)| (name, granted_by(&import))).collect(),
        statements: content.statements.iter().map(line).collect(),
        ask,
        catalog: content.catalog.clone(),
        routes: manifest
            .routes
            .iter()
            .map(|route| {
                let path = format!("{} {}{}", route.method.as_str(), manifest.prefix(), route.path);
                (path, who(&route.rule()))
            })
            .collect(),
        events: candidate.event_lines(),
        schedules: manifest.schedules.iter().map(|one| format!("{:<20} {}", one.cron, one.function)).collect(),
        privacy: candidate.privacy_line(),
        limits: manifest.limits_listed().collect(),
    })
}

fn granted_by(import: &Import) -> String {
    match import {
        Import::Data { handle } => format!("queries/{handle}/"),
        Import::Host(_) => "the host".to_owned(),
        Import::Wasi { bundle, .. } => format!("plugin.toml: wasi {bundle}"),
        Import::Declared(handle) => format!("plugin.toml: {}", handle.lines().join("; ")),
        Import::Event { subscribers } if subscribers.is_empty() => "event that nobody subscribes to".to_owned(),
        Import::Event { subscribers } => {
            let told: Vec<&str> = subscribers.iter().map(PluginId::as_str).collect();
            format!("event for {}", told.join(", "))
        }
        Import::Plugin { id, functions } => format!("plugin {id}: {}", functions.join(", ")),
    }
}

fn line(statement: &Statement) -> Line {
    let name = format!("{}.{}", statement.handle, statement.name);
    Line { name, purpose: statement.purpose.clone(), ask: statement.ask.clone() }
}

fn who(rule: &Rule) -> String {
    match rule {
        Rule::Anyone => "anyone".to_owned(),
        Rule::Authenticated => "any account".to_owned(),
        Rule::AnyOf(roles) => roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// For people.
#[must_use]
pub fn table(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{} {}  sha256:{}", report.plugin, report.version, report.digest);
    let _ = writeln!(out, "\n  imports");
    for (name, by) in &report.imports {
        let _ = writeln!(out, "    {name:<44} {by}");
    }
    let _ = writeln!(out, "\n  statements");
    for line in &report.statements {
        let _ = writeln!(out, "    {:<44} {}", line.name, line.purpose);
        let _ = write!(out, "{}", privileges(&line.ask, 6));
    }
    let _ = writeln!(out, "\n  together");
    let _ = write!(out, "{}", privileges(&report.ask, 4));
    let functions = report.ask.functions.iter().cloned().collect::<Vec<_>>().join(", ");
    let _ = writeln!(out, "    functions: {functions}");
    let _ = writeln!(out, "\n  row policies");
    let _ = write!(out, "{}", policies(&report.catalog));
    let _ = writeln!(out, "\n  routes");
    for (path, who) in &report.routes {
        let _ = writeln!(out, "    {path:<64} {who}");
    }
    for (title, lines) in [("events", &report.events), ("schedules", &report.schedules)] {
        if !lines.is_empty() {
            let _ = writeln!(out, "\n  {title}\n    {}", lines.join("\n    "));
        }
    }
    if let Some(line) = &report.privacy {
        let _ = writeln!(out, "\n  people: {line}");
    }
    let limits = report.limits.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ");
    let _ = writeln!(out, "\n  limits: {limits}\n");
    out
}

fn privileges(ask: &Ask, indent: usize) -> String {
    let mut out = String::new();
    for (relation, held) in &ask.relations {
        let verbs = [("select", &held.select), ("insert", &held.insert), ("update", &held.update)];
        for (verb, columns) in verbs.iter().filter(|(_, columns)| !columns.is_empty()) {
            let columns = columns.iter().cloned().collect::<Vec<_>>().join(", ");
            let _ = writeln!(out, "{:indent$}{verb} {relation} ({columns})", "");
        }
        if held.delete {
            let _ = writeln!(out, "{:indent$}delete {relation}", "");
        }
    }
    out
}

/// Every policy in PostgreSQL's own words; what reviewers should look at twice comes last.
fn policies(catalog: &Catalog) -> String {
    let mut out = String::new();
    for (table, found) in &catalog.tables {
        for policy in &found.policies {
            let command = format!("{:?}", policy.command).to_lowercase();
            let _ = writeln!(out, "    {table} {} for {command}", policy.name);
            for (word, expression) in [("using", &policy.using), ("check", &policy.check)] {
                if let Some(expression) = expression {
                    let _ =
                        writeln!(out, "      {word} {}", expression.split_whitespace().collect::<Vec<_>>().join(" "));
                }
            }
        }
    }
    for warning in catalog.open().iter().chain(&catalog.cascades) {
        let _ = writeln!(out, "    look twice: {warning}");
    }
    out
}
