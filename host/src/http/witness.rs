//! What a refused request is to the audit. One event a request at most: a host's action that knows more than its error says
//! (whom a login was about) records by itself, and is left to it here.

use std::sync::Arc;

use super::{
    App,
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
    pub route: Option<Arc<Route>>,
}

/// Records a refusal that somebody may ask about; what is between a client and its own mistakes (404, 422 …) is not.
pub fn refusal(app: &App, seen: &Seen, error: &Error) {
    let source = seen.peer.0.ip();
    let what = match error {
        // Recorded where the password was asked for, and where the limit is.
        Error::Unauthenticated(Unproven::Password) | Error::Throttled { .. } => None,
        Error::Unauthenticated(why) => Some(What::Unproven { why: *why, email: None, source }),
        Error::Denied(_) => Some(What::Denied { route: route(seen).into(), denial: None }),
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

/// Method and pattern: a path itself holds ids.
fn route(seen: &Seen) -> String {
    seen.route.as_ref().map_or_else(|| "-".to_owned(), |route| format!("{} {}", route.method.as_str(), route.pattern))
}
