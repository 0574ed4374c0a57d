//! `/.well-known/`: whom to tell of a weakness (RFC 9116), and which keys clients may pin (S38, S39).

use axum::{
    body::Body,
    http::{HeaderValue, Response, header},
};
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use super::{Answer, route};
use crate::{
    access::{permit::Permit, policy::Rule},
    error::Error,
    http::{App, Edge, request::Request, router::Route},
    plugin::manifest::Method,
};

/// How long a client may keep what it pinned. A backup is announced at least so long before it is used.
const PINS_MAX_AGE_S: u32 = 30 * 24 * 3600;

/// The routes. They describe the host, not the API.
#[must_use]
pub fn routes() -> Vec<Route> {
    let get = |path: &str, run, id: &str, summary: &str, media: &str| {
        let doc = json!({
            "operationId": id, "tags": ["docs"], "summary": summary,
            "responses": {"200": {"description": "The document.", "content": {media: {}}}}
        });
        route(Method::Get, path, Rule::Anyone, run, doc)
    };
    vec![
        get(
            "/.well-known/security.txt",
            security,
            "docs.security",
            "Whom to tell of a weakness (RFC 9116)",
            "text/plain",
        ),
        get("/.well-known/pins.json", pins, "docs.pins", "Keys that this server may show", "application/json"),
    ]
}

fn security<'r>(app: &'r App, _: Permit, _: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        let security = &app.edge.security;
        if security.lines.is_empty() {
            return Err(Error::NotFound);
        }
        // As long as somebody runs this configuration, it is good: the date moves with the day.
        let hours = i64::from(security.days).saturating_mul(24);
        let expires = Timestamp::now().checked_add(hours.hours()).map_err(Error::internal)?;
        let mut text = String::new();
        for (name, value) in &security.lines {
            text.push_str(&format!("{name}: {value}\n"));
        }
        text.push_str(&format!("Expires: {}\n", expires.strftime("%Y-%m-%dT00:00:00Z")));
        Ok(document("text/plain; charset=utf-8", "public, max-age=86400", text))
    })
}

fn pins<'r>(app: &'r App, _: Permit, _: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        let document_of = published(&app.edge).ok_or(Error::NotFound)?;
        // A client that pinned asks again in time, and an intermediary must not keep an old list for it.
        Ok(document("application/json", "public, max-age=3600", document_of.to_string()))
    })
}

/// The keys in use and those that may follow; none when there is nothing to pin.
fn published(edge: &Edge) -> Option<Value> {
    let pin = |value: &str, state: &str| json!({"algorithm": "sha256", "spki": value, "use": state});
    let own = edge.tls.as_ref().map(|(keeper, _)| keeper);
    let current = own.map(|keeper| pin(keeper.active().pin(), "current"));
    let elsewhere = edge.pins.iter().map(|value| pin(value, "current"));
    let backups: Vec<Value> =
        own.into_iter().flat_map(|keeper| keeper.backup_pins()).map(|value| pin(value, "backup")).collect();
    // Whoever pins one key alone is locked out on the day it is lost (RFC 7469 §4.3): no backup, nothing to pin.
    let pins: Vec<Value> = current.into_iter().chain(elsewhere).chain(backups).collect();
    (pins.len() >= 2).then(|| json!({"pins": pins, "max_age_s": PINS_MAX_AGE_S}))
}

fn document(media: &'static str, cache: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}
