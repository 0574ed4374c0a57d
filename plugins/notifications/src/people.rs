//! What is kept about a person: told to them, and forgotten when they leave.

use dinehub_sdk::{
    cursor,
    types::{Cursor, Problem},
};

use crate::bindings::{
    dinehub::notifications_data::people,
    exports::dinehub::privacy::subject::{Erasure, Field, Page, Remainder, Thing},
};

/// As many as the statement gives.
const ROWS: usize = 20;
/// Before every notice.
const NO_TIME: &str = "1970-01-01T00:00:00.000000Z";
const NO_ID: &str = "00000000-0000-0000-0000-000000000000";

pub(crate) fn tell(account: &str, after: Option<&str>) -> Result<Page, Problem> {
    let (at, id) = after.map_or_else(|| Ok((NO_TIME.to_owned(), NO_ID.to_owned())), cursor::unpack)?;
    let rows = people::told(account, &at, &id)?;
    let is_full = rows.len() == ROWS;
    let next: Option<Cursor> = rows.last().filter(|_| is_full).map(|last| cursor::pack(&last.created_at, &last.id));
    let things = rows
        .into_iter()
        .map(|row| Thing {
            kind: "notice".to_owned(),
            fields: vec![
                field("id", row.id),
                field("order_id", row.order_id),
                field("kind", row.kind),
                field("title", row.title),
                field("text", row.body),
                field("created_at", row.created_at),
            ],
        })
        .collect();
    Ok(Page { things, next })
}

pub(crate) fn erase(account: &str) -> Result<Erasure, Problem> {
    people::gone(account)?;
    let erased = i64::from(people::forgotten(account)?);
    let kept = Remainder {
        kind: "departure".to_owned(),
        count: 1,
        reason: "An id that names nobody any more is kept, so that nothing is written for it again.".to_owned(),
    };
    Ok(Erasure { erased, kept: vec![kept], more: false })
}

fn field(name: &str, value: String) -> Field {
    Field { name: name.to_owned(), value }
}
