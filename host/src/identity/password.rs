//! Passwords: Argon2id on a thread of its own, as many at a time as there are cores.
//!
//! Hashing costs about 20 ms and 19 MiB on purpose, so it happens behind a semaphore, never on a thread that serves
//! requests, and whoever would wait too long is told to come back. A login for an address that nobody registered costs
//! the same hash as any other: what a stranger can measure does not tell who has an account.
//!
//! There are no rules about digits and capitals (NIST SP 800-63B §3.1.1.2). A password may be anything of 8–1024 bytes
//! that is not easily guessed, where the words of the person's own address and name count as the first to be guessed.

use std::{num::NonZero, sync::Arc, thread, time::Duration};

use argon2::{Argon2, Params, PasswordHasher, PasswordVerifier, password_hash::phc::PasswordHash};
use secrecy::{ExposeSecret, SecretString};
use tokio::{sync::Semaphore, task, time};
use zeroize::Zeroizing;
use zxcvbn::Score;

use crate::error::{Error, Fault, Setup, Violation};

/// RFC 9106 and OWASP: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const BYTES_MIN: usize = 8;
const BYTES_MAX: usize = 1024;
/// At least 10⁶ guesses: behind the throttle that is years, and a random word of eight letters passes.
const SCORE_MIN: Score = Score::Two;
/// Letters and digits that must be left of a password without the words of its context.
const LEFT_MIN: usize = 4;
/// Words of the product count as context, too.
const PRODUCT: &str = "dinehub";
/// What the hash for unknown addresses is made of; no password is compared with it successfully, whatever it is.
const NOBODY: &str = "nobody has this password";

/// What a comparison found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Wrong,
    Right,
    /// Right, and hashed with parameters of the past: here is a new hash.
    RightButStale(String),
}

/// Hashes and compares, within the limits above. Cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    permits: Arc<Semaphore>,
    argon2: Argon2<'static>,
    nobody: Arc<str>,
    wait_max: Duration,
}

impl Passwords {
    /// Makes the hash that unknown addresses are compared with.
    pub async fn new(wait_max: Duration) -> Setup<Self> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(Fault::at("argon2"))?;
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let mut passwords = Self {
            permits: Arc::new(Semaphore::new(cores)),
            argon2: Argon2::from(params),
            nobody: "".into(),
            wait_max,
        };
        let nobody = passwords.run(|argon2| hash(argon2, NOBODY)).await;
        passwords.nobody = nobody.and_then(|hash| hash).map_err(|why| Fault::new("argon2", why.log()))?.into();
        Ok(passwords)
    }

    /// Hashes a password that a person chose, if it is good enough. `context` are words about that person.
    ///
    /// # Errors
    /// 422 that says why it is refused; 503 when no core was free in time.
    pub async fn choose(&self, password: SecretString, context: Vec<String>) -> Result<String, Error> {
        self.run(move |argon2| {
            if let Some(detail) = weakness(password.expose_secret(), &context) {
                return Err(Error::Invalid(vec![Violation { pointer: "/password".to_owned(), detail }]));
            }
            hash(argon2, password.expose_secret())
        })
        .await?
    }

    /// Compares a password with a stored hash, or with nothing at the same cost.
    pub async fn verify(&self, password: SecretString, stored: Option<String>) -> Result<Verdict, Error> {
        if password.expose_secret().len() > BYTES_MAX {
            return Ok(Verdict::Wrong);
        }
        let nobody = self.nobody.clone();
        self.run(move |argon2| {
            let hash_text = stored.as_deref().unwrap_or(&nobody);
            let parsed = PasswordHash::new(hash_text).map_err(Error::internal)?;
            let is_right = argon2.verify_password(password.expose_secret().as_bytes(), &parsed).is_ok();
            match (is_right, &stored) {
                (true, Some(_)) if Params::try_from(&parsed).is_ok_and(|params| is_current(&params)) => {
                    Ok(Verdict::Right)
                }
                (true, Some(_)) => hash(argon2, password.expose_secret()).map(Verdict::RightButStale),
                (true, None) | (false, _) => Ok(Verdict::Wrong),
            }
        })
        .await?
    }

    /// The permit moves into the work: a request that goes away does not free a core that is still hashing.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Argon2<'static>) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let permit = time::timeout(self.wait_max, self.permits.clone().acquire_owned())
            .await
            .map_err(|_| Error::Unavailable("no core was free to hash on".into()))?
            .map_err(Error::internal)?;
        let argon2 = self.argon2.clone();
        let done = task::spawn_blocking(move || {
            let result = work(&argon2);
            drop(permit);
            result
        });
        done.await.map_err(Error::internal)
    }
}

fn hash(argon2: &Argon2<'_>, password: &str) -> Result<String, Error> {
    let hash = argon2.hash_password(password.as_bytes()).map_err(Error::internal)?;
    Ok(hash.to_string())
}

fn is_current(params: &Params) -> bool {
    (params.m_cost(), params.t_cost(), params.p_cost()) == (MEMORY_KIB, PASSES, LANES)
}

/// Why a password is refused, as a sentence fragment; never a part of it.
fn weakness(password: &str, context: &[String]) -> Option<String> {
    if !(BYTES_MIN..=BYTES_MAX).contains(&password.len()) {
        return Some(format!("must have {BYTES_MIN}–{BYTES_MAX} bytes"));
    }
    let words: Vec<&str> = context.iter().flat_map(|text| parts(text)).chain([PRODUCT]).collect();
    if is_made_of(password, &words) {
        return Some("is too easily guessed: it is made of words about you or about this service".to_owned());
    }
    let estimate = zxcvbn::zxcvbn(password, &words);
    if estimate.score() >= SCORE_MIN {
        return None;
    }
    let warning = estimate.feedback().and_then(zxcvbn::feedback::Feedback::warning);
    Some(match warning {
        Some(warning) => format!("is too easily guessed: {warning}"),
        None => "is too easily guessed: add a few more words, and not ones about you".to_owned(),
    })
}

/// A text and the words in it.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    std::iter::once(text).chain(text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 2))
}

/// Whether it holds such words and hardly anything else.
fn is_made_of(password: &str, words: &[&str]) -> bool {
    let mut longest_first: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    longest_first.sort_by_key(|word| std::cmp::Reverse(word.len()));
    let whole = Zeroizing::new(password.to_lowercase());
    let rest = longest_first.iter().fold(whole.clone(), |rest, word| Zeroizing::new(rest.replace(word.as_str(), " ")));
    *rest != *whole && rest.chars().filter(|c| c.is_alphanumeric()).count() < LEFT_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(password: &str) -> String {
        let context = ["maria.keller@trattoria.example".to_owned(), "Maria Keller".to_owned()];
        weakness(password, &context).unwrap_or_else(|| panic!("{password:?} was taken"))
    }

    #[test]
    fn length_is_counted_in_bytes_and_bounded() {
        assert!(refused("kP9#xq2").contains("8–1024"));
        assert!(refused(&"ж".repeat(513)).contains("8–1024"));
        assert_eq!(weakness(&format!("{}{}", "x9!Kq".repeat(2), "ж".repeat(500)), &[]), None);
    }

    #[test]
    fn common_words_and_patterns_are_refused_with_a_reason() {
        for password in ["password", "Password1", "12345678", "qwertyuiop", "aaaaaaaaaa", "letmein1", "iloveyou"] {
            assert!(refused(password).starts_with("is too easily guessed"), "{password}");
        }
    }

    #[test]
    fn words_about_the_person_or_the_product_are_refused() {
        for password in [
            "mariakeller",
            "Maria.Keller",
            "trattoria1",
            "dinehub1",
            "DineHub!",
            "maria.keller@trattoria.example",
            "!!!Keller.Maria!!!",
        ] {
            refused(password);
        }
    }

    #[test]
    fn there_are_no_rules_of_composition() {
        for password in ["kvzjwqpo", "correct horse battery", "пароль-которого-нет", "§%&/()=?`#*+", "83912750463"]
        {
            assert_eq!(weakness(password, &[]), None, "{password}");
        }
    }

    #[tokio::test]
    async fn a_hash_says_argon2id_with_the_parameters_we_promise() {
        let passwords = Passwords::new(Duration::from_secs(5)).await.unwrap();
        let hash = passwords.choose("plum-harbor-lantern".into(), vec![]).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, passwords.choose("plum-harbor-lantern".into(), vec![]).await.unwrap(), "salted");
    }

    #[tokio::test]
    async fn nobody_has_no_password() {
        let passwords = Passwords::new(Duration::from_secs(5)).await.unwrap();
        assert_eq!(passwords.verify(NOBODY.into(), None).await.unwrap(), Verdict::Wrong);
        assert_eq!(passwords.verify("x".repeat(2000).into(), None).await.unwrap(), Verdict::Wrong);
    }

    #[tokio::test]
    async fn an_old_hash_is_renewed_when_its_password_is_right() {
        let passwords = Passwords::new(Duration::from_secs(5)).await.unwrap();
        let weak = Argon2::from(Params::new(1024, 1, 1, None).unwrap());
        let old = hash(&weak, "plum-harbor-lantern").unwrap();
        assert_eq!(passwords.verify("wrong".into(), Some(old.clone())).await.unwrap(), Verdict::Wrong);
        let verdict = passwords.verify("plum-harbor-lantern".into(), Some(old)).await.unwrap();
        let Verdict::RightButStale(new) = verdict else { panic!("{verdict:?}") };
        assert_eq!(passwords.verify("plum-harbor-lantern".into(), Some(new)).await.unwrap(), Verdict::Right);
    }

    #[tokio::test]
    async fn whoever_would_wait_too_long_is_told_to_come_back() {
        let passwords = Passwords::new(Duration::from_millis(1)).await.unwrap();
        let all =
            passwords.permits.clone().acquire_many_owned(passwords.permits.available_permits() as u32).await.unwrap();
        let answer = passwords.verify("plum-harbor-lantern".into(), None).await;
        assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
        drop(all);
    }
}
