//! The HTTP boundary: sockets, TLS, limits, the filter, and what is said to browsers and finders of weaknesses.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

/// The public API.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Where the API listens.
    pub listen: String,
    pub body_bytes_max: usize,
    pub body_ms: u64,
    pub header_ms: u64,
    /// A connection on which nothing moves for so long is closed.
    pub idle_ms: u64,
    pub connections_max: usize,
    /// Connections from one IPv4 address or the first 64 bits of an IPv6 one; `rate.exempt` and proxies have no such bound.
    pub connections_per_source_max: usize,
    pub drain_ms: u64,
    /// Networks of proxies whose word on a client's address is believed: `["10.0.0.0/8"]`. Nobody's else is.
    pub trusted_proxies: Vec<String>,
    /// The header they say it in: `x-forwarded-for` or `forwarded`.
    pub proxy_header: String,
}

/// TLS 1.3 on the API's socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The chain in PEM, the host's own certificate first. Empty: plain HTTP, for loopback or behind a proxy.
    pub certificate_file: PathBuf,
    /// Its key in PEM, not readable by everybody. Both files are read again when they change, and at SIGHUP.
    pub key_file: PathBuf,
    pub handshake_ms: u64,
    /// Pins of keys that may follow this one. With any, no other key is accepted at a change.
    pub backup_pins: Vec<String>,
    /// Pins that are published beside these: of a proxy that ends TLS before the host.
    pub pins: Vec<String>,
}

/// What is refused for what it looks like.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// `on`: each rule as it says; `report`: none blocks; `off`.
    pub mode: String,
    /// Rules in place of the built-in ones, `host/src/http/filter/rules.toml`.
    pub rules_file: PathBuf,
}

/// Pages of other origins.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// Those that may read answers: `["https://app.example"]`. None: closed.
    pub origins: Vec<String>,
    /// How long a browser may remember what it was told, in seconds.
    pub max_age_s: u32,
}

/// `/.well-known/security.txt` (RFC 9116); there is none without a contact.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Security {
    /// `["mailto:security@dine.example"]`, the preferred one first.
    pub contact: Vec<String>,
    /// Where the file is published: `["https://dine.example/.well-known/security.txt"]`.
    pub canonical: Vec<String>,
    /// The address of the disclosure policy.
    pub policy: String,
    /// The address of a key to encrypt to.
    pub encryption: String,
    /// `en, de`.
    pub preferred_languages: String,
    /// For how many days it is good; at most 365.
    pub days: u32,
}

/// How often somebody may ask. `per_minute = 0` is no limit.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rate {
    /// Networks that are not limited, neither in requests nor in connections: this machine, monitors.
    pub exempt: Vec<String>,
    /// One IPv4 address or the first 64 bits of an IPv6 one, before anybody is authenticated.
    pub source: Quota,
    /// One account, from wherever it asks.
    pub account: Quota,
    /// Routes with a limit of their own, on the account or else the source: `"POST /api/v1/auth/register" = { … }`. Goes
    /// before what a plugin says of its route.
    pub routes: BTreeMap<String, Quota>,
}

/// So many requests at once, and so many a minute after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    pub burst: u32,
    pub per_minute: u32,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:3000".to_owned(),
            body_bytes_max: 256 << 10,
            body_ms: 10_000,
            header_ms: 10_000,
            idle_ms: 30_000,
            connections_max: 4_096,
            connections_per_source_max: 256,
            drain_ms: 10_000,
            trusted_proxies: Vec::new(),
            proxy_header: "x-forwarded-for".to_owned(),
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificate_file: PathBuf::new(),
            key_file: PathBuf::new(),
            handshake_ms: 5_000,
            backup_pins: Vec::new(),
            pins: Vec::new(),
        }
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self { mode: "on".to_owned(), rules_file: PathBuf::new() }
    }
}

impl Default for Cors {
    fn default() -> Self {
        Self { origins: Vec::new(), max_age_s: 600 }
    }
}

impl Default for Security {
    fn default() -> Self {
        Self {
            contact: Vec::new(),
            canonical: Vec::new(),
            policy: String::new(),
            encryption: String::new(),
            preferred_languages: "en".to_owned(),
            days: 180,
        }
    }
}

impl Default for Rate {
    fn default() -> Self {
        let register = Quota { burst: 20, per_minute: 10 };
        Self {
            exempt: vec!["127.0.0.0/8".to_owned(), "::1".to_owned()],
            source: Quota { burst: 600, per_minute: 3_000 },
            account: Quota { burst: 300, per_minute: 1_500 },
            routes: BTreeMap::from([("POST /api/v1/auth/register".to_owned(), register)]),
        }
    }
}
