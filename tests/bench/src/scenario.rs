//! What is compared with what, and where it should land.

use std::net::SocketAddr;

/// One thing done in several ways. The first side is the host.
#[derive(Debug)]
pub struct Scenario {
    /// A word for the command line.
    pub name: &'static str,
    pub title: &'static str,
    pub sides: Vec<Side>,
    pub landings: Vec<Landing>,
}

/// One way to do it.
#[derive(Debug)]
pub struct Side {
    /// A word for the command line: `host`, `native`, `sqlx`.
    pub name: &'static str,
    pub title: &'static str,
    pub address: SocketAddr,
    /// Whole requests, sent in turn.
    pub requests: Vec<String>,
}

/// Where the host should be, relative to another side.
#[derive(Clone, Copy, Debug)]
pub struct Landing {
    pub measure: Measure,
    /// The side it is compared with.
    pub against: usize,
    /// Worse than this is a defect.
    pub land: f64,
    pub aim: f64,
}

/// What a ratio is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// CPU of the server per request; less is better.
    Cpu,
    /// Requests a second; more is better.
    Throughput,
}

impl Landing {
    /// Whether a ratio is at least as good as a bound.
    pub fn reaches(&self, ratio: f64, bound: f64) -> bool {
        match self.measure {
            Measure::Cpu => ratio <= bound,
            Measure::Throughput => ratio >= bound,
        }
    }
}

/// A request as it goes over the wire.
pub fn request(method: &str, path: &str, token: &str, body: Option<&serde_json::Value>) -> String {
    let body = body.map(serde_json::Value::to_string);
    let content = body.as_ref().map_or_else(String::new, |body| {
        format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len())
    });
    let body = body.unwrap_or_default();
    format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n{content}\r\n{body}")
}
