//! Properties of the boundary JSON ⇄ WIT values, through a real guest that gives back what it got: what is valid comes
//! back the same, what is not is refused at its place, and nothing whatever is answered with a 5xx.

mod document;

use std::cell::RefCell;

use harness::{
    client::Client,
    server::{Server, guests},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};
use serde_json::Value;
use tokio::runtime::Handle;

const EVERYTHING: &str = "/api/v1/echo/everything";

/// Every type of the boundary has a route that gives a body of it back.
const BODIES: [&str; 27] = [
    "bool",
    "u8",
    "u16",
    "u32",
    "u64",
    "s8",
    "s16",
    "s32",
    "s64",
    "f32",
    "f64",
    "char",
    "string",
    "list",
    "lists",
    "option",
    "tuple",
    "record",
    "enum",
    "variant",
    "flags",
    "uuid",
    "email",
    "timestamp",
    "date",
    "money",
    "everything",
];

async fn echo() -> Server {
    Server::with(guests(&["echo"]).await).await
}

/// Checks `property` for `cases` values of `strategy`; the smallest that fails is shown.
fn check<S: Strategy>(cases: u32, strategy: &S, property: impl AsyncFn(S::Value) -> Result<(), TestCaseError>)
where
    S::Value: Clone,
{
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let ran = tokio::task::block_in_place(|| runner.run(strategy, |value| Handle::current().block_on(property(value))));
    ran.unwrap_or_else(|failed| panic!("{failed}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_valid_document_comes_back_the_same() {
    let server = echo().await;
    let client = server.anonymous();
    check(300, &document::everything(), async |document| {
        let answer = client.post(EVERYTHING, &document).await;
        prop_assert_eq!(answer.status, 200, "{}", answer.json);
        prop_assert_eq!(answer.json, document);
        Ok(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_option_may_be_left_out() {
    let server = echo().await;
    let client = server.anonymous();
    check(20, &document::everything(), async |mut document| {
        document["maybe"] = Value::Null;
        let mut without = document.clone();
        without.as_object_mut().unwrap().remove("maybe");
        prop_assert_eq!(client.post(EVERYTHING, &without).await.json, document);
        Ok(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn one_wrong_place_is_refused_there_and_nowhere_else() {
    let server = echo().await;
    let client = server.anonymous();
    let faults = document::faults();
    let seen = RefCell::new(vec![false; faults.len()]);
    let strategy = (document::everything(), 0..faults.len());
    check(400, &strategy, async |(mut document, at)| {
        let (field, value, pointer) = &faults[at];
        let fields = document.as_object_mut().unwrap();
        match value {
            Some(value) => drop(fields.insert((*field).to_owned(), value.clone())),
            None => drop(fields.remove(*field)),
        }
        seen.borrow_mut()[at] = true;
        let answer = client.post(EVERYTHING, &document).await;
        prop_assert_eq!(answer.status, 422, "{}: {}", field, answer.json);
        prop_assert_eq!(answer.pointers(), [*pointer], "{}", document);
        Ok(())
    });
    let count = seen.borrow().iter().filter(|was| **was).count();
    assert!(count * 2 > faults.len(), "only {count} of {} faults were tried", faults.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_document_whatever_is_answered_with_a_server_error() {
    let server = echo().await;
    let client = server.anonymous();
    let strategy = (document::anything(), 0..BODIES.len());
    let accepted = RefCell::new(0);
    check(1_500, &strategy, async |(document, route)| {
        let path = format!("/api/v1/echo/{}", BODIES[route]);
        let answer = client.post(&path, &document).await;
        match answer.status {
            200 => *accepted.borrow_mut() += 1,
            400 | 422 => return Ok(()),
            status => return Err(TestCaseError::fail(format!("{path}: {status} {}", answer.json))),
        }
        // What was accepted is in the host's own form now, and that is accepted as it stands.
        is_settled(&client, &path, &answer.json).await
    });
    assert!(accepted.into_inner() > 20, "hardly anything was valid");
}

async fn is_settled(client: &Client, path: &str, document: &Value) -> Result<(), TestCaseError> {
    let again = client.post(path, document).await;
    prop_assert_eq!(again.status, 200, "{}: {}", path, document);
    prop_assert_eq!(&again.json, document, "{}", path);
    Ok(())
}
