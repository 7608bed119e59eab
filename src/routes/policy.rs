//! `GET /policies/{id}`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use crate::app::App;
use crate::problem::ApiError;
use crate::wire::policies::{PolicyResponse, PolicyView};
use crate::wire::problem::Problem;

/// One policy
#[utoipa::path(
    get,
    path = "/policies/{id}",
    tag = "pool",
    params(("id" = String, Path, description = "Id of the policy")),
    responses(
        (status = 200, description = "The policy", body = PolicyResponse),
        (status = 404, description = "No such policy", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn policy(State(app): State<App>, Path(id): Path<String>) -> Result<Json<PolicyResponse>, ApiError> {
    let pool = app.engine.pool();
    let index = pool.index_of(&id).ok_or_else(|| {
        let known: Vec<_> = pool.policies().iter().map(|p| p.id().to_string()).collect();
        let detail = format!("there is no policy {id:?}; the pool has {}", known.join(", "));
        ApiError::new(StatusCode::NOT_FOUND, "unknown_policy", detail)
    })?;
    let row = pool.conflicts().swap_remove(index);
    let names = pool.policies().iter().map(|p| p.id().to_string());
    Ok(Json(PolicyResponse {
        policy: PolicyView::new(&pool.policies()[index], pool.norms()[index]),
        revision: pool.revision().to_string(),
        conflicts: names.zip(row).collect(),
    }))
}
