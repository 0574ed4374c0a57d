//! The walk itself, from the artefacts alone.

use super::{Explain, Verb};
use crate::{
    access::{policy::Rule, role::RoleTable},
    database::{
        catalog::{Command, Policy},
        statement::{Privileges, Statement},
    },
    error::{Fault, Setup},
    plugin::{admit::Candidate, contract::kebab, lock::sentence, manifest::Route},
};

/// The lines of the walk.
pub(super) fn ways(candidate: &Candidate, roles: &RoleTable, explain: &Explain, column: &str) -> Setup<Vec<String>> {
    let id = candidate.id();
    let (table, name) = split(explain.verb, column)?;
    let verb = explain.verb.as_str();
    let routes = routes(candidate, explain)?;
    let open: Vec<&Route> = routes.iter().copied().filter(|route| lets_in(&route.rule(), roles, explain)).collect();
    let mut lines = Vec::new();
    let whom = explain.role.as_ref().map_or_else(|| "somebody".to_owned(), ToString::to_string);
    if open.is_empty() {
        for route in routes {
            lines.push(format!("no         {} is open to {} only", path(candidate, route), who(&route.rule())));
        }
        lines.push(format!("missing    a [[route]] of plugins/{id}/plugin.toml with {whom} among its roles"));
        return Ok(lines);
    }
    for route in &open {
        lines.push(format!("route      {whom} may call {} ({})", path(candidate, route), who(&route.rule())));
    }
    // A component decides itself which of its statements a function runs; what bounds it is the method's login.
    let writes = open.iter().any(|route| !route.method.is_safe());
    let statements = &candidate.package.content.statements;
    let doing: Vec<&Statement> = statements.iter().filter(|one| does(one, explain.verb, table, name)).collect();
    if doing.is_empty() {
        lines.push(format!("no         no statement of {id} does {verb} on {column}"));
        lines.push(format!("missing    a statement in plugins/{id}/queries/ that needs it"));
        return Ok(lines);
    }
    let reachable: Vec<&Statement> = doing.iter().copied().filter(|one| writes || !one.ask.writes()).collect();
    if reachable.is_empty() {
        for one in doing {
            lines.push(format!("no         {}.{} writes, and a safe method runs read-only", one.handle, one.name));
        }
        lines.push("missing    a route with POST, PUT, PATCH or DELETE".to_owned());
        return Ok(lines);
    }
    for one in &reachable {
        let import = format!("dinehub:{}-data/{}", kebab(id.as_str()), kebab(&one.handle));
        lines.push(format!("statement  {}.{} of import {import}: {}", one.handle, one.name, one.purpose));
    }
    let login = if reachable.iter().any(|one| !one.ask.writes()) { "_ro and _rw" } else { "_rw" };
    let object = name.map_or_else(|| table.to_owned(), |name| format!("{table} ({name})"));
    lines.push(format!("grant      {verb} on {object} to <database>_{id}{login}"));
    lines.extend(policies(candidate, explain.verb, table));
    Ok(lines)
}

fn split(verb: Verb, column: &str) -> Setup<(&str, Option<&str>)> {
    let parts = column.split('.').count();
    match (verb, column.rsplit_once('.')) {
        (Verb::Delete, Some(_)) if parts == 2 => Ok((column, None)),
        (Verb::Select | Verb::Insert | Verb::Update, Some((table, name))) if parts == 3 => Ok((table, Some(name))),
        (Verb::Delete, _) => Err(Fault::new(format!("--column {column}"), "a delete takes a table: SCHEMA.TABLE")),
        _ => Err(Fault::new(format!("--column {column}"), "must be SCHEMA.TABLE.COLUMN")),
    }
}

fn routes<'c>(candidate: &'c Candidate, explain: &Explain) -> Setup<Vec<&'c Route>> {
    let all = &candidate.package.manifest.routes;
    let Some(wanted) = &explain.route else { return Ok(all.iter().collect()) };
    let found: Vec<&Route> = all.iter().filter(|route| path(candidate, route) == *wanted).collect();
    if found.is_empty() {
        let known: Vec<String> = all.iter().map(|route| path(candidate, route)).collect();
        return Err(Fault::new(format!("--route {wanted:?}"), "is no route of this plugin")
            .fix(format!("one of: {}", known.join(", "))));
    }
    Ok(found)
}

fn path(candidate: &Candidate, route: &Route) -> String {
    format!("{} {}{}", route.method.as_str(), candidate.package.manifest.prefix(), route.path)
}

fn lets_in(rule: &Rule, roles: &RoleTable, explain: &Explain) -> bool {
    let (Rule::AnyOf(wanted), Some(role)) = (rule, &explain.role) else { return true };
    let held = roles.expand(std::slice::from_ref(role));
    wanted.iter().any(|role| held.contains(role))
}

/// In words.
pub(super) fn who(rule: &Rule) -> String {
    match rule {
        Rule::Anyone => "anyone".to_owned(),
        Rule::Authenticated => "any account".to_owned(),
        Rule::AnyOf(roles) => roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn does(statement: &Statement, verb: Verb, table: &str, column: Option<&str>) -> bool {
    let Some(Privileges { select, insert, update, delete }) = statement.ask.relations.get(table) else { return false };
    let has = |columns: &std::collections::BTreeSet<String>| column.is_some_and(|column| columns.contains(column));
    match verb {
        Verb::Select => has(select),
        Verb::Insert => has(insert),
        Verb::Update => has(update),
        Verb::Delete => *delete,
    }
}

fn policies(candidate: &Candidate, verb: Verb, table: &str) -> Vec<String> {
    let found = candidate.package.content.catalog.tables.get(table);
    let applies = |policy: &&Policy| match (policy.command, verb) {
        (Command::All, _) => true,
        (Command::Select, verb) => verb == Verb::Select,
        (Command::Insert, verb) => verb == Verb::Insert,
        (Command::Update, verb) => verb == Verb::Update,
        (Command::Delete, verb) => verb == Verb::Delete,
    };
    let policies = found.into_iter().flat_map(|table| &table.policies).filter(applies);
    let lines: Vec<String> = policies.map(|policy| format!("policy     {}", sentence(policy))).collect();
    if lines.is_empty() { vec![format!("policy     none of {table} allows it: no row is reached")] } else { lines }
}
