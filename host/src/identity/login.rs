//! Logging in: from an address and a password to a session and its first token.
//!
//! A wrong password and an unknown address get the same answer after the same work. A session is opened in the epoch that
//! was read with the password: one that is raised meanwhile leaves nothing behind that works.

use secrecy::SecretString;
use sqlx::FromRow;

use super::{
    Identity,
    account::{Account, Row, columns},
    email::Email,
    password::Verdict,
    session::{Device, Origin},
    token::{Assurance, Holder, Issued, Kind, LEEWAY_S, LIFETIME_S_MAX},
    unavailable,
};
use crate::{
    error::{Error, Unproven},
    id::SessionId,
};

/// What a login that went well gives.
#[derive(Debug)]
pub struct Pass {
    pub account: Account,
    pub session: SessionId,
    pub access: Issued,
    /// Seconds from now until the token expires.
    pub expires_in_s: u64,
}

/// An account and what a login compares.
#[derive(FromRow)]
struct Credential {
    #[sqlx(flatten)]
    row: Row,
    password_hash: String,
    token_epoch: i64,
}

impl Identity {
    /// Proves a password, opens a session and gives its token.
    ///
    /// # Errors
    /// 401 `wrong_credentials`, whether the address is known or not; 429; 503 when no core was free to hash on.
    pub async fn login(&self, email: &str, password: SecretString, from: impl Into<Origin>) -> Result<Pass, Error> {
        let wrong = || Error::Unauthenticated(Unproven::Password);
        let (email, from) = (Email::read(email).map_err(|_| wrong())?, from.into());
        let attempt = self.0.throttle.charge(&email, from.source).await?;
        let found = self.credential(&email).await?;
        let stored = found.as_ref().map(|credential| credential.password_hash.clone());
        let verdict = self.0.passwords.verify(password, stored).await?;
        let (Some(found), Verdict::Right | Verdict::RightButStale(_)) = (found, &verdict) else {
            return Err(wrong());
        };
        if let Verdict::RightButStale(renewed) = &verdict {
            self.renew(&found, renewed).await?;
        }
        self.0.throttle.forgive(&attempt).await?;
        let (account, epoch) = (Account::try_from(found.row)?, found.token_epoch);
        let holder = Holder {
            account: account.id,
            session: SessionId::fresh(),
            epoch,
            roles: account.roles.as_slice().into(),
            assurance: Assurance::Pwd,
            proved_s: self.0.policy.clock.now_s(),
        };
        self.open_session(account, &holder, &from).await
    }

    async fn credential(&self, email: &Email) -> Result<Option<Credential>, Error> {
        sqlx::query_as(concat!(
            "select ",
            columns!(),
            ", password_hash, token_epoch from dinehub.account where lower(email) = $1"
        ))
        .bind(email.folded())
        .fetch_optional(&self.0.pool)
        .await
        .map_err(unavailable)
    }

    /// Opens the session that `holder` names. 401 when the account's tokens were ended since it was proved.
    async fn open_session(&self, account: Account, holder: &Holder, from: &Origin) -> Result<Pass, Error> {
        let pass = self.pass(account, holder)?;
        let is_open: bool = sqlx::query_scalar("select dinehub.open_session($1, $2, $3, $4, to_timestamp($5))")
            .bind(holder.session.0)
            .bind(holder.account.0)
            .bind(holder.epoch)
            .bind(from.device.as_ref().map(Device::as_str))
            .bind(pass.access.expires_s as f64)
            .fetch_one(&self.0.pool)
            .await
            .map_err(unavailable)?;
        if is_open { Ok(pass) } else { Err(Error::Unauthenticated(Unproven::Revoked)) }
    }

    /// A token for a session that is open, or is about to be.
    fn pass(&self, account: Account, holder: &Holder) -> Result<Pass, Error> {
        let now_s = self.0.policy.clock.now_s();
        let access = self.0.tokens.load().issue(Kind::Access, holder, now_s)?;
        let expires_in_s = access.expires_s.saturating_sub(now_s);
        Ok(Pass { session: holder.session, expires_in_s, account, access })
    }

    /// Until when it is remembered that older tokens of an account ended, in seconds since 1970: when the last of them has
    /// expired by itself, whichever node's clock made it.
    pub(super) fn remember_until_s(&self) -> f64 {
        (self.0.policy.clock.now_s() + LIFETIME_S_MAX + LEEWAY_S) as f64
    }

    /// Only over the hash that was just proved: a password that changed meanwhile stays.
    async fn renew(&self, proved: &Credential, renewed: &str) -> Result<(), Error> {
        sqlx::query("update dinehub.account set password_hash = $3 where id = $1 and password_hash = $2")
            .bind(proved.row.id)
            .bind(&proved.password_hash)
            .bind(renewed)
            .execute(&self.0.pool)
            .await
            .map_err(unavailable)?;
        Ok(())
    }
}
