//! One row an order, and what follows when it moves: whoever moves it publishes, in the same transaction.
//!
//! A move that finds the row elsewhere changes nothing and publishes nothing, so each is made once however often an event
//! is delivered, a report repeated or an answer given again.

use dinehub_sdk::{
    cursor, not_found,
    types::{Problem, Timestamp, Uuid},
};

use crate::bindings::{
    dinehub::{
        payments::{
            payment_events::{self, PaymentFacts},
            work,
        },
        payments_data::{payments, types::PaymentState as State},
    },
    exports::dinehub::{
        ordering::order_events::OrderFacts,
        payments::api::{Payment, PaymentPage},
    },
};

/// Payments in a page when the caller does not say.
const LIMIT: i32 = 20;
/// Payments in a page at most; the statement gives one more, to know whether the list goes on.
const LIMIT_MAX: i32 = 50;
/// After every payment, and after every id.
const ALL_TIME: &str = "9000-01-01T00:00:00.000000Z";
const LAST_ID: &str = "ffffffff-ffff-ffff-ffff-ffffffffffff";

/// What a reader sees of a row; of two statements, rows are of two types.
macro_rules! payment {
    ($row:expr) => {
        Payment {
            order_id: $row.order_id,
            restaurant_id: $row.restaurant_id,
            state: $row.state,
            currency: $row.currency,
            amount_cents: $row.amount_cents,
            reason: $row.reason,
            created_at: $row.created_at,
            changed_at: $row.changed_at,
        }
    };
}

/// What subscribers are told of a row.
macro_rules! facts {
    ($order_id:expr, $row:expr) => {
        PaymentFacts {
            order_id: $order_id.to_owned(),
            customer_id: $row.customer_id,
            owner_id: $row.owner_id,
            currency: $row.currency,
            amount_cents: $row.amount_cents,
        }
    };
}

pub(crate) fn get(order_id: &str) -> Result<Payment, Problem> {
    let row = payments::find(order_id)?.ok_or_else(not_found)?;
    Ok(payment!(row))
}

pub(crate) fn of_restaurant(
    restaurant_id: &str,
    limit: Option<i32>,
    cursor: Option<&str>,
) -> Result<PaymentPage, Problem> {
    let limit = limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
    let first: (Timestamp, Uuid) = (ALL_TIME.to_owned(), LAST_ID.to_owned());
    let (before_at, before_id) = cursor.map_or(Ok(first), cursor::unpack)?;
    let mut rows = payments::of_restaurant(restaurant_id, &before_at, &before_id, limit + 1)?;
    let next_cursor = cursor::cut(&mut rows, limit, |last| cursor::pack(&last.created_at, &last.order_id));
    Ok(PaymentPage { items: rows.into_iter().map(|row| payment!(row)).collect(), next_cursor })
}

/// An order was placed: it is to be charged. One that costs nothing has no payment.
pub(crate) fn want(order: &OrderFacts) -> Result<(), Problem> {
    let OrderFacts { order_id, customer_id, owner_id, restaurant_id, currency, total_cents, .. } = order;
    if *total_cents > 0 && payments::want(order_id, customer_id, owner_id, restaurant_id, *total_cents, currency)? > 0 {
        work::charge(order_id, *total_cents, currency);
    }
    Ok(())
}

/// An order came to nothing: what was charged goes back.
pub(crate) fn unwant(order: &OrderFacts) -> Result<(), Problem> {
    let OrderFacts { order_id, customer_id, owner_id, restaurant_id, currency, total_cents, .. } = order;
    if *total_cents == 0 {
        return Ok(());
    }
    let moved = payments::unwant(order_id, customer_id, owner_id, restaurant_id, *total_cents, currency)?;
    if let Some(moved) = moved
        && moved.state == State::Refunding
    {
        refund(order_id, *total_cents, currency, moved.charge_id)?;
    }
    Ok(())
}

/// The provider has the money.
pub(crate) fn charged(order_id: &str, charge_id: &str) -> Result<(), Problem> {
    let Some(moved) = payments::charged(charge_id, order_id)? else { return Ok(()) };
    if moved.state == State::Refunding {
        return refund(order_id, moved.amount_cents, &moved.currency, Some(charge_id.to_owned()));
    }
    payment_events::paid(&facts!(order_id, moved));
    Ok(())
}

/// The provider would not charge.
pub(crate) fn declined(order_id: &str, reason: &str) -> Result<(), Problem> {
    if let Some(moved) = payments::declined(reason, order_id)? {
        payment_events::declined(&facts!(order_id, moved));
    }
    Ok(())
}

/// The money went back.
pub(crate) fn refunded(order_id: &str, refund_id: &str) -> Result<(), Problem> {
    if let Some(moved) = payments::refunded(refund_id, order_id)? {
        payment_events::refunded(&facts!(order_id, moved));
    }
    Ok(())
}

/// Asks again what nobody answered. An order that came to nothing is asked for too: only the provider knows whether it
/// charged, and what it did goes back.
pub(crate) fn chase() -> Result<(), Problem> {
    let late = payments::overdue()?;
    if late.is_empty() {
        return Ok(());
    }
    payments::asked(&late.iter().map(|row| row.order_id.clone()).collect::<Vec<_>>())?;
    for row in late {
        match row.state {
            State::Refunding => refund(&row.order_id, row.amount_cents, &row.currency, row.charge_id)?,
            _ => work::charge(&row.order_id, row.amount_cents, &row.currency),
        }
    }
    Ok(())
}

fn refund(order_id: &str, amount_cents: i64, currency: &str, charge_id: Option<String>) -> Result<(), Problem> {
    let charge_id = charge_id.ok_or_else(|| Problem::Unavailable(format!("{order_id} was charged by no charge")))?;
    work::refund(order_id, amount_cents, currency, &charge_id);
    Ok(())
}
