//! Who is asking.
//!
//! A request becomes an `Actor` in one place: [`Identity::actor`] reads the one credential, proves its signature and
//! every claim, and asks the revocations in memory. Nothing there waits for the database, and nothing there trusts an
//! old answer: when the node has not heard from PostgreSQL for a few seconds, authenticated requests get 503.
//!
//! ```text
//!   headers ─▶ actor ─▶ token (HS256, strict claims) ─▶ revocation (memory ◀─ LISTEN + poll ◀─ PostgreSQL) ─▶ Actor
//!   e-mail, password ─▶ throttle ─▶ password (Argon2id) ─▶ account ─▶ [code ─▶ throttle ─▶ factor] ─▶ session ─▶ token
//! ```
//!
//! Accounts live in [`account`], where they are logged in in [`session`], what is done by e-mail in [`ticket`]. Ending a session ends its tokens; every event that
//! must end all tokens of an account raises the account's epoch.

pub mod account;
pub mod actor;
pub mod clock;
pub mod deletion;
pub mod email;
pub mod factor;
pub mod login;
pub mod mail;
pub mod name;
pub mod password;
pub mod revocation;
pub mod session;
pub mod throttle;
pub mod ticket;
pub mod token;

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use sqlx::PgPool;

use self::{
    clock::Clock,
    factor::Codes,
    mail::{Post, Postman},
    password::Passwords,
    revocation::Revocations,
    session::Uses,
    throttle::{Doors, Throttle},
    token::Tokens,
};
use crate::{
    error::{Error, Fault, Setup, chain},
    id::Role,
    secret::ring::Ring,
};

/// What an operator can set.
#[derive(Clone, Debug)]
pub struct Policy {
    /// `iss` and `aud` of our tokens. Another environment has another issuer, so that its tokens are worth nothing here.
    pub issuer: String,
    pub audience: String,
    /// How long a token lives, in seconds; at most [`token::LIFETIME_S_MAX`].
    pub lifetime_s: u64,
    /// The roles of somebody who registers.
    pub newcomer: Vec<Role>,
    /// Without news from PostgreSQL for so long, no token is believed.
    pub stale_after: Duration,
    /// How long a login may wait for a core to hash on before it is told to come back.
    pub hash_wait: Duration,
    /// How attempts to log in are slowed down.
    pub doors: Doors,
    /// Whether nobody logs in before their address was verified. Otherwise registering and logging in at once tells who has
    /// an account already.
    pub verifies: bool,
    /// What letters link to, with the ticket behind `#`; they carry the bare ticket when it is empty.
    pub link: String,
    /// Who brings letters on their way; none are written without.
    pub post: Option<Arc<dyn Post>>,
    /// How old a proof may be for what wants a recent one, in seconds.
    pub recent_s: u64,
    /// Where the time comes from.
    pub clock: Clock,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            issuer: "dinehub".to_owned(),
            audience: "dinehub-api".to_owned(),
            lifetime_s: 8 * 3600,
            newcomer: Vec::new(),
            stale_after: Duration::from_secs(5),
            hash_wait: Duration::from_secs(2),
            doors: Doors::default(),
            verifies: false,
            link: String::new(),
            post: None,
            recent_s: 900,
            clock: Clock::system(),
        }
    }
}

/// The secrets that identities rest on.
#[derive(Clone, Copy, Debug)]
pub struct Rings<'r> {
    /// Signs tokens.
    pub tokens: &'r Ring,
    /// Seals what is kept about accounts.
    pub account: &'r Ring,
}

/// Accounts, tokens and revocations of one node. Cheap to clone.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    pool: PgPool,
    policy: Policy,
    tokens: ArcSwap<Tokens>,
    passwords: Passwords,
    revocations: Revocations,
    uses: Uses,
    codes: Codes,
    postman: Postman,
    throttle: Throttle,
}

impl Identity {
    /// Reads the revocations and starts to follow them. The pool logs in as `<database>_control`; one of its connections
    /// is kept to listen. Ends with the last clone.
    pub async fn open(pool: PgPool, rings: Rings<'_>, policy: Policy) -> Setup<Self> {
        if policy.verifies && policy.post.is_none() {
            return Err(Fault::new("identity.verify_email", "needs letters, and there is no way for them")
                .fix("set mail.url to a gateway, or mail.spool to a directory"));
        }
        let tokens = Tokens::new(rings.tokens, &policy.issuer, &policy.audience, policy.lifetime_s)?;
        let revocations = Revocations::follow(pool.clone(), policy.stale_after)
            .await
            .map_err(|why| Fault::at("dinehub.revocation")(why).fix("dinehub db migrate"))?;
        Ok(Self(Arc::new(Inner {
            tokens: ArcSwap::from_pointee(tokens),
            passwords: Passwords::new(policy.hash_wait).await?,
            throttle: Throttle::new(pool.clone(), policy.doors),
            uses: Uses::follow(pool.clone()),
            codes: Codes::new(pool.clone(), rings.account)?,
            postman: Postman::follow(pool.clone(), rings.account, policy.post.clone())?,
            revocations,
            policy,
            pool,
        })))
    }

    /// Signs with the ring's current key from now on; what its keys do not verify is refused at once.
    pub fn rotate(&self, ring: &Ring) -> Setup<()> {
        let policy = &self.0.policy;
        self.0.tokens.store(Arc::new(Tokens::new(ring, &policy.issuer, &policy.audience, policy.lifetime_s)?));
        Ok(())
    }

    /// Whether a request would be served: PostgreSQL answers, and the revocations are fresh.
    pub async fn ensure_ready(&self) -> Result<(), Error> {
        sqlx::query("select 1").execute(&self.0.pool).await.map_err(Error::internal)?;
        self.0.revocations.ensure_fresh()
    }

    /// How many revocations this node holds in memory: those that are not past their expiry.
    #[must_use]
    pub fn revocation_count(&self) -> usize {
        self.0.revocations.count()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}

/// A database that cannot be reached, is full or is going down (SQLSTATE classes 08, 53, 57) is 503; one that says no to
/// a statement of ours is our mistake.
fn unavailable(error: sqlx::Error) -> Error {
    let is_refusal = match &error {
        sqlx::Error::Database(why) => {
            !why.code().is_some_and(|code| ["08", "53", "57"].iter().any(|class| code.starts_with(class)))
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => true,
        _ => false,
    };
    if is_refusal { Error::internal(error) } else { Error::Unavailable(chain(&error).into()) }
}
