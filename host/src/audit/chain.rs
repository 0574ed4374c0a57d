//! The chain: each event's hash is over the one before it, its number and its text. The database computes it as it writes
//! (`migrations/0012_audit.sql`); here it is computed again, to see whether anything was changed since.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// A place in the chain: an event's number and hash. Written down elsewhere, it proves the chain up to there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub seq: i64,
    pub hash: [u8; 32],
}

impl Checkpoint {
    /// Before the first event.
    pub const START: Self = Self { seq: 0, hash: [0; 32] };

    fn next(&self, body: &str) -> Self {
        let seq = self.seq.saturating_add(1);
        let hash = Sha256::new().chain_update(self.hash).chain_update(seq.to_be_bytes()).chain_update(body).finalize();
        Self { seq, hash: hash.into() }
    }
}

impl fmt::Display for Checkpoint {
    /// `1204:9f2c…`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, hex::encode(self.hash))
    }
}

impl FromStr for Checkpoint {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (seq, hash) = text.split_once(':')?;
            let mut bytes = [0; 32];
            hex::decode_to_slice(hash, &mut bytes).ok()?;
            Some(Self { seq: seq.parse().ok().filter(|seq| *seq > 0)?, hash: bytes })
        };
        read().ok_or_else(|| {
            format!("{text:?} is no checkpoint: `<number>:<64 hex digits>`, as `audit verify` prints it")
        })
    }
}

/// One row, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Row {
    pub seq: i64,
    pub id: Uuid,
    pub body: String,
    pub hash: Vec<u8>,
}

/// What is wrong with a chain; the numbers are events'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// These are not there.
    Missing { first: i64, last: i64 },
    /// Its text, its id or its hash is not what was written.
    Changed { seq: i64 },
    /// The chain ends before an event that was there.
    CutOff { end: i64, checkpoint: i64 },
    /// The event at a checkpoint is another one: everything up to it was made anew.
    Replaced { checkpoint: i64 },
    /// This checkpoint, by its own number, was taken out.
    Unmarked { n: i64 },
    /// This one names a key that did not sign it.
    Forged { n: i64 },
    /// From this event on no checkpoint follows, although there was time for one.
    Unsigned { first: i64 },
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { first, last } if first == last => write!(f, "event {first} is missing"),
            Self::Missing { first, last } => write!(f, "events {first} to {last} are missing"),
            Self::Changed { seq } => write!(f, "event {seq} is not as it was written"),
            Self::CutOff { end, checkpoint } => {
                write!(f, "the chain ends at {end}, and event {checkpoint} was there: the end was cut off")
            }
            Self::Replaced { checkpoint } => {
                write!(f, "event {checkpoint} is not the one of the checkpoint: the chain was made anew")
            }
            Self::Unmarked { n } => write!(f, "checkpoint {n} is missing"),
            Self::Forged { n } => write!(f, "checkpoint {n} was not signed by a host"),
            Self::Unsigned { first } => write!(
                f,
                "event {first} and those after it are older than any checkpoint may be late: checkpoints were taken out, or \
                 the host that wrote them was killed and never started again"
            ),
        }
    }
}

/// Walks a chain from its start, row by row.
#[derive(Clone, Debug)]
pub struct Walk {
    at: Checkpoint,
    wanted: BTreeMap<i64, BTreeSet<[u8; 32]>>,
}

impl Walk {
    /// From the first event; must meet each of `checkpoints` on the way.
    #[must_use]
    pub fn new(checkpoints: impl IntoIterator<Item = Checkpoint>) -> Self {
        let mut wanted: BTreeMap<i64, BTreeSet<[u8; 32]>> = BTreeMap::new();
        for checkpoint in checkpoints {
            wanted.entry(checkpoint.seq).or_default().insert(checkpoint.hash);
        }
        Self { at: Checkpoint::START, wanted }
    }

    /// The next row in order.
    pub fn step(&mut self, row: &Row) -> Result<(), Break> {
        let next = self.at.next(&row.body);
        if row.seq != next.seq {
            return Err(Break::Missing { first: next.seq, last: row.seq.saturating_sub(1) });
        }
        let told: Option<Uuid> = serde_json::from_str::<serde_json::Value>(&row.body)
            .ok()
            .and_then(|body| body.get("id").and_then(|id| id.as_str()?.parse().ok()));
        if row.hash != next.hash || told != Some(row.id) {
            return Err(Break::Changed { seq: row.seq });
        }
        self.at = next;
        match self.wanted.get(&next.seq) {
            Some(wanted) if wanted.iter().any(|hash| *hash != next.hash) => {
                Err(Break::Replaced { checkpoint: next.seq })
            }
            _ => Ok(()),
        }
    }

    /// There are no more rows: the end, which is the next checkpoint.
    pub fn end(self) -> Result<Checkpoint, Break> {
        match self.wanted.last_key_value() {
            Some((&seq, _)) if seq > self.at.seq => Err(Break::CutOff { end: self.at.seq, checkpoint: seq }),
            _ => Ok(self.at),
        }
    }
}
