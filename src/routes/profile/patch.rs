//! `PATCH /users/{id}/profile`

use axum::extract::State;
use axum::response::Response;

use super::{changed, servable};
use crate::app::App;
use crate::extract::{Target, Valid, unknown_user};
use crate::problem::ApiError;
use crate::store::Edit;
use crate::wire::problem::Problem;
use crate::wire::profile::{PatchProfile, ProfileView};

/// Change a user's profile
///
/// A merge patch (RFC 7396). Without `If-Match` it is applied to whatever the profile is at that moment.
#[utoipa::path(
    patch,
    path = "/users/{id}/profile",
    tag = "people",
    params(
        ("id" = String, Path, description = "The user"),
        ("If-Match" = Option<String>, Header, description = "Only if the profile still has this ETag"),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again with the same key, it is done once"),
    ),
    request_body(content = PatchProfile, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, description = "Updated", body = ProfileView, headers(("ETag" = String))),
        (status = 400, description = "The body is not JSON, or a header cannot be read", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "The profile is not the one you know", body = Problem,
            content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not announced as JSON", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A value cannot be used; `field` names it", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "The store does not answer", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::routes) async fn patch_profile(
    State(app): State<App>,
    target: Target,
    Valid(patch): Valid<PatchProfile>,
) -> Result<Response, ApiError> {
    let decide = |current: Option<&crate::store::Profile>| {
        let draft = patch.apply(&current.ok_or_else(unknown_user)?.draft)?;
        servable(&app, &draft)?;
        Ok(Edit::Put(draft))
    };
    let done = target.change(("patch", &patch), decide).await?;
    Ok(changed(&target.user, done))
}
