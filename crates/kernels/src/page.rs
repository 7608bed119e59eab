//! Pages of keys and values.
//!
//! ```text
//! page = 16 positions of every layer;  for each layer, for each head:
//!
//!   keys    one panel, positions are its outputs:  line k = dimensions (k | 2k, 2k+1) of positions 0..16
//!   values  panels of 16 dimensions:               line k = positions  (k | 2k, 2k+1) of 16 dimensions
//! ```
//!
//! A score is a product of a query with a panel of keys, an answer one of probabilities with panels of values: the loops
//! of [`crate::tile`] serve both.

#![allow(unsafe_code)]

use std::sync::Arc;

use crate::line::{HUGE, Line, Lines};
use crate::precision::Precision;
use crate::simd::LANES;

/// Positions of a page.
pub const PAGE: usize = LANES;

/// What a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageShape {
    /// Layers of the model.
    pub layers: usize,
    /// Heads of keys and values.
    pub heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Number format of keys and values: f32 or bf16.
    pub precision: Precision,
}

impl PageShape {
    /// A shape for a model that computes in `precision`: bf16, but f32 where all is f32.
    #[must_use]
    pub fn new(layers: usize, heads: usize, head_dim: usize, precision: Precision) -> Self {
        let precision = if precision == Precision::F32 { Precision::F32 } else { Precision::Bf16 };
        Self { layers, heads, head_dim, precision }
    }

    /// Bytes of a page.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.lines() * size_of::<Line>()
    }

    /// Bytes of `count` pages made together: from a megabyte on, whole huge pages.
    #[must_use]
    pub fn bytes_together(self, count: usize) -> usize {
        let bytes = count * self.bytes();
        if bytes < HUGE / 2 { bytes } else { bytes.next_multiple_of(HUGE) }
    }

    /// Pages for `positions`.
    #[must_use]
    pub fn pages(self, positions: usize) -> usize {
        positions.div_ceil(PAGE)
    }

    fn lines(self) -> usize {
        self.layers * self.heads * self.head_lines()
    }

    /// Lines of one head's keys; words of a query.
    pub(crate) fn key_lines(self) -> usize {
        self.precision.words(self.head_dim)
    }

    /// Lines of one panel of values; words of a page's probabilities.
    pub(crate) fn position_lines(self) -> usize {
        PAGE / self.precision.per_word()
    }

    fn value_lines(self) -> usize {
        self.head_dim.div_ceil(LANES) * self.position_lines()
    }

    /// Lines of one head's keys and values.
    pub(crate) fn head_lines(self) -> usize {
        self.key_lines() + self.value_lines()
    }

    /// First line of a head's keys; its values follow them.
    pub(crate) fn keys_at(self, layer: usize, head: usize) -> usize {
        (layer * self.heads + head) * self.head_lines()
    }
}

/// Keys and values of 16 neighbouring positions of one sequence, in every layer.
#[derive(Debug)]
pub struct Page {
    lines: *mut Line,
    shape: PageShape,
    _memory: Arc<Lines>,
}

// SAFETY: no other page has its lines, and they may be read and written by any thread.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

impl Page {
    /// An empty page.
    #[must_use]
    pub fn new(shape: PageShape) -> Self {
        Self::several(shape, 1).remove(0)
    }

    /// Empty pages, side by side in memory: attention reads little of each, so it matters that few entries of the
    /// translation buffer cover them. Their memory is given back when the last of them is dropped.
    #[must_use]
    pub fn several(shape: PageShape, count: usize) -> Vec<Self> {
        let mut memory = Lines::apart(shape.bytes_together(count) / size_of::<Line>());
        let first = memory.as_mut_slice().as_mut_ptr();
        let memory = Arc::new(memory);
        let page = |i: usize| first.wrapping_add(i * shape.lines());
        (0..count).map(|i| Self { lines: page(i), shape, _memory: memory.clone() }).collect()
    }

    /// What it holds.
    #[must_use]
    pub fn shape(&self) -> PageShape {
        self.shape
    }

    /// Forgets what it holds. A page must be cleared before another sequence uses it: positions that are not written yet
    /// are multiplied with zero, which hides everything but NaN.
    pub fn clear(&mut self) {
        // SAFETY: the page has as many lines, and is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.lines, self.shape.lines()) }.fill(Line::ZERO);
    }

    /// Asks the system for the memory of a new page now, and not when a step writes to it.
    pub fn touch(&mut self) {
        /// Lines of the smallest page of memory.
        const STEP: usize = 4096 / size_of::<Line>();
        // SAFETY: the page has as many lines, and is borrowed exclusively.
        let lines = unsafe { std::slice::from_raw_parts_mut(self.lines, self.shape.lines()) };
        lines.iter_mut().step_by(STEP).for_each(|line| *line = std::hint::black_box(Line::ZERO));
    }

    pub(crate) fn lines(&self) -> *const Line {
        self.lines
    }

    pub(crate) fn lines_mut(&mut self) -> *mut Line {
        self.lines
    }
}
