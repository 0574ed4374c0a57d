//! Sealed cursors: what a plugin hands out as `cursor` leaves the host encrypted, and comes back to the same plugin, the
//! same function and the same caller or not at all. Clients can neither read nor make one.
//!
//! AES-256-GCM with a random nonce; the associated data names plugin, function and caller. The key is the ring `cursor`.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    error::Unspecified,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    error::{Fault, Setup},
    id::AccountId,
};

/// Seals and opens cursors for all plugins.
#[derive(Debug)]
pub struct Sealer {
    key: RandomizedNonceKey,
}

/// Where a cursor is valid. Every request has one and few have a cursor, so it is put into words when one is there.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    pub plugin: &'a str,
    pub function: &'a str,
    /// None is anybody who did not log in.
    pub caller: Option<AccountId>,
}

impl Scope<'_> {
    /// A line each for plugin, function and caller: the associated data.
    fn text(&self) -> String {
        let Self { plugin, function, caller } = self;
        match caller {
            Some(account) => format!("{plugin}\n{function}\n{account}"),
            None => format!("{plugin}\n{function}\n-"),
        }
    }
}

impl Sealer {
    /// `key` is 32 bytes from the ring `cursor`.
    pub fn new(key: &[u8]) -> Setup<Self> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, key.get(..32).unwrap_or(key));
        key.map(|key| Self { key }).map_err(|Unspecified| {
            Fault::new("secret `cursor`", "must hold a key of at least 32 bytes").fix("rotate it: it is made anew")
        })
    }

    /// The cursor a client gets.
    pub fn seal(&self, scope: &Scope<'_>, plain: &str) -> Result<String, Unspecified> {
        let mut sealed = plain.as_bytes().to_vec();
        let nonce = self.key.seal_in_place_append_tag(Aad::from(scope.text().as_bytes()), &mut sealed)?;
        sealed.splice(0..0, nonce.as_ref().iter().copied());
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// What the plugin had handed out; none when this is not a cursor of ours for this scope.
    #[must_use]
    pub fn open(&self, scope: &Scope<'_>, sealed: &str) -> Option<String> {
        let mut bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, rest) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self.key.open_in_place(nonce, Aad::from(scope.text().as_bytes()), rest).ok()?;
        String::from_utf8(plain.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_opens_only_where_it_was_made() {
        let sealer = Sealer::new(&[7; 32]).unwrap();
        let caller = |number| Some(AccountId(uuid::Uuid::from_u128(number)));
        let scope = Scope { plugin: "ordering", function: "list-orders", caller: caller(1) };
        let sealed = sealer.seal(&scope, "2026-11-23|1").unwrap();
        assert_eq!(sealer.open(&scope, &sealed).as_deref(), Some("2026-11-23|1"));
        for other in [
            Scope { caller: caller(2), ..scope },
            Scope { caller: None, ..scope },
            Scope { function: "list-all", ..scope },
            Scope { plugin: "orderings", ..scope },
        ] {
            assert_eq!(sealer.open(&other, &sealed), None, "{other:?}");
        }
        assert_eq!(Sealer::new(&[8; 32]).unwrap().open(&scope, &sealed), None);
        for at in 0..sealed.len() {
            let mut forged = sealed.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(sealer.open(&scope, std::str::from_utf8(&forged).unwrap()), None, "byte {at}");
        }
        assert_eq!(sealer.open(&scope, ""), None);
    }
}
