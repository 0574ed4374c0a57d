//! `/api/v1/admin/…`: who holds which role, and which accounts are off. Changes want a recent proof of who asks.

use axum::http::StatusCode;
use garde::Validate;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, answer,
    auth::{account_json, account_schema},
    operation, path_id, read, route,
};
use crate::{
    access::{permit::Permit, policy::Rule, role::RoleTable},
    audit::event::What,
    error::Error,
    http::{App, request::Request, router::Route},
    id::{AccountId, Role},
    plugin::manifest::Method,
};

const ROLES: &str = "/api/v1/admin/users/{id}/roles";
const ACTIVE: &str = "/api/v1/admin/users/{id}/active";

/// The routes. Only roles that include every other may use them: the host knows them by that, not by name.
#[must_use]
pub fn routes(roles: &RoleTable) -> Vec<Route> {
    let rule = || Rule::AnyOf(roles.unlimited().cloned().collect());
    let doc = |id: &str, summary: &str, takes: Option<Value>| {
        let mut doc = operation(id, "admin", summary, takes, 200, Some(account_schema()));
        if let Value::Object(members) = &mut doc {
            let parameter = json!({
                "name": "id", "in": "path", "required": true, "schema": {"type": "string", "format": "uuid"}
            });
            members.insert("parameters".to_owned(), json!([parameter]));
        }
        doc
    };
    vec![
        route(Method::Get, ROLES, rule(), show, doc("admin.show_roles", "An account and its roles", None)),
        route(
            Method::Put,
            ROLES,
            rule(),
            replace,
            doc("admin.replace_roles", "Replace an account's roles; its older tokens end", Some(roles_schema())),
        ),
        route(
            Method::Put,
            ACTIVE,
            rule(),
            set_active,
            doc("admin.set_active", "Switch an account on or off; its tokens end", Some(active_schema())),
        ),
    ]
}

#[derive(Deserialize, Validate)]
#[serde(deny_unknown_fields)]
struct Roles {
    #[garde(length(max = 16))]
    roles: Vec<String>,
}

#[derive(Deserialize, Validate)]
#[serde(deny_unknown_fields)]
struct Active {
    #[garde(skip)]
    active: bool,
}

fn set_active<'r>(app: &'r App, permit: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        let id: AccountId = path_id(&request, "id")?;
        let Active { active } = read(&request)?;
        app.identity.ensure_recent(permit.actor())?;
        let account = app.identity.set_active(id, active).await?;
        answer(StatusCode::OK, &account_json(&account))
    })
}

fn show<'r>(app: &'r App, _: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        let id: AccountId = path_id(&request, "id")?;
        let account = app.identity.find(id).await?.ok_or(Error::NotFound)?;
        answer(StatusCode::OK, &account_json(&account))
    })
}

fn replace<'r>(app: &'r App, permit: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        let id: AccountId = path_id(&request, "id")?;
        let Roles { roles } = read(&request)?;
        let mut known = Vec::with_capacity(roles.len());
        for (at, name) in roles.iter().enumerate() {
            let role: Option<Role> = name.parse().ok().filter(|role| app.roles.has(role));
            let role = role.ok_or_else(|| Error::invalid(format!("/roles/{at}"), "is no role of this platform"))?;
            if !known.contains(&role) {
                known.push(role);
            }
        }
        app.identity.ensure_recent(permit.actor())?;
        let account = app.identity.set_roles(id, &known).await?;
        let detail = known.iter().map(Role::as_str).collect::<Vec<_>>().join(", ").into();
        app.audit.record(request.by, What::Administered { act: "roles.replaced", account: id, detail });
        answer(StatusCode::OK, &account_json(&account))
    })
}

fn roles_schema() -> Value {
    json!({
        "type": "object",
        "properties": {"roles": {"type": "array", "items": {"type": "string"}, "maxItems": 16}},
        "required": ["roles"],
        "additionalProperties": false,
        "example": {"roles": ["USER"]}
    })
}

fn active_schema() -> Value {
    json!({
        "type": "object",
        "properties": {"active": {"type": "boolean"}},
        "required": ["active"],
        "additionalProperties": false
    })
}
