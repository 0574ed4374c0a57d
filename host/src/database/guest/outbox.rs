//! What a plugin's transaction writes for the host: an event it publishes, the delivery or the scheduled run it is. All
//! three last if the transaction does, which is the whole point of their being here.

use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::{Failure, Transaction, transaction::Task};

/// One event, as it is written down.
#[derive(Clone, Debug)]
pub struct Publication<'a> {
    pub publisher: &'a str,
    pub interface: &'a str,
    pub function: &'a str,
    /// Events of one interface with the same key keep their order.
    pub key: Option<&'a str>,
    /// The arguments: a JSON array.
    pub payload: &'a str,
    /// The account behind it, where the caller is the system; a user's own is taken from the transaction.
    pub cause: Option<Uuid>,
    /// Events between this one and a request.
    pub hops: i32,
    /// The plugins that will be called.
    pub subscribers: &'a [String],
}

impl Transaction {
    /// Writes an event, and a delivery for each subscriber.
    pub async fn publish(&mut self, event: &Publication<'_>) -> Result<(), Failure> {
        let params: [(&(dyn ToSql + Sync), Type); 8] = [
            (&event.publisher, Type::TEXT),
            (&event.interface, Type::TEXT),
            (&event.function, Type::TEXT),
            (&event.key, Type::TEXT),
            (&event.payload, Type::TEXT),
            (&event.cause, Type::UUID),
            (&event.hops, Type::INT4),
            (&event.subscribers, Type::TEXT_ARRAY),
        ];
        self.step(&Task::Host { text: PUBLISH, params: &params }).await?;
        self.has_published = true;
        Ok(())
    }

    /// Takes a delivery; false when it is not, or not yet, this transaction's to make.
    pub async fn take_delivery(&mut self, delivery: i64, subscriber: &str) -> Result<bool, Failure> {
        let params: [(&(dyn ToSql + Sync), Type); 2] = [(&delivery, Type::INT8), (&subscriber, Type::TEXT)];
        self.take(TAKE_DELIVERY, &params).await
    }

    /// Takes the run of a schedule that is due at `due_s`; false when another transaction has it, or had it.
    pub async fn take_run(&mut self, plugin: &str, function: &str, due_s: i64, next_s: i64) -> Result<bool, Failure> {
        let params: [(&(dyn ToSql + Sync), Type); 4] =
            [(&plugin, Type::TEXT), (&function, Type::TEXT), (&due_s, Type::INT8), (&next_s, Type::INT8)];
        self.take(TAKE_RUN, &params).await
    }

    async fn take(&mut self, text: &'static str, params: &[(&(dyn ToSql + Sync), Type)]) -> Result<bool, Failure> {
        let rows = self.step(&Task::Host { text, params }).await?;
        let taken = rows.first().and_then(|row| row.try_get(0).ok());
        taken.ok_or_else(|| Failure::Unavailable("a take gave no outcome".to_owned()))
    }
}

/// The last parameter of each is the token.
const PUBLISH: &str = "select platform.event_publish($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const TAKE_DELIVERY: &str = "select platform.event_take($1, $2, $3)";
const TAKE_RUN: &str = "select platform.schedule_take($1, $2, $3, $4, $5)";
