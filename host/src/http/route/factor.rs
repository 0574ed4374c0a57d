//! `/api/v1/auth/mfa/…`, the second step of a login, and proving once more who one is.

use axum::http::StatusCode;
use garde::Validate;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, answer,
    auth::{origin, token_json, token_schema},
    operation, read, route,
};
use crate::{
    access::{permit::Permit, policy::Rule},
    error::Error,
    http::{App, request::Request, router::Route},
    identity::factor::Proof,
    plugin::manifest::Method,
};

const TAG: &str = "auth";

/// The routes.
#[must_use]
pub fn routes() -> Vec<Route> {
    let own =
        |method, path: &str, run, doc| route(method, &format!("/api/v1/auth/{path}"), Rule::Authenticated, run, doc);
    let doc =
        |id: &str, summary: &str, takes, gives| operation(&format!("auth.{id}"), TAG, summary, takes, 200, Some(gives));
    let finish = doc("finish_login", "The second step of a login", Some(finish_schema()), token_schema());
    vec![
        route(Method::Post, "/api/v1/auth/login/mfa", Rule::Anyone, finish_login, finish),
        own(
            Method::Post,
            "step-up",
            step_up,
            doc("step_up", "Prove again who this is; gives another token", Some(proof_schema()), token_schema()),
        ),
        own(Method::Get, "mfa", show, doc("mfa", "What this account is proved with", None, factors_schema())),
        own(
            Method::Post,
            "mfa/totp",
            enrol,
            doc("enrol_totp", "Make a secret for an authenticator", None, enrolment_schema()),
        ),
        own(
            Method::Post,
            "mfa/totp/confirm",
            confirm,
            doc(
                "confirm_totp",
                "Turn the second factor on; every other token ends",
                Some(code_schema()),
                confirmed_schema(),
            ),
        ),
        own(
            Method::Delete,
            "mfa/totp",
            remove,
            doc("remove_totp", "Turn the second factor off; every other token ends", None, token_schema()),
        ),
        own(
            Method::Post,
            "mfa/recovery-codes",
            replace_codes,
            doc("replace_recovery_codes", "Fresh recovery codes instead of the old ones", None, codes_schema()),
        ),
    ]
}

#[derive(Deserialize, Validate)]
#[serde(deny_unknown_fields)]
struct Code {
    #[garde(skip)]
    code: SecretString,
}

#[derive(Deserialize, Validate)]
#[serde(deny_unknown_fields)]
struct Finish {
    #[garde(skip)]
    mfa_token: SecretString,
    #[garde(skip)]
    code: Option<SecretString>,
    #[garde(skip)]
    recovery_code: Option<SecretString>,
}

#[derive(Deserialize, Validate)]
#[serde(deny_unknown_fields)]
struct Again {
    #[garde(skip)]
    password: Option<SecretString>,
    #[garde(skip)]
    code: Option<SecretString>,
    #[garde(skip)]
    recovery_code: Option<SecretString>,
}

/// The one proof of several that were possible.
fn only(given: [Option<Proof>; 3]) -> Result<Proof, Error> {
    let mut given = given.into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(proof), None) => Ok(proof),
        _ => Err(Error::invalid("/code", "must be there, or another proof instead of it")),
    }
}

fn finish_login<'r>(app: &'r App, _: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        let Finish { mfa_token, code, recovery_code } = read(&request)?;
        let proof = only([code.map(Proof::Totp), recovery_code.map(Proof::Recovery), None])?;
        let pass = app.identity.finish_login(&mfa_token, &proof, &origin(&request)).await?;
        answer(StatusCode::OK, &token_json(&pass))
    })
}

fn step_up<'r>(app: &'r App, permit: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        let Again { password, code, recovery_code } = read(&request)?;
        let proof = only([password.map(Proof::Password), code.map(Proof::Totp), recovery_code.map(Proof::Recovery)])?;
        let pass = app.identity.step_up(permit.actor(), proof, &origin(&request)).await?;
        answer(StatusCode::OK, &token_json(&pass))
    })
}

fn show<'r>(app: &'r App, permit: Permit, _: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        let factors = app.identity.factors(permit.actor()).await?;
        let body = json!({"totp": factors.has_totp, "recovery_codes_left": factors.recovery_codes_left});
        answer(StatusCode::OK, &body)
    })
}

fn enrol<'r>(app: &'r App, permit: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        request.ensure_empty()?;
        let enrolment = app.identity.enrol_totp(permit.actor()).await?;
        let body = json!({
            "secret": enrolment.secret.expose_secret(),
            "otpauth_uri": enrolment.uri.expose_secret(),
            "qr_svg": enrolment.qr_svg.expose_secret()
        });
        answer(StatusCode::OK, &body)
    })
}

fn confirm<'r>(app: &'r App, permit: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        let Code { code } = read(&request)?;
        let (pass, codes) = app.identity.confirm_totp(permit.actor(), &code, &origin(&request)).await?;
        let mut body = token_json(&pass);
        if let Value::Object(members) = &mut body {
            members.insert("recovery_codes".to_owned(), shown(&codes));
        }
        answer(StatusCode::OK, &body)
    })
}

fn remove<'r>(app: &'r App, permit: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        request.ensure_empty()?;
        let pass = app.identity.remove_totp(permit.actor()).await?;
        answer(StatusCode::OK, &token_json(&pass))
    })
}

fn replace_codes<'r>(app: &'r App, permit: Permit, request: Request<'r>) -> Answer<'r> {
    Box::pin(async move {
        request.ensure_empty()?;
        let codes = app.identity.replace_recovery_codes(permit.actor()).await?;
        answer(StatusCode::OK, &json!({"recovery_codes": shown(&codes)}))
    })
}

fn shown(codes: &[SecretString]) -> Value {
    codes.iter().map(|code| json!(code.expose_secret())).collect()
}

fn code() -> Value {
    json!({"type": "string", "pattern": "^[0-9]{6}$", "description": "What the authenticator shows."})
}

fn recovery_code() -> Value {
    json!({"type": "string", "maxLength": 32, "description": "One of the codes that were shown when the factor was turned on."})
}

fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn code_schema() -> Value {
    object(json!({"code": code()}), &["code"])
}

fn finish_schema() -> Value {
    let token = json!({"type": "string", "maxLength": 8192, "description": "From POST /api/v1/auth/login."});
    let properties = json!({"mfa_token": token, "code": code(), "recovery_code": recovery_code()});
    let mut schema = object(properties, &["mfa_token"]);
    if let Value::Object(members) = &mut schema {
        members.insert("oneOf".to_owned(), json!([{"required": ["code"]}, {"required": ["recovery_code"]}]));
    }
    schema
}

fn proof_schema() -> Value {
    let password = json!({
        "type": "string", "format": "password", "maxLength": 1024, "description": "For an account without a second factor."
    });
    let properties = json!({"password": password, "code": code(), "recovery_code": recovery_code()});
    let mut schema = object(properties, &[]);
    if let Value::Object(members) = &mut schema {
        let one = json!([{"required": ["password"]}, {"required": ["code"]}, {"required": ["recovery_code"]}]);
        members.insert("oneOf".to_owned(), one);
    }
    schema
}

fn factors_schema() -> Value {
    let left = json!({"type": "integer", "minimum": 0});
    object(json!({"totp": {"type": "boolean"}, "recovery_codes_left": left}), &["totp", "recovery_codes_left"])
}

fn enrolment_schema() -> Value {
    let properties = json!({
        "secret": {"type": "string", "description": "Base32, to type."},
        "otpauth_uri": {"type": "string", "format": "uri"},
        "qr_svg": {"type": "string", "description": "The same URI as an image (SVG)."}
    });
    object(properties, &["secret", "otpauth_uri", "qr_svg"])
}

fn codes() -> Value {
    json!({"type": "array", "items": {"type": "string"}, "description": "Each works once. Shown now and never again."})
}

fn codes_schema() -> Value {
    object(json!({"recovery_codes": codes()}), &["recovery_codes"])
}

fn confirmed_schema() -> Value {
    let mut schema = token_schema();
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("recovery_codes".to_owned(), codes());
    }
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.push(json!("recovery_codes"));
    }
    schema
}
