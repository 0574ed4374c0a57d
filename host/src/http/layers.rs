//! Everything that wraps a request, in one function; the outermost line comes last, because an answer passes it last.
//!
//! It is a function and no stack of layers: each layer would put the future of those inside it into a box of its own and
//! copy it there, which for a short request costs as much as its answer.

use std::{
    panic::AssertUnwindSafe,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Method, Request as HttpRequest, Response, header},
};
use futures::FutureExt as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Incoming};

use super::{
    App, condition, cors, forward, framing, meter,
    problem::{self, Failure},
    rate::Standing,
    request::Request,
    router::{Route, Target},
    serve::Peer,
    witness::{self, Seen},
};
use crate::{access::permit, audit::event::By, deadline::within, error::Error, id::RequestId};

/// Answers every path.
pub async fn answer(app: Arc<App>, request: HttpRequest<Incoming>, peer: Peer) -> Response<Body> {
    let answer = async |request: HttpRequest<Incoming>, peer: Peer, id| {
        // A page of which origin asks; most hosts let none read anything.
        let origin = if app.edge.cors.is_closed() { None } else { request.headers().get(header::ORIGIN).cloned() };
        // Who is counted, by the peer's or a trusted proxy's word.
        let mut standing = app.edge.rates.begin(app.edge.proxies.source(peer.0, request.headers()));
        let mut seen = Seen { by: By::request(id), peer, source: standing.source(), route: None };
        let mut answer: Answer = match straight(&app, id, request, &mut standing, &mut seen).await {
            Ok(answer) => answer,
            Err(error) => {
                witness::refusal(&app, &seen, &error);
                witness::throttled(&app, &seen, standing.refusal_to_tell());
                let mut response = problem::respond(&error, id);
                // A refusal by a version that will go says so as well.
                if let Some(Target::Plugin(served)) = seen.route.as_ref().map(|route| &route.target) {
                    served.announce(&mut response);
                }
                response.into()
            }
        };
        // An answer says how much is left, whatever it is.
        standing.write(answer.response.headers_mut());
        // Whether that page may read it, be it a refusal.
        app.edge.cors.write(origin.as_ref(), answer.response.headers_mut());
        answer
    };
    walled(request, peer, answer).await
}

/// A response, and the route that gave it.
#[derive(Debug)]
pub struct Answer {
    response: Response<Body>,
    route: Option<Arc<Route>>,
}

impl From<Response<Body>> for Answer {
    fn from(response: Response<Body>) -> Self {
        Self { response, route: None }
    }
}

/// Any handler behind what wraps every request.
pub async fn walled<A: Into<Answer>, F: Future<Output = A>>(
    request: HttpRequest<Incoming>,
    peer: Peer,
    handler: impl FnOnce(HttpRequest<Incoming>, Peer, RequestId) -> F,
) -> Response<Body> {
    // One id per request, before anything can fail.
    let id = RequestId::fresh();
    let (method, started) = (request.method().clone(), Instant::now());
    let is_last = framing::is_last(request.version(), request.headers());
    // A bug answers 500 and ends no connection but its own.
    let answered = AssertUnwindSafe(pin!(handler(request, peer, id))).catch_unwind().await;
    let Answer { mut response, route } = match answered {
        Ok(answer) => answer.into(),
        Err(_) => problem::respond(&Error::internal("a handler panicked"), id).into(),
    };
    // One line and one count per response, after everything did.
    watch(&mut response, id, &method, route.as_deref(), started.elapsed());
    // Every response carries the headers, also one made by a panic.
    harden(&mut response, id);
    // What somebody before us may have read differently has no successor on its connection.
    if is_last {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Source → route → actor → permit → answer: each step demands what the one before made.
async fn straight(
    app: &Arc<App>,
    id: RequestId,
    request: HttpRequest<Incoming>,
    standing: &mut Standing<'_>,
    seen: &mut Seen,
) -> Result<Answer, Error> {
    let (parts, body) = request.into_parts();
    // What could be read in two ways is not read at all.
    framing::ensure_sound(&parts)?;
    // Before anybody is anybody: guessing tokens counts as well.
    standing.ask_source()?;
    // Scanners cost no more than this.
    if let Some(filter) = &app.edge.filter {
        filter.ensure_head(&parts, |rule| witness::hit(app, seen, rule))?;
    }
    let edition = app.edition();
    // What may be asked of a path is no secret, and a browser asks it without a credential.
    if cors::is_options(&parts.method) {
        return Ok(app.edge.cors.options(&parts.headers, &edition.router.allow(parts.uri.path())?).into());
    }
    let found = edition.router.find(parts.method.as_str(), parts.uri.path());
    let (route, params) = match found {
        Err(Error::NotFound) => {
            edition.registry.ensure_enabled(parts.uri.path())?;
            return Err(Error::NotFound);
        }
        found => found?,
    };
    seen.route = Some(Arc::clone(route));
    // A condition that nothing can decide is not passed over.
    if !route.is_conditional() {
        condition::ensure_none(&parts.headers)?;
    }
    let actor = app.identity.actor(&parts.headers)?;
    seen.by = actor.by(id);
    // One account is one, from wherever it asks.
    standing.ask_account(actor.account(), route)?;
    let permit = permit::permit(actor, &route.rule, &app.roles, &route.denial)?;
    let body = read(app, body).await?;
    // Only if a rule wants to see it.
    if let Some(filter) = app.edge.filter.as_ref().filter(|filter| filter.wants_body() && !body.is_empty()) {
        filter.ensure_body(&parts, &body, |rule| witness::hit(app, seen, rule))?;
    }
    let (peer, by, source) = (seen.peer, seen.by, seen.source);
    let request = Request { id, peer, by, source, parts: &parts, params, body: &body };
    let response = match &route.target {
        Target::Host(action) => (action.run)(app, permit, request).await?,
        Target::Plugin(served) => {
            // The one box: a call's future is thousands of bytes, which each future around it would be as well, and hyper copies.
            let mut response = Box::pin(forward::answer(app, &edition, served, permit, request)).await?;
            served.announce(&mut response);
            response
        }
    };
    Ok(Answer { response, route: seen.route.take() })
}

/// The whole body, bounded in bytes and in time.
async fn read(app: &App, body: Incoming) -> Result<Bytes, Error> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let bytes_max = app.bounds.body_bytes_max;
    let limit = Duration::from_millis(app.bounds.body_ms);
    match within(limit, pin!(Limited::new(body, bytes_max).collect())).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Error::TooLarge { bytes_max }),
        Ok(Err(_)) => Err(Error::Malformed("The body broke off.".into())),
        Err(_) => Err(Error::Malformed("The body took too long to arrive.".into())),
    }
}

/// Counts and logs by the route's pattern: paths themselves hold ids.
fn watch(response: &mut Response<Body>, id: RequestId, method: &Method, route: Option<&Route>, took: Duration) {
    let status = response.status();
    match route {
        Some(route) => route.meters.count(&route.pattern, method, status, took),
        None => meter::count(method, status, took),
    }
    let route = route.map_or("-", |route| &route.pattern);
    let (status, micros) = (status.as_u16(), u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    let Some(failure) = response.extensions_mut().remove::<Failure>() else {
        tracing::debug!(target: "request", request_id = %id, %method, route, status, micros, "answered");
        return;
    };
    let (code, why, blame) = (&failure.code, &failure.log, failure.blame);
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(target: "request", request_id = %id, %method, route, status, micros, %code, ?blame, "{why}")
        };
    }
    match failure.level {
        tracing::Level::ERROR => line!(error),
        tracing::Level::WARN => line!(warn),
        _ => line!(info),
    }
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Headers of every response (S36). The API serves no page, so its policy allows nothing at all; `/docs` sets its own.
static ALWAYS: [(HeaderName, HeaderValue); 8] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    ),
    (header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=63072000; includeSubDomains")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), geolocation=(), microphone=()"),
    ),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

fn harden(response: &mut Response<Body>, id: RequestId) {
    let headers = response.headers_mut();
    headers.reserve(ALWAYS.len() + 1);
    for (name, value) in &ALWAYS {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    let mut text = [0; 36];
    headers.extend(HeaderValue::from_str(id.0.hyphenated().encode_lower(&mut text)).ok().map(|id| (X_REQUEST_ID, id)));
}
