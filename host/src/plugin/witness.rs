//! What a call that did not end well is to the audit: which plugin broke, or was stopped at which bound.

use super::registry::Registry;
use crate::{
    audit::event::{Artefact, What},
    error::Error,
};

/// How the log of a call begins that a plugin ended with a problem of its own.
pub const REFUSED: &str = "refused";

/// The event of an error that is a plugin's fault; none for any other. Whoever answers for the call records it: once, for the
/// whole tree of calls.
#[must_use]
pub fn fault(registry: &Registry, error: &Error) -> Option<What> {
    let artefact = |plugin: &str| {
        let known = registry.iter().find(|known| known.id().as_str() == plugin);
        known.map_or_else(|| Artefact::new(plugin, ""), |known| known.approved().artefact())
    };
    Some(match error {
        Error::PluginFault { plugin, log } => {
            // What a plugin said itself may be about anybody.
            let detail = if log.starts_with(REFUSED) { REFUSED } else { log.as_str() };
            What::Faulted { artefact: artefact(plugin), detail: detail.into() }
        }
        Error::Stopped { plugin, limit } => What::Stopped { artefact: artefact(plugin), limit },
        Error::Timeout { plugin, .. } => What::Stopped { artefact: artefact(plugin), limit: "deadline_ms" },
        Error::Ungranted { plugin, import } => {
            What::Ungranted { artefact: artefact(plugin), import: import.as_str().into(), denial: None }
        }
        _ => return None,
    })
}
