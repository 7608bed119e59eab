//! The soup cache, weighed in bytes, and the count of who asks for what.

use std::hash::Hash;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// The cache's hold on a soup. What the map removes it frees one day, when somebody uses it again: where all wait for that
/// memory, nobody does. So whatever it removes is emptied at once.
struct Slot(Mutex<Option<Arc<SoupCell>>>);

impl Slot {
    fn of(cell: Arc<SoupCell>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(cell))))
    }

    /// `None` once it was removed.
    fn cell(&self) -> Option<Arc<SoupCell>> {
        self.hold().clone()
    }

    fn bytes(&self) -> u64 {
        self.hold().as_ref().map_or(0, |cell| cell.bytes())
    }

    /// Whether nobody but the cache holds it.
    fn is_unused(&self) -> bool {
        self.hold().as_ref().is_some_and(|cell| Arc::strong_count(cell) == 1)
    }

    fn empty(&self) {
        let cell = self.hold().take();
        drop(cell);
    }

    fn hold(&self) -> MutexGuard<'_, Option<Arc<SoupCell>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A map that may hold `limit` bytes.
fn slots<Id: Hash + Eq + Send + Sync + 'static>(limit: u64) -> Cache<Id, Arc<Slot>> {
    Cache::builder()
        .weigher(|_, slot: &Arc<Slot>| u32::try_from(slot.bytes().div_ceil(UNIT)).unwrap_or(u32::MAX))
        .max_capacity(limit / UNIT)
        .eviction_policy(EvictionPolicy::lru())
        .eviction_listener(|_, slot, _| slot.empty())
        .build()
}

/// Materialised soups by id: content, weights, method and revision, never a name.
pub(crate) struct SoupCache {
    slots: Cache<SoupId, Arc<Slot>>,
    budget: Arc<Budget>,
    kv: Arc<Kv>,
    merger: Arc<Merger>,
}

impl SoupCache {
    /// A cache that may fill half of the budget; the other half stays for KV caches. Prefixes that `kv` keeps give way to
    /// a soup that somebody asks for.
    pub(crate) fn new(budget: Arc<Budget>, kv: Arc<Kv>, merger: Arc<Merger>) -> Self {
        let slots = slots(budget.limit() / 2);
        Self { slots, budget, kv, merger }
    }

    /// The soup if it is merged already.
    pub(crate) fn ready(&self, id: &SoupId) -> Option<Arc<SoupCell>> {
        self.slots.get(id)?.cell().filter(|cell| cell.is_ready())
    }

    /// The soup, its merge begun if nobody did: however many ask at once, it is merged once.
    pub(crate) fn get(&self, pool: &Arc<Pool>, soup: &Arc<Soup>) -> Result<Arc<SoupCell>, NoRoom> {
        // A merge that failed is tried again by the next request.
        let known = self.slots.get(soup.id()).and_then(|slot| slot.cell());
        if known.is_some_and(|cell| matches!(cell.state(), State::Failed(_))) {
            self.slots.invalidate(soup.id());
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
        loop {
            let mut begun = None;
            let merge = || {
                let needed = self.merger.bytes(pool, soup);
                let lease = self.budget.lease(Purpose::Soup, needed).ok_or(NoRoom { needed })?;
                let cell = Arc::new(SoupCell::new(needed, lease));
                self.merger.send(Job { pool: pool.clone(), soup: soup.clone(), cell: Arc::downgrade(&cell) });
                begun = Some(cell.clone());
                Ok(Slot::of(cell))
            };
            let slot = self.slots.try_get_with(*soup.id(), merge).map_err(|e: Arc<NoRoom>| *e)?;
            // What another one began may have been removed since: then it is begun again.
            if let Some(cell) = begun.or_else(|| slot.cell()) {
                return Ok(cell);
            }
        }
    }

    /// Lets every soup go that no sequence is using; `false` when there is none.
    pub(crate) fn make_room(&self) -> bool {
        let unused: Vec<Arc<SoupId>> =
            self.slots.iter().filter(|(_, slot)| slot.is_unused()).map(|(id, _)| id).collect();
        unused.iter().for_each(|id| self.slots.invalidate(&**id));
        self.slots.run_pending_tasks();
        !unused.is_empty()
    }

    /// Entries and bytes.
    pub(crate) fn size(&self) -> (u64, u64) {
        self.slots.run_pending_tasks();
        (self.slots.entry_count(), self.slots.weighted_size() * UNIT)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Slot, SoupCell, UNIT, slots};
    use crate::budget::{Budget, Purpose};

    /// Nothing is asked of the map afterwards: a sleeping engine asks nothing of it either.
    #[test]
    fn what_is_removed_gives_its_memory_back_at_once() {
        let budget = Budget::new(100 * UNIT, || {});
        let map = slots(10 * UNIT);
        let soup = |bytes: u64| {
            let lease = budget.lease(Purpose::Soup, bytes).expect("there is room");
            Slot::of(Arc::new(SoupCell::new(bytes, lease)))
        };
        map.insert(1, soup(4 * UNIT));
        map.insert(2, soup(4 * UNIT));
        let used = map.get(&2).expect("it is there").cell();
        map.invalidate(&1);
        assert_eq!(budget.used(), 4 * UNIT);
        map.invalidate(&2);
        assert_eq!(budget.used(), 4 * UNIT, "somebody holds it");
        drop(used);
        assert_eq!(budget.used(), 0);
        // Over its limit.
        map.insert(3, soup(11 * UNIT));
        map.run_pending_tasks();
        assert_eq!(budget.used(), 0);
    }
}
