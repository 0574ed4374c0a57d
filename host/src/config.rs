//! What an operator can set: a TOML file, then `DINEHUB_<SECTION>__<KEY>` from the environment, the later one winning.
//! `dinehub serve --dump-config` prints every key with its value and meaning. No key takes a secret: secrets are age
//! files, see [`crate::secret`].

mod edge;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub use self::edge::{Cors, Filter, Http, Quota, Rate, Security, Tls};
use crate::error::{Fault, Setup};

/// The whole configuration of `serve`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub http: Http,
    pub tls: Tls,
    pub rate: Rate,
    pub filter: Filter,
    pub cors: Cors,
    pub security: Security,
    pub admin: Admin,
    pub database: Database,
    pub secrets: Secrets,
    pub identity: Identity,
    pub mail: Mail,
    pub plugins: Plugins,
    pub egress: Egress,
    pub audit: Audit,
    pub background: Background,
    pub log: Log,
}

/// `/livez`, `/readyz`, `/metrics`; keep it on loopback.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    pub listen: String,
}

/// PostgreSQL.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `postgres://user@host:port/database`, without a password; also `DATABASE_URL`.
    pub url: String,
    /// Connections for plugins' statements, over all plugins.
    pub connections_max: usize,
    /// Connections for the host's own tables.
    pub control_connections_max: u32,
    /// How long a call waits for a connection before it is answered 503, in milliseconds.
    pub wait_ms: u64,
}

/// The vault.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Secrets {
    /// The directory with the `.age` files.
    pub directory: PathBuf,
    /// The age identity that opens them; mode 0600 or stricter.
    pub identity_file: PathBuf,
}

/// Tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// How long a token lives, in seconds; at most 86,400.
    pub token_s: u64,
    pub issuer: String,
    /// For how long a login, or a step-up, is proof enough for what is hard to undo, in seconds.
    pub recent_s: u64,
    /// Whether nobody logs in before their e-mail address was verified. If not, an account works at once, and registering
    /// and then logging in tells whether an address was taken.
    pub verify_email: bool,
}

/// Letters to people. With neither `url` nor `spool` none are written, and a forgotten password stays forgotten.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mail {
    /// A gateway that takes `POST {"to", "subject", "text"}`; the vault's `mail.age` is its bearer token.
    pub url: String,
    /// A directory that letters are put into instead, one file each.
    pub spool: PathBuf,
    /// The page that letters link to; the ticket follows behind `#`.
    pub link: String,
}

/// Plugins.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plugins {
    /// The directory with the artefacts, `<id>.wasm`.
    pub directory: PathBuf,
    /// Which role includes which.
    pub roles_file: PathBuf,
    /// What reviewers approved.
    pub lock_file: PathBuf,
    /// Whose approval counts.
    pub reviewers_file: PathBuf,
    /// Where granted directories are: `<here>/<plugin>/files/<name>`.
    pub files_directory: PathBuf,
    /// Calls that may run at once, over all plugins and nested calls.
    pub calls_max: u32,
    /// What this host alone writes: compiled plugins. Mode 0700 and its own; made when missing.
    pub state_directory: PathBuf,
    /// The program that compiles plugins, started as `PROGRAM compile`; this program when empty.
    pub compiler: PathBuf,
}

/// Outbound HTTP of plugins.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Egress {
    /// Origins that are reached somewhere else, unchecked: `"https://api.pay.example" = "http://127.0.0.1:9099"` for a fake
    /// in `dev`, or a forward proxy's address.
    pub routes: BTreeMap<String, String>,
}

/// What happened that somebody may ask about later: log lines, and `dinehub.audit_event`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// Events that may wait for the database; further ones are counted instead of kept.
    pub queue_max: usize,
}

/// What a node does that nobody waits for: delivering events, running schedules.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Background {
    /// Whether this node does; some node must.
    pub enabled: bool,
    /// How often it asks what is due, in milliseconds; a new event wakes it besides.
    pub poll_ms: u64,
    /// A delivery that failed so often is dead, until `dinehub event replay`.
    pub attempts_max: u16,
    /// The wait after the first failure, in milliseconds; each further one doubles it, up to the other.
    pub backoff_ms: u64,
    pub backoff_max_ms: u64,
}

/// Logs: JSON lines on standard output.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// As in `info,request=debug`.
    pub filter: String,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: "127.0.0.1:3001".to_owned() }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self { url: String::new(), connections_max: 16, control_connections_max: 8, wait_ms: 1_000 }
    }
}

impl Default for Secrets {
    fn default() -> Self {
        Self { directory: "secrets".into(), identity_file: "/etc/dinehub/identity.txt".into() }
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self { token_s: 8 * 3600, issuer: "dinehub".to_owned(), recent_s: 900, verify_email: false }
    }
}

impl Default for Plugins {
    fn default() -> Self {
        Self {
            directory: "plugins".into(),
            roles_file: "plugins/roles.toml".into(),
            lock_file: "plugins/grants.lock".into(),
            reviewers_file: "plugins/reviewers.toml".into(),
            files_directory: "plugins".into(),
            calls_max: 512,
            state_directory: "/var/lib/dinehub/state".into(),
            compiler: PathBuf::new(),
        }
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self { queue_max: 4_096 }
    }
}

impl Default for Background {
    fn default() -> Self {
        Self { enabled: true, poll_ms: 1_000, attempts_max: 12, backoff_ms: 1_000, backoff_max_ms: 900_000 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info,sqlx=warn".to_owned() }
    }
}

impl Config {
    /// Reads `file` if there is one to read, then `environment` (pairs of name and value).
    pub fn read(file: Option<&Path>, environment: impl Iterator<Item = (String, String)>) -> Setup<Self> {
        let mut builder = config::Config::builder();
        if let Some(file) = file {
            builder = builder.add_source(config::File::from(file).format(config::FileFormat::Toml));
        }
        let variables: config::Map<String, String> = environment
            .map(|(name, value)| (if name == "DATABASE_URL" { DATABASE_URL.to_owned() } else { name }, value))
            .collect();
        let source = config::Environment::with_prefix("DINEHUB")
            .prefix_separator("_")
            .separator("__")
            .try_parsing(true)
            .list_separator(",");
        let source = LISTS.into_iter().fold(source, config::Environment::with_list_parse_key).source(Some(variables));
        let read = builder.add_source(source).build().and_then(config::Config::try_deserialize);
        read.map_err(|error| {
            Fault::new("configuration", error.to_string()).fix("`dinehub serve --dump-config` prints every key")
        })
    }

    /// Every key with its present value, as a configuration file.
    pub fn dump(&self) -> Setup<String> {
        toml::to_string_pretty(self).map_err(Fault::at("configuration"))
    }
}

/// Keys that are lists: `DINEHUB_RATE__EXEMPT=127.0.0.1,::1`.
const LISTS: [&str; 7] = [
    "http.trusted_proxies",
    "tls.backup_pins",
    "tls.pins",
    "rate.exempt",
    "cors.origins",
    "security.contact",
    "security.canonical",
];
const DATABASE_URL: &str = "DINEHUB_DATABASE__URL";
