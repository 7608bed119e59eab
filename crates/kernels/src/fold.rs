//! Folding low-rank changes into weights: what a soup is materialised by.

use std::ops::Range;

use crate::Isa;
use crate::line::Line;
use crate::pack::Pack;
use crate::panels::Panels;
use crate::precision::Precision;
use crate::rows::load_part;
use crate::simd::{LANES, Op, Simd};

/// Rows that are summed together.
const ROWS: usize = 4;
/// Vectors of columns of a block.
const VECTORS: usize = 4;
/// Columns of a block.
const BLOCK: usize = VECTORS * LANES;

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
    /// `rows` gives some rows of `W` (out, in), row-major, in order; asked for sixteen at a time, so that they stay in the
    /// processor's cache until they are packed. Each value is one f32 chain from the base's over the ranks in their order,
    /// rounded to the precision once. `None` when a value is not finite.
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
        let blocks = blocks(change.a, input);
        let mut finite = true;
        let firsts = (0..out).step_by(LANES);
        for ((lines, first), b) in packed.panels_mut().zip(firsts).zip(change.b.chunks(LANES * rank)) {
            let range = first..out.min(first + LANES);
            let len = range.len() * input;
            let mut rows = rows(range)?;
            assert_eq!(rows.len(), len);
            let change = Change { a: change.a, b };
            finite &= isa.run(Fold { precision, rows: &mut rows, input, change, blocks: &blocks, lines });
        }
        Ok(finite.then_some(packed))
    }
}

/// `A`, cut into blocks of columns that stay in the processor's nearest cache: (block, rank, column). Columns that fill no
/// block are left out.
fn blocks(a: &[f32], input: usize) -> Vec<f32> {
    let mut blocks = Vec::with_capacity(a.len());
    for at in (0..input - input % BLOCK).step_by(BLOCK) {
        blocks.extend(a.chunks_exact(input).flat_map(|row| &row[at..at + BLOCK]));
    }
    blocks
}

/// Up to sixteen rows.
struct Fold<'a> {
    precision: Precision,
    rows: &'a mut [f32],
    input: usize,
    change: Change<'a>,
    blocks: &'a [f32],
    lines: &'a mut [Line],
}

impl Op for Fold<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> bool {
        let Self { precision, rows, input, change: Change { a, b }, blocks, lines } = self;
        let rank = a.len() / input;
        // Rows that fill no block are summed value by value, as are columns.
        let blocked = rows.len() / input / ROWS * ROWS;
        for (index, block) in blocks.chunks_exact(rank * BLOCK).enumerate() {
            let (rows, b) = (&mut rows[..blocked * input], &b[..blocked * rank]);
            for (rows, b) in rows.chunks_exact_mut(ROWS * input).zip(b.chunks_exact(ROWS * rank)) {
                // The sums of four rows and a block fill half of the wide registers; elsewhere they take one vector at a time.
                if S::WIDE {
                    add_block::<S, VECTORS>(s, rows, index * BLOCK, 0, block, b);
                } else {
                    for vector in 0..VECTORS {
                        add_block::<S, 1>(s, rows, index * BLOCK, vector, block, b);
                    }
                }
            }
        }
        let whole = input - input % BLOCK;
        for (index, (row, b)) in rows.chunks_exact_mut(input).zip(b.chunks_exact(rank)).enumerate() {
            let done = if index < blocked { whole } else { 0 };
            for (at, w) in row.iter_mut().enumerate().skip(done) {
                for (r, b) in b.iter().enumerate() {
                    // As a lane of a vector does it.
                    let [sum, ..] = lanes(s, s.mul_add(s.splat(*b), s.splat(a[r * input + at]), s.splat(*w)));
                    *w = sum;
                }
            }
        }
        let finite = all_finite(s, rows);
        Pack { precision, rows, input, lines }.run(s);
        finite
    }
}

/// `ROWS` rows, one block of `A` (rank, `BLOCK`) whose columns begin at `at`: `V` vectors of it from `first` on, all sums in
/// registers.
#[inline(always)]
fn add_block<S: Simd, const V: usize>(s: S, rows: &mut [f32], at: usize, first: usize, block: &[f32], b: &[f32]) {
    let (rank, input, at) = (block.len() / BLOCK, rows.len() / ROWS, at + first * LANES);
    let mut sums = [[s.splat(0.0); V]; ROWS];
    for (i, sums) in sums.iter_mut().enumerate() {
        for (v, sum) in sums.iter_mut().enumerate() {
            *sum = load_part(s, rows, i * input + at + v * LANES);
        }
    }
    let b: [&[f32]; ROWS] = std::array::from_fn(|i| &b[i * rank..][..rank]);
    for (r, factors) in block.as_chunks::<LANES>().0.as_chunks::<VECTORS>().0.iter().enumerate() {
        let factors: [S::F32; V] = std::array::from_fn(|v| s.load(&factors[first + v]));
        for (sums, b) in sums.iter_mut().zip(b) {
            let b = s.splat(b[r]);
            for (sum, factor) in sums.iter_mut().zip(factors) {
                *sum = s.mul_add(b, factor, *sum);
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
fn all_finite<S: Simd>(s: S, values: &[f32]) -> bool {
    // x · 0 is NaN for all that is not finite. Four sums, which need not wait for each other.
    let mut zeros = [s.splat(0.0); VECTORS];
    for block in (0..values.len()).step_by(BLOCK) {
        for (v, zero) in zeros.iter_mut().enumerate() {
            *zero = s.mul_add(load_part(s, values, block + v * LANES), s.splat(0.0), *zero);
        }
    }
    zeros.into_iter().all(|zero| s.sum(zero) == 0.0)
}

#[inline(always)]
fn lanes<S: Simd>(s: S, x: S::F32) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    s.store(x, &mut lanes);
    lanes
}
