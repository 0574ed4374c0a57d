//! What a plugin is to the host: a component whose exported functions become HTTP routes and whose imported functions
//! are handles the host fills.
//!
//! A plugin's way in, one file a step: [`manifest`] and `wit/` say what it wants, [`bind`] makes its statements typed,
//! [`build`] compiles it, [`package`] seals all of it into one file, [`admit`] checks that file, [`lock`] says what it
//! may do line by line, [`approval`] lets in what reviewers signed, [`compile`] makes machine code of it, [`registry`] holds
//! what was admitted, [`call`] runs one function of it in a fresh store, [`witness`] says what its failure is to the audit.
//! [`dispatch`] and [`schedule`] are the calls that the host makes itself.
//! [`privacy`] asks each plugin what it keeps about a person, and to forget it.

pub mod cron;
pub mod manifest;
pub mod shape;
pub mod contract;
pub mod json;
pub mod cursor;
pub mod value;
pub mod event;
pub mod bind;
pub mod package;
pub mod build;
pub mod engine;
pub mod admit;
pub mod lock;
pub mod approval;
pub mod compile;
pub mod slot;
pub mod store;
pub mod registry;
pub mod call;
pub mod witness;
pub mod dispatch;
pub mod schedule;
pub mod privacy;
