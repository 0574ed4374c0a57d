//! The path of a plugin's statements to PostgreSQL.
//!
//! ```text
//! Transaction ── lazy: the first statement ──▶ Lease ── one connection for one transaction ──▶ Connection ──▶ socket
//!      │                                         ▲                                               │
//!      └─ commit / rollback / drop               └────── Pool: one budget for all logins ◀───────┘
//! ```
//!
//! A request is a transaction ([`Transaction`]): it opens with the first statement, which travels with BEGIN and the
//! caller in one flush, and ends with [`Transaction::commit`] or by being dropped. Three things are never lost: the state
//! of a session (a [lease](self) that cannot vouch for it closes it), a permit (each is given back by `Drop`), and an
//! acknowledged write (COMMIT runs in a task of its own, and a lost answer is looked up).
//!
//! ```no_run
//! # async fn f(pool: dinehub::database::guest::Pool, login: dinehub::database::guest::Login,
//! #   opening: dinehub::database::guest::Opening, place: dinehub::database::statement::Statement) {
//! use dinehub::database::{guest::Transaction, value::Datum};
//! let mut transaction = Transaction::new(pool, login, opening);
//! let rows = transaction.execute(&place, &[Datum::Text("no onions")]).await.unwrap();
//! let id = rows.cell(0, 0, &place.columns[0].kind).unwrap();
//! transaction.commit().await.unwrap();
//! # }
//! ```

mod connection;
mod failure;
mod idempotency;
mod lease;
mod outbox;
mod pool;
mod rows;
mod transaction;

pub use failure::{Failure, Uncommitted};
pub use idempotency::Claim;
pub use outbox::Publication;
pub use pool::{Free, Login, Options, Pool};
pub use rows::Rows;
pub use transaction::{Opening, Transaction};

/// How much one statement may give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub rows_max: usize,
    /// Of all its rows together, as PostgreSQL sends them.
    pub bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows_max: 1_000, bytes_max: 1 << 20 }
    }
}
