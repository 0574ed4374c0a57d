//! A ring: the versions of one secret.
//!
//! The plaintext of a ring's age file is TOML. One version is `current`; those marked `verify` still prove what they
//! once signed, until they are taken out, or until the moment in `until`: the end of the overlap needs nobody to be there.
//!
//! ```
//! use dinehub::secret::ring::Ring;
//! let key = "A".repeat(43) + "=";
//! let text = format!("[[version]]\nid = \"2026-11\"\nkey = \"{key}\"\nstate = \"current\"");
//! let ring = Ring::read("jwt", &text.into()).unwrap();
//! assert_eq!(ring.current.id(), "2026-11");
//! assert!(!format!("{ring:?}").contains("AAAA"), "a key prints as dots");
//! ```

use std::fmt;

use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::Deserialize;
use zeroize::{Zeroize, Zeroizing};

use crate::error::{Fault, Setup};

/// 256 bit: as long as the output of the hash it keys (RFC 7518 §3.2, RFC 8725 §3.5).
pub const KEY_BYTES_MIN: usize = 32;
const KEY_BYTES_MAX: usize = 1024;
const ID_BYTES_MAX: usize = 32;

/// One version of a secret: its id, which is public, and its bytes, which are not.
#[derive(Clone)]
pub struct Key {
    id: String,
    bytes: SecretSlice<u8>,
    /// Seconds since 1970 from which on it proves nothing.
    until_s: Option<u64>,
}

impl Key {
    /// A key of 256 random bits. The id is 1–32 lower-case letters, digits or `-`.
    pub fn generate(id: &str) -> Setup<Self> {
        let mut bytes = vec![0; KEY_BYTES_MIN];
        rand::fill(&mut bytes).map_err(Fault::at("random numbers"))?;
        Self::new(id, bytes)
    }

    /// A key of given bytes: at least [`KEY_BYTES_MIN`].
    pub fn new(id: &str, bytes: Vec<u8>) -> Setup<Self> {
        let bytes = SecretSlice::from(bytes);
        let is_id = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=ID_BYTES_MAX).contains(&id.len()) || !id.bytes().all(is_id) {
            return Err(Fault::new("id", format!("must be 1–{ID_BYTES_MAX} lower-case letters, digits or `-`"))
                .fix("write the month it was made in: `id = \"2026-11\"`"));
        }
        let length = bytes.expose_secret().len();
        if !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&length) {
            return Err(Fault::new(
                format!("version {id}"),
                format!("the key has {length} bytes, must have {KEY_BYTES_MIN}–{KEY_BYTES_MAX}"),
            )
            .fix(format!("openssl rand -base64 {KEY_BYTES_MIN}")));
        }
        Ok(Self { id: id.to_owned(), bytes, until_s: None })
    }

    /// Its bytes as text, for those who need the value itself; hexadecimal when they are no text.
    #[must_use]
    pub fn text(&self) -> SecretString {
        let bytes = self.bytes.expose_secret();
        SecretString::from(std::str::from_utf8(bytes).map_or_else(|_| hex::encode(bytes), str::to_owned))
    }

    /// The same key, which proves nothing any more from `until_s` on (seconds since 1970).
    #[must_use]
    pub fn until(self, until_s: u64) -> Self {
        Self { until_s: Some(until_s), ..self }
    }

    /// Whether its overlap has ended.
    #[must_use]
    pub fn is_over(&self, now_s: u64) -> bool {
        self.until_s.is_some_and(|until_s| until_s <= now_s)
    }

    /// Its name in the ring; a token carries it as `kid`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl ExposeSecret<[u8]> for Key {
    fn expose_secret(&self) -> &[u8] {
        self.bytes.expose_secret()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} …)", self.id)
    }
}

/// All versions of one secret that are alive.
#[derive(Clone, Debug)]
pub struct Ring {
    /// Signs and verifies.
    pub current: Key,
    /// Verify what they signed before; never sign.
    pub verifying: Vec<Key>,
}

/// The file as written. Keys are wiped as soon as they are decoded.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: Vec<Version>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Version {
    id: String,
    key: String,
    state: State,
    /// RFC 3339, for a version that verifies.
    until: Option<String>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum State {
    Current,
    Verify,
}

impl Drop for Version {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Ring {
    /// A ring of one key, for a first start.
    #[must_use]
    pub fn of(current: Key) -> Self {
        Self { current, verifying: Vec::new() }
    }

    /// The key that is next, with the current one kept to verify until `until_s` (seconds since 1970): a rotation.
    #[must_use]
    pub fn rotate(&self, next: Key, until_s: u64) -> Self {
        let mut verifying = vec![self.current.clone().until(until_s)];
        verifying.extend(self.verifying.iter().cloned());
        Self { current: next, verifying }
    }

    /// Every key that may verify, the current one first.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.current).chain(&self.verifying)
    }

    /// Reads the plaintext of the secret `name`. A fault names the version and what is wrong, never a value: TOML's own
    /// message would quote the line.
    pub fn read(name: &str, plaintext: &SecretString) -> Setup<Self> {
        let plaintext = plaintext.expose_secret();
        let file: File = toml::from_str(plaintext).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = 1 + plaintext.bytes().take(start).filter(|b| *b == b'\n').count();
            Fault::new(format!("secret {name}"), format!("is no ring: line {line}"))
                .fix("write `[[version]]` with `id`, `key` (base64) and `state` (`current` or `verify`)")
        })?;
        let mut current = None;
        let mut verifying: Vec<Key> = Vec::new();
        for version in &file.version {
            let within = |fault: Fault| fault.within(format!("secret {name}"));
            let bytes = Zeroizing::new(STANDARD.decode(&version.key).map_err(|_| {
                within(Fault::new(format!("version {}", version.id.escape_debug()), "the key is not base64"))
            })?);
            let mut key = Key::new(&version.id, bytes.to_vec()).map_err(within)?;
            if let Some(until) = &version.until {
                let at: Timestamp = until.parse().map_err(|_| {
                    within(Fault::new(format!("version {}", key.id), "`until` is no time"))
                        .fix("write it as in `until = \"2026-12-01T00:00:00Z\"`")
                })?;
                key.until_s = Some(u64::try_from(at.as_second()).unwrap_or_default());
            }
            if verifying.iter().chain(&current).any(|known| known.id == key.id) {
                return Err(within(Fault::new(format!("version {}", key.id), "is there twice")));
            }
            match version.state {
                State::Current if version.until.is_some() => {
                    let fault = Fault::new(format!("version {}", key.id), "is current and has an `until`");
                    return Err(within(fault).fix("only an older version ends by itself: `state = \"verify\"`"));
                }
                State::Verify => verifying.push(key),
                State::Current if current.is_none() => current = Some(key),
                State::Current => {
                    return Err(within(Fault::new(format!("version {}", key.id), "is a second current one"))
                        .fix("mark the older one `state = \"verify\"`"));
                }
            }
        }
        let current = current.ok_or_else(|| {
            Fault::new(format!("secret {name}"), "has no current version").fix("mark one `state = \"current\"`")
        })?;
        Ok(Self { current, verifying })
    }

    /// The plaintext that [`Ring::read`] reads.
    #[must_use]
    pub fn write(&self) -> SecretString {
        let mut text = String::with_capacity(4096);
        for (key, state) in self.keys().zip(std::iter::once("current").chain(std::iter::repeat("verify"))) {
            let encoded = Zeroizing::new(STANDARD.encode(key.expose_secret()));
            for part in ["[[version]]\nid = \"", key.id(), "\"\nkey = \"", &encoded, "\"\nstate = \"", state, "\"\n"] {
                text.push_str(part);
            }
            let until = key.until_s.and_then(|until_s| Timestamp::from_second(i64::try_from(until_s).ok()?).ok());
            text.extend(until.map(|until| format!("until = \"{until}\"\n")));
        }
        SecretString::from(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    fn fault(text: &str) -> String {
        let fault = Ring::read("jwt", &text.into()).unwrap_err().to_string();
        assert!(!fault.contains(&GOOD[..8]), "a fault must not quote a key: {fault}");
        fault
    }

    fn version(id: &str, key: &str, state: &str) -> String {
        format!("[[version]]\nid = \"{id}\"\nkey = \"{key}\"\nstate = \"{state}\"\n")
    }

    #[test]
    fn a_key_under_256_bit_is_refused() {
        let short = STANDARD.encode([7; 31]);
        assert!(fault(&version("a", &short, "current")).contains("31 bytes"));
        assert!(Key::new("a", vec![7; 32]).is_ok());
    }

    #[test]
    fn a_ring_needs_exactly_one_current_version() {
        assert!(fault(&version("a", GOOD, "verify")).contains("no current"));
        let two = version("a", GOOD, "current") + &version("b", GOOD, "current");
        assert!(fault(&two).contains("second current"));
    }

    #[test]
    fn a_version_id_stands_for_one_key() {
        let twice = version("a", GOOD, "current") + &version("a", GOOD, "verify");
        assert!(fault(&twice).contains("twice"));
        assert!(fault(&version("A b", GOOD, "current")).contains("lower-case"));
    }

    #[test]
    fn what_is_no_ring_is_refused_without_quoting_it() {
        assert!(fault(GOOD).contains("line 1"));
        assert!(fault(&(version("a", GOOD, "current") + "extra = 1\n")).contains("is no ring"));
        assert!(fault(&version("a", GOOD, GOOD)).contains("is no ring"));
        assert!(fault(&version("a", &format!("!{GOOD}"), "current")).contains("not base64"));
    }

    #[test]
    fn a_rotated_ring_survives_writing_and_reading() {
        let old = Ring::of(Key::generate("2026-08").unwrap());
        let ring = old.rotate(Key::generate("2026-11").unwrap(), 1_800_000_000);
        let again = Ring::read("jwt", &ring.write()).unwrap();
        assert_eq!(again.keys().map(Key::id).collect::<Vec<_>>(), ["2026-11", "2026-08"]);
        assert_eq!(again.verifying[0].expose_secret(), old.current.expose_secret());
        assert!(!again.verifying[0].is_over(1_799_999_999) && again.verifying[0].is_over(1_800_000_000));
        assert!(!again.current.is_over(u64::MAX));
    }

    #[test]
    fn only_an_older_version_ends_by_itself() {
        let until = "until = \"2026-12-01T00:00:00Z\"\n";
        assert!(fault(&(version("a", GOOD, "current") + until)).contains("is current"));
        assert!(fault(&(version("a", GOOD, "verify") + "until = \"soon\"\n")).contains("no time"));
        let two = version("a", GOOD, "current") + &version("b", &STANDARD.encode([7; 32]), "verify") + until;
        assert!(Ring::read("jwt", &two.into()).is_ok());
    }
}
