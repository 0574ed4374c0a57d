//! What a call that did not end well is to the audit and to the plugin's budget: which plugin broke, or was stopped at which
//! bound; and what a new edition is to the audit.

use super::{
    manifest::Series,
    registry::{Plugin, Registry},
};
use crate::{
    audit::event::{Artefact, What},
    capability::{budget::Budget, limit::Bound},
    error::{Culprit, Error},
};

/// How the log of a call begins that a plugin ended with a problem of its own.
pub const REFUSED: &str = "refused";
/// What stands in it before the last thing a plugin warned of, for operators.
pub const SAID: &str = "; it had said: ";

/// Counts an error that is a plugin's fault and gives its event; none for any other. Whoever answers for the call asks: once,
/// for the whole tree of calls. The event names the artefact of the error, whatever is served by now.
#[must_use]
pub fn fault(registry: &Registry, error: &Error) -> Option<What> {
    let of = |plugin: &Culprit, count: &dyn Fn(&Budget)| {
        let of_id = || registry.iter().filter(|known| known.id().as_str() == plugin.plugin);
        let exact = of_id().find(|known| known.package.digest == plugin.digest);
        if let Some(known) = exact.or_else(|| of_id().next()) {
            count(known.approved().budget());
        }
        Artefact::new(&plugin.plugin, &plugin.digest)
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

/// What takes the place of what, series by series.
#[must_use]
pub fn changes(old: &Registry, new: &Registry) -> Vec<What> {
    let of = |plugin: &Plugin, act, before: &str| What::Changed {
        artefact: plugin.approved().artefact(),
        act,
        version: plugin.package.manifest.version.to_string().into(),
        before: before.into(),
    };
    let mut all = Vec::new();
    for plugin in new.iter() {
        let series = plugin.package.manifest.series();
        let known = old.serving(&series);
        match known {
            Some(known) if known.package.digest == plugin.package.digest => {}
            Some(known) => {
                let is_back = plugin.package.manifest.version < known.package.manifest.version;
                let act = if is_back { "rolled_back" } else { "installed" };
                all.push(of(plugin, act, &known.package.digest));
            }
            None => all.push(of(plugin, if old.disabled().contains(&series) { "enabled" } else { "installed" }, "")),
        }
    }
    let is_gone = |series: &Series| new.serving(series).is_none();
    for plugin in old.iter() {
        let series = plugin.package.manifest.series();
        if is_gone(&series) {
            all.push(of(plugin, if new.disabled().contains(&series) { "disabled" } else { "removed" }, ""));
        }
    }
    all
}
