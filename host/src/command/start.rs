//! From parts to a host: what `serve`, `dev` and the tests all do, so that they cannot differ.
//!
//! Two steps with two logins. [`install`] works as a superuser and is over before the first request: it migrates, proves,
//! and grants. [`host`] runs as `<db>_control`, which owns nothing, and as the plugins' own logins.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::PgPool;
use tokio::net::TcpListener;

use super::background::Background;
use crate::{
    access::role::RoleTable,
    capability::{granted::Granted, grants::Approved, handle::Opened},
    config::{self, Config},
    database::{
        catalog::Catalog,
        control, grant,
        guest::{self, Pool},
        migrate,
        session::{Session, identifier, literal},
        target::Target,
        usage,
    },
    error::{Fault, Setup},
    http::{self, App, Bounds},
    id::{PluginId, Role},
    identity::{self, Identity},
    plugin::{
        admit::Candidate,
        approval::{Admission, Book, SigningKey, asked},
        bind,
        cursor::Sealer,
        engine::{self, Engine, Slots},
        manifest::Manifest,
        package::Package,
        registry::Registry,
    },
    secret::{self, ring::Ring, vault::Vault},
};

/// Who approves what was built on this machine, for this machine.
const MACHINE: &str = "this-machine";

/// The secrets a host opens.
pub const SECRETS: [&str; 3] = ["jwt", "database", "cursor"];

/// The rings, opened.
#[derive(Debug)]
pub struct Rings {
    jwt: Ring,
    database: Ring,
    cursor: Ring,
    /// Those that plugins may use, by plugin and name.
    plugins: BTreeMap<(PluginId, String), Ring>,
}

impl Rings {
    /// Opens [`SECRETS`].
    pub fn open(vault: &Vault) -> Setup<Self> {
        let [jwt, database, cursor] = SECRETS.map(|name| vault.ring(name));
        Ok(Self { jwt: jwt?, database: database?, cursor: cursor?, plugins: BTreeMap::new() })
    }

    /// Opens what admitted plugins may use as well: `plugin-<id>-<name>.age`.
    pub fn with_plugins(mut self, vault: &Vault, admitted: &[Admission]) -> Setup<Self> {
        for manifest in admitted.iter().map(|admission| &admission.package().manifest) {
            for name in manifest.secrets.keys() {
                let ring = vault.ring(&secret_of(&manifest.id, name)).map_err(|fault| fault.within(&manifest.id))?;
                self.plugins.insert((manifest.id.clone(), name.clone()), ring);
            }
        }
        Ok(self)
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

/// The name of a plugin's secret in the vault.
fn secret_of(plugin: &PluginId, name: &str) -> String {
    format!("plugin-{plugin}-{name}")
}

/// The secrets that plugins ask for, for whoever makes them.
#[must_use]
pub fn secrets_of<'p>(packages: impl Iterator<Item = &'p Package>) -> Vec<String> {
    let of =
        |manifest: &Manifest| manifest.secrets.keys().map(|name| secret_of(&manifest.id, name)).collect::<Vec<_>>();
    packages.flat_map(|package| of(&package.manifest)).collect()
}

/// What an admitted plugin's handles lead to.
fn open_handles(manifest: &Manifest, rings: &Rings, config: &Config) -> Setup<Opened> {
    let mut opened = Opened::default();
    for name in manifest.secrets.keys() {
        let ring = rings.plugins.get(&(manifest.id.clone(), name.clone()));
        let ring = ring.ok_or_else(|| Fault::new(manifest.id.as_str(), format!("secret {name} was not opened")))?;
        opened.secrets.insert(name.clone(), ring.clone());
    }
    for name in manifest.files.keys() {
        let path = config.plugins.files_directory.join(manifest.id.as_str()).join("files").join(name);
        let directory = cap_std::fs::Dir::open_ambient_dir(&path, cap_std::ambient_authority());
        let place = path.display().to_string();
        let directory = directory.map_err(|why| Fault::at(place)(why).fix(format!("mkdir -p {}", path.display())))?;
        opened.files.insert(name.clone(), Arc::new(directory));
    }
    Ok(opened)
}

/// The name of the host's own login.
fn control_role(database: &str) -> String {
    format!("{database}_control")
}

/// Lets in what `book` approves; and what it does not, because it was built here and nobody reviewed it yet, for this run
/// alone, with a key that is gone afterwards. Names the latter. For `dev` and tests: `serve` admits by the book.
pub fn admit_here(book: &Book, packages: Vec<Package>) -> Setup<(Vec<Admission>, Vec<PluginId>)> {
    let candidates = packages.iter().cloned().map(Candidate::read).collect::<Setup<Vec<_>>>()?;
    let (key, _) = SigningKey::fresh()?;
    let (mut here, mut unapproved) = (book.clone(), Vec::new());
    here.reviewers.approvals_min = 1;
    here.reviewers.reviewers.insert(MACHINE.to_owned(), key.public());
    for mut block in asked(&candidates)? {
        if book.ensure_approved(&block).is_err() {
            block.approvals = vec![key.approve(&block, MACHINE, "")];
            unapproved.push(block.id.clone());
            here.lock.put(block);
        }
    }
    Ok((here.admit(packages)?, unapproved))
}

/// Brings the database to where these packages need it: schemas migrated, statements proved, roles and grants exact.
/// `admin` is a superuser, or a role that may create roles and databases. Gives each plugin's catalog.
pub async fn install(admin: &Target, rings: &Rings, admitted: &[Admission]) -> Setup<BTreeMap<PluginId, Catalog>> {
    migrate::host(admin).await?;
    let session = Session::open(admin).await?;
    let control = control_role(&admin.database);
    let verifier = grant::verifier(&rings.password(&control));
    session.run(&format!("alter role {} password {}", identifier(&control), literal(&verifier))).await?;
    grant::close(&session).await?;
    let mut catalogs = BTreeMap::new();
    for admission in admitted {
        let package = admission.package();
        let id = &package.manifest.id;
        ensure_not_older(&session, id, admission.generation()).await?;
        let roles = grant::ensure_roles(admin, id, |role| rings.password(role)).await?;
        let owner = rings.login(admin, &roles.owner);
        let catalog = migrate::plugin(admin, &owner, id, &package.content.migrations).await?;
        prove(&session, admin, admission).await?;
        grant::apply(admin, id, &package.content.statements).await?;
        catalogs.insert(id.clone(), catalog);
    }
    for package in admitted.iter().map(Admission::package) {
        let id = &package.manifest.id;
        let drift = grant::verify(admin, id, &package.content.statements).await?;
        if !drift.is_empty() {
            return Err(Fault::new(format!("database {}: plugin {id}", admin.database), drift.join("; "))
                .fix("somebody changed roles or grants by hand while the host applied them: start it again"));
        }
    }
    Ok(catalogs)
}

/// An approval that this database has seen replaced does not come back: whoever wants the old artefact approves it anew.
async fn ensure_not_older(session: &Session, id: &PluginId, generation: u64) -> Setup<()> {
    let known = format!("select generation from dinehub.admission where plugin = {}", literal(id.as_str()));
    let row = session.query(&known, &[]).await.map_err(session.fault())?;
    let known: i64 = row.first().map_or(0, |row| row.get(0));
    // Generation 0 was approved here, for this run.
    if generation != 0 && i64::try_from(generation).unwrap_or(i64::MAX) < known {
        let what = format!("is approval {generation} of this plugin, and this database has seen approval {known}");
        return Err(Fault::new(id.as_str(), what).fix(format!(
            "use the newer grants.lock and artefact, or approve this one anew: dinehub grants approve {id}"
        )));
    }
    Ok(())
}

/// Proves a package's statements again, unless this version of the host already did for this very artefact.
async fn prove(session: &Session, admin: &Target, admission: &Admission) -> Setup<()> {
    let package = admission.package();
    let id = &package.manifest.id;
    let mark = format!("{} {}", env!("CARGO_PKG_VERSION"), package.digest);
    let known = format!(
        "select 1 from dinehub.admission where plugin = {} and mark = {} and generation >= {}",
        literal(id.as_str()),
        literal(&mark),
        admission.generation()
    );
    if !session.query(&known, &[]).await.map_err(session.fault())?.is_empty() {
        return Ok(());
    }
    let proved = bind::prove(id, &package.content.statements, &package.content.migrations, admin).await;
    proved.map_err(|fault| fault.within(id))?;
    let note = format!(
        "insert into dinehub.admission as known (plugin, mark, generation) values ({}, {}, {})
         on conflict (plugin) do update set mark = excluded.mark, admitted_at = now(),
           generation = greatest(known.generation, excluded.generation)",
        literal(id.as_str()),
        literal(&mark),
        admission.generation()
    );
    session.run(&note).await
}

/// A host that is ready to serve.
#[derive(Clone, Debug)]
pub struct Host {
    pub app: Arc<App>,
    pub pool: Pool,
    pub(super) control: PgPool,
    pub(super) background: config::Background,
}

/// Opens everything a host serves with. The database was [`install`]ed; `place` is used for names only, not for its login.
pub async fn host(
    place: &Target,
    rings: &Rings,
    admitted: Vec<Admission>,
    roles: RoleTable,
    config: &Config,
) -> Setup<Host> {
    host_granting(place, rings, admitted, roles, config, |admission| Granted::of(admission.functions())).await
}

/// The same, with `granted` saying which of the admitted functions may be called: fewer than all, to see what then fails.
pub async fn host_granting(
    place: &Target,
    rings: &Rings,
    admitted: Vec<Admission>,
    roles: RoleTable,
    config: &Config,
    granted: impl Fn(&Admission) -> Granted,
) -> Setup<Host> {
    let control = control_pool(place, rings, config);
    let identity = open_identity(control.clone(), rings, &roles, config).await?;
    let options = guest::Options {
        connections_max: config.database.connections_max,
        wait_max: Duration::from_millis(config.database.wait_ms),
        ..guest::Options::default()
    };
    let pool = Pool::new(control.clone(), options);
    let engine = Engine::new(Slots(config.plugins.calls_max))?;
    for admission in &admitted {
        ensure_roles_exist(admission.candidate(), &roles)?;
    }
    let registry = Registry::load(&engine, admitted, |admission| {
        let manifest = &admission.package().manifest;
        let names = grant::Roles::of(&place.database, &manifest.id)?;
        let login = |role: &str| pool.login(rings.login(place, role));
        let logins = (login(&names.ro), login(&names.rw));
        let granted = granted(admission);
        let handles = open_handles(manifest, rings, config)?;
        Ok(Approved::new(
            manifest.id.clone(),
            (granted, handles),
            (manifest.limits, engine::TICK_MS),
            pool.clone(),
            logins,
        ))
    })?;
    let sealer = Sealer::new(rings.cursor.current.expose_secret())?;
    let bounds = Bounds {
        body_bytes_max: config.http.body_bytes_max,
        body_ms: config.http.body_ms,
        header_ms: config.http.header_ms,
        connections_max: config.http.connections_max,
        drain_ms: config.http.drain_ms,
    };
    let app = App::new(identity, Arc::new(roles), Arc::new(registry), sealer, bounds)?;
    Ok(Host { app: Arc::new(app), pool, control, background: config.background.clone() })
}

/// The host's own login, by itself: for operators' commands.
pub fn control_pool(place: &Target, rings: &Rings, config: &Config) -> PgPool {
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
        let background = Background::start(self).await;
        http::serve::serve(listener, service, self.app.bounds, stop).await;
        drop(background);
        self.record_use().await;
    }

    /// Writes down which grants were used since the last time.
    pub async fn record_use(&self) {
        for plugin in self.app.registry.iter() {
            for used in plugin.approved().take_used() {
                if let Err(why) = usage::record(&self.control, plugin.id(), &used.import, used.uses).await {
                    tracing::warn!(target: "host", plugin = %plugin.id(), import = used.import, %why, "use not recorded");
                }
            }
        }
    }
}

/// Binds an address; the fault names the key.
pub async fn listen(key: &str, address: &str) -> Setup<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        Fault::new(format!("{key} = {address:?}"), error.to_string()).fix(format!("choose another address: {key}"))
    })
}
