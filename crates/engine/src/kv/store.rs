//! All pages of an engine.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tureen_kernels::PageShape;

use super::pool::{LeasedPage, PagePool};
use super::prefix::{PrefixCache, PrefixKey};
use crate::budget::Budget;
use crate::device::Numbers;

/// Where sequences get their pages. The scheduler's thread does nearly all the work; locks are held for a moment.
#[derive(Debug)]
pub(crate) struct Kv {
    pool: PagePool,
    budget: Arc<Budget>,
    /// `None` when nothing is kept for prompts to come.
    prefix: Option<Mutex<PrefixCache>>,
}

impl Kv {
    /// Pages of `shape` under `budget`, of a device where it has given its numbers. Up to `prefixes` bytes of full ones are kept for prompts that begin alike.
    pub(crate) fn new(
        shape: PageShape,
        budget: Arc<Budget>,
        prefixes: u64,
        numbers: Option<Arc<Numbers>>,
    ) -> Arc<Self> {
        let pages = usize::try_from(prefixes).unwrap_or(usize::MAX) / shape.bytes();
        let prefix = (pages > 0).then(|| Mutex::new(PrefixCache::new(pages)));
        let pool = PagePool::new(shape, budget.clone(), numbers);
        Arc::new(Self { pool, budget, prefix })
    }

    /// What a page holds.
    pub(crate) fn shape(&self) -> PageShape {
        self.pool.shape()
    }

    /// Bytes that are leased for `positions`.
    pub(crate) fn bytes(&self, positions: usize) -> u64 {
        self.pool.bytes(self.shape().pages(positions))
    }

    /// Bytes of the pages that are kept for prompts to come; sequences may be using some of them.
    pub(crate) fn prefix_bytes(&self) -> u64 {
        self.prefix().map_or(0, |prefix| prefix.len() as u64) * self.shape().bytes() as u64
    }

    /// Whether `pages` more could be had if every prefix were given up. They may not be had: sequences share pages.
    pub(super) fn may_hold(&self, pages: usize) -> bool {
        let kept = self.prefix().map_or(0, |prefix| prefix.len());
        self.pool.available().saturating_add(kept) >= pages
    }

    /// Whether `pages` more can be had without anybody giving one up.
    pub(super) fn has_free(&self, pages: usize) -> bool {
        self.pool.available() >= pages
    }

    /// A cleared page; prefixes are given up for it.
    pub(super) fn take(&self) -> Option<Arc<LeasedPage>> {
        loop {
            if let Some(page) = self.pool.take() {
                return Some(page);
            }
            let page = self.prefix()?.pop()?;
            self.pool.give(page);
        }
    }

    pub(super) fn give(&self, page: Arc<LeasedPage>) {
        self.pool.give(page);
    }

    pub(super) fn find(&self, key: PrefixKey, tokens: &[u32], pages: &mut Vec<Arc<LeasedPage>>) {
        if let Some(mut prefix) = self.prefix() {
            prefix.find(key, tokens, pages);
        }
    }

    pub(super) fn insert(&self, key: PrefixKey, tokens: &[u32], pages: &[Arc<LeasedPage>]) {
        let Some(mut prefix) = self.prefix() else { return };
        prefix.insert(key, tokens, pages);
        while let Some(page) = prefix.pop_surplus() {
            self.pool.give(page);
        }
    }

    /// Makes room for `bytes` that are no pages, as far as unused pages and prefixes go.
    pub(crate) fn give_up(&self, bytes: u64) {
        self.pool.drain();
        let fits = || self.budget.used().saturating_add(bytes) <= self.budget.limit();
        while !fits() {
            let Some(page) = self.prefix().and_then(|mut prefix| prefix.pop()) else { return };
            self.pool.give(page);
            self.pool.drain();
        }
    }

    /// Frees unused pages: nobody is at work.
    pub(crate) fn rest(&self) {
        self.pool.drain();
    }

    fn prefix(&self) -> Option<MutexGuard<'_, PrefixCache>> {
        Some(self.prefix.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
