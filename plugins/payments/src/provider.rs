//! Asking the provider. Each question has the order in its idempotency key: asked twice, it is done once, and the answer
//! is the same.

use dinehub_sdk::types::Problem;
use serde::{Deserialize, Serialize};

use crate::{
    bindings::dinehub::{
        http::types::{Error, Header, Method, Request, Response},
        payments_http::provider,
    },
    ledger,
};

/// What a reason is cut to; the column holds no more.
const REASON_CHARS_MAX: usize = 200;

#[derive(Serialize)]
struct Charge<'a> {
    order: &'a str,
    amount: i64,
    currency: &'a str,
}

#[derive(Serialize)]
struct Refund<'a> {
    order: &'a str,
    charge: &'a str,
    amount: i64,
    currency: &'a str,
}

#[derive(Deserialize)]
struct Done {
    id: String,
}

#[derive(Deserialize)]
struct Declined {
    #[serde(default)]
    reason: String,
}

/// What the provider said.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// It is done, under this name.
    Done(String),
    /// It will not be done, however often it is asked.
    Declined(String),
}

pub(crate) fn charge(order_id: &str, amount: i64, currency: &str) -> Result<(), Problem> {
    match ask("/v1/charges", order_id, &Charge { order: order_id, amount, currency })? {
        Answer::Done(charge_id) => ledger::charged(order_id, &charge_id),
        Answer::Declined(reason) => ledger::declined(order_id, &reason),
    }
}

pub(crate) fn refund(order_id: &str, amount: i64, currency: &str, charge: &str) -> Result<(), Problem> {
    let key = format!("refund-{order_id}");
    match ask("/v1/refunds", &key, &Refund { order: order_id, charge, amount, currency })? {
        Answer::Done(refund_id) => ledger::refunded(order_id, &refund_id),
        // Nothing that time mends: the delivery dies, and somebody looks.
        Answer::Declined(reason) => Err(Problem::Unavailable(format!("a refund was declined: {reason}"))),
    }
}

fn ask(path: &str, key: &str, body: &impl Serialize) -> Result<Answer, Problem> {
    let header = |name: &str, value: &str| Header { name: name.to_owned(), value: value.to_owned() };
    let body = serde_json::to_string(body).map_err(|error| Problem::Unavailable(error.to_string()))?;
    let headers = vec![header("content-type", "application/json"), header("idempotency-key", key)];
    read(provider::send(&Request { method: Method::Post, path: path.to_owned(), headers, body: Some(body) }))
}

/// Tells what is over from what has to be asked again: no answer, 5xx, and whatever else is no answer to the question.
fn read(outcome: Result<Response, Error>) -> Result<Answer, Problem> {
    let unclear = |what: String| Problem::Unavailable(format!("the provider's answer: {what}"));
    let response = outcome.map_err(|error| unclear(format!("{error:?}")))?;
    match response.status {
        200 | 201 => {
            let done: Done = serde_json::from_str(&response.body).map_err(|error| unclear(error.to_string()))?;
            Ok(Answer::Done(done.id))
        }
        402 => {
            let said = serde_json::from_str(&response.body).unwrap_or(Declined { reason: String::new() });
            Ok(Answer::Declined(said.reason.chars().take(REASON_CHARS_MAX).collect()))
        }
        status => Err(unclear(format!("status {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Error, Response, read};

    fn answer(status: u16, body: &str) -> Result<Response, Error> {
        Ok(Response { status, headers: vec![], body: body.to_owned() })
    }

    #[test]
    fn only_what_names_a_charge_is_one() {
        for status in [200, 201] {
            assert_eq!(read(answer(status, r#"{"id":"ch_1","amount":5}"#)).unwrap(), Answer::Done("ch_1".to_owned()));
            assert!(read(answer(status, "{}")).is_err());
            assert!(read(answer(status, "<html>")).is_err());
        }
    }

    #[test]
    fn declined_is_an_end_and_everything_else_is_asked_again() {
        let reason = "x".repeat(300);
        let Answer::Declined(cut) = read(answer(402, &format!(r#"{{"reason":"{reason}"}}"#))).unwrap() else {
            panic!()
        };
        assert_eq!(cut.len(), 200);
        assert_eq!(read(answer(402, "no")).unwrap(), Answer::Declined(String::new()));
        for status in [100, 202, 204, 302, 400, 401, 409, 429, 500, 503] {
            assert!(read(answer(status, r#"{"id":"ch_1"}"#)).is_err(), "{status}");
        }
        assert!(read(Err(Error::Timeout)).is_err());
    }
}
