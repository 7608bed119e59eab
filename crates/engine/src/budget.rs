//! One memory budget for KV caches and materialised soups.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};

/// What leased memory is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Kv,
    Soup,
}

/// Counts bytes that are in use. Memory is bounded because nothing large is allocated without a [`Lease`], and a lease
/// lives as long as what it covers: an evicted soup counts until its last row is done.
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
    kv: AtomicU64,
    /// Somebody waits for room.
    awaited: AtomicBool,
    released: Box<dyn Fn() + Send + Sync>,
}

impl Budget {
    /// `released` is called when a lease comes back that [`Self::await_release`] asked for.
    pub(crate) fn new(limit: u64, released: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        let (used, kv, awaited) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        Arc::new(Self { limit, used, kv, awaited, released: Box::new(released) })
    }

    /// Takes `bytes`, or nothing when they do not fit now.
    pub(crate) fn lease(self: &Arc<Self>, purpose: Purpose, bytes: u64) -> Option<Lease> {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(SeqCst, SeqCst, fits).ok()?;
        let kv_bytes = match purpose {
            Purpose::Kv => bytes,
            Purpose::Soup => 0,
        };
        self.kv.fetch_add(kv_bytes, Relaxed);
        Some(Lease { budget: self.clone(), bytes, kv_bytes })
    }

    /// Asks to be told of the next lease that comes back. Look for room once more after this: one may just have.
    pub(crate) fn await_release(&self) {
        self.awaited.store(true, SeqCst);
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
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
    bytes: u64,
    kv_bytes: u64,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let budget = &self.budget;
        budget.kv.fetch_sub(self.kv_bytes, Relaxed);
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
