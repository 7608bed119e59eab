//! `GET /readyz`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::problem::ApiError;
use crate::wire::problem::Problem;

/// Ready, and with what.
#[derive(Serialize, ToSchema)]
pub(super) struct Ready {
    #[schema(value_type = String, example = "ready")]
    status: &'static str,
    /// The pool that is served.
    revision: String,
}

/// Can it take requests?
///
/// 503 while shutting down, when the engine is unhealthy, and when a file of the pool changed under the server.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operate",
    responses(
        (status = 200, description = "It can", body = Ready),
        (status = 503, description = "It cannot; `code` tells why", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn readyz(State(app): State<App>) -> Result<Json<Ready>, ApiError> {
    let not_ready = |code, detail: String| Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, detail));
    if app.lifecycle.is_draining() {
        return not_ready("shutting_down", "the server is shutting down".into());
    }
    if !app.engine.is_healthy() {
        return not_ready("engine_unhealthy", "the engine stopped working; the server is leaving".into());
    }
    let pool = app.engine.pool();
    let candidate = app.rollout.running().map(|running| running.pool().changed_files());
    let changed = [pool.changed_files(), candidate.unwrap_or_default()].concat();
    if let Some(first) = changed.first() {
        let name = first.file_name().unwrap_or_default().to_string_lossy();
        let detail = format!(
            "{} file(s) of the pool changed in place, first {name}; put them back by rename and reload",
            changed.len()
        );
        return not_ready("pool_changed", detail);
    }
    Ok(Json(Ready { status: "ready", revision: pool.revision().to_string() }))
}
