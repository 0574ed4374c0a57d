//! Sessions: where an account is logged in, and ending that.
//!
//! A login opens one; every token of it carries its id. Ending a session is a line in the log of revocations, so it holds on
//! this node before the answer and on every other soon after. What ends *all* tokens of an account (another password, other
//! roles, …) raises the account's epoch instead, which no token of the same second can slip past.
//!
//! When a session was last used is known to the minute: a request notes it in memory, and once a minute each
//! node writes down what it noted. What was noted in a node's last minute may be lost with it.

use std::{
    collections::HashSet,
    mem,
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use jiff::Timestamp;
use sqlx::{FromRow, PgPool};
use tokio::{
    task::JoinHandle,
    time::{self, MissedTickBehavior},
};
use uuid::Uuid;

use super::{Identity, actor::Actor, unavailable};
use crate::{
    error::{Error, chain},
    id::SessionId,
};

/// The longest device that is kept, in characters.
pub const DEVICE_CHARS_MAX: usize = 120;
/// The newest sessions that are listed.
const LISTED_MAX: i64 = 100;
const WRITE_EVERY: Duration = Duration::from_secs(60);
/// Sessions noted between two writes; those beyond keep an older time of last use.
const NOTED_MAX: usize = 100_000;

/// What a client calls itself: printable ASCII, bounded, never empty. Anything else in it is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device(String);

impl Device {
    /// From the value of `User-Agent`; nothing when nothing of it can be kept.
    #[must_use]
    pub fn read(user_agent: &[u8]) -> Option<Self> {
        let printable: String =
            user_agent.iter().map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { ' ' }).collect();
        let words: Vec<&str> = printable.split_ascii_whitespace().collect();
        let device: String = words.join(" ").chars().take(DEVICE_CHARS_MAX).collect();
        let device = device.trim_end();
        (!device.is_empty()).then(|| Self(device.to_owned()))
    }

    /// As it is listed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where a login comes from: the client's address, by the configured proxy's word, and what it calls itself.
#[derive(Clone, Debug)]
pub struct Origin {
    pub source: IpAddr,
    pub device: Option<Device>,
}

impl From<IpAddr> for Origin {
    fn from(source: IpAddr) -> Self {
        Self { source, device: None }
    }
}

/// One place where an account is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub device: Option<String>,
    pub created_at: Timestamp,
    /// To the minute.
    pub used_at: Timestamp,
    pub expires_at: Timestamp,
    /// Whether the request that asks belongs to it.
    pub is_current: bool,
}

#[derive(FromRow)]
struct Row {
    id: Uuid,
    device: Option<String>,
    created_s: i64,
    used_s: i64,
    expires_s: i64,
}

impl Identity {
    /// Where the account behind a request is logged in, the newest first, at most a hundred.
    pub async fn sessions(&self, actor: &Actor) -> Result<Vec<Session>, Error> {
        let holder = &actor.proven()?.holder;
        let rows: Vec<Row> = sqlx::query_as(
            "select s.id, s.device, extract(epoch from s.created_at)::int8 as created_s,
                    extract(epoch from s.used_at)::int8 as used_s, extract(epoch from s.expires_at)::int8 as expires_s
             from dinehub.session s join dinehub.account a on a.id = s.account_id and a.token_epoch = s.token_epoch
             where s.account_id = $1 and s.expires_at > to_timestamp($2) order by s.created_at desc, s.id limit $3",
        )
        .bind(holder.account.0)
        .bind(self.0.policy.clock.now_s() as f64)
        .bind(LISTED_MAX)
        .fetch_all(&self.0.pool)
        .await
        .map_err(unavailable)?;
        let at = |seconds| Timestamp::from_second(seconds).map_err(Error::internal);
        let session = |row: Row| {
            Ok(Session {
                id: SessionId(row.id),
                device: row.device,
                created_at: at(row.created_s)?,
                used_at: at(row.used_s)?,
                expires_at: at(row.expires_s)?,
                is_current: row.id == holder.session.0,
            })
        };
        rows.into_iter().map(session).collect()
    }

    /// Ends one session of the account behind a request; 404 when it has no such session.
    pub async fn end_session(&self, actor: &Actor, session: SessionId) -> Result<(), Error> {
        let account = actor.proven()?.holder.account;
        let was_there = self.0.revocations.end_session(account, session).await.map_err(unavailable)?;
        if was_there { Ok(()) } else { Err(Error::NotFound) }
    }

    /// Ends every session of the account behind a request but the one it belongs to.
    pub async fn logout_others(&self, actor: &Actor) -> Result<(), Error> {
        let holder = &actor.proven()?.holder;
        let ended = self.0.revocations.end_other_sessions(holder.account, holder.session).await;
        ended.map(drop).map_err(unavailable)
    }

    /// Ends the session of this request, here before this returns and everywhere else within a second.
    pub async fn logout(&self, actor: &Actor) -> Result<(), Error> {
        let holder = &actor.proven()?.holder;
        // One that is gone was ended by somebody else just now: that is in memory, too, when this returns.
        self.0.revocations.end_session(holder.account, holder.session).await.map(drop).map_err(unavailable)
    }

    /// Ends every token of the account behind this request.
    pub async fn logout_all(&self, actor: &Actor) -> Result<(), Error> {
        let account = actor.proven()?.holder.account;
        let epoch: Option<i64> = sqlx::query_scalar("select dinehub.end_tokens($1, null, null, to_timestamp($2))")
            .bind(account.0)
            .bind(self.remember_until_s())
            .fetch_one(&self.0.pool)
            .await
            .map_err(unavailable)?;
        self.0.revocations.enter_epoch(account, epoch.ok_or(Error::NotFound)?).await;
        Ok(())
    }

    /// Writes down now which sessions were used since the last time, as happens once a minute anyway.
    pub async fn write_uses(&self) -> Result<(), Error> {
        self.0.uses.noted.write(&self.0.pool).await.map_err(unavailable)
    }
}

/// Which sessions were used on this node since it was last written down.
#[derive(Default)]
struct Noted(RwLock<HashSet<SessionId>>);

impl Noted {
    async fn write(&self, pool: &PgPool) -> Result<(), sqlx::Error> {
        let used = mem::take(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner));
        if used.is_empty() {
            return Ok(());
        }
        let used: Vec<Uuid> = used.into_iter().map(|session| session.0).collect();
        sqlx::query("select dinehub.sessions_were_used($1)").bind(used).execute(pool).await.map(drop)
    }
}

/// Notes uses and writes them down until this is dropped.
pub(super) struct Uses {
    noted: Arc<Noted>,
    writer: JoinHandle<()>,
}

impl Drop for Uses {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

impl Uses {
    pub(super) fn follow(pool: PgPool) -> Self {
        let noted = Arc::new(Noted::default());
        let writer = tokio::spawn({
            let noted = noted.clone();
            async move {
                let mut tick = time::interval(WRITE_EVERY);
                tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
                while !pool.is_closed() {
                    tick.tick().await;
                    if let Err(why) = noted.write(&pool).await {
                        tracing::warn!(why = chain(&why), "last use of sessions not written");
                    }
                }
            }
        });
        Self { noted, writer }
    }

    /// Costs a look under a shared lock, and once a minute a session more.
    pub(super) fn note(&self, session: SessionId) {
        let is_known = |noted: &HashSet<SessionId>| noted.contains(&session) || noted.len() >= NOTED_MAX;
        if !is_known(&self.noted.0.read().unwrap_or_else(PoisonError::into_inner)) {
            self.noted.0.write().unwrap_or_else(PoisonError::into_inner).insert(session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(user_agent: &[u8]) -> Option<String> {
        Device::read(user_agent).map(|device| device.0)
    }

    #[test]
    fn nothing_but_printable_ascii_of_a_device_is_kept() {
        assert_eq!(read(b"curl/8.5.0").as_deref(), Some("curl/8.5.0"));
        assert_eq!(
            read(b"  Mozilla/5.0\t(X11;  Linux) \x00\x1b[31m ").as_deref(),
            Some("Mozilla/5.0 (X11; Linux) [31m")
        );
        assert_eq!(read("Käfer\u{202e}".as_bytes()).as_deref(), Some("K fer"));
        for nothing in [&b""[..], b"   ", b"\x00\x7f\xff"] {
            assert_eq!(read(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn a_device_is_bounded_and_ends_in_no_space() {
        let long = [b"a ".repeat(59), b"b  c".to_vec()].concat();
        let kept = read(&long).unwrap();
        assert!(kept.len() <= DEVICE_CHARS_MAX && !kept.ends_with(' '), "{kept:?}");
        assert_eq!(read(&[b'x'; 9000]).unwrap().len(), DEVICE_CHARS_MAX);
    }
}
