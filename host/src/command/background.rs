//! What a node does that nobody waits for: delivering events, running plugins' schedules, and the host's own chores.
//! Everything ends when the value is dropped; what was under way is rolled back, and done again by whoever is next.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::task::JoinSet;

use super::{certificate, start::Host};
use crate::{
    database::{event, identity},
    plugin::dispatch::Office,
};

/// How often it is written down which grants were used.
const RECORD_EVERY: Duration = Duration::from_secs(10);
/// How long what is published is gathered before the nodes are told again.
const TELL_EVERY: Duration = Duration::from_millis(10);
/// How often what is old is forgotten.
const PRUNE_EVERY: Duration = Duration::from_secs(600);

/// The tasks of one node.
#[derive(Debug)]
pub struct Background {
    _tasks: JoinSet<()>,
}

impl Background {
    /// Starts them. A node whose schedules cannot be read says so and serves all the same.
    pub async fn start(host: &Host) -> Self {
        let mut tasks = JoinSet::new();
        every(&mut tasks, RECORD_EVERY, host, |host| Box::pin(host.record_use()));
        every(&mut tasks, PRUNE_EVERY, host, |host| Box::pin(host.prune()));
        tasks.spawn(tell(host.clone()));
        if let Some((keeper, _)) = &host.app.edge.tls {
            tasks.spawn(certificate::keep(keeper.clone(), host.tls.clone()));
        }
        if host.background.enabled {
            let eraser = host.clone();
            tasks.spawn(async move { eraser.follow_deletions().await });
            let first = work(host).await;
            tasks.spawn(follow(host.clone(), first));
        }
        Self { _tasks: tasks }
    }
}

/// Delivers and runs schedules with what is served now.
async fn work(host: &Host) -> JoinSet<()> {
    let (office, mut tasks) = (host.office(), JoinSet::new());
    office.deliver(&mut tasks);
    if let Err(fault) = office.run_schedules(&mut tasks).await {
        tracing::error!(target: "host", %fault, "no schedule runs on this node");
    }
    tasks
}

/// Begins anew with each edition: what was under way on the one before is rolled back, and done again.
async fn follow(host: Host, mut tasks: JoinSet<()>) {
    loop {
        host.renewed.notified().await;
        tasks.shutdown().await;
        tasks = work(&host).await;
    }
}

/// Passes on, to every node, that something was published here; once for all of a moment.
async fn tell(host: Host) {
    loop {
        host.pool.published().notified().await;
        if let Err(why) = event::tell(&host.control).await {
            tracing::debug!(target: "host", %why, "nobody was told of an event; it is still asked for");
        }
        tokio::time::sleep(TELL_EVERY).await;
    }
}

/// Does a chore again and again; the first time after one `period`.
fn every(tasks: &mut JoinSet<()>, period: Duration, host: &Host, chore: for<'h> fn(&'h Host) -> BoxFuture<'h, ()>) {
    let host = host.clone();
    tasks.spawn(async move {
        loop {
            tokio::time::sleep(period).await;
            chore(&host).await;
        }
    });
}

impl Host {
    /// What the host's own calls of plugins are made with.
    #[must_use]
    pub fn office(&self) -> Office {
        let config = &self.background;
        let patience = event::Patience {
            attempts_max: config.attempts_max.into(),
            backoff: Duration::from_millis(config.backoff_ms),
            backoff_max: Duration::from_millis(config.backoff_max_ms),
        };
        Office {
            registry: Arc::clone(&self.app.edition().registry),
            roles: Arc::clone(&self.app.roles),
            control: self.control.clone(),
            audit: self.app.audit.clone(),
            patience,
            poll: Duration::from_millis(config.poll_ms.max(1)),
        }
    }

    /// Delivers events and runs schedules from now on, whatever the configuration said.
    pub fn enable_background(&mut self) {
        self.background.enabled = true;
    }

    /// Forgets kept answers of the day before, rows of sessions that are gone, and events that everybody has.
    pub async fn prune(&self) {
        let answers =
            sqlx::query_scalar::<_, i64>("select platform.idempotency_prune()").fetch_one(&self.control).await;
        let done = [
            ("kept answers", answers.map(i64::unsigned_abs)),
            ("sessions", identity::sweep(&self.control).await),
            ("events", event::prune(&self.control).await),
        ];
        for (what, outcome) in done {
            match outcome {
                Ok(0) => {}
                Ok(count) => tracing::debug!(target: "host", what, count, "forgotten"),
                Err(why) => tracing::warn!(target: "host", what, %why, "could not be forgotten"),
            }
        }
    }
}
