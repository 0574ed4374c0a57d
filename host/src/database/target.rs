//! Where a database is and who logs in there. The password is a secret and prints as dots.

use std::{
    path::Path,
    str::FromStr,
    time::{Duration, Instant},
};

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use tokio_postgres::{Client, Config, Connection, Error, NoTls, Socket, tls::NoTlsStream};

use crate::error::{Fault, Setup};

/// How long to leave a full queue of connections alone, and for how long to come back.
const QUEUE_PAUSE: Duration = Duration::from_millis(5);
const QUEUE_MAX: Duration = Duration::from_secs(5);

/// One login at one database. `host` is a name, an address, or the directory of a Unix socket.
#[derive(Clone, Debug)]
pub struct Target {
    pub host: String,
    pub port: u16,
    pub database: String,
    pub user: String,
    password: Option<SecretString>,
}

impl Target {
    /// A login over the Unix socket in `directory`, where the kernel vouches for the user.
    #[must_use]
    pub fn socket(directory: &Path, database: &str, user: &str) -> Self {
        Self {
            host: directory.display().to_string(),
            port: 5432,
            database: database.to_owned(),
            user: user.to_owned(),
            password: None,
        }
    }

    /// Reads `postgres://user@host:port/database`. A password in it is refused: it belongs in the vault.
    pub fn parse(url: &str) -> Setup<Self> {
        let config = Config::from_str(url).map_err(Fault::at("DATABASE_URL"))?;
        if config.get_password().is_some() {
            return Err(Fault::new("DATABASE_URL", "holds a password")
                .fix("take it out of the URL and put it into the secret `database_admin` (see secrets/README.md)"));
        }
        let host = match config.get_hosts().first() {
            Some(tokio_postgres::config::Host::Tcp(name)) => name.clone(),
            Some(tokio_postgres::config::Host::Unix(directory)) => directory.display().to_string(),
            None => return Err(Fault::new("DATABASE_URL", "names no host")),
        };
        Ok(Self {
            host,
            port: config.get_ports().first().copied().unwrap_or(5432),
            database: config.get_dbname().unwrap_or("dinehub").to_owned(),
            user: config.get_user().unwrap_or("dinehub").to_owned(),
            password: None,
        })
    }

    /// The same place, another login.
    #[must_use]
    pub fn login(&self, user: &str, password: SecretString) -> Self {
        Self { user: user.to_owned(), password: Some(password), ..self.clone() }
    }

    /// The same login, reached at another host: through a proxy, or at a replica.
    #[must_use]
    pub fn reached_at(&self, host: &str) -> Self {
        Self { host: host.to_owned(), ..self.clone() }
    }

    /// The same login, another database.
    #[must_use]
    pub fn database(&self, name: &str) -> Self {
        Self { database: name.to_owned(), ..self.clone() }
    }

    /// For the host's own schema.
    #[must_use]
    pub fn sqlx(&self) -> PgConnectOptions {
        let options = PgConnectOptions::new_without_pgpass()
            .host(&self.host)
            .port(self.port)
            .database(&self.database)
            .username(&self.user)
            .application_name("dinehub");
        match &self.password {
            Some(password) => options.password(password.expose_secret()),
            None => options,
        }
    }

    /// For plugins' statements.
    #[must_use]
    pub fn tokio(&self) -> Config {
        let mut config = Config::new();
        config
            .host(&self.host)
            .port(self.port)
            .dbname(&self.database)
            .user(&self.user)
            .application_name("dinehub")
            .connect_timeout(Duration::from_secs(3));
        if let Some(password) = &self.password {
            config.password(password.expose_secret());
        }
        config
    }
}

/// Connects. A Unix socket whose queue is full says so at once where TCP would wait: then this waits and tries again.
pub async fn connect(config: &Config) -> Result<(Client, Connection<Socket, NoTlsStream>), Error> {
    let tried = Instant::now();
    loop {
        match config.connect(NoTls).await {
            Err(why) if is_queue_full(&why) && tried.elapsed() < QUEUE_MAX => tokio::time::sleep(QUEUE_PAUSE).await,
            done => return done,
        }
    }
}

fn is_queue_full(why: &Error) -> bool {
    let cause = std::error::Error::source(why).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::WouldBlock)
}
