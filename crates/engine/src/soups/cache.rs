//! The soup cache, weighed in bytes, and the count of who asks for what.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tureen_soup::{Pool, Soup, SoupId};

use super::cell::{SoupCell, State};
use super::merger::{Job, Merger};
use crate::budget::{Budget, Purpose};
use crate::kv::Kv;

/// The weigher counts in these units: a cache entry's weight is 32 bits wide.
const UNIT: u64 = 1 << 10;
/// Soups whose popularity is remembered; the least recently asked for is forgotten first.
const REMEMBERED: u64 = 4096;

/// Merged weights do not fit the memory budget now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoRoom {
    pub(crate) needed: u64,
}

/// Materialised soups by id: content, weights, method and revision, never a name.
pub(crate) struct SoupCache {
    cells: Cache<SoupId, Arc<SoupCell>>,
    budget: Arc<Budget>,
    kv: Arc<Kv>,
    merger: Arc<Merger>,
}

impl SoupCache {
    /// A cache that may fill half of the budget; the other half stays for KV caches. Prefixes that `kv` keeps give way to
    /// a soup that somebody asks for.
    pub(crate) fn new(budget: Arc<Budget>, kv: Arc<Kv>, merger: Arc<Merger>) -> Self {
        let cells = Cache::builder()
            .weigher(|_, cell: &Arc<SoupCell>| u32::try_from(cell.bytes().div_ceil(UNIT)).unwrap_or(u32::MAX))
            .max_capacity(budget.limit() / 2 / UNIT)
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self { cells, budget, kv, merger }
    }

    /// The soup if it is merged already.
    pub(crate) fn ready(&self, id: &SoupId) -> Option<Arc<SoupCell>> {
        self.cells.get(id).filter(|cell| cell.is_ready())
    }

    /// The soup, its merge begun if nobody did: however many ask at once, it is merged once.
    pub(crate) fn get(&self, pool: &Arc<Pool>, soup: &Arc<Soup>) -> Result<Arc<SoupCell>, NoRoom> {
        // A merge that failed is tried again by the next request.
        if self.cells.get(soup.id()).is_some_and(|cell| matches!(cell.state(), State::Failed(_))) {
            self.cells.invalidate(soup.id());
        }
        let begun = self.begin(pool, soup).or_else(|NoRoom { needed }| {
            self.kv.give_up(needed);
            self.begin(pool, soup)
        });
        begun.or_else(|no_room| if self.make_room() { self.begin(pool, soup) } else { Err(no_room) })
    }

    /// Bytes of the merged weights of `soup`.
    pub(crate) fn bytes(&self, pool: &Pool, soup: &Soup) -> u64 {
        self.merger.bytes(pool, soup)
    }

    fn begin(&self, pool: &Arc<Pool>, soup: &Arc<Soup>) -> Result<Arc<SoupCell>, NoRoom> {
        let merge = || {
            let needed = self.merger.bytes(pool, soup);
            let lease = self.budget.lease(Purpose::Soup, needed).ok_or(NoRoom { needed })?;
            let cell = Arc::new(SoupCell::new(needed, lease));
            self.merger.send(Job { pool: pool.clone(), soup: soup.clone(), cell: Arc::downgrade(&cell) });
            Ok(cell)
        };
        self.cells.try_get_with(*soup.id(), merge).map_err(|e: Arc<NoRoom>| *e)
    }

    /// Lets every soup go that no sequence is using; `false` when there is none.
    pub(crate) fn make_room(&self) -> bool {
        // Two owners: the cache, and this iteration.
        let unused = |(_, cell): &(Arc<SoupId>, Arc<SoupCell>)| Arc::strong_count(cell) <= 2;
        let unused: Vec<Arc<SoupId>> = self.cells.iter().filter(unused).map(|(id, _)| id).collect();
        unused.iter().for_each(|id| self.cells.invalidate(&**id));
        self.cells.run_pending_tasks();
        !unused.is_empty()
    }

    /// Entries and bytes.
    pub(crate) fn size(&self) -> (u64, u64) {
        self.cells.run_pending_tasks();
        (self.cells.entry_count(), self.cells.weighted_size() * UNIT)
    }
}

/// How often each soup was asked for.
pub(crate) struct Heat(Cache<SoupId, Arc<AtomicU32>>);

impl Heat {
    pub(crate) fn new() -> Self {
        Self(Cache::builder().max_capacity(REMEMBERED).eviction_policy(EvictionPolicy::lru()).build())
    }

    /// Counts one request and tells how many there were.
    pub(crate) fn count(&self, id: &SoupId) -> u32 {
        let counter = self.0.get_with(*id, Arc::default);
        counter.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }
}
