//! `PUT /users/{id}/profile`

use axum::extract::State;
use axum::response::Response;

use super::{changed, servable};
use crate::app::App;
use crate::extract::{Target, Valid};
use crate::problem::ApiError;
use crate::store::Edit;
use crate::wire::problem::Problem;
use crate::wire::profile::{ProfileView, PutProfile};

/// Store a user's profile
///
/// Whole: what is left out goes back to its default. When the answer arrives, the profile is on the disk.
#[utoipa::path(
    put,
    path = "/users/{id}/profile",
    tag = "people",
    params(
        ("id" = String, Path, description = "The user"),
        ("If-Match" = Option<String>, Header, description = "Only if the profile still has this ETag"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is none yet"),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again with the same key, it is done once"),
    ),
    request_body = PutProfile,
    responses(
        (status = 200, description = "Updated", body = ProfileView, headers(("ETag" = String))),
        (status = 201, description = "Created", body = ProfileView, headers(("ETag" = String))),
        (status = 400, description = "The body is not JSON, or a header cannot be read", body = Problem,
            content_type = "application/problem+json"),
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
pub(in crate::routes) async fn put_profile(
    State(app): State<App>,
    target: Target,
    Valid(draft): Valid<PutProfile>,
) -> Result<Response, ApiError> {
    servable(&app, &draft)?;
    let done = target.change(("put", &draft), |_| Ok(Edit::Put(draft.clone()))).await?;
    Ok(changed(&target.user, done))
}
