//! Accounts: register, log in, log out, and the acts that end tokens.
//!
//! Registering tells whether an address is taken (409 `email_is_taken`): a client needs to know, and until addresses are
//! verified by e-mail there is no other way to tell it. Logging in tells nothing: a wrong password and an unknown address
//! get the same answer after the same work.
//!
//! Every write is one statement, so that a request that goes away leaves no transaction open.

use std::{fmt, net::IpAddr, time::Duration};

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Serialize, Serializer};
use sqlx::FromRow;
use uuid::Uuid;

use super::{
    Identity,
    actor::Actor,
    email::Email,
    name,
    password::Verdict,
    token::{Issued, Kind, LEEWAY_S, LIFETIME_S_MAX},
    unavailable,
};
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

/// A login that went well.
#[derive(Debug)]
pub struct Session {
    pub account: Account,
    pub access: Issued,
    /// Seconds from now until the token expires.
    pub expires_in_s: u64,
}

#[derive(FromRow)]
struct Row {
    id: Uuid,
    email: String,
    name: String,
    roles: Vec<String>,
    created_us: i64,
}

/// What a login needs besides.
#[derive(FromRow)]
struct Credential {
    #[sqlx(flatten)]
    row: Row,
    password_hash: String,
    token_epoch: i64,
}

macro_rules! columns {
    () => {
        "id, email, name, roles, (extract(epoch from created_at) * 1000000)::int8 as created_us"
    };
}

impl Identity {
    /// Makes an account with the roles of a newcomer.
    ///
    /// # Errors
    /// 422 for an address, name or password that will not do; 409 `email_is_taken`.
    pub async fn register(&self, new: NewAccount) -> Result<Account, Error> {
        self.create(new, &self.0.policy.newcomer).await
    }

    /// Makes an account with given roles: for operators. Whether a role exists is for access to say.
    pub async fn create(&self, new: NewAccount, roles: &[Role]) -> Result<Account, Error> {
        let email = Email::read(&new.email)?;
        name::ensure_name(&new.name)?;
        let context = vec![new.email, new.name.clone()];
        let password_hash = self.0.passwords.choose(new.password, context).await?;
        let row: Row = sqlx::query_as(concat!(
            "insert into dinehub.account (id, email, name, password_hash, roles) values ($1, $2, $3, $4, $5) returning ",
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

    /// Proves a password and gives a token. `source` is the client's address, by the configured proxy's word.
    ///
    /// # Errors
    /// 401 `wrong_credentials`, whether the address is known or not; 429; 503 when no core was free to hash on.
    pub async fn login(&self, email: &str, password: SecretString, source: IpAddr) -> Result<Session, Error> {
        let email = Email::read(email).map_err(|_| Error::Unauthenticated(Unproven::Password))?;
        let attempt = self.0.throttle.charge(&email, source).await?;
        let found: Option<Credential> = sqlx::query_as(concat!(
            "select ",
            columns!(),
            ", password_hash, token_epoch from dinehub.account where lower(email) = $1"
        ))
        .bind(email.folded())
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
        let account = Account::try_from(found.row)?;
        let now_s = self.0.policy.clock.now_s();
        let access = self.0.tokens.load().issue(Kind::Access, account.id, found.token_epoch, &account.roles, now_s)?;
        Ok(Session { expires_in_s: access.expires_s.saturating_sub(now_s), account, access })
    }

    /// The account behind a request.
    pub async fn me(&self, actor: &Actor) -> Result<Account, Error> {
        let account = actor.proven()?.account;
        self.find(account).await?.ok_or(Error::Unauthenticated(Unproven::Revoked))
    }

    /// Ends the token of this request, here before this returns and everywhere else within a second.
    pub async fn logout(&self, actor: &Actor) -> Result<(), Error> {
        self.0.revocations.end_token(actor.proven()?).await.map_err(unavailable)
    }

    /// Ends every token of the account behind this request.
    pub async fn logout_all(&self, actor: &Actor) -> Result<(), Error> {
        self.raise_epoch(actor.proven()?.account, None).await
    }

    /// Gives an account other roles and ends its tokens, which still name the old ones. Whether a role exists is for
    /// access to say. 404 when there is no such account.
    pub async fn set_roles(&self, account: AccountId, roles: &[Role]) -> Result<Account, Error> {
        self.raise_epoch(account, Some(roles)).await?;
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

    /// Remembered until the last token it ends would have expired by itself, whichever node's clock made it.
    async fn raise_epoch(&self, account: AccountId, roles: Option<&[Role]>) -> Result<(), Error> {
        let keep = Duration::from_secs(LIFETIME_S_MAX + LEEWAY_S);
        let epoch: Option<i64> =
            sqlx::query_scalar("select dinehub.raise_epoch($1, $2, now() + make_interval(secs => $3))")
                .bind(account.0)
                .bind(roles.map(names))
                .bind(keep.as_secs_f64())
                .fetch_one(&self.0.pool)
                .await
                .map_err(unavailable)?;
        self.0.revocations.enter_epoch(account, epoch.ok_or(Error::NotFound)?).await;
        Ok(())
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
