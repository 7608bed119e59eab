//! `GET /metrics`

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use crate::app::App;
use crate::metrics::CONTENT;

/// Metrics in OpenMetrics text
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operate",
    responses((status = 200, description = "All of them", body = String, content_type = "application/openmetrics-text"))
)]
pub(super) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let text = app.metrics.scrape(&app.engine.stats(), app.engine.pool().policies().len());
    ([(CONTENT_TYPE, CONTENT)], text)
}
