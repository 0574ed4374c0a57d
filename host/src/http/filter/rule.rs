//! One rule, as it stands in the file.

use std::str::FromStr;

use axum::http::{HeaderName, Method};
use serde::Deserialize;

use crate::error::{Fault, Setup};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default, rename = "rule")]
    pub(super) rules: Vec<Rule>,
}

/// What makes a request suspicious, and what is done then.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Named in the log, in metrics and in audit events; never to the client.
    pub id: String,
    /// One sentence for whoever reads the log.
    pub what: String,
    pub mode: Mode,
    /// `path`, `query`, `body`, `header:<name>`.
    pub look: Vec<Look>,
    /// Any of these hits, in the syntax of the `regex` crate, on bytes.
    #[serde(default)]
    pub patterns: Vec<String>,
    /// Longer hits, too.
    pub bytes_max: Option<usize>,
    /// For these methods only.
    #[serde(default)]
    pub methods: Vec<String>,
    /// For paths that start so only, as they came.
    pub below: Option<String>,
}

/// What happens to a request that hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is refused.
    Block,
    /// It goes on, and somebody is told.
    Report,
}

impl Mode {
    /// As in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Report => "report",
        }
    }
}

/// Where a rule looks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub enum Look {
    Path,
    Query,
    /// By a name that is one, in lower case.
    Header(String),
    Body,
}

impl TryFrom<String> for Look {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let header = || text.strip_prefix("header:").filter(|name| HeaderName::from_str(name).is_ok());
        match text.as_str() {
            "path" => Ok(Self::Path),
            "query" => Ok(Self::Query),
            "body" => Ok(Self::Body),
            _ => match header() {
                Some(name) => Ok(Self::Header(name.to_ascii_lowercase())),
                None => Err(format!("{text:?} is none of path, query, body, header:<name>")),
            },
        }
    }
}

impl Rule {
    /// Whether the rule speaks of such a request.
    pub(super) fn concerns(&self, method: &Method, path: &str) -> bool {
        let is_method = self.methods.is_empty() || self.methods.iter().any(|name| name == method.as_str());
        is_method && self.below.as_ref().is_none_or(|below| path.starts_with(below.as_str()))
    }

    pub(super) fn ensure_sound(&self) -> Setup<()> {
        let fault = |what: &str| Fault::new(format!("[[rule]] {:?}", self.id), what);
        if self.look.is_empty() {
            return Err(fault("looks nowhere").fix(r#"look = ["path", "query"]"#));
        }
        let has_condition =
            !self.patterns.is_empty() || self.bytes_max.is_some() || !self.methods.is_empty() || self.below.is_some();
        if !has_condition {
            return Err(fault("hits every request").fix("give it `patterns`, `bytes_max`, `methods` or `below`"));
        }
        Ok(())
    }
}
