//! The profile that a request is about.

use std::fmt::Debug;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};

use super::Preconditions;
use crate::app::App;
use crate::auth::Caller;
use crate::problem::ApiError;
use crate::profiles::Profiles;
use crate::store::{Change, Changed, Edit, Pair, Profile, UserId};

const LONGEST_CLIENT_KEY: usize = 255;

/// The profiles, whose of them, and under which conditions.
pub struct Target {
    /// The profiles of all owners.
    pub profiles: Arc<Profiles>,
    /// The caller's owner: what other owners keep is out of reach.
    pub owner: Arc<str>,
    /// The user in the path.
    pub user: UserId,
    /// What the client knows of the profile.
    pub when: Preconditions,
    /// `Idempotency-Key`
    client_key: Option<String>,
}

impl Target {
    /// Changes the profile once, however often it is sent. `what` is the change in full.
    ///
    /// # Errors
    /// What `decide` refuses, and 503 when the store does not answer.
    pub async fn change(
        &self,
        what: impl Debug,
        decide: impl Fn(Option<&Profile>) -> Result<Edit, ApiError>,
    ) -> Result<Changed, ApiError> {
        self.change_leaving(None, what, decide).await
    }

    /// Likewise; `pair` is kept with the change.
    ///
    /// # Errors
    /// As [`Target::change`].
    pub async fn change_leaving(
        &self,
        pair: Option<&Pair>,
        what: impl Debug,
        decide: impl Fn(Option<&Profile>) -> Result<Edit, ApiError>,
    ) -> Result<Changed, ApiError> {
        let fingerprint = hex::encode(Sha256::digest(format!("{} {what:?}", self.user.as_str())));
        let client_key = self.client_key.as_deref();
        let change = Change { owner: &self.owner, user: &self.user, client_key, fingerprint, pair };
        let checked = |current: Option<&Profile>| {
            self.when.check(current)?;
            decide(current)
        };
        self.profiles.change(&self.owner, &change, checked).await
    }
}

impl FromRequestParts<App> for Target {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let id: Result<Path<String>, _> = Path::from_request_parts(parts, app).await;
        let user = id.ok().and_then(|Path(id)| UserId::new(&id)).ok_or_else(invalid_user)?;
        Ok(Self {
            profiles: profiles(app)?.clone(),
            owner: caller.owner().clone(),
            user,
            when: Preconditions::of(&parts.headers)?,
            client_key: client_key(&parts.headers)?,
        })
    }
}

/// The profiles.
///
/// # Errors
/// 409 when this server keeps none.
pub fn profiles(app: &App) -> Result<&Arc<Profiles>, ApiError> {
    app.profiles.as_ref().ok_or_else(|| {
        let detail = "this server keeps no profiles: [store] url is empty";
        ApiError::new(StatusCode::CONFLICT, "no_store", detail)
    })
}

/// 422: no user can have this name.
pub fn invalid_user() -> ApiError {
    ApiError::invalid("invalid_user", "user", "a user's name has 1 to 128 bytes, no spaces and no control characters")
}

/// 404: there is no such user, or it is somebody else's.
pub fn unknown_user() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "unknown_user", "there is no profile of this user")
}

fn client_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let fits = |key: &&str| !key.is_empty() && key.len() <= LONGEST_CLIENT_KEY;
    match value.to_str().ok().filter(fits) {
        Some(key) => Ok(Some(key.to_owned())),
        None => {
            let detail = format!("an Idempotency-Key has 1 to {LONGEST_CLIENT_KEY} visible ASCII characters");
            Err(ApiError::new(StatusCode::BAD_REQUEST, "invalid_header", detail))
        }
    }
}
