//! `/healthz`, `/readyz`, `/metrics`: alive, able to work, and what is measured.

use std::sync::Arc;
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use castback_schemas::{Micros, Slot, Topic};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use prometheus::{Encoder, TextEncoder};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::app::{App, Part};
use crate::identity::Caller;
use crate::problem::{Code, Problem, Result};

/// Longest wait for one part; then it counts as not ready.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where the store is asked for objects: nothing lies there.
const PROBE: &str = "readiness";

/// Whether the process answers.
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200)))]
pub(crate) async fn live() -> Answer<Value> {
    Answer(json!({ "status": "ok" }))
}

/// Whether log, catalogue and store answer; says which does not.
#[utoipa::path(get, path = "/readyz", tag = "operation",
    responses((status = 200), (status = 503, description = "something does not answer")))]
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Response {
    let slot = Slot(0);
    let (log, catalogue, store) = tokio::join!(
        timeout(PATIENCE, app.log.ends(Topic::ListenerRequests, slot)),
        timeout(PATIENCE, app.catalogue.readiness()),
        timeout(PATIENCE, app.store.objects().written_before(PROBE, Micros(0))),
    );
    let parts = [
        ("log", matches!(log, Ok(Ok(_)))),
        ("catalogue", matches!(catalogue, Ok(Ok(())))),
        ("store", matches!(store, Ok(Ok(_)))),
        ("accepting", !app.stopping.is_cancelled()),
    ];
    let all = parts.iter().all(|(_, ready)| *ready);
    let status = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let parts: serde_json::Map<String, Value> =
        parts.iter().map(|(name, ready)| ((*name).to_owned(), json!(ready))).collect();
    (status, Answer(json!({ "ready": all, "parts": parts }))).into_response()
}

/// All metrics of the process in Prometheus' text format, for operators; without a key on `METRICS_LISTEN`.
#[utoipa::path(get, path = "/metrics", tag = "operation", responses((status = 200, content_type = "text/plain")))]
pub(crate) async fn metrics(State(app): State<Arc<App>>, caller: Caller) -> Result<Response> {
    caller.operator()?;
    exposition(&app)
}

/// The same for whoever reaches the metrics' own address.
pub(crate) async fn local_metrics(State(app): State<Arc<App>>) -> Result<Response> {
    exposition(&app)
}

fn exposition(app: &App) -> Result<Response> {
    if !app.settings.has(Part::Metrics) {
        return Err(Problem::new(Code::Disabled, "metrics are switched off (METRICS_ENABLED)"));
    }
    let mut text = Vec::new();
    let encoder = TextEncoder::new();
    encoder.encode(&app.registry.gather(), &mut text).map_err(Problem::internal)?;
    Ok(([(CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response())
}
