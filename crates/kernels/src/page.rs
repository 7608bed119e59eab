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

use crate::line::{Line, Lines};
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

    /// Pages for `positions`.
    #[must_use]
    pub fn pages(self, positions: usize) -> usize {
        positions.div_ceil(PAGE)
    }

    fn lines(self) -> usize {
        self.layers * self.heads * (self.key_lines() + self.value_lines())
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

    /// First line of a head's keys; its values follow them.
    pub(crate) fn keys_at(self, layer: usize, head: usize) -> usize {
        (layer * self.heads + head) * (self.key_lines() + self.value_lines())
    }
}

/// Keys and values of 16 neighbouring positions of one sequence, in every layer.
#[derive(Debug)]
pub struct Page {
    lines: Lines,
    shape: PageShape,
}

impl Page {
    /// An empty page.
    #[must_use]
    pub fn new(shape: PageShape) -> Self {
        Self { lines: Lines::new(shape.lines()), shape }
    }

    /// What it holds.
    #[must_use]
    pub fn shape(&self) -> PageShape {
        self.shape
    }

    /// Forgets what it holds. A page must be cleared before another sequence uses it: positions that are not written yet
    /// are multiplied with zero, which hides everything but NaN.
    pub fn clear(&mut self) {
        self.lines.as_mut_slice().fill(Line::ZERO);
    }

    pub(crate) fn lines(&self) -> *const Line {
        self.lines.as_slice().as_ptr()
    }

    pub(crate) fn lines_mut(&mut self) -> *mut Line {
        self.lines.as_mut_slice().as_mut_ptr()
    }
}
