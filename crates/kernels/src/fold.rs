//! Folding low-rank changes into weights: what a soup is materialised by.

use crate::Isa;
use crate::line::Line;
use crate::pack::Pack;
use crate::panels::Panels;
use crate::precision::Precision;
use crate::rows::load_part;
use crate::simd::{LANES, Op, Simd};

/// Rows and vectors of columns that are summed together, all in registers.
const ROWS: usize = 4;
const VECTORS: usize = 4;

/// `W + B A`, the low-rank change of a soup: `A` stacks the policies' factors, `B` holds weights and scales.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// (R, in) row-major, R the sum of the ranks.
    pub a: &'a [f32],
    /// (out, R) row-major.
    pub b: &'a [f32],
}

impl Panels {
    /// Packs `weight + B A`, `weight` (out, in) row-major; it is overwritten. One thread: matrices are folded side by side.
    ///
    /// Each value is one f32 chain from the base's over the ranks in their order, rounded to the precision once. `None`
    /// when a value is not finite.
    ///
    /// # Panics
    /// When the shapes do not fit, or there are no ranks.
    #[must_use]
    pub fn fold(
        isa: Isa,
        precision: Precision,
        [out, input]: [usize; 2],
        weight: &mut [f32],
        change: Change<'_>,
    ) -> Option<Self> {
        let rank = change.a.len() / input.max(1);
        assert!(rank > 0, "no ranks");
        assert!(weight.len() == out * input && change.a.len() == rank * input && change.b.len() == out * rank);
        let mut packed = Self::zero(precision, out, input);
        let mut finite = true;
        let parts = weight.chunks_mut(LANES * input.max(1)).zip(change.b.chunks(LANES * rank));
        for (lines, (rows, b)) in packed.panels_mut().zip(parts) {
            finite &= isa.run(Fold { precision, rows, input, change: Change { a: change.a, b }, lines });
        }
        finite.then_some(packed)
    }
}

/// Sixteen rows.
struct Fold<'a> {
    precision: Precision,
    rows: &'a mut [f32],
    input: usize,
    change: Change<'a>,
    lines: &'a mut [Line],
}

impl Op for Fold<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> bool {
        let Self { precision, rows, input, change: Change { a, b }, lines } = self;
        let rank = a.len() / input;
        let mut zero = s.splat(0.0);
        for (rows, b) in rows.chunks_mut(ROWS * input).zip(b.chunks(ROWS * rank)) {
            let whole = if rows.len() == ROWS * input { input - input % (VECTORS * LANES) } else { 0 };
            for at in (0..whole).step_by(VECTORS * LANES) {
                add_block(s, rows, input, at, a, b);
            }
            for (row, b) in rows.chunks_exact_mut(input).zip(b.chunks_exact(rank)) {
                for (at, w) in row.iter_mut().enumerate().skip(whole) {
                    for (r, b) in b.iter().enumerate() {
                        // As a lane of a vector does it.
                        let [sum, ..] = lanes(s, s.mul_add(s.splat(*b), s.splat(a[r * input + at]), s.splat(*w)));
                        *w = sum;
                    }
                }
            }
        }
        // x · 0 is NaN for all that is not finite.
        for at in (0..rows.len()).step_by(LANES) {
            zero = s.mul_add(load_part(s, rows, at), s.splat(0.0), zero);
        }
        Pack { precision, rows, input, lines }.run(s);
        s.sum(zero) == 0.0
    }
}

/// `VECTORS` vectors of `ROWS` rows.
#[inline(always)]
fn add_block<S: Simd>(s: S, rows: &mut [f32], input: usize, at: usize, a: &[f32], b: &[f32]) {
    let rank = a.len() / input;
    let mut sums = [[s.splat(0.0); VECTORS]; ROWS];
    for (i, sums) in sums.iter_mut().enumerate() {
        for (v, sum) in sums.iter_mut().enumerate() {
            *sum = load_part(s, rows, i * input + at + v * LANES);
        }
    }
    for r in 0..rank {
        let mut factors = [s.splat(0.0); VECTORS];
        for (v, factor) in factors.iter_mut().enumerate() {
            *factor = load_part(s, a, r * input + at + v * LANES);
        }
        for (i, sums) in sums.iter_mut().enumerate() {
            let b = s.splat(b[i * rank + r]);
            for (sum, factor) in sums.iter_mut().zip(&factors) {
                *sum = s.mul_add(b, *factor, *sum);
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        for (to, sum) in rows[i * input + at..].as_chunks_mut::<LANES>().0.iter_mut().zip(sums) {
            s.store(*sum, to);
        }
    }
}

#[inline(always)]
fn lanes<S: Simd>(s: S, x: S::F32) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    s.store(x, &mut lanes);
    lanes
}
