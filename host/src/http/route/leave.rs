//! Taking one's data along, and leaving: `GET /api/v1/auth/me/export`, `DELETE /api/v1/auth/me`.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::{Answer, answer, auth::account_json, operation, path_id, route, session::session_json};
use crate::{
    access::{permit::Permit, policy::Rule},
    audit::event::What,
    error::Error,
    http::{App, request::Request, router::Route},
    plugin::{manifest::Method, privacy::Keeper},
};

const TAG: &str = "auth";

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    let exported =
        operation("auth.export", TAG, "Everything that is kept about this account", None, 200, Some(export_schema()));
    let left = operation("auth.leave", TAG, "Delete this account", None, 202, Some(progress_schema()));
    let mut shown =
        operation("auth.deletion", TAG, "How far a deletion is, and what stays", None, 200, Some(progress_schema()));
    if let Value::Object(members) = &mut shown {
        let parameter =
            json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string", "format": "uuid"}});
        members.insert("parameters".to_owned(), json!([parameter]));
    }
    vec![
        route(Method::Get, "/api/v1/auth/me/export", Rule::Authenticated, export, exported),
        route(Method::Delete, "/api/v1/auth/me", Rule::Authenticated, leave, left),
        // Whoever asked for it has no token any more: its id, which cannot be guessed, is all that is asked for.
        route(Method::Get, "/api/v1/auth/deletions/{id}", Rule::Anyone, show, shown),
    ]
}

fn export<'r>(app: &'r App, permit: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        let actor = permit.actor();
        request.ensure_bare()?;
        app.identity.ensure_recent(actor)?;
        let account = app.identity.me(actor).await?;
        let (sessions, factors) = (app.identity.sessions(actor).await?, app.identity.factors(actor).await?);
        let edition = Arc::clone(&app.edition());
        let keeper = Keeper { registry: &edition.registry, roles: &app.roles };
        let served: Vec<&str> = keeper.plugins().map(|plugin| plugin.id().as_str()).collect();
        // Half a document would pass for the whole.
        if let Some(plugin) = app.identity.keepers().await?.into_iter().find(|id| !served.contains(&id.as_str())) {
            return Err(Error::Disabled { plugin });
        }
        let mut plugins = Map::new();
        for plugin in keeper.plugins() {
            plugins.insert(plugin.id().to_string(), Value::Array(keeper.tell(plugin, account.id).await?));
        }
        app.audit.record(request.by, What::Exported {});
        let sessions: Vec<Value> = sessions.iter().map(session_json).collect();
        let body = json!({
            "account": account_json(&account),
            "sessions": sessions,
            "has_second_factor": factors.has_totp,
            "plugins": plugins
        });
        answer(StatusCode::OK, &body)
    })
}

fn leave<'r>(app: &'r App, permit: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        request.ensure_bare()?;
        let id = app.identity.begin_deletion(permit.actor()).await?;
        app.audit.record(request.by, What::Left { act: "asked", deletion: id, detail: "".into() });
        answer(StatusCode::ACCEPTED, &app.identity.deletion(id).await?)
    })
}

fn show<'r>(app: &'r App, _: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        let id = path_id(&request, "id")?;
        answer(StatusCode::OK, &app.identity.deletion(id).await?)
    })
}

fn export_schema() -> Value {
    let things = json!({"type": "array", "items": {"type": "object"}});
    json!({
        "type": "object",
        "properties": {
            "account": {"type": "object"},
            "sessions": things,
            "has_second_factor": {"type": "boolean"},
            "plugins": {"type": "object", "description": "By feature, what it keeps.", "additionalProperties": things}
        },
        "required": ["account", "sessions", "has_second_factor", "plugins"],
        "additionalProperties": false
    })
}

fn progress_schema() -> Value {
    let kept = json!({
        "type": "object",
        "properties": {"kind": {"type": "string"}, "count": {"type": "integer"}, "reason": {"type": "string"}},
        "required": ["kind", "reason"]
    });
    json!({
        "type": "object",
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "requested_at": {"type": "string", "format": "date-time"},
            "finished_at": {"type": ["string", "null"], "format": "date-time"},
            "report": {
                "type": "object",
                "description": "By feature: what was erased, and what stays and why.",
                "additionalProperties": {
                    "type": "object",
                    "properties": {
                        "erased": {"type": "integer"},
                        "kept": {"type": "array", "items": kept}
                    },
                    "required": ["erased", "kept"]
                }
            },
            "waits_for": {
                "type": "array", "items": {"type": "string"},
                "description": "Features that could not be asked yet; they are asked again."
            },
            "kept": {"type": "array", "items": kept, "description": "What stays of the platform's own, and why."}
        },
        "required": ["id", "requested_at", "finished_at", "waits_for", "report", "kept"],
        "additionalProperties": false
    })
}
