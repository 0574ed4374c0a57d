//! `dinehub:platform/database@1.0.0`: how a statement fails, and the problem it is when a plugin adds no rule of its own.

use alloc::{format, string::String};

use crate::{
    problem::{conflict, denied, invalid, not_found},
    types::Problem,
};

/// Why a statement failed. The transaction is rolled back; further statements of the call answer `Aborted`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A unique or exclusion constraint, by name.
    Conflict(String),
    /// A foreign key, check or not-null rule by name, or an SQLSTATE of class 22.
    Invalid(String),
    /// A statement that returns exactly one row found none.
    Missing,
    /// A privilege or a row policy refused it.
    Denied,
    /// It ran out of its time.
    Timeout,
    /// It gave more rows than its header allows.
    TooManyRows,
    /// The transaction was rolled back before.
    Aborted,
    /// Anything else.
    Unavailable,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Conflict(constraint) => conflict(&constraint, "Something that exists already stands in the way."),
            Error::Invalid(rule) => invalid("", &format!("breaks the rule `{rule}`")),
            Error::Missing => not_found(),
            Error::Denied => denied("You may not do this."),
            Error::Timeout => Self::Unavailable("a statement timed out".into()),
            Error::TooManyRows => Self::Unavailable("a statement gave too many rows".into()),
            Error::Aborted => Self::Unavailable("the transaction was aborted".into()),
            Error::Unavailable => Self::Unavailable("the database is unavailable".into()),
        }
    }
}
