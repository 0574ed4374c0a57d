//! Running schedules: a function of a plugin's exported interface `schedules`, called by the host as the system.
//!
//! A run is taken in the plugin's own transaction, with the time of the next: what it wrote and the mark that it ran
//! commit together, on whichever node was first, and while it runs its row is locked, so that no two runs of a schedule
//! overlap. The next time is counted from now: a schedule that was missed ten times runs once. A run that fails is not
//! tried again before its next time.

use std::{collections::HashMap, sync::Arc};

use sqlx::PgPool;
use tokio::task::{AbortHandle, JoinSet};

use super::{call, cron::Cron, dispatch::Office, registry::Plugin};
use crate::{
    capability::{grants::Mode, tree::Tree},
    database::schedule::{self, Due},
    error::{Blame, Error, Fault, Setup},
    id::RequestId,
};

/// One schedule of an installed plugin.
#[derive(Clone)]
struct Schedule {
    plugin: Arc<Plugin>,
    cron: Cron,
}

fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Makes the schedules of `plugin` known to the database; those it no longer has are forgotten.
async fn know(control: &PgPool, plugin: &Arc<Plugin>) -> Setup<HashMap<(String, String), Schedule>> {
    let manifest = &plugin.package.manifest;
    let mut known = HashMap::new();
    let fault = || Fault::at::<sqlx::Error>(format!("{}: [[schedule]]", manifest.id));
    for one in &manifest.schedules {
        let cron = Cron::parse(&one.cron).map_err(|what| Fault::new(format!("{}: [[schedule]]", manifest.id), what))?;
        let due_s = cron.next_s(now_s()).unwrap_or(i64::MAX);
        let due = Due { plugin: manifest.id.to_string(), function: one.function.clone(), due_s };
        schedule::know(control, &due, &one.cron).await.map_err(fault())?;
        known.insert((due.plugin, due.function), Schedule { plugin: Arc::clone(plugin), cron });
    }
    let functions: Vec<String> = manifest.schedules.iter().map(|one| one.function.clone()).collect();
    schedule::keep(control, manifest.id.as_str(), &functions).await.map_err(fault())?;
    Ok(known)
}

impl Office {
    /// Starts the task that runs what is due.
    pub async fn run_schedules(&self, tasks: &mut JoinSet<()>) -> Setup<()> {
        let mut known = HashMap::new();
        for plugin in self.registry.newest() {
            known.extend(know(&self.control, plugin).await?);
        }
        if known.is_empty() {
            return Ok(());
        }
        let office = self.clone();
        tasks.spawn(async move {
            let (mut runs, mut running) = (JoinSet::new(), HashMap::<(String, String), AbortHandle>::new());
            loop {
                while runs.try_join_next().is_some() {}
                let due = schedule::due(&office.control).await.unwrap_or_else(|why| {
                    tracing::warn!(target: "host", %why, "schedules cannot be asked for");
                    Vec::new()
                });
                for due in due {
                    let key = (due.plugin.clone(), due.function.clone());
                    let Some(schedule) = known.get(&key).cloned() else { continue };
                    if running.get(&key).is_some_and(|run| !run.is_finished()) {
                        continue;
                    }
                    let office = office.clone();
                    running.insert(key, runs.spawn(async move { office.run_noted(&schedule, &due).await }));
                }
                tokio::time::sleep(office.poll).await;
            }
        });
        Ok(())
    }

    async fn run_noted(&self, schedule: &Schedule, due: &Due) {
        let next_s = schedule.cron.next_s(now_s().max(due.due_s)).unwrap_or(i64::MAX);
        let Err(error) = self.run(schedule, due, next_s).await else { return };
        let why = error.log();
        tracing::warn!(target: "host", plugin = due.plugin, function = due.function, %why, "a scheduled run failed");
        self.record("schedule", &error);
        // The host's own failure is over soon: the run stays due.
        if error.blame() != Blame::Host
            && let Err(why) = schedule::skip(&self.control, due, next_s, &why).await
        {
            tracing::warn!(target: "host", plugin = due.plugin, %why, "a failure could not be written down");
        }
    }

    async fn run(&self, schedule: &Schedule, due: &Due, next_s: i64) -> Result<(), Error> {
        let plugin = &schedule.plugin;
        let export = plugin.export(&plugin.contract.schedules_interface, &due.function);
        let export = export.ok_or_else(|| Error::internal("an admitted schedule's function is gone"))?;
        let permit = self.permit("schedule", None)?;
        let _slot = self.registry.enter(plugin).await?;
        let tree = Tree::root(RequestId::fresh(), plugin.id());
        let mut grants = plugin.approved().grant(permit, Mode::ReadWrite, tree, self.registry.callee());
        let taken = grants.transaction().take_run(plugin.id().as_str(), &due.function, due.due_s, next_s).await;
        if !taken.map_err(|failure| call::unserved(plugin, failure))? {
            return Ok(());
        }
        let grants = call::ensure_done(plugin, call::invoke(plugin, &export, grants, &[]).await?)?;
        call::keep(plugin, grants).await
    }
}
