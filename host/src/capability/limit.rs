//! The bounds of one call: what `plugin.toml` may ask for, the host's caps, and the meter that counts.
//!
//! Every field here is read somewhere; a limit that nothing reads is a defect.

use serde::{Deserialize, Serialize};
use wasmtime::ResourceLimiter;

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
    /// Requests one call may send to granted hosts.
    pub http_calls_max: u32,
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
            http_calls_max: 4,
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
        http_calls_max: 50,
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
    pub fn listed(&self) -> [(&'static str, u64); 12] {
        [
            ("deadline_ms", self.deadline_ms.into()),
            ("cpu_ms", self.cpu_ms.into()),
            ("memory_bytes", self.memory_bytes as u64),
            ("hostcall_bytes", self.hostcall_bytes as u64),
            ("handles_max", self.handles_max as u64),
            ("statements_max", self.statements_max.into()),
            ("rows_max", self.rows_max.into()),
            ("row_bytes_max", self.row_bytes_max as u64),
            ("http_calls_max", self.http_calls_max.into()),
            ("log_lines_max", self.log_lines_max.into()),
            ("events_max", self.events_max.into()),
            ("calls_max", self.calls_max.into()),
        ]
    }
}

/// Which bound a guest ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bound {
    Deadline,
    Cpu,
    Memory,
    Statements,
    Rows,
    HttpCalls,
    Events,
    Calls,
}

impl Bound {
    /// The limit's name in `plugin.toml`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Deadline => "deadline_ms",
            Self::Cpu => "cpu_ms",
            Self::Memory => "memory_bytes",
            Self::Statements => "statements_max",
            Self::Rows => "rows_max",
            Self::HttpCalls => "http_calls_max",
            Self::Events => "events_max",
            Self::Calls => "calls_max",
        }
    }
}

/// An element of a table costs the host about a pointer.
const TABLE_ELEMENT_BYTES: usize = 8;

/// Counts what one call uses. Memories and tables are summed: wasmtime's own `StoreLimits` bounds each by itself.
#[derive(Debug)]
pub struct Meter {
    limits: Limits,
    memory_bytes: usize,
    statements: u32,
    rows: u32,
    http_calls: u32,
    log_lines: u32,
    events: u32,
    ticks: u32,
    ticks_max: u32,
    exceeded: Option<Bound>,
}

impl Meter {
    /// Nothing used yet; a tick of the engine's clock lasts `tick_ms`.
    #[must_use]
    pub fn new(limits: Limits, tick_ms: u32) -> Self {
        Self {
            limits,
            memory_bytes: 0,
            statements: 0,
            rows: 0,
            http_calls: 0,
            log_lines: 0,
            events: 0,
            ticks: 0,
            ticks_max: limits.cpu_ms.div_ceil(tick_ms.max(1)).max(1),
            exceeded: None,
        }
    }

    /// The bound that stopped the guest, if one did.
    #[must_use]
    pub fn exceeded(&self) -> Option<Bound> {
        self.exceeded
    }

    /// Bytes of guest memory in use.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// A store ended, and gave its memory back.
    pub fn store_ended(&mut self) {
        self.memory_bytes = 0;
    }

    /// One tick of the clock fell into the guest; false when its time is used up.
    pub fn tick(&mut self) -> bool {
        self.ticks += 1;
        self.within(self.ticks <= self.ticks_max, Bound::Cpu)
    }

    /// One more statement; false when there were enough.
    pub fn statement(&mut self) -> bool {
        self.statements += 1;
        self.within(self.statements <= self.limits.statements_max, Bound::Statements)
    }

    /// `count` more rows; false when there were enough.
    pub fn rows(&mut self, count: usize) -> bool {
        self.rows = self.rows.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        self.within(self.rows <= self.limits.rows_max, Bound::Rows)
    }

    /// One more request to a granted host; false when there were enough.
    pub fn http_call(&mut self) -> bool {
        self.http_calls += 1;
        self.within(self.http_calls <= self.limits.http_calls_max, Bound::HttpCalls)
    }

    /// One more event; false when there were enough.
    pub fn event(&mut self) -> bool {
        self.events = self.events.saturating_add(1);
        self.within(self.events <= self.limits.events_max, Bound::Events)
    }

    /// Whether one more log line may be written; the guest is not told when not.
    pub fn log_line(&mut self) -> bool {
        self.log_lines = self.log_lines.saturating_add(1);
        self.log_lines <= self.limits.log_lines_max
    }

    fn within(&mut self, is_within: bool, bound: Bound) -> bool {
        if !is_within {
            self.exceeded.get_or_insert(bound);
        }
        is_within
    }

    fn grow(&mut self, by: usize) -> bool {
        let wanted = self.memory_bytes.saturating_add(by);
        let fits = self.within(wanted <= self.limits.memory_bytes, Bound::Memory);
        if fits {
            self.memory_bytes = wanted;
        }
        fits
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current)))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current).saturating_mul(TABLE_ELEMENT_BYTES)))
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
    fn memories_and_tables_are_summed() {
        let limits = Limits { memory_bytes: 1 << 20, ..Limits::default() };
        let mut meter = Meter::new(limits, 1);
        assert!(meter.memory_growing(0, 1 << 19, None).unwrap());
        assert!(meter.memory_growing(0, 1 << 18, None).unwrap());
        assert!(!meter.table_growing(0, (1 << 18) / 8 + 1, None).unwrap());
        assert_eq!(meter.exceeded(), Some(Bound::Memory));
        assert_eq!(meter.memory_bytes(), (1 << 19) + (1 << 18));
    }
}
