//! From parts to a host: what `serve`, `dev` and the tests all do, so that they cannot differ.
//!
//! Two steps with two logins. [`install`] works as a superuser and is over before the first request: it migrates, proves,
//! and grants. [`host`] runs as `<db>_control`, which owns nothing, and as the plugins' own logins.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::PgPool;
use tokio::net::TcpListener;

use crate::{
    access::role::RoleTable,
    capability::grants::Approved,
    config::Config,
    database::{
        catalog::Catalog,
        control, grant,
        guest::{self, Pool},
        migrate,
        session::{Session, identifier, literal},
        target::Target,
    },
    error::{Fault, Setup},
    http::{self, App, Bounds},
    id::{PluginId, Role},
    identity::{self, Identity},
    plugin::{
        admit::Candidate,
        bind,
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
    fn password(&self, role: &str) -> SecretString {
        secret::derive(&self.database.current, &format!("role:{role}"))
    }

    /// The login `role` at the same database.
    fn login(&self, admin: &Target, role: &str) -> Target {
        admin.login(role, self.password(role))
    }
}

/// The name of the host's own login.
fn control_role(database: &str) -> String {
    format!("{database}_control")
}

/// Brings the database to where these packages need it: schemas migrated, statements proved, roles and grants exact.
/// `admin` is a superuser, or a role that may create roles and databases. Gives each plugin's catalog.
pub async fn install(admin: &Target, rings: &Rings, packages: &[Package]) -> Setup<BTreeMap<PluginId, Catalog>> {
    migrate::host(admin).await?;
    let session = Session::open(admin).await?;
    let control = control_role(&admin.database);
    let verifier = grant::verifier(&rings.password(&control));
    session.run(&format!("alter role {} password {}", identifier(&control), literal(&verifier))).await?;
    grant::close(&session).await?;
    let mut catalogs = BTreeMap::new();
    for package in packages {
        let id = &package.manifest.id;
        let roles = grant::ensure_roles(admin, id, |role| rings.password(role)).await?;
        let owner = rings.login(admin, &roles.owner);
        let catalog = migrate::plugin(admin, &owner, id, &package.content.migrations).await?;
        prove(&session, admin, package).await?;
        grant::apply(admin, id, &package.content.statements).await?;
        catalogs.insert(id.clone(), catalog);
    }
    for package in packages {
        let id = &package.manifest.id;
        let drift = grant::verify(admin, id, &package.content.statements).await?;
        if !drift.is_empty() {
            return Err(Fault::new(format!("database {}: plugin {id}", admin.database), drift.join("; "))
                .fix("somebody changed roles or grants by hand while the host applied them: start it again"));
        }
    }
    Ok(catalogs)
}

/// Proves a package's statements again, unless this version of the host already did for this very artefact.
async fn prove(session: &Session, admin: &Target, package: &Package) -> Setup<()> {
    let id = &package.manifest.id;
    let mark = format!("{} {}", env!("CARGO_PKG_VERSION"), package.digest);
    let known = format!(
        "select 1 from dinehub.admission where plugin = {} and mark = {}",
        literal(id.as_str()),
        literal(&mark)
    );
    if !session.query(&known, &[]).await.map_err(session.fault())?.is_empty() {
        return Ok(());
    }
    let proved = bind::prove(id, &package.content.statements, &package.content.migrations, admin).await;
    proved.map_err(|fault| fault.within(id))?;
    let note = format!(
        "insert into dinehub.admission (plugin, mark) values ({}, {})
         on conflict (plugin) do update set mark = excluded.mark, admitted_at = now()",
        literal(id.as_str()),
        literal(&mark)
    );
    session.run(&note).await
}

/// A host that is ready to serve.
#[derive(Clone, Debug)]
pub struct Host {
    pub app: Arc<App>,
    pub pool: Pool,
}

/// Opens everything a host serves with. The database was [`install`]ed; `place` is used for names only, not for its login.
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
    let control = rings.login(place, &control_role(&place.database));
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
