//! Extractors that validate: a handler only ever sees what may be used.

mod preconditions;
mod target;

use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

pub use preconditions::{Preconditions, etag};
pub use target::{Target, invalid_user, profiles, unknown_user};

use crate::app::App;
use crate::config::Limits;
use crate::problem::ApiError;

/// A wire type that becomes usable by being checked.
pub trait Validate: DeserializeOwned {
    /// What handlers get.
    type Valid;

    /// Checks everything that needs no pool and no model.
    ///
    /// # Errors
    /// A 4xx that names the field.
    fn validate(self, limits: &Limits) -> Result<Self::Valid, ApiError>;
}

/// A JSON body that was read within its limits and validated.
pub struct Valid<T: Validate>(pub T::Valid);

impl<T: Validate> FromRequest<App> for Valid<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        require_json(request.headers())?;
        let limits = &app.config.limits;
        let bytes =
            tokio::time::timeout(app.config.server.body_timeout, read(request, limits.max_body_bytes))
                .await
                .map_err(|_| ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", "the body took too long"))??;
        parse::<T>(&bytes)?.validate(limits).map(Self)
    }
}

fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let kind = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let essence = kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        return Ok(());
    }
    let detail = "send JSON with `content-type: application/json`";
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail))
}

async fn read(request: Request, limit: usize) -> Result<axum::body::Bytes, ApiError> {
    let too_large = || {
        let detail = format!("the request body is over {limit} bytes (limits.max_body_bytes)");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
    };
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    axum::body::to_bytes(request.into_body(), limit).await.map_err(|error| {
        // Either our limit, or the client broke off: then nobody reads the answer.
        let over = std::error::Error::source(&error).is_some_and(|s| s.to_string().contains("length limit"));
        if over { too_large() } else { ApiError::new(StatusCode::BAD_REQUEST, "body_unreadable", "the body broke off") }
    })
}

/// Parses JSON: 400 when it is none, 422 with the path when a value does not fit.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        refused(error.inner(), (path != ".").then_some(path))
    })?;
    json.end().map_err(|error| refused(&error, None))?;
    Ok(value)
}

fn refused(error: &serde_json::Error, path: Option<String>) -> ApiError {
    let detail = error.to_string();
    // 1e999 is valid JSON but no number we can hold.
    let bad_value = error.is_data() || detail.starts_with("number out of range");
    let (status, code) = if bad_value {
        (StatusCode::UNPROCESSABLE_ENTITY, "invalid_field")
    } else {
        (StatusCode::BAD_REQUEST, "invalid_json")
    };
    ApiError { field: path.filter(|_| bad_value).map(String::into_boxed_str), ..ApiError::new(status, code, detail) }
}
