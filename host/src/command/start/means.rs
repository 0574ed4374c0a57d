//! What every edition of one host is made with: the engine, the compiler, the pools. Opened once; editions come and go.

use std::{path::PathBuf, sync::Arc};

use secrecy::ExposeSecret as _;

use super::Rings;
use crate::{
    access::role::RoleTable,
    audit::Log,
    capability::{
        approved::Approved,
        egress::{self, client::Outbound},
        granted::Granted,
        handle::Opened,
        wasi,
    },
    command::project::private,
    config::Config,
    database::{grant, guest::Pool, target::Target},
    error::{Fault, Setup},
    id::Role,
    plugin::{
        admit::Candidate,
        approval::Admission,
        compile::{Bounds, Compiler, cache::Cache},
        engine::{self, Engine, Slots},
        manifest::{Manifest, Series},
        registry::Registry,
    },
    secret::{
        self,
        ring::{Key, Ring},
    },
};

/// This very program, also after an update put another one in its place.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// The same for all editions.
#[derive(Debug)]
pub(super) struct Means {
    place: Target,
    config: Config,
    engine: Engine,
    compiler: Compiler,
    pool: Pool,
    audit: Log,
    outbound: Arc<Outbound>,
}

impl Means {
    /// Opens them. `rings` give the key under which compiled code is kept.
    pub(super) fn open(
        place: &Target,
        rings: &Rings,
        config: &Config,
        shared: (Pool, Log, Arc<Outbound>),
    ) -> Setup<Self> {
        let engine = Engine::new(Slots(config.plugins.calls_max))?;
        let compiler = open_compiler(rings, config)?;
        let (pool, audit, outbound) = shared;
        Ok(Self { place: place.clone(), config: config.clone(), engine, compiler, pool, audit, outbound })
    }

    /// Compiles and links what was admitted. `rings` hold the secrets of these very plugins.
    pub(super) async fn registry(
        &self,
        rings: &Rings,
        roles: &RoleTable,
        (admitted, disabled): (Vec<Admission>, Vec<Series>),
        granted: impl Fn(&Admission) -> Granted,
    ) -> Setup<Registry> {
        for admission in &admitted {
            ensure_roles_exist(admission.candidate(), roles)?;
        }
        let approve = |admission: &Admission| self.approve(admission, rings, granted(admission));
        Registry::load(&self.engine, &self.compiler, admitted, disabled, approve).await
    }

    /// Removes compiled code that nothing here used.
    pub(super) fn sweep(&self) {
        self.compiler.sweep();
    }

    fn approve(&self, admission: &Admission, rings: &Rings, granted: Granted) -> Setup<Approved> {
        let manifest = &admission.package().manifest;
        let names = grant::Roles::of(&self.place.database, &manifest.id)?;
        let login = |role: &str| self.pool.login(rings.login(&self.place, role));
        let logins = (login(&names.ro), login(&names.rw));
        let handles = open_handles(manifest, rings, &self.config, &self.outbound)?;
        Ok(Approved::new(
            manifest.id.clone(),
            (granted, handles),
            (manifest.limits, engine::TICK_MS),
            self.pool.clone(),
            logins,
            (self.audit.clone(), &admission.package().digest),
        ))
    }
}

fn open_compiler(rings: &Rings, config: &Config) -> Setup<Compiler> {
    let key = secret::derive(&rings.database.current, "compiled code");
    let key = Ring::of(Key::new("derived", key.expose_secret().as_bytes().to_vec())?);
    // The state directory itself must be closed too: whoever may rename in it could put another in its place.
    drop(private(&config.plugins.state_directory)?);
    let cache = Cache::new(private(&config.plugins.state_directory.join("compiled"))?, key);
    let program = &config.plugins.compiler;
    let program = if program.as_os_str().is_empty() { PathBuf::from(THIS_PROGRAM) } else { program.clone() };
    Ok(Compiler::new(program, Bounds::default(), Some(cache)))
}

/// What an admitted plugin's handles lead to.
fn open_handles(manifest: &Manifest, rings: &Rings, config: &Config, outbound: &Arc<Outbound>) -> Setup<Opened> {
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
    let wasi = wasi::Opened::of(&manifest.wasi, &manifest.files, &opened.files);
    opened.wasi = wasi.map_err(|fault| fault.within(&manifest.id))?;
    for (name, spec) in &manifest.hosts {
        let secret = spec.inject.as_ref().and_then(|inject| opened.secrets.get(&inject.secret));
        let host = egress::Host::open(spec, secret.map(|ring| ring.current.text()), outbound)?;
        opened.hosts.insert(name.clone(), Arc::new(host));
    }
    Ok(opened)
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
