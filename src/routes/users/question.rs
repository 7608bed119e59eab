//! `GET /users/{id}/next-question`

use axum::Json;
use axum::extract::State;

use crate::app::App;
use crate::auth::Caller;
use crate::extract::Target;
use crate::learning::{names, next_question, taste};
use crate::problem::ApiError;
use crate::wire::feedback::QuestionView;
use crate::wire::problem::Problem;

/// The two soups whose answers would teach most about a user
///
/// Generate an answer with each preference at its strength (`merge.strength`) to the same prompt, let the user choose, and
/// send the choice as feedback. Only soups are named that your rules let be served.
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
    caller: Caller,
    target: Target,
) -> Result<Json<QuestionView>, ApiError> {
    let (found, _) = target.profiles.get(&target.owner, &target.user).await?;
    let (pool, learning) = (app.engine.pool(), &app.config.learning.model);
    let nothing = |detail| ApiError::invalid("nothing_to_learn", "user", detail);
    let names = names(&pool).ok_or_else(|| nothing("preferences are learned over pools of 2 to 64 policies"))?;
    let belief = taste(found.as_deref().map(|profile| &profile.draft), &names, learning).belief();
    let question = next_question(&pool, caller.rules(), &belief, learning)
        .ok_or_else(|| nothing("the rules leave no two answers of single policies or the base to compare"))?;
    Ok(Json(QuestionView::from(question)))
}
