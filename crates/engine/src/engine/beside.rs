//! A second revision beside the current one.

use std::sync::Arc;

use tureen_soup::{MergeOptions, Method, Pool, Preference};

use super::Engine;
use super::start::check_base;
use crate::budget::Purpose;
use crate::error::EngineError;
use crate::model::Gates;

/// A revision that is ready to be served beside the current one: its factors are stacked, and leased from the memory
/// budget. Dropping it lets them go when the last sequence that it serves has ended.
#[derive(Debug)]
pub struct Beside {
    pool: Arc<Pool>,
    bytes: u64,
    /// Keeps them from being stacked again for each request.
    _gates: Arc<Gates>,
}

impl Beside {
    /// The revision.
    #[must_use]
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Bytes that are leased for it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Engine {
    /// Prepares `pool` to be served beside the current one, which goes on as it is. Submissions choose between them by
    /// their pool; [`Self::reload`] makes it the current one.
    ///
    /// Its factors are leased from the memory budget, for which kept prefixes and unused soups are given up. Requests that
    /// were taken already must be able to end, so there has to be room for the longest one beside it.
    ///
    /// # Errors
    /// When the pool was made for another base, or there is no room; nothing changes then.
    pub fn open_beside(&self, pool: Arc<Pool>) -> Result<Beside, EngineError> {
        let inner = &*self.0;
        check_base(&inner.checkpoint, &pool)?;
        let bytes = Gates::bytes(&pool, inner.model.layout()) + pool.bytes();
        let soup = largest_soup(self, &self.pool()).max(largest_soup(self, &pool));
        let request = inner.kv.bytes(inner.options.max_context - 1) + soup;
        let budget = inner.budget.limit();
        if bytes.saturating_add(request) > budget {
            return Err(EngineError::TooLarge { factors: bytes, request, budget });
        }
        // Those of a third revision may be on their way out.
        let fits = bytes.saturating_add(request) <= inner.budget.room();
        let lease = || fits.then(|| inner.budget.lease(Purpose::Factors, bytes)).flatten();
        let made_room = || {
            inner.kv.give_up(bytes);
            lease().or_else(|| inner.soups.make_room().then(lease).flatten())
        };
        let leased = lease().or_else(made_room);
        let leased = leased.ok_or(EngineError::NoRoom { factors: bytes, used: inner.budget.used(), budget })?;
        let gates = inner.gates(&pool).map_err(EngineError::DeviceFailed)?;
        gates.cover(leased);
        Ok(Beside { pool, bytes, _gates: gates })
    }
}

/// Bytes of the merged weights of a soup of all policies of `pool`, which changes whatever any soup of it changes.
fn largest_soup(engine: &Engine, pool: &Pool) -> u64 {
    let all = pool.policies().iter().map(|policy| (policy.id().to_string(), 1.0));
    let wish = Preference::from_pairs(all).expect("1 is a weight, and no policy is in a pool twice");
    let options = MergeOptions { method: Method::Linear, ..MergeOptions::default() };
    let soup = pool.soup(&wish, &options).expect("policies of any kind can be averaged");
    engine.0.soups.bytes(pool, &soup)
}
