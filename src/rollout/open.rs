//! Opening the revision that is tried.

use std::sync::Arc;

use axum::http::StatusCode;
use tureen_engine::{Beside, EngineError};

use crate::app::App;
use crate::problem::ApiError;
use crate::startup;

/// The candidate, ready beside the stable revision.
///
/// # Errors
/// 409 when the folder does not hold `revision`, 422 and 503 when it cannot be used.
pub(crate) fn open(app: &App, revision: &str) -> Result<Beside, ApiError> {
    if app.config.pool.candidate_dir.is_none() && app.config.pool.dir.is_none() {
        let detail = "there is no folder to read: [pool] dir and candidate_dir are empty";
        return Err(ApiError::new(StatusCode::CONFLICT, "no_pool", detail));
    }
    let pool = startup::open_candidate(&app.config, app.engine.checkpoint())?;
    let found = pool.revision().to_string();
    if found != revision {
        let detail = format!("the folder holds revision {found}");
        return Err(ApiError::new(StatusCode::CONFLICT, "other_revision", detail).at("revision"));
    }
    app.engine.open_beside(Arc::new(pool)).map_err(|e| not_opened(app, &e))
}

/// Why the engine did not take a revision.
pub(crate) fn not_opened(app: &App, error: &EngineError) -> ApiError {
    match error {
        EngineError::NoRoom { .. } => {
            ApiError::busy("out_of_memory", error.to_string(), app.config.limits.retry_after_s)
        }
        EngineError::TooLarge { .. } => ApiError::invalid("out_of_memory", "revision", error.to_string()),
        other => ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "pool_refused", other.to_string()),
    }
}
