//! What a call that did not end well is to the audit: which plugin broke, or was stopped at which bound.

use super::registry::Registry;
use crate::{
    audit::event::{Artefact, What},
    error::Error,
};

/// The event of an error that is a plugin's fault; none for any other. Whoever answers for the call records it: once, for the
/// whole tree of calls.
#[must_use]
pub fn fault(registry: &Registry, error: &Error) -> Option<What> {
    let artefact = |plugin: &str| {
        let known = registry.iter().find(|known| known.id().as_str() == plugin);
        known.map_or_else(|| Artefact::new(plugin, ""), |known| known.approved().artefact())
    };
    Some(match error {
        Error::PluginFault { plugin, log } => What::Faulted { artefact: artefact(plugin), detail: log.as_str().into() },
        Error::Stopped { plugin, limit } => What::Stopped { artefact: artefact(plugin), limit },
        Error::Timeout { plugin, .. } => What::Stopped { artefact: artefact(plugin), limit: "deadline_ms" },
        Error::Ungranted { plugin, import } => {
            What::Ungranted { artefact: artefact(plugin), import: import.as_str().into(), denial: None }
        }
        _ => return None,
    })
}
