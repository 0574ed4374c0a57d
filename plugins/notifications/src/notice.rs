//! A notice: written down once, listed for its recipient, handed to the gateway.

use dinehub_sdk::{
    cursor,
    types::{Problem, Timestamp, Uuid},
};
use serde::Serialize;

use crate::{
    bindings::{
        dinehub::{
            http::types::{Header, Method, Request},
            notifications::outbox,
            notifications_data::notices,
            notifications_files::templates,
            notifications_http::gateway,
        },
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

#[derive(Serialize)]
struct Message<'a> {
    /// An account; the gateway knows where it is to be found.
    to: &'a str,
    title: &'a str,
    text: &'a str,
}

pub(crate) fn of_caller(limit: Option<i32>, cursor: Option<&str>) -> Result<NoticePage, Problem> {
    let limit = limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
    let first: (Timestamp, Uuid) = (ALL_TIME.to_owned(), LAST_ID.to_owned());
    let (before_at, before_id) = cursor.map_or(Ok(first), cursor::unpack)?;
    let mut rows = notices::of_caller(&before_at, &before_id, limit + 1)?;
    let next_cursor = cursor::cut(&mut rows, limit, |last| cursor::pack(&last.created_at, &last.id));
    let items = rows
        .into_iter()
        .map(|row| Notice {
            id: row.id,
            order_id: row.order_id,
            title: row.title,
            text: row.body,
            created_at: row.created_at,
            sent_at: row.sent_at,
        })
        .collect();
    Ok(NoticePage { items, next_cursor })
}

/// Writes down what somebody is to be told, and has it sent; nothing when that was done before.
pub(crate) fn tell(recipient_id: &str, order_id: &str, kind: &str, words: &Words<'_>) -> Result<(), Problem> {
    let file = format!("{kind}.txt");
    let unreadable = |why: String| Problem::Unavailable(format!("template {file}: {why}"));
    let text = templates::read(&file).map_err(|error| unreadable(format!("{error:?}")))?;
    let (title, body) = template::fill(&text, words).ok_or_else(|| unreadable("has no title and body".to_owned()))?;
    if let Some(row) = notices::add(recipient_id, order_id, kind, &title, &body)? {
        outbox::send(&row.id, recipient_id, &title, &body);
    }
    Ok(())
}

/// Hands a notice to the gateway. Asked twice with the same key, it sends once.
pub(crate) fn send(id: &str, recipient_id: &str, title: &str, text: &str) -> Result<(), Problem> {
    let failed = |why: String| Problem::Unavailable(format!("the gateway's answer: {why}"));
    let header = |name: &str, value: &str| Header { name: name.to_owned(), value: value.to_owned() };
    let body = serde_json::to_string(&Message { to: recipient_id, title, text }).map_err(|e| failed(e.to_string()))?;
    let headers = vec![header("content-type", "application/json"), header("idempotency-key", id)];
    let request = Request { method: Method::Post, path: "/v1/messages".to_owned(), headers, body: Some(body) };
    let answer = gateway::send(&request).map_err(|error| failed(format!("{error:?}")))?;
    if !(200..300).contains(&answer.status) {
        return Err(failed(format!("status {}", answer.status)));
    }
    notices::sent(id)?;
    Ok(())
}

/// Sends again what nobody took.
pub(crate) fn chase() -> Result<(), Problem> {
    let late = notices::overdue()?;
    if late.is_empty() {
        return Ok(());
    }
    notices::asked(&late.iter().map(|row| row.id.clone()).collect::<Vec<_>>())?;
    for row in late {
        outbox::send(&row.id, &row.recipient_id, &row.title, &row.body);
    }
    Ok(())
}
