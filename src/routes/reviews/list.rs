//! `GET /admin/reviews`

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;

use super::{ReviewId, store};
use crate::app::App;
use crate::auth::Caller;
use crate::problem::ApiError;
use crate::store::Status;
use crate::wire::problem::Problem;
use crate::wire::review::{ReviewPage, ReviewView};

const USUAL: u32 = 20;
const MOST: u32 = 100;

/// Which page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::routes) struct ListQuery {
    status: Option<String>,
    cursor: Option<String>,
    limit: Option<u32>,
}

/// What checks held for a person
///
/// Requests of the key's owner, the oldest first.
#[utoipa::path(
    get,
    path = "/admin/reviews",
    tag = "reviews",
    params(
        ("status" = Option<String>, Query, description = "`pending` (when left out), `approved` or `rejected`"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("limit" = Option<u32>, Query, description = "Reviews on a page; 20 when left out", minimum = 1, maximum = 100),
    ),
    responses(
        (status = 200, description = "One page", body = ReviewPage),
        (status = 422, description = "A parameter cannot be used", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "This server has no store", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "The store does not answer", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::routes) async fn list_reviews(
    State(app): State<App>,
    caller: Caller,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<ReviewPage>, ApiError> {
    let Query(ListQuery { status, cursor, limit }) =
        query.map_err(|e| ApiError::invalid("invalid_field", "query", e.body_text()))?;
    let unknown = || ApiError::invalid("invalid_field", "status", "status is pending, approved or rejected");
    let unknown_cursor = || ApiError::invalid("invalid_field", "cursor", "cursor is the next_cursor of a page");
    let status = status.map_or(Some(Status::Pending), |name| Status::named(&name)).ok_or_else(unknown)?;
    let limit = limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return Err(ApiError::invalid("invalid_field", "limit", format!("limit is from 1 to {MOST}")));
    }
    let after = cursor.map(|cursor| ReviewId::new(cursor).ok_or_else(unknown_cursor)).transpose()?;
    let after = after.map_or(String::new(), |ReviewId(id)| id);
    let (found, more) = store(&app)?.reviews(caller.owner(), status, &after, limit).await?;
    let next_cursor = found.last().filter(|_| more).map(|review| review.id.clone());
    Ok(Json(ReviewPage { reviews: found.into_iter().map(ReviewView::from).collect(), next_cursor }))
}
