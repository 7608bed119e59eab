//! `DELETE /users/{id}/profile`

use axum::response::Response;

use super::changed;
use crate::extract::{Target, unknown_user};
use crate::problem::ApiError;
use crate::store::Edit;
use crate::wire::problem::Problem;

/// Remove a user's profile
#[utoipa::path(
    delete,
    path = "/users/{id}/profile",
    tag = "people",
    params(
        ("id" = String, Path, description = "The user"),
        ("If-Match" = Option<String>, Header, description = "Only if the profile still has this ETag"),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again with the same key, it is done once"),
    ),
    responses(
        (status = 204, description = "There is none any more"),
        (status = 400, description = "A header cannot be read", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "The profile is not the one you know", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "The store does not answer", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::routes) async fn delete_profile(target: Target) -> Result<Response, ApiError> {
    let done = target.change("delete", |current| current.map(|_| Edit::Delete).ok_or_else(unknown_user)).await?;
    Ok(changed(&target.user, done))
}
