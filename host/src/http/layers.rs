//! Everything that wraps a request, in one function; the outermost line comes first.

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{self, State},
    http::{HeaderName, HeaderValue, Response, header},
    middleware::{self, Next},
    response::IntoResponse as _,
};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

use super::{
    App, forward,
    problem::{self, Failure},
    request::Request,
    router::Target,
};
use crate::{access::permit, error::Error, id::RequestId};

/// Answers every path.
pub fn service(app: Arc<App>) -> Router {
    walled(Router::new().fallback(answer).with_state(app))
}

/// Any router behind what wraps every request; the order of the lines is the order of the walls.
pub fn walled(inner: Router) -> Router {
    inner.layer(
        ServiceBuilder::new()
            // Every response carries the headers, also one made by a panic.
            .layer(middleware::map_response(harden))
            // One id per request, before anything can fail; one line and one count per response, after everything did.
            .layer(middleware::from_fn(watch))
            // A bug answers 500 and ends no connection but its own.
            .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
                problem::respond(&Error::internal("a handler panicked"), RequestId::fresh()).into_response()
            })),
    )
}

/// Route → actor → permit → answer: each step demands what the one before made.
async fn answer(State(app): State<Arc<App>>, request: extract::Request) -> Response<Body> {
    let id = request.extensions().get::<RequestId>().copied().unwrap_or_else(RequestId::fresh);
    match straight(&app, id, request).await {
        Ok(response) => response,
        Err(error) => problem::respond(&error, id),
    }
}

async fn straight(app: &Arc<App>, id: RequestId, request: extract::Request) -> Result<Response<Body>, Error> {
    let (parts, body) = request.into_parts();
    let (route, params) = app.router.find(parts.method.as_str(), parts.uri.path())?;
    let actor = app.identity.actor(&parts.headers)?;
    let permit = permit::permit(actor, &route.rule, &app.roles, &route.denial)?;
    let body = read(app, body).await?;
    let request = Request { id, parts: &parts, params, body: &body };
    let mut response = match &route.target {
        Target::Host(action) => (action.run)(app, permit, request).await?,
        Target::Plugin(served) => forward::answer(app, served, permit, request).await?,
    };
    response.extensions_mut().insert(Pattern(route.pattern.as_str().into()));
    Ok(response)
}

/// The whole body, bounded in bytes and in time.
async fn read(app: &App, body: Body) -> Result<bytes::Bytes, Error> {
    let bytes_max = app.bounds.body_bytes_max;
    let within = std::time::Duration::from_millis(app.bounds.body_ms);
    match tokio::time::timeout(within, to_bytes(body, bytes_max)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if is_too_large(&error) => Err(Error::TooLarge { bytes_max }),
        Ok(Err(_)) => Err(Error::Malformed("The body broke off.".into())),
        Err(_) => Err(Error::Malformed("The body took too long to arrive.".into())),
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

/// The route's pattern, for logs and metrics: paths themselves hold ids.
#[derive(Clone, Debug)]
pub struct Pattern(pub Arc<str>);

async fn watch(mut request: extract::Request, next: Next) -> Response<Body> {
    let id = RequestId::fresh();
    request.extensions_mut().insert(id);
    let started = Instant::now();
    let method = request.method().clone();
    let mut response = next.run(request).await;
    let route = response.extensions_mut().remove::<Pattern>().map_or_else(|| "-".into(), |pattern| pattern.0);
    let failure = response.extensions_mut().remove::<Failure>();
    let status = response.status().as_u16();
    let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    record(&method, &route, status, micros);
    match failure {
        None => tracing::debug!(target: "request", request_id = %id, %method, %route, status, micros, "answered"),
        Some(failure) => {
            let (code, why, blame) = (&failure.code, &failure.log, failure.blame);
            macro_rules! line {
                ($level:ident) => {
                    tracing::$level!(target: "request", request_id = %id, %method, %route, status, micros, %code, ?blame, "{why}")
                };
            }
            match failure.level {
                tracing::Level::ERROR => line!(error),
                tracing::Level::WARN => line!(warn),
                _ => line!(info),
            }
        }
    }
    response.headers_mut().extend(HeaderValue::from_str(&id.to_string()).ok().map(|id| (X_REQUEST_ID, id)));
    response
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

fn record(method: &axum::http::Method, route: &Arc<str>, status: u16, micros: u64) {
    let labels = [("method", method.to_string()), ("route", route.to_string()), ("status", status.to_string())];
    metrics::counter!("dinehub_requests_total", &labels).increment(1);
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a request are far below 2⁵²")]
    metrics::histogram!("dinehub_request_seconds", "route" => route.to_string()).record(micros as f64 / 1e6);
}

/// Headers of every response (S36). The API serves no page, so its policy allows nothing at all; `/docs` sets its own.
async fn harden(mut response: Response<Body>) -> Response<Body> {
    const ALWAYS: [(HeaderName, &str); 8] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ),
        (header::STRICT_TRANSPORT_SECURITY, "max-age=63072000; includeSubDomains"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
