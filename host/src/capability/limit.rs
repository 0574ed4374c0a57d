//! The bounds of one call: what `plugin.toml` may ask for, and the host's caps.
//!
//! Every field here is read somewhere; a limit that nothing reads is a defect.

use serde::{Deserialize, Serialize};
use wasmtime::Trap;

use crate::error::{Fault, Setup};

/// Bounds of one call. In the manifest every key is optional; none may exceed [`Limits::HOST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Wall time from start to response, waiting included.
    pub deadline_ms: u32,
    /// Time spent inside the guest.
    pub cpu_ms: u32,
    /// Linear memories and tables (8 bytes an element) together.
    pub memory_bytes: usize,
    /// Bytes the guest may hand the host in one host call.
    pub hostcall_bytes: usize,
    /// Handles to host resources at one time.
    pub handles_max: usize,
    /// Statements one call may run.
    pub statements_max: u32,
    /// Rows one call may read, over all its statements.
    pub rows_max: u32,
    /// Bytes of rows one statement may give, as PostgreSQL sends them.
    pub row_bytes_max: usize,
    /// Time the database may be at one call's statements, all together; waiting for a connection is not counted.
    pub database_ms: u32,
    /// Requests one call may send to granted hosts.
    pub http_calls_max: u32,
    /// Calls of other plugins that a request which enters here may cause, counted over its whole tree of calls.
    pub nested_calls_max: u32,
    /// Log lines one call may write.
    pub log_lines_max: u32,
    /// Events one call may publish.
    pub events_max: u32,
    /// Calls of this plugin that may run at once; the next waits, then is answered 503.
    pub calls_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline_ms: 2_000,
            cpu_ms: 200,
            memory_bytes: 16 << 20,
            hostcall_bytes: 1 << 20,
            handles_max: 100,
            statements_max: 50,
            rows_max: 2_000,
            row_bytes_max: 1 << 20,
            database_ms: 1_500,
            http_calls_max: 4,
            nested_calls_max: 16,
            log_lines_max: 50,
            events_max: 20,
            calls_max: 64,
        }
    }
}

impl Limits {
    /// What the host allows at most.
    pub const HOST: Self = Self {
        deadline_ms: 30_000,
        cpu_ms: 5_000,
        memory_bytes: 64 << 20,
        hostcall_bytes: 8 << 20,
        handles_max: 1_000,
        statements_max: 1_000,
        rows_max: 50_000,
        row_bytes_max: 8 << 20,
        database_ms: 20_000,
        http_calls_max: 50,
        nested_calls_max: 200,
        log_lines_max: 1_000,
        events_max: 200,
        calls_max: 500,
    };

    /// Refuses a limit that is zero or above the host's.
    pub fn ensure_within_host(&self) -> Setup<()> {
        let asked = self.listed();
        let caps = Self::HOST.listed();
        for ((name, asked), (_, cap)) in asked.into_iter().zip(caps) {
            if asked == 0 || asked > cap {
                return Err(Fault::new(format!("[limits] {name} = {asked}"), format!("must be from 1 to {cap}"))
                    .fix(format!("{name} = {cap}")));
            }
        }
        Ok(())
    }

    /// Name and value of each, for reviewers and checks.
    #[must_use]
    pub fn listed(&self) -> [(&'static str, u64); 14] {
        [
            ("deadline_ms", self.deadline_ms.into()),
            ("cpu_ms", self.cpu_ms.into()),
            ("memory_bytes", self.memory_bytes as u64),
            ("hostcall_bytes", self.hostcall_bytes as u64),
            ("handles_max", self.handles_max as u64),
            ("statements_max", self.statements_max.into()),
            ("rows_max", self.rows_max.into()),
            ("row_bytes_max", self.row_bytes_max as u64),
            ("database_ms", self.database_ms.into()),
            ("http_calls_max", self.http_calls_max.into()),
            ("nested_calls_max", self.nested_calls_max.into()),
            ("log_lines_max", self.log_lines_max.into()),
            ("events_max", self.events_max.into()),
            ("calls_max", self.calls_max.into()),
        ]
    }
}

/// A bound of a call. The first ones are counted by the [`Meter`](super::meter::Meter); the others are kept by wasmtime, PostgreSQL's rows as they
/// arrive, or whoever lets calls in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bound {
    Cpu,
    Memory,
    Statements,
    Rows,
    Database,
    HttpCalls,
    NestedCalls,
    Events,
    LogLines,
    Deadline,
    Hostcall,
    Handles,
    RowBytes,
    Stack,
    Calls,
    FileQuota,
}

impl Bound {
    /// Every bound, in the order of their numbers.
    pub const ALL: [Self; 16] = [
        Self::Cpu,
        Self::Memory,
        Self::Statements,
        Self::Rows,
        Self::Database,
        Self::HttpCalls,
        Self::NestedCalls,
        Self::Events,
        Self::LogLines,
        Self::Deadline,
        Self::Hostcall,
        Self::Handles,
        Self::RowBytes,
        Self::Stack,
        Self::Calls,
        Self::FileQuota,
    ];

    /// The limit's name in `plugin.toml`; the stack is the host's own affair.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu_ms",
            Self::Memory => "memory_bytes",
            Self::Statements => "statements_max",
            Self::Rows => "rows_max",
            Self::Database => "database_ms",
            Self::HttpCalls => "http_calls_max",
            Self::NestedCalls => "nested_calls_max",
            Self::Events => "events_max",
            Self::LogLines => "log_lines_max",
            Self::Deadline => "deadline_ms",
            Self::Hostcall => "hostcall_bytes",
            Self::Handles => "handles_max",
            Self::RowBytes => "row_bytes_max",
            Self::Stack => "stack",
            Self::Calls => "calls_max",
            Self::FileQuota => "quota_bytes",
        }
    }

    /// The bound that wasmtime kept, if that is why a call failed. Two of its errors have no type; a hostile guest for each
    /// shows that their words are still these.
    #[must_use]
    pub fn of(error: &wasmtime::Error) -> Option<Self> {
        if matches!(error.downcast_ref(), Some(Trap::StackOverflow)) {
            return Some(Self::Stack);
        }
        let says = |words: &str| error.chain().any(|cause| cause.to_string().contains(words));
        if says("fuel allocated for hostcalls has been exhausted") {
            return Some(Self::Hostcall);
        }
        says("store handle limit exceeded").then_some(Self::Handles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_beyond_the_hosts_is_refused_by_name() {
        let greedy = Limits { cpu_ms: Limits::HOST.cpu_ms + 1, ..Limits::default() };
        assert!(greedy.ensure_within_host().unwrap_err().to_string().contains("cpu_ms"));
        let idle = Limits { rows_max: 0, ..Limits::default() };
        assert!(idle.ensure_within_host().unwrap_err().to_string().contains("rows_max"));
        Limits::default().ensure_within_host().unwrap();
        Limits::HOST.ensure_within_host().unwrap();
    }

    #[test]
    fn a_bound_stands_at_its_number_and_a_limit_of_a_manifest_has_one() {
        for (at, bound) in Bound::ALL.into_iter().enumerate() {
            assert_eq!(bound as usize, at);
        }
        for (name, _) in Limits::default().listed() {
            assert!(Bound::ALL.iter().any(|bound| bound.name() == name), "{name} is no bound");
        }
    }
}
