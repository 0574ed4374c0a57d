//! From parts to a host: what `serve`, `dev` and the tests all do, so that they cannot differ.
//!
//! The database was brought to where the plugins need it before ([`super::install`]). [`host`] runs as `<db>_control`,
//! which owns nothing, and as the plugins' own logins.

use std::{sync::Arc, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::PgPool;
use tokio::net::TcpListener;

use crate::{
    access::role::RoleTable,
    capability::grants::Approved,
    config::Config,
    database::{
        control, grant,
        guest::{self, Pool},
        own,
        target::Target,
    },
    error::{Fault, Setup},
    http::{self, App, Bounds},
    id::Role,
    identity::{self, Identity},
    plugin::{
        admit::Candidate,
        cursor::Sealer,
        engine::{self, Engine, Slots},
        package::Package,
        registry::Registry,
    },
    secret::{self, ring::Ring, vault::Vault},
};

/// The secrets a host opens.
pub const SECRETS: [&str; 3] = ["jwt", "database", "cursor"];

/// The rings, opened.
#[derive(Debug)]
pub struct Rings {
    jwt: Ring,
    database: Ring,
    cursor: Ring,
}

impl Rings {
    /// Opens [`SECRETS`].
    pub fn open(vault: &Vault) -> Setup<Self> {
        let [jwt, database, cursor] = SECRETS.map(|name| vault.ring(name));
        Ok(Self { jwt: jwt?, database: database?, cursor: cursor? })
    }

    /// The password of a database role: derived, never stored.
    pub(super) fn password(&self, role: &str) -> SecretString {
        secret::derive(&self.database.current, &format!("role:{role}"))
    }

    /// The login `role` at the same database.
    #[must_use]
    pub fn login(&self, admin: &Target, role: &str) -> Target {
        admin.login(role, self.password(role))
    }
}

/// A host that is ready to serve.
#[derive(Clone, Debug)]
pub struct Host {
    pub app: Arc<App>,
    pub pool: Pool,
}

/// Opens everything a host serves with. The database was installed; `place` is used for names only, not for its login.
pub async fn host(
    place: &Target,
    rings: &Rings,
    packages: Vec<Package>,
    roles: RoleTable,
    config: &Config,
) -> Setup<Host> {
    let control = control_pool(place, rings, config);
    let identity = open_identity(control.clone(), rings, &roles, config).await?;
    let options = guest::Options {
        connections_max: config.database.connections_max,
        wait_max: Duration::from_millis(config.database.wait_ms),
        ..guest::Options::default()
    };
    let pool = Pool::new(control, options);
    let engine = Engine::new(Slots(config.plugins.calls_max))?;
    let candidates = packages.into_iter().map(Candidate::read).collect::<Setup<Vec<_>>>()?;
    for candidate in &candidates {
        ensure_roles_exist(candidate, &roles)?;
    }
    let registry = Registry::load(&engine, candidates, |candidate| {
        let names = grant::Roles::of(&place.database, candidate.id())?;
        let login = |role: &str| pool.login(rings.login(place, role));
        let manifest = &candidate.package.manifest;
        let (ro, rw) = (login(&names.ro), login(&names.rw));
        Ok(Approved::new(manifest.id.clone(), manifest.limits, engine::TICK_MS, pool.clone(), ro, rw))
    })?;
    let sealer = Sealer::new(rings.cursor.current.expose_secret())?;
    let bounds = Bounds {
        body_bytes_max: config.http.body_bytes_max,
        body_ms: config.http.body_ms,
        header_ms: config.http.header_ms,
        connections_max: config.http.connections_max,
        drain_ms: config.http.drain_ms,
    };
    let app = App::new(identity, roles, Arc::new(registry), sealer, bounds)?;
    Ok(Host { app: Arc::new(app), pool })
}

fn control_pool(place: &Target, rings: &Rings, config: &Config) -> PgPool {
    let control = rings.login(place, &own::Roles::of(&place.database).control);
    control::pool(&control, config.database.control_connections_max)
}

async fn open_identity(control: PgPool, rings: &Rings, roles: &RoleTable, config: &Config) -> Setup<Identity> {
    let policy = identity::Policy {
        issuer: config.identity.issuer.clone(),
        lifetime_s: config.identity.token_s,
        newcomer: vec![roles.newcomer().clone()],
        ..identity::Policy::default()
    };
    Identity::open(control, &rings.jwt, policy).await
}

/// Accounts alone, for operators' commands.
pub async fn identity(place: &Target, rings: &Rings, roles: &RoleTable, config: &Config) -> Setup<Identity> {
    open_identity(control_pool(place, rings, config), rings, roles, config).await
}

/// A route that names a role nobody can hold is closed by mistake.
fn ensure_roles_exist(candidate: &Candidate, roles: &RoleTable) -> Setup<()> {
    for route in &candidate.package.manifest.routes {
        let unknown = |role: &&Role| !roles.has(role);
        if let Some(role) = route.roles.iter().find(unknown) {
            let place = format!("{}: [[route]] {} {:?}", candidate.id(), route.method.as_str(), route.path);
            return Err(Fault::new(place, format!("there is no role {role}"))
                .fix(format!("add `[role.{role}]` to plugins/roles.toml, or name another")));
        }
    }
    Ok(())
}

impl Host {
    /// Serves the API until `stop` ends, then drains.
    pub async fn serve(&self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let service = http::layers::service(Arc::clone(&self.app));
        http::serve::serve(listener, service, self.app.bounds, stop).await;
    }
}

/// Binds an address; the fault names the key.
pub async fn listen(key: &str, address: &str) -> Setup<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        Fault::new(format!("{key} = {address:?}"), error.to_string()).fix(format!("choose another address: {key}"))
    })
}
