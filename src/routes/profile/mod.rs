//! `/users/{id}/profile`: one file per method.

pub(super) mod delete;
pub(super) mod get;
pub(super) mod patch;
pub(super) mod put;

use axum::Json;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use headers::HeaderMapExt;

use crate::app::App;
use crate::extract::etag;
use crate::problem::ApiError;
use crate::store::{Changed, Draft, Outcome, Profile, UserId};
use crate::submit::preference_error;
use crate::wire::profile::ProfileView;

/// What the pool of today could not serve is not stored.
fn servable(app: &App, draft: &Draft) -> Result<(), ApiError> {
    app.engine.pool().soup(&draft.preference, &draft.merge).map(drop).map_err(|e| preference_error(&e, "preference"))
}

fn changed(user: &UserId, Changed { outcome, replayed }: Changed) -> Response {
    let mut response = match outcome {
        Outcome::Created(profile) => (StatusCode::CREATED, shown(user, &profile)).into_response(),
        Outcome::Updated(profile) => shown(user, &profile),
        Outcome::Deleted => StatusCode::NO_CONTENT.into_response(),
    };
    if replayed {
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    response
}

fn shown(user: &UserId, profile: &Profile) -> Response {
    let mut response = Json(ProfileView::new(user, profile)).into_response();
    response.headers_mut().typed_insert(etag(profile));
    response
}
