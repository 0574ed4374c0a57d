//! A difference between what a database should hold and what it holds, and what ends it.
//!
//! Whoever compares (`grant`, `inventory`, `own`) gives [`Difference`]s; [`super::installation`] puts them in order and
//! makes them right. A repair is the SQL that is printed and then run, word for word. One thing in it is never printed:
//! a password stands there as `:'password'`, as psql writes a variable, and is filled in when the SQL runs.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::session::{Session, literal};
use crate::{error::Setup, id::PluginId};

/// Stands for a password in SQL that is shown. Run as it is, it is a syntax error and not a password.
pub const PASSWORD: &str = ":'password'";

/// One thing that is not as it should be.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Whose: a plugin's, or the host's own.
    pub of: Option<PluginId>,
    /// A sentence that names the object.
    pub what: String,
    pub repair: Repair,
}

/// What ends a difference.
#[derive(Clone, Debug)]
pub enum Repair {
    /// SQL that gives what is missing.
    Give(Sql),
    /// SQL that takes away what nothing asks.
    Take(Sql),
    /// A part of `db apply` that is more than a line of SQL: a migration, the proof of an artefact.
    Step(String),
    /// What would lose data, or cannot be known: the way out for a person.
    Hand(String),
}

/// SQL made by the host.
#[derive(Clone, Debug)]
pub struct Sql {
    text: String,
    verifier: Option<SecretString>,
}

impl Sql {
    /// `verifier` is what [`PASSWORD`] in the text becomes.
    #[must_use]
    pub fn with_password(text: String, verifier: String) -> Self {
        Self { text, verifier: Some(verifier.into()) }
    }

    async fn run(&self, session: &Session) -> Setup<()> {
        match &self.verifier {
            Some(verifier) => session.run(&self.text.replace(PASSWORD, &literal(verifier.expose_secret()))).await,
            None => session.run(&self.text).await,
        }
    }
}

impl fmt::Display for Sql {
    /// As it may be shown: without its password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Difference {
    /// Something is missing, and `sql` makes it.
    pub fn give(what: impl Into<String>, sql: impl Into<String>) -> Self {
        Self { of: None, what: what.into(), repair: Repair::Give(Sql { text: sql.into(), verifier: None }) }
    }

    /// Something is there that should not be, and `sql` removes it.
    pub fn take(what: impl Into<String>, sql: impl Into<String>) -> Self {
        Self { of: None, what: what.into(), repair: Repair::Take(Sql { text: sql.into(), verifier: None }) }
    }

    /// A login does not have its password, or is not there.
    pub fn login(what: impl Into<String>, sql: Sql) -> Self {
        Self { of: None, what: what.into(), repair: Repair::Give(sql) }
    }

    /// `db apply` does `step`.
    pub fn step(what: impl Into<String>, step: impl Into<String>) -> Self {
        Self { of: None, what: what.into(), repair: Repair::Step(step.into()) }
    }

    /// Somebody must decide; `way` says what.
    pub fn hand(what: impl Into<String>, way: impl Into<String>) -> Self {
        Self { of: None, what: what.into(), repair: Repair::Hand(way.into()) }
    }

    /// A plugin's.
    #[must_use]
    pub fn of(mut self, id: &PluginId) -> Self {
        self.of = Some(id.clone());
        self
    }

    /// The plugin's id, or `host`.
    #[must_use]
    pub fn owner(&self) -> &str {
        self.of.as_ref().map_or("host", PluginId::as_str)
    }

    /// The SQL that ends it, when SQL does.
    #[must_use]
    pub fn sql(&self) -> Option<&Sql> {
        match &self.repair {
            Repair::Give(sql) | Repair::Take(sql) => Some(sql),
            Repair::Step(_) | Repair::Hand(_) => None,
        }
    }

    /// For programs: `{"of","what","repair","text"}`, where repair is `give`, `take`, `step` or `hand`.
    #[must_use]
    pub fn entry(&self) -> Entry {
        let (repair, text) = match &self.repair {
            Repair::Give(sql) => ("give", sql.to_string()),
            Repair::Take(sql) => ("take", sql.to_string()),
            Repair::Step(step) => ("step", step.clone()),
            Repair::Hand(way) => ("hand", way.clone()),
        };
        Entry { of: self.owner().to_owned(), what: self.what.clone(), repair, text }
    }
}

impl fmt::Display for Difference {
    /// `ordering: public holds select on …, which nothing asks`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.owner(), self.what)
    }
}

/// A difference, as it is printed.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    pub of: String,
    pub what: String,
    pub repair: &'static str,
    pub text: String,
}

/// Runs the repairs that are SQL, all or none, and tells each. Gives their number.
pub async fn repair(
    session: &Session,
    differences: &[Difference],
    tell: &mut (dyn FnMut(&Difference) + Send),
) -> Setup<usize> {
    let sql: Vec<_> = differences.iter().filter_map(|one| Some((one, one.sql()?))).collect();
    if sql.is_empty() {
        return Ok(0);
    }
    session.run("begin").await?;
    for (difference, sql) in &sql {
        if let Err(fault) = sql.run(session).await {
            session.run("rollback").await?;
            return Err(fault.within(difference).fix(format!("run by `dinehub db apply`: {sql}")));
        }
    }
    session.run("commit").await?;
    sql.iter().for_each(|(difference, _)| tell(difference));
    Ok(sql.len())
}
