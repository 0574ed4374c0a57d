//! Attempts to log in, and to give a second factor's code, are slowed down, never stopped for good.
//!
//! Counted in PostgreSQL, so that all nodes count together and a restart forgets nothing: per source, per account, and
//! per pair of both. Each attempt is charged before its password is looked at. The first few are free; then each one
//! doubles the wait until the next, up to a cap; quiet forgives. A source from which the right password once came is not
//! stopped by what strangers do to the account, so nobody can lock its owner out. Attempts on addresses that nobody
//! registered are counted the same way.

use std::net::IpAddr;

use aws_lc_rs::digest;
use sqlx::PgPool;

use super::unavailable;
use crate::error::Error;

/// How attempts are slowed down.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// Attempts in a row that cost nothing: from one source, whatever the account.
    pub source_free: i32,
    /// From one source on one account.
    pub pair_free: i32,
    /// On one account, from all sources that never gave its right password.
    pub account_free: i32,
    /// The first wait; each further one is twice as long.
    pub base_ms: i32,
    /// The longest wait.
    pub cap_ms: i32,
    /// So much quiet forgives one attempt.
    pub decay_ms: i32,
}

impl Default for Waits {
    fn default() -> Self {
        Self { source_free: 50, pair_free: 5, account_free: 20, base_ms: 500, cap_ms: 60_000, decay_ms: 60_000 }
    }
}

/// What is tried; each is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// A password, for an address.
    Password,
    /// A second factor's code, for an account.
    Factor,
    /// A letter, to an address.
    Mail,
}

/// How attempts at each door are slowed down.
#[derive(Clone, Copy, Debug)]
pub struct Doors {
    pub password: Waits,
    pub factor: Waits,
    pub mail: Waits,
}

impl Default for Doors {
    /// Whoever is at the second door has the password already, and a code has six digits, three of them right at a time:
    /// four tries an hour leave a chance of one in three thousand a day.
    fn default() -> Self {
        let patient = Waits {
            pair_free: 5,
            account_free: 10,
            base_ms: 1_000,
            cap_ms: 900_000,
            decay_ms: 900_000,
            ..Waits::default()
        };
        let rare = Waits {
            source_free: 60,
            pair_free: 5,
            account_free: 5,
            base_ms: 60_000,
            cap_ms: 3_600_000,
            decay_ms: 600_000,
        };
        Self { password: Waits::default(), factor: patient, mail: rare }
    }
}

/// Counts attempts.
#[derive(Clone)]
pub struct Throttle {
    pool: PgPool,
    doors: Doors,
}

/// One attempt that was charged.
#[derive(Debug)]
pub struct Attempt {
    /// What is counted: source, pair, account.
    keys: [[u8; 32]; 3],
}

impl Throttle {
    /// Counts in the database behind `pool`.
    #[must_use]
    pub fn new(pool: PgPool, doors: Doors) -> Self {
        Self { pool, doors }
    }

    /// Charges an attempt on an account, by whatever it is named at this door, from a source; 429 when it has to wait.
    pub async fn charge(&self, door: Door, account: &[u8], source: IpAddr) -> Result<Attempt, Error> {
        let source = network(source);
        let ([by_source, by_pair, by_account], waits) = match door {
            Door::Password => (["source", "pair", "account"], self.doors.password),
            Door::Mail => (["mail source", "mail pair", "mail account"], self.doors.mail),
            Door::Factor => (["factor source", "factor pair", "factor account"], self.doors.factor),
        };
        let attempt = Attempt {
            keys: [key(by_source, &[&source]), key(by_pair, &[&source, account]), key(by_account, &[account])],
        };
        let Waits { source_free, pair_free, account_free, base_ms, cap_ms, decay_ms } = waits;
        let wait_ms: i32 = sqlx::query_scalar("select dinehub.attempt($1, $2, $3, $4, $5)")
            .bind(attempt.keys.map(|key| key.to_vec()).to_vec())
            .bind(vec![source_free, pair_free, account_free])
            .bind(base_ms)
            .bind(cap_ms)
            .bind(decay_ms)
            .fetch_one(&self.pool)
            .await
            .map_err(unavailable)?;
        match u64::try_from(wait_ms) {
            Ok(0) => Ok(attempt),
            Ok(wait_ms) => Err(Error::Throttled { retry_after_s: wait_ms.div_ceil(1000) }),
            Err(why) => Err(Error::internal(why)),
        }
    }

    /// What was tried was right: gives the charge back and remembers the source.
    pub async fn forgive(&self, attempt: &Attempt) -> Result<(), Error> {
        sqlx::query("select dinehub.attempt_was_good($1)")
            .bind(attempt.keys.map(|key| key.to_vec()).to_vec())
            .execute(&self.pool)
            .await
            .map_err(unavailable)?;
        Ok(())
    }
}

/// The part of an address that one customer holds: all of IPv4, the first 64 bits of IPv6.
fn network(source: IpAddr) -> [u8; 8] {
    let mut network = [0; 8];
    let octets: Vec<u8> = match source.to_canonical() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    for (to, from) in network.iter_mut().zip(octets) {
        *to = from;
    }
    network
}

/// A hash of a kind and its parts, each with its length, so that no two lists of parts read the same.
fn key(kind: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in std::iter::once(&kind.as_bytes()).chain(parts) {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut key = [0; 32];
    key.copy_from_slice(context.finish().as_ref());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> [u8; 8] {
        network(text.parse().unwrap())
    }

    #[test]
    fn one_customer_of_ipv6_is_one_source() {
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    }

    #[test]
    fn an_ipv4_address_is_the_same_source_in_ipv6_clothes() {
        assert_eq!(of("203.0.113.7"), of("::ffff:203.0.113.7"));
        assert_ne!(of("203.0.113.7"), of("203.0.113.8"));
    }
}
