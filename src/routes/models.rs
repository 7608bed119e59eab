//! `GET /v1/models`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::problem::ApiError;

/// The models a client may name.
#[derive(Serialize, ToSchema)]
pub(super) struct ModelList {
    #[schema(value_type = String, example = "list")]
    object: &'static str,
    data: Vec<Model>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Model {
    id: String,
    #[schema(value_type = String, example = "model")]
    object: &'static str,
    created: u64,
    #[schema(value_type = String, example = "tureen")]
    owned_by: &'static str,
}

/// Models in OpenAI's shape
///
/// The base, and one soup for each policy alone. Any other soup can be named the same way without being listed.
#[utoipa::path(get, path = "/v1/models", tag = "pool", responses((status = 200, description = "The list", body = ModelList)))]
pub(super) async fn models(State(app): State<App>) -> Json<ModelList> {
    let soups = app.engine.pool();
    let soups = soups.policies().iter().map(|p| format!("soup:{}=1", p.id()));
    let ids = [base_name(&app)].into_iter().chain(soups);
    let model = |id| Model { id, object: "model", created: app.started_at, owned_by: "tureen" };
    Json(ModelList { object: "list", data: ids.map(model).collect() })
}

/// The name to answer with, if `model` is one we serve. `soup:...` and `profile:...` were read with the
/// request; here only names remain.
pub(super) fn resolve(app: &App, model: Option<String>) -> Result<String, ApiError> {
    let base = base_name(app);
    match model {
        None => Ok(base),
        Some(name) if name.starts_with("soup:") || name.starts_with("profile:") || name == base || name == "tureen" => {
            Ok(name)
        }
        Some(name) => {
            let detail = format!(
                "there is no model {name:?}: use {base:?}, \"tureen\", \"soup:NAME=WEIGHT,...\" or \"profile:USER\""
            );
            Err(ApiError::new(StatusCode::NOT_FOUND, "model_not_found", detail).at("model"))
        }
    }
}

fn base_name(app: &App) -> String {
    app.engine.checkpoint().name().to_owned()
}
