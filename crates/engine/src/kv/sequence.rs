//! The pages of one sequence.

use std::ops::Range;
use std::sync::Arc;

use tureen_kernels::{CacheBatch, PAGE, PageRef};

use super::pool::{Frame, LeasedPage};
use super::prefix::PrefixKey;
use super::store::Kv;

/// Keys and values of one sequence. It grows page by page; dropping it gives the pages back.
#[derive(Debug)]
pub(crate) struct SequenceCache {
    kv: Arc<Kv>,
    /// Pages of positions that are all computed are never written again; the others have no other holder.
    pages: Vec<Arc<LeasedPage>>,
    /// Positions that are computed.
    computed: usize,
}

impl SequenceCache {
    /// Holds no page yet; `positions` is the most it will ever hold.
    pub(crate) fn new(kv: Arc<Kv>, positions: usize) -> Self {
        let pages = Vec::with_capacity(kv.shape().pages(positions));
        Self { kv, pages, computed: 0 }
    }

    /// Positions whose keys and values are here.
    pub(crate) fn computed(&self) -> usize {
        self.computed
    }

    /// `positions` more are here.
    pub(crate) fn advance(&mut self, positions: usize) {
        self.computed += positions;
        debug_assert!(self.computed <= self.pages.len() * PAGE);
    }

    /// Makes room for `positions` in all; `false` when no page can be had, whatever prefixes are given up.
    pub(crate) fn reserve(&mut self, positions: usize) -> bool {
        while self.pages.len() < self.kv.shape().pages(positions) {
            match self.kv.take() {
                Some(page) => self.pages.push(page),
                None => return false,
            }
        }
        true
    }

    /// [`Self::reserve`], leaving room for `spare` pages more, or nothing at all.
    pub(crate) fn reserve_beside(&mut self, positions: usize, spare: usize) -> bool {
        let wanted = self.kv.shape().pages(positions) + spare;
        let held = self.pages.len();
        let done = self.kv.may_hold(wanted.saturating_sub(held)) && self.reserve(wanted * PAGE);
        self.shrink(if done { (wanted - spare).max(held) } else { held });
        done
    }

    /// [`Self::reserve`] if `spare` pages more are left then, and nobody has to give one up.
    pub(crate) fn reserve_free(&mut self, positions: usize, spare: usize) -> bool {
        let missing = self.kv.shape().pages(positions).saturating_sub(self.pages.len());
        missing == 0 || (self.kv.has_free(missing + spare) && self.reserve(positions))
    }

    /// Takes over what is known of the beginning of `tokens` beyond what is computed here, but for the last token, whose
    /// logits are wanted. Pages that were reserved for it go back. Tells how many tokens it was.
    pub(crate) fn find(&mut self, key: PrefixKey, tokens: &[u32]) -> usize {
        let whole = self.computed / PAGE;
        let useful = tokens.len().saturating_sub(1) / PAGE;
        if !self.computed.is_multiple_of(PAGE) || whole >= useful {
            return 0;
        }
        // What is reserved stands aside while pages are found for its place.
        let reserved = self.pages.len() - whole;
        let kv = self.kv.clone();
        let mut found = std::mem::take(&mut self.pages);
        let mut aside = found.split_off(whole);
        kv.find(key, &tokens[..useful * PAGE], &mut found);
        let hits = found.len() - whole;
        aside.drain(..hits.min(reserved)).for_each(|page| kv.give(page));
        found.append(&mut aside);
        self.pages = found;
        self.computed += hits * PAGE;
        hits * PAGE
    }

    /// Leaves the full pages to prompts that begin alike. `tokens` are those of all computed positions, perhaps more.
    pub(crate) fn share(&self, key: PrefixKey, tokens: &[u32]) {
        let full = self.computed / PAGE;
        self.kv.insert(key, &tokens[..full * PAGE], &self.pages[..full]);
    }

    /// Forgets the page that is not full, and what was written beyond it.
    pub(crate) fn forget_partial(&mut self) {
        let full = self.computed / PAGE;
        self.shrink(full);
        self.computed = full * PAGE;
    }

    /// Gives all pages back.
    pub(crate) fn clear(&mut self) {
        self.shrink(0);
        self.computed = 0;
    }

    /// Adds `rows` of a batch as the positions from `position` on, which follow what is computed. Those that
    /// [`Self::advance`] does not count afterwards are written again.
    pub(crate) fn push<'a>(&'a mut self, batch: &mut CacheBatch<'a>, rows: Range<usize>, position: usize) {
        assert_eq!(position, self.computed, "a gap in the cache");
        let (full, needed) = (position / PAGE, self.kv.shape().pages(position + rows.len()));
        let pages = self.pages[..needed].iter_mut().enumerate().map(|(index, page)| {
            if index < full {
                return PageRef::Full(page.page.host());
            }
            PageRef::Own(Arc::get_mut(page).expect("a page that is not full has one holder").page.host_mut())
        });
        batch.push(pages, rows, position);
    }

    /// Where a position that there is a page for lies in the memory of a device.
    ///
    /// # Panics
    /// When the pages are on the CPU: a model computes in one place.
    pub(crate) fn slot(&self, position: usize) -> u32 {
        match &self.pages[position / PAGE].page {
            Frame::Device(page) => page.slot() + (position % PAGE) as u32,
            Frame::Host(_) => unreachable!("a model on a device has its pages there"),
        }
    }

    fn shrink(&mut self, pages: usize) {
        while self.pages.len() > pages {
            self.pages.pop().into_iter().for_each(|page| self.kv.give(page));
        }
    }
}

impl Drop for SequenceCache {
    fn drop(&mut self) {
        self.clear();
    }
}
