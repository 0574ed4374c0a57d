//! What a call that did not end well is to the audit and to the plugin's budget: which plugin broke, or was stopped at which
//! bound.

use super::registry::Registry;
use crate::{
    audit::event::{Artefact, What},
    capability::{budget::Budget, limit::Bound},
    error::Error,
};

/// How the log of a call begins that a plugin ended with a problem of its own.
pub const REFUSED: &str = "refused";
/// What stands in it before the last thing a plugin warned of, for operators.
pub const SAID: &str = "; it had said: ";

/// Counts an error that is a plugin's fault and gives its event; none for any other. Whoever answers for the call asks: once,
/// for the whole tree of calls.
#[must_use]
pub fn fault(registry: &Registry, error: &Error) -> Option<What> {
    let of = |plugin: &str, count: &dyn Fn(&Budget)| {
        let known = registry.iter().find(|known| known.id().as_str() == plugin).map(|known| known.approved());
        if let Some(known) = known {
            count(known.budget());
        }
        known.map_or_else(|| Artefact::new(plugin, ""), |known| known.artefact())
    };
    Some(match error {
        Error::PluginFault { plugin, log } => {
            // What a plugin said itself may be about anybody.
            let detail = if log.starts_with(REFUSED) { REFUSED } else { log.as_str() };
            let detail = detail.split_once(SAID).map_or(detail, |(detail, _)| detail);
            What::Faulted { artefact: of(plugin, &Budget::fault), detail: detail.into() }
        }
        Error::Stopped { plugin, limit } => What::Stopped { artefact: of(plugin, &|budget| budget.stop(limit)), limit },
        Error::Timeout { plugin, .. } => {
            let limit = Bound::Deadline.name();
            What::Stopped { artefact: of(plugin, &|budget| budget.stop(limit)), limit }
        }
        Error::Ungranted { plugin, import } => {
            What::Ungranted { artefact: of(plugin, &Budget::deny), import: import.as_str().into(), denial: None }
        }
        _ => return None,
    })
}
