//! Folding low-rank changes into weights: what a soup is materialised by.
#![allow(unsafe_code)]

use std::ops::Range;

use crate::line::Line;
use crate::pack::Pack;
use crate::panels::Panels;
use crate::precision::Precision;
use crate::rows::load_part;
use crate::simd::{LANES, Op, Simd};
use crate::strip::{Strip, Term};
use crate::target::Matrix;
use crate::{Isa, Rows};

/// `W + B A`, the low-rank change of a soup: `A` stacks the policies' factors, `B` holds weights and scales.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// (R, in) row-major, R the sum of the ranks.
    pub a: &'a [f32],
    /// (out, R) row-major.
    pub b: &'a [f32],
}

impl Panels {
    /// Packs `W + B A`. One thread: matrices are folded side by side.
    ///
    /// The change is a product like any other, of the rows of `B` and of `Aᵀ`, packed in the precision of the result: the
    /// factors are rounded as they are on the gate path. `rows` gives some rows of `W` (out, in), row-major, in order; asked
    /// for sixteen at a time, so that they stay in the processor's cache until they are packed. Each value is one f32 chain
    /// from the base's over the ranks in their order, rounded to the precision once. `None` when a value is not finite.
    ///
    /// # Errors
    /// As `rows`.
    ///
    /// # Panics
    /// When the shapes do not fit, or there are no ranks.
    pub fn fold<E>(
        isa: Isa,
        precision: Precision,
        [out, input]: [usize; 2],
        mut rows: impl FnMut(Range<usize>) -> Result<Vec<f32>, E>,
        change: Change<'_>,
    ) -> Result<Option<Self>, E> {
        let rank = change.a.len() / input.max(1);
        assert!(rank > 0, "no ranks");
        assert!(change.a.len() == rank * input && change.b.len() == out * rank);
        let mut packed = Self::zero(precision, out, input);
        let factors = Factors::new(isa, precision, rank, change);
        let mut finite = true;
        for (lines, first) in packed.panels_mut().zip((0..out).step_by(LANES)) {
            let range = first..out.min(first + LANES);
            let len = range.len() * input;
            let mut rows = rows(range.clone())?;
            assert_eq!(rows.len(), len);
            factors.add(range, &mut rows, input);
            finite &= isa.run(Finish { precision, rows: &rows, input, lines });
        }
        Ok(finite.then_some(packed))
    }
}

/// The factors of a change as a product reads them.
struct Factors {
    /// `Aᵀ`, (in, R)
    a: Panels,
    /// `B`, (out, R)
    b: Rows,
}

impl Factors {
    fn new(isa: Isa, precision: Precision, rank: usize, Change { a, b }: Change<'_>) -> Self {
        let input = a.len() / rank;
        let balance: Vec<f32> =
            (0..rank).map(|r| balance(&a[r * input..][..input], b[r..].iter().step_by(rank))).collect();
        let mut transposed = vec![0.0; a.len()];
        for (r, (row, by)) in a.chunks_exact(input).zip(&balance).enumerate() {
            for (to, value) in transposed[r..].iter_mut().step_by(rank).zip(row) {
                *to = value * by;
            }
        }
        let mut rows = Rows::new(isa, precision, rank);
        rows.resize(b.len() / rank);
        let mut balanced = vec![0.0; rank];
        for (row, values) in b.chunks_exact(rank).enumerate() {
            for ((to, value), by) in balanced.iter_mut().zip(values).zip(&balance) {
                *to = value / by;
            }
            rows.set(row, &balanced);
        }
        Self { a: Panels::pack(precision, input, rank, &transposed), b: rows }
    }

    /// `rows += B A`, for some rows of the matrix, (rows, in).
    fn add(&self, range: Range<usize>, rows: &mut [f32], input: usize) {
        let count = range.len();
        let terms = [Term { x: self.b.range(range), w: &self.a, first: 0 }];
        // SAFETY: the only part of this matrix.
        let target = unsafe { Matrix::new(rows, input).part(0..count, 0..input) };
        let (panels, then) = (0..self.a.count(), (&terms[..], 0));
        self.b.isa().multiply(Strip { terms: &terms, panels, rows: 0..count, target: &target, add: true, then });
    }
}

/// A power of two that brings the largest of `a` and of `b` close to each other when it multiplies one and divides the
/// other. Ranks of different policies share a scale in int8: one whose `A` is as small as its `B` is large would lose both.
fn balance<'a>(a: &[f32], b: impl Iterator<Item = &'a f32>) -> f32 {
    let largest = |m: f32, x: &f32| m.max(x.abs());
    let (a, b) = (a.iter().fold(0.0, largest), b.fold(0.0, largest));
    let by = (b / a).sqrt().log2().round().exp2();
    if by.is_normal() { by } else { 1.0 }
}

/// Up to sixteen rows, packed; tells whether all of them are finite.
struct Finish<'a> {
    precision: Precision,
    rows: &'a [f32],
    input: usize,
    lines: &'a mut [Line],
}

impl Op for Finish<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> bool {
        let Self { precision, rows, input, lines } = self;
        Pack { precision, rows, input, lines }.run(s);
        all_finite(s, rows)
    }
}

/// Sums that need not wait for each other.
const SUMS: usize = 4;

#[inline(always)]
fn all_finite<S: Simd>(s: S, values: &[f32]) -> bool {
    // x · 0 is NaN for all that is not finite.
    let mut zeros = [s.splat(0.0); SUMS];
    for block in (0..values.len()).step_by(SUMS * LANES) {
        for (i, zero) in zeros.iter_mut().enumerate() {
            *zero = s.mul_add(load_part(s, values, block + i * LANES), s.splat(0.0), *zero);
        }
    }
    zeros.into_iter().all(|zero| s.sum(zero) == 0.0)
}
