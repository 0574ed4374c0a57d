//! Answers kept for a retry (`Idempotency-Key`), in the same transaction as the effect they answer.
//!
//! A claim is made before the plugin runs, the answer is stored before the commit: both are there, or neither. What a
//! key means belongs to one plugin and one caller; PostgreSQL keeps that apart and keeps only hashes of keys.

use tokio_postgres::types::{ToSql, Type};

use super::{Failure, Transaction, transaction::Task};

/// The outcome of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nobody has used the key: do it, then [`Transaction::store`].
    Fresh,
    /// Another transaction is doing it now: 409.
    InFlight,
    /// The key was used with another request: 422.
    Mismatch,
    /// It was done; this was the answer.
    Replay { status: u16, body: Vec<u8> },
}

impl Transaction {
    /// Asks for the right to answer `request` (anything that tells requests apart: method, path, body) under `key`.
    /// Holds until the transaction ends.
    pub async fn claim(&mut self, key: &[u8], request: &[u8]) -> Result<Claim, Failure> {
        let params: [(&(dyn ToSql + Sync), Type); 2] = [(&key, Type::BYTEA), (&request, Type::BYTEA)];
        let rows = self.step(&Task::Host { text: CLAIM, params: &params }).await?;
        let odd = || Failure::Unavailable("idempotency_claim gave no outcome".to_owned());
        let row = rows.first().ok_or_else(odd)?;
        match row.try_get(0).map_err(|_| odd())? {
            "fresh" => Ok(Claim::Fresh),
            "in_flight" => Ok(Claim::InFlight),
            "mismatch" => Ok(Claim::Mismatch),
            "replay" => {
                let status: i32 = row.try_get(1).map_err(|_| odd())?;
                let body: Vec<u8> = row.try_get(2).map_err(|_| odd())?;
                Ok(Claim::Replay { status: status.try_into().map_err(|_| odd())?, body })
            }
            _ => Err(odd()),
        }
    }

    /// Keeps the answer to a claimed request, for 24 hours, if the transaction commits.
    pub async fn store(&mut self, key: &[u8], request: &[u8], status: u16, body: &[u8]) -> Result<(), Failure> {
        let status = i32::from(status);
        let params: [(&(dyn ToSql + Sync), Type); 4] =
            [(&key, Type::BYTEA), (&request, Type::BYTEA), (&status, Type::INT4), (&body, Type::BYTEA)];
        self.step(&Task::Host { text: STORE, params: &params }).await.map(drop)
    }
}

/// The last parameter of each is the token.
const CLAIM: &str = "select outcome, status, body from platform.idempotency_claim($1, $2, $3)";
const STORE: &str = "select platform.idempotency_store($1, $2, $3, $4, $5)";
