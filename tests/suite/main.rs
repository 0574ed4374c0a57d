//! The suite: what DineHub promises, and the attacks on it. One binary; each module is a topic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test, a surprise should stop the test"
)]

mod cluster;
mod machine;
mod node;
mod shop;

mod vault;
mod token;
mod account;
mod revocation;
mod session;
mod factor;
mod letter;
mod access;

mod privilege;
mod catalog;
mod bind;
mod migration;
mod identity_sql;
mod forging;
mod installation;
mod db;
mod data;
mod data_faults;
mod idempotency;

mod audit;
mod http;
mod transport;
mod smuggling;
mod tls;
mod proxy;
mod rate;
mod filter;
mod manners;
mod json;
mod value;
mod order;
mod matrix;

mod admission;
mod fuzz;
mod compile;
mod cache;
mod reload;
mod versions;
mod approval;
mod review;
mod gate;
mod handle;
mod egress;
mod wasi;
mod sandbox;
mod top;
mod event;
mod payment;
mod notification;
mod crash;
mod schedule;
mod cancel;

mod golden;
mod architecture;
