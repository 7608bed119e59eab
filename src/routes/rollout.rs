//! `/admin/rollout`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use crate::app::App;
use crate::extract::Valid;
use crate::problem::ApiError;
use crate::rollout::{Plan, not_opened, open};
use crate::store::StoreError;
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
    responses(
        (status = 200, description = "What is served now", body = RolloutView),
        (status = 503, description = "It is taken back, and the store does not answer: a restart now would take it up", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete_rollout(State(app): State<App>) -> Result<Json<RolloutView>, ApiError> {
    // Not one at a time: this must not wait for a candidate that is being read.
    app.rollout.take_back();
    keep(&app).await?;
    Ok(view(&app))
}

fn view(app: &App) -> Json<RolloutView> {
    Json(RolloutView::new(&app.rollout, &app.engine.pool()))
}

/// Does what the order says.
async fn follow(app: &App, RolloutOrder { revision, plan }: RolloutOrder) -> Result<(), ApiError> {
    let conflict = |code, detail: String| ApiError::new(StatusCode::CONFLICT, code, detail);
    let ended = || conflict("rollout_ended", "the roll-out has just ended; GET /admin/rollout tells how".into());
    let stays = |e| not_kept(&e, "the roll-out stays as it is");
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
            let revision = beside.pool().revision().to_string();
            let first = plan.clone().unwrap_or_else(Plan::nobody);
            if !app.rollout.begin(beside, since, first).await.map_err(stays)? {
                return Err(ended());
            }
            tracing::info!(revision, "a roll-out begins");
            if plan.is_some() {
                return Ok(());
            }
        }
    }
    let Some(plan) = plan else {
        let promoted = app.rollout.promote(&app.engine).map_err(|e| not_opened(app, &e))?;
        return if promoted { keep(app).await } else { Err(ended()) };
    };
    if app.rollout.change(plan).await.map_err(stays)? { Ok(()) } else { Err(ended()) }
}

/// Stores what has ended already.
async fn keep(app: &App) -> Result<(), ApiError> {
    let done =
        "it is done on this server, and will be stored as soon as that is possible; a restart before takes it back";
    app.rollout.keep().await.map_err(|e| not_kept(&e, done))
}

fn not_kept(error: &StoreError, what: &str) -> ApiError {
    ApiError::busy("store_unavailable", format!("the store, which keeps roll-outs over a restart: {error}; {what}"), 1)
}
