//! What a statement can fail with, as its guest will see it, read off the SQLSTATE.
//!
//! | SQLSTATE | failure |
//! | --- | --- |
//! | 23505, 23P01 | `Conflict` with the constraint's name |
//! | 23503, 23514, 23502 | `Invalid` with the constraint's or column's name |
//! | 22…, or a number that its column cannot hold | `Invalid` with the SQLSTATE |
//! | 42501, 25006 | `Denied`: a GRANT, a policy, or a write in a read-only transaction |
//! | 57014 | `Timeout` |
//! | 40001, 40P01 | `Retry`: the host runs the call once more, then says `aborted` |
//! | any other | `Unavailable` |

use std::error::Error as _;

use tokio_postgres::{Error, error::SqlState};

use crate::{database::value::Unfit, error::chain};

/// Why a statement gave no rows. After any of them the transaction is rolled back. Strings for the log say so; the
/// others are names out of the plugin's own schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A unique or exclusion constraint, by name.
    Conflict(String),
    /// A foreign key or CHECK by name, a NOT NULL by its column, or the SQLSTATE of a value no type takes.
    Invalid(String),
    /// Not granted, or not this caller's; the sentence is for the log.
    Denied(String),
    Timeout,
    /// More rows, or more bytes of rows, than the plugin may read at once.
    TooManyRows,
    /// An earlier statement of this transaction failed, so this one was not sent.
    Aborted,
    /// Another transaction was in the way (serialization, deadlock): run the whole call again.
    Retry,
    /// No connection in time, or the database could not; the sentence is for the log.
    Unavailable(String),
}

impl Failure {
    pub(super) fn of(error: &Error) -> Self {
        let Some(db) = error.as_db_error() else {
            return match error.source() {
                Some(why) if why.is::<Unfit>() => Self::Invalid(SqlState::NUMERIC_VALUE_OUT_OF_RANGE.code().to_owned()),
                _ => Self::Unavailable(chain(error)),
            };
        };
        let named = |name: Option<&str>| name.unwrap_or_else(|| db.code().code()).to_owned();
        match db.code() {
            code if *code == SqlState::UNIQUE_VIOLATION || *code == SqlState::EXCLUSION_VIOLATION => {
                Self::Conflict(named(db.constraint()))
            }
            code if *code == SqlState::FOREIGN_KEY_VIOLATION || *code == SqlState::CHECK_VIOLATION => {
                Self::Invalid(named(db.constraint()))
            }
            code if *code == SqlState::NOT_NULL_VIOLATION => Self::Invalid(named(db.column())),
            code if code.code().starts_with("22") => Self::Invalid(code.code().to_owned()),
            code if *code == SqlState::INSUFFICIENT_PRIVILEGE || *code == SqlState::READ_ONLY_SQL_TRANSACTION => {
                Self::Denied(db.message().to_owned())
            }
            code if *code == SqlState::QUERY_CANCELED => Self::Timeout,
            code if *code == SqlState::T_R_SERIALIZATION_FAILURE || *code == SqlState::T_R_DEADLOCK_DETECTED => {
                Self::Retry
            }
            code => Self::Unavailable(format!("{}: {}", code.code(), db.message())),
        }
    }
}

/// How work on a session stops, and what is left of the session.
#[derive(Debug)]
pub(super) enum Stop {
    /// PostgreSQL said no, or nothing was sent: a transaction that is open can be rolled back.
    Failed(Failure),
    /// The session is of no more use: answers are due, or it is gone, or it cannot be trusted.
    Cut(Failure),
    /// The session was dead before it heard anything, so nothing can have come to effect; why, for the log.
    Dead(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        let failure = Failure::of(&error);
        match error.as_db_error().map(|db| db.code().code()) {
            // Told to go; or a prepared statement that does not fit the schema any more, is gone, or is another one.
            Some(code) if code.starts_with("57P") || matches!(code, "0A000" | "26000" | "08P01") => Self::Cut(failure),
            Some(_) => Self::Failed(failure),
            None if error.source().is_some_and(|why| why.is::<Unfit>()) => Self::Failed(failure),
            None => Self::Cut(failure),
        }
    }
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Failed(failure) | Stop::Cut(failure) => failure,
            Stop::Dead(why) => Self::Unavailable(why),
        }
    }
}

/// Why a transaction's writes are not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uncommitted {
    /// A statement had failed, and the plugin said `ok` all the same: its fault. Nothing was written.
    Refused,
    /// PostgreSQL did not commit. Nothing was written.
    Failed(Failure),
    /// The connection was lost in the middle, and PostgreSQL could not be asked in time. Written, or not.
    Unknown,
}
