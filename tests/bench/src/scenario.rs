//! What is compared with what, and where it should land.

use std::net::SocketAddr;

/// One thing done in several ways. The first side is the host.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// A word for the command line.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) sides: Vec<Side>,
    pub(crate) landings: Vec<Landing>,
}

/// One way to do it.
#[derive(Debug)]
pub(crate) struct Side {
    /// A word for the command line: `host`, `native`, `sqlx`.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) address: SocketAddr,
    /// Whole requests, sent in turn.
    pub(crate) requests: Vec<String>,
}

/// Where the host should be, relative to another side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Landing {
    pub(crate) measure: Measure,
    /// The side it is compared with.
    pub(crate) against: usize,
    /// Worse than this is a defect.
    pub(crate) land: f64,
    pub(crate) aim: f64,
}

/// What a ratio is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// CPU of the server per request; less is better.
    Cpu,
    /// Requests a second; more is better.
    Throughput,
}

impl Landing {
    /// Whether a ratio is at least as good as a bound.
    pub(crate) fn reaches(&self, ratio: f64, bound: f64) -> bool {
        match self.measure {
            Measure::Cpu => ratio <= bound,
            Measure::Throughput => ratio >= bound,
        }
    }
}

/// A request as it goes over the wire.
pub(crate) fn request(method: &str, path: &str, token: &str, body: Option<&serde_json::Value>) -> String {
    let body = body.map(serde_json::Value::to_string);
    let content = body.as_ref().map_or_else(String::new, |body| {
        format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len())
    });
    let body = body.unwrap_or_default();
    format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n{content}\r\n{body}")
}
