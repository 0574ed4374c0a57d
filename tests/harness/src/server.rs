//! A whole host in this process: real plugins, a database of its own, the real stack behind a loopback socket.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use dinehub::{
    command::{
        install,
        start::{self, Host, Rings, SECRETS},
    },
    config::Config,
    id::Role,
    identity::account::{Account, NewAccount},
    plugin::{
        build::{self, Workshop},
        package::Package,
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

fn workshop(source: &str, output: &str) -> Workshop {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    Workshop { source: root().join(source), output: target.join(output) }
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
        all.iter().filter(|package| names.contains(&package.manifest.id.as_str())).cloned().collect();
    assert_eq!(chosen.len(), names.len(), "some of {names:?} are no guests");
    chosen
}

async fn build(workshop: &Workshop) -> Vec<Package> {
    let built = build::build_all(workshop, &cluster::admin(), |_| {}).await;
    built.unwrap_or_else(|fault| panic!("{fault}"))
}

/// A running host. Stops when dropped.
#[derive(Debug)]
pub struct Server {
    pub address: SocketAddr,
    pub host: Host,
    pub database: Database,
    pub rings: Rings,
    _stop: oneshot::Sender<()>,
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
        Self::try_with(packages, &Config::default()).await.unwrap_or_else(|fault| panic!("{fault}"))
    }

    /// With these plugins, if they are admitted.
    pub async fn try_with(packages: Vec<Package>, config: &Config) -> dinehub::error::Setup<Self> {
        let database = Database::fresh().await;
        let admin = database.admin();
        let rings = rings();
        install::install(&admin, &rings, &packages).await?;
        let roles = dinehub::command::project::read_roles(&root().join("plugins/roles.toml"))?;
        let host = start::host(&admin, &rings, packages, roles, config).await?;
        let listener = start::listen("test", "127.0.0.1:0").await?;
        let address = listener.local_addr().expect("a bound socket has an address");
        let (stop, stopping) = oneshot::channel::<()>();
        let serving = host.clone();
        tokio::spawn(async move {
            serving
                .serve(listener, async {
                    let _ = stopping.await;
                })
                .await;
        });
        Ok(Self { address, host, database, rings, _stop: stop })
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

/// Fresh secrets, through real age files.
#[must_use]
pub fn rings() -> Rings {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let place = || {
        let opened = cap_std::fs::Dir::open_ambient_dir(directory.path(), cap_std::ambient_authority());
        Place::new(opened.expect("the temporary directory"), "test secrets")
    };
    let made = vault::create(&place(), &place(), "identity.txt", &SECRETS, "test");
    made.and_then(|()| Vault::open(place(), &place(), "identity.txt"))
        .and_then(|vault| Rings::open(&vault))
        .unwrap_or_else(|fault| panic!("{fault}"))
}
