//! HTTP: from a socket to an answer, in one straight line.
//!
//! [`serve`] accepts, [`layers`] wraps, [`router`] finds the route, [`crate::identity`] says who, [`crate::access`] says
//! whether, [`forward`] calls the plugin (or [`route`] the host's own action), [`problem`] says no. Only this module and the
//! console know axum.

pub mod tls;
pub mod source;
pub mod serve;
pub mod meter;
pub mod framing;
pub mod rate;
pub mod filter;
pub mod cors;
pub mod condition;
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
    pub edge: Edge,
}

/// What an operator set for the boundary, read and checked.
#[derive(Debug, Default)]
pub struct Edge {
    /// Whom to believe about a client's address.
    pub proxies: source::Proxies,
    /// Sources that are not limited: this machine, monitors.
    pub exempt: source::Networks,
    /// How often all others may ask.
    pub rates: rate::Rates,
    /// What is refused for what it looks like; none, if the operator said so.
    pub filter: Option<filter::Filter>,
    /// Which pages of other origins may read answers.
    pub cors: cors::Cors,
    /// `/.well-known/security.txt`.
    pub security: Security,
    /// Pins of keys that clients may meet beside the one of `tls`: a proxy's.
    pub pins: Vec<String>,
    /// The certificate, and who does handshakes with it, when this host speaks TLS itself.
    pub tls: Option<(tls::Keeper, tls::Acceptor)>,
}

/// Whom to tell of a weakness (RFC 9116): lines of name and value, and for how many days they are good.
#[derive(Clone, Debug, Default)]
pub struct Security {
    pub lines: Vec<(&'static str, String)>,
    pub days: u32,
}

/// Bounds of the HTTP side; see the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// A request's body, in bytes.
    pub body_bytes_max: usize,
    /// Reading a request's body, in milliseconds.
    pub body_ms: u64,
    /// Reading a request's head, in milliseconds; also how long a connection may wait for its first.
    pub header_ms: u64,
    /// How long a connection is kept on which nothing moves, in milliseconds.
    pub idle_ms: u64,
    /// Open connections.
    pub connections_max: usize,
    /// Open connections of one source (an IPv4 address, the first 64 bits of IPv6).
    pub connections_per_source_max: usize,
    /// How long requests in flight may take to end when the server stops, in milliseconds.
    pub drain_ms: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            body_bytes_max: 256 << 10,
            body_ms: 10_000,
            header_ms: 10_000,
            idle_ms: 30_000,
            connections_max: 4_096,
            connections_per_source_max: 256,
            drain_ms: 10_000,
        }
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
        (audit, bounds, edge): (Log, Bounds, Edge),
    ) -> Self {
        Self { identity, roles, sealer, audit, bounds, edge, edition: ArcSwap::from_pointee(edition) }
    }

    /// On what terms the API's socket takes connections.
    #[must_use]
    pub fn terms(&self) -> serve::Terms {
        let Edge { proxies, exempt, tls, .. } = &self.edge;
        let tls = tls.as_ref().map(|(_, acceptor)| acceptor.clone());
        serve::Terms { bounds: self.bounds, tls, exempt: Arc::new(exempt.and(proxies.trusted())) }
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
