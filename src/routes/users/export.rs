//! `GET /users/{id}/export`

use axum::Json;

use crate::extract::{Target, unknown_user};
use crate::problem::ApiError;
use crate::wire::problem::Problem;
use crate::wire::profile::{AnswerView, PairView, ProfileView, UserExport};
use crate::wire::review::ReviewView;

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
    let pairs = target.profiles.pairs_of(&target.owner, &target.user).await?;
    let answers = target.profiles.answers_of(&target.owner, &target.user).await?;
    let reviews = target.profiles.reviews_of(&target.owner, &target.user).await?;
    if found.is_none() && pairs.is_empty() && answers.is_empty() && reviews.is_empty() {
        return Err(unknown_user());
    }
    let profile = found.map(|profile| ProfileView::new(&target.user, &profile));
    let pairs = pairs.into_iter().map(PairView::from).collect();
    let answers = answers.into_iter().map(AnswerView::from).collect();
    let reviews = reviews.into_iter().map(ReviewView::from).collect();
    Ok(Json(UserExport { user: target.user.as_str().to_owned(), profile, pairs, answers, reviews }))
}
