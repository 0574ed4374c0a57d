//! What the tests stand on: one real PostgreSQL for a test run, a fresh database for each test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot set up should fail loudly"
)]

pub mod client;
pub mod cluster;
pub mod database;
pub mod server;
pub mod shop;
pub mod wire;
