//! One memory budget for KV caches and materialised soups.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What leased memory is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Kv,
    Soup,
}

/// Counts bytes that are in use. Memory is bounded because nothing large is allocated without a [`Lease`], and a lease
/// lives as long as what it covers: an evicted soup counts until its last row is done.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
    kv: AtomicU64,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicU64::new(0), kv: AtomicU64::new(0) })
    }

    /// Takes `bytes`, or nothing when they do not fit now.
    pub(crate) fn lease(self: &Arc<Self>, purpose: Purpose, bytes: u64) -> Option<Lease> {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        let kv_bytes = match purpose {
            Purpose::Kv => bytes,
            Purpose::Soup => 0,
        };
        self.kv.fetch_add(kv_bytes, Ordering::Relaxed);
        Some(Lease { budget: self.clone(), bytes, kv_bytes })
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes leased for KV caches.
    pub(crate) fn kv(&self) -> u64 {
        self.kv.load(Ordering::Relaxed)
    }

    /// Bytes leased for anything.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
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
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        self.budget.kv.fetch_sub(self.kv_bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, Purpose};

    #[test]
    fn leases_never_pass_the_limit_and_come_back() {
        let budget = Budget::new(10);
        let first = budget.lease(Purpose::Kv, 6);
        assert!(first.is_some());
        assert!(budget.lease(Purpose::Soup, 5).is_none());
        assert!(budget.lease(Purpose::Kv, u64::MAX).is_none(), "the sum must not wrap");
        let second = budget.lease(Purpose::Soup, 4);
        assert_eq!((budget.used(), budget.kv()), (10, 6));
        drop(first);
        assert_eq!(budget.used(), 4);
        drop(second);
        assert_eq!(budget.used(), 0);
    }
}
