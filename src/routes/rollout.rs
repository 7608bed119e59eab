//! `/admin/rollout`

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use tureen_engine::{Beside, EngineError};

use super::reload::refused;
use crate::app::App;
use crate::extract::Valid;
use crate::problem::ApiError;
use crate::startup;
use crate::wire::problem::Problem;
use crate::wire::rollout::{RolloutOrder, RolloutRequest, RolloutView};

/// Which revisions are served
#[utoipa::path(
    get,
    path = "/admin/rollout",
    tag = "operate",
    responses((status = 200, description = "The stable revision, and the candidate if there is one", body = RolloutView))
)]
pub(super) async fn get_rollout(State(app): State<App>) -> Json<RolloutView> {
    view(&app)
}

/// Serve some users with another revision
///
/// Opens the revision beside the one that is served, changes who gets it, or makes it the stable one for everybody. All
/// or nothing: with any problem everything stays as it is. Running generations end on the revision they began with. With
/// `shadow` nobody sees what the candidate generates: it is counted and dropped.
#[utoipa::path(
    post,
    path = "/admin/rollout",
    tag = "operate",
    request_body = RolloutRequest,
    responses(
        (status = 200, description = "What is served now", body = RolloutView),
        (status = 409, description = "The folder holds another revision, there is no folder, or another roll-out is \
            running", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A value cannot be used, the memory budget is too small, or the pool was refused; \
            `problems` lists why", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No room now; see Retry-After", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn post_rollout(
    State(app): State<App>,
    Valid(order): Valid<RolloutRequest>,
) -> Result<Json<RolloutView>, ApiError> {
    let _one_at_a_time = app.reloading.clone().lock_owned().await;
    let result = follow(&app, order).await;
    if let Err(error) = &result {
        tracing::warn!(code = error.code, detail = error.detail, "the roll-out stays as it is");
    }
    result.map(|()| view(&app))
}

/// Take the candidate back
///
/// Requests from now on are served by the stable revision; the candidate's running generations end on it. Does nothing
/// when no roll-out is running.
#[utoipa::path(
    delete,
    path = "/admin/rollout",
    tag = "operate",
    responses((status = 200, description = "What is served now", body = RolloutView))
)]
pub(super) async fn delete_rollout(State(app): State<App>) -> Json<RolloutView> {
    // Not one at a time: this must not wait for a candidate that is being read.
    app.rollout.take_back();
    view(&app)
}

fn view(app: &App) -> Json<RolloutView> {
    Json(RolloutView::new(&app.rollout, &app.engine.pool()))
}

/// Does what the order says.
async fn follow(app: &App, RolloutOrder { revision, plan }: RolloutOrder) -> Result<(), ApiError> {
    let conflict = |code, detail: String| ApiError::new(StatusCode::CONFLICT, code, detail);
    let ended = || conflict("rollout_ended", "the roll-out has just ended; GET /admin/rollout tells how".into());
    match app.rollout.running().map(|running| running.pool().revision().to_string()) {
        Some(running) if running != revision => {
            let detail = format!("{running} is being rolled out: promote it or take it back first");
            return Err(conflict("rollout_running", detail));
        }
        Some(_) => {}
        None if app.engine.pool().revision().to_string() == revision => {
            let detail = "this revision is the stable one: everybody is served by it".into();
            return Err(conflict("revision_is_stable", detail));
        }
        None => {
            let (worker, since) = (app.clone(), app.rollout.since());
            let opened = tokio::task::spawn_blocking(move || open(&worker, &revision)).await;
            let beside = opened.unwrap_or_else(|_| Err(ApiError::of_status(StatusCode::INTERNAL_SERVER_ERROR)))?;
            tracing::info!(revision = %beside.pool().revision(), "a roll-out begins");
            if !app.rollout.begin(beside, since) {
                return Err(ended());
            }
        }
    }
    let done = match plan {
        Some(plan) => app.rollout.change(plan),
        None => app.rollout.promote(&app.engine).map_err(|e| not_opened(app, &e))?,
    };
    if done { Ok(()) } else { Err(ended()) }
}

/// The candidate, ready beside the stable revision.
fn open(app: &App, revision: &str) -> Result<Beside, ApiError> {
    if app.config.pool.candidate_dir.is_none() && app.config.pool.dir.is_none() {
        let detail = "there is no folder to read: [pool] dir and candidate_dir are empty";
        return Err(ApiError::new(StatusCode::CONFLICT, "no_pool", detail));
    }
    let pool = startup::open_candidate(&app.config, app.engine.checkpoint()).map_err(refused)?;
    let found = pool.revision().to_string();
    if found != revision {
        let detail = format!("the folder holds revision {found}");
        return Err(ApiError::new(StatusCode::CONFLICT, "other_revision", detail).at("revision"));
    }
    app.engine.open_beside(Arc::new(pool)).map_err(|e| not_opened(app, &e))
}

fn not_opened(app: &App, error: &EngineError) -> ApiError {
    match error {
        EngineError::NoRoom { .. } => {
            ApiError::busy("out_of_memory", error.to_string(), app.config.limits.retry_after_s)
        }
        EngineError::TooLarge { .. } => ApiError::invalid("out_of_memory", "revision", error.to_string()),
        other => ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "pool_refused", other.to_string()),
    }
}
