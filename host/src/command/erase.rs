//! Walks deletions through the plugins, beside the serving. Everything it knows is in the database: a host that dies here is
//! followed by another.

use std::{sync::Arc, time::Duration};

use super::start::Host;
use crate::{error::Error, plugin::privacy::Keeper};

const POLL: Duration = Duration::from_secs(1);

impl Host {
    /// Works on deletions until it is dropped.
    pub(super) async fn follow_deletions(&self) {
        loop {
            match self.erase_next().await {
                Ok(true) => {}
                Ok(false) => tokio::time::sleep(POLL).await,
                Err(why) => {
                    tracing::warn!(target: "host", why = %why.log(), "a deletion did not get further");
                    tokio::time::sleep(POLL).await;
                }
            }
        }
    }

    /// Takes a deletion that waits, if there is one, and brings it to its end.
    pub async fn erase_next(&self) -> Result<bool, Error> {
        let (identity, edition) = (&self.app.identity, Arc::clone(&self.app.edition()));
        let keeper = Keeper { registry: &edition.registry, roles: &self.app.roles };
        let Some(deletion) = identity.take_deletion().await? else { return Ok(false) };
        for plugin in keeper.plugins().filter(|plugin| !deletion.report.contains_key(plugin.id().as_str())) {
            let outcome = keeper.erase(plugin, deletion.account).await?;
            identity.note_erasure(deletion.id, plugin.id().as_str(), &outcome).await?;
        }
        identity.finish_deletion(&deletion).await?;
        tracing::info!(target: "host", deletion = %deletion.id, "an account is deleted");
        Ok(true)
    }
}
