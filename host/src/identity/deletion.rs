//! Leaving: an account is switched off at once, and deleted when every plugin has forgotten it.
//!
//! The request only writes down what is wanted; whichever node is free does it ([`crate::command`] walks through the
//! plugins), noting each plugin that is done. A node that dies is followed by another a minute later, which goes on from
//! there: a plugin may be asked twice, and forgetting twice is forgetting.

use jiff::Timestamp;
use serde::Serialize;
use sqlx::Row as _;
use uuid::Uuid;

use super::{Identity, account::Account, actor::Actor, unavailable};
use crate::{
    error::{Error, Unproven},
    id::AccountId,
};

/// A deletion that this node works on, for a minute.
#[derive(Clone, Debug)]
pub struct Deletion {
    pub id: Uuid,
    pub account: AccountId,
    /// By plugin, what it answered: those that are done.
    pub report: serde_json::Map<String, serde_json::Value>,
}

/// How far a deletion is, for whoever knows its id. It names nobody.
#[derive(Clone, Debug, Serialize)]
pub struct Progress {
    pub id: Uuid,
    pub requested_at: String,
    pub finished_at: Option<String>,
    pub report: serde_json::Value,
}

impl Identity {
    /// Switches the account behind a request off and has it deleted; ends its tokens. The id of the deletion.
    ///
    /// # Errors
    /// 403 `proof_is_old`.
    pub async fn begin_deletion(&self, actor: &Actor) -> Result<Uuid, Error> {
        let account = self.recent(actor)?.account;
        let row = sqlx::query("select id, epoch from dinehub.begin_deletion($1, to_timestamp($2))")
            .bind(account.0)
            .bind(self.remember_until_s())
            .fetch_one(&self.0.pool)
            .await
            .map_err(unavailable)?;
        let (id, epoch): (Option<Uuid>, Option<i64>) =
            (row.try_get(0).map_err(unavailable)?, row.try_get(1).map_err(unavailable)?);
        let (Some(id), Some(epoch)) = (id, epoch) else { return Err(Error::Unauthenticated(Unproven::Revoked)) };
        self.0.revocations.enter_epoch(account, epoch).await;
        Ok(id)
    }

    /// A deletion that waits, if there is one.
    pub async fn take_deletion(&self) -> Result<Option<Deletion>, Error> {
        let row: Option<(Uuid, Uuid, String)> =
            sqlx::query_as("select id, account_id, report from dinehub.take_deletion()")
                .fetch_optional(&self.0.pool)
                .await
                .map_err(unavailable)?;
        let Some((id, account, report)) = row else { return Ok(None) };
        let report = serde_json::from_str(&report).map_err(Error::internal)?;
        Ok(Some(Deletion { id, account: AccountId(account), report }))
    }

    /// A plugin has forgotten the account.
    pub async fn note_erasure(&self, deletion: Uuid, plugin: &str, outcome: &serde_json::Value) -> Result<(), Error> {
        sqlx::query("select dinehub.note_erasure($1, $2, $3)")
            .bind(deletion)
            .bind(plugin)
            .bind(outcome.to_string())
            .execute(&self.0.pool)
            .await
            .map(drop)
            .map_err(unavailable)
    }

    /// Every plugin has: the account goes, and its owner gets a last letter.
    pub async fn finish_deletion(&self, deletion: &Deletion) -> Result<(), Error> {
        let account: Option<Account> = self.find(deletion.account).await?;
        let notice = match &account {
            Some(account) => self.farewell(&account.email)?,
            None => None,
        };
        sqlx::query("select dinehub.finish_deletion($1, $2)")
            .bind(deletion.id)
            .bind(notice)
            .execute(&self.0.pool)
            .await
            .map(drop)
            .map_err(unavailable)
    }

    /// How far a deletion is. 404 when there is none with this id, which nobody can guess.
    pub async fn deletion(&self, id: Uuid) -> Result<Progress, Error> {
        let row: Option<(i64, Option<i64>, String)> = sqlx::query_as(
            "select extract(epoch from requested_at)::int8, extract(epoch from finished_at)::int8, report::text
             from dinehub.deletion where id = $1",
        )
        .bind(id)
        .fetch_optional(&self.0.pool)
        .await
        .map_err(unavailable)?;
        let (requested_s, finished_s, report) = row.ok_or(Error::NotFound)?;
        let at = |seconds| Timestamp::from_second(seconds).map(|at| at.to_string()).map_err(Error::internal);
        let report = serde_json::from_str(&report).map_err(Error::internal)?;
        Ok(Progress { id, requested_at: at(requested_s)?, finished_at: finished_s.map(at).transpose()?, report })
    }
}
