//! The audit: what happened that somebody may ask about later. Who proved who they are and who failed to, what was denied,
//! slowed down or administered, which plugin broke or was stopped at which bound, which secret was used and what left the
//! house. An ordinary request that goes well is none of it, and costs nothing here.
//!
//! ```text
//!  [Log::record] ─▶ log line (target `audit`)          at once
//!        └────────▶ bounded queue ─▶ one writer ─▶ dinehub.audit_event, in batches, chained by hashes
//! ```
//! A request never waits for a sink. When PostgreSQL is slow or away, events wait in the queue; when that is full, further
//! ones are counted instead of kept, and the first event after it says how many: [`event::What::Lost`]. What an event may hold
//! is decided by its type ([`event`]); how a changed or missing one is found, by [`chain`]; who says so, by [`seal`].

pub mod chain;
pub mod event;
pub mod seal;
pub mod store;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sqlx::PgPool;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout},
};
use uuid::Uuid;

use self::{
    chain::Checkpoint,
    event::{By, Event, Outcome, What},
    seal::Seal,
};
use crate::error::chain as causes;

/// Events of one transaction.
const BATCH: usize = 256;
/// How long the writer lets a batch grow.
const LINGER: Duration = Duration::from_millis(20);
/// A database that does not answer for so long has not answered.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long the writer leaves a database alone that failed.
const RETRY: Duration = Duration::from_millis(500);
/// Attempts at what is left when nobody records any more.
const LAST_ATTEMPTS: u32 = 3;
/// How often the end of the chain is signed, and written into the log, which is not the database.
const MARK_EVERY: Duration = Duration::from_secs(60);

const EVENTS: &str = "dinehub_audit_events_total";
const LOST: &str = "dinehub_audit_lost_total";

/// Where events are recorded. Cheap to clone; its writer ends with the last clone, after what is queued was written.
#[derive(Clone)]
pub struct Log {
    queue: mpsc::Sender<Entry>,
    lost: Arc<AtomicU64>,
}

/// What waits for the writer.
enum Entry {
    Event {
        id: Uuid,
        body: String,
    },
    /// Somebody wants to know that everything before it was written.
    Flush(oneshot::Sender<()>),
}

impl Log {
    /// Starts the writer. The pool logs in as `<database>_control`; `queue_max` is how many events may wait, of at most
    /// [`event::BYTES_MAX`] each.
    #[must_use]
    pub fn open(pool: PgPool, queue_max: usize, seal: Seal) -> Self {
        let (queue, waiting) = mpsc::channel(queue_max.max(1));
        let lost = Arc::new(AtomicU64::new(0));
        let writer = Writer { pool, lost: Arc::clone(&lost), seal, end: None, marked: None };
        tokio::spawn(writer.run(waiting));
        Self { queue, lost }
    }

    /// Records one event. Never waits.
    pub fn record(&self, by: By, what: What) {
        let event = Event::now(by, what);
        let (id, body) = (event.id, event.body());
        announce(&event, &body);
        if self.queue.try_send(Entry::Event { id, body }).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            metrics::counter!(LOST).increment(1);
        }
    }

    /// Waits until everything that was recorded before is in the database, at most `limit`; whether it is.
    pub async fn flush(&self, limit: Duration) -> bool {
        let (done, written) = oneshot::channel();
        let flushed = async { self.queue.send(Entry::Flush(done)).await.is_ok() && written.await.is_ok() };
        timeout(limit, flushed).await.unwrap_or(false)
    }

    /// Events that found no place and were not yet told of.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Log({} of {} places are free)", self.queue.capacity(), self.queue.max_capacity())
    }
}

/// The log line and the count. The event is JSON in a field of JSON: no value in it can end a line or open a field.
fn announce(event: &Event, body: &str) {
    let (kind, outcome) = (event.what.kind(), event.what.outcome());
    metrics::counter!(EVENTS, "kind" => kind).increment(1);
    match outcome {
        Outcome::Fault => tracing::warn!(target: "audit", kind, outcome = outcome.name(), event = body),
        Outcome::Done | Outcome::Refused => {
            tracing::info!(target: "audit", kind, outcome = outcome.name(), event = body);
        }
    }
}

/// The one that writes.
struct Writer {
    pool: PgPool,
    lost: Arc<AtomicU64>,
    seal: Seal,
    /// The end of the chain, as far as this node knows.
    end: Option<Checkpoint>,
    /// When an end was last signed, and which.
    marked: Option<(Instant, i64)>,
}

impl Writer {
    async fn run(mut self, mut queue: mpsc::Receiver<Entry>) {
        let mut entries = Vec::with_capacity(BATCH);
        loop {
            // Also when nothing more happens, what happened is signed in time.
            match timeout(MARK_EVERY, queue.recv_many(&mut entries, BATCH)).await {
                Ok(0) => break,
                Ok(_) => {}
                Err(_) => {
                    self.mark(true).await;
                    continue;
                }
            }
            if !entries.iter().any(|entry| matches!(entry, Entry::Flush(_))) {
                sleep(LINGER).await;
                while entries.len() < BATCH
                    && let Ok(entry) = queue.try_recv()
                {
                    entries.push(entry);
                }
            }
            let (mut ids, mut bodies, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
            for entry in entries.drain(..) {
                match entry {
                    Entry::Event { id, body } => {
                        ids.push(id);
                        bodies.push(body);
                    }
                    Entry::Flush(done) => waiting.push(done),
                }
            }
            let lost = self.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                let event = Event::now(By::host(), What::Lost { count: lost });
                let body = event.body();
                announce(&event, &body);
                ids.push(event.id);
                bodies.push(body);
            }
            if self.write(&queue, &ids, &bodies).await {
                self.mark(!waiting.is_empty()).await;
                for done in waiting {
                    // Whoever waited may have gone.
                    let _ = done.send(());
                }
            }
        }
    }

    /// Until it is written; false when nobody records any more and it cannot be.
    async fn write(&mut self, queue: &mpsc::Receiver<Entry>, ids: &[Uuid], bodies: &[String]) -> bool {
        if ids.is_empty() {
            return true;
        }
        let mut attempts_left = LAST_ATTEMPTS;
        let mut is_told = false;
        loop {
            let why = match timeout(ANSWER_MAX, store::append(&self.pool, ids, bodies)).await {
                Ok(Ok(end)) => {
                    self.meet(end);
                    return true;
                }
                Ok(Err(why)) => causes(&why),
                Err(_) => "no answer".to_owned(),
            };
            if !is_told {
                tracing::warn!(target: "host", %why, events = ids.len(), "audit events wait for the database");
                is_told = true;
            }
            if queue.is_closed() {
                attempts_left = attempts_left.saturating_sub(1);
                if attempts_left == 0 {
                    tracing::error!(target: "host", %why, events = ids.len(), "audit events are in the log alone");
                    return false;
                }
            }
            sleep(RETRY).await;
        }
    }

    /// The chain only grows: one that ends before where it was is cut off, whatever it says of itself now.
    fn meet(&mut self, end: Checkpoint) {
        if let Some(known) = self.end.filter(|known| end.seq < known.seq) {
            tracing::error!(target: "audit", kind = "cut_off", known = %known, end = %end,
                fix = "dinehub audit verify --checkpoint <known>", "the end of the audit was cut off");
        }
        self.end = Some(end);
    }

    /// Signs the end when it is time, or `now`; the log keeps what the database could be made to forget.
    async fn mark(&mut self, now: bool) {
        let Some(end) = self.end else { return };
        let is_new = self.marked.is_none_or(|(_, seq)| seq != end.seq);
        if !is_new || !(now || self.marked.is_none_or(|(at, _)| at.elapsed() >= MARK_EVERY)) {
            return;
        }
        for _ in 0..LAST_ATTEMPTS {
            match timeout(ANSWER_MAX, store::sign(&self.pool, &self.seal, &end)).await {
                Ok(Ok(true)) => {
                    self.marked = Some((Instant::now(), end.seq));
                    tracing::info!(target: "audit", kind = "checkpoint", checkpoint = %end);
                    return;
                }
                // Another node was faster with its own.
                Ok(Ok(false)) => {}
                Ok(Err(why)) => return tracing::warn!(target: "host", why = causes(&why), "a checkpoint waits"),
                Err(_) => return tracing::warn!(target: "host", why = "no answer", "a checkpoint waits"),
            }
        }
    }
}
