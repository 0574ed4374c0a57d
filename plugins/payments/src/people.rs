//! What is kept about a person: told to them, and forgotten when they leave.

use dinehub_sdk::{
    cursor,
    types::{Cursor, Problem},
};

use crate::bindings::{
    dinehub::payments_data::{people, types::PaymentState as State},
    exports::dinehub::privacy::subject::{Erasure, Field, Page, Remainder, Thing},
};

/// As many as the statement gives.
const ROWS: usize = 20;
/// Before every payment.
const NO_TIME: &str = "1970-01-01T00:00:00.000000Z";
const NO_ID: &str = "00000000-0000-0000-0000-000000000000";

pub(crate) fn tell(account: &str, after: Option<&str>) -> Result<Page, Problem> {
    let (at, id) = after.map_or_else(|| Ok((NO_TIME.to_owned(), NO_ID.to_owned())), cursor::unpack)?;
    let rows = people::told(account, &at, &id)?;
    let is_full = rows.len() == ROWS;
    let next: Option<Cursor> =
        rows.last().filter(|_| is_full).map(|last| cursor::pack(&last.created_at, &last.order_id));
    let things = rows
        .into_iter()
        .map(|row| {
            let mut fields = vec![
                field("order_id", row.order_id),
                field("state", word(row.state).to_owned()),
                field("currency", row.currency),
                field("amount_cents", row.amount_cents.to_string()),
                field("created_at", row.created_at),
            ];
            fields.extend(row.reason.map(|reason| field("reason", reason)));
            Thing { kind: "payment".to_owned(), fields }
        })
        .collect();
    Ok(Page { things, next })
}

pub(crate) fn erase(account: &str) -> Result<Erasure, Problem> {
    let erased = i64::from(people::emptied(account)?);
    let payments = people::kept(account)?.payments;
    let kept = (payments > 0).then(|| Remainder {
        kind: "payment".to_owned(),
        count: payments,
        reason: "Amounts and dates are kept for the books, under an id that names nobody any more.".to_owned(),
    });
    Ok(Erasure { erased, kept: kept.into_iter().collect(), more: false })
}

/// A state as its person reads it.
const fn word(state: State) -> &'static str {
    match state {
        State::Due => "due",
        State::Charged => "charged",
        State::Declined => "declined",
        State::Unwanted => "unwanted",
        State::Refunding => "refunding",
        State::Refunded => "refunded",
    }
}

fn field(name: &str, value: String) -> Field {
    Field { name: name.to_owned(), value }
}
