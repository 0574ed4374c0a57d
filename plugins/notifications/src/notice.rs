//! A notice: written down once, listed for its recipient, published to be sent.

use dinehub_sdk::{
    cursor, not_found,
    types::{Problem, Timestamp, Uuid},
};

use crate::{
    bindings::{
        dinehub::{notifications::outbox, notifications_data::notices, notifications_files::templates},
        exports::dinehub::notifications::api::{Notice, NoticePage},
    },
    template::{self, Words},
};

/// Notices in a page when the caller does not say.
const LIMIT: i32 = 20;
/// Notices in a page at most; the statement gives one more, to know whether the list goes on.
const LIMIT_MAX: i32 = 50;
/// After every notice, and after every id.
const ALL_TIME: &str = "9000-01-01T00:00:00.000000Z";
const LAST_ID: &str = "ffffffff-ffff-ffff-ffff-ffffffffffff";

/// What is to be sent, to whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) id: &'a str,
    pub(crate) recipient_id: &'a str,
    pub(crate) title: &'a str,
    pub(crate) text: &'a str,
}

/// What its recipient sees of a row; of two statements, rows are of two types.
macro_rules! notice {
    ($row:expr) => {
        Notice {
            id: $row.id,
            order_id: $row.order_id,
            kind: $row.kind,
            title: $row.title,
            text: $row.body,
            state: $row.state,
            created_at: $row.created_at,
            settled_at: $row.settled_at,
        }
    };
}

pub(crate) fn get(id: &str) -> Result<Notice, Problem> {
    let row = notices::find(id)?.ok_or_else(not_found)?;
    Ok(notice!(row))
}

pub(crate) fn of_caller(limit: Option<i32>, cursor: Option<&str>) -> Result<NoticePage, Problem> {
    let limit = limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
    let first: (Timestamp, Uuid) = (ALL_TIME.to_owned(), LAST_ID.to_owned());
    let (before_at, before_id) = cursor.map_or(Ok(first), cursor::unpack)?;
    let mut rows = notices::of_caller(&before_at, &before_id, limit + 1)?;
    let next_cursor = cursor::cut(&mut rows, limit, |last| cursor::pack(&last.created_at, &last.id));
    Ok(NoticePage { items: rows.into_iter().map(|row| notice!(row)).collect(), next_cursor })
}

/// Writes down what somebody is to be told, and has it sent; nothing when that was done before. Without its template there
/// is no notice: the event is told again, and is dead in the end, until somebody puts the file there and replays it.
pub(crate) fn tell(recipient_id: &str, order_id: &str, kind: &str, words: &Words<'_>) -> Result<(), Problem> {
    let file = format!("{kind}.txt");
    let unusable = |why: String| Problem::Unavailable(format!("template {file} {why}"));
    let text = templates::read(&file).map_err(|error| unusable(format!("cannot be read: {error:?}")))?;
    let (title, body) = template::fill(&text, words).map_err(unusable)?;
    if let Some(row) = notices::add(recipient_id, order_id, kind, &title, &body)? {
        let message = Message { id: &row.id, recipient_id, title: &title, text: &body };
        publish(order_id, &message, &row.send_until);
    }
    Ok(())
}

/// Sends again what nobody took, and gives up what is too old to be told.
pub(crate) fn chase() -> Result<(), Problem> {
    notices::expire()?;
    let late = notices::overdue()?;
    if late.is_empty() {
        return Ok(());
    }
    notices::asked(&late.iter().map(|row| row.id.clone()).collect::<Vec<_>>())?;
    for row in &late {
        let message = Message { id: &row.id, recipient_id: &row.recipient_id, title: &row.title, text: &row.body };
        publish(&row.order_id, &message, &row.send_until);
    }
    Ok(())
}

/// What one side of an order is told keeps its order; what is stuck holds up nothing else.
fn publish(order_id: &str, message: &Message<'_>, until: &str) {
    let Message { id, recipient_id, title, text } = message;
    let thread = format!("{order_id} {recipient_id}");
    outbox::send(id, &thread, recipient_id, title, text, until);
}
