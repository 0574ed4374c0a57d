//! As whom a plugin's transaction acts, and the proof that it is the host who says so.
//!
//! The host states a [`Caller`] at the start of each transaction (`platform.assume`, see `migrations/0001_platform.sql`)
//! and shows the `Token` of that connection. The token is made here, leaves the host only as a parameter of unnamed
//! statements, and is stored as a hash: `Registration` puts it into `platform.connection` and takes it out again.

use std::{fmt, fmt::Write, sync::Arc};

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use crate::id::AccountId;

/// The three kinds of caller; there is no fourth, and none is NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Anonymous,
    User,
    System,
}

impl Kind {
    /// As `platform.caller_kind()` says it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::User => "user",
            Self::System => "system",
        }
    }
}

/// As whom a transaction acts. Cheap to clone.
///
/// Within the host only `capability` makes one, out of a consumed permit; `tests/suite/data.rs` reads the sources and
/// fails when another module does. The constructors are public because the suite plays the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    kind: Kind,
    id: Uuid,
    roles: Arc<str>,
}

impl Caller {
    /// Nobody in particular: the nil UUID, no roles.
    #[must_use]
    pub fn anonymous() -> Self {
        Self { kind: Kind::Anonymous, id: Uuid::nil(), roles: Arc::default() }
    }

    /// A person, with the roles in effect. A role is `[A-Z_]+`; PostgreSQL refuses a caller with any other.
    #[must_use]
    pub fn user(id: AccountId, roles: &[impl AsRef<str>]) -> Self {
        let mut joined = String::new();
        for role in roles {
            if !joined.is_empty() {
                joined.push(',');
            }
            joined.push_str(role.as_ref());
        }
        Self { kind: Kind::User, id: id.0, roles: joined.into() }
    }

    /// The platform itself, for events and schedules.
    #[must_use]
    pub fn system() -> Self {
        Self { kind: Kind::System, id: Uuid::max(), roles: Arc::default() }
    }

    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What `:caller` is bound to, and what `platform.caller_id()` gives.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Joined by commas.
    pub(super) fn roles(&self) -> &str {
        &self.roles
    }
}

/// 256 random bits that prove the host to one connection; prints as dots.
#[derive(Clone, Debug)]
pub(super) struct Token(SecretString);

impl Token {
    /// Errors when the system has no randomness to give.
    pub(super) fn fresh() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut bytes = [0_u8; 32];
        aws_lc_rs::rand::fill(&mut bytes)?;
        let mut text = String::with_capacity(64);
        for byte in bytes {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Ok(Self(text.into()))
    }

    /// For a parameter of an unnamed statement, and for nothing else.
    pub(super) fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.expose()).into()
    }
}

/// A row of `platform.connection`, for as long as the connection lives.
pub(super) struct Registration {
    control: PgPool,
    runtime: tokio::runtime::Handle,
    pid: i32,
    sha256: [u8; 32],
}

impl Registration {
    /// Makes `token` the one that backend `pid` knows the host by. A row that an ended backend of the same number left
    /// behind is replaced.
    pub(super) async fn make(control: &PgPool, pid: i32, token: &Token) -> Result<Self, sqlx::Error> {
        let runtime = tokio::runtime::Handle::current();
        // Made before the row is: a future dropped in between still takes the row out.
        let registration = Self { control: control.clone(), runtime, pid, sha256: token.sha256() };
        sqlx::query(
            "insert into platform.connection (pid, token_sha256) values ($1, $2)
             on conflict (pid) do update set started = excluded.started, token_sha256 = excluded.token_sha256",
        )
        .bind(pid)
        .bind(registration.sha256.as_slice())
        .execute(control)
        .await?;
        Ok(registration)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let (control, pid, sha256) = (self.control.clone(), self.pid, self.sha256);
        self.runtime.spawn(async move {
            let delete = sqlx::query("delete from platform.connection where pid = $1 and token_sha256 = $2")
                .bind(pid)
                .bind(sha256.as_slice());
            if let Err(why) = delete.execute(&control).await {
                tracing::debug!(pid, %why, "a connection's row is left to the sweep");
            }
        });
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// Takes out rows of backends that are gone: a host that was killed could not. Gives their number.
pub async fn sweep(control: &PgPool) -> Result<u64, sqlx::Error> {
    let gone = sqlx::query(
        "delete from platform.connection c
         where not exists (select from pg_catalog.pg_stat_activity a where a.pid = c.pid)",
    );
    Ok(gone.execute(control).await?.rows_affected())
}
