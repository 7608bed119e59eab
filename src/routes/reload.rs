//! `POST /admin/pool/reload`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::problem::ApiError;
use crate::startup;
use crate::wire::problem::Problem;

/// What a reload changed.
#[derive(Serialize, ToSchema)]
pub(super) struct Reloaded {
    /// The revision served from now on.
    revision: String,
    /// The one before.
    previous: String,
    /// Whether they differ.
    changed: bool,
    /// Policies in the pool now.
    policies: usize,
}

/// Read the pool again
///
/// All or nothing: with any problem the old revision goes on being served. Running generations end on the revision
/// they began with.
#[utoipa::path(
    post,
    path = "/admin/pool/reload",
    tag = "operate",
    responses(
        (status = 200, description = "The pool that is served now", body = Reloaded),
        (status = 409, description = "The server runs without a pool folder, or a roll-out is running", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "The pool was refused; `problems` lists why", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "Not now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn reload(State(app): State<App>) -> Result<Json<Reloaded>, ApiError> {
    if app.config.pool.dir.is_none() {
        return Err(ApiError::new(StatusCode::CONFLICT, "no_pool", "there is no folder to read: [pool] dir is empty"));
    }
    let _one_at_a_time = app.reloading.clone().lock_owned().await;
    if app.rollout.running().is_some() {
        let detail = "a roll-out is running: promote its candidate or take it back first, see /admin/rollout";
        return Err(ApiError::new(StatusCode::CONFLICT, "rollout_running", detail));
    }
    let worker = app.clone();
    let result = tokio::task::spawn_blocking(move || swap(&worker)).await;
    let result = result.unwrap_or_else(|_| Err(ApiError::of_status(StatusCode::INTERNAL_SERVER_ERROR)));
    app.metrics.reloaded(result.is_ok());
    match &result {
        Ok(Json(reloaded)) => tracing::info!(revision = reloaded.revision, "pool reloaded"),
        Err(error) => tracing::warn!(code = error.code, detail = error.detail, "pool not reloaded, the old one stays"),
    }
    result
}

fn swap(app: &App) -> Result<Json<Reloaded>, ApiError> {
    let pool = Arc::new(startup::open_pool(&app.config, app.engine.checkpoint())?);
    let previous = app.engine.pool().revision().to_string();
    let revision = pool.revision().to_string();
    let policies = pool.policies().len();
    app.engine.reload(pool).map_err(|e| {
        let detail = format!("the engine did not take the pool, the old one stays: {e}");
        ApiError::busy("reload_refused", detail, app.config.limits.retry_after_s)
    })?;
    Ok(Json(Reloaded { changed: revision != previous, revision, previous, policies }))
}
