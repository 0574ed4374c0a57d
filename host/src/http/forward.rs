//! A request for a plugin: typed arguments in, the call, and its result out.

pub mod raw;
mod guard;
mod link;
mod reply;

use std::sync::Arc;

use axum::{
    body::Body,
    http::{Response, request::Parts},
};
use sha2::{Digest as _, Sha256};

use super::{
    App,
    edition::Edition,
    request::Request,
    router::{Served, Source},
};
use crate::{
    access::permit::Permit,
    capability::{grants::Mode, tree::Tree},
    database::guest::Claim,
    error::Error,
    plugin::{
        call,
        contract::Parameter,
        cursor::Scope,
        json,
        value::{self, Boundary, Reader, Val},
    },
};

/// The longest `Idempotency-Key`, in bytes.
const KEY_BYTES_MAX: usize = 255;

/// Answers a request by a plugin's function.
pub async fn answer(
    app: &Arc<App>,
    edition: &Edition,
    served: &Served,
    permit: Permit,
    request: Request<'_>,
) -> Result<Response<Body>, Error> {
    let plugin = &served.plugin;
    let series = plugin.package.manifest.scope();
    let scope = Scope { plugin: &series, function: &served.route.function, caller: permit.actor().account() };
    let boundary = Boundary { sealer: Some(&app.sealer), scope };
    let arguments = arguments(served, &boundary, &permit, &request)?;
    let key = idempotency_key(served, request.parts)?;
    let condition = guard::Condition::read(served, request.parts)?;
    gather().await;
    let _slot = edition.registry.enter(plugin).await?;
    let mode = if served.route.method.is_safe() { Mode::ReadOnly } else { Mode::ReadWrite };
    let tree = Tree::root(request.id, plugin.id());
    let (mut permit, mut is_first) = (permit, true);
    loop {
        let mut grants = plugin.approved().grant(permit, mode, tree.clone(), edition.registry.callee());
        if condition.is_some() {
            grants.transaction().repeat_reads();
        }
        if let Some(key) = &key {
            let claim = grants.transaction().claim(key.as_bytes(), &fingerprint(&request)).await;
            match claim.map_err(|failure| call::unserved(plugin, failure))? {
                Claim::Fresh => {}
                Claim::InFlight => return Err(Error::InFlight),
                Claim::Mismatch => return Err(Error::KeyReused),
                Claim::Replay { status, body } => return reply::replay(served, status, body, request.parts),
            }
        }
        if let Some(condition) = &condition {
            grants = condition.ensure_unchanged(served, &boundary, &request, grants).await?;
        }
        let answer = call::invoke(plugin, &served.export, grants, &arguments).await?;
        // Nothing left this host yet, so a serialisation failure or a deadlock is worth one more try (PostgreSQL 15 §13.5).
        if answer.grants.is_to_retry() && is_first {
            is_first = false;
            permit = answer.grants.into_permit();
            continue;
        }
        // Who waited for the database is with others no more.
        if !answer.grants.has_asked() {
            gather().await;
        }
        let keyed = key.as_deref().map(|key| (key, fingerprint(&request)));
        return reply::finish(served, &boundary, answer, keyed, request.parts).await;
    }
}

/// Lets the other requests that are ready come as far as this one; one that is alone goes on at once.
///
/// A call runs through more code and data than a core's first caches hold, and so do reading a request and writing its
/// answer. Requests that take turns at all three find the caches full of what the last one did; when all that are ready
/// are read, then called, then answered, the first of each pays for the rest (cohort scheduling: Larus and Parkes, USENIX
/// ATC 2002). It takes a fifth to a third off what a short call costs under load; see `tests/bench`.
async fn gather() {
    tokio::task::yield_now().await;
}

/// One value per parameter of the function, or every violation at once.
fn arguments(
    served: &Served,
    boundary: &Boundary<'_>,
    permit: &Permit,
    request: &Request<'_>,
) -> Result<Vec<Val>, Error> {
    let mut reader = Reader::new(boundary);
    let query = query(request.parts.uri.query(), served, &mut reader);
    let takes_body = served.sources.contains(&Source::Body);
    let document = if takes_body {
        request.ensure_json()?;
        Some(json::read(request.body)?)
    } else if served.route.raw {
        None
    } else {
        request.ensure_empty()?;
        None
    };
    let mut values = Vec::with_capacity(served.sources.len());
    for (source, parameter) in served.sources.iter().zip(&served.endpoint.params) {
        let value = match source {
            Source::Caller => Some(value::caller(permit)),
            Source::Body => document.as_ref().and_then(|document| reader.body(&parameter.shape, document)),
            Source::Raw => Some(raw::value(request)?),
            Source::Path => of_path(request, parameter, &mut reader)?,
            Source::Query => {
                let given = query.iter().find(|(name, _)| *name == parameter.json).map(|(_, text)| text.as_ref());
                reader.parameter(&parameter.shape, &format!("?{}", parameter.json), given)
            }
        };
        values.extend(value);
    }
    let violations = reader.into_violations();
    if violations.is_empty() { Ok(values) } else { Err(Error::Invalid(violations)) }
}

/// A parameter of the path.
fn of_path(request: &Request<'_>, parameter: &Parameter, reader: &mut Reader<'_>) -> Result<Option<Val>, Error> {
    let raw = request.params.get(&parameter.json).unwrap_or_default();
    let text = percent_encoding::percent_decode_str(raw).decode_utf8().map_err(|_| Error::NotFound)?;
    Ok(reader.parameter(&parameter.shape, &format!("{{{}}}", parameter.json), Some(&text)))
}

type Pair<'q> = (std::borrow::Cow<'q, str>, std::borrow::Cow<'q, str>);

/// The query's pairs; a name that is unknown or comes twice is a violation.
fn query<'q>(raw: Option<&'q str>, served: &Served, reader: &mut Reader<'_>) -> Vec<Pair<'q>> {
    let mut pairs: Vec<Pair<'q>> = Vec::new();
    for (name, text) in form_urlencoded::parse(raw.unwrap_or_default().as_bytes()) {
        let sources = served.sources.iter().zip(&served.endpoint.params);
        let is_known = sources.into_iter().any(|(source, param)| *source == Source::Query && param.json == name);
        if !is_known {
            reader.note(&format!("?{name}"), "is not known here");
        } else if pairs.iter().any(|(known, _)| *known == name) {
            reader.note(&format!("?{name}"), "may be given once");
        } else {
            pairs.push((name, text));
        }
    }
    pairs
}

/// The key of a request on a route that takes one.
fn idempotency_key(served: &Served, parts: &Parts) -> Result<Option<String>, Error> {
    let mut given = parts.headers.get_all("idempotency-key").iter();
    let Some(value) = given.next().filter(|_| served.route.idempotency) else { return Ok(None) };
    let key = value.to_str().unwrap_or_default();
    let is_sound = given.next().is_none() && (1..=KEY_BYTES_MAX).contains(&key.len());
    if !is_sound {
        return Err(Error::Malformed(
            format!("Idempotency-Key must be one value of 1 to {KEY_BYTES_MAX} bytes.").into(),
        ));
    }
    Ok(Some(key.to_owned()))
}

/// What makes a retry the same request: method, path and body.
fn fingerprint(request: &Request<'_>) -> [u8; 32] {
    let mut sum = Sha256::new();
    for part in [request.parts.method.as_str(), request.parts.uri.path()] {
        sum.update(part);
        sum.update([0]);
    }
    sum.update(request.body);
    sum.finalize().into()
}
