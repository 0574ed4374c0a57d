//! `wasi:clocks`: both clocks move by whole milliseconds. A guest may wait, but not longer than its `deadline_ms`.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wasmtime_wasi::{
    HostMonotonicClock, HostWallClock,
    clocks::WasiClocksCtxView,
    p2::bindings::clocks::{monotonic_clock, wall_clock},
};

use super::{Link, Wasi, now};
use crate::error::Setup;

/// What a guest's clocks move by.
const STEP: Duration = Duration::from_millis(1);

/// A clock that tells milliseconds; the monotonic one starts with the call.
pub(super) struct Coarse(Instant);

impl Default for Coarse {
    fn default() -> Self {
        Self(Instant::now())
    }
}

fn cut(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

impl HostWallClock for Coarse {
    fn resolution(&self) -> Duration {
        STEP
    }

    fn now(&self) -> Duration {
        cut(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

impl HostMonotonicClock for Coarse {
    fn resolution(&self) -> u64 {
        u64::try_from(STEP.as_nanos()).unwrap_or(u64::MAX)
    }

    fn now(&self) -> u64 {
        u64::try_from(cut(self.0.elapsed()).as_nanos()).unwrap_or(u64::MAX)
    }
}

fn clocks(wasi: &mut Wasi) -> WasiClocksCtxView<'_> {
    WasiClocksCtxView { ctx: wasi.context.clocks(), table: &mut wasi.table }
}

pub(super) fn wall(link: &mut Link<'_>) -> Setup<()> {
    use wall_clock::Host;
    link.function("now", |wasi, (): ()| now(Host::now(&mut clocks(wasi)).map(|time| (time,))))?;
    link.function("resolution", |wasi, (): ()| now(Host::resolution(&mut clocks(wasi)).map(|step| (step,))))
}

pub(super) fn monotonic(link: &mut Link<'_>) -> Setup<()> {
    use monotonic_clock::Host;
    link.function("now", |wasi, (): ()| now(Host::now(&mut clocks(wasi)).map(|time| (time,))))?;
    link.function("resolution", |wasi, (): ()| now(Host::resolution(&mut clocks(wasi)).map(|step| (step,))))?;
    link.function("subscribe-instant", |wasi, (at,): (u64,)| {
        now(Host::subscribe_instant(&mut clocks(wasi), at).map(|pollable| (pollable,)))
    })?;
    link.function("subscribe-duration", |wasi, (wait,): (u64,)| {
        now(Host::subscribe_duration(&mut clocks(wasi), wait).map(|pollable| (pollable,)))
    })
}
