//! `/api/v1/auth/sessions` and the ways to log out: here, elsewhere, everywhere.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, answer, done, operation, path_id, route};
use crate::{
    access::{permit::Permit, policy::Rule},
    audit::event::What,
    http::{App, request::Request, router::Route},
    id::SessionId,
    identity::session::{DEVICE_CHARS_MAX, Session},
    plugin::manifest::Method,
};

const TAG: &str = "auth";

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    let out = |path: &str, run, id: &str, summary: &str| {
        let doc = operation(id, TAG, summary, None, 204, None);
        route(Method::Post, &format!("/api/v1/auth/{path}"), Rule::Authenticated, run, doc)
    };
    let mut end = operation("auth.end_session", TAG, "End one session, on every node", None, 204, None);
    if let Value::Object(members) = &mut end {
        let parameter =
            json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string", "format": "uuid"}});
        members.insert("parameters".to_owned(), json!([parameter]));
    }
    let summary = "Where this account is logged in, the newest first";
    let listed = operation("auth.sessions", TAG, summary, None, 200, Some(sessions_schema()));
    vec![
        out("logout", logout, "auth.logout", "End this session, on every node"),
        out("logout-all", logout_all, "auth.logout_all", "End every token of this account"),
        out("logout-others", logout_others, "auth.logout_others", "End every session of this account but this one"),
        route(Method::Get, "/api/v1/auth/sessions", Rule::Authenticated, list, listed),
        route(Method::Delete, "/api/v1/auth/sessions/{id}", Rule::Authenticated, end_one, end),
    ]
}

fn logout<'r>(app: &'r App, permit: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        request.ensure_empty()?;
        app.identity.logout(permit.actor()).await?;
        app.audit.record(request.by, What::Ended { scope: "session" });
        Ok(done())
    })
}

fn logout_all<'r>(app: &'r App, permit: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        request.ensure_empty()?;
        app.identity.logout_all(permit.actor()).await?;
        app.audit.record(request.by, What::Ended { scope: "account" });
        Ok(done())
    })
}

fn logout_others<'r>(app: &'r App, permit: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        request.ensure_empty()?;
        app.identity.logout_others(permit.actor()).await?;
        app.audit.record(request.by, What::Ended { scope: "others" });
        Ok(done())
    })
}

fn list<'r>(app: &'r App, permit: Permit, _: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        let sessions = app.identity.sessions(permit.actor()).await?;
        let items: Vec<Value> = sessions.iter().map(session_json).collect();
        answer(StatusCode::OK, &json!({"items": items}))
    })
}

fn end_one<'r>(app: &'r App, permit: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        let id: SessionId = path_id(&request, "id")?;
        request.ensure_empty()?;
        app.identity.end_session(permit.actor(), id).await?;
        app.audit.record(request.by, What::Ended { scope: "session" });
        Ok(done())
    })
}

pub(super) fn session_json(session: &Session) -> Value {
    json!({
        "id": session.id,
        "device": session.device,
        "created_at": session.created_at.to_string(),
        "used_at": session.used_at.to_string(),
        "expires_at": session.expires_at.to_string(),
        "current": session.is_current
    })
}

fn sessions_schema() -> Value {
    let time = |what: &str| json!({"type": "string", "format": "date-time", "description": what});
    let session = json!({
        "type": "object",
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "device": {
                "type": ["string", "null"], "maxLength": DEVICE_CHARS_MAX,
                "description": "What the client called itself when it logged in (`User-Agent`); nobody proved it."
            },
            "created_at": time("When it was logged in."),
            "used_at": time("The last request, to the minute."),
            "expires_at": time("When its last token expires."),
            "current": {"type": "boolean", "description": "Whether this request belongs to it."}
        },
        "required": ["id", "device", "created_at", "used_at", "expires_at", "current"],
        "additionalProperties": false
    });
    json!({
        "type": "object",
        "properties": {"items": {"type": "array", "items": session, "maxItems": 100}},
        "required": ["items"],
        "additionalProperties": false
    })
}
