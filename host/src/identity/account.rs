//! Accounts: opened, found, given roles.
//!
//! Registering an address that is taken looks exactly like registering a new one, and costs the same; its owner gets a
//! letter. Where addresses are verified (`identity.verify_email`) nobody can tell afterwards either: both cannot log in yet.
//! Where they are not, an account works at once, and whoever registers and then cannot log in has learnt something: that is
//! the price of the convenience, and an operator's choice.
//!
//! Every write is one statement, so that a request that goes away leaves no transaction open.

use std::fmt;

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Serialize, Serializer};
use sqlx::FromRow;
use uuid::Uuid;

use super::{Identity, actor::Actor, email::Email, name, session::Origin, throttle::Door, unavailable};
use crate::{
    error::{Error, Unproven},
    id::{AccountId, Role},
};

/// Rows of one page of [`Identity::list`].
pub const PAGE_MAX: u32 = 100;

/// What somebody registers with.
#[derive(Clone, Debug)]
pub struct NewAccount {
    pub email: String,
    pub name: String,
    pub password: SecretString,
}

/// An account, without anything that is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    pub id: AccountId,
    pub email: String,
    pub name: String,
    pub roles: Vec<Role>,
    #[serde(serialize_with = "microseconds")]
    pub created_at: Timestamp,
}

#[derive(FromRow)]
pub(super) struct Row {
    pub(super) id: Uuid,
    email: String,
    name: String,
    roles: Vec<String>,
    created_us: i64,
}

/// The columns of a [`Row`].
macro_rules! columns {
    () => {
        "id, email, name, roles, (extract(epoch from created_at) * 1000000)::int8 as created_us"
    };
}
pub(super) use columns;

impl Identity {
    /// Makes an account with the roles of a newcomer. The answer to an address that is taken looks the same; its owner is
    /// told by letter.
    ///
    /// # Errors
    /// 422 for an address, name or password that will not do; 429.
    pub async fn register(&self, new: NewAccount, from: impl Into<Origin>) -> Result<Account, Error> {
        let email = Email::read(&new.email)?;
        name::ensure_name(&new.name)?;
        self.0.throttle.charge(Door::Mail, email.folded().as_bytes(), from.into().source).await?;
        let password_hash = self.0.passwords.choose(new.password, vec![new.email, new.name.clone()]).await?;
        let ticket = self.welcome(&email)?;
        let warning = self.notice(
            email.as_str(),
            "Somebody tried to open an account with your address",
            "You have an account with this address already; nothing was changed. Log in, or set a new password.",
        )?;
        let (id, roles) = (AccountId::fresh(), self.0.policy.newcomer.clone());
        sqlx::query("select dinehub.register($1, $2, $3, $4, $5, $6, to_timestamp($7), $8, $9)")
            .bind(id.0)
            .bind(email.as_str())
            .bind(&new.name)
            .bind(password_hash)
            .bind(names(&roles))
            .bind(ticket.hash)
            .bind(ticket.until_s)
            .bind(ticket.letter)
            .bind(warning)
            .execute(&self.0.pool)
            .await
            .map_err(unavailable)?;
        let created_at = Timestamp::from_second(i64::try_from(self.0.policy.clock.now_s()).map_err(Error::internal)?);
        let created_at = created_at.map_err(Error::internal)?;
        Ok(Account { id, email: email.as_str().to_owned(), name: new.name, roles, created_at })
    }

    /// Makes an account with given roles, whose address nobody needs to verify: for operators. Whether a role exists is for
    /// access to say.
    ///
    /// # Errors
    /// 422; 409 `email_is_taken`.
    pub async fn create(&self, new: NewAccount, roles: &[Role]) -> Result<Account, Error> {
        let email = Email::read(&new.email)?;
        name::ensure_name(&new.name)?;
        let context = vec![new.email, new.name.clone()];
        let password_hash = self.0.passwords.choose(new.password, context).await?;
        let row: Row = sqlx::query_as(concat!(
            "insert into dinehub.account (id, email, name, password_hash, roles, verified_at)
             values ($1, $2, $3, $4, $5, now()) returning ",
            columns!()
        ))
        .bind(AccountId::fresh().0)
        .bind(email.as_str())
        .bind(&new.name)
        .bind(password_hash)
        .bind(names(roles))
        .fetch_one(&self.0.pool)
        .await
        .map_err(on_constraint)?;
        row.try_into()
    }

    /// The account behind a request.
    pub async fn me(&self, actor: &Actor) -> Result<Account, Error> {
        let account = actor.proven()?.holder.account;
        self.find(account).await?.ok_or(Error::Unauthenticated(Unproven::Revoked))
    }

    /// Gives an account other roles and ends its tokens, which still name the old ones. Whether a role exists is for
    /// access to say. 404 when there is no such account.
    pub async fn set_roles(&self, account: AccountId, roles: &[Role]) -> Result<Account, Error> {
        let epoch: Option<i64> = sqlx::query_scalar("select dinehub.set_roles($1, $2, to_timestamp($3))")
            .bind(account.0)
            .bind(names(roles))
            .bind(self.remember_until_s())
            .fetch_one(&self.0.pool)
            .await
            .map_err(unavailable)?;
        self.0.revocations.enter_epoch(account, epoch.ok_or(Error::NotFound)?).await;
        self.find(account).await?.ok_or(Error::NotFound)
    }

    /// By id.
    pub async fn find(&self, account: AccountId) -> Result<Option<Account>, Error> {
        let row: Option<Row> = sqlx::query_as(concat!("select ", columns!(), " from dinehub.account where id = $1"))
            .bind(account.0)
            .fetch_optional(&self.0.pool)
            .await
            .map_err(unavailable)?;
        row.map(Account::try_from).transpose()
    }

    /// By address, without case.
    pub async fn find_by_email(&self, email: &str) -> Result<Option<Account>, Error> {
        let row: Option<Row> =
            sqlx::query_as(concat!("select ", columns!(), " from dinehub.account where lower(email) = $1"))
                .bind(email.to_ascii_lowercase())
                .fetch_optional(&self.0.pool)
                .await
                .map_err(unavailable)?;
        row.map(Account::try_from).transpose()
    }

    /// In the order they were made, after `after`, at most `limit` and at most [`PAGE_MAX`].
    pub async fn list(&self, after: Option<AccountId>, limit: u32) -> Result<Vec<Account>, Error> {
        let rows: Vec<Row> = sqlx::query_as(concat!(
            "select ",
            columns!(),
            " from dinehub.account where $1::uuid is null or id > $1 order by id limit $2"
        ))
        .bind(after.map(|account| account.0))
        .bind(i64::from(limit.min(PAGE_MAX)))
        .fetch_all(&self.0.pool)
        .await
        .map_err(unavailable)?;
        rows.into_iter().map(Account::try_from).collect()
    }
}

impl TryFrom<Row> for Account {
    type Error = Error;
    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self {
            id: AccountId(row.id),
            email: row.email,
            name: row.name,
            roles: row.roles.into_iter().map(Role::try_from).collect::<Result<_, _>>().map_err(Error::internal)?,
            created_at: Timestamp::from_microsecond(row.created_us).map_err(Error::internal)?,
        })
    }
}

fn names(roles: &[Role]) -> Vec<String> {
    roles.iter().map(|role| role.as_str().to_owned()).collect()
}

/// The database's word on a new account.
fn on_constraint(error: sqlx::Error) -> Error {
    match error.as_database_error().and_then(|database| database.constraint()) {
        Some("email_is_taken") => Error::Conflict {
            code: "email_is_taken".to_owned(),
            detail: "There is an account with this e-mail address.".to_owned(),
        },
        _ => unavailable(error),
    }
}

fn microseconds<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{at:.6}"))
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, names(&self.roles).join(","))
    }
}
