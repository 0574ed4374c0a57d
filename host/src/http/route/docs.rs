//! The API's description: `/openapi.json`, and Swagger UI at `/docs` from files inside this binary, no CDN.

use std::sync::{Arc, LazyLock};

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use serde_json::json;
use utoipa_swagger_ui::Config;

use super::{Answer, route};
use crate::{
    access::{permit::Permit, policy::Rule},
    error::Error,
    http::{App, request::Request, router::Route},
    plugin::manifest::Method,
};

/// Swagger UI writes inline styles and data-URI images; scripts and requests come from here alone.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; font-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| Arc::new(Config::from("/openapi.json")));

/// The routes. They describe, so they are not described themselves.
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
        get("/openapi.json", document, "docs.openapi", "This document", "application/json"),
        get("/docs", page, "docs.page", "The API to look at and try", "text/html"),
        route(
            Method::Get,
            "/docs/{file}",
            Rule::Anyone,
            page,
            json!({
                "operationId": "docs.file", "tags": ["docs"], "summary": "A file of that page",
                "parameters": [{"name": "file", "in": "path", "required": true, "schema": {"type": "string", "maxLength": 64}}],
                "responses": {"200": {"description": "The file.", "content": {"*/*": {}}}}
            }),
        ),
    ]
}

fn document<'r>(app: &'r App, _: Permit, _: Request<'r>) -> Answer<'r> {
    Box::pin(async move { Ok(file("application/json", Body::from(app.edition().openapi.clone()))) })
}

fn page<'r>(_: &'r App, _: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        // Without the slash the page would look for its files one level up.
        if request.parts.uri.path() == "/docs" {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
            response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/docs/index.html"));
            return Ok(response);
        }
        let name = request.params.get("file").unwrap_or_default();
        let found =
            utoipa_swagger_ui::serve(name, Arc::clone(&CONFIG)).map_err(|error| Error::internal(error.to_string()))?;
        let found = found.ok_or(Error::NotFound)?;
        let mut response = file(&found.content_type, Body::from(found.bytes.into_owned()));
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        Ok(response)
    })
}

fn file(media: &str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let media = HeaderValue::from_str(media).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
