//! DineHub's host: owns identity, roles, secrets, the database and the network; runs plugins that can touch nothing but
//! the handles it grants them. The modules stand in the order data walks through them; each uses only those above it.
//!
//! ```text
//! socket → http::serve → http::layers → http::router → identity::actor → access::permit
//!        → plugin::value (JSON → WIT) → capability::grants → plugin::call → guest
//!        → capability::data → database::guest → PostgreSQL, and back
//! ```
//! [`identity::actor::Actor`], [`access::permit::Permit`] and [`capability::grants::Grants`] have private fields and one
//! maker each; the next step takes the one before by value. A step cannot be skipped: there would be nothing to pass.

pub mod id;
pub mod error;
pub mod deadline;
pub mod telemetry;
pub mod config;

pub mod secret;
pub mod database;
pub mod audit;
pub mod identity;
pub mod access;
pub mod capability;
pub mod plugin;
pub mod http;
pub mod command;
