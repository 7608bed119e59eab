//! `DELETE /users/{id}`

use axum::Json;
use axum::extract::State;

use crate::app::App;
use crate::extract::Target;
use crate::problem::ApiError;
use crate::store::{Erased, Whose};
use crate::wire::problem::Problem;
use crate::wire::profile::UserErased;

/// Erase everything that is kept about a user
///
/// For a person who asks to be forgotten (GDPR, article 17). Answers with what there was; asking again erases nothing
/// more and is no error.
#[utoipa::path(
    delete,
    path = "/users/{id}",
    tag = "people",
    params(("id" = String, Path, description = "The user")),
    responses(
        (status = 200, description = "Erased", body = UserErased),
        (status = 503, description = "The store does not answer", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::routes) async fn erase_user(
    State(app): State<App>,
    target: Target,
) -> Result<Json<UserErased>, ApiError> {
    let erased = target.profiles.erase(&target.owner, &target.user).await?;
    app.recent.erase(Whose::new(&target.owner, &target.user));
    let Erased { profiles, changes, pairs, answers, reviews } = erased;
    Ok(Json(UserErased { profiles, changes, pairs, answers, reviews }))
}
