//! Names of things. Each id is a type of its own, so that an account can never stand where a request is wanted.
//!
//! ```
//! use dinehub::id::PluginId;
//! assert!("ordering".parse::<PluginId>().is_ok());
//! assert!("auth".parse::<PluginId>().is_err(), "reserved for the host");
//! ```

mod denial;

use std::{
    cell::Cell,
    fmt,
    hash::{BuildHasher as _, RandomState},
    str::FromStr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::denial::Denial;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $fresh:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id, ordered by time (UUIDv7, RFC 9562).
            #[must_use]
            pub fn fresh() -> Self {
                Self($fresh)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

uuid_id!(
    /// One account: a person who can log in.
    AccountId,
    Uuid::now_v7()
);
uuid_id!(
    /// One login on one device; its tokens carry it (`sid`).
    SessionId,
    Uuid::now_v7()
);
uuid_id!(
    /// One HTTP request; echoed as `x-request-id` and in every problem.
    RequestId,
    of_request()
);
uuid_id!(
    /// One token (`jti`).
    TokenId,
    Uuid::now_v7()
);

/// A UUIDv7 whose random bits come from this thread: no secret rests on a request's id, so it is worth no system call. SipHash
/// of a count, under a key that the system drew for the thread: no two ids are the same, and none tells the next.
fn of_request() -> Uuid {
    thread_local! {
        static STOCK: (RandomState, Cell<u64>) = (RandomState::new(), Cell::new(0));
    }
    let random: u128 = STOCK.with(|(key, count)| {
        let next = count.get().wrapping_add(2);
        count.set(next);
        u128::from(key.hash_one(next)) << 64 | u128::from(key.hash_one(next | 1))
    });
    let mut bytes = [0; 10];
    bytes.iter_mut().zip(random.to_ne_bytes()).for_each(|(byte, random)| *byte = random);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
}

/// The id of a plugin: lower case, 2–24 letters or single `_`, and not one the host keeps for itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PluginId(Arc<str>);

/// Path segments and schema names that belong to the host.
const RESERVED: [&str; 8] = ["admin", "auth", "host", "platform", "privacy", "public", "dinehub", "pg"];

impl PluginId {
    /// The id as written in `plugin.toml`, in paths, in schema names and in logs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PluginId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let shaped = (2..=24).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            && !text.starts_with('_')
            && !text.ends_with('_')
            && !text.contains("__");
        if !shaped {
            return Err(format!("plugin id {text:?} must be 2–24 lower-case letters, words joined by single `_`"));
        }
        if RESERVED.contains(&text) || text.starts_with("pg_") {
            return Err(format!("plugin id {text:?} is reserved for the host"));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for PluginId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<PluginId> for String {
    fn from(id: PluginId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for PluginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a role: upper-case words joined by single `_`, 2–32 bytes. What it may do is written in `roles.toml`.
///
/// ```
/// use dinehub::id::Role;
/// assert!("RESTAURANT_OWNER".parse::<Role>().is_ok());
/// assert!("owner".parse::<Role>().is_err(), "lower case");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Role(Arc<str>);

impl Role {
    /// The name as written in `roles.toml`, in tokens and in logs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase());
        if (2..=32).contains(&text.len()) && text.split('_').all(is_word) {
            return Ok(Self(text.into()));
        }
        Err(format!("role {text:?} must be 2–32 upper-case letters, words joined by single `_`"))
    }
}

impl TryFrom<String> for Role {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Role> for String {
    fn from(role: Role) -> Self {
        role.0.as_ref().to_owned()
    }
}

impl AsRef<str> for Role {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
