//! The time of day, as a value that is passed in: tests turn it by hand.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// Seconds since 1970, UTC.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Hand(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `now_s` until somebody stores another time in it.
    #[must_use]
    pub fn hand(now_s: Arc<AtomicU64>) -> Self {
        Self(Source::Hand(now_s))
    }

    /// A clock before 1970 reads 0: then every token is from the future, and refused.
    #[must_use]
    pub fn now_s(&self) -> u64 {
        match &self.0 {
            Source::System => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            Source::Hand(now_s) => now_s.load(Ordering::Acquire),
        }
    }
}
