//! Secrets: at rest only as age files ([`vault`]), in memory as rings of versioned keys ([`ring`]), in logs as dots.
//!
//! A secret is a *ring*, so that it can be rotated while it is used: one version is `current` and signs, others may still
//! verify, and a version that is gone is dead at once. Whatever can be computed from a ring is never stored: the password
//! of a database role is [derived](derive()) from the ring `database` and the role's name.

pub mod ring;
pub mod vault;

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};

use self::ring::Key;

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
}
