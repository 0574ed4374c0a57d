//! What a refused request is to the audit. One event a request at most: a host's action that knows more than its error says
//! (whom a login was about) records by itself, and is left to it here.

use std::{net::IpAddr, sync::Arc};

use super::{
    App,
    filter::Rule,
    router::{Route, Target},
    serve::Peer,
};
use crate::{
    audit::event::{By, What},
    error::{Error, Unproven},
    plugin::witness,
};

/// What is known of a request so far.
#[derive(Debug)]
pub struct Seen {
    pub by: By,
    pub peer: Peer,
    /// The address that the request counts for.
    pub source: IpAddr,
    pub route: Option<Arc<Route>>,
}

/// Records a refusal that somebody may ask about; what is between a client and its own mistakes (404, 422 …) is not.
pub fn refusal(app: &App, seen: &Seen, error: &Error) {
    let source = seen.source;
    let what = match error {
        // Recorded where the password was asked for, where the limit is, and where the rule hit.
        Error::Unauthenticated(Unproven::Password) | Error::Throttled { .. } => None,
        Error::Unauthenticated(why) => Some(What::Unproven { why: *why, email: None, source }),
        Error::Denied(_) => Some(What::Denied { route: route(seen).into(), denial: None }),
        Error::Unassured(_) => Some(What::Denied { route: route(seen).into(), denial: None }),
        Error::Forbidden(denial) => {
            if let Some(Target::Plugin(served)) = seen.route.as_ref().map(|route| &route.target) {
                served.plugin.approved().budget().deny();
            }
            Some(What::Denied { route: route(seen).into(), denial: Some(denial.clone()) })
        }
        other => witness::fault(&app.edition().registry, other),
    };
    what.into_iter().for_each(|what| app.audit.record(seen.by, what));
}

/// A limit on requests refused, and it is to be told.
pub fn throttled(app: &App, seen: &Seen, refusal: Option<(&'static str, u64)>) {
    if let Some((limit, retry_after_s)) = refusal {
        app.audit.record(seen.by, What::Throttled { limit, retry_after_s, email: None, source: seen.source });
    }
}

/// A rule of the filter hit: somebody is trying, or the rule is wrong. Both are worth knowing.
pub fn hit(app: &App, seen: &Seen, rule: &Rule) {
    let mode = rule.mode.as_str();
    metrics::counter!("dinehub_filter_hits_total", "rule" => rule.id.clone(), "mode" => mode).increment(1);
    app.audit.record(seen.by, What::Filtered { rule: rule.id.as_str().into(), mode, source: seen.source });
}

/// Method and pattern: a path itself holds ids.
fn route(seen: &Seen) -> String {
    seen.route.as_ref().map_or_else(|| "-".to_owned(), |route| format!("{} {}", route.method.as_str(), route.pattern))
}
