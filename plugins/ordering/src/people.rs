//! What is kept about a person: told to them, and forgotten when they leave.

use dinehub_sdk::{
    cursor,
    types::{Cursor, Problem},
};

use crate::{
    bindings::{
        dinehub::ordering_data::people,
        exports::dinehub::privacy::subject::{Erasure, Field, Page, Remainder, Thing},
    },
    state::word,
};

/// As many as the statement gives.
const ROWS: usize = 20;
/// Before every order.
const NO_TIME: &str = "1970-01-01T00:00:00.000000Z";
const NO_ID: &str = "00000000-0000-0000-0000-000000000000";

pub(crate) fn tell(account: &str, after: Option<&str>) -> Result<Page, Problem> {
    let (at, id) = after.map_or_else(|| Ok((NO_TIME.to_owned(), NO_ID.to_owned())), cursor::unpack)?;
    let rows = people::told(account, &at, &id)?;
    let is_full = rows.len() == ROWS;
    let next: Option<Cursor> = rows.last().filter(|_| is_full).map(|last| cursor::pack(&last.placed_at, &last.id));
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
    Ok(Page { things, next })
}

pub(crate) fn erase(account: &str) -> Result<Erasure, Problem> {
    let erased = i64::from(people::emptied(account)?);
    let orders = people::kept(account)?.orders;
    let kept = (orders > 0).then(|| Remainder {
        kind: "order".to_owned(),
        count: orders,
        reason: "Kept for the books, under an id that names nobody any more; notes are gone.".to_owned(),
    });
    Ok(Erasure { erased, kept: kept.into_iter().collect(), more: false })
}

fn field(name: &str, value: String) -> Field {
    Field { name: name.to_owned(), value }
}
