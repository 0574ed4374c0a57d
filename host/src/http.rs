//! HTTP: from a socket to an answer, in one straight line.
//!
//! [`serve`] accepts, [`layers`] wraps, [`router`] finds the route, [`crate::identity`] says who, [`crate::access`] says
//! whether, [`forward`] calls the plugin (or [`route`] the host's own action), [`problem`] says no. Only this module and the
//! console know axum.

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
pub mod edition;

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use self::edition::Edition;
use crate::{access::role::RoleTable, audit::Log, identity::Identity, plugin::cursor::Sealer};

/// Everything a request can reach.
#[derive(Debug)]
pub struct App {
    pub identity: Identity,
    pub roles: Arc<RoleTable>,
    pub sealer: Sealer,
    /// What happened, for whoever asks later.
    pub audit: Log,
    pub bounds: Bounds,
    edition: ArcSwap<Edition>,
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
    /// Serves `edition` first.
    #[must_use]
    pub fn new(
        identity: Identity,
        roles: Arc<RoleTable>,
        edition: Edition,
        sealer: Sealer,
        (audit, bounds): (Log, Bounds),
    ) -> Self {
        Self { identity, roles, sealer, audit, bounds, edition: ArcSwap::from_pointee(edition) }
    }

    /// What is served now. Costs a request no lock and no shared counter.
    #[must_use]
    pub fn edition(&self) -> Guard<Arc<Edition>> {
        self.edition.load()
    }

    /// Serves `next` from the next request on; gives what was served before, which requests in flight still hold.
    #[must_use]
    pub fn replace(&self, next: Edition) -> Arc<Edition> {
        self.edition.swap(Arc::new(next))
    }
}
