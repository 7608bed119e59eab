//! `GET /users/{id}/export`

use axum::Json;

use crate::extract::{Target, unknown_user};
use crate::problem::ApiError;
use crate::wire::problem::Problem;
use crate::wire::profile::{ProfileView, UserExport};

/// Everything that is kept about a user
///
/// For a person who asks what is known about them (GDPR, article 15).
#[utoipa::path(
    get,
    path = "/users/{id}/export",
    tag = "people",
    params(("id" = String, Path, description = "The user")),
    responses(
        (status = 200, description = "All of it", body = UserExport),
        (status = 404, description = "Nothing is kept", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store does not answer", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::routes) async fn export_user(target: Target) -> Result<Json<UserExport>, ApiError> {
    let (found, _) = target.profiles.get(&target.owner, &target.user).await?;
    let profile = found.ok_or_else(unknown_user)?;
    let user = target.user.as_str().to_owned();
    Ok(Json(UserExport { user, profile: ProfileView::new(&target.user, &profile) }))
}
