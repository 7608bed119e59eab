//! `GET /reviews/{id}`

use axum::Json;
use axum::extract::State;

use super::{ReviewId, store, unknown};
use crate::app::App;
use crate::auth::Caller;
use crate::problem::ApiError;
use crate::wire::problem::Problem;
use crate::wire::review::ReviewState;

/// What a person decided
///
/// About a prompt or an answer that was held. An approved answer is in it; an approved prompt passes when it is sent
/// again.
#[utoipa::path(
    get,
    path = "/reviews/{id}",
    tag = "reviews",
    params(("id" = String, Path, description = "The review, as the held request was told")),
    responses(
        (status = 200, description = "What is known", body = ReviewState),
        (status = 404, description = "There is no such review", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "This server has no store", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "The store does not answer", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::routes) async fn review(
    State(app): State<App>,
    caller: Caller,
    ReviewId(id): ReviewId,
) -> Result<Json<ReviewState>, ApiError> {
    let found = store(&app)?.review(caller.owner(), &id).await?;
    found.map(|review| Json(review.into())).ok_or_else(unknown)
}
