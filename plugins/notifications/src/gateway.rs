//! Asking the gateway to send. The notice is the idempotency key: asked twice, it is sent once.

use dinehub_sdk::types::Problem;
use serde::Serialize;

use crate::{
    bindings::dinehub::{
        clock::wall,
        http::types::{Error, Header, Method, Request, Response},
        notifications_data::{notices, types::NoticeState as State},
        notifications_http::gateway,
    },
    notice::Message,
};

#[derive(Serialize)]
struct Body<'a> {
    /// An account; the gateway knows where it is to be found.
    to: &'a str,
    /// Plain text, both: a gateway that shows HTML has to write it as such.
    title: &'a str,
    text: &'a str,
}

/// Hands a message over, and records what became of it. Whoever dies in between is followed by somebody who asks again.
pub(crate) fn send(message: &Message<'_>, until: &str) -> Result<(), Problem> {
    // Both are instants in UTC with six digits of a second, and sort as text.
    let state = if *wall::now() >= *until { State::Expired } else { read(ask(message)?)? };
    notices::settle(state, message.id)?;
    Ok(())
}

fn ask(message: &Message<'_>) -> Result<Result<Response, Error>, Problem> {
    let Message { id, recipient_id, title, text } = message;
    let header = |name: &str, value: &str| Header { name: name.to_owned(), value: value.to_owned() };
    let body = serde_json::to_string(&Body { to: recipient_id, title, text });
    let body = body.map_err(|error| Problem::Unavailable(error.to_string()))?;
    let headers = vec![header("content-type", "application/json"), header("idempotency-key", id)];
    Ok(gateway::send(&Request { method: Method::Post, path: "/v1/messages".to_owned(), headers, body: Some(body) }))
}

/// Tells what is over from what has to be asked again: no answer, 5xx, and whatever else is no answer to the question. A
/// wrong key or a moved path is nobody's notice's fault: it is asked again, and then a dead delivery says so.
fn read(outcome: Result<Response, Error>) -> Result<State, Problem> {
    let unclear = |what: String| Problem::Unavailable(format!("the gateway's answer: {what}"));
    match outcome.map_err(|error| unclear(format!("{error:?}")))?.status {
        200..=299 => Ok(State::Sent),
        // Nobody is there any more; such a message is sent to nobody.
        410 | 422 => Ok(State::Refused),
        status => Err(unclear(format!("status {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, Response, State, read};

    #[test]
    fn taken_and_refused_are_ends_and_everything_else_is_asked_again() {
        let answer = |status| read(Ok(Response { status, headers: vec![], body: String::new() }));
        for status in [200, 201, 202, 204] {
            assert_eq!(answer(status).unwrap(), State::Sent);
        }
        for status in [410, 422] {
            assert_eq!(answer(status).unwrap(), State::Refused);
        }
        for status in [100, 301, 307, 400, 401, 403, 404, 408, 409, 425, 429, 500, 502, 503, 504] {
            assert!(answer(status).is_err(), "{status}");
        }
        for error in [Error::Timeout, Error::Unreachable, Error::Denied("inside".to_owned())] {
            assert!(read(Err(error)).is_err());
        }
    }
}
