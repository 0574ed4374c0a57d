//! `/api/v1/auth/…`: register, log in, who am I.

use axum::http::{StatusCode, header};
use garde::Validate;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, answer, operation, read, route};
use crate::{
    access::{permit::Permit, policy::Rule},
    audit::event::{Masked, What},
    error::{Error, Unproven},
    http::{App, request::Request, router::Route},
    identity::{
        account::{Account, NewAccount},
        login::{Login, Pass},
        session::{Device, Origin},
    },
    plugin::manifest::Method,
};

const TAG: &str = "auth";

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    let post = |path: &str, rule, run, doc| route(Method::Post, &format!("/api/v1/auth/{path}"), rule, run, doc);
    vec![
        post(
            "register",
            Rule::Anyone,
            register,
            operation(
                "auth.register",
                TAG,
                "Open an account",
                Some(registration_schema()),
                201,
                Some(account_schema()),
            ),
        ),
        post(
            "login",
            Rule::Anyone,
            login,
            operation(
                "auth.login",
                TAG,
                "Exchange e-mail and password for an access token",
                Some(login_schema()),
                200,
                Some(json!({"oneOf": [token_schema(), half_schema()]})),
            ),
        ),
        route(
            Method::Get,
            "/api/v1/auth/me",
            Rule::Authenticated,
            me,
            operation("auth.me", TAG, "The account behind this token", None, 200, Some(account_schema())),
        ),
    ]
}

#[derive(Deserialize, Validate)]
#[serde(deny_unknown_fields)]
struct Registration {
    #[garde(skip)]
    email: String,
    #[garde(length(chars, min = 1, max = 100))]
    name: String,
    #[garde(skip)]
    password: SecretString,
}

#[derive(Deserialize, Validate)]
#[serde(deny_unknown_fields)]
struct Credentials {
    #[garde(length(bytes, max = 254))]
    email: String,
    #[garde(skip)]
    password: SecretString,
}

fn register<'r>(app: &'r App, _: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        let Registration { email, name, password } = read(&request)?;
        let opened = app.identity.open_account(NewAccount { email, name, password }, origin(&request)).await;
        let (account, is_new) = watched(app, &request, "letter", opened)?;
        if is_new {
            let email = Masked::new(&account.email);
            app.audit.record(request.by.account(account.id), What::Opened { account: account.id, email });
        }
        answer(StatusCode::CREATED, &account_json(&account))
    })
}

fn login<'r>(app: &'r App, _: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        let Credentials { email, password } = read(&request)?;
        let proved = app.identity.login(&email, password, origin(&request)).await;
        witness(app, &request, Masked::new(&email), proved.as_ref());
        let body = match proved? {
            Login::Done(pass) => token_json(&pass),
            Login::Pending(half) => json!({
                "mfa_token": half.token.text.expose_secret(),
                "expires_in": half.expires_in_s
            }),
        };
        answer(StatusCode::OK, &body)
    })
}

fn me<'r>(app: &'r App, permit: Permit, _: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        let account = app.identity.me(permit.actor()).await?;
        answer(StatusCode::OK, &account_json(&account))
    })
}

/// One event an attempt. Only here is it known whom it was about, so [`crate::http::witness`] leaves these to this.
fn witness(app: &App, request: &Request<'_>, email: Masked, proved: Result<&Login, &Error>) {
    let source = request.source;
    match proved {
        Ok(Login::Done(pass)) => app.audit.record(request.by.account(pass.account.id), What::Proven { email, source }),
        // Half of it: the second step says how it ended.
        Ok(Login::Pending(_)) => {}
        Err(Error::Unauthenticated(why)) => {
            app.audit.record(request.by, What::Unproven { why: *why, email: Some(email), source });
        }
        Err(Error::Throttled { retry_after_s }) => {
            let (limit, retry_after_s) = ("login", *retry_after_s);
            app.audit.record(request.by, What::Throttled { limit, retry_after_s, email: Some(email), source });
        }
        Err(_) => {}
    }
}

/// What was counted and is too much is recorded here, where it is known what was counted; and so is a password that was wrong.
pub(super) fn watched<T>(
    app: &App,
    request: &Request<'_>,
    limit: &'static str,
    outcome: Result<T, Error>,
) -> Result<T, Error> {
    let source = request.source;
    match &outcome {
        Err(Error::Throttled { retry_after_s }) => {
            let retry_after_s = *retry_after_s;
            app.audit.record(request.by, What::Throttled { limit, retry_after_s, email: None, source });
        }
        Err(Error::Unauthenticated(why @ Unproven::Password)) => {
            app.audit.record(request.by, What::Unproven { why: *why, email: None, source });
        }
        _ => {}
    }
    outcome
}

/// Where a login comes from.
pub(super) fn origin(request: &Request<'_>) -> Origin {
    let device = request.parts.headers.get(header::USER_AGENT).and_then(|agent| Device::read(agent.as_bytes()));
    Origin { source: request.source, device }
}

/// A token as its holder gets it.
pub(super) fn token_json(pass: &Pass) -> Value {
    json!({
        "access_token": pass.access.text.expose_secret(),
        "token_type": "Bearer",
        "expires_in": pass.expires_in_s
    })
}

/// An account as its owner and administrators see it.
pub fn account_json(account: &Account) -> Value {
    json!({
        "id": account.id,
        "email": account.email,
        "name": account.name,
        "roles": account.roles,
        "created_at": account.created_at.to_string()
    })
}

/// The schema of [`account_json`].
pub fn account_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "email": {"type": "string", "format": "email"},
            "name": {"type": "string"},
            "roles": {"type": "array", "items": {"type": "string"}},
            "created_at": {"type": "string", "format": "date-time"}
        },
        "required": ["id", "email", "name", "roles", "created_at"],
        "additionalProperties": false
    })
}

fn registration_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "email": {"type": "string", "format": "email", "maxLength": 254},
            "name": {"type": "string", "minLength": 1, "maxLength": 100},
            "password": {"type": "string", "format": "password", "minLength": 8, "maxLength": 1024}
        },
        "required": ["email", "name", "password"],
        "additionalProperties": false,
        "example": {"email": "ada@example.com", "name": "Ada", "password": "correct horse battery staple"}
    })
}

fn login_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "email": {"type": "string", "maxLength": 254},
            "password": {"type": "string", "format": "password", "maxLength": 1024}
        },
        "required": ["email", "password"],
        "additionalProperties": false,
        "example": {"email": "ada@example.com", "password": "correct horse battery staple"}
    })
}

pub(super) fn token_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "access_token": {"type": "string"},
            "token_type": {"const": "Bearer"},
            "expires_in": {"type": "integer", "description": "Seconds.", "minimum": 1, "maximum": 86_400}
        },
        "required": ["access_token", "token_type", "expires_in"],
        "additionalProperties": false
    })
}

/// What an account with a second factor gets for its password: `mfa_token` opens nothing but `/api/v1/auth/login/mfa`.
fn half_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "mfa_token": {"type": "string"},
            "expires_in": {"type": "integer", "description": "Seconds.", "minimum": 1, "maximum": 300}
        },
        "required": ["mfa_token", "expires_in"],
        "additionalProperties": false
    })
}
