//! Who may do what: keys with scopes, and which route asks for which of them.
//!
//! Every request passes the middleware in `guard.rs`, which asks [`access`] what its route needs. A route that is not
//! listed there needs the strictest scope there is, so a new one cannot be left open by forgetting.

mod access;
mod caller;
mod document;
mod guard;
mod key;
mod limit;
mod ring;
mod scope;

pub use access::{Access, access};
pub use caller::Caller;
pub(crate) use document::annotate;
pub(crate) use guard::guard;
pub use key::Key;
pub use scope::{Scope, Scopes, UnknownScope};

use std::sync::Arc;

use axum::http::StatusCode;
use tureen_soup::rules::Rules;

use crate::config::{self, Secret};
use crate::problem::ApiError;
use crate::store::{Store, StoreError};
use limit::Permit;
use ring::Ring;

/// Owner of the profiles of everyone who needs no key, and of keys that do not name another.
pub const DEFAULT_OWNER: &str = "default";

/// Decides who a request comes from.
pub struct Auth {
    ring: Ring,
    admin_token: Option<Secret>,
    /// What a request without a key may do; `None` when keys are required.
    anonymous: Option<Scopes>,
    /// What anybody may ask for.
    rules: Arc<Rules>,
    /// What a client over its concurrency is told to wait, in seconds.
    retry_after_s: u64,
}

impl Auth {
    /// Reads the keys.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn open(config: &config::Config, store: Option<&Store>) -> Result<Self, StoreError> {
        let loopback = config.server.bind.ip().is_loopback();
        let open = config.auth.allow_anonymous || (loopback && !config.auth.always);
        let mut scopes = Scopes::all();
        if config.admin_token.is_some() || !loopback {
            scopes.remove(Scope::Admin);
        }
        let auth = Self {
            ring: Ring::new(config.auth.clone(), config.rules.clone()),
            admin_token: config.admin_token.clone(),
            anonymous: open.then_some(scopes),
            rules: Arc::new(config.rules.clone()),
            retry_after_s: config.limits.retry_after_s,
        };
        if let Some(store) = store {
            auth.refresh(store).await?;
        }
        Ok(auth)
    }

    /// Reads the keys anew if they changed.
    ///
    /// # Errors
    /// When the store does not answer; the keys that were read last go on working.
    pub async fn refresh(&self, store: &Store) -> Result<(), StoreError> {
        self.ring.refresh(store).await
    }

    /// Whether nobody at all could use this server: keys are required, and there is none.
    pub fn is_locked_out(&self) -> bool {
        self.anonymous.is_none() && self.admin_token.is_none() && self.ring.is_empty()
    }

    /// Who sent `bearer`, and the place that the request takes among those of its key.
    fn admit(&self, bearer: Option<&str>, access: Access) -> Result<(Caller, Option<Permit>), ApiError> {
        if let (Some(token), Some(given)) = (&self.admin_token, bearer)
            && token.matches(given)
        {
            return Ok((Caller::new(DEFAULT_OWNER.into(), None, self.rules.clone()), None));
        }
        match (bearer.and_then(|given| self.ring.find(given)), self.anonymous) {
            (Some(key), _) => {
                if !access.allows(key.scopes()) {
                    return Err(missing(access));
                }
                let permit = key.enter().map_err(|full| full.into_error(self.retry_after_s))?;
                Ok((Caller::new(key.owner(), Some(key.id()), key.rules()), Some(permit)))
            }
            // Clients of OpenAI's interface always send some key: where none is needed, one that is none of ours is
            // none. One in our form was meant for us, and its sender should learn that it does not work.
            (None, Some(scopes)) if access.allows(scopes) && !bearer.is_some_and(Key::looks_like_one) => {
                Ok((Caller::new(DEFAULT_OWNER.into(), None, self.rules.clone()), None))
            }
            _ => Err(unauthorized()),
        }
    }
}

fn unauthorized() -> ApiError {
    let detail =
        "send `authorization: Bearer KEY` with a key that `tureen keys add` made, or the token of [admin] token";
    ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
}

fn missing(access: Access) -> ApiError {
    let detail = format!("this key does not have the scope {access}");
    ApiError::new(StatusCode::FORBIDDEN, "missing_scope", detail)
}
