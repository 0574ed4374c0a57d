//! Walks deletions through the plugins, beside the serving. Everything it knows is in the database: a host that dies here is
//! followed by another.
//!
//! A plugin that is switched off, gone or failing still has its rows, so a deletion waits for it: whoever asks how far it is
//! reads which plugins are waited for, the log and the audit say so once, and it is tried again until it is done.

use std::{sync::Arc, time::Duration};

use super::start::Host;
use crate::{
    audit::event::{By, What},
    error::Error,
    id::AccountId,
    identity::deletion::Deletion,
    plugin::{privacy::Keeper, registry::Plugin, witness},
};

const POLL: Duration = Duration::from_secs(1);
/// What the audit and permits call this.
const NAME: &str = "privacy";

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

    /// Takes a deletion that waits, if there is one, and brings it to its end, or as far as the plugins let it.
    pub async fn erase_next(&self) -> Result<bool, Error> {
        let (identity, edition) = (&self.app.identity, Arc::clone(&self.app.edition()));
        let keeper = Keeper { registry: &edition.registry, roles: &self.app.roles };
        let Some(mut deletion) = identity.take_deletion().await? else { return Ok(false) };
        for plugin in keeper.plugins() {
            if !deletion.report.contains_key(plugin.id().as_str()) {
                self.erase_one(&keeper, plugin, &mut deletion).await?;
            }
        }
        let (audit, by) = (&self.app.audit, By::system(NAME));
        let waits_for = deletion.waits_for(keeper.plugins().map(|plugin| plugin.id().as_str()));
        if waits_for.is_empty() {
            if identity.finish_deletion(&deletion).await? {
                audit.record(by, What::Left { act: "done", deletion: deletion.id, detail: "".into() });
            }
        } else if identity.put_off(&deletion, &waits_for).await? {
            let detail = waits_for.join(", ");
            tracing::warn!(target: "host", deletion = %deletion.id, waits_for = detail,
                fix = "dinehub plugin list: a plugin that is switched off still has its rows", "a deletion waits");
            audit.record(by, What::Left { act: "waits", deletion: deletion.id, detail: detail.into() });
        }
        Ok(true)
    }

    /// One plugin that fails holds up none of the others.
    async fn erase_one(&self, keeper: &Keeper<'_>, plugin: &Arc<Plugin>, deletion: &mut Deletion) -> Result<(), Error> {
        let (id, account): (&str, AccountId) = (plugin.id().as_str(), deletion.account);
        match keeper.erase(plugin, account).await {
            Ok(outcome) => {
                self.app.identity.note_erasure(deletion.id, id, &outcome).await?;
                deletion.report.insert(id.to_owned(), outcome);
            }
            Err(error) => {
                tracing::warn!(target: "host", deletion = %deletion.id, plugin = id, why = %error.log(),
                    "a plugin did not forget an account");
                if let Some(what) = witness::fault(keeper.registry, &error) {
                    self.app.audit.record(By::system(NAME), what);
                }
            }
        }
        Ok(())
    }
}
