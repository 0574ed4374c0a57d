//! The only place that turns an [`Error`] into a response: `application/problem+json` (RFC 9457).

use axum::{
    body::Body,
    http::{HeaderValue, Response, header},
};
use serde::Serialize;

use crate::{
    error::{Error, Violation},
    id::{Denial, RequestId},
};

/// The media type of every failure.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// The body of a failure.
#[derive(Debug, Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    request_id: String,
    /// For `dinehub grants explain --denial`.
    #[serde(skip_serializing_if = "Option::is_none")]
    denial: Option<&'a Denial>,
    #[serde(skip_serializing_if = "<[Violation]>::is_empty")]
    errors: &'a [Violation],
}

/// What the layers log about a failure; travels beside the response, never in it.
#[derive(Clone, Debug)]
pub struct Failure {
    pub code: String,
    pub log: String,
    pub level: tracing::Level,
    pub blame: crate::error::Blame,
}

/// The response for `error`.
#[must_use]
pub fn respond(error: &Error, request: RequestId) -> Response<Body> {
    let status = error.status();
    let problem = Problem {
        kind: format!("urn:dinehub:problem:{}", error.code()),
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        detail: &error.public(),
        code: error.code(),
        request_id: request.to_string(),
        denial: if let Error::Forbidden(denial) = error { Some(denial) } else { None },
        errors: if let Error::Invalid(violations) = error { violations } else { &[] },
    };
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    match error {
        Error::Unauthenticated(_) => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Error::MethodNotAllowed(allow) => {
            headers.extend(HeaderValue::from_str(allow).ok().map(|allow| (header::ALLOW, allow)));
        }
        Error::Throttled { retry_after_s } => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(*retry_after_s));
        }
        Error::Unavailable(_) | Error::InFlight => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    response.extensions_mut().insert(Failure {
        code: error.code().to_owned(),
        log: error.log().into_owned(),
        level: error.level(),
        blame: error.blame(),
    });
    response
}
