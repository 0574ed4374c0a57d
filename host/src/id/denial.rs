//! The id of a refusal: a short digest of what was refused, not of who asked. It is the same on every node and needs no
//! record, so nobody can fill a table by being refused; `dinehub grants explain --denial` finds the subject again among
//! everything that could have been refused.
//!
//! ```
//! use dinehub::id::Denial;
//! let denial = Denial::route("POST", "/api/v1/ordering/orders");
//! assert_eq!(denial, Denial::route("POST", "/api/v1/ordering/orders"));
//! assert_eq!(denial.to_string().len(), 14);
//! ```

use std::fmt;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// `d-` and twelve hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Denial(String);

impl Denial {
    fn of(subject: &str) -> Self {
        let mut digits = hex::encode(Sha256::digest(subject));
        digits.truncate(12);
        Self(format!("d-{digits}"))
    }

    /// A route whose rule the caller's roles do not satisfy.
    #[must_use]
    pub fn route(method: &str, pattern: &str) -> Self {
        Self::of(&format!("route {method} {pattern}"))
    }

    /// A statement that PostgreSQL refused to a plugin's login.
    #[must_use]
    pub fn statement(plugin: &str, handle: &str, name: &str) -> Self {
        Self::of(&format!("statement {plugin} {handle}.{name}"))
    }

    /// A line that a plugin asks for and nobody approved.
    #[must_use]
    pub fn line(plugin: &str, kind: &str, line: &str) -> Self {
        Self::of(&format!("line {plugin} {kind}: {line}"))
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
