//! What a plugin in Rust needs besides its business.
//!
//! A plugin is a component: it exports the functions that HTTP reaches and imports the handles it was granted. This
//! crate spares it the glue, and adds nothing that it could not do without: no clock, no randomness, no I/O.
//!
//! ```ignore
//! use dinehub_sdk::{not_found, types::{Caller, Problem}};
//!
//! dinehub_sdk::plugin!(Component);          // bindings for `wit/`, and the exports
//! struct Component;
//!
//! impl bindings::exports::dinehub::reviews::api::Guest for Component {
//!     fn get(_caller: Caller, id: String) -> Result<Review, Problem> {
//!         let row = reviews::find(&id)?.ok_or_else(not_found)?;   // a failed statement becomes a problem
//!         Ok(Review { id: row.id, stars: row.stars })
//!     }
//! }
//! ```
//!
//! * [`types`] and [`database`] are the types of `dinehub:platform`, one set for every plugin.
//! * [`problem`] makes problems in one word, and says which constraint means which problem.
//! * [`cursor`] packs a place in a list.
//! * [`arena`] is the allocator: an instance lives for one call, so nothing needs to be freed.
//!
//! Everything but the allocator's last step is plain code and is tested on the host: `cargo test`.

#![no_std]

extern crate alloc;

pub mod arena;
pub mod cursor;
pub mod database;
pub mod problem;
pub mod types;

mod plugin;

pub use problem::{Explain, Rule, conflict, denied, invalid, not_found};
pub use wit_bindgen;
