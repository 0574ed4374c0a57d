//! The rows of one statement, held as they came: a cell is read where it lies.

use futures::TryStreamExt;
use tokio_postgres::{Client, Row, Statement};

use super::{Failure, Limits, failure::Stop};
use crate::database::{
    statement::Kind,
    value::{Cell, Datum, Mismatch},
};

/// What a statement gave.
#[derive(Debug, Default)]
pub struct Rows {
    rows: Vec<Row>,
    affected: u64,
}

impl Rows {
    /// How many rows there are to read.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many rows the statement wrote, or read.
    #[must_use]
    pub fn affected(&self) -> u64 {
        self.affected
    }

    /// What one of the host's own statements gave.
    pub(super) fn of(rows: Vec<Row>) -> Self {
        let affected = rows.len() as u64;
        Self { rows, affected }
    }

    /// The first row, for the host's own statements.
    pub(super) fn first(&self) -> Option<&Row> {
        self.rows.first()
    }

    /// One cell, borrowed from its row. `kind` is the column's in the bound statement, which was compared with the
    /// database's when it was prepared. Errors when there is no such cell, or it holds what no guest can be given.
    pub fn cell<'a>(&'a self, row: usize, column: usize, kind: &'a Kind) -> Result<Datum<'a>, Mismatch> {
        let row = self.rows.get(row).ok_or("no such row")?;
        Datum::read(kind, row.try_get::<_, Cell<'a>>(column)?.0)
    }
}

/// Runs a prepared statement and reads its rows as a stream, so that too many of them are noticed before they are held.
/// A single row is always whole in memory: text columns carry a length CHECK, which admission demands.
pub(super) async fn fetch(
    client: &Client,
    prepared: &Statement,
    params: &[Datum<'_>],
    limits: Limits,
) -> Result<Rows, Stop> {
    let mut stream = std::pin::pin!(client.query_raw(prepared, params).await?);
    let mut rows = Vec::new();
    let mut bytes = 0;
    while let Some(row) = stream.try_next().await? {
        bytes += row.raw_size_bytes();
        if rows.len() >= limits.rows_max || bytes > limits.bytes_max {
            // The rest is still on its way.
            return Err(Stop::Cut(Failure::TooManyRows));
        }
        rows.push(row);
    }
    let affected = stream.rows_affected().unwrap_or(0);
    Ok(Rows { rows, affected })
}
