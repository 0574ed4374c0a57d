//! Which tokens are dead before their time: those of an ended session, and those from before their account's epoch.
//!
//! PostgreSQL holds the log; each node holds what is unexpired of it in memory and asks only there, so a check costs
//! nanoseconds and no request waits for the database. What keeps the two the same:
//!
//! * `seq` is drawn under a lock until commit, so "everything after n" misses nothing;
//! * a notification makes a node read on at once, a poll each second makes up for a lost one;
//! * at the start, after the listener lost its connection, and each minute the whole set is read again, which also drops
//!   what the *database's* clock calls expired: a node whose own clock jumps forgets nothing;
//! * one reader at a time, and a revocation made here enters memory in turn with it, after its commit, before its answer.
//!
//! A node that has had no good answer for `stale_after` knows nothing, and says so: [`Error::Unavailable`].

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{PgPool, postgres::PgListener};
use tokio::{
    sync::Mutex,
    task::JoinHandle,
    time::{self, MissedTickBehavior},
};
use uuid::Uuid;

use super::token::{IdHash, Verified};
use crate::{
    error::{Error, Unproven, chain},
    id::{AccountId, SessionId},
};

const CHANNEL: &str = "dinehub_revocation";
const POLL: Duration = Duration::from_secs(1);
/// Polls until the whole set is read again.
const POLLS_A_RELOAD: u32 = 60;
/// A database that does not answer for so long has not answered.
const ANSWER_MAX: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(200);
/// Unexpired by the database's clock, with an hour to spare because clocks differ.
const LINES: &str = "select seq, session_hash, account_id, epoch from dinehub.revocation
     where seq > $1 and expires_at > now() - interval '1 hour' order by seq";

/// One line of the log.
#[derive(sqlx::FromRow)]
struct Line {
    seq: i64,
    session_hash: Option<Vec<u8>>,
    account_id: Option<Uuid>,
    epoch: Option<i64>,
}

/// What is dead.
#[derive(Default)]
struct Dead {
    sessions: HashSet<[u8; 32]>,
    /// Tokens of the account from before this epoch.
    epochs: HashMap<AccountId, i64>,
}

impl Dead {
    fn add(&mut self, line: &Line) {
        if let Some(hash) = line.session_hash.as_deref().and_then(|hash| hash.try_into().ok()) {
            self.sessions.insert(hash);
        }
        if let (Some(account), Some(epoch)) = (line.account_id, line.epoch) {
            let known = self.epochs.entry(AccountId(account)).or_insert(epoch);
            *known = epoch.max(*known);
        }
    }
}

/// This node's copy of the log.
struct Memory {
    pool: PgPool,
    dead: RwLock<Dead>,
    /// The last `seq` seen; who holds it is the one reader.
    last: Mutex<i64>,
    started: Instant,
    /// Milliseconds from `started` to the beginning of the last good read.
    good_ms: AtomicU64,
    stale_after: Duration,
}

/// The revocations, followed until this is dropped.
pub struct Revocations {
    memory: Arc<Memory>,
    follower: JoinHandle<()>,
}

impl Drop for Revocations {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl Revocations {
    /// Listens and reads the log once, or fails; then follows it in the background.
    pub async fn follow(pool: PgPool, stale_after: Duration) -> Result<Self, sqlx::Error> {
        let memory = Arc::new(Memory {
            pool,
            dead: RwLock::default(),
            last: Mutex::new(0),
            started: Instant::now(),
            good_ms: AtomicU64::new(0),
            stale_after,
        });
        let listener = memory.listen().await?;
        let follower = tokio::spawn(follow(memory.clone(), listener));
        Ok(Self { memory, follower })
    }

    /// Whether this node knows what was revoked; 503 when not.
    pub fn ensure_fresh(&self) -> Result<(), Error> {
        if self.memory.is_stale() { Err(Error::Unavailable("revocations are stale".into())) } else { Ok(()) }
    }

    /// Whether a token that proved itself is alive.
    ///
    /// # Errors
    /// 503 when nobody knows; 401 when its session was ended or it is from before its account's epoch.
    pub fn check(&self, verified: &Verified) -> Result<(), Error> {
        if self.memory.is_stale() {
            return Err(Error::Unavailable("revocations are stale".into()));
        }
        let dead = self.memory.dead.read().unwrap_or_else(PoisonError::into_inner);
        let holder = &verified.holder;
        let is_outdated = dead.epochs.get(&holder.account).is_some_and(|epoch| holder.epoch < *epoch);
        // Most nodes have no ended session to remember most of the time, and need no hash then.
        let is_ended = || !dead.sessions.is_empty() && dead.sessions.contains(&IdHash::of(holder.session.0).0);
        if is_outdated || is_ended() {
            return Err(Error::Unauthenticated(Unproven::Revoked));
        }
        Ok(())
    }

    /// Ends a session of an account everywhere. When this returns, it is in the database and in this node's memory. Whether
    /// there was one: if not, whatever ended it is in memory now, too.
    pub async fn end_session(&self, account: AccountId, session: SessionId) -> Result<bool, sqlx::Error> {
        let seq: Option<i64> = sqlx::query_scalar("select dinehub.end_session($1, $2)")
            .bind(session.0)
            .bind(account.0)
            .fetch_one(&self.memory.pool)
            .await?;
        match seq {
            Some(seq) => {
                let hash = IdHash::of(session.0).0.to_vec();
                self.memory.enter(Line { seq, session_hash: Some(hash), account_id: None, epoch: None }).await;
            }
            None => self.memory.advance().await?,
        }
        Ok(seq.is_some())
    }

    /// Ends every other session of an account, likewise; their number.
    pub async fn end_other_sessions(&self, account: AccountId, keep: SessionId) -> Result<i64, sqlx::Error> {
        let ended: i64 = sqlx::query_scalar("select dinehub.end_other_sessions($1, $2)")
            .bind(account.0)
            .bind(keep.0)
            .fetch_one(&self.memory.pool)
            .await?;
        self.memory.advance().await?;
        Ok(ended)
    }

    /// Ends the tokens of an account from before `epoch` on this node; the database knows already.
    pub async fn enter_epoch(&self, account: AccountId, epoch: i64) {
        self.memory.enter(Line { seq: 0, session_hash: None, account_id: Some(account.0), epoch: Some(epoch) }).await;
    }

    /// How many are held in memory.
    #[must_use]
    pub fn count(&self) -> usize {
        let dead = self.memory.dead.read().unwrap_or_else(PoisonError::into_inner);
        dead.sessions.len() + dead.epochs.len()
    }
}

impl Memory {
    fn is_stale(&self) -> bool {
        let good = Duration::from_millis(self.good_ms.load(Ordering::Acquire));
        self.started.elapsed().saturating_sub(good) > self.stale_after
    }

    /// In turn with the reader: a set that was read before the commit cannot replace this afterwards.
    async fn enter(&self, line: Line) {
        let _turn = self.last.lock().await;
        self.dead.write().unwrap_or_else(PoisonError::into_inner).add(&line);
    }

    /// Listens first and reads then, so that nothing falls between the two.
    async fn listen(&self) -> Result<PgListener, sqlx::Error> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen(CHANNEL).await?;
        self.reload().await?;
        Ok(listener)
    }

    /// Reads the whole set.
    async fn reload(&self) -> Result<(), sqlx::Error> {
        let mut last = self.last.lock().await;
        let began = self.started.elapsed();
        let lines = self.lines_after(0).await?;
        let mut dead = Dead::default();
        for line in &lines {
            dead.add(line);
        }
        *last = lines.last().map_or(0, |line| line.seq);
        *self.dead.write().unwrap_or_else(PoisonError::into_inner) = dead;
        self.is_good_since(began);
        Ok(())
    }

    /// Reads on from the last line seen.
    async fn advance(&self) -> Result<(), sqlx::Error> {
        let mut last = self.last.lock().await;
        let began = self.started.elapsed();
        let lines = self.lines_after(*last).await?;
        {
            let mut dead = self.dead.write().unwrap_or_else(PoisonError::into_inner);
            lines.iter().for_each(|line| dead.add(line));
        }
        *last = lines.last().map_or(*last, |line| line.seq);
        self.is_good_since(began);
        Ok(())
    }

    async fn lines_after(&self, seq: i64) -> Result<Vec<Line>, sqlx::Error> {
        let query = sqlx::query_as(LINES).bind(seq).fetch_all(&self.pool);
        time::timeout(ANSWER_MAX, query).await.map_err(|_| sqlx::Error::PoolTimedOut)?
    }

    /// Takes out of the database what has expired, by its own clock, sessions too, and attempts that were forgiven long ago.
    async fn prune(&self) -> Result<(), sqlx::Error> {
        sqlx::query("delete from dinehub.revocation where expires_at < now() - interval '1 hour'")
            .execute(&self.pool)
            .await?;
        sqlx::query("delete from dinehub.session where expires_at < now() - interval '1 hour'")
            .execute(&self.pool)
            .await?;
        sqlx::query(
            "delete from dinehub.throttle where charged_at < now() - interval '1 day'
             and (good_at is null or good_at < now() - interval '30 days')",
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    fn is_good_since(&self, began: Duration) {
        self.good_ms.store(u64::try_from(began.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }
}

/// Follows until the pool is closed; whatever breaks is tried again.
async fn follow(memory: Arc<Memory>, first: PgListener) {
    let mut listener = Ok(first);
    while !memory.pool.is_closed() {
        let Err(why) = match listener {
            Ok(listener) => read_on(&memory, listener).await,
            Err(why) => Err(why),
        };
        tracing::warn!(why = chain(&why), "revocations cannot be followed");
        time::sleep(RETRY).await;
        listener = memory.listen().await;
    }
}

async fn read_on(memory: &Memory, mut listener: PgListener) -> Result<Infallible, sqlx::Error> {
    let mut poll = time::interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut polls = 0_u32;
    loop {
        tokio::select! {
            note = listener.try_recv() => match note? {
                Some(_) => {
                    while listener.next_buffered().is_some() {}
                    memory.advance().await?;
                }
                None => memory.reload().await?,
            },
            _ = poll.tick() => {
                polls = polls.wrapping_add(1);
                if polls.is_multiple_of(POLLS_A_RELOAD) {
                    memory.prune().await?;
                    memory.reload().await?;
                } else {
                    memory.advance().await?;
                }
            }
        }
    }
}
