//! What is done by e-mail, and what a person changes about their account: `/api/v1/auth/verify`, `password`, `email`,
//! `deactivate`.

use axum::{
    body::Body,
    http::{Response, StatusCode},
};
use garde::Validate;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, answer,
    auth::{origin, token_json, token_schema, watched},
    done, operation, read, route,
};
use crate::{
    access::{permit::Permit, policy::Rule},
    audit::event::What,
    http::{App, request::Request, router::Route},
    plugin::manifest::Method,
};

const TAG: &str = "auth";

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    use Method::{Post, Put};
    use Rule::{Anyone, Authenticated};
    let at = |method, path: &str, rule, run, doc| route(method, &format!("/api/v1/auth/{path}"), rule, run, doc);
    let doc = |id: &str, summary: &str, takes: Option<Value>, status| {
        operation(&format!("auth.{id}"), TAG, summary, takes, status, None)
    };
    let change = "Change the password; every other token ends";
    let changed = operation("auth.change_password", TAG, change, Some(change_schema()), 200, Some(token_schema()));
    vec![
        at(
            Post,
            "verify",
            Anyone,
            verify,
            doc("verify", "Verify an address by the ticket in a letter", Some(ticket_schema()), 204),
        ),
        at(
            Post,
            "verify/send",
            Anyone,
            send_verify,
            doc("send_verify", "Send that letter again", Some(address_schema()), 202),
        ),
        at(
            Post,
            "password/forgot",
            Anyone,
            forgot,
            doc("forgot_password", "Send a letter to set a new password", Some(address_schema()), 202),
        ),
        at(
            Post,
            "password/reset",
            Anyone,
            reset,
            doc("reset_password", "Set a new password by the ticket in a letter", Some(reset_schema()), 204),
        ),
        at(Put, "password", Authenticated, change_password, changed),
        at(
            Post,
            "email",
            Authenticated,
            ask_to_move,
            doc("change_email", "Send a letter to a new address", Some(address_schema()), 202),
        ),
        at(
            Post,
            "email/confirm",
            Anyone,
            move_address,
            doc("confirm_email", "Move the account to that address", Some(ticket_schema()), 204),
        ),
        at(
            Post,
            "deactivate",
            Authenticated,
            deactivate,
            doc("deactivate", "Switch this account off; an administrator can undo it", None, 204),
        ),
    ]
}

#[derive(Deserialize, Validate)]
#[serde(deny_unknown_fields)]
struct Address {
    #[garde(skip)]
    email: String,
}

#[derive(Deserialize, Validate)]
#[serde(deny_unknown_fields)]
struct Ticket {
    #[garde(skip)]
    token: SecretString,
}

#[derive(Deserialize, Validate)]
#[serde(deny_unknown_fields)]
struct Reset {
    #[garde(skip)]
    token: SecretString,
    #[garde(skip)]
    password: SecretString,
}

#[derive(Deserialize, Validate)]
#[serde(deny_unknown_fields)]
struct Change {
    #[garde(skip)]
    current_password: SecretString,
    #[garde(skip)]
    password: SecretString,
}

/// 202: whether something was sent is not told.
fn accepted() -> Response<Body> {
    let mut response = done();
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

fn verify<'r>(app: &'r App, _: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        let Ticket { token } = read(&request)?;
        app.identity.verify(&token).await?;
        Ok(done())
    })
}

fn send_verify<'r>(app: &'r App, _: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        let Address { email } = read(&request)?;
        let asked = app.identity.ask_to_verify(&email, &origin(&request)).await;
        watched(app, &request, "letter", asked)?;
        Ok(accepted())
    })
}

fn forgot<'r>(app: &'r App, _: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        let Address { email } = read(&request)?;
        let asked = app.identity.ask_to_reset(&email, &origin(&request)).await;
        watched(app, &request, "letter", asked)?;
        Ok(accepted())
    })
}

fn reset<'r>(app: &'r App, _: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        let Reset { token, password } = read(&request)?;
        let account = app.identity.reset_password(&token, password).await?;
        app.audit.record(request.by.account(account), What::Ended { scope: "account" });
        Ok(done())
    })
}

fn change_password<'r>(app: &'r App, permit: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        let Change { current_password, password } = read(&request)?;
        let from = origin(&request);
        let changed = app.identity.change_password(permit.actor(), current_password, password, &from).await;
        let pass = watched(app, &request, "login", changed)?;
        app.audit.record(request.by, What::Ended { scope: "account" });
        answer(StatusCode::OK, &token_json(&pass))
    })
}

fn ask_to_move<'r>(app: &'r App, permit: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        let Address { email } = read(&request)?;
        let asked = app.identity.ask_to_move(permit.actor(), &email, &origin(&request)).await;
        watched(app, &request, "letter", asked)?;
        Ok(accepted())
    })
}

fn move_address<'r>(app: &'r App, _: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        let Ticket { token } = read(&request)?;
        let account = app.identity.move_address(&token).await?;
        app.audit.record(request.by.account(account), What::Moved {});
        Ok(done())
    })
}

fn deactivate<'r>(app: &'r App, permit: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        request.ensure_empty()?;
        app.identity.deactivate(permit.actor()).await?;
        app.audit.record(request.by, What::Ended { scope: "account" });
        Ok(done())
    })
}

fn object(properties: Value) -> Value {
    let required: Vec<&String> = properties.as_object().into_iter().flat_map(|members| members.keys()).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn password(what: &str) -> Value {
    json!({"type": "string", "format": "password", "minLength": 8, "maxLength": 1024, "description": what})
}

fn token() -> Value {
    json!({"type": "string", "maxLength": 64, "description": "The ticket in the letter; it works once."})
}

fn address_schema() -> Value {
    object(json!({"email": {"type": "string", "format": "email", "maxLength": 254}}))
}

fn ticket_schema() -> Value {
    object(json!({"token": token()}))
}

fn reset_schema() -> Value {
    object(json!({"token": token(), "password": password("The new one.")}))
}

fn change_schema() -> Value {
    let current =
        json!({"type": "string", "format": "password", "maxLength": 1024, "description": "The one until now."});
    object(json!({"current_password": current, "password": password("The new one.")}))
}
