//! Everything that speaks to PostgreSQL.
//!
//! Two paths, on purpose: the host's own tables go through sqlx ([`control`]); a plugin's statements go through
//! tokio-postgres ([`guest`]), which can send BEGIN, identity and statement in one flush and can cancel.

pub mod target;
pub mod local;
pub mod session;
pub mod statement;
pub mod timestamp;
pub mod value;
pub mod tree;
pub mod privilege;
pub mod catalog;
pub mod drift;
pub mod inventory;
pub mod scratch;
pub mod grant;
pub mod migrate;
pub mod own;
pub mod installation;
pub mod control;
pub mod identity;
pub mod guest;
pub mod usage;
pub mod event;
pub mod schedule;
