//! Checkpoints that a host signs, once a minute and when it stops. The key is derived from a ring of the vault and never meets
//! the database: whoever owns the database can rewrite the chain, and cannot sign it.
//!
//! ```text
//! HMAC-SHA256( "dinehub audit checkpoint 1\0" | n | number of the event | time | its hash )      integers: 8 bytes, big-endian
//! ```
//! What no signature shows is that events *and* the checkpoints after them were cut off together, back to an older
//! checkpoint: for that one must be kept elsewhere. The log has one a minute, and a host that is running notices.

use sqlx::FromRow;

use super::chain::Checkpoint;
use crate::{
    error::Setup,
    secret::{self, ring::Ring},
};

/// Keeps these signatures from meaning anything elsewhere.
const LABEL: &[u8] = b"dinehub audit checkpoint 1\0";
const PURPOSE: &str = "audit checkpoint";

/// The keys that sign: derived from ring `database`.
#[derive(Clone, Debug)]
pub struct Seal(Ring);

impl Seal {
    /// From the ring.
    pub fn of(database: &Ring) -> Setup<Self> {
        secret::derive_ring(database, PURPOSE).map(Self)
    }

    /// Signs a place of the chain as checkpoint number `n`, at `at_us` microseconds since 1970.
    #[must_use]
    pub fn sign(&self, n: i64, place: &Checkpoint, at_us: i64) -> Signed {
        let mac = secret::sign(&self.0, &message(n, place.seq, at_us, &place.hash));
        let key = self.0.current.id().to_owned();
        Signed { n, seq: place.seq, hash: place.hash.to_vec(), at_us, key, mac }
    }

    /// The place that was signed, if a key of the ring did. Nothing for one of a key that left the ring: a later one covers it.
    pub fn prove(&self, signed: &Signed) -> Result<Option<Checkpoint>, Forged> {
        if !self.0.keys().any(|key| key.id() == signed.key) {
            return Ok(None);
        }
        let hash: [u8; 32] = signed.hash.as_slice().try_into().map_err(|_| Forged)?;
        let is_signed = secret::is_signed(&self.0, &message(signed.n, signed.seq, signed.at_us, &hash), &signed.mac);
        if is_signed { Ok(Some(Checkpoint { seq: signed.seq, hash })) } else { Err(Forged) }
    }
}

/// It names a key of the ring, and that did not sign it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forged;

/// One, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Signed {
    pub n: i64,
    pub seq: i64,
    pub hash: Vec<u8>,
    pub at_us: i64,
    pub key: String,
    pub mac: String,
}

fn message(n: i64, seq: i64, at_us: i64, hash: &[u8]) -> Vec<u8> {
    [LABEL, &n.to_be_bytes(), &seq.to_be_bytes(), &at_us.to_be_bytes(), hash].concat()
}
