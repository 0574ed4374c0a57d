//! What is counted of requests. Each route keeps its counters once they were looked up: a lookup hashes names and labels
//! and copies them, which for a short request is more work than the counting.

use std::{
    fmt,
    sync::{OnceLock, PoisonError, RwLock},
    time::Duration,
};

use axum::http::{Method, StatusCode};
use metrics::{Counter, Histogram};

const REQUESTS: &str = "dinehub_requests_total";
const SECONDS: &str = "dinehub_request_seconds";

/// The counters of one route.
#[derive(Default)]
pub struct Meters {
    /// As many as a route has statuses, and GET's answers to HEAD.
    answered: RwLock<Vec<(Method, StatusCode, Counter)>>,
    seconds: OnceLock<Histogram>,
}

impl Meters {
    /// Counts an answer of the route that is called `route`.
    pub(super) fn count(&self, route: &str, method: &Method, status: StatusCode, took: Duration) {
        let is_same = |known: &&(Method, StatusCode, Counter)| known.0 == *method && known.1 == status;
        let answered = self.answered.read().unwrap_or_else(PoisonError::into_inner);
        match answered.iter().find(is_same) {
            Some((_, _, counter)) => counter.increment(1),
            None => {
                drop(answered);
                let counter = counter(route, method, status);
                counter.increment(1);
                let mut answered = self.answered.write().unwrap_or_else(PoisonError::into_inner);
                answered.push((method.clone(), status, counter));
            }
        }
        self.seconds.get_or_init(|| seconds(route)).record(took.as_secs_f64());
    }
}

/// Counts a request that found no route, or was refused on it.
pub(super) fn count(method: &Method, status: StatusCode, took: Duration) {
    let route = "-";
    counter(route, method, status).increment(1);
    seconds(route).record(took.as_secs_f64());
}

fn counter(route: &str, method: &Method, status: StatusCode) -> Counter {
    let labels = [("method", method.to_string()), ("route", route.to_string()), ("status", status.as_str().to_owned())];
    metrics::counter!(REQUESTS, &labels)
}

fn seconds(route: &str) -> Histogram {
    metrics::histogram!(SECONDS, "route" => route.to_string())
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meters(…)")
    }
}
