//! The wasmtime engine: one for the process, shaped for many small calls that trust nothing.
//!
//! Three measures make a fresh instance per request cheap (see `tests/bench`): slots come from a pool whose first
//! MiB stays resident and is reset by copying dirty pages found with `pagemap_scan` (Linux ≥ 6.7; else wasmtime falls
//! back by itself); guests never grow memory on the hot path; export indices are looked up once.

use std::{
    hash::{Hash as _, Hasher},
    sync::Arc,
    thread,
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::slot::Gate;
use crate::{
    capability::{limit::Limits, tree::DEPTH_MAX},
    error::{Fault, Setup},
};

/// One tick of the clock that bounds a guest's CPU time, in milliseconds.
pub const TICK_MS: u32 = 5;
/// A guest's stack, in bytes; deeper recursion traps.
const STACK_BYTES: usize = 512 << 10;
/// Stays mapped in an unused slot: the whole memory of a Rust guest.
const KEEP_RESIDENT_BYTES: usize = 1 << 20;

/// How many calls may run at once, over all plugins.
#[derive(Clone, Copy, Debug)]
pub struct Slots(pub u32);

impl Default for Slots {
    fn default() -> Self {
        Self(512)
    }
}

/// The engine and its clock.
#[derive(Clone)]
pub struct Engine {
    wasmtime: wasmtime::Engine,
    slots: Slots,
    /// Requests of all plugins and of all editions of what is served: the pool is one.
    calls: Arc<Gate>,
}

impl Engine {
    /// An engine with its pool reserved and its clock running; the clock ends with the engine.
    pub fn new(slots: Slots) -> Setup<Self> {
        let mut config = settings();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(slots)));
        let wasmtime = wasmtime::Engine::new(&config).map_err(|error| {
            Fault::new("wasm engine", format!("{error:#}")).fix("lower `calls_max` in the configuration")
        })?;
        let clock = wasmtime.weak();
        let ticking = thread::Builder::new().name("epoch".to_owned()).spawn(move || {
            while let Some(engine) = clock.upgrade() {
                engine.increment_epoch();
                drop(engine);
                thread::sleep(Duration::from_millis(TICK_MS.into()));
            }
        });
        ticking.map_err(Fault::at("wasm engine clock"))?;
        // Calls between plugins run inside a request's slot and need instances of their own.
        let calls = Arc::new(Gate::new((slots.0 / DEPTH_MAX).max(1)));
        Ok(Self { wasmtime, slots, calls })
    }

    /// For compiling and linking.
    #[must_use]
    pub fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }

    /// Names the engine as far as compiled code is concerned, in hexadecimal: wasmtime, its settings, this host.
    #[must_use]
    pub fn version(&self) -> String {
        let mut sum = Sum(Sha256::new());
        self.wasmtime.precompile_compatibility_hash().hash(&mut sum);
        env!("CARGO_PKG_VERSION").hash(&mut sum);
        hex::encode(sum.0.finalize())
    }

    /// How many calls may run at once.
    #[must_use]
    pub fn slots(&self) -> Slots {
        self.slots
    }

    /// What every request passes that is answered by a plugin.
    pub(super) fn calls(&self) -> &Arc<Gate> {
        &self.calls
    }
}

/// SHA-256 of whatever says what it is made of.
struct Sum(Sha256);

impl Hasher for Sum {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Not asked: the whole sum is taken.
    fn finish(&self) -> u64 {
        0
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("slots", &self.slots).finish_non_exhaustive()
    }
}

/// Everything that decides what code is made of a component; the same for whoever compiles and whoever runs it.
pub(super) fn settings() -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    config.max_wasm_stack(STACK_BYTES);
    config.wasm_relaxed_simd(false);
    config.wasm_multi_memory(false);
    config
}

fn pool(Slots(slots): Slots) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots);
    pool.total_core_instances(slots * 4);
    pool.total_memories(slots);
    pool.total_tables(slots * 2);
    pool.total_stacks(slots);
    pool.max_memory_size(Limits::HOST.memory_bytes);
    pool.max_component_instance_size(1 << 20);
    pool.linear_memory_keep_resident(KEEP_RESIDENT_BYTES);
    pool.table_keep_resident(64 << 10);
    pool.async_stack_keep_resident(64 << 10);
    pool.max_unused_warm_slots(slots / 4);
    pool.pagemap_scan(Enabled::Auto);
    pool
}
