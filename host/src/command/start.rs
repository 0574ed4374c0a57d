//! From parts to a host: what `serve`, `dev` and the tests all do, so that they cannot differ.
//!
//! The database was brought to where the plugins need it before ([`super::install`]). [`host`] runs as `<db>_control`,
//! which owns nothing, and as the plugins' own logins.

mod means;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::PgPool;
use tokio::{net::TcpListener, sync::Notify};

use self::means::Means;
use super::{background::Background, edge};
use crate::{
    access::role::RoleTable,
    audit::{
        Log,
        event::{By, What},
        seal::Seal,
    },
    capability::{
        egress::client::Outbound,
        granted::Granted,
        mail::{Gateway, Spool},
    },
    config::{self, Config},
    database::{
        control,
        guest::{self, Pool},
        own,
        target::Target,
        usage,
    },
    error::{Fault, Setup},
    http::{self, App, edition::Edition},
    id::PluginId,
    identity::{self, Identity, mail::Post},
    plugin::{
        admit::Candidate,
        approval::{Admission, Book, SigningKey, asked},
        cursor::Sealer,
        lock::Block,
        manifest::{Manifest, Series},
        package::Package,
        witness,
    },
    secret::{self, ring::Ring, vault::Vault},
};

/// How long a stop waits for the audit to be written.
const FLUSH_MAX: Duration = Duration::from_secs(3);
/// Who approves what was built on this machine, for this machine.
const MACHINE: &str = "this-machine";

/// The secrets a host opens.
pub const SECRETS: [&str; 4] = ["jwt", "database", "cursor", "account"];

/// The rings, opened.
#[derive(Debug)]
pub struct Rings {
    jwt: Ring,
    database: Ring,
    cursor: Ring,
    account: Ring,
    /// What the mail gateway knows us by.
    mail: Option<SecretString>,
    /// Those that plugins may use, by plugin and name.
    plugins: BTreeMap<(PluginId, String), Ring>,
}

impl Rings {
    /// Opens [`SECRETS`].
    pub fn open(vault: &Vault) -> Setup<Self> {
        let [jwt, database, cursor, account] = SECRETS.map(|name| vault.ring(name));
        let (mail, plugins) = (vault.find_text("mail")?, BTreeMap::new());
        Ok(Self { jwt: jwt?, database: database?, cursor: cursor?, account: account?, mail, plugins })
    }

    /// Opens what admitted plugins may use as well: `plugin-<id>-<name>.age`.
    pub fn with_plugins<'a>(mut self, vault: &Vault, admitted: impl IntoIterator<Item = &'a Admission>) -> Setup<Self> {
        for manifest in admitted.into_iter().map(|admission| &admission.package().manifest) {
            for name in manifest.secrets.keys() {
                let ring = vault.ring(&secret_of(&manifest.id, name)).map_err(|fault| fault.within(&manifest.id))?;
                self.plugins.insert((manifest.id.clone(), name.clone()), ring);
            }
        }
        Ok(self)
    }

    /// A ring that a plugin may use.
    #[must_use]
    pub fn of_plugin(&self, plugin: &PluginId, name: &str) -> Option<&Ring> {
        self.plugins.get(&(plugin.clone(), name.to_owned()))
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

/// Lets in what `book` approves; and what it does not, because it was built here and nobody reviewed it yet, for this run
/// alone, with a key that is gone afterwards. Names the latter. For `dev` and tests: `serve` admits by the book.
pub fn admit_here(book: &Book, packages: Vec<Package>) -> Setup<(Vec<Admission>, Vec<PluginId>)> {
    let candidates = packages.iter().cloned().map(Candidate::read).collect::<Setup<Vec<_>>>()?;
    let (key, _) = SigningKey::fresh()?;
    let (mut here, mut unapproved) = (book.clone(), Vec::new());
    here.reviewers.approvals_min = 1;
    here.reviewers.reviewers.insert(MACHINE.to_owned(), key.public());
    let blocks = asked(&candidates)?;
    let lacking = |id: &PluginId| blocks.iter().any(|block| block.id == *id && book.ensure_approved(block).is_err());
    for mut block in Block::together(blocks.clone()) {
        if lacking(&block.id) {
            block.approvals = vec![key.approve(&block, MACHINE, "")];
            unapproved.push(block.id.clone());
            here.lock.put(block);
        }
    }
    Ok((here.admit(packages)?, unapproved))
}

/// A host that is ready to serve.
#[derive(Clone, Debug)]
pub struct Host {
    pub app: Arc<App>,
    pub pool: Pool,
    means: Arc<Means>,
    pub(super) control: PgPool,
    pub(super) background: config::Background,
    pub(super) tls: config::Tls,
    /// Says that there is a new edition.
    pub(super) renewed: Arc<Notify>,
    /// Editions that were replaced, as long as requests in flight hold them: what they use is written down too.
    retired: Arc<Mutex<Vec<Arc<Edition>>>>,
}

/// Opens everything a host serves with. The database was installed; `place` is used for names only, not for its login.
pub async fn host(
    place: &Target,
    rings: &Rings,
    admitted: Vec<Admission>,
    roles: RoleTable,
    config: &Config,
) -> Setup<Host> {
    host_granting(place, rings, (admitted, Vec::new()), roles, config, everything).await
}

/// Every function that a plugin imports and was admitted with.
pub fn everything(admission: &Admission) -> Granted {
    Granted::of(admission.functions())
}

/// The same, with what is switched off beside what is served; and with `granted` saying which of the admitted functions may
/// be called: fewer than all, to see what then fails.
pub async fn host_granting(
    place: &Target,
    rings: &Rings,
    (admitted, disabled): (Vec<Admission>, Vec<Series>),
    roles: RoleTable,
    config: &Config,
    granted: impl Fn(&Admission) -> Granted,
) -> Setup<Host> {
    let control = control_pool(place, rings, config);
    let audit = Log::open(control.clone(), config.audit.queue_max, Seal::of(&rings.database)?);
    let outbound = Arc::new(Outbound::new(&config.egress.routes)?);
    let post = open_post(rings, config, &outbound)?;
    let identity = open_identity(control.clone(), rings, &roles, config, post).await?;
    let options = guest::Options {
        connections_max: config.database.connections_max,
        wait_max: Duration::from_millis(config.database.wait_ms),
        ..guest::Options::default()
    };
    let pool = Pool::new(control.clone(), options);
    let means = Means::open(place, rings, config, (pool.clone(), audit.clone(), outbound))?;
    let registry = means.registry(rings, &roles, (admitted, disabled), granted).await?;
    let sealer = Sealer::new(rings.cursor.current.expose_secret())?;
    for (ring, key) in [("jwt", &rings.jwt), ("database", &rings.database), ("cursor", &rings.cursor)] {
        audit.record(By::host(), What::Key { act: "in_use", ring, key: key.current.id().into() });
    }
    let (bounds, edge) = (edge::bounds(config), edge::open(config)?);
    let edition = Edition::new(&roles, registry, &edge.rates)?;
    let app = Arc::new(App::new(identity, Arc::new(roles), edition, sealer, (audit, bounds, edge)));
    let (means, background, tls) = (Arc::new(means), config.background.clone(), config.tls.clone());
    Ok(Host { app, pool, means, control, background, tls, renewed: Arc::default(), retired: Arc::default() })
}

/// The host's own login, by itself: for operators' commands.
pub fn control_pool(place: &Target, rings: &Rings, config: &Config) -> PgPool {
    let control = rings.login(place, &own::Roles::of(&place.database).control);
    control::pool(&control, config.database.control_connections_max)
}

/// The way letters go: a gateway, a directory, or none.
fn open_post(rings: &Rings, config: &Config, outbound: &Arc<Outbound>) -> Setup<Option<Arc<dyn Post>>> {
    let spool = &config.mail.spool;
    if !config.mail.url.is_empty() {
        let gateway = Gateway::new(&config.mail.url, rings.mail.clone(), Arc::clone(outbound))?;
        return Ok(Some(Arc::new(gateway)));
    }
    if spool.as_os_str().is_empty() {
        return Ok(None);
    }
    let place = format!("mail.spool: {}", spool.display());
    let opened = cap_std::fs::Dir::open_ambient_dir(spool, cap_std::ambient_authority());
    let opened = opened.map_err(|why| Fault::at(place)(why).fix(format!("mkdir -p {}", spool.display())))?;
    Ok(Some(Arc::new(Spool(opened))))
}

async fn open_identity(
    control: PgPool,
    rings: &Rings,
    roles: &RoleTable,
    config: &Config,
    post: Option<Arc<dyn Post>>,
) -> Setup<Identity> {
    let policy = identity::Policy {
        issuer: config.identity.issuer.clone(),
        lifetime_s: config.identity.token_s,
        recent_s: config.identity.recent_s,
        verifies: config.identity.verify_email,
        link: config.mail.link.clone(),
        post,
        newcomer: vec![roles.newcomer().clone()],
        ..identity::Policy::default()
    };
    let rings = identity::Rings { tokens: &rings.jwt, account: &rings.account };
    Identity::open(control, rings, policy).await
}

/// Accounts alone, for operators' commands: they write no letters and verify nobody.
pub async fn identity(place: &Target, rings: &Rings, roles: &RoleTable, config: &Config) -> Setup<Identity> {
    let mut config = config.clone();
    config.identity.verify_email = false;
    open_identity(control_pool(place, rings, &config), rings, roles, &config, None).await
}

impl Host {
    /// Serves the API until `stop` ends, then drains.
    pub async fn serve(&self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let app = Arc::clone(&self.app);
        let service = move |request, peer| http::layers::answer(Arc::clone(&app), request, peer);
        let background = Background::start(self).await;
        http::serve::serve(listener, service, self.app.terms(), stop).await;
        drop(background);
        self.record_use().await;
        if !self.app.audit.flush(FLUSH_MAX).await {
            tracing::warn!(target: "host", "audit events are in the log alone");
        }
    }

    /// Removes compiled code of artefacts that this host does not serve.
    pub fn sweep(&self) {
        self.means.sweep();
    }

    /// Serves `admitted` from the next request on, without those that are `disabled`. Requests in flight end on what they
    /// began with. When anything fails, everything stays as it was.
    pub async fn renew(&self, rings: &Rings, admitted: Vec<Admission>, disabled: Vec<Series>) -> Setup<()> {
        let registry = self.means.registry(rings, &self.app.roles, (admitted, disabled), everything).await?;
        let next = Edition::new(&self.app.roles, registry, &self.app.edge.rates)?;
        let changes = witness::changes(&self.app.edition().registry, &next.registry);
        let old = self.app.replace(next);
        changes.into_iter().for_each(|what| self.app.audit.record(By::host(), what));
        self.retired.lock().unwrap_or_else(PoisonError::into_inner).push(old);
        self.renewed.notify_one();
        Ok(())
    }

    /// How many editions are held by requests in flight alone.
    #[must_use]
    pub fn retired(&self) -> usize {
        let retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.iter().filter(|edition| Arc::strong_count(edition) > 1).count()
    }

    /// Writes down which grants were used since the last time.
    pub async fn record_use(&self) {
        let mut editions = {
            let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
            let all = retired.clone();
            // One that nothing but this list and this copy of it holds: it is asked a last time, and let go.
            retired.retain(|edition| Arc::strong_count(edition) > 2);
            all
        };
        editions.push(Arc::clone(&self.app.edition()));
        for plugin in editions.iter().flat_map(|edition| edition.registry.iter()) {
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
