//! The host's own routes: accounts, roles, the API's description. They pass the same rule check as a plugin's.

pub mod admin;
pub mod auth;
pub mod docs;
pub mod factor;
pub mod health;
pub mod leave;
pub mod letter;
pub mod session;
pub mod wellknown;

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use futures::future::BoxFuture;
use garde::Validate;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    App,
    meter::Meters,
    request::Request,
    router::{Route, Target},
};
use crate::{
    access::{permit::Permit, policy::Rule, role::RoleTable},
    error::{Error, Violation},
    id::Denial,
    plugin::{json, manifest::Method},
};

/// What an action gives.
pub type Answer<'r> = BoxFuture<'r, Result<Response<Body>, Error>>;

/// A host action and its place in the API's description.
#[derive(Debug)]
pub struct Action {
    pub run: for<'r> fn(&'r App, Permit, Request<'r>) -> Answer<'r>,
    /// An OpenAPI operation, without the refusals that all share.
    pub doc: Value,
}

/// Every route of the host.
#[must_use]
pub fn all(roles: &RoleTable) -> Vec<Route> {
    let account = auth::routes().into_iter().chain(session::routes()).chain(factor::routes()).chain(letter::routes());
    let account = account.chain(leave::routes());
    account.chain(admin::routes(roles)).chain(docs::routes()).chain(wellknown::routes()).collect()
}

/// One route of the host.
fn route(
    method: Method,
    pattern: &str,
    rule: Rule,
    run: for<'r> fn(&'r App, Permit, Request<'r>) -> Answer<'r>,
    doc: Value,
) -> Route {
    let denial = Denial::route(method.as_str(), pattern);
    let target = Target::Host(Action { run, doc });
    Route { method, pattern: pattern.to_owned(), rule, denial, limit: None, target, meters: Meters::default() }
}

/// An OpenAPI operation. `takes` and `gives` are JSON Schemas.
fn operation(id: &str, tag: &str, summary: &str, takes: Option<Value>, status: u16, gives: Option<Value>) -> Value {
    let mut success = json!({"description": "Done."});
    if let (Value::Object(members), Some(schema)) = (&mut success, gives) {
        members.insert("content".to_owned(), json!({"application/json": {"schema": schema}}));
    }
    let mut operation = json!({
        "operationId": id, "tags": [tag], "summary": summary, "responses": {status.to_string(): success}
    });
    if let (Value::Object(members), Some(schema)) = (&mut operation, takes) {
        let body = json!({"required": true, "content": {"application/json": {"schema": schema}}});
        members.insert("requestBody".to_owned(), body);
    }
    operation
}

/// So much of what serde_json says is said on, in characters.
const DETAIL_SHOWN: usize = 200;

/// The body of a host action: strict JSON (no unknown or duplicate keys), then its own rules.
fn read<T: DeserializeOwned + Validate<Context = ()>>(request: &Request<'_>) -> Result<T, Error> {
    request.ensure_json()?;
    // Read twice: once for what any document must keep to, once into the type.
    json::read(request.body)?;
    let mut reader = serde_json::Deserializer::from_slice(request.body);
    let value: T = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let pointer: String = error.path().iter().map(|step| format!("/{step}")).collect();
        let detail = error.inner().to_string();
        // serde_json adds where in the text it was, which the pointer says better.
        let detail = detail.split(" at line ").next().unwrap_or_default();
        // It says what came, which may be as long as the body.
        Error::invalid(pointer, detail.chars().take(DETAIL_SHOWN).collect::<String>())
    })?;
    value.validate().map_err(|report| {
        let violations = report.iter().map(|(path, error)| {
            let pointer = format!("/{}", path.to_string().replace('.', "/"));
            Violation { pointer, detail: error.message().to_owned() }
        });
        Error::Invalid(violations.collect())
    })?;
    Ok(value)
}

/// A path parameter as an id; what is none names nothing.
fn path_id<T: std::str::FromStr>(request: &Request<'_>, name: &str) -> Result<T, Error> {
    request.params.get(name).and_then(|text| text.parse().ok()).ok_or(Error::NotFound)
}

/// A JSON answer.
fn answer(status: StatusCode, value: &impl Serialize) -> Result<Response<Body>, Error> {
    let body = serde_json::to_vec(value).map_err(Error::internal)?;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// 204.
fn done() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
