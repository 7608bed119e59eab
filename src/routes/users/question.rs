//! `GET /users/{id}/next-question`

use axum::Json;
use axum::extract::State;
use tureen_soup::Preference;

use crate::app::App;
use crate::extract::Target;
use crate::learning::{next_question, taste};
use crate::problem::ApiError;
use crate::wire::feedback::QuestionView;
use crate::wire::problem::Problem;

/// The pair of preferences whose answers would teach most about a user
///
/// Generate an answer with each to the same prompt, let the user choose, and send the choice as feedback.
#[utoipa::path(
    get,
    path = "/users/{id}/next-question",
    tag = "people",
    params(("id" = String, Path, description = "The user")),
    responses(
        (status = 200, description = "What to ask", body = QuestionView),
        (status = 422, description = "There is nothing to learn with this pool", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "The store does not answer", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::routes) async fn question(
    State(app): State<App>,
    target: Target,
) -> Result<Json<QuestionView>, ApiError> {
    let (found, _) = target.profiles.get(&target.owner, &target.user).await?;
    let (pool, learning) = (app.engine.pool(), &app.config.learning.model);
    let names: Vec<String> = pool.policies().iter().map(|policy| policy.id().to_string()).collect();
    let none =
        || ApiError::invalid("nothing_to_learn", "user", "preferences are learned over pools of 2 to 64 policies");
    if names.is_empty() {
        return Err(none());
    }
    let taste = taste(found.as_deref().map(|profile| &profile.draft), &names, learning);
    let question = next_question(&pool, &taste, learning).ok_or_else(none)?;
    let only = |name: String| Preference::from_pairs([(name, 1.0)]).expect("1 is a weight");
    let (first, second) = (only(question.first), only(question.second));
    Ok(Json(QuestionView { first, second, teaches: question.teaches }))
}
