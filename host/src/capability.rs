//! What a plugin may touch, and the only code that lets it.
//!
//! A capability has three lifetimes: it is **linked** once, from approved grants; **configured** per plugin at load,
//! where every mistake surfaces; and **prepared** per call, which cannot fail. What a call holds is [`grants::Grants`]:
//! made from a [`crate::access::permit::Permit`] and from nothing else, moved into the call's store, gone with it.

pub mod approved;
pub mod tree;
pub mod call;
pub mod data;
pub mod granted;
pub mod grants;
pub mod gate;
pub mod budget;
pub mod limit;
pub mod meter;
pub mod log;
pub mod clock;
pub mod random;
pub mod secret;
pub mod files;
pub mod egress;
pub mod wasi;
pub mod mail;
pub mod event;
pub mod handle;
