//! A whole host in this process: real plugins, a database of its own, the real stack behind a loopback socket.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use dinehub::{
    access::{permit, policy::Rule},
    capability::{
        approved::Approved,
        granted::Granted,
        grants::{Grants, Mode},
        handle::Opened,
        limit::Limits,
        tree::{Callee, Nested, Tree},
    },
    command::{
        install,
        outside::{self, Outside},
        start::{self, Host, Rings, SECRETS},
    },
    config::Config,
    error::Error,
    id::{Denial, PluginId, RequestId, Role},
    identity::account::{Account, NewAccount},
    plugin::{
        admit::Candidate,
        approval::{self, Admission, Book, SigningKey},
        build::{self, Workshop},
        lock::{Block, Lock},
        package::Package,
        value::Val,
    },
    secret::vault::{self, Place, Vault},
};
use secrecy::SecretString;
use tokio::sync::{OnceCell, oneshot};

use crate::{client::Client, cluster, database::Database};

/// What every account of a test logs in with.
pub const PASSWORD: &str = "saffron-kettle-29-harbour";

/// The checkout.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("tests/harness is two levels down").to_owned()
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

fn workshop(source: &str, output: &str) -> Workshop {
    Workshop { source: root().join(source), output: target().join(output) }
}

/// The feature plugins, built from source once per change.
pub async fn features() -> Vec<Package> {
    static PACKAGES: OnceCell<Vec<Package>> = OnceCell::const_new();
    let build = || async { build(&workshop("plugins", "plugins")).await };
    PACKAGES.get_or_init(build).await.clone()
}

/// The directory with the artefacts of the feature plugins, built.
pub async fn artefacts() -> PathBuf {
    features().await;
    workshop("plugins", "plugins").output
}

/// The hostile plugins of `tests/guests`, or those of them named.
pub async fn guests(names: &[&str]) -> Vec<Package> {
    static PACKAGES: OnceCell<Vec<Package>> = OnceCell::const_new();
    let build = || async { build(&workshop("tests/guests", "guests")).await };
    let all = PACKAGES.get_or_init(build).await;
    let chosen: Vec<Package> =
        all.iter().filter(|package| names.contains(&folder(package).as_str())).cloned().collect();
    assert_eq!(chosen.len(), names.len(), "some of {names:?} are no guests");
    chosen
}

/// `elder_v2` for the second major version of `elder`.
fn folder(package: &Package) -> String {
    package.manifest.scope().replace('.', "_")
}

async fn build(workshop: &Workshop) -> Vec<Package> {
    let built = build::build_all(workshop, &cluster::admin(), |_| {}).await;
    built.unwrap_or_else(|fault| panic!("{fault}"))
}

/// The program that compiles plugins. Cargo builds it for every run of the suite, and says where.
#[must_use]
pub fn program() -> PathBuf {
    if let Some(told) = std::env::var_os("CARGO_BIN_EXE_dinehub") {
        return told.into();
    }
    let here = std::env::current_exe().expect("this test's own program");
    let profile = here.ancestors().nth(2).and_then(Path::file_name).expect("<profile>/deps/<test>");
    target().join(profile).join("dinehub")
}

/// What the hosts of all tests keep from start to start: compiled plugins, and the secrets that prove whose they are.
fn home() -> PathBuf {
    target().join("hosts")
}

/// With the tests' own state directory and compiler, and the checkout's plugins' files, where the configuration names none.
#[must_use]
pub fn at_home(config: &Config) -> Config {
    let mut config = config.clone();
    if config.plugins.compiler.as_os_str().is_empty() {
        config.plugins.compiler = program();
        config.plugins.state_directory = home().join("state");
    }
    if config.plugins.files_directory == Config::default().plugins.files_directory {
        config.plugins.files_directory = root().join("plugins");
    }
    config
}

/// The defaults, but a call waits longer for a connection: how busy the machine is, is not what tests are about. And nothing
/// happens that was not asked for: events wait.
#[must_use]
pub fn patient() -> Config {
    let mut config = Config::default();
    config.database.wait_ms = 15_000;
    config.background.enabled = false;
    config
}

/// A running host. Stops when dropped.
#[derive(Debug)]
pub struct Server {
    pub address: SocketAddr,
    pub host: Host,
    pub database: Arc<Database>,
    pub rings: Arc<Rings>,
    /// What stands in for services outside.
    pub outside: Vec<Outside>,
    packages: Vec<Package>,
    stop: Option<oneshot::Sender<()>>,
}

impl Server {
    /// With the feature plugins.
    pub async fn start() -> Self {
        Self::with(features().await).await
    }

    /// With the feature plugins and a configuration of its own.
    pub async fn configured(config: &Config) -> Self {
        Self::try_with(features().await, config).await.unwrap_or_else(|fault| panic!("{fault}"))
    }

    /// With these plugins.
    pub async fn with(packages: Vec<Package>) -> Self {
        Self::try_with(packages, &patient()).await.unwrap_or_else(|fault| panic!("{fault}"))
    }

    /// With these plugins, if they are admitted.
    pub async fn try_with(packages: Vec<Package>, config: &Config) -> dinehub::error::Setup<Self> {
        Self::granting(packages, config, |admission| Granted::of(admission.functions())).await
    }

    /// With these plugins, and without one function that they import: `interface function`.
    pub async fn withholding(packages: Vec<Package>, config: &Config, import: &str) -> Self {
        let kept = |admission: &Admission| {
            Granted::of(admission.functions().filter(|(interface, name)| format!("{interface} {name}") != import))
        };
        Self::granting(packages, config, kept).await.unwrap_or_else(|fault| panic!("{fault}"))
    }

    async fn granting(
        packages: Vec<Package>,
        config: &Config,
        granted: impl Fn(&Admission) -> Granted,
    ) -> dinehub::error::Setup<Self> {
        let database = Arc::new(Database::fresh().await);
        let admitted = try_admit(packages.clone())?;
        let rings = Arc::new(shared_rings(&admitted));
        install::install(&database.admin(), &rings, &admitted).await?;
        Self::node((database, rings), packages, admitted, config, granted).await
    }

    /// One more host at the same database, with the same secrets and plugins: another node, set as `config` says.
    pub async fn join(&self, config: &Config) -> Self {
        let ground = (Arc::clone(&self.database), Arc::clone(&self.rings));
        let all = |admission: &Admission| Granted::of(admission.functions());
        let admitted = try_admit(self.packages.clone()).unwrap_or_else(|fault| panic!("{fault}"));
        let joined = Self::node(ground, self.packages.clone(), admitted, config, all).await;
        joined.unwrap_or_else(|fault| panic!("{fault}"))
    }

    async fn node(
        (database, rings): (Arc<Database>, Arc<Rings>),
        packages: Vec<Package>,
        admitted: Vec<Admission>,
        config: &Config,
        granted: impl Fn(&Admission) -> Granted,
    ) -> dinehub::error::Setup<Self> {
        let roles = dinehub::command::project::read_roles(&root().join("plugins/roles.toml"))?;
        let outside = outside::start(&root().join("plugins"), &admitted, &rings).await?;
        let mut config = at_home(config);
        for (origin, place) in outside::routes(&outside) {
            config.egress.routes.entry(origin).or_insert(place);
        }
        let host =
            start::host_granting(&database.admin(), &rings, (admitted, Vec::new()), roles, &config, granted).await?;
        let listener = start::listen("test", "127.0.0.1:0").await?;
        let address = listener.local_addr().expect("a bound socket has an address");
        outside.iter().for_each(|one| one.fake.report_to(format!("http://{address}")));
        let (stop, stopping) = oneshot::channel::<()>();
        let serving = host.clone();
        tokio::spawn(async move {
            serving
                .serve(listener, async {
                    let _ = stopping.await;
                })
                .await;
        });
        Ok(Self { address, host, database, rings, outside, packages, stop: Some(stop) })
    }

    /// Tells it to end; requests in flight do first.
    pub fn stop(&mut self) {
        self.stop = None;
    }

    /// Nobody in particular.
    #[must_use]
    pub fn anonymous(&self) -> Client {
        Client::new(self.address, None)
    }

    /// A new account with one role, logged in.
    pub async fn person(&self, role: &str) -> Person {
        let email = format!("p{}@example.com", uuid::Uuid::new_v4().simple());
        let new =
            NewAccount { email: email.clone(), name: format!("A {role}"), password: SecretString::from(PASSWORD) };
        let roles: Vec<Role> = vec![role.parse().expect("a role")];
        let account = self.host.app.identity.create(new, &roles).await.expect("an account");
        let client = self.login(&email, PASSWORD).await;
        Person { account, client }
    }

    /// Logs in over HTTP.
    pub async fn login(&self, email: &str, password: &str) -> Client {
        let body = serde_json::json!({"email": email, "password": password});
        let answer = self.anonymous().post("/api/v1/auth/login", &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let token = answer.json["access_token"].as_str().expect("a token").to_owned();
        Client::new(self.address, Some(token))
    }

    /// A login of the database, as the host itself would use it: `ordering_rw`, `control`.
    #[must_use]
    pub fn login_of(&self, role: &str) -> dinehub::database::target::Target {
        let admin = self.database.admin();
        self.rings.login(&admin, &format!("{}_{role}", admin.database))
    }

    /// The application, for tests that look behind the socket.
    #[must_use]
    pub fn app(&self) -> &Arc<dinehub::http::App> {
        &self.host.app
    }
}

/// Somebody who can log in, and did.
#[derive(Debug)]
pub struct Person {
    pub account: Account,
    pub client: Client,
}

impl Person {
    /// The account's id.
    #[must_use]
    pub fn id(&self) -> String {
        self.account.id.to_string()
    }
}

/// Approved for this run, as `dev` does it.
pub fn try_admit(packages: Vec<Package>) -> dinehub::error::Setup<Vec<Admission>> {
    start::admit_here(&Book::default(), packages).map(|(admitted, _)| admitted)
}

/// The feature plugins, approved for this run.
pub async fn admitted_features() -> Vec<Admission> {
    try_admit(features().await).unwrap_or_else(|fault| panic!("{fault}"))
}

/// Writes `grants.lock` and `reviewers.toml` into a directory: everything approved, by a reviewer whose key is gone.
pub fn write_book(directory: &Path, packages: Vec<Package>) {
    let candidates: Vec<Candidate> = packages.into_iter().map(|one| Candidate::read(one).expect("a plugin")).collect();
    let (key, _) = SigningKey::fresh().expect("a key");
    let mut lock = Lock::default();
    for mut block in Block::together(approval::asked(&candidates).expect("granted imports")) {
        block.generation = 1;
        block.approvals = vec![key.approve(&block, "desk", "2026-11-24")];
        lock.put(block);
    }
    std::fs::write(directory.join("grants.lock"), lock.print().expect("a lock")).expect("a lock file");
    let reviewers = format!("approvals_min = 1\n[reviewer.desk]\nkey = \"{}\"\n", key.public().key);
    std::fs::write(directory.join("reviewers.toml"), reviewers).expect("a list of reviewers");
}

/// Fresh secrets, through real age files.
#[must_use]
pub fn rings() -> Rings {
    rings_for(&[])
}

/// Fresh secrets, those of plugins as well.
#[must_use]
pub fn rings_for(admitted: &[Admission]) -> Rings {
    let directory = tempfile::tempdir().expect("a temporary directory");
    rings_in(directory.path(), admitted)
}

/// The secrets that all hosts share, as nodes do: what one of them compiled, the next may run.
fn shared_rings(admitted: &[Admission]) -> Rings {
    let directory = home().join("secrets");
    std::fs::create_dir_all(&directory).expect("a directory");
    rings_in(&directory, admitted)
}

fn rings_in(directory: &Path, admitted: &[Admission]) -> Rings {
    let names = start::secrets_of(admitted.iter().map(Admission::package));
    let names: Vec<&str> = SECRETS.into_iter().chain(names.iter().map(String::as_str)).collect();
    let place = || {
        let opened = cap_std::fs::Dir::open_ambient_dir(directory, cap_std::ambient_authority());
        Place::new(opened.expect("the temporary directory"), "test secrets")
    };
    let made = vault::create(&place(), &place(), "identity.txt", &names, "test");
    made.and_then(|()| Vault::open(place(), &place(), "identity.txt"))
        .and_then(|vault| Rings::open(&vault)?.with_plugins(&vault, admitted))
        .unwrap_or_else(|fault| panic!("{fault}"))
}

impl Server {
    /// Grants of an anonymous call that will touch nothing: `plugin` holds these functions and no other.
    #[must_use]
    pub fn bare_grants<'f>(
        &self,
        plugin: &PluginId,
        functions: impl IntoIterator<Item = (&'f str, &'f str)>,
    ) -> Grants {
        let actor = self.app().identity.actor(&hyper::HeaderMap::new()).expect("nobody in particular");
        let denial = Denial::route("GET", "/");
        let permit = permit::permit(actor, &Rule::Anyone, &self.app().roles, &denial).expect("anyone");
        let pool = self.host.pool.clone();
        let logins = (pool.login(self.database.admin()), pool.login(self.database.admin()));
        let granted = (Granted::of(functions), Opened::default());
        let audit = (self.app().audit.clone(), "");
        let approved = Arc::new(Approved::new(plugin.clone(), granted, (Limits::default(), 1), pool, logins, audit));
        approved.grant(permit, Mode::ReadOnly, Tree::root(RequestId::fresh(), plugin), Arc::new(Nobody))
    }
}

/// Calls nobody.
struct Nobody;

impl Callee for Nobody {
    fn call(&self, _: Nested) -> futures::future::BoxFuture<'_, Result<Option<Val>, Error>> {
        Box::pin(async { Err(Error::internal("nobody is here to be called")) })
    }
}
