//! Leaving: an account is switched off at once, and deleted when every plugin has forgotten it.
//!
//! The request only writes down what is wanted; whichever node is free does it ([`crate::command`] walks through the
//! plugins), noting each plugin that is done. A node that dies is followed by another a minute later, which goes on from
//! there: a plugin may be asked twice, and forgetting twice is forgetting. It begins a while after the request: by then no
//! node believes a token of the account and nothing of it is in flight, so nothing is written after it was erased.
//!
//! Which plugins must have forgotten is the database's word, not this node's: one that is switched off or gone has rows too.

use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::Row as _;
use uuid::Uuid;

use super::{Identity, account::Account, actor::Actor, unavailable};
use crate::{
    error::{Error, Unproven},
    id::AccountId,
};

/// No request is in flight for longer than this after its token ended: a call has 30 s at most.
const IN_FLIGHT_MAX: Duration = Duration::from_secs(35);
/// When a plugin did not come to it, it is asked again.
const RETRY_S: i32 = 10;
/// Of the last letter, in characters; the rest is where it says.
const LETTER_CHARS_MAX: usize = 4_000;

/// A deletion that this node works on, for a minute.
#[derive(Clone, Debug)]
pub struct Deletion {
    pub id: Uuid,
    pub account: AccountId,
    /// By plugin, what it answered: those that are done.
    pub report: serde_json::Map<String, Value>,
    /// Plugins that keep something about people, by the database's word.
    pub keepers: Vec<String>,
}

impl Deletion {
    /// Those that did not answer yet: of the database's, and of those that are `served`.
    pub fn waits_for<'a>(&'a self, served: impl Iterator<Item = &'a str>) -> Vec<String> {
        let all: BTreeSet<&str> = self.keepers.iter().map(String::as_str).chain(served).collect();
        all.into_iter().filter(|id| !self.report.contains_key(*id)).map(str::to_owned).collect()
    }
}

/// How far a deletion is, for whoever knows its id. It names nobody.
#[derive(Clone, Debug, Serialize)]
pub struct Progress {
    pub id: Uuid,
    pub requested_at: String,
    pub finished_at: Option<String>,
    /// Plugins that did not come to it when it was last tried.
    pub waits_for: Vec<String>,
    /// By plugin, what was erased and what stays.
    pub report: Value,
    /// What stays of the host's own, and why.
    pub kept: Value,
}

impl Identity {
    /// Switches the account behind a request off and has it deleted; ends its tokens. The id of the deletion.
    ///
    /// # Errors
    /// 403 `proof_is_old`.
    pub async fn begin_deletion(&self, actor: &Actor) -> Result<Uuid, Error> {
        let account = self.recent(actor)?.account;
        let row = sqlx::query("select id, epoch from dinehub.begin_deletion($1, to_timestamp($2), $3)")
            .bind(account.0)
            .bind(self.remember_until_s())
            .bind(i32::try_from((self.0.policy.stale_after + IN_FLIGHT_MAX).as_secs()).map_err(Error::internal)?)
            .fetch_one(&self.0.pool)
            .await
            .map_err(unavailable)?;
        let (id, epoch): (Option<Uuid>, Option<i64>) =
            (row.try_get(0).map_err(unavailable)?, row.try_get(1).map_err(unavailable)?);
        let (Some(id), Some(epoch)) = (id, epoch) else { return Err(Error::Unauthenticated(Unproven::Revoked)) };
        self.0.revocations.enter_epoch(account, epoch).await;
        Ok(id)
    }

    /// Plugins that keep something about people, by the database's word: also those that are switched off.
    pub async fn keepers(&self) -> Result<Vec<String>, Error> {
        sqlx::query_scalar("select plugin from dinehub.admission where forgets order by plugin")
            .fetch_all(&self.0.pool)
            .await
            .map_err(unavailable)
    }

    /// A deletion that waits, if there is one.
    pub async fn take_deletion(&self) -> Result<Option<Deletion>, Error> {
        let row: Option<(Uuid, Uuid, String, Vec<String>)> =
            sqlx::query_as("select deletion, account, done, keepers from dinehub.take_deletion()")
                .fetch_optional(&self.0.pool)
                .await
                .map_err(unavailable)?;
        let Some((id, account, report, keepers)) = row else { return Ok(None) };
        let report = serde_json::from_str(&report).map_err(Error::internal)?;
        Ok(Some(Deletion { id, account: AccountId(account), report, keepers }))
    }

    /// A plugin has forgotten the account.
    pub async fn note_erasure(&self, deletion: Uuid, plugin: &str, outcome: &Value) -> Result<(), Error> {
        sqlx::query("select dinehub.note_erasure($1, $2, $3)")
            .bind(deletion)
            .bind(plugin)
            .bind(outcome.to_string())
            .execute(&self.0.pool)
            .await
            .map(drop)
            .map_err(unavailable)
    }

    /// These plugins did not come to it: it is tried again. Whether that is news.
    pub async fn put_off(&self, deletion: &Deletion, waits_for: &[String]) -> Result<bool, Error> {
        sqlx::query_scalar("select dinehub.put_deletion_off($1, $2, $3)")
            .bind(deletion.id)
            .bind(waits_for)
            .bind(RETRY_S)
            .fetch_one(&self.0.pool)
            .await
            .map_err(unavailable)
    }

    /// Every plugin has: the account goes, and its owner gets a last letter. False when another node was faster.
    pub async fn finish_deletion(&self, deletion: &Deletion) -> Result<bool, Error> {
        let account: Option<Account> = self.find(deletion.account).await?;
        let notice = match &account {
            Some(account) => self.farewell(&account.email, &told(deletion))?,
            None => None,
        };
        sqlx::query_scalar("select dinehub.finish_deletion($1, $2)")
            .bind(deletion.id)
            .bind(notice)
            .fetch_one(&self.0.pool)
            .await
            .map_err(unavailable)
    }

    /// How far a deletion is. 404 when there is none with this id, which nobody can guess.
    pub async fn deletion(&self, id: Uuid) -> Result<Progress, Error> {
        let row: Option<(i64, Option<i64>, String, Vec<String>)> = sqlx::query_as(
            "select extract(epoch from requested_at)::int8, extract(epoch from finished_at)::int8, report::text, waits_for
             from dinehub.deletion where id = $1",
        )
        .bind(id)
        .fetch_optional(&self.0.pool)
        .await
        .map_err(unavailable)?;
        let (requested_s, finished_s, report, waits_for) = row.ok_or(Error::NotFound)?;
        let at = |seconds| Timestamp::from_second(seconds).map(|at| at.to_string()).map_err(Error::internal);
        let report = serde_json::from_str(&report).map_err(Error::internal)?;
        let (requested_at, finished_at) = (at(requested_s)?, finished_s.map(at).transpose()?);
        Ok(Progress { id, requested_at, finished_at, waits_for, report, kept: kept() })
    }
}

/// What the host keeps of somebody who left.
fn kept() -> Value {
    json!([
        {"kind": "audit_event", "reason": "Who did what is kept as evidence, under an id that names nobody any more."},
        {"kind": "repeated_request", "reason": "Answers to requests with an Idempotency-Key are forgotten after a day."}
    ])
}

/// The report as a letter has it.
fn told(deletion: &Deletion) -> String {
    let mut text = String::new();
    for (plugin, outcome) in &deletion.report {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{plugin}: erased {}", outcome.get("erased").unwrap_or(&Value::Null));
        for kept in outcome.get("kept").and_then(Value::as_array).into_iter().flatten() {
            let of = |name: &str| kept.get(name).and_then(Value::as_str).unwrap_or_default();
            let count = kept.get("count").unwrap_or(&Value::Null);
            let _ = writeln!(text, "  kept {count} {}: {}", of("kind"), of("reason"));
        }
    }
    for kept in kept().as_array().into_iter().flatten() {
        let of = |name: &str| kept.get(name).and_then(Value::as_str).unwrap_or_default();
        let _ = writeln!(text, "kept {}: {}", of("kind"), of("reason"));
    }
    text.chars().take(LETTER_CHARS_MAX).collect()
}
