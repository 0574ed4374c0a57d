//! The admin port, for operators on loopback: is it alive, is it ready, what did it count.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::http::App;

/// How long readiness waits for PostgreSQL.
const READY_WITHIN: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Admin {
    app: Arc<App>,
    metrics: PrometheusHandle,
}

/// `/livez`, `/readyz`, `/metrics`.
pub fn service(app: Arc<App>, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(async |State(admin): State<Admin>| admin.metrics.render()))
        .with_state(Admin { app, metrics })
}

/// Ready when PostgreSQL answers and the revocations are fresh: exactly when requests would be served.
async fn ready(State(Admin { app, .. }): State<Admin>) -> (StatusCode, &'static str) {
    match tokio::time::timeout(READY_WITHIN, app.identity.ensure_ready()).await {
        Ok(Ok(())) => (StatusCode::OK, "ready\n"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    }
}
