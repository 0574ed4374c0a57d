//! Sealing: what must lie in the database and be read back by the host alone.
//!
//! AES-256-GCM with a random nonce, under a key derived from a ring for one purpose. What was sealed for one context (an
//! account) cannot be opened for another. The sealed bytes name the version that sealed them, so that a rotated ring opens
//! what an older version sealed for as long as that version is in the ring.
//!
//! ```
//! use dinehub::secret::{ring::{Key, Ring}, seal::Sealer};
//! let sealer = Sealer::new(&Ring::of(Key::generate("2026-11").unwrap()), "example").unwrap();
//! let sealed = sealer.seal(b"for ada", b"a secret").unwrap();
//! assert_eq!(sealer.open(b"for ada", &sealed).unwrap().as_slice(), b"a secret");
//! assert!(sealer.open(b"for bob", &sealed).is_none());
//! ```

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hmac,
};
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::ring::{Key, Ring};
use crate::error::{Error, Fault, Setup};

/// Keeps these keys apart from whatever else is computed from a ring.
const LABEL: &[u8] = b"dinehub seal 1\0";

/// One version of the ring, for one purpose.
struct Version {
    id: String,
    sealing: RandomizedNonceKey,
    hashing: hmac::Key,
}

/// Seals, opens and hashes for one purpose.
pub struct Sealer {
    current: Version,
    older: Vec<Version>,
}

impl Sealer {
    /// Keys derived from each version of the ring.
    pub fn new(ring: &Ring, purpose: &str) -> Setup<Self> {
        let older = ring.verifying.iter().map(|key| Version::new(key, purpose)).collect::<Setup<_>>()?;
        Ok(Self { current: Version::new(&ring.current, purpose)?, older })
    }

    /// Seals `plaintext` for `context`.
    pub fn seal(&self, context: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        let Version { id, sealing, .. } = &self.current;
        let mut body = plaintext.to_vec();
        let nonce = sealing.seal_in_place_append_tag(Aad::from(context), &mut body);
        let nonce = nonce.map_err(|_| Error::internal("sealing failed"))?;
        let length = u8::try_from(id.len()).map_err(Error::internal)?;
        Ok([&[length], id.as_bytes(), nonce.as_ref(), &body].concat())
    }

    /// What was sealed for `context`; nothing when it is not that, or its version is gone.
    #[must_use]
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (length, rest) = sealed.split_first()?;
        let (id, rest) = rest.split_at_checked(usize::from(*length))?;
        let (nonce, body) = rest.split_at_checked(NONCE_LEN)?;
        let version = self.versions().find(|version| version.id.as_bytes() == id)?;
        let mut body = Zeroizing::new(body.to_vec());
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let length = version.sealing.open_in_place(nonce, Aad::from(context), &mut body).ok()?.len();
        body.truncate(length);
        Some(body)
    }

    /// The keyed hash of `text` for `context`, for what need only be recognised: by the current version.
    #[must_use]
    pub fn hash(&self, context: &[u8], text: &[u8]) -> Vec<u8> {
        self.current.hash(context, text)
    }

    /// Every hash it may have been stored as, by a version that is still in the ring.
    #[must_use]
    pub fn hashes(&self, context: &[u8], text: &[u8]) -> Vec<Vec<u8>> {
        self.versions().map(|version| version.hash(context, text)).collect()
    }

    fn versions(&self) -> impl Iterator<Item = &Version> {
        std::iter::once(&self.current).chain(&self.older)
    }
}

impl Version {
    fn new(key: &Key, purpose: &str) -> Setup<Self> {
        let master = hmac::Key::new(hmac::HMAC_SHA256, key.expose_secret());
        let derived = |kind: &[u8]| {
            let mut context = hmac::Context::with_key(&master);
            for part in [LABEL, kind, purpose.as_bytes()] {
                context.update(part);
            }
            context.sign()
        };
        let sealing = RandomizedNonceKey::new(&AES_256_GCM, derived(b"seal\0").as_ref());
        Ok(Self {
            id: key.id().to_owned(),
            sealing: sealing.map_err(|_| Fault::new(format!("version {}", key.id()), "cannot seal"))?,
            hashing: hmac::Key::new(hmac::HMAC_SHA256, derived(b"hash\0").as_ref()),
        })
    }

    fn hash(&self, context: &[u8], text: &[u8]) -> Vec<u8> {
        let mut hash = hmac::Context::with_key(&self.hashing);
        hash.update(&(context.len() as u64).to_be_bytes());
        hash.update(context);
        hash.update(text);
        hash.sign().as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(ring: &Ring) -> Sealer {
        Sealer::new(ring, "test").unwrap()
    }

    #[test]
    fn one_changed_bit_or_another_context_or_purpose_opens_nothing() {
        let ring = Ring::of(Key::generate("a").unwrap());
        let sealed = sealer(&ring).seal(b"ada", b"secret").unwrap();
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[at] ^= 1 << bit;
                assert!(sealer(&ring).open(b"ada", &changed).is_none(), "bit {bit} of byte {at}");
            }
            assert!(sealer(&ring).open(b"ada", &sealed[..at]).is_none(), "cut at {at}");
        }
        assert!(sealer(&ring).open(b"bob", &sealed).is_none());
        assert!(Sealer::new(&ring, "other").unwrap().open(b"ada", &sealed).is_none());
        assert!(sealer(&ring).open(b"ada", &sealed).is_some());
        assert_ne!(sealed, sealer(&ring).seal(b"ada", b"secret").unwrap(), "a fresh nonce each time");
    }

    #[test]
    fn what_an_older_version_sealed_opens_while_it_is_in_the_ring() {
        let old = Ring::of(Key::generate("old").unwrap());
        let (sealed, hash) = (sealer(&old).seal(b"", b"secret").unwrap(), sealer(&old).hash(b"", b"code"));
        let both = old.rotate(Key::generate("new").unwrap(), u64::MAX);
        assert!(sealer(&both).open(b"", &sealed).is_some() && sealer(&both).hashes(b"", b"code").contains(&hash));
        assert_ne!(sealer(&both).hash(b"", b"code"), hash, "the current version hashes");
        let new = Ring::of(both.current);
        assert!(sealer(&new).open(b"", &sealed).is_none() && !sealer(&new).hashes(b"", b"code").contains(&hash));
    }
}
