//! The meter of one call: it counts what is used against the plugin's limits.

use std::{sync::Arc, time::Duration};

use wasmtime::ResourceLimiter;

use super::{
    budget::Budget,
    limit::{Bound, Limits},
};

/// An element of a table costs the host about a pointer.
const TABLE_ELEMENT_BYTES: usize = 8;

/// Counts what one call uses, and adds it to the plugin's [`Budget`] when it is over. Memories and tables are summed:
/// wasmtime's own `StoreLimits` bounds each by itself.
#[derive(Debug)]
pub struct Meter {
    limits: Limits,
    tick_ms: u32,
    budget: Arc<Budget>,
    memory_bytes: usize,
    memory_peak: usize,
    statements: u32,
    rows: u32,
    database: Duration,
    http_calls: u32,
    nested_calls: u32,
    events: u32,
    log_lines: u32,
    ticks: u32,
    ticks_max: u32,
    exceeded: Option<Bound>,
}

impl Meter {
    /// Nothing used yet; a tick of the engine's clock lasts `tick_ms`.
    #[must_use]
    pub fn new(limits: Limits, tick_ms: u32, budget: Arc<Budget>) -> Self {
        Self {
            limits,
            tick_ms,
            budget,
            memory_bytes: 0,
            memory_peak: 0,
            statements: 0,
            rows: 0,
            database: Duration::ZERO,
            http_calls: 0,
            nested_calls: 0,
            events: 0,
            log_lines: 0,
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

    /// Somebody else kept this bound.
    pub fn exceed(&mut self, bound: Bound) {
        self.exceeded.get_or_insert(bound);
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

    /// So long the database was at the call's statements by now; false when that was enough.
    pub fn database(&mut self, used: Duration) -> bool {
        self.database = used;
        self.within(used <= Duration::from_millis(self.limits.database_ms.into()), Bound::Database)
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

    /// One more call of another plugin. How many there may be is for the whole tree of calls to say.
    pub fn nested_call(&mut self) {
        self.nested_calls += 1;
    }

    /// Whether one more log line may be written; the guest is not told when not.
    pub fn log_line(&mut self) -> bool {
        self.log_lines = self.log_lines.saturating_add(1);
        self.log_lines <= self.limits.log_lines_max
    }

    /// Whether the last log line was the first one too many.
    #[must_use]
    pub fn is_first_too_many(&self) -> bool {
        self.log_lines == self.limits.log_lines_max.saturating_add(1)
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
            self.memory_peak = self.memory_peak.max(wanted);
        }
        fits
    }
}

impl Drop for Meter {
    /// The call is over, however it ended.
    fn drop(&mut self) {
        self.budget.add(&[
            (Bound::Cpu, (self.ticks * self.tick_ms).into()),
            (Bound::Memory, self.memory_peak as u64),
            (Bound::Statements, self.statements.into()),
            (Bound::Rows, self.rows.into()),
            (Bound::Database, u64::try_from(self.database.as_micros()).unwrap_or(u64::MAX)),
            (Bound::HttpCalls, self.http_calls.into()),
            (Bound::NestedCalls, self.nested_calls.into()),
            (Bound::Events, self.events.into()),
            (Bound::LogLines, self.log_lines.into()),
        ]);
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
    fn memories_and_tables_are_summed() {
        let limits = Limits { memory_bytes: 1 << 20, ..Limits::default() };
        let mut meter = Meter::new(limits, 1, Arc::default());
        assert!(meter.memory_growing(0, 1 << 19, None).unwrap());
        assert!(meter.memory_growing(0, 1 << 18, None).unwrap());
        assert!(!meter.table_growing(0, (1 << 18) / 8 + 1, None).unwrap());
        assert_eq!(meter.exceeded(), Some(Bound::Memory));
        assert_eq!(meter.memory_bytes(), (1 << 19) + (1 << 18));
    }
}
