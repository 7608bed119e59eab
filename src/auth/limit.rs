//! How much one key may ask for: requests per minute, and requests at a time.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use governor::clock::Clock;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::ApiError;

/// The limits of one key, with what it used of them.
pub(super) struct Limiter {
    rate: Option<DefaultDirectRateLimiter>,
    places: Option<Arc<Semaphore>>,
}

/// One of a key's places, given back when dropped. Keys without a limit have places that cost nothing.
pub(super) struct Permit {
    _place: Option<OwnedSemaphorePermit>,
}

/// Which limit was reached.
pub(super) enum Full {
    /// Too many requests in the last minute; the next one may come after this time.
    Rate(Duration),
    /// Too many requests at a time.
    Concurrency,
}

impl Limiter {
    /// 0 is no limit.
    pub(super) fn new(rate_per_minute: u32, concurrency: u32) -> Self {
        let rate = NonZeroU32::new(rate_per_minute).map(|rate| RateLimiter::direct(Quota::per_minute(rate)));
        let places = (concurrency > 0).then(|| Arc::new(Semaphore::new(concurrency as usize)));
        Self { rate, places }
    }

    /// Takes a place. A request that finds none does not count against the rate.
    pub(super) fn enter(&self) -> Result<Permit, Full> {
        let place = self.places.as_ref().map(|places| places.clone().try_acquire_owned());
        let place = place.transpose().map_err(|_| Full::Concurrency)?;
        if let Some(rate) = &self.rate {
            rate.check().map_err(|until| Full::Rate(until.wait_time_from(rate.clock().now())))?;
        }
        Ok(Permit { _place: place })
    }
}

impl Full {
    /// 429: the caller's quota. `retry_after_s` is for what has no time of its own.
    pub(super) fn into_error(self, retry_after_s: u64) -> ApiError {
        let (code, detail, seconds) = match self {
            Self::Rate(wait) => {
                ("rate_limited", "this key sent more requests than it may in a minute", wait.as_secs() + 1)
            }
            Self::Concurrency => {
                ("too_many_at_a_time", "this key has as many requests running as it may", retry_after_s)
            }
        };
        ApiError { retry_after_s: Some(seconds), ..ApiError::new(StatusCode::TOO_MANY_REQUESTS, code, detail) }
    }
}
