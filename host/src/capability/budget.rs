//! What all calls of one plugin used together, and how near the hungriest came to its limits: for `dinehub top`. A call adds
//! what it used once, when it is over; what it did not use costs it nothing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use super::limit::{Bound, Limits};

const BOUNDS: usize = Bound::ALL.len();

/// Counters of one plugin since the host started.
#[derive(Debug, Default)]
pub struct Budget {
    calls: AtomicU64,
    faults: AtomicU64,
    denials: AtomicU64,
    bounds: [Used; BOUNDS],
}

/// Of one bound, in its unit; time of the database in microseconds.
#[derive(Debug, Default)]
struct Used {
    total: AtomicU64,
    peak: AtomicU64,
    stops: AtomicU64,
}

impl Budget {
    /// One call is over and used this.
    pub(super) fn add(&self, used: &[(Bound, u64)]) {
        self.calls.fetch_add(1, Relaxed);
        for (bound, amount) in used.iter().filter(|(_, amount)| *amount > 0) {
            let Some(counted) = self.bounds.get(*bound as usize) else { continue };
            // Every call has the same memory: its sum means nothing and would be one more counter that all cores share.
            if *bound != Bound::Memory {
                counted.total.fetch_add(*amount, Relaxed);
            }
            if counted.peak.load(Relaxed) < *amount {
                counted.peak.fetch_max(*amount, Relaxed);
            }
        }
    }

    /// A call trapped, or broke its contract.
    pub fn fault(&self) {
        self.faults.fetch_add(1, Relaxed);
    }

    /// Somebody, or the plugin itself, may not.
    pub fn deny(&self) {
        self.denials.fetch_add(1, Relaxed);
    }

    /// A call was stopped at a bound, or went on with less.
    pub fn stop(&self, bound: &str) {
        let known = Bound::ALL.iter().find(|known| known.name() == bound);
        if let Some(counted) = known.and_then(|bound| self.bounds.get(*bound as usize)) {
            counted.stops.fetch_add(1, Relaxed);
        }
    }

    /// Everything, beside the plugin's limits.
    #[must_use]
    pub fn report(&self, limits: &Limits) -> Report {
        let listed = limits.listed();
        let bounds = Bound::ALL.iter().zip(&self.bounds).map(|(bound, used)| {
            let unit = if *bound == Bound::Database { 1_000 } else { 1 };
            let limit = listed.iter().find(|(name, _)| *name == bound.name()).map(|(_, limit)| *limit);
            let of = |counter: &AtomicU64| counter.load(Relaxed).div_ceil(unit);
            Line {
                name: bound.name(),
                limit,
                total: of(&used.total),
                peak: of(&used.peak),
                stops: used.stops.load(Relaxed),
            }
        });
        Report {
            calls: self.calls.load(Relaxed),
            faults: self.faults.load(Relaxed),
            denials: self.denials.load(Relaxed),
            bounds: bounds.collect(),
        }
    }
}

/// A [`Budget`] at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub calls: u64,
    pub faults: u64,
    pub denials: u64,
    /// `limits` in the JSON.
    #[serde(rename = "limits")]
    pub bounds: Vec<Line>,
}

/// One bound; `total`, `peak` (of one call) and `limit` in the bound's unit.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    pub name: &'static str,
    /// None for what the manifest does not set.
    pub limit: Option<u64>,
    pub total: u64,
    pub peak: u64,
    pub stops: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_added_up_and_the_hungriest_is_remembered() {
        let budget = Budget::default();
        for rows in [3, 10, 0] {
            budget.add(&[(Bound::Rows, rows), (Bound::Database, 1_500), (Bound::Memory, 1 << 16)]);
        }
        budget.stop("rows_max");
        budget.stop("no such limit");
        budget.deny();
        budget.fault();
        let report = budget.report(&Limits { rows_max: 25, ..Limits::default() });
        assert_eq!((report.calls, report.faults, report.denials), (3, 1, 1));
        let line = |name: &str| report.bounds.iter().find(|line| line.name == name).unwrap();
        assert_eq!((line("rows_max").total, line("rows_max").peak, line("rows_max").limit), (13, 10, Some(25)));
        assert_eq!((line("rows_max").stops, line("cpu_ms").stops), (1, 0));
        assert_eq!((line("database_ms").total, line("database_ms").peak), (5, 2));
        assert_eq!((line("memory_bytes").total, line("memory_bytes").peak), (0, 1 << 16));
        assert_eq!(line("stack").limit, None);
    }
}
