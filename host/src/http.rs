//! HTTP: from a socket to an answer, in one straight line.
//!
//! [`serve`] accepts, [`layers`] wraps, [`router`] finds the route, [`crate::identity`] says who, [`crate::access`] says
//! whether, [`forward`] calls the plugin (or [`route`] the host's own action), [`problem`] says no. Only this module and the
//! console know axum.

pub mod fake;
pub mod serve;
pub mod meter;
pub mod layers;
pub mod router;
pub mod request;
pub mod forward;
pub mod route;
pub mod problem;
pub mod witness;
pub mod schema;
pub mod openapi;

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    access::role::RoleTable,
    audit::Log,
    identity::Identity,
    plugin::{cursor::Sealer, registry::Registry},
};

/// Everything a request can reach.
#[derive(Debug)]
pub struct App {
    pub identity: Identity,
    pub roles: Arc<RoleTable>,
    pub registry: Arc<Registry>,
    pub sealer: Sealer,
    /// What happened, for whoever asks later.
    pub audit: Log,
    pub router: router::Router,
    /// The document at `/openapi.json`, made once.
    pub openapi: Bytes,
    pub bounds: Bounds,
}

/// Bounds of the HTTP side; see the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// A request's body, in bytes.
    pub body_bytes_max: usize,
    /// Reading a request's body, in milliseconds.
    pub body_ms: u64,
    /// Reading a request's head, in milliseconds; also how long an idle connection is kept.
    pub header_ms: u64,
    /// Open connections.
    pub connections_max: usize,
    /// How long requests in flight may take to end when the server stops, in milliseconds.
    pub drain_ms: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { body_bytes_max: 256 << 10, body_ms: 10_000, header_ms: 10_000, connections_max: 4_096, drain_ms: 10_000 }
    }
}

impl App {
    /// Puts routes and document together from what was loaded.
    pub fn new(
        identity: Identity,
        roles: Arc<RoleTable>,
        registry: Arc<Registry>,
        sealer: Sealer,
        audit: Log,
        bounds: Bounds,
    ) -> crate::error::Setup<Self> {
        let router = router::Router::build(route::all(&roles), &registry)?;
        let openapi = openapi::document(&router, &registry)?;
        Ok(Self { identity, roles, registry, sealer, audit, router, openapi, bounds })
    }
}
