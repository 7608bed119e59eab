//! What checks held, and what people decide about it.

pub(super) mod decide;
pub(super) mod get;
pub(super) mod list;

use axum::Json;
use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::app::App;
use crate::problem::ApiError;
use crate::store::Store;

/// `body` as an answer: 202 and where to ask on, if it is held under this id.
pub(super) fn answer(review: Option<&str>, body: impl Serialize) -> Response {
    match review {
        Some(id) => (StatusCode::ACCEPTED, [(LOCATION, format!("/reviews/{id}"))], Json(body)).into_response(),
        None => Json(body).into_response(),
    }
}

/// The id of a review, in a path or as a cursor.
pub(super) struct ReviewId(String);

impl ReviewId {
    /// What `text` names: ids are hex digits, so nothing else comes near the store.
    fn new(text: String) -> Option<Self> {
        (text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())).then_some(Self(text))
    }
}

impl<S: Sync + Send> FromRequestParts<S> for ReviewId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let id: Result<Path<String>, _> = Path::from_request_parts(parts, state).await;
        id.ok().and_then(|Path(id)| Self::new(id)).ok_or_else(unknown)
    }
}

fn store(app: &App) -> Result<&Store, ApiError> {
    let detail = "this server keeps no reviews: [store] url is empty";
    app.store.as_ref().ok_or_else(|| ApiError::new(StatusCode::CONFLICT, "no_store", detail))
}

fn unknown() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "unknown_review", "there is no review of this id, or none any more")
}
