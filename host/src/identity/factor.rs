//! The second factor: a code by time from an authenticator (TOTP, RFC 6238), or a recovery code when the device is lost.
//!
//! ```text
//!   password ─▶ pending token ─▶ code ─▶ session (acr = mfa)
//! ```
//!
//! A pending token opens nothing but that step. A code is taken once, on all nodes together: the time step it belongs to is
//! burnt in the statement that takes it, and a recovery code is deleted by it. Secrets lie sealed in the database, recovery
//! codes as keyed hashes; both by the ring `account`. Turning the factor on or off ends every other token of the account.
//!
//! Passkeys (WebAuthn) are not there yet; they would be a third kind of [`Proof`].

use std::fmt;

use aws_lc_rs::rand;
use qrcode::{EcLevel, QrCode, render::svg};
use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;
use totp_rs::{Builder, Secret, Totp};
use zeroize::Zeroizing;

use super::{
    Identity,
    actor::Actor,
    login::Pass,
    session::Origin,
    throttle::Door,
    token::{Assurance, Holder, Kind},
    unavailable,
};
use crate::{
    error::{Error, Unassured, Unproven},
    id::AccountId,
    secret::{ring::Ring, seal::Sealer},
};

/// What an authenticator shows above the code.
const ISSUER: &str = "DineHub";
/// As long as the output of the hash (RFC 4226 §4, R6).
const SECRET_BYTES: usize = 20;
/// Codes that are handed out together.
const COUNT: usize = 10;
/// Of one recovery code: 80 bits, four groups of four letters.
const CODE_BYTES: usize = 10;
const CODE_CHARS_MAX: usize = 32;
/// RFC 4648 §6, in lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567"; // pragma: allowlist secret
/// Pixels of the QR code's side, at least.
const QR_SIDE_MIN: u32 = 240;

/// What an authenticator needs to know, shown once. Prints as dots.
#[derive(Debug)]
pub struct Enrolment {
    /// Base32, to type.
    pub secret: SecretString,
    /// `otpauth://totp/…`
    pub uri: SecretString,
    /// The same as an image.
    pub qr_svg: SecretString,
}

/// How an account can be proved beside its password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factors {
    pub has_totp: bool,
    pub recovery_codes_left: i64,
}

/// What somebody proves themselves with once more.
#[derive(Clone, Debug)]
pub enum Proof {
    Password(SecretString),
    Totp(SecretString),
    Recovery(SecretString),
}

/// Secrets and codes at rest.
pub(super) struct Codes {
    pool: PgPool,
    totp: Sealer,
    recovery: Sealer,
}

impl Codes {
    pub(super) fn new(pool: PgPool, ring: &Ring) -> crate::error::Setup<Self> {
        Ok(Self { pool, totp: Sealer::new(ring, "totp")?, recovery: Sealer::new(ring, "recovery")? })
    }

    /// Whether a code is right, and was never taken before. It is taken by this.
    async fn take(&self, account: AccountId, proof: &Proof, now_s: u64) -> Result<bool, Error> {
        let taken = match proof {
            Proof::Totp(code) => {
                let confirmed = "select secret from dinehub.totp where account_id = $1 and confirmed_at is not null";
                let sealed: Option<Vec<u8>> = sqlx::query_scalar(confirmed)
                    .bind(account.0)
                    .fetch_optional(&self.pool)
                    .await
                    .map_err(unavailable)?;
                let Some(sealed) = sealed else { return Ok(false) };
                let Some(step) = self.open(account, &sealed)?.check(code.expose_secret(), now_s) else {
                    return Ok(false);
                };
                sqlx::query_scalar("select dinehub.burn_totp_step($1, $2)")
                    .bind(account.0)
                    .bind(i64::try_from(step).map_err(Error::internal)?)
            }
            Proof::Recovery(code) => {
                let Some(code) = plain(code.expose_secret()) else { return Ok(false) };
                let hashes = self.recovery.hashes(account.0.as_bytes(), code.as_bytes());
                sqlx::query_scalar("select dinehub.burn_recovery_code($1, $2)").bind(account.0).bind(hashes)
            }
            Proof::Password(_) => return Ok(false),
        };
        taken.fetch_one(&self.pool).await.map_err(unavailable)
    }

    fn open(&self, account: AccountId, sealed: &[u8]) -> Result<Totp, Error> {
        let opened = self.totp.open(account.0.as_bytes(), sealed);
        let secret = opened.ok_or_else(|| Error::internal("a TOTP secret was sealed by a ring that is gone"))?;
        totp(&secret, "")
    }

    /// Fresh recovery codes, and what is stored of them.
    fn fresh(&self, account: AccountId) -> Result<(Vec<SecretString>, Vec<Vec<u8>>), Error> {
        let (mut codes, mut hashes) = (Vec::with_capacity(COUNT), Vec::with_capacity(COUNT));
        for _ in 0..COUNT {
            let code = fresh_code()?;
            hashes.push(self.recovery.hash(account.0.as_bytes(), code.as_bytes()));
            codes.push(SecretString::from(grouped(&code)));
        }
        Ok((codes, hashes))
    }
}

impl Identity {
    /// What the account behind a request can be proved with.
    pub async fn factors(&self, actor: &Actor) -> Result<Factors, Error> {
        let (has_totp, recovery_codes_left) = sqlx::query_as(
            "select exists (select from dinehub.totp where account_id = $1 and confirmed_at is not null),
                    (select count(*) from dinehub.recovery_code where account_id = $1)",
        )
        .bind(actor.proven()?.holder.account.0)
        .fetch_one(&self.0.pool)
        .await
        .map_err(unavailable)?;
        Ok(Factors { has_totp, recovery_codes_left })
    }

    /// Makes a secret for an authenticator. It proves nothing until [`Identity::confirm_totp`].
    ///
    /// # Errors
    /// 403 `proof_is_old`; 409 `totp_is_on`.
    pub async fn enrol_totp(&self, actor: &Actor) -> Result<Enrolment, Error> {
        let account = self.recent(actor)?.account;
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        rand::fill(&mut *secret).map_err(|_| Error::internal("no random numbers"))?;
        let email = self.find(account).await?.ok_or(Error::NotFound)?.email;
        let totp = totp(&*secret, &email.replace(':', "_"))?;
        let uri = totp.to_url().map_err(Error::internal)?;
        let qr = QrCode::with_error_correction_level(&uri, EcLevel::M).map_err(Error::internal)?;
        let qr_svg = qr.render::<svg::Color<'_>>().min_dimensions(QR_SIDE_MIN, QR_SIDE_MIN).build();
        let is_kept: bool = sqlx::query_scalar("select dinehub.enrol_totp($1, $2)")
            .bind(account.0)
            .bind(self.0.codes.totp.seal(account.0.as_bytes(), &*secret)?)
            .fetch_one(&self.0.pool)
            .await
            .map_err(unavailable)?;
        if !is_kept {
            let detail = "This account has an authenticator; take it away before another is added.".to_owned();
            return Err(Error::Conflict { code: "totp_is_on".to_owned(), detail });
        }
        let secret = SecretString::from(Secret::from(secret.to_vec()).to_base32());
        Ok(Enrolment { secret, uri: uri.into(), qr_svg: qr_svg.into() })
    }

    /// Turns the factor on by a first right code; gives recovery codes, shown once, and a token that goes on.
    ///
    /// # Errors
    /// 403 `proof_is_old`; 401 `wrong_code`; 404 when nothing waits to be confirmed; 429.
    pub async fn confirm_totp(
        &self,
        actor: &Actor,
        code: &SecretString,
        from: &Origin,
    ) -> Result<(Pass, Vec<SecretString>), Error> {
        let holder = self.recent(actor)?;
        let attempt = self.0.throttle.charge(Door::Factor, holder.account.0.as_bytes(), from.source).await?;
        let waiting = "select secret from dinehub.totp where account_id = $1 and confirmed_at is null";
        let sealed: Option<Vec<u8>> = sqlx::query_scalar(waiting)
            .bind(holder.account.0)
            .fetch_optional(&self.0.pool)
            .await
            .map_err(unavailable)?;
        let sealed = sealed.ok_or(Error::NotFound)?;
        let (now_s, totp) = (self.0.policy.clock.now_s(), self.0.codes.open(holder.account, &sealed)?);
        let step = totp.check(code.expose_secret(), now_s).ok_or(Error::Unauthenticated(Unproven::Code))?;
        let (codes, hashes) = self.0.codes.fresh(holder.account)?;
        let epoch: Option<i64> =
            sqlx::query_scalar("select dinehub.confirm_totp($1, $2, $3, $4, $5, to_timestamp($6), to_timestamp($7))")
                .bind(holder.account.0)
                .bind(&sealed)
                .bind(i64::try_from(step).map_err(Error::internal)?)
                .bind(hashes)
                .bind(holder.session.0)
                .bind(self.access_expiry_s())
                .bind(self.remember_until_s())
                .fetch_one(&self.0.pool)
                .await
                .map_err(unavailable)?;
        let proved = Holder { assurance: Assurance::Mfa, proved_s: now_s, ..holder.clone() };
        let pass = self.go_on(&proved, epoch.ok_or(Error::NotFound)?).await?;
        self.0.throttle.forgive(&attempt).await?;
        Ok((pass, codes))
    }

    /// Turns the factor off; gives a token that goes on.
    ///
    /// # Errors
    /// 403 `proof_is_old`; 404 when there is none.
    pub async fn remove_totp(&self, actor: &Actor) -> Result<Pass, Error> {
        let holder = self.recent(actor)?;
        let removed = sqlx::query_scalar("select dinehub.remove_totp($1, $2, to_timestamp($3), to_timestamp($4))")
            .bind(holder.account.0)
            .bind(holder.session.0)
            .bind(self.access_expiry_s())
            .bind(self.remember_until_s());
        let epoch: Option<i64> = removed.fetch_one(&self.0.pool).await.map_err(unavailable)?;
        let weaker = Holder { assurance: Assurance::Pwd, ..holder.clone() };
        self.go_on(&weaker, epoch.ok_or(Error::NotFound)?).await
    }

    /// Other recovery codes instead of all there were, shown once.
    ///
    /// # Errors
    /// 403 `proof_is_old`; 404 without a factor.
    pub async fn replace_recovery_codes(&self, actor: &Actor) -> Result<Vec<SecretString>, Error> {
        let account = self.recent(actor)?.account;
        let (codes, hashes) = self.0.codes.fresh(account)?;
        let replaced = sqlx::query_scalar("select dinehub.replace_recovery_codes($1, $2)").bind(account.0).bind(hashes);
        let is_replaced: bool = replaced.fetch_one(&self.0.pool).await.map_err(unavailable)?;
        if is_replaced { Ok(codes) } else { Err(Error::NotFound) }
    }

    /// The second step of a login: the pending token of the first, and a code.
    ///
    /// # Errors
    /// 401 `wrong_code`, or `unauthenticated` for a token that is no pending one, is over or was used; 429.
    pub async fn finish_login(&self, pending: &SecretString, proof: &Proof, from: &Origin) -> Result<Pass, Error> {
        let now_s = self.0.policy.clock.now_s();
        let tokens = self.0.tokens.load();
        let verified =
            tokens.verify(pending.expose_secret(), Kind::MfaPending, now_s).map_err(Error::Unauthenticated)?;
        self.0.revocations.check(&verified)?;
        let holder = verified.holder;
        self.take_code(holder.account, proof, from).await?;
        let account = self.find(holder.account).await?.ok_or(Error::Unauthenticated(Unproven::Revoked))?;
        let roles = account.roles.as_slice().into();
        let holder = Holder { roles, assurance: Assurance::Mfa, proved_s: now_s, ..holder };
        self.open_session(account, &holder, from).await
    }

    /// Proves once more who is asking, for what wants a recent proof: by a code, or by the password of an account without
    /// a second factor. Gives another token of the same session.
    ///
    /// # Errors
    /// 401 `wrong_code` or `wrong_credentials`; 403 `factor_is_needed` for a password where a code is wanted; 429.
    pub async fn step_up(&self, actor: &Actor, proof: Proof, from: &Origin) -> Result<Pass, Error> {
        let holder = &actor.proven()?.holder;
        match (holder.assurance, proof) {
            (Assurance::Mfa, Proof::Password(_)) => return Err(Error::Unassured(Unassured::Factor)),
            (_, Proof::Password(password)) => {
                self.prove_password(holder.account, password, from.source).await?;
            }
            (_, proof) => self.take_code(holder.account, &proof, from).await?,
        }
        let continued =
            "update dinehub.session set expires_at = to_timestamp($3) where id = $1 and token_epoch = $2 returning id";
        let row: Option<uuid::Uuid> = sqlx::query_scalar(continued)
            .bind(holder.session.0)
            .bind(holder.epoch)
            .bind(self.access_expiry_s())
            .fetch_optional(&self.0.pool)
            .await
            .map_err(unavailable)?;
        row.ok_or(Error::Unauthenticated(Unproven::Revoked))?;
        let account = self.find(holder.account).await?.ok_or(Error::Unauthenticated(Unproven::Revoked))?;
        self.pass(account, &Holder { proved_s: self.0.policy.clock.now_s(), ..holder.clone() })
    }

    /// Takes a code, or counts an attempt.
    async fn take_code(&self, account: AccountId, proof: &Proof, from: &Origin) -> Result<(), Error> {
        let attempt = self.0.throttle.charge(Door::Factor, account.0.as_bytes(), from.source).await?;
        if !self.0.codes.take(account, proof, self.0.policy.clock.now_s()).await? {
            return Err(Error::Unauthenticated(Unproven::Code));
        }
        self.0.throttle.forgive(&attempt).await
    }
}

/// 6 digits, 30 seconds, SHA-1: what every authenticator can do. One step of difference between clocks is taken.
fn totp(secret: &[u8], account: &str) -> Result<Totp, Error> {
    let builder = Builder::new().with_secret(secret).with_account_name(account).with_issuer(Some(ISSUER));
    builder.build().map_err(Error::internal)
}

fn fresh_code() -> Result<Zeroizing<String>, Error> {
    let mut random = Zeroizing::new([0; CODE_BYTES]);
    rand::fill(&mut *random).map_err(|_| Error::internal("no random numbers"))?;
    let bits = random.iter().fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
    let letter =
        |at: usize| ALPHABET.get((bits >> (5 * at)) as usize % ALPHABET.len()).copied().map_or('a', char::from);
    Ok(Zeroizing::new((0..CODE_BYTES * 8 / 5).map(letter).collect()))
}

/// `abcdefgh…` → `abcd-efgh-…`
fn grouped(code: &str) -> String {
    let letters: Vec<char> = code.chars().collect();
    letters.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}

/// A recovery code as it is hashed, however it was typed.
fn plain(typed: &str) -> Option<Zeroizing<String>> {
    if typed.len() > CODE_CHARS_MAX {
        return None;
    }
    let letters = typed.chars().filter(|c| !matches!(c, '-' | ' ')).map(|c| c.to_ascii_lowercase());
    Some(Zeroizing::new(letters.collect()))
}

impl fmt::Debug for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Codes(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, cut to six digits.
    #[test]
    fn codes_are_those_of_the_standard() {
        let totp = totp(b"12345678901234567890", "").unwrap();
        for (at_s, code) in [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924")] {
            assert_eq!(totp.check(code, at_s), Some(at_s / 30), "{at_s}");
            assert_eq!(totp.check(code, at_s + 120), None);
        }
        for none in ["", "28708", "2870822", "+28708", "２８７０８２", "28708\0"] {
            assert_eq!(totp.check(none, 59), None, "{none:?}");
        }
    }

    #[test]
    fn a_recovery_code_is_recognised_however_it_is_typed() {
        let code = fresh_code().unwrap();
        assert_eq!(code.len(), 16);
        assert_ne!(*code, *fresh_code().unwrap());
        let shown = grouped(&code);
        assert_eq!(shown.len(), 19);
        for typed in [shown.clone(), shown.to_uppercase(), shown.replace('-', " "), (*code).clone()] {
            assert_eq!(*plain(&typed).unwrap(), *code, "{typed}");
        }
        assert!(plain(&"a".repeat(33)).is_none());
    }
}
