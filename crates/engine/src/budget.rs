//! One memory budget for KV caches, materialised soups and the factors of a second revision.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};

/// What leased memory is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Kv,
    Soup,
    /// Of a revision beside the current one.
    Factors,
}

/// Counts bytes that are in use. Memory is bounded because nothing large is allocated without a [`Lease`], and a lease
/// lives as long as what it covers: an evicted soup counts until its last row is done.
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
    kv: AtomicU64,
    factors: AtomicU64,
    /// Somebody waits for room.
    awaited: AtomicBool,
    released: Box<dyn Fn() + Send + Sync>,
}

impl Budget {
    /// `released` is called when a lease comes back that [`Self::await_release`] asked for.
    pub(crate) fn new(limit: u64, released: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        let none = AtomicU64::default;
        let awaited = AtomicBool::new(false);
        Arc::new(Self { limit, used: none(), kv: none(), factors: none(), awaited, released: Box::new(released) })
    }

    /// Takes `bytes`, or nothing when they do not fit now.
    pub(crate) fn lease(self: &Arc<Self>, purpose: Purpose, bytes: u64) -> Option<Lease> {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(SeqCst, SeqCst, fits).ok()?;
        if let Some(count) = self.count(purpose) {
            count.fetch_add(bytes, Relaxed);
        }
        Some(Lease { budget: self.clone(), purpose, bytes })
    }

    fn count(&self, purpose: Purpose) -> Option<&AtomicU64> {
        match purpose {
            Purpose::Kv => Some(&self.kv),
            Purpose::Soup => None,
            Purpose::Factors => Some(&self.factors),
        }
    }

    /// Asks to be told of the next lease that comes back. Look for room once more after this: one may just have.
    pub(crate) fn await_release(&self) {
        self.awaited.store(true, SeqCst);
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// What a request can have when it is alone: all but the factors of a second revision, which stay.
    pub(crate) fn room(&self) -> u64 {
        self.limit.saturating_sub(self.factors.load(Relaxed))
    }

    /// Bytes leased for KV caches.
    pub(crate) fn kv(&self) -> u64 {
        self.kv.load(Relaxed)
    }

    /// Bytes leased for anything.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(SeqCst)
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes", self.used(), self.limit)
    }
}

/// Bytes taken from a budget, given back on drop.
#[derive(Debug)]
pub(crate) struct Lease {
    budget: Arc<Budget>,
    purpose: Purpose,
    bytes: u64,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let budget = &self.budget;
        if let Some(count) = budget.count(self.purpose) {
            count.fetch_sub(self.bytes, Relaxed);
        }
        budget.used.fetch_sub(self.bytes, SeqCst);
        // A load first: most leases come back while nobody waits, and then nothing is written.
        if budget.awaited.load(SeqCst) && budget.awaited.swap(false, SeqCst) {
            (budget.released)();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::{Budget, Purpose};

    #[test]
    fn leases_never_pass_the_limit_and_come_back() {
        let budget = Budget::new(10, || {});
        let first = budget.lease(Purpose::Kv, 6);
        assert!(first.is_some());
        assert!(budget.lease(Purpose::Soup, 5).is_none());
        assert!(budget.lease(Purpose::Kv, u64::MAX).is_none(), "the sum must not wrap");
        let second = budget.lease(Purpose::Soup, 4);
        assert_eq!((budget.used(), budget.kv()), (10, 6));
        drop(first);
        assert_eq!((budget.used(), budget.kv()), (4, 0));
        drop(second);
        assert_eq!(budget.used(), 0);
        let factors = budget.lease(Purpose::Factors, 3);
        assert_eq!((budget.used(), budget.kv(), budget.room()), (3, 0, 7));
        drop(factors);
        assert_eq!((budget.used(), budget.room()), (0, 10));
    }

    #[test]
    fn a_lease_that_is_awaited_is_told_once() {
        let (told, news) = mpsc::sync_channel(9);
        let budget = Budget::new(10, move || told.send(()).expect("the test listens"));
        let lease = || budget.lease(Purpose::Kv, 3).expect("it fits");
        drop(lease());
        assert!(news.try_recv().is_err(), "nobody waited");
        let [first, second] = [lease(), lease()];
        budget.await_release();
        drop(first);
        drop(second);
        assert_eq!(news.try_iter().count(), 1);
    }
}
