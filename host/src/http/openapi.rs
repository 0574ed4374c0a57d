//! The OpenAPI 3.1 document, written from what the router knows: routes, rules, shapes, constraints, doc comments.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    problem,
    router::{Route, Router, Served, Source, Target},
    schema::{Schemas, describe, example},
};
use crate::{
    access::policy::Rule,
    error::{Fault, Setup},
    plugin::{manifest::Deprecation, registry::Registry},
};

/// The document, as served.
pub fn document(router: &Router, registry: &Registry) -> Setup<Bytes> {
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let mut named: BTreeMap<String, Value> = BTreeMap::from([("problem".to_owned(), problem_schema())]);
    let mut operation_ids = BTreeSet::new();
    for route in router.iter() {
        let (operation, schemas) = operation(route);
        let id = operation.get("operationId").and_then(Value::as_str).unwrap_or_default().to_owned();
        if !operation_ids.insert(id.clone()) {
            return Err(Fault::new("openapi", format!("two routes are called `{id}`"))
                .fix("a function may answer one route; export a second one"));
        }
        for (name, schema) in schemas {
            if named.get(&name).is_some_and(|known| *known != schema) {
                return Err(Fault::new("openapi", format!("two different types are called `{name}`")));
            }
            named.insert(name, schema);
        }
        paths.entry(&route.pattern).or_default().insert(route.method.as_str().to_lowercase(), operation);
    }
    let tags: Vec<Value> = registry
        .iter()
        .map(|plugin| &plugin.package.manifest)
        .map(|manifest| json!({"name": manifest.scope(), "description": manifest.description}))
        .collect();
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "DineHub",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Every failure is application/problem+json (RFC 9457).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}
        },
        "servers": [{"url": "/"}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": named,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
        }
    });
    serde_json::to_vec(&document).map(Bytes::from).map_err(Fault::at("openapi"))
}

fn operation(route: &Route) -> (Value, BTreeMap<String, Value>) {
    match &route.target {
        Target::Host(action) => {
            let mut operation = action.doc.clone();
            secure(&mut operation, &route.rule);
            refuse(&mut operation, true, false);
            (operation, BTreeMap::new())
        }
        Target::Plugin(served) => plugin_operation(route, served),
    }
}

fn plugin_operation(route: &Route, served: &Served) -> (Value, BTreeMap<String, Value>) {
    let manifest = &served.plugin.package.manifest;
    let scope = manifest.scope();
    let content = &served.plugin.package.content;
    let mut schemas = Schemas::new(&scope, &content.docs);
    let mut parameters = Vec::new();
    let (mut takes, mut raw) = (None, false);
    for (source, parameter) in served.sources.iter().zip(&served.endpoint.params) {
        let place = match source {
            Source::Path => "path",
            Source::Query => "query",
            Source::Body => {
                takes = Some(&parameter.shape);
                continue;
            }
            Source::Raw => {
                raw = true;
                continue;
            }
            Source::Caller => continue,
        };
        let shape = match &parameter.shape {
            crate::plugin::shape::Shape::Option(inner) => inner,
            shape => shape,
        };
        parameters.push(json!({
            "name": parameter.json, "in": place, "required": !parameter.shape.is_optional(), "schema": schemas.schema(shape)
        }));
    }
    parameters.extend(conditions(served));
    if served.route.idempotency {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "A retry with the same key and request gives the same answer and has no second effect.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
        }));
    }
    let doc = content.docs.get(&served.endpoint.name).map_or("", String::as_str);
    let summary = doc.split_once(". ").map_or(doc, |(first, _)| first).trim_end_matches('.');
    let mut operation = json!({
        "operationId": format!("{scope}.{}", served.endpoint.name.replace('-', "_")),
        "tags": [scope],
        "summary": summary.lines().next().unwrap_or_default(),
        "parameters": parameters,
        "responses": {}
    });
    describe(&mut operation, doc);
    if raw {
        let body = json!({"required": true, "content": {"*/*": {"schema": {"type": "string"}}}});
        insert(&mut operation, "requestBody", body);
    }
    if let Some(shape) = takes {
        let schema = schemas.schema(shape);
        let body =
            json!({"required": true, "content": {"application/json": {"schema": schema, "example": example(shape)}}});
        insert(&mut operation, "requestBody", body);
    }
    let gives = served.endpoint.gives.as_ref();
    let status = served.route.status.unwrap_or(if gives.is_some() { 200 } else { 204 });
    let mut success = json!({"description": "Done."});
    if let Some(shape) = gives {
        let content = json!({"application/json": {"schema": schemas.schema(shape), "example": example(shape)}});
        insert(&mut success, "content", content);
    }
    let mut headers = manifest.deprecation.as_ref().map_or_else(|| json!({}), notice);
    if manifest.deprecation.is_some() {
        insert(&mut operation, "deprecated", json!(true));
    }
    if served.route.etag {
        let tag = json!({"schema": {"type": "string"}, "description": "Of this representation; for If-Match."});
        insert(&mut headers, "ETag", tag);
        respond(&mut operation, "304", json!({"description": "It is what If-None-Match says."}));
    }
    if headers.as_object().is_some_and(|headers| !headers.is_empty()) {
        insert(&mut success, "headers", headers);
    }
    respond(&mut operation, &status.to_string(), success);
    secure(&mut operation, &route.rule);
    refuse(&mut operation, takes.is_some(), served.guard.is_some());
    if served.route.if_match {
        respond(&mut operation, "428", refusal("The request needs an If-Match."));
    }
    (operation, schemas.named)
}

/// The headers with which a request says what it depends on (RFC 9110 §13).
fn conditions(served: &Served) -> Option<Value> {
    let (name, text) = match (served.route.etag, served.guard.is_some()) {
        (true, _) => ("If-None-Match", "Answers 304 when it is still what has this ETag."),
        (_, true) => ("If-Match", "Changes it only if it is still what has this ETag."),
        _ => return None,
    };
    Some(json!({
        "name": name, "in": "header", "required": served.route.if_match, "description": text,
        "schema": {"type": "string", "pattern": "^(\\*|(W/)?\"[!#-~]*\")$"}
    }))
}

/// The headers that announce the end of a version, with the values they have.
fn notice(deprecation: &Deprecation) -> Value {
    let described = |name: &str| match name {
        "deprecation" => "Since when there is something better (RFC 9745).",
        "sunset" => "When this will not be served any more (RFC 8594).",
        _ => "What to do instead.",
    };
    let header = |(name, value): (&str, String)| {
        (name.to_owned(), json!({"description": described(name), "schema": {"type": "string", "const": value}}))
    };
    Value::Object(deprecation.headers().into_iter().map(header).collect())
}

fn secure(operation: &mut Value, rule: &Rule) {
    let security = match rule {
        // A token is welcome and not needed.
        Rule::Anyone => json!([{}, {"bearer": []}]),
        Rule::Authenticated | Rule::AnyOf(_) => json!([{"bearer": []}]),
    };
    insert(operation, "security", security);
    if let Rule::AnyOf(roles) = rule {
        let roles: Vec<String> = roles.iter().map(ToString::to_string).collect();
        insert(operation, "x-roles", json!(roles));
    }
}

/// Every way a route may say no.
fn refuse(operation: &mut Value, takes_body: bool, is_guarded: bool) {
    let mut refusals = vec![
        ("400", "The request cannot be read."),
        ("401", "The token is missing or not valid."),
        ("403", "The caller may not do this, or the request looks like an attack."),
        ("404", "There is no such thing, or the caller may not know of it."),
        ("409", "A rule of the business says no; `code` says which."),
        ("422", "The request is not valid; `errors` names each place."),
        ("500", "The host or the feature failed."),
        ("503", "Overloaded, or the database is away."),
        ("504", "The feature took too long."),
    ];
    if is_guarded {
        refusals.push(("412", "It is not what If-Match says any more."));
    }
    if takes_body {
        refusals.extend([("413", "The body is too large."), ("415", "The body is not application/json.")]);
    }
    for (status, text) in refusals {
        respond(operation, status, refusal(text));
    }
    let mut throttled = refusal("Too many requests.");
    let seconds = json!({"schema": {"type": "integer", "minimum": 1}, "description": "Seconds to wait."});
    insert(&mut throttled, "headers", json!({"Retry-After": seconds}));
    respond(operation, "429", throttled);
}

fn refusal(text: &str) -> Value {
    let content = json!({problem::MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/problem"}}});
    json!({"description": text, "content": content})
}

fn respond(operation: &mut Value, status: &str, response: Value) {
    if let Some(Value::Object(responses)) = operation.get_mut("responses") {
        responses.entry(status).or_insert(response);
    }
}

fn insert(object: &mut Value, key: &str, value: Value) {
    if let Value::Object(members) = object {
        members.insert(key.to_owned(), value);
    }
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "description": "RFC 9457",
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": {"type": "string"},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {"type": "string"},
            "code": {"type": "string", "description": "Stable; for programs."},
            "request_id": {"type": "string", "format": "uuid"},
            "denial": {"type": "string", "description": "Names the rule that refused; for whoever operates this host."},
            "errors": {"type": "array", "items": {
                "type": "object",
                "properties": {
                    "pointer": {"type": "string", "description": "A JSON Pointer into the body, `?name` or `{name}`."},
                    "detail": {"type": "string"}
                },
                "required": ["pointer", "detail"]
            }}
        },
        "required": ["type", "title", "status", "detail", "code", "request_id"]
    })
}
