//! The pages of a batch, gathered once a step so that several threads can write and read them.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;

use crate::line::Line;
use crate::page::{PAGE, Page, PageShape};

/// Buffers that are reused from step to step.
#[derive(Debug, Default)]
pub struct CacheBuffers {
    pages: Vec<Pointer>,
    sequences: Vec<Entry>,
}

/// One page, as it is handed over.
#[derive(Debug)]
pub enum PageRef<'a> {
    /// Full, perhaps shared with others: it is read.
    Full(&'a Page),
    /// This sequence's own: rows may be written to it.
    Own(&'a mut Page),
}

#[derive(Debug, Clone, Copy)]
struct Pointer {
    lines: *mut Line,
    own: bool,
}

// SAFETY: stands for a borrow of a page, which may be shared between and sent to threads; it is read only through
// `CacheBatch`, which holds the borrow.
unsafe impl Send for Pointer {}
// SAFETY: as above.
unsafe impl Sync for Pointer {}

/// One sequence of the batch.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Rows of the batch, neighbours in it.
    pub(crate) rows: Range<usize>,
    /// Position of the first of them.
    pub(crate) position: usize,
    first_page: usize,
    pages: usize,
}

impl Entry {
    /// The pages that its rows are written to.
    pub(crate) fn written(&self) -> Range<usize> {
        self.position / PAGE..(self.position + self.rows.len()).div_ceil(PAGE)
    }

    /// The rows that belong to one of those pages.
    pub(crate) fn rows_of_page(&self, page: usize) -> Range<usize> {
        let row = |position: usize| self.rows.start + position.saturating_sub(self.position).min(self.rows.len());
        row(page * PAGE)..row((page + 1) * PAGE)
    }
}

/// The pages of all sequences of a batch.
#[derive(Debug)]
pub struct CacheBatch<'a> {
    shape: PageShape,
    buffers: &'a mut CacheBuffers,
    rows: usize,
    pages: PhantomData<&'a mut Page>,
}

impl CacheBuffers {
    /// Begins to gather the pages of a batch.
    pub fn begin(&mut self, shape: PageShape) -> CacheBatch<'_> {
        self.pages.clear();
        self.sequences.clear();
        CacheBatch { shape, buffers: self, rows: 0, pages: PhantomData }
    }
}

impl<'a> CacheBatch<'a> {
    /// Adds a sequence: `rows` of the batch are its positions from `position` on. Together, the sequences have each row once.
    ///
    /// # Panics
    /// When the pages do not reach as far, are of another shape, a page to be written is not the sequence's own, or a row
    /// is another's.
    pub fn push(&mut self, pages: impl Iterator<Item = PageRef<'a>>, rows: Range<usize>, position: usize) {
        let first_page = self.buffers.pages.len();
        for page in pages {
            let (shape, pointer) = match page {
                PageRef::Full(page) => (page.shape(), Pointer { lines: page.lines().cast_mut(), own: false }),
                PageRef::Own(page) => (page.shape(), Pointer { lines: page.lines_mut(), own: true }),
            };
            assert_eq!(shape, self.shape);
            self.buffers.pages.push(pointer);
        }
        let pages = self.buffers.pages.len() - first_page;
        let end = position + rows.len();
        assert!(end <= pages * PAGE, "{end} positions in {pages} pages");
        let apart = |other: &Entry| rows.end <= other.rows.start || other.rows.end <= rows.start;
        assert!(self.buffers.sequences.iter().all(apart), "rows {rows:?} are taken");
        let entry = Entry { rows, position, first_page, pages };
        let own = |page: usize| self.buffers.pages[first_page + page].own;
        assert!(entry.written().all(own), "positions from {position} on lie in a page that is shared");
        self.rows += entry.rows.len();
        self.buffers.sequences.push(entry);
    }

    /// What the pages hold.
    #[must_use]
    pub fn shape(&self) -> PageShape {
        self.shape
    }

    /// Rows of all sequences.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn sequences(&self) -> &[Entry] {
        &self.buffers.sequences
    }

    /// The lines of one page of a sequence. They are good for reading while nobody writes, and for writing where the
    /// sequence owns them.
    pub(crate) fn page(&self, entry: &Entry, page: usize) -> *mut Line {
        assert!(page < entry.pages);
        self.buffers.pages[entry.first_page + page].lines
    }
}
