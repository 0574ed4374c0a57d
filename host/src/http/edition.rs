//! One edition of what is served: the plugins, the routes to them, and the document that describes both.
//!
//! An edition never changes; a new one takes its place whole ([`super::App::replace`]). A request holds the edition it
//! found its route in until it is answered, so it sees one version of everything, also of plugins that it calls through
//! others; the next request finds the next edition. Nothing is refused in between, because there is no in between.

use std::sync::Arc;

use bytes::Bytes;

use super::{openapi, rate::Rates, route, router::Router};
use crate::{access::role::RoleTable, error::Setup, plugin::registry::Registry};

/// Everything that a new version of a plugin changes.
#[derive(Debug)]
pub struct Edition {
    pub registry: Arc<Registry>,
    pub router: Router,
    /// The document at `/openapi.json`, made once.
    pub openapi: Bytes,
}

impl Edition {
    /// Puts routes and document together from what was loaded.
    pub fn new(roles: &RoleTable, registry: Registry, rates: &Rates) -> Setup<Self> {
        let router = Router::build(route::all(roles), &registry, rates)?;
        let openapi = openapi::document(&router, &registry)?;
        Ok(Self { registry: Arc::new(registry), router, openapi })
    }
}
