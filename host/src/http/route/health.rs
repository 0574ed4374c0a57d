//! The admin port, for operators on loopback: is it alive, is it ready, what did it count.

use std::{sync::Arc, time::Duration};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;

use crate::{capability::budget::Report, http::App};

/// How long readiness waits for PostgreSQL.
const READY_WITHIN: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Admin {
    app: Arc<App>,
    metrics: PrometheusHandle,
}

/// `/livez`, `/readyz`, `/metrics`, and `/plugins` for `dinehub top`.
pub fn service(app: Arc<App>, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/plugins", get(plugins))
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

/// What one plugin used since the host started.
#[derive(Serialize)]
struct Used {
    plugin: String,
    version: String,
    digest: String,
    /// Calls that are running now, nested ones not counted.
    running: usize,
    #[serde(flatten)]
    report: Report,
}

async fn plugins(State(Admin { app, .. }): State<Admin>) -> Json<Vec<Used>> {
    let edition = app.edition();
    let used = edition.registry.iter().map(|plugin| Used {
        plugin: plugin.id().to_string(),
        version: plugin.package.manifest.version.to_string(),
        digest: plugin.package.digest.clone(),
        running: plugin.running(),
        report: plugin.approved().budget().report(plugin.approved().limits()),
    });
    Json(used.collect())
}
