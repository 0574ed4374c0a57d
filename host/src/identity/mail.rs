//! Letters: queued in the database in the statement that needs them, sent by whichever node is free.
//!
//! A request never waits for a mail server, so how long it takes does not tell whether there was anybody to write to. A
//! letter lies sealed while it waits: a ticket is in it. It is sent at least once; one that nobody took within a day is
//! thrown away, and its ticket with it.

use std::{borrow::Cow, convert::Infallible, fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sqlx::{PgPool, postgres::PgListener};
use tokio::{task::JoinHandle, time};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    error::{Error, Setup, chain},
    secret::{ring::Ring, seal::Sealer},
};

const CHANNEL: &str = "dinehub_letter";
const POLL: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_secs(1);
/// Letters that one node takes at a time.
const BATCH: i32 = 8;
const CONTEXT: &[u8] = b"letter";

/// What is sent to one person. Its text prints as dots.
#[derive(Clone, Debug)]
pub struct Letter {
    pub to: String,
    pub subject: String,
    pub text: SecretString,
}

/// Whoever brings letters on their way.
pub trait Post: fmt::Debug + Send + Sync {
    /// Gives a letter to the next in line; an error is tried again later.
    fn send<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<(), Error>>;
}

/// As it is sealed.
#[derive(Serialize, Deserialize)]
struct Plain<'a> {
    to: Cow<'a, str>,
    subject: Cow<'a, str>,
    text: Cow<'a, str>,
}

/// Seals letters, and sends what waits until this is dropped. Without a [`Post`] no letter is written at all.
pub(super) struct Postman {
    sealer: Arc<Sealer>,
    worker: Option<JoinHandle<()>>,
}

impl Drop for Postman {
    fn drop(&mut self) {
        if let Some(worker) = &self.worker {
            worker.abort();
        }
    }
}

impl Postman {
    pub(super) fn follow(pool: PgPool, ring: &Ring, post: Option<Arc<dyn Post>>) -> Setup<Self> {
        let sealer = Arc::new(Sealer::new(ring, "letter")?);
        let worker = post.map(|post| tokio::spawn(follow(Route { pool, sealer: sealer.clone(), post })));
        Ok(Self { sealer, worker })
    }

    /// Whether letters are sent.
    pub(super) fn is_there(&self) -> bool {
        self.worker.is_some()
    }

    /// A letter for the database; nothing when none is sent.
    pub(super) fn seal(&self, letter: &Letter) -> Result<Option<Vec<u8>>, Error> {
        if !self.is_there() {
            return Ok(None);
        }
        let (to, subject) = (letter.to.as_str().into(), letter.subject.as_str().into());
        let plain = Plain { to, subject, text: letter.text.expose_secret().into() };
        let plain = Zeroizing::new(serde_json::to_vec(&plain).map_err(Error::internal)?);
        self.sealer.seal(CONTEXT, &plain).map(Some)
    }
}

/// From the table to the post.
struct Route {
    pool: PgPool,
    sealer: Arc<Sealer>,
    post: Arc<dyn Post>,
}

async fn follow(route: Route) {
    while !route.pool.is_closed() {
        let Err(why) = route.run().await;
        tracing::warn!(why = chain(&why), "letters cannot be followed");
        time::sleep(RETRY).await;
    }
}

impl Route {
    async fn run(&self) -> Result<Infallible, sqlx::Error> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen(CHANNEL).await?;
        loop {
            while self.send_batch().await? > 0 {}
            // A lost notification costs a poll.
            if let Ok(note) = time::timeout(POLL, listener.try_recv()).await {
                note?;
            }
        }
    }

    /// How many were taken.
    async fn send_batch(&self) -> Result<usize, sqlx::Error> {
        sqlx::query("delete from dinehub.letter where created_at < now() - interval '1 day'")
            .execute(&self.pool)
            .await?;
        let taken: Vec<(Uuid, Vec<u8>)> =
            sqlx::query_as("select id, sealed from dinehub.take_letters($1)").bind(BATCH).fetch_all(&self.pool).await?;
        for (id, sealed) in &taken {
            match self.send(sealed).await {
                Ok(()) => {
                    sqlx::query("delete from dinehub.letter where id = $1").bind(id).execute(&self.pool).await?;
                }
                Err(why) => tracing::warn!(letter = %id, why = %why.log(), "a letter was not sent"),
            }
        }
        Ok(taken.len())
    }

    async fn send(&self, sealed: &[u8]) -> Result<(), Error> {
        let plain =
            self.sealer.open(CONTEXT, sealed).ok_or_else(|| Error::internal("sealed by a ring that is gone"))?;
        let Plain { to, subject, text } = serde_json::from_slice(&plain).map_err(Error::internal)?;
        let letter = Letter { to: to.into_owned(), subject: subject.into_owned(), text: text.into_owned().into() };
        self.post.send(&letter).await
    }
}
