//! One file per route.

mod chat;
mod generate;
mod livez;
mod metrics;
mod models;
mod policies;
mod policy;
mod profile;
mod readyz;
mod reload;
mod reviews;
mod rollout;
mod users;

use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tureen",
        description = "Personalized soups: one language model per preference, made on the spot from PPO-trained \
                       expert policies. Errors are RFC 9457 problem details with a stable `code`; under /v1 they \
                       have OpenAI's shape.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "generate", description = "Text under a preference"),
        (name = "pool", description = "What preferences can be made of"),
        (name = "people", description = "What users wish, kept for them"),
        (name = "reviews", description = "What checks held, and what people decide about it"),
        (name = "operate", description = "For those who run the server"),
    ),
    components(schemas(crate::wire::problem::Problem, crate::wire::problem::OpenAiError)),
)]
struct Document;

/// Every documented route. The document and the router come from these same lines.
pub(crate) fn documented() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(generate::generate))
        .routes(routes!(chat::chat))
        .routes(routes!(models::models))
        .routes(routes!(policies::policies))
        .routes(routes!(policy::policy))
        .routes(routes!(
            profile::get::get_profile,
            profile::put::put_profile,
            profile::patch::patch_profile,
            profile::delete::delete_profile
        ))
        .routes(routes!(users::list::list_users))
        .routes(routes!(users::erase::erase_user))
        .routes(routes!(users::export::export_user))
        .routes(routes!(users::feedback::feedback))
        .routes(routes!(users::question::question))
        .routes(routes!(reviews::get::review))
        .routes(routes!(reviews::list::list_reviews))
        .routes(routes!(reviews::decide::decide_review))
        .routes(routes!(reload::reload))
        .routes(routes!(rollout::get_rollout, rollout::post_rollout, rollout::delete_rollout))
        .routes(routes!(livez::livez))
        .routes(routes!(readyz::readyz))
        .routes(routes!(metrics::metrics))
}
