//! Who a request comes from.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use tureen_soup::rules::Rules;

use crate::problem::ApiError;

/// Whoever sent a request, as the guard made out.
#[derive(Debug, Clone)]
pub struct Caller {
    owner: Arc<str>,
    key: Option<Arc<str>>,
    rules: Arc<Rules>,
}

impl Caller {
    pub(super) fn new(owner: Arc<str>, key: Option<Arc<str>>, rules: Arc<Rules>) -> Self {
        Self { owner, key, rules }
    }

    /// Whose profiles it reaches.
    pub fn owner(&self) -> &Arc<str> {
        &self.owner
    }

    /// What it may ask for: the configured rules, and those of its key.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The id of its key, if it has one.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        // A route without the guard has nobody: it must not answer as if it were anybody.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| ApiError::of_status(StatusCode::INTERNAL_SERVER_ERROR))
    }
}
