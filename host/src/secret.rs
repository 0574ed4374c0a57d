//! Secrets: at rest only as age files ([`vault`]), in memory as rings of versioned keys ([`ring`]), in logs as dots.
//!
//! A secret is a *ring*, so that it can be rotated while it is used: one version is `current` and signs, others may still
//! verify, and a version that is gone is dead at once. Whatever can be computed from a ring is never stored: the password
//! of a database role is [derived](derive()) from the ring `database` and the role's name.

pub mod ring;
pub mod seal;
pub mod vault;

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};

use self::ring::{Key, Ring};
use crate::error::{Fault, Setup};

/// Keeps what is derived apart from whatever else is ever computed with the same key.
const LABEL: &[u8] = b"dinehub derive 1\0";

/// A password that belongs to `key` and `purpose` and to nothing else: HMAC-SHA256, base64url, 43 characters.
///
/// The purpose says what it opens: `role:dinehub_control`.
#[must_use]
pub fn derive(key: &Key, purpose: &str) -> SecretString {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose_secret());
    let mut context = hmac::Context::with_key(&key);
    context.update(LABEL);
    context.update(purpose.as_bytes());
    SecretString::from(URL_SAFE_NO_PAD.encode(context.sign()))
}

/// A ring whose keys are derived from another's, one from each: for what the other's own must not be used for. They verify for
/// as long as the other's are in their ring.
pub fn derive_ring(ring: &Ring, purpose: &str) -> Setup<Ring> {
    let of = |key: &Key| Key::new(key.id(), derive(key, purpose).expose_secret().as_bytes().to_vec());
    Ok(Ring { current: of(&ring.current)?, verifying: ring.verifying.iter().map(of).collect::<Setup<_>>()? })
}

/// HMAC-SHA256 (RFC 2104) by the ring's current key, in lower-case hexadecimal.
#[must_use]
pub fn sign(ring: &Ring, message: &[u8]) -> String {
    hex::encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, ring.current.expose_secret()), message))
}

/// Whether `signature`, in hexadecimal, was made by a key of the ring that still verifies; each in constant time.
#[must_use]
pub fn is_signed(ring: &Ring, message: &[u8], signature: &str) -> bool {
    let Ok(signature) = hex::decode(signature) else { return false };
    let by = |key: &Key| hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key.expose_secret()), message, &signature);
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    ring.keys().filter(|key| !key.is_over(now_s)).any(|key| by(key).is_ok())
}

/// Fills `bytes` from the operating system's generator.
pub fn fill(bytes: &mut [u8]) -> Setup<()> {
    aws_lc_rs::rand::fill(bytes).map_err(Fault::at("random numbers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_purpose_or_another_key_derives_another_password() {
        let (one, two) = (Key::generate("a").unwrap(), Key::generate("a").unwrap());
        let text = |key, purpose| derive(key, purpose).expose_secret().to_owned();
        assert_ne!(text(&one, "role:x"), text(&one, "role:y"));
        assert_ne!(text(&one, "role:x"), text(&two, "role:x"));
        assert_eq!(text(&one, "role:x"), text(&one, "role:x"));
        assert_eq!(text(&one, "role:x").len(), 43);
    }

    /// RFC 4231, test case 6.
    #[test]
    fn signatures_are_those_of_the_standard() {
        let ring = Ring::of(Key::new("a", vec![0xaa; 131]).unwrap());
        let expected = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
        let message = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(sign(&ring, message), expected);
        assert!(is_signed(&ring, message, expected) && is_signed(&ring, message, &expected.to_uppercase()));
        for wrong in ["", "60", "zz", &expected[2..], &expected.replace('6', "7")] {
            assert!(!is_signed(&ring, message, wrong), "{wrong}");
        }
    }

    #[test]
    fn an_older_key_verifies_as_long_as_it_is_in_the_ring() {
        let old = Ring::of(Key::generate("old").unwrap());
        let signature = sign(&old, b"message");
        let mut ring = Ring::of(Key::generate("new").unwrap());
        assert!(!is_signed(&ring, b"message", &signature));
        ring.verifying.push(old.current.clone());
        assert!(is_signed(&ring, b"message", &signature));
        ring.verifying = vec![old.current.until(1)];
        assert!(!is_signed(&ring, b"message", &signature), "its overlap has ended");
        assert_ne!(sign(&ring, b"message"), signature, "only the current one signs");
    }
}
