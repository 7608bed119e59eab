//! The router and its document.

use axum::Router;
use axum::http::StatusCode;
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::SwaggerUi;

use crate::app::App;
use crate::auth::annotate;
use crate::problem::ApiError;
use crate::{middleware, refusals, routes};

/// Every route, the documentation pages and the middleware around them.
pub fn router(app: App) -> Router {
    let (router, document) = routes::documented().split_for_parts();
    let router = router
        .merge(SwaggerUi::new("/docs").url("/openapi.json", refusals::annotate(annotate(document))))
        .fallback(|| async { ApiError::of_status(StatusCode::NOT_FOUND) })
        .with_state(app.clone());
    middleware::apply(router, &app)
}

/// The OpenAPI document alone.
pub fn document() -> OpenApi {
    refusals::annotate(annotate(routes::documented().into_openapi()))
}
