//! `wasi:random`: fresh for every call, seeded by the operating system.

use wasmtime_wasi::p2::bindings::random::{insecure::Host as _, insecure_seed::Host as _, random::Host as _};

use super::{Link, now};
use crate::error::Setup;

/// Bytes one call of a function may take; more end the guest.
pub const BYTES_MAX: u64 = 64 << 10;

pub(super) fn secure(link: &mut Link<'_>) -> Setup<()> {
    link.function("get-random-bytes", |wasi, (bytes,): (u64,)| {
        now(wasi.context.random().get_random_bytes(bytes).map(|bytes| (bytes,)))
    })?;
    link.function("get-random-u64", |wasi, (): ()| now(wasi.context.random().get_random_u64().map(|word| (word,))))
}

pub(super) fn insecure(link: &mut Link<'_>) -> Setup<()> {
    link.function("get-insecure-random-bytes", |wasi, (bytes,): (u64,)| {
        now(wasi.context.random().get_insecure_random_bytes(bytes).map(|bytes| (bytes,)))
    })?;
    link.function("get-insecure-random-u64", |wasi, (): ()| {
        now(wasi.context.random().get_insecure_random_u64().map(|word| (word,)))
    })
}

pub(super) fn seed(link: &mut Link<'_>) -> Setup<()> {
    link.function("insecure-seed", |wasi, (): ()| now(wasi.context.random().insecure_seed().map(|seed| (seed,))))
}
