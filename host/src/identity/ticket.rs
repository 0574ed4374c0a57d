//! Tickets: what an e-mail carries and its reader brings back, once, to verify an address, set a password anew, or move to
//! another address.
//!
//! 256 random bits, of which the database keeps the hash; good for one purpose, an hour or a day. A ticket is no token: it
//! is read from a body, by the route of its purpose, and nowhere else. Asking for one answers the same, after the
//! same time, whether or not there is an account. The letter leaves later: see [`super::mail`].

use std::time::Duration;

use aws_lc_rs::{digest, rand};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use sqlx::Row as _;

use super::{
    Identity, account::Account, actor::Actor, email::Email, login::Pass, mail::Letter, session::Origin, throttle::Door,
    token::Assurance, unavailable,
};
use crate::{
    error::{Error, Unproven},
    id::AccountId,
};

const TICKET_BYTES: usize = 32;
/// Whoever asks for a letter waits so long, which is many times what the database needs with or without an account.
const ANSWER_AFTER: Duration = Duration::from_millis(50);

/// What a ticket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Verify,
    Reset,
    Email,
}

impl Purpose {
    /// As it is stored, and as the link says it.
    fn word(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Reset => "reset",
            Self::Email => "email",
        }
    }

    /// How long a ticket is good, in seconds.
    fn lifetime_s(self) -> u64 {
        match self {
            Self::Verify | Self::Email => 24 * 3600,
            Self::Reset => 3600,
        }
    }

    fn subject(self) -> &'static str {
        match self {
            Self::Verify => "Confirm your e-mail address",
            Self::Reset => "Set a new password",
            Self::Email => "Confirm your new e-mail address",
        }
    }
}

/// What is kept of a fresh ticket, and the letter that carries it.
pub(super) struct Ticket {
    pub(super) hash: Vec<u8>,
    /// Seconds since 1970.
    pub(super) until_s: f64,
    pub(super) letter: Option<Vec<u8>>,
}

fn hash(text: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, text.as_bytes()).as_ref().to_vec()
}

/// What a ticket that is unknown, used, over or for something else gets.
fn no_good() -> Error {
    Error::invalid("/token", "is not valid, or not any more")
}

impl Identity {
    fn ticket(&self, purpose: Purpose, to: &Email) -> Result<Ticket, Error> {
        let mut random = [0; TICKET_BYTES];
        rand::fill(&mut random).map_err(|_| Error::internal("no random numbers"))?;
        let text = SecretString::from(URL_SAFE_NO_PAD.encode(random));
        let until_s = (self.0.policy.clock.now_s() + purpose.lifetime_s()) as f64;
        let (word, ticket, hours) = (purpose.word(), text.expose_secret(), purpose.lifetime_s() / 3600);
        let way = match self.0.policy.link.as_str() {
            "" => format!("Your code:\n\n{ticket}"),
            // Behind `#`, which no browser sends to a server and no log sees.
            link => format!("Open this link:\n\n{link}#{word}={ticket}"),
        };
        let text_of = format!("{way}\n\nIt works once, for {hours} h. If you did not ask for it, leave it alone.\n");
        let letter = Letter { to: to.as_str().to_owned(), subject: purpose.subject().to_owned(), text: text_of.into() };
        let letter = self.0.postman.seal(&letter)?;
        Ok(Ticket { hash: hash(text.expose_secret()), until_s, letter })
    }

    /// The ticket of somebody who registers.
    pub(super) fn welcome(&self, to: &Email) -> Result<Ticket, Error> {
        self.ticket(Purpose::Verify, to)
    }

    /// A letter that needs no answer.
    pub(super) fn notice(&self, to: &str, subject: &str, text: &str) -> Result<Option<Vec<u8>>, Error> {
        let text = format!("{text}\n\nIf this was not you, set a new password, and look through your sessions.\n");
        self.0.postman.seal(&Letter { to: to.to_owned(), subject: subject.to_owned(), text: text.into() })
    }

    /// The last letter, with the report of what was erased and what stays.
    pub(super) fn farewell(&self, to: &str, report: &str) -> Result<Option<Vec<u8>>, Error> {
        let text = format!("Your account is deleted. What has to be kept names you no more.\n\n{report}");
        let subject = "Your account is deleted".to_owned();
        self.0.postman.seal(&Letter { to: to.to_owned(), subject, text: text.into() })
    }

    /// Sends a ticket to an address, if there is an account that it is of use to. Answers the same, and as late, if not.
    async fn hand_out(&self, purpose: Purpose, address: &str, from: &Origin) -> Result<(), Error> {
        let email = Email::read(address)?;
        let ticket = self.ticket(purpose, &email)?;
        self.0.throttle.charge(Door::Mail, email.folded().as_bytes(), from.source).await?;
        let account = email.folded();
        let stored = self.store(purpose, &account, None, ticket);
        futures::join!(stored, tokio::time::sleep(ANSWER_AFTER)).0
    }

    async fn store(&self, purpose: Purpose, account: &str, new: Option<&Email>, ticket: Ticket) -> Result<(), Error> {
        sqlx::query("select dinehub.hand_out($1, $2, $3, $4, to_timestamp($5), $6)")
            .bind(account)
            .bind(purpose.word())
            .bind(new.map(Email::as_str))
            .bind(ticket.hash)
            .bind(ticket.until_s)
            .bind(ticket.letter)
            .execute(&self.0.pool)
            .await
            .map_err(unavailable)?;
        Ok(())
    }

    /// Sends another letter to verify an address.
    ///
    /// # Errors
    /// 422 for what is no address; 429. Nothing tells whether there is an account.
    pub async fn ask_to_verify(&self, address: &str, from: &Origin) -> Result<(), Error> {
        self.hand_out(Purpose::Verify, address, from).await
    }

    /// Sends a letter to set the password anew; otherwise as [`Identity::ask_to_verify`].
    pub async fn ask_to_reset(&self, address: &str, from: &Origin) -> Result<(), Error> {
        self.hand_out(Purpose::Reset, address, from).await
    }

    /// An address was read by its owner. 422 for a ticket that is no good.
    pub async fn verify(&self, ticket: &SecretString) -> Result<(), Error> {
        let verified = sqlx::query_scalar("select dinehub.verify_address($1)").bind(hash(ticket.expose_secret()));
        let is_good: bool = verified.fetch_one(&self.0.pool).await.map_err(unavailable)?;
        if is_good { Ok(()) } else { Err(no_good()) }
    }

    /// Sets a password by a ticket; ends every token of the account, which it gives. The second factor stays.
    ///
    /// # Errors
    /// 422 for a ticket that is no good, or a password that will not do: then the ticket is good for another try.
    pub async fn reset_password(&self, ticket: &SecretString, password: SecretString) -> Result<AccountId, Error> {
        let token_hash = hash(ticket.expose_secret());
        let account = self.account_of(&token_hash, Purpose::Reset).await?.ok_or_else(no_good)?;
        let context = vec![account.email.clone(), account.name];
        let password_hash = self.0.passwords.choose(password, context).await?;
        let notice = self.notice(&account.email, "Your password was set anew", "Your password was set anew.")?;
        let row = sqlx::query("select account, epoch from dinehub.reset_password($1, $2, $3, to_timestamp($4))")
            .bind(token_hash)
            .bind(password_hash)
            .bind(notice)
            .bind(self.remember_until_s())
            .fetch_one(&self.0.pool)
            .await
            .map_err(unavailable)?;
        let (account, epoch): (Option<uuid::Uuid>, Option<i64>) =
            (row.try_get(0).map_err(unavailable)?, row.try_get(1).map_err(unavailable)?);
        let (Some(account), Some(epoch)) = (account, epoch) else { return Err(no_good()) };
        self.0.revocations.enter_epoch(AccountId(account), epoch).await;
        Ok(AccountId(account))
    }

    /// Another password for the account behind a request, which proves the one before. Ends every other token.
    ///
    /// # Errors
    /// 401 `wrong_credentials`; 403 `proof_is_old` for an account with a second factor; 422; 429.
    pub async fn change_password(
        &self,
        actor: &Actor,
        current: SecretString,
        password: SecretString,
        from: &Origin,
    ) -> Result<Pass, Error> {
        let holder = &actor.proven()?.holder;
        if holder.assurance == Assurance::Mfa {
            self.recent(actor)?;
        }
        let proved = self.prove_password(holder.account, current, from.source).await?;
        let account = self.find(holder.account).await?.ok_or(Error::Unauthenticated(Unproven::Revoked))?;
        let password_hash = self.0.passwords.choose(password, vec![account.email.clone(), account.name]).await?;
        let notice = self.notice(&account.email, "Your password was changed", "Your password was changed.")?;
        let epoch: Option<i64> = sqlx::query_scalar(
            "select dinehub.change_password($1, $2, $3, $4, $5, to_timestamp($6), to_timestamp($7))",
        )
        .bind(holder.account.0)
        .bind(proved.password_hash)
        .bind(password_hash)
        .bind(notice)
        .bind(holder.session.0)
        .bind(self.access_expiry_s())
        .bind(self.remember_until_s())
        .fetch_one(&self.0.pool)
        .await
        .map_err(unavailable)?;
        self.go_on(holder, epoch.ok_or(Error::Unauthenticated(Unproven::Password))?).await
    }

    /// Sends a ticket to another address; with it the account moves there. Nothing tells whether somebody has it already.
    ///
    /// # Errors
    /// 403 `proof_is_old`; 422; 429.
    pub async fn ask_to_move(&self, actor: &Actor, address: &str, from: &Origin) -> Result<(), Error> {
        let account = self.recent(actor)?.account;
        let (email, account) = (Email::read(address)?, self.find(account).await?.ok_or(Error::NotFound)?);
        self.0.throttle.charge(Door::Mail, email.folded().as_bytes(), from.source).await?;
        let ticket = self.ticket(Purpose::Email, &email)?;
        self.store(Purpose::Email, &account.email.to_ascii_lowercase(), Some(&email), ticket).await
    }

    /// Moves an account, which it gives, to the address that a ticket was sent to. 422 for one that is no good, also when somebody has the
    /// address by now.
    pub async fn move_address(&self, ticket: &SecretString) -> Result<AccountId, Error> {
        let token_hash = hash(ticket.expose_secret());
        let account = self.account_of(&token_hash, Purpose::Email).await?.ok_or_else(no_good)?;
        let notice = self.notice(
            &account.email,
            "Your e-mail address was changed",
            "Your account has another e-mail address now; this one is not asked any more.",
        )?;
        let moved: Result<Option<uuid::Uuid>, _> = sqlx::query_scalar("select dinehub.change_email($1, $2)")
            .bind(token_hash)
            .bind(notice)
            .fetch_one(&self.0.pool)
            .await;
        match moved {
            Ok(Some(account)) => Ok(AccountId(account)),
            Ok(None) => Err(no_good()),
            Err(why) if why.as_database_error().and_then(|why| why.constraint()) == Some("email_is_taken") => {
                Err(no_good())
            }
            Err(why) => Err(unavailable(why)),
        }
    }

    /// Lets nobody log in to the account behind a request any more; ends its tokens. An administrator can undo it.
    ///
    /// # Errors
    /// 403 `proof_is_old`.
    pub async fn deactivate(&self, actor: &Actor) -> Result<(), Error> {
        let account = self.recent(actor)?.account;
        self.set_active(account, false).await.map(drop)
    }

    /// Says whether somebody can log in to an account; ends its tokens. 404 when there is none.
    pub async fn set_active(&self, account: AccountId, is_active: bool) -> Result<Account, Error> {
        let epoch: Option<i64> = sqlx::query_scalar("select dinehub.set_active($1, $2, to_timestamp($3))")
            .bind(account.0)
            .bind(is_active)
            .bind(self.remember_until_s())
            .fetch_one(&self.0.pool)
            .await
            .map_err(unavailable)?;
        self.0.revocations.enter_epoch(account, epoch.ok_or(Error::NotFound)?).await;
        self.find(account).await?.ok_or(Error::NotFound)
    }

    /// Whose a ticket is, while it is good.
    async fn account_of(&self, token_hash: &[u8], purpose: Purpose) -> Result<Option<Account>, Error> {
        let account: Option<uuid::Uuid> = sqlx::query_scalar(
            "select account_id from dinehub.ticket where token_hash = $1 and purpose = $2 and expires_at > now()",
        )
        .bind(token_hash)
        .bind(purpose.word())
        .fetch_optional(&self.0.pool)
        .await
        .map_err(unavailable)?;
        match account {
            Some(account) => self.find(AccountId(account)).await,
            None => Ok(None),
        }
    }
}
