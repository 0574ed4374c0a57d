//! What is kept about a person: told to them, and forgotten when they leave.
//!
//! Told are first the orders, then their lines. What nobody accepted yet comes to nothing, one order a call and with its event,
//! so that whoever charged for it pays it back.

use dinehub_sdk::{
    cursor,
    types::{Cursor, Problem},
};

use crate::{
    bindings::{
        dinehub::{
            ordering::order_events::{self, OrderFacts},
            ordering_data::people,
        },
        exports::dinehub::privacy::subject::{Erasure, Field, Page, Remainder, Thing},
    },
    state::word,
};

/// As many as the statements give.
const ROWS: usize = 20;
const LINES: usize = 80;
/// Before every order.
const NO_TIME: &str = "1970-01-01T00:00:00.000000Z";
const NO_ID: &str = "00000000-0000-0000-0000-000000000000";

pub(crate) fn tell(account: &str, after: Option<&str>) -> Result<Page, Problem> {
    let (key, id) = after.map_or_else(|| Ok((NO_TIME.to_owned(), NO_ID.to_owned())), cursor::unpack)?;
    // A place among the lines is a number, one among the orders a time.
    match key.parse() {
        Ok(position) => lines(account, &id, position),
        Err(_) => orders(account, &key, &id),
    }
}

fn orders(account: &str, after_at: &str, after_id: &str) -> Result<Page, Problem> {
    let rows = people::told(account, after_at, after_id)?;
    let last: Option<Cursor> =
        rows.last().filter(|_| rows.len() == ROWS).map(|last| cursor::pack(&last.placed_at, &last.id));
    let things = rows
        .into_iter()
        .map(|row| {
            let mut fields = vec![
                field("id", row.id),
                field("restaurant_name", row.restaurant_name),
                field("state", word(row.state).to_owned()),
                field("currency", row.currency),
                field("total_cents", row.total_cents.to_string()),
                field("placed_at", row.placed_at),
            ];
            fields.extend(row.note.map(|note| field("note", note)));
            Thing { kind: "order".to_owned(), fields }
        })
        .collect();
    Ok(Page { things, next: Some(last.unwrap_or_else(|| cursor::pack("0", NO_ID))) })
}

fn lines(account: &str, after_id: &str, after_position: i32) -> Result<Page, Problem> {
    let rows = people::lines_told(account, after_id, after_position)?;
    let next = rows
        .last()
        .filter(|_| rows.len() == LINES)
        .map(|last| cursor::pack(&last.position.to_string(), &last.order_id));
    let things = rows
        .into_iter()
        .map(|row| Thing {
            kind: "order_line".to_owned(),
            fields: vec![
                field("order_id", row.order_id),
                field("name", row.name),
                field("quantity", row.quantity.to_string()),
                field("price_cents", row.price_cents.to_string()),
            ],
        })
        .collect();
    Ok(Page { things, next })
}

pub(crate) fn erase(account: &str) -> Result<Erasure, Problem> {
    let taken = people::taken_back(account)?;
    let cancelled = i64::from(taken.is_some());
    if let Some(row) = taken {
        order_events::cancelled(&OrderFacts {
            order_id: row.id,
            customer_id: row.customer_id,
            owner_id: row.owner_id,
            restaurant_id: row.restaurant_id,
            restaurant_name: row.restaurant_name,
            currency: row.currency,
            total_cents: row.total_cents,
        });
    }
    if people::waiting(account)?.orders > 0 {
        return Ok(Erasure { erased: cancelled, kept: Vec::new(), more: true });
    }
    let emptied = i64::from(people::emptied(account)?);
    let orders = people::kept(account)?.orders;
    let kept = (orders > 0).then(|| Remainder {
        kind: "order".to_owned(),
        count: orders,
        reason: "Kept for the books, under an id that names nobody any more; notes are gone.".to_owned(),
    });
    Ok(Erasure { erased: cancelled + emptied, kept: kept.into_iter().collect(), more: false })
}

fn field(name: &str, value: String) -> Field {
    Field { name: name.to_owned(), value }
}
