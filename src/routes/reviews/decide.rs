//! `POST /admin/reviews/{id}`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::{ReviewId, store, unknown};
use crate::app::App;
use crate::audit::Deciding;
use crate::auth::Caller;
use crate::extract::Valid;
use crate::problem::ApiError;
use crate::store::Decided;
use crate::wire::problem::Problem;
use crate::wire::review::{DecisionRequest, ReviewView};

/// Decide about a prompt or an answer
///
/// Once: another decision about the same is refused, the same one again is answered as before. With an audit log, the
/// decision is recorded before it is answered.
#[utoipa::path(
    post,
    path = "/admin/reviews/{id}",
    tag = "reviews",
    params(("id" = String, Path, description = "The review")),
    request_body = DecisionRequest,
    responses(
        (status = 200, description = "Decided", body = ReviewView),
        (status = 404, description = "There is no such review", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "Somebody decided otherwise, or this server has no store", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "The store or the audit log cannot be written", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::routes) async fn decide_review(
    State(app): State<App>,
    caller: Caller,
    ReviewId(id): ReviewId,
    Valid(status): Valid<DecisionRequest>,
) -> Result<Json<ReviewView>, ApiError> {
    let store = store(&app)?;
    // Room for the record first: what cannot be recorded is not decided.
    let deciding = app.audit.as_ref().map(Deciding::begin).transpose()?;
    match store.decide((caller.owner(), &id), status, caller.key()).await?.ok_or_else(unknown)? {
        Decided::Now(review) => {
            if let Some(deciding) = deciding {
                deciding.end(&review, caller.key()).await?;
            }
            Ok(Json(review.into()))
        }
        Decided::Otherwise(review) => {
            let detail = format!("it is {} already", review.status.name());
            Err(ApiError::new(StatusCode::CONFLICT, "review_decided", detail))
        }
    }
}
