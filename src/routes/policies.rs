//! `GET /policies`

use axum::Json;
use axum::extract::State;

use crate::app::App;
use crate::wire::policies::PoliciesResponse;

/// The pool
///
/// Dimensions, policies and how they conflict.
#[utoipa::path(
    get,
    path = "/policies",
    tag = "pool",
    responses((status = 200, description = "The pool", body = PoliciesResponse))
)]
pub(super) async fn policies(State(app): State<App>) -> Json<PoliciesResponse> {
    Json(PoliciesResponse::new(&app.engine.pool()))
}
