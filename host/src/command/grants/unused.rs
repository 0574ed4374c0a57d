//! `dinehub grants unused`: what is granted and was never used, from the uses that running hosts recorded.

use std::collections::BTreeSet;

use clap::Args;

use crate::{
    command::project::Project,
    database::{
        session::Session,
        target::Target,
        usage::{self, Use},
    },
    error::{Fault, Setup},
    id::PluginId,
    plugin::lock::Kind,
};

use super::Artefacts;

/// Where uses were recorded.
#[derive(Clone, Debug, Default, Args)]
pub struct Recorded {
    /// The database of a running host, for what was used; without a password, as in DATABASE_URL.
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
}

impl Recorded {
    /// Every use; none when no database was named.
    pub async fn read(&self) -> Setup<Vec<Use>> {
        match &self.database {
            Some(url) => usage::read(&Session::open(&Target::parse(url)?).await?).await,
            None => Ok(Vec::new()),
        }
    }
}

/// `dinehub grants unused`
#[derive(Clone, Debug, Args)]
pub struct Unused {
    /// Only this plugin.
    pub plugin: Option<PluginId>,
    #[command(flatten)]
    pub recorded: Recorded,
    #[command(flatten)]
    pub artefacts: Artefacts,
}

/// Prints, for each plugin, what could be taken away and how.
pub async fn run(project: &Project, unused: &Unused) -> Setup<()> {
    if unused.recorded.database.is_none() {
        return Err(
            Fault::new("--database", "is missing: uses are recorded there").fix("--database postgres://USER@HOST/NAME")
        );
    }
    let used = unused.recorded.read().await?;
    for candidate in unused.artefacts.candidates(project)? {
        let id = candidate.id().clone();
        if unused.plugin.as_ref().is_some_and(|only| *only != id) {
            continue;
        }
        let since = used.iter().filter(|known| known.plugin == id.as_str()).map(|known| &known.days.0).min();
        let Some(since) = since else {
            println!("{id}: no use was recorded yet");
            continue;
        };
        let statements = &candidate.package.content.statements;
        let is_used =
            |handle: &str, name: &str| uses(&id, Kind::Statement, &format!("{handle}.{name} "), &used) != Some(0);
        let idle: Vec<_> = statements.iter().filter(|one| !is_used(&one.handle, &one.name)).collect();
        println!("{id}: recorded since {since}");
        let mut still = BTreeSet::new();
        for statement in statements.iter().filter(|one| is_used(&one.handle, &one.name)) {
            still.extend(crate::database::grant::lines(&statement.ask));
        }
        for statement in &idle {
            println!("  unused  queries/{}/{}.sql", statement.handle, statement.name);
        }
        for line in
            idle.iter().flat_map(|statement| crate::database::grant::lines(&statement.ask)).collect::<BTreeSet<_>>()
        {
            if !still.contains(&line) {
                println!("          frees {}", line.sql());
            }
        }
        for (import, functions) in &candidate.contract.imports {
            for function in functions.keys().filter(|_| !import.starts_with(&own_data(&id))) {
                if uses(&id, Kind::Import, &format!("{import} {function}:"), &used) == Some(0) {
                    println!("  unused  import {import} {function}");
                }
            }
        }
        if !idle.is_empty() {
            let files: Vec<_> =
                idle.iter().map(|one| format!("plugins/{id}/queries/{}/{}.sql", one.handle, one.name)).collect();
            println!("  to take it away: git rm {}; dinehub plugin bind {id}", files.join(" "));
        }
    }
    Ok(())
}

fn own_data(id: &PluginId) -> String {
    format!("dinehub:{}-data/", crate::plugin::contract::kebab(id.as_str()))
}

/// How often a line was used; `None` for lines whose use is not recorded, or when there is no record at all.
#[must_use]
pub fn uses(plugin: &PluginId, kind: Kind, line: &str, used: &[Use]) -> Option<i64> {
    if !used.iter().any(|known| known.plugin == plugin.as_str()) {
        return None;
    }
    let import = match kind {
        // `interface function: func(…)`
        Kind::Import => {
            let (interface, rest) = line.split_once(' ')?;
            let function: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
            format!("{interface} {function}")
        }
        // `handle.statement sha256:…`
        Kind::Statement => {
            let (handle, name) = line.split_once(' ')?.0.split_once('.')?;
            format!("{}{} {}", own_data(plugin), handle.replace('_', "-"), name.replace('_', "-"))
        }
        _ => return None,
    };
    let known = used.iter().find(|known| known.plugin == plugin.as_str() && known.import == import);
    Some(known.map_or(0, |known| known.uses))
}

/// So that the two sides of a name cannot drift apart: the lock's line of an import starts as its use is recorded.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_finds_its_use() {
        let plugin: PluginId = "ordering".parse().unwrap();
        let used = |import: &str| {
            vec![Use { plugin: "ordering".to_owned(), import: import.to_owned(), uses: 3, days: Default::default() }]
        };
        let data = used("dinehub:ordering-data/orders make-move");
        assert_eq!(uses(&plugin, Kind::Statement, "orders.make_move sha256:00", &data), Some(3));
        assert_eq!(uses(&plugin, Kind::Statement, "orders.place sha256:00", &data), Some(0));
        assert_eq!(uses(&plugin, Kind::Import, "dinehub:ordering-data/orders make-move(id: string)", &data), Some(3));
        assert_eq!(uses(&plugin, Kind::Column, "select a.b.c", &data), None, "not recorded");
        assert_eq!(uses(&plugin, Kind::Statement, "orders.place sha256:00", &[]), None, "no record");
    }
}
