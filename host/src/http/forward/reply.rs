//! A plugin's answer as an HTTP response: its transaction ends here, and only then does anything leave.

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header, request::Parts},
};

use super::{
    super::{
        condition::{self, Tags},
        router::Served,
    },
    link,
};
use crate::{
    capability::grants::Grants,
    error::{Error, Violation},
    plugin::{
        call::{self, Answer},
        registry::Plugin,
        shape::Shape,
        value::{Boundary, Val, write::write},
    },
};

/// A JSON page of rows fits without growing.
const BODY_BYTES: usize = 1_024;

/// Commits an `ok` and answers it; rolls an `err` back and answers that. `keyed` is the idempotency key and what request it
/// stands for, recorded in the same transaction as the effect.
pub(super) async fn finish(
    served: &Served,
    boundary: &Boundary<'_>,
    answer: Answer,
    keyed: Option<(&str, [u8; 32])>,
    parts: &Parts,
) -> Result<Response<Body>, Error> {
    let shown = represent(&served.plugin, served.endpoint.gives.as_ref(), boundary, answer)?;
    let Represented { body, value, mut grants } = shown;
    let status = served.route.status.unwrap_or(if body.is_empty() { 204 } else { 200 });
    if let Some((key, fingerprint)) = keyed {
        let stored = grants.transaction().store(key.as_bytes(), &fingerprint, status, &body).await;
        stored.map_err(|failure| call::unserved(&served.plugin, failure))?;
    }
    grants.into_transaction().commit().await.map_err(|why| call::uncommitted(&served.plugin, why))?;
    respond(served, status, body, value.as_deref(), parts)
}

/// What a function gave, its transaction still open.
pub(super) struct Represented {
    /// As JSON; empty when it gave nothing.
    pub(super) body: Vec<u8>,
    pub(super) value: Option<Box<Val>>,
    pub(super) grants: Grants,
}

/// Writes an `ok` as JSON; rolls an `err` back and gives it as the error.
pub(super) fn represent(
    plugin: &Plugin,
    gives: Option<&Shape>,
    boundary: &Boundary<'_>,
    answer: Answer,
) -> Result<Represented, Error> {
    let fault = |log: &str| Error::PluginFault { plugin: plugin.culprit(), log: log.to_owned() };
    let Answer { value, grants } = answer;
    let Some(Val::Result(result)) = value else { return Err(fault("gave no result")) };
    let value = match result {
        Ok(value) => value,
        Err(problem) => {
            grants.into_transaction().rollback();
            return Err(refusal(problem.as_deref()).unwrap_or_else(|| fault("gave an error that is no problem")));
        }
    };
    let mut body = Vec::with_capacity(BODY_BYTES);
    if let (Some(shape), Some(value)) = (gives, &value) {
        write(boundary, shape, value, &mut body).map_err(fault)?;
    }
    Ok(Represented { body, value, grants })
}

/// The stored answer to an earlier request with the same key.
pub(super) fn replay(served: &Served, status: u16, body: Vec<u8>, parts: &Parts) -> Result<Response<Body>, Error> {
    let mut response = respond(served, status, body, None, parts)?;
    response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    Ok(response)
}

fn respond(
    served: &Served,
    status: u16,
    body: Vec<u8>,
    value: Option<&Val>,
    parts: &Parts,
) -> Result<Response<Body>, Error> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(status).map_err(Error::internal)?;
    let headers = response.headers_mut();
    if !body.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let cache = if served.route.anonymous { "no-cache" } else { "no-store" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    if served.route.anonymous {
        // Also somebody who logged in may ask, and see more.
        headers.insert(header::VARY, HeaderValue::from_static("authorization"));
    }
    if served.route.method.is_safe() {
        headers.extend(link::next(&parts.uri, &body).map(|link| (header::LINK, link)));
    }
    if served.route.etag {
        let tag = condition::tag(&body);
        let known = Tags::read(&parts.headers, &header::IF_NONE_MATCH)?;
        headers.extend(HeaderValue::from_str(&tag).ok().map(|tag| (header::ETAG, tag)));
        if known.is_some_and(|known| known.hold_weakly(&tag)) {
            headers.remove(header::CONTENT_TYPE);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(response);
        }
    }
    if let Some(location) = served.route.location.as_deref().zip(value).and_then(|(form, value)| fill(form, value)) {
        let location = format!("{}{location}", served.plugin.package.manifest.prefix());
        headers.extend(HeaderValue::from_str(&location).ok().map(|location| (header::LOCATION, location)));
    }
    *response.body_mut() = Body::from(body);
    Ok(response)
}

/// `/orders/{id}` with the result's own fields; none when it has no such text field.
fn fill(form: &str, value: &Val) -> Option<String> {
    let Val::Record(fields) = value else { return None };
    let mut filled = String::with_capacity(form.len() + 36);
    let mut rest = form;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        let field = fields.iter().find(|(wit, _)| wit.replace('-', "_") == name);
        let Some((_, Val::String(text))) = field else { return None };
        filled.push_str(before);
        filled.push_str(text);
        rest = after;
    }
    filled.push_str(rest);
    Some(filled)
}

/// The platform's `problem` as an error.
fn refusal(problem: Option<&Val>) -> Option<Error> {
    let Some(Val::Variant(case, payload)) = problem else { return None };
    Some(match (case.as_str(), payload.as_deref()) {
        ("not-found", None) => Error::NotFound,
        ("denied", Some(Val::String(why))) => Error::Denied(why.clone().into()),
        ("unavailable", Some(Val::String(why))) => Error::Unavailable(why.clone().into()),
        ("conflict", Some(Val::Record(fields))) => match fields.as_slice() {
            [(_, Val::String(code)), (_, Val::String(detail))] => {
                Error::Conflict { code: code.clone(), detail: detail.clone() }
            }
            _ => return None,
        },
        ("invalid", Some(Val::List(items))) => {
            let violations = items.iter().filter_map(|item| match item {
                Val::Record(fields) => match fields.as_slice() {
                    [(_, Val::String(pointer)), (_, Val::String(detail))] => {
                        Some(Violation { pointer: pointer.clone(), detail: detail.clone() })
                    }
                    _ => None,
                },
                _ => None,
            });
            Error::Invalid(violations.collect())
        }
        _ => return None,
    })
}
