//! `GET /users/{id}/profile`

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use headers::HeaderMapExt;

use super::shown;
use crate::extract::{Target, etag, unknown_user};
use crate::problem::ApiError;
use crate::wire::problem::Problem;
use crate::wire::profile::ProfileView;

/// A user's profile
#[utoipa::path(
    get,
    path = "/users/{id}/profile",
    tag = "people",
    params(
        ("id" = String, Path, description = "The user"),
        ("If-None-Match" = Option<String>, Header, description = "Answer 304 when the profile still has this ETag"),
    ),
    responses(
        (status = 200, description = "The profile", body = ProfileView, headers(("ETag" = String))),
        (status = 304, description = "It is the one you know"),
        (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store does not answer", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::routes) async fn get_profile(target: Target) -> Result<Response, ApiError> {
    let (found, _) = target.profiles.get(&target.owner, &target.user).await?;
    let profile = found.ok_or_else(unknown_user)?;
    if target.when.has(&profile) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        response.headers_mut().typed_insert(etag(&profile));
        return Ok(response);
    }
    Ok(shown(&target.user, &profile))
}
