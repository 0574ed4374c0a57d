//! Logging in: from an address and a password to a session and its first token.
//!
//! A wrong password and an unknown address get the same answer after the same work. A session is opened in the epoch that
//! was read with the password: one that is raised meanwhile leaves nothing behind that works.

use std::net::IpAddr;

use secrecy::SecretString;
use sqlx::FromRow;

use super::{
    Identity,
    account::{Account, Row, columns},
    actor::Actor,
    email::Email,
    password::Verdict,
    session::{Device, Origin},
    throttle::Door,
    token::{Assurance, Holder, Issued, Kind, LEEWAY_S, LIFETIME_S_MAX},
    unavailable,
};
use crate::{
    error::{Error, Unassured, Unproven},
    id::{AccountId, SessionId},
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

/// What a right password gives.
#[derive(Debug)]
pub enum Login {
    Done(Box<Pass>),
    /// The account has a second factor: [`Identity::finish_login`] takes this and a code.
    Pending(Pending),
}

/// Half a login.
#[derive(Debug)]
pub struct Pending {
    pub token: Issued,
    /// Seconds from now until it is too late.
    pub expires_in_s: u64,
}

impl Login {
    /// The pass, if no second factor is asked for.
    #[must_use]
    pub fn done(self) -> Option<Pass> {
        match self {
            Self::Done(pass) => Some(*pass),
            Self::Pending(_) => None,
        }
    }
}

/// An account and what a login compares.
#[derive(FromRow)]
pub(super) struct Credential {
    #[sqlx(flatten)]
    row: Row,
    pub(super) password_hash: String,
    token_epoch: i64,
    has_totp: bool,
}

impl Identity {
    /// Proves a password; opens a session and gives its token, unless a second factor is wanted first.
    ///
    /// # Errors
    /// 401 `wrong_credentials`, whether the address is known or not; 429; 503 when no core was free to hash on.
    pub async fn login(&self, email: &str, password: SecretString, from: impl Into<Origin>) -> Result<Login, Error> {
        let email = Email::read(email).map_err(|_| Error::Unauthenticated(Unproven::Password))?;
        let from = from.into();
        let found = self.prove(&email, password, from.source).await?;
        let (account, now_s) = (Account::try_from(found.row)?, self.0.policy.clock.now_s());
        let mut holder = Holder {
            account: account.id,
            session: SessionId::fresh(),
            epoch: found.token_epoch,
            roles: account.roles.as_slice().into(),
            assurance: Assurance::Pwd,
            proved_s: now_s,
        };
        if !found.has_totp {
            return self.open_session(account, &holder, &from).await.map(|pass| Login::Done(Box::new(pass)));
        }
        holder.roles = [].into();
        let token = self.0.tokens.load().issue(Kind::MfaPending, &holder, now_s)?;
        Ok(Login::Pending(Pending { expires_in_s: token.expires_s.saturating_sub(now_s), token }))
    }

    /// The account behind an address, once its password was proved. One that is unknown, off or not verified costs the same.
    async fn prove(&self, email: &Email, password: SecretString, source: IpAddr) -> Result<Credential, Error> {
        let attempt = self.0.throttle.charge(Door::Password, email.folded().as_bytes(), source).await?;
        let found: Option<Credential> = sqlx::query_as(concat!(
            "select ",
            columns!(),
            ", password_hash, token_epoch, exists (
                 select from dinehub.totp t where t.account_id = account.id and t.confirmed_at is not null) as has_totp
             from dinehub.account
             where lower(email) = $1 and deactivated_at is null and (verified_at is not null or not $2)"
        ))
        .bind(email.folded())
        .bind(self.0.policy.verifies)
        .fetch_optional(&self.0.pool)
        .await
        .map_err(unavailable)?;
        let stored = found.as_ref().map(|credential| credential.password_hash.clone());
        let verdict = self.0.passwords.verify(password, stored).await?;
        let (Some(found), Verdict::Right | Verdict::RightButStale(_)) = (found, &verdict) else {
            return Err(Error::Unauthenticated(Unproven::Password));
        };
        if let Verdict::RightButStale(renewed) = &verdict {
            self.renew(&found, renewed).await?;
        }
        self.0.throttle.forgive(&attempt).await?;
        Ok(found)
    }

    /// Proves the password of an account that is known already.
    pub(super) async fn prove_password(
        &self,
        account: AccountId,
        password: SecretString,
        source: IpAddr,
    ) -> Result<Credential, Error> {
        let account = self.find(account).await?.ok_or(Error::Unauthenticated(Unproven::Revoked))?;
        self.prove(&Email::read(&account.email)?, password, source).await
    }

    /// Whoever is behind a request, if their proof is recent enough for what matters most.
    pub(super) fn recent<'a>(&self, actor: &'a Actor) -> Result<&'a Holder, Error> {
        let holder = &actor.proven()?.holder;
        let until_s = holder.proved_s.saturating_add(self.0.policy.recent_s);
        if self.0.policy.clock.now_s() < until_s { Ok(holder) } else { Err(Error::Unassured(Unassured::Recent)) }
    }

    /// Refuses a proof that is not recent: for acts outside this module.
    pub fn ensure_recent(&self, actor: &Actor) -> Result<(), Error> {
        self.recent(actor).map(drop)
    }

    /// Every token of the account was ended but those of this session, which goes on in `epoch`: its next token.
    pub(super) async fn go_on(&self, holder: &Holder, epoch: i64) -> Result<Pass, Error> {
        self.0.revocations.enter_epoch(holder.account, epoch).await;
        let account = self.find(holder.account).await?.ok_or(Error::Unauthenticated(Unproven::Revoked))?;
        let roles = account.roles.as_slice().into();
        self.pass(account, &Holder { epoch, roles, ..holder.clone() })
    }

    /// Opens the session that `holder` names. 401 when the account's tokens were ended since it was proved.
    pub(super) async fn open_session(&self, account: Account, holder: &Holder, from: &Origin) -> Result<Pass, Error> {
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
    pub(super) fn pass(&self, account: Account, holder: &Holder) -> Result<Pass, Error> {
        let now_s = self.0.policy.clock.now_s();
        let access = self.0.tokens.load().issue(Kind::Access, holder, now_s)?;
        let expires_in_s = access.expires_s.saturating_sub(now_s);
        Ok(Pass { session: holder.session, expires_in_s, account, access })
    }

    /// When an access token that is issued now expires, in seconds since 1970.
    pub(super) fn access_expiry_s(&self) -> f64 {
        self.0.tokens.load().expiry_s(Kind::Access, self.0.policy.clock.now_s()) as f64
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
