//! The KV cache of one sequence.

use tureen_kernels::{Page, PageRef, PageShape};

use crate::budget::Lease;

/// Keys and values of one sequence in pages, enough for its prompt and its longest answer. Its memory is leased from the
/// budget and given back when the cache is dropped.
#[derive(Debug)]
pub(crate) struct KvCache {
    pages: Vec<Page>,
    _lease: Lease,
}

impl KvCache {
    /// Bytes for `positions` tokens.
    pub(crate) fn bytes(shape: PageShape, positions: usize) -> u64 {
        (shape.pages(positions) * shape.bytes()) as u64
    }

    /// Room for `positions` tokens, covered by `lease`.
    pub(crate) fn new(shape: PageShape, positions: usize, lease: Lease) -> Self {
        Self { pages: (0..shape.pages(positions)).map(|_| Page::new(shape)).collect(), _lease: lease }
    }

    /// The pages for the kernels.
    pub(super) fn pages(&mut self) -> impl Iterator<Item = PageRef<'_>> {
        self.pages.iter_mut().map(PageRef::Own)
    }
}
